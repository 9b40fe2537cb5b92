"""The store opens what it knows, refuses what it does not, and keeps a copy before it changes anything."""

from __future__ import annotations

import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from store import database as database_module
from store.database import Database
from store.errors import StoreError
from store.files import write_atomic
from store.schema import MIGRATIONS


def test_a_new_store_has_every_migration(database: Database) -> None:
    names = [row["name"] for row in database.read().execute("select name from migration")]
    assert names == [name for name, _ in MIGRATIONS]


def test_a_missing_store_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="earmark add"):
        Database.in_folder(tmp_path / "nothing", read_only=True)


def test_a_newer_store_is_refused(database: Database) -> None:
    with database.write() as connection:
        connection.execute("insert into migration values ('9999 from the future', 0)")
    for read_only in (True, False):
        with pytest.raises(StoreError, match="newer Earmark"):
            Database(database.path, read_only=read_only)


def test_an_older_store_is_not_read_before_it_is_brought_up_to_date(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database_module, "MIGRATIONS", (*MIGRATIONS, ("0099 more", "alter table show add column more text;")))
    with pytest.raises(StoreError, match="older Earmark"):
        Database(database.path, read_only=True)
    Database(database.path)
    assert Database(database.path, read_only=True).read().execute("select count(more) from show").fetchone()[0] == 0


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "earmark.db"
    path.write_bytes(b"this is no database, but it is long enough to look like one" * 20)
    with pytest.raises(StoreError, match="cannot be opened"):
        Database(path)


def test_a_migration_copies_the_file_first(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    with database.write() as connection:
        connection.execute("insert into show (id, link, kind, title, created_at) values ('s', 'l', 'feed', 'kept', 0)")
    monkeypatch.setattr(database_module, "MIGRATIONS", (*MIGRATIONS, ("0099 more", "alter table show add column more text;")))
    Database(database.path)
    copy = sqlite3.connect(database.path.with_suffix(".before-0099.db"))
    assert copy.execute("select title from show").fetchall() == [("kept",)]
    assert "more" not in [row[1] for row in copy.execute("pragma table_info(show)")]
    assert "more" in [row[1] for row in database.read().execute("pragma table_info(show)")]
    copy.close()


def test_an_error_rolls_everything_back(database: Database) -> None:
    with pytest.raises(RuntimeError), database.write() as connection:
        connection.execute("insert into show (id, link, kind, title, created_at) values ('s', 'l', 'feed', 't', 0)")
        raise RuntimeError
    assert database.read().execute("select count(*) from show").fetchone()[0] == 0


def test_a_reader_cannot_write(database: Database) -> None:
    with pytest.raises(sqlite3.OperationalError):
        database.read().execute("delete from show")
    with pytest.raises(StoreError), Database(database.path, read_only=True).write():
        pass


def test_readers_do_not_wait_for_a_writer(database: Database) -> None:
    with database.write() as connection:
        connection.execute("insert into show (id, link, kind, title, created_at) values ('s', 'l', 'feed', 't', 0)")
        seen: list[int] = []
        thread = threading.Thread(target=lambda: seen.append(database.read().execute("select count(*) from show").fetchone()[0]))
        thread.start()
        thread.join(timeout=5)
        assert seen == [0]


def test_two_threads_write_one_file(tmp_path: Path) -> None:
    place = tmp_path / "picture"
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: write_atomic(place, bytes([n]) * 100_000), range(64)))
    found = place.read_bytes()
    assert len(found) == 100_000 and len(set(found)) == 1
    assert list(tmp_path.iterdir()) == [place]
