"""Checks that `earmark doctor` prints of this room: device, model, yt-dlp and what it leans on.

Comes in: settings. Goes out: `Check` rows. Loads no model and touches no network.
Does not know: the store.
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version

from pipeline.js_runtime import youtube_problem
from pipeline.transcribe import CPU_MODEL, GPU_MODEL, can_use_huge_pages, cores
from store.errors import EarmarkError
from store.health import Check
from store.settings import Settings
from store.weights import find_whisper

PACKAGES = ("faster-whisper", "openai-whisper", "ctranslate2", "torch", "av", "yt-dlp", "faiss-cpu", "tantivy", "gradio")


def check_pipeline(settings: Settings) -> list[Check]:
    """Look at packages, device, Whisper's weights, and the programs that some sites need."""
    checks = [_package(name) for name in PACKAGES]
    gpus = _gpus()
    pages = "huge pages" if can_use_huge_pages() else "no huge pages (up to a fifth slower)"
    checks.append(Check("device", True, f"{gpus} CUDA GPU" if gpus else f"CPU, {cores()} cores, {pages}"))
    name = (GPU_MODEL if gpus else CPU_MODEL) if settings.model == "auto" else settings.model
    try:
        weights = find_whisper(name, replace(settings, offline=True))
        checks.append(Check("whisper", True, weights.label))
    except EarmarkError as error:
        checks.append(Check("whisper", settings.offline is False, f"{name}: not on this machine yet", error.next_step))
    problem = youtube_problem()  # no reason to fail: only YouTube needs one
    checks.append(Check("JavaScript runtime", True, "there" if not problem else "YouTube will not work fully", problem))
    ffmpeg = shutil.which("ffmpeg")
    found = "there" if ffmpeg else "none; only some video sites need it (decoding does not)"
    checks.append(Check("ffmpeg", True, found, "" if ffmpeg else "Debian: apt-get install ffmpeg"))
    return checks


def _package(name: str) -> Check:
    try:
        return Check(name, True, version(name))
    except PackageNotFoundError:
        return Check(name, False, "not installed", "Install Earmark again: make setup")


def _gpus() -> int:
    try:
        import ctranslate2

        return int(ctranslate2.get_cuda_device_count())
    except (ImportError, RuntimeError):
        return 0
