"""The log: one JSON object a line, in the data folder, with stage and episode where there are any.

Comes in: Python's `logging`. Goes out: `log/earmark.jsonl`, turned over at 10 MB, five kept.
Does not know: who writes; secrets in addresses are masked before anything is written.
"""

from __future__ import annotations

import json
import logging
import logging.handlers
import os
from pathlib import Path

from store.links import redact_text

MAX_BYTES = 10_000_000
KEPT = 5
EXTRA = ("stage", "job", "episode", "show", "seconds", "chunks")  # fields that a log call may add through `extra`


class JsonLines(logging.Formatter):
    """Formats a record as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as JSON; a traceback goes under `trace`."""
        row: dict[str, object] = {
            "time": self.formatTime(record, "%Y-%m-%dT%H:%M:%S%z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "process": os.getpid(),
            "text": redact_text(record.getMessage()),
        }
        row |= {name: getattr(record, name) for name in EXTRA if hasattr(record, name)}
        if record.exc_info:
            row["trace"] = redact_text(self.formatException(record.exc_info))
        return json.dumps(row, ensure_ascii=False)


def open_log(data_dir: Path) -> None:
    """Send what `earmark.*` and the rooms' loggers say to the log of a data folder, once a process."""
    root = logging.getLogger()
    if any(isinstance(handler.formatter, JsonLines) for handler in root.handlers):
        return
    folder = data_dir / "log"
    folder.mkdir(parents=True, exist_ok=True)
    # Every process has its own file: two processes that turn one file over would lose lines.
    handler = logging.handlers.RotatingFileHandler(
        folder / f"earmark-{os.getpid()}.jsonl", maxBytes=MAX_BYTES, backupCount=KEPT, encoding="utf-8", delay=True
    )
    handler.setFormatter(JsonLines())
    root.addHandler(handler)
    for name in ("earmark", "pipeline", "index", "store", "ui"):
        logging.getLogger(name).setLevel(logging.INFO)
