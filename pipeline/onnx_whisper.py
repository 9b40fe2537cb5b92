"""The fastest engine on a CPU: ONNX Runtime's int8 encoder feeding CTranslate2's decoder.

Comes in: chunks of speech. Goes out: `Decoded` for each, as from `faster_whisper`, whose decoder, words and checks it shares.
The encoder's graph is written from the weights once and kept beside the models.
Does not know: recordings, jobs, GPUs (there CTranslate2's own encoder is at home).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.faster_whisper import FasterWhisper
from pipeline.recording import Samples
from store.checkpoint import as_ctranslate2, read_checkpoint
from store.errors import EngineError, OutOfMemory, WeightsError
from store.files import write_atomic
from store.settings import Settings
from store.weights import Weights, models_folder


class OnnxWhisper(FasterWhisper):
    """CTranslate2's Whisper with another encoder in front: greedy, batched, word times by alignment."""

    def __init__(self, weights: Weights, settings: Settings, *, threads: int, batch_size: int, lanes: int = 1) -> None:
        """Load the decoder, and the encoder, which is converted the first time. Raises `WeightsError` or `EngineError`."""
        import onnxruntime

        super().__init__(
            as_ctranslate2(weights, settings),
            label=weights.label,
            device="cpu",
            compute_type="int8",
            threads=threads,
            batch_size=batch_size,
            lanes=lanes,
        )
        self.name = f"onnx-whisper {onnxruntime.__version__}"
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = max(1, threads // lanes), 1
        options.enable_cpu_mem_arena = False
        graph = encoder_graph(weights, settings)
        try:
            self._encoder: Any = onnxruntime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's errors share no base class
            raise EngineError(
                f"the encoder's graph cannot be opened ({_first_line(error)})", where=str(graph), next_step="Delete that file"
            ) from error

    def _encode(self, audios: Sequence[Samples], length_s: float) -> Any:
        import ctranslate2

        encoded: npt.NDArray[np.float32] | None = None
        try:
            for index, mel in enumerate(self._mels(audios, length_s)):
                (found,) = self._encoder.run(None, {"mel": mel.astype(np.float32)})
                if encoded is None:
                    encoded = np.empty((len(audios), *found.shape[1:]), dtype=np.float32)
                encoded[index] = found[0]
        except Exception as error:
            text = _first_line(error)
            if "alloc" in text.lower():
                raise OutOfMemory(
                    f"the encoder ran out of memory ({text})", where="cpu", next_step="Lower EARMARK_THREADS"
                ) from error
            raise EngineError(f"the encoder failed ({text})", where="cpu", next_step="Try --engine faster-whisper") from error
        return ctranslate2.StorageView.from_array(encoded)


def encoder_graph(weights: Weights, settings: Settings) -> Path:
    """Return the encoder's ONNX file, written from the weights if it is not there yet. Raises `WeightsError`."""
    from pipeline.whisper_graph import GRAPH_VERSION, encoder_onnx

    target = models_folder(settings) / f"encoder-{GRAPH_VERSION}-{weights.label}.onnx"
    if not target.is_file():
        try:
            write_atomic(target, encoder_onnx(read_checkpoint(weights)))
        except KeyError as error:
            raise WeightsError(
                f"the encoder's weight {error} is missing", where=str(weights.path), next_step="Fetch the model again"
            ) from error
    return target


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
