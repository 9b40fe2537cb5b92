"""Every setting, once: defaults < `earmark.toml` in the data folder < environment `EARMARK_*` < flags.

Comes in: a data folder, the environment, flags. Goes out: one frozen `Settings`, which a door builds and passes in.
Does not know: what a setting is used for; a test holds the README's table against this file.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

from store.errors import SettingsError

if sys.version_info >= (3, 11):
    import tomllib
else:  # the same parser under its older name
    import tomli as tomllib

SETTINGS_FILE = "earmark.toml"


def _setting(default: Any, help_text: str) -> Any:
    return field(default=default, metadata={"help": help_text})


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings. A field's environment name is `EARMARK_` + its name in capitals (`EARMARK_DATA` for the folder)."""

    data_dir: Path = _setting(Path("data"), "Folder of the catalogue: database, index, recordings, cache")

    engine: str = _setting("auto", "`auto`, `onnx-whisper`, `faster-whisper` or `openai-whisper`")
    model: str = _setting("auto", "Whisper model: a name or a folder; auto = base on CPU, large-v3-turbo on CUDA")
    device: str = _setting("auto", "`auto`, `cpu`, `cuda` or `mps`")
    compute_type: str = _setting("auto", "`auto`, `float32`, `float16`, `bfloat16`, `int8`, `int8_float16`")
    language: str = _setting("", "Language code of the talks; empty = detect for each recording")
    batch_size: int = _setting(0, "Chunks decoded together; 0 = by device")
    threads: int = _setting(0, "CPU threads of a worker; 0 = cores divided by workers")
    workers: int = _setting(1, "Worker processes of `earmark run`")
    ray: str = _setting("", "Ray cluster that decodes: `auto` or an address; empty = this machine (extra `[cluster]`)")
    ray_actors: int = _setting(0, "Engines on the cluster; 0 = as many as its nodes have room for")
    ray_gpus: float = _setting(1.0, "Share of a GPU for each engine on the cluster")
    captions: str = _setting("prefer", "Publisher transcripts: `prefer`, `ignore` or `only`")
    automatic_captions: bool = _setting(False, "Count a site's automatic captions as a publisher's transcript")
    keep_recordings: str = _setting("keep", "Fetched recordings after transcription: `keep`, `compress` (Opus) or `drop`")
    offline: bool = _setting(False, "Never touch the network for models")
    models_dir: str = _setting("", "Folder for converted and downloaded models; empty = the user's cache folder")

    allow_hosts: tuple[str, ...] = _setting((), "Private hosts (host or host:port, comma-separated) that may be fetched from")
    max_download_mb: int = _setting(4096, "Largest file that is fetched, in MB")
    timeout_s: float = _setting(30.0, "Longest silence of a server before a request is given up")
    pause_s: float = _setting(1.0, "Pause between two fetches from one host")
    cookies: str = _setting("", "Cookie file (Netscape format) for sites that need a login")
    cookies_from_browser: str = _setting("", "Browser whose cookies yt-dlp may read, such as `firefox`")

    embedder: str = _setting(
        "all-MiniLM-L6-v2", "`fast`, `english`, `multilingual`, or a sentence-transformers model: a name or a folder"
    )
    lexical_weight: float = _setting(0.7, "Weight of the words in the fused score; meaning gets the rest")
    search_budget_ms: float = _setting(1500.0, "Time after which the faster side of a search answers alone")
    cross_encoder: str = _setting("", "Cross-encoder that reads the first windows again, by hub name or folder; empty = none")
    cross_encoder_budget_ms: float = _setting(150.0, "Time that the cross-encoder may take of a search")
    search_processes: int = _setting(-1, "Processes that search beside the web app when many ask; -1 = one less than the cores")
    qdrant: str = _setting(
        "", "Qdrant that finds windows: its address, or a folder to try it; empty = this machine (`docs/QDRANT.md`)"
    )
    qdrant_api_key: str = _setting("", "API key of that Qdrant")

    host: str = _setting("127.0.0.1", "Address that the web app listens on")
    port: int = _setting(7860, "Port of the web app")
    work: bool = _setting(False, "Let `python app.py` do queued work too, in a process beside it (on in a Space and in Docker)")
    base_url: str = _setting("", "Public address of the site, for links that leave it; empty = as requested")
    site_name: str = _setting("Earmark", "Name on the page")
    tagline: str = _setting("Find the moment somebody said it.", "One line under the name")
    logo: str = _setting("", "Path of a logo (PNG or SVG) shown beside the name")
    accent: str = _setting("", "Accent colour, such as `#c2410c`; empty = Earmark's own")
    footer_links: tuple[str, ...] = _setting((), "Footer links as `Label=https://address`, comma-separated")
    admin_user: str = _setting("admin", "User name of /admin")
    admin_password: str = _setting("", "Password of /admin; without one it opens on localhost only")
    embed_origins: tuple[str, ...] = _setting(("*",), "Sites that may frame /embed; `*` = any")
    rate_limit_per_minute: int = _setting(240, "Requests a minute that one address may make to /api")


def setting_help() -> list[tuple[str, str, str, str]]:
    """Return one row a setting: name, environment name, default as text, help."""
    rows = []
    for item in fields(Settings):
        default = item.default
        text = ",".join(default) if isinstance(default, tuple) else str(default)
        rows.append((item.name, environment_name(item.name), text, str(item.metadata["help"])))
    return rows


def environment_name(setting: str) -> str:
    """Return the environment variable that sets `setting`."""
    return "EARMARK_DATA" if setting == "data_dir" else f"EARMARK_{setting.upper()}"


def load_settings(
    data_dir: Path | str | None = None,
    flags: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] | None = None,
) -> Settings:
    """Build the settings. `flags` with value None count as not given.

    Raises `SettingsError` for an unknown name in the file or a value that does not fit its type.
    """
    environ = os.environ if environ is None else environ
    folder = Path(data_dir or environ.get("EARMARK_DATA") or "data").expanduser().resolve()
    values: dict[str, Any] = {}
    path = folder / SETTINGS_FILE
    if path.is_file():
        try:
            with path.open("rb") as file:
                values.update(tomllib.load(file))
        except tomllib.TOMLDecodeError as error:
            raise SettingsError(f"not valid TOML ({error})", where=str(path), next_step="Correct the file") from error
    known = {item.name for item in fields(Settings)} - {"data_dir"}
    unknown = sorted(set(values) - known)
    if unknown:
        raise SettingsError(f"there is no setting called {unknown[0]!r}", where=str(path), next_step="The README lists them all")
    for name in known:
        if environment_name(name) in environ:
            values[name] = environ[environment_name(name)]
    values.update({name: value for name, value in (flags or {}).items() if value is not None})
    hints = get_type_hints(Settings)
    fitted = {name: _fit(name, value, hints[name]) for name, value in values.items()}
    return Settings(data_dir=folder, **fitted)


def _fit(name: str, value: Any, hint: Any) -> Any:
    """Turn text from a file or the environment into the setting's type."""
    try:
        if get_origin(hint) is tuple:
            assert get_args(hint)[0] is str
            parts = value.split(",") if isinstance(value, str) else value
            return tuple(str(part).strip() for part in parts if str(part).strip())
        if hint is bool and isinstance(value, str):
            return {
                "1": True,
                "true": True,
                "yes": True,
                "on": True,
                "0": False,
                "false": False,
                "no": False,
                "off": False,
                "": False,
            }[value.lower()]
        return hint(value)
    except (KeyError, TypeError, ValueError) as error:
        raise SettingsError(f"{value!r} does not fit", where=f"setting {name}", next_step=f"It takes a {hint.__name__}") from error
