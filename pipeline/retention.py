"""What becomes of a fetched recording once its transcript is there: kept as it came, made smaller, or dropped.

Comes in: a recording and the setting. Goes out: the file as it came, a smaller one in its place (Opus, mono, enough for speech),
or none. Files that the user pointed to are never touched.
Does not know: transcripts.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from pipeline.recording import SAMPLE_RATE_HZ, Decoder
from store.database import Database
from store.episodes import drop_file, is_ours, replace_file
from store.errors import RecordingError
from store.records import Recording

BIT_RATE = 24_000  # bits a second: speech stays pleasant to hear, an hour takes 11 MB
SUFFIX = ".small.opus"


def keep_only_what_is_wanted(wanted: str, database: Database, recording: Recording, say: Callable[[str], None]) -> None:
    """Do what `wanted` says (`keep`, `compress` or `drop`). A file that cannot be made smaller is kept, and told."""
    if wanted == "drop":
        drop_file(database, recording)
    elif wanted == "compress" and is_ours(database, recording):
        try:
            smaller = compress(Path(recording.path))
        except RecordingError as error:  # the transcript is there: this must not undo it
            say(error.sentence)
            return
        if smaller != Path(recording.path):
            replace_file(database, recording, smaller)


def compress(path: Path) -> Path:
    """Write a recording's sound as Opus beside it and return that file, or `path` itself where nothing would be gained.

    The picture of a video goes. Raises `RecordingError` if it cannot be decoded or written.
    """
    import av

    if path.name.endswith(SUFFIX):
        return path
    target = path.with_name(path.stem + SUFFIX)
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        with av.open(str(part), "w", format="ogg") as container:
            stream = container.add_stream("libopus", rate=SAMPLE_RATE_HZ, layout="mono")
            stream.bit_rate = BIT_RATE
            for block in Decoder(path).blocks():
                frame = av.AudioFrame.from_ndarray(block[None, :], format="s16", layout="mono")
                frame.sample_rate = SAMPLE_RATE_HZ
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        with part.open("rb") as file:
            os.fsync(file.fileno())
        if part.stat().st_size >= path.stat().st_size:
            return path
        part.replace(target)
    except (av.FFmpegError, OSError) as error:
        raise RecordingError(
            f"its recording cannot be made smaller ({error})", where=path.name, next_step="Set EARMARK_KEEP_RECORDINGS=keep"
        ) from error
    finally:
        part.unlink(missing_ok=True)
    return target
