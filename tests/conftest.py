"""What the tests share: a store to write to, the samples, the data folder beside the repository where it is present."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from store.database import Database

ROOT = Path(__file__).parents[1]


@pytest.fixture
def database(tmp_path: Path) -> Database:
    return Database.in_folder(tmp_path / "data")


@pytest.fixture(scope="session")
def samples() -> Path:
    return ROOT / "samples"


@pytest.fixture(scope="session")
def shared() -> Path:
    folder = Path(os.environ.get("EARMARK_SHARED", ROOT.parent / "shared"))
    if not folder.is_dir():
        pytest.skip("the evaluation recordings (../shared) are not here")
    return folder
