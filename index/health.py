"""What `earmark doctor` says of the index: is it there, is it sound, does it fit the store and the model.

Comes in: settings. Goes out: `Check` rows.
Does not know: how to repair anything beyond saying the next step.
"""

from __future__ import annotations

from index.embed import open_embedder
from index.manifest import check_part, index_folder, read_manifest
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
        checks.append(Check("index", False, f"made with {manifest.embedder}", "Run: earmark reindex"))
    elif behind:
        checks.append(Check("index", False, f"{behind} changes behind the catalogue", "Run: earmark run, or earmark reindex"))
    else:
        checks.append(Check("index", True, f"generation {manifest.generation}, {manifest.windows} windows, checksums fit"))
    return checks
