"""The engine on CTranslate2: faster-whisper's features and tokenizer, our batches.

Comes in: chunks of speech. Goes out: `Decoded` for each, with word times; segments by way of `guard`.
Does not know: recordings, jobs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.batches import in_batches, padded, padded_s
from pipeline.guard import guarded
from pipeline.recording import Samples
from pipeline.speech import Chunk
from pipeline.words import Decoded, aligned_words
from store.errors import EngineError, OutOfMemory, SettingsError, WeightsError
from store.records import Segment

FRAMES_PER_S = 100  # of the mel spectrogram
TOKENS_PER_SPEECH_S = 10  # enough for any language; a loop must not fill the model's whole context
SPARE_TOKENS = 40
CONTEXT_TOKENS = 448


class FasterWhisper:
    """CTranslate2's Whisper: greedy, batched, word times by alignment."""

    def __init__(
        self, folder: Path, *, label: str, device: str, compute_type: str, threads: int, batch_size: int, lanes: int = 1
    ) -> None:
        """Load a CTranslate2 folder. `lanes` batches may be decoded at once; they share the `threads` of a CPU.

        Raises `WeightsError` or `EngineError`.
        """
        import ctranslate2
        import faster_whisper
        from faster_whisper.feature_extractor import FeatureExtractor
        from tokenizers import Tokenizer

        self.name = f"faster-whisper {faster_whisper.__version__}"
        self.model = label
        self.device = device
        self.compute_type = compute_type
        self.batch_size = batch_size
        self.lanes = lanes
        try:
            self._whisper: Any = ctranslate2.models.Whisper(
                str(folder), device=device, compute_type=compute_type, intra_threads=max(1, threads // lanes), inter_threads=lanes
            )
            self._tokens = Tokenizer.from_file(str(folder / "tokenizer.json"))
        except (RuntimeError, ValueError) as error:
            raise _engine_error(error, f"{label} on {device}") from error
        except Exception as error:  # the tokenizer library raises bare exceptions
            raise WeightsError(
                f"the tokenizer cannot be read ({error})", where=str(folder), next_step="Fetch the model again"
            ) from error
        self._features = FeatureExtractor(feature_size=self._whisper.n_mels)
        self._tokenizers: dict[str, Any] = {}

    @property
    def multilingual(self) -> bool:
        """Say whether the model knows more than English."""
        return bool(self._whisper.is_multilingual)

    def transcribe(self, chunks: Sequence[Chunk]) -> Iterator[list[Segment]]:
        """Yield the segments of each chunk, in order, checked by `guard`."""
        return guarded(self.decode, chunks)

    def decode(self, chunks: Sequence[Chunk], temperature: float = 0.0) -> list[Decoded]:
        """Decode chunks, in order. Raises `EngineError`; `OutOfMemory` if not even one chunk fits."""
        decoded, self.batch_size = in_batches(
            chunks, self.batch_size, lambda batch, length_s: self._decode(batch, length_s, temperature)
        )
        return decoded

    def detect_language(self, audios: Sequence[Samples]) -> list[dict[str, float]]:
        """Return each sound's probability of every language."""
        if not self.multilingual:
            return [{"en": 1.0} for _ in audios]
        found = []
        for audio in audios:
            try:
                (probabilities,) = self._whisper.detect_language(self._encode([audio], padded_s(len(audio) / 16_000)))
            except RuntimeError as error:
                raise _engine_error(error, f"{self.model} on {self.device}") from error
            found.append({token.strip("<|>"): float(probability) for token, probability in probabilities})
        return found

    def _decode(self, batch: Sequence[Chunk], length_s: float, temperature: float) -> list[Decoded]:
        tokenizer = self._tokenizer(batch[0].language or "en")
        prompt = [*tokenizer.sot_sequence, tokenizer.no_timestamps]
        limit = int(SPARE_TOKENS + TOKENS_PER_SPEECH_S * length_s)
        try:
            encoded = self._encode([chunk.audio for chunk in batch], length_s)
            results = self._whisper.generate(
                encoded,
                [prompt] * len(batch),
                beam_size=1,
                sampling_topk=1 if temperature == 0 else 0,
                sampling_temperature=temperature or 1.0,
                max_length=min(CONTEXT_TOKENS, len(prompt) + limit),
                return_scores=True,
                return_no_speech_prob=True,
            )
            texts = [[token for token in result.sequences_ids[0] if token < tokenizer.eot] for result in results]
            frames = [max(2, min(int(length_s * FRAMES_PER_S), round(chunk.duration_s * FRAMES_PER_S))) for chunk in batch]
            spoken = [index for index, text in enumerate(texts) if text]
            alignments: dict[int, Any] = {}
            if spoken:
                # Chunks without words would be aligned to nothing; they stay in the batch, because the encoder's output is one.
                found = self._whisper.align(encoded, tokenizer.sot_sequence, texts, frames)
                alignments = dict(enumerate(found))
        except RuntimeError as error:
            raise _engine_error(error, f"{self.model} on {self.device}") from error
        decoded = []
        for index, (chunk, result, text) in enumerate(zip(batch, results, texts, strict=True)):
            words: tuple[Any, ...] = ()
            if text:
                pieces, tokens = tokenizer.split_to_word_tokens([*text, tokenizer.eot])
                alignment = alignments[index]
                words = aligned_words(
                    pieces[:-1],
                    [len(group) for group in tokens[:-1]],
                    np.array(alignment.alignments, dtype=np.int64).reshape(-1, 2).T,
                    alignment.text_token_probs,
                    chunk.duration_s,
                )
            length = len(result.sequences_ids[0])
            decoded.append(Decoded(words, result.scores[0] * length / (length + 1), result.no_speech_prob))
        return decoded

    def _encode(self, audios: Sequence[Samples], length_s: float) -> Any:
        import ctranslate2

        mels = self._mels(audios, length_s)
        if self.device != "cpu":
            mels = [np.concatenate(mels)]
        views = [ctranslate2.StorageView.from_array(np.ascontiguousarray(mel, dtype=np.float32)) for mel in mels]
        if len(views) == 1:
            return self._whisper.encode(views[0])
        # One by one on a CPU: the encoder fills every core with a single chunk, and a batch of 8 takes 0.8 GB more.
        encoded = [np.array(self._whisper.encode(view)) for view in views]
        return ctranslate2.StorageView.from_array(np.concatenate(encoded))

    def _mels(self, audios: Sequence[Samples], length_s: float) -> list[Any]:
        """Return each sound's spectrogram, float32, shape (1, n_mels, frames)."""
        frames = round(length_s * FRAMES_PER_S)
        return [self._features(padded(audio, length_s), padding=0)[None, :, :frames] for audio in audios]

    def _tokenizer(self, language: str) -> Any:
        from faster_whisper.tokenizer import Tokenizer

        if language not in self._tokenizers:
            try:
                self._tokenizers[language] = Tokenizer(self._tokens, self.multilingual, task="transcribe", language=language)
            except ValueError as error:
                raise SettingsError(
                    "Whisper knows no such language", where=language, next_step="Use a code such as en or de"
                ) from error
        return self._tokenizers[language]


def _engine_error(error: Exception, where: str) -> EngineError:
    """Name what CTranslate2 says in a bare RuntimeError."""
    text = str(error).splitlines()[0] if str(error) else type(error).__name__
    if "out of memory" in text.lower() or "alloc" in text.lower():
        return OutOfMemory(f"the device is out of memory ({text})", where=where, next_step="Lower EARMARK_BATCH_SIZE")
    return EngineError(f"the engine failed ({text})", where=where, next_step="Try --device cpu, or another --engine")
