"""Files that we make ourselves, whole and broken, and every odd file of ../shared/speech."""

from __future__ import annotations

import json
from pathlib import Path

import av
import numpy as np
import pytest

from pipeline.recording import SAMPLE_RATE_HZ, Decoder, Spool, blocks, clock, probe
from store.errors import RecordingError


def tone(seconds: float, rate_hz: int = 44_100) -> np.ndarray:
    time_s = np.arange(int(seconds * rate_hz)) / rate_hz
    return (np.sin(2 * np.pi * 440 * time_s) * 8000).astype(np.int16)


def write(path: Path, seconds: float, codec: str, *, metadata: dict[str, str] | None = None) -> Path:
    """Encode a tone, in stereo at 44.1 kHz."""
    with av.open(str(path), "w") as container:
        container.metadata.update(metadata or {})
        stream = container.add_stream(codec, rate=44_100)
        stream.layout = "stereo"
        samples = tone(seconds)
        for at in range(0, len(samples), 1152):
            part = samples[at : at + 1152]
            frame = av.AudioFrame.from_ndarray(np.repeat(part, 2)[None], format="s16", layout="stereo")
            frame.sample_rate, frame.pts = 44_100, at
            for packet in stream.encode(frame):
                container.mux(packet)
        for packet in stream.encode(None):
            container.mux(packet)
    return path


@pytest.mark.parametrize(
    ("name", "codec"), [("a.wav", "pcm_s16le"), ("a.mp3", "mp3"), ("a.flac", "flac"), ("a.m4a", "aac"), ("a.mka", "aac")]
)
def test_any_container_becomes_16_khz_mono(tmp_path: Path, name: str, codec: str) -> None:
    path = write(tmp_path / name, 3.0, codec, metadata={"title": "Ein Ton — é"})
    found = probe(path)
    assert found.has_audio
    assert not found.has_video
    assert found.duration_s == pytest.approx(3.0, abs=0.1)
    assert found.title == "Ein Ton — é" or name == "a.wav"
    pieces = list(blocks(path, block_s=1.0))
    assert [len(piece) for piece in pieces[:2]] == [SAMPLE_RATE_HZ, SAMPLE_RATE_HZ]
    sound = np.concatenate(pieces)
    assert sound.dtype == np.float32
    assert len(sound) / SAMPLE_RATE_HZ == pytest.approx(3.0, abs=0.1)
    spectrum = np.abs(np.fft.rfft(sound[8000:24000]))
    assert np.argmax(spectrum) == pytest.approx(440, abs=2)  # one second: a bin is 1 Hz


def test_a_file_that_is_cut_off_gives_what_is_there_and_a_warning(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mp3", 20.0, "mp3")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    decoder = Decoder(path)
    seconds = sum(len(block) for block in decoder.blocks()) / SAMPLE_RATE_HZ
    assert 9 < seconds < 11
    assert decoder.duration_s == pytest.approx(seconds)
    assert "should last 0:20" in decoder.warnings[0]


def test_broken_packets_are_skipped_told_and_keep_later_times_true(tmp_path: Path) -> None:
    path = write(tmp_path / "a.flac", 30.0, "flac")
    raw = bytearray(path.read_bytes())
    middle = len(raw) // 2
    raw[middle : middle + len(raw) // 10] = bytes(len(raw) // 10)
    path.write_bytes(bytes(raw))
    decoder = Decoder(path)
    seconds = sum(len(block) for block in decoder.blocks()) / SAMPLE_RATE_HZ
    assert seconds == pytest.approx(30.0, abs=0.3)


def test_a_spool_gives_any_span_again(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", 5.0, "pcm_s16le")
    whole = np.concatenate(list(blocks(path)))
    with Spool(path, tmp_path / "spool") as spool:
        assert spool.duration_s == pytest.approx(5.0, abs=0.01)
        assert np.array_equal(spool.read(1.0, 2.0), whole[16_000:32_000])
        assert np.array_equal(spool.cut([(0.0, 0.5), (4.5, 9.0)]), np.concatenate([whole[:8000], whole[72_000:]]))
        assert np.array_equal(np.concatenate(list(spool.blocks(0.7))), whole)
    assert list((tmp_path / "spool").iterdir()) == []


def test_a_playlist_named_mp3_is_not_followed(tmp_path: Path) -> None:
    secret = write(tmp_path / "secret.wav", 2.0, "pcm_s16le")
    for name, text in {
        "hls.mp3": f"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2.0,\n{secret}\n#EXT-X-ENDLIST\n",
        "concat.mp3": f"ffconcat version 1.0\nfile {secret}\n",
        "page.mp3": "<html><body>Not found</body></html>",
    }.items():
        path = tmp_path / name
        path.write_text(text)
        with pytest.raises(RecordingError) as caught:
            Spool(path)
        assert name in caught.value.sentence
        assert "\n" not in caught.value.sentence


def test_what_is_no_recording_says_so(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="no such file"):
        probe(tmp_path / "missing.mp3")
    (tmp_path / "empty.wav").write_bytes(b"")
    with pytest.raises(RecordingError, match="empty"):
        probe(tmp_path / "empty.wav")
    with pytest.raises(RecordingError):
        probe(tmp_path)


def test_a_video_without_sound_says_so(tmp_path: Path) -> None:
    path = tmp_path / "silent.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=5)
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv420p"
        for _ in range(5):
            for packet in stream.encode(av.VideoFrame(64, 64, "yuv420p")):
                container.mux(packet)
        for packet in stream.encode(None):
            container.mux(packet)
    assert probe(path).has_video
    assert not probe(path).has_audio
    with pytest.raises(RecordingError, match="no audio track"):
        Spool(path)


def test_clock() -> None:
    assert [clock(5), clock(65.4), clock(3723)] == ["0:05", "1:05", "1:02:03"]


def test_every_odd_file_does_what_its_row_says(shared: Path) -> None:
    rows = [json.loads(line) for line in (shared / "speech" / "manifest.jsonl").read_text(encoding="utf-8").splitlines()]
    odd = [row for row in rows if "expect_error" in row]
    assert odd
    for row in odd:
        path = shared / "speech" / row["path"]
        if row["expect_error"]:
            with pytest.raises(RecordingError) as caught:
                Spool(path)
            assert path.name in caught.value.sentence, row["id"]
            continue
        with Spool(path) as spool:
            assert spool.duration_s == pytest.approx(row["seconds"], abs=0.1), row["id"]
            assert bool(spool.warnings) == row["expect_warning"], row["id"]
