"""What `earmark doctor` says of the index: is it there, is it sound, does it fit the store and the model.

Comes in: settings. Goes out: `Check` rows.
Does not know: how to repair anything beyond saying the next step.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from index.embed import open_embedder
from index.generation import Readers
from index.manifest import check_part, index_folder, read_manifest
from index.qdrant import Collection
from index.query import Filters
from store.database import FILE_NAME, Database
from store.errors import EarmarkError
from store.health import Check
from store.passages import last_change_id
from store.settings import Settings


def check_index(settings: Settings) -> list[Check]:
    """Look at the embedder and at the index: every checksum, how far it followed the store, which model made it."""
    try:
        embedder = open_embedder(settings, threads=1)
        name = embedder.name
        checks = [Check("embedder", True, f"{name}, {embedder.dim} dimensions")]
    except EarmarkError as error:
        name, checks = "", [Check("embedder", False, str(error), error.next_step)]
    if not (settings.data_dir / FILE_NAME).is_file():
        return checks
    folder = index_folder(settings)
    try:
        manifest = read_manifest(folder)
        for part in manifest.parts:
            check_part(folder, part, contents=True)
    except EarmarkError as error:
        return [*checks, Check("index", False, error.what, error.next_step)]
    behind = last_change_id(Database.in_folder(settings.data_dir, read_only=True)) - manifest.change_id
    if name and manifest.embedder != name:
        checks.append(Check("index", False, f"made with {manifest.embedder}", "It is made anew by: earmark run"))
    elif behind:
        checks.append(Check("index", False, f"{behind} changes behind the catalogue", "Run: earmark run, or earmark reindex"))
    else:
        checks.append(Check("index", True, f"generation {manifest.generation}, {manifest.windows} windows, checksums fit"))
    return [*checks, _check_collection(settings, folder)] if manifest.collection or settings.qdrant else checks


def _check_collection(settings: Settings, folder: Path) -> Check:
    """Count the windows in Qdrant: as many as the parts hold, removed ones left out."""
    try:
        generation = Readers(folder).current()
        name = generation.manifest.collection
        if not settings.qdrant or not name:
            found = "no Qdrant is named, and the index is in one" if name else "the index is on this machine still"
            return Check("Qdrant", False, found, "Run: earmark reindex")
        there = Collection(settings, name).count()
    except EarmarkError as error:
        return Check("Qdrant", False, error.what, error.next_step)
    masks = zip(generation.parts, generation.masks(Filters()), strict=True)
    wanted = sum(part.columns.windows if mask is None else int(np.count_nonzero(mask)) for part, mask in masks)
    ok = there == wanted
    return Check("Qdrant", ok, f"{there} of {wanted} windows in {name}", "" if ok else "Run: earmark reindex")
