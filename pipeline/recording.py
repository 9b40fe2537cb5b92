"""From a media file to blocks of sound: float32, mono, 16 kHz, a minute at a time.

Comes in: the path of anything that ffmpeg's libraries decode, audio or video. Goes out: `Probe` (what the file says of itself),
blocks of samples, and `Spool` (the decoded recording as a file on disk, from which any span can be cut again), with warnings about
what was broken. A six-hour file needs no more memory than a six-minute one.
Does not know: what speech is, where the file came from.
"""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

from store.errors import DiskFull, RecordingError
from store.records import Chapter

SAMPLE_RATE_HZ = 16_000
BLOCK_S = 30.0
BYTES_PER_SAMPLE = 2  # a spool holds int16: what openai-whisper's own loader feeds its models, and half of float32
GAP_S = 0.1  # a hole in the file's own clock longer than this becomes silence, so that later times stay true
LONGEST_GAP_S = 600.0  # beyond this the clock is taken to be wrong, not the recording
SHORT_BY_S = 0.5  # a recording is called cut off when it ends this much (and 2 %) before its header says
SHORT_BY_SHARE = 0.02
BROKEN_SHARE = 0.01  # broken packets beyond this share (and beyond three) are worth a warning

# Demuxers that read one file and nothing else. Without the list, an HLS or concat playlist named talk.mp3 would be followed to
# any local file (FACTS). Images, subtitles, raw PCM (which matches anything) and capture devices are left out too.
FORMATS = (
    "aa,aac,ac3,ac4,aiff,amr,amrnb,amrwb,ape,asf,asf_o,ast,au,avi,caf,dsf,dss,dts,dtshd,eac3,flac,flv,gsm,iff,ircam,kux,loas,"
    "matroska,mkv,webm,mlp,mov,mp4,m4a,3gp,3g2,mj2,mp3,mpc,mpc8,mpeg,mpegts,mxf,nistsphere,nsv,nut,ogg,oma,paf,qcp,rm,sln,sox,"
    "swf,tak,truehd,tta,voc,vqf,w64,wav,wsd,wtv,wv,xwma"
)
OPEN_OPTIONS = {"format_whitelist": FORMATS, "protocol_whitelist": "file"}

Samples = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Probe:
    """What a file says of itself. `duration_s` is None where it says nothing that can be trusted."""

    duration_s: float | None
    has_audio: bool
    has_video: bool
    container: str
    title: str
    chapters: tuple[Chapter, ...] = ()
    warnings: tuple[str, ...] = ()


def probe(path: Path) -> Probe:
    """Read a file's headers. Raises `RecordingError` if it is no media file."""
    with _open(path) as container:
        audio = container.streams.best("audio")
        return Probe(
            duration_s=_declared_s(container, path),
            has_audio=audio is not None,
            has_video=any(not _is_picture(stream) for stream in container.streams.video),
            container=container.format.name,
            title=str(container.metadata.get("title", "")),
            chapters=_chapters(container),
        )


def declared_duration_s(path: Path) -> float | None:
    """Return the length that a file's header gives; None where it gives none, or cannot be read (decoding tells why)."""
    try:
        return probe(path).duration_s
    except RecordingError:
        return None


