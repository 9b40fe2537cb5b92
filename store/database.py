"""Opening the one truth: a SQLite file with one writer at a time and any number of readers.

Comes in: a path. Goes out: `Database`, with `read()` and `write()`.
Does not know: what is in the tables (`store.schema`) or who asks.
"""

from __future__ import annotations

import sqlite3
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from store.errors import StoreError
from store.schema import MIGRATIONS

FILE_NAME = "earmark.db"
BUSY_TIMEOUT_MS = 30_000


class Database:
    """One store. Every thread gets its own connection; `read()` never blocks and never writes."""

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        """Open `path`, creating and migrating it unless `read_only`.

        Raises `StoreError` if the file is missing (read-only), broken, or was made by a newer Earmark.
        """
        self.path = path
        self.read_only = read_only
        self.before_write: Callable[[], None] | None = None  # a worker waits here for space on the disk
        self._local = threading.local()
        try:
            if not read_only:
                path.parent.mkdir(parents=True, exist_ok=True)
                self._migrate()
            elif not path.is_file():
                raise StoreError(
                    "there is no catalogue here yet", where=str(path.parent), next_step="Add something: earmark add LINK"
                )
            elif len(self._check(self.read())) < len(MIGRATIONS):
                raise StoreError(
                    "it was made by an older Earmark and has not been brought up to date",
                    where=str(path),
                    next_step="Run a command that writes: earmark run",
                )
        except (sqlite3.DatabaseError, OSError) as error:
            raise StoreError(
                f"the database cannot be opened ({error})", where=str(path), next_step="Check the file and its folder's rights"
            ) from error

    @classmethod
    def in_folder(cls, data_dir: Path, *, read_only: bool = False) -> Database:
        """Open the store of a data folder."""
        return cls(data_dir / FILE_NAME, read_only=read_only)

    @property
    def folder(self) -> Path:
        """The data folder that relative recording paths count from."""
        return self.path.parent

    def read(self) -> sqlite3.Connection:
        """Return this thread's read-only connection."""
        connection: sqlite3.Connection | None = getattr(self._local, "reader", None)
        if connection is None:
            connection = self._connect("ro")
            self._local.reader = connection
        return connection

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """Run one short transaction: committed at the end, rolled back on any error."""
        if self.read_only:
            raise StoreError("this store was opened for reading only", where=str(self.path))
        if self.before_write is not None:
            self.before_write()
        connection: sqlite3.Connection | None = getattr(self._local, "writer", None)
        if connection is None:
            connection = self._connect("rwc")
            self._local.writer = connection
        try:
            connection.execute("begin immediate")
        except sqlite3.OperationalError as error:
            raise StoreError(
                f"cannot write ({error})", where=str(self.path), next_step="Free disk space, or stop the other program"
            ) from error
        try:
            yield connection
            connection.execute("commit")
        except BaseException:
            if connection.in_transaction:
                connection.execute("rollback")
            raise

    def mark(self) -> str:
        """Return 16 hex digits that tell this catalogue from others: the moment its tables were made. A copy has the same."""
        row = self.read().execute("select applied_at from migration order by applied_at, name limit 1").fetchone()
        return struct.pack(">d", row["applied_at"]).hex()

    def close(self) -> None:
        """Close this thread's connections."""
        for name in ("reader", "writer"):
            connection = getattr(self._local, name, None)
            if connection is not None:
                connection.close()
                setattr(self._local, name, None)

    def _connect(self, mode: str) -> sqlite3.Connection:
        uri = f"{self.path.absolute().as_uri()}?mode={mode}"
        connection = sqlite3.connect(uri, uri=True, isolation_level=None, timeout=BUSY_TIMEOUT_MS / 1000)
        connection.row_factory = sqlite3.Row
        connection.execute("pragma foreign_keys = on")
        if mode != "ro":
            connection.execute("pragma journal_mode = wal")
            connection.execute("pragma synchronous = full")
        return connection

    def _migrate(self) -> None:
        fresh = not self.path.exists() or self.path.stat().st_size == 0
        with self.write() as connection:
            connection.execute("create table if not exists migration (name text primary key, applied_at real not null) strict")
            missing = [step for step in MIGRATIONS if step[0] not in self._check(connection)]
        if not missing:
            return
        if not fresh:
            copy = sqlite3.connect(self.path.with_suffix(f".before-{missing[0][0].split()[0]}.db"))
            with closing(copy):
                self.read().backup(copy)  # takes the write-ahead log along, which a file copy would miss
        for name, script in missing:
            with self.write() as connection:
                if name in self._check(connection):
                    continue  # another process was faster
                for statement in _statements(script):
                    connection.execute(statement)
                connection.execute("insert into migration values (?, ?)", (name, time.time()))

    def _check(self, connection: sqlite3.Connection) -> set[str]:
        applied = {row["name"] for row in connection.execute("select name from migration")}
        newer = applied - {name for name, _ in MIGRATIONS}
        if newer:
            raise StoreError(
                f"it was made by a newer Earmark (migration {sorted(newer)[0]!r})",
                where=str(self.path),
                next_step="Upgrade Earmark",
            )
        return applied


def _statements(script: str) -> Iterator[str]:
    """Cut a script at the semicolons that end statements, so that it can run inside one transaction."""
    statement = ""
    for line in script.splitlines():
        statement += line + "\n"
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