class Decoder:
    """Decodes a file once, in order. After iteration `duration_s` and `warnings` say what was found."""

    def __init__(self, path: Path, *, block_s: float = BLOCK_S) -> None:
        """Take a path; nothing is opened before `blocks` is read."""
        self.path = path
        self.duration_s = 0.0
        self.warnings: tuple[str, ...] = ()
        self._block = max(1, int(block_s * SAMPLE_RATE_HZ))

    def blocks(self) -> Iterator[npt.NDArray[np.int16]]:
        """Yield int16 mono 16 kHz blocks, all of them `block_s` long but the last.

        Frames that are broken are skipped. Raises `RecordingError` if no audio can be decoded at all.
        """
        pending: list[npt.NDArray[np.int16]] = []
        waiting = total = 0
        for piece in self._pieces():
            pending.append(piece)
            waiting += len(piece)
            while waiting >= self._block:
                joined = np.concatenate(pending)
                yield joined[: self._block]
                total += self._block
                pending, waiting = [joined[self._block :]], waiting - self._block
        if waiting:
            yield np.concatenate(pending)
        self.duration_s = (total + waiting) / SAMPLE_RATE_HZ
        if not total + waiting:
            raise RecordingError("no audio could be decoded", where=self.path.name, next_step="Fetch it again")
        self.warnings = tuple(self._judge())

    def _pieces(self) -> Iterator[npt.NDArray[np.int16]]:
        import av

        self._packets = self._broken = 0
        with _open(self.path) as container:
            stream = container.streams.best("audio")
            if stream is None:
                raise RecordingError("the file has no audio track", where=self.path.name, next_step="Check the link")
            self._declared_s = _declared_s(container, self.path)
            # Players count from the container's start, so do we; the streams of one file may start at different times.
            origin_s = (container.start_time or 0) / av.time_base
            resampler = _resampler()
            emitted = 0
            for packet in self._demuxed(container, stream):
                try:
                    frames = packet.decode()
                except av.error.FFmpegError:
                    self._broken += 1
                    continue
                for frame in frames:
                    if frame.pts is not None and frame.time_base is not None:
                        gap_s = float(frame.pts * frame.time_base) - origin_s - emitted / SAMPLE_RATE_HZ
                        if GAP_S < gap_s < LONGEST_GAP_S:
                            silence = np.zeros(int(gap_s * SAMPLE_RATE_HZ), dtype=np.int16)
                            emitted += len(silence)
                            yield silence
                    try:
                        resampled = resampler.resample(frame)
                    except (ValueError, av.error.FFmpegError):  # the sound's format changed inside the file
                        resampler = _resampler()
                        resampled = resampler.resample(frame)
                    for piece in resampled:
                        samples = piece.to_ndarray().reshape(-1)
                        emitted += len(samples)
                        yield samples
            for piece in resampler.resample(None) if emitted else ():
                yield piece.to_ndarray().reshape(-1)

    def _demuxed(self, container: Any, stream: Any) -> Iterator[Any]:
        """Yield packets until the file ends or cannot be read on."""
        import av

        packets = container.demux(stream)
        while True:
            try:
                packet = next(packets)
            except StopIteration:
                return
            except av.error.FFmpegError:  # what follows cannot be found: the comparison of durations tells
                self._broken += 1
                return
            self._packets += 1
            yield packet

    def _judge(self) -> Iterator[str]:
        declared = self._declared_s
        if declared is not None and self.duration_s < declared * (1 - SHORT_BY_SHARE) - SHORT_BY_S:
            yield f"the file is cut off: it should last {clock(declared)}, only {clock(self.duration_s)} could be decoded"
        if self._broken > 3 and self._broken > BROKEN_SHARE * self._packets:
            yield f"{self._broken} of {self._packets} packets are broken and were skipped"


def blocks(path: Path, *, block_s: float = BLOCK_S) -> Iterator[Samples]:
    """Yield a file's sound as float32 mono 16 kHz blocks in [-1, 1]. Raises `RecordingError` if there is none."""
    for block in Decoder(path, block_s=block_s).blocks():
        yield as_float(block)


class Spool:
    """A decoded recording on disk: any span can be read again, and no more of it is in memory than was asked for.

    Use as a context manager; the file goes when it closes. 115 MB an hour.
    """

    def __init__(self, path: Path, folder: Path | None = None) -> None:
        """Decode `path` into a nameless file in `folder` (default: the system's). Raises `RecordingError`."""
        self.path = path
        decoder = Decoder(path)
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
        self._file = tempfile.TemporaryFile(dir=folder, prefix="earmark-")  # noqa: SIM115 (closed by close)
        try:
            for block in decoder.blocks():
                self._file.write(block.tobytes())
            self._file.flush()
        except OSError as error:
            self._file.close()
            raise DiskFull(
                f"decoded audio cannot be kept ({error.strerror})", where=path.name, next_step="Free disk space: 115 MB an hour"
            ) from error
        except BaseException:
            self._file.close()
            raise
        self.duration_s = decoder.duration_s
        self.warnings = decoder.warnings

    def read(self, start_s: float, end_s: float) -> Samples:
        """Return the samples between two times, float32 in [-1, 1], clipped to the recording."""
        first = max(0, round(start_s * SAMPLE_RATE_HZ))
        count = max(0, round(end_s * SAMPLE_RATE_HZ) - first)
        raw = os.pread(self._file.fileno(), count * BYTES_PER_SAMPLE, first * BYTES_PER_SAMPLE)
        return as_float(np.frombuffer(raw, dtype=np.int16))

    def blocks(self, block_s: float = BLOCK_S) -> Iterator[Samples]:
        """Yield the whole recording, block after block."""
        for index in range(math.ceil(self.duration_s / block_s)):
            yield self.read(index * block_s, (index + 1) * block_s)

    def cut(self, spans: Sequence[tuple[float, float]]) -> Samples:
        """Return the spans' samples, one after the other."""
        return np.concatenate([self.read(start_s, end_s) for start_s, end_s in spans] or [np.zeros(0, dtype=np.float32)])

    def close(self) -> None:
        """Give the disk space back."""
        self._file.close()

    def __enter__(self) -> Spool:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def as_float(samples: npt.NDArray[np.int16]) -> Samples:
    """Return int16 samples as float32 in [-1, 1]."""
    return samples.astype(np.float32) / 32768.0


def clock(seconds: float) -> str:
    """Return a duration as people write it: 1:02:03 or 4:05."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _open(path: Path) -> Any:
    import av

    av.logging.set_level(av.logging.PANIC)  # what is broken is told by our own warnings
    try:
        if path.stat().st_size == 0:
            raise RecordingError("the file is empty", where=path.name, next_step="Fetch it again")
        return av.open(f"file:{path.absolute()}", options=OPEN_OPTIONS, metadata_errors="replace")
    except FileNotFoundError as error:
        raise RecordingError("there is no such file", where=str(path), next_step="Check the path") from error
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise RecordingError(
            "this is no audio or video file that can be decoded", where=path.name, next_step="Try it in a player, or fetch it again"
        ) from error


def _resampler() -> Any:
    import av

    return av.AudioResampler(format="s16", layout="mono", rate=SAMPLE_RATE_HZ)


def _is_picture(stream: Any) -> bool:
    """Say whether a video stream is only a cover picture."""
    return "attached_pic" in str(getattr(stream, "disposition", ""))


def _declared_s(container: Any, path: Path) -> float | None:
    """Return the duration that the file's header gives, or None where ffmpeg could only guess from size and bit rate."""
    import av

    if container.format.name == "mp3" and not _has_mp3_header(path):
        return None
    stream = container.streams.best("audio")
    if stream is not None and stream.duration and stream.time_base:
        declared = float(stream.duration * stream.time_base)
    elif container.duration:
        declared = float(container.duration) / av.time_base
    else:
        return None
    return declared if declared > 0 else None


def _has_mp3_header(path: Path) -> bool:
    """Say whether an MP3 carries a Xing, Info or VBRI header, which counts its frames."""
    with path.open("rb") as file:
        head = file.read(10)
        if head[:3] == b"ID3":  # the tag's size is four bytes of seven bits
            file.seek(10 + sum((byte & 0x7F) << shift for byte, shift in zip(head[6:10], (21, 14, 7, 0), strict=True)))
        else:
            file.seek(0)
        first_frame = file.read(2048)
    return any(mark in first_frame for mark in (b"Xing", b"Info", b"VBRI"))


def _chapters(container: Any) -> tuple[Chapter, ...]:
    read = getattr(container, "chapters", None)
    found = read() if callable(read) else []
    return tuple(
        Chapter(start_s=float(item["start"] * item["time_base"]), title=str(item["metadata"].get("title", ""))) for item in found
    )
