"""The engine on torch: openai-whisper's model and tokenizer, our batches.

Comes in: chunks of speech. Goes out: `Decoded` for each, with word times; segments by way of `guard`.
Does not know: recordings, jobs.
"""

from __future__ import annotations

import importlib.metadata
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.batches import in_batches, padded, padded_s
from pipeline.guard import guarded
from pipeline.recording import SAMPLE_RATE_HZ, Samples
from pipeline.speech import Chunk
from pipeline.words import TOKENS_PER_S, Decoded, aligned_words
from store.checkpoint import read_checkpoint
from store.errors import EngineError, OutOfMemory, SettingsError, WeightsError
from store.records import Segment
from store.weights import Weights

TOKENS_PER_SPEECH_S = 10  # as in the other engine
SPARE_TOKENS = 40
MEDIAN_WIDTH = 7  # encoder frames over which attention is smoothed before alignment
COMPUTE_TYPES = ("float32", "float16", "bfloat16")


class OpenaiWhisper:
    """openai-whisper's own network: greedy, batched, word times from its alignment heads."""

    def __init__(self, weights: Weights, *, device: str, compute_type: str, threads: int, batch_size: int) -> None:
        """Load weights of any format. `threads` is 0 for torch's choice. Raises `WeightsError` or `EngineError`."""
        import torch
        import whisper

        if compute_type not in COMPUTE_TYPES:
            raise EngineError(
                f"openai-whisper cannot compute in {compute_type!r}",
                where="compute_type",
                next_step=f"Use {', '.join(COMPUTE_TYPES)}",
            )
        if threads and device == "cpu":
            torch.set_num_threads(threads)
        self.name = f"openai-whisper {importlib.metadata.version('openai-whisper')}"
        self.model = weights.label
        self.device = device
        self.compute_type = compute_type
        self.batch_size = batch_size
        self.lanes = 1  # the cache hangs on the model's modules: see `_one`
        checkpoint = read_checkpoint(weights)
        try:
            self._dtype = getattr(torch, compute_type)
            self._whisper: Any = whisper.model.Whisper(whisper.model.ModelDimensions(**checkpoint.dims))
            self._whisper.load_state_dict({name: torch.tensor(tensor) for name, tensor in checkpoint.tensors.items()})
            # The model's own buffer of alignment heads is sparse, which MPS cannot hold. We keep the list ourselves.
            del self._whisper._buffers["alignment_heads"]
            self._whisper = self._whisper.to(device=device, dtype=self._dtype).eval()
        except RuntimeError as error:
            if "state_dict" in str(error):
                raise WeightsError(
                    f"the weights do not fit ({error})", where=weights.label, next_step="Fetch them again"
                ) from error
            raise _engine_error(error, f"{weights.label} on {device}") from error
        layers, heads = checkpoint.dims["n_text_layer"], checkpoint.dims["n_text_head"]
        # Where nobody measured which heads align, those of the later half of the layers do, as openai-whisper has it.
        chosen = checkpoint.alignment_heads or [(layer, head) for layer in range(layers // 2, layers) for head in range(heads)]
        self._heads = {layer: [head for at, head in chosen if at == layer] for layer in sorted({at for at, _ in chosen})}
        self._tokenizers: dict[str, Any] = {}
        self._one = threading.Lock()  # the cache hangs on the model's modules: two texts at once would mix

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
        import torch

        tokenizer = self._tokenizer("en")
        found = []
        for audio in audios:
            with self._one, torch.inference_mode():
                encoded = self._encode([audio], padded_s(len(audio) / SAMPLE_RATE_HZ))
                start = torch.tensor([[tokenizer.sot]], device=self.device)
                logits = self._whisper.decoder(start, encoded)[0, 0, list(tokenizer.all_language_tokens)]
                probabilities = logits.float().softmax(-1).tolist()
            found.append(dict(zip(tokenizer.all_language_codes, probabilities, strict=True)))
        return found

    def _decode(self, batch: Sequence[Chunk], length_s: float, temperature: float) -> list[Decoded]:
        import torch

        tokenizer = self._tokenizer(batch[0].language or "en")
        try:
            with self._one, torch.inference_mode():
                encoded = self._encode([chunk.audio for chunk in batch], length_s)
                texts, logprobs, no_speech = self._generate(encoded, tokenizer, length_s, temperature)
                spoken = [index for index, text in enumerate(texts) if text]
                durations = [batch[index].duration_s for index in spoken]
                aligned = self._align(encoded[spoken], tokenizer, [texts[index] for index in spoken], durations) if spoken else []
        except (RuntimeError, MemoryError) as error:
            raise _engine_error(error, f"{self.model} on {self.device}") from error
        words = {}
        for index, (path, probabilities) in zip(spoken, aligned, strict=True):
            pieces, tokens = tokenizer.split_to_word_tokens([*texts[index], tokenizer.eot])
            lengths = [len(group) for group in tokens[:-1]]
            words[index] = aligned_words(pieces[:-1], lengths, path, probabilities, batch[index].duration_s)
        return [Decoded(words.get(index, ()), logprobs[index], no_speech[index]) for index in range(len(batch))]

    def _encode(self, audios: Sequence[Samples], length_s: float) -> Any:
        """Return the encoder's output, shape (batch, length_s * 50, state)."""
        import torch

        if self.device != "cpu":
            return self._encode_batch(audios, length_s)
        return torch.cat([self._encode_batch([audio], length_s) for audio in audios])  # one chunk fills every core

    def _encode_batch(self, audios: Sequence[Samples], length_s: float) -> Any:
        """Run the encoder's own forward pass, but for any length up to 30 s."""
        import torch
        import torch.nn.functional as functional
        from whisper.audio import log_mel_spectrogram

        encoder = self._whisper.encoder
        sounds = torch.from_numpy(np.stack([padded(audio, length_s) for audio in audios])).to(self.device)
        # One by one: the spectrogram is scaled by the loudest moment of what it is given.
        mel = torch.stack([log_mel_spectrogram(sound, self._whisper.dims.n_mels) for sound in sounds]).to(self._dtype)
        state = functional.gelu(encoder.conv2(functional.gelu(encoder.conv1(mel)))).permute(0, 2, 1)
        state = (state + encoder.positional_embedding[: state.shape[1]]).to(self._dtype)
        for block in encoder.blocks:
            state = block(state)
        return encoder.ln_post(state)

    def _generate(
        self, encoded: Any, tokenizer: Any, length_s: float, temperature: float
    ) -> tuple[list[list[int]], list[float], list[float]]:
        """Write text for each row: tokens, mean log probability, probability of no speech."""
        import torch

        rows = encoded.shape[0]
        prompt = [*tokenizer.sot_sequence, tokenizer.no_timestamps]
        limit = min(self._whisper.dims.n_text_ctx - len(prompt), int(SPARE_TOKENS + TOKENS_PER_SPEECH_S * length_s))
        suppressed = _suppressed(tokenizer)
        blank = [*tokenizer.encode(" "), tokenizer.eot]
        texts: list[list[int]] = [[] for _ in range(rows)]
        sums = [0.0] * rows
        active = list(range(rows))
        no_speech: list[float] = []
        cache, hooks = self._whisper.install_kv_cache_hooks()
        try:
            tokens = torch.tensor([prompt] * rows, device=encoded.device)
            for step in range(limit):
                logits = self._whisper.decoder(tokens, encoded, kv_cache=cache)
                if step == 0:
                    starts = logits[:, prompt.index(tokenizer.sot)].float().softmax(-1)
                    no_speech = starts[:, tokenizer.no_speech].tolist()
                logits = logits[:, -1].float()
                logits[:, suppressed] = -torch.inf
                if step == 0:
                    logits[:, blank] = -torch.inf
                logprobs = logits.log_softmax(-1)
                chosen = torch.multinomial((logits / temperature).softmax(-1), 1)[:, 0] if temperature else logits.argmax(-1)
                gained = logprobs.gather(1, chosen[:, None])[:, 0].tolist()
                going = []
                for place, token in enumerate(chosen.tolist()):
                    sums[active[place]] += gained[place]
                    if token != tokenizer.eot:
                        texts[active[place]].append(token)
                        going.append(place)
                if not going:
                    break
                if len(going) < len(active):  # what is finished leaves the batch
                    kept = torch.tensor(going, device=encoded.device)
                    encoded, chosen = encoded[kept], chosen[kept]
                    for module in list(cache):
                        cache[module] = cache[module][kept]
                    active = [active[place] for place in going]
                tokens = chosen[:, None]
        finally:
            for hook in hooks:
                hook.remove()
        means = [total / (len(text) + 1) for total, text in zip(sums, texts, strict=True)]
        return [[token for token in text if token < tokenizer.eot] for text in texts], means, no_speech

    def _align(
        self, encoded: Any, tokenizer: Any, texts: Sequence[Sequence[int]], durations: Sequence[float]
    ) -> list[tuple[npt.NDArray[np.int64], list[float]]]:
        """Return each text's path through the encoder's frames, shape (2, steps), and its tokens' probabilities."""
        import torch
        from whisper.model import disable_sdpa
        from whisper.timing import median_filter

        start = [*tokenizer.sot_sequence, tokenizer.no_timestamps]
        first = len(tokenizer.sot_sequence)
        longest = max(len(text) for text in texts)
        rows = [[*start, *text, *[tokenizer.eot] * (longest + 1 - len(text))] for text in texts]
        seen: dict[int, Any] = {}

        def keep(layer: int) -> Any:
            def hook(module: Any, inputs: Any, outputs: Any) -> None:
                seen[layer] = outputs[-1][:, self._heads[layer]]

            return hook

        blocks = self._whisper.decoder.blocks
        hooks = [blocks[layer].cross_attn.register_forward_hook(keep(layer)) for layer in self._heads]
        try:
            with disable_sdpa():  # the fast attention does not give its weights
                logits = self._whisper.decoder(torch.tensor(rows, device=encoded.device), encoded)
        finally:
            for hook in hooks:
                hook.remove()
        attention = torch.cat([seen[layer] for layer in self._heads], dim=1).float()  # (batch, heads, tokens, frames)
        aligned = []
        for row, (text, duration_s) in enumerate(zip(texts, durations, strict=True)):
            frames = max(1, min(attention.shape[-1], round(duration_s * TOKENS_PER_S)))
            weights = attention[row, :, : len(start) + len(text) + 1, :frames].softmax(-1)
            deviation, mean = torch.std_mean(weights, dim=-2, keepdim=True, unbiased=False)
            weights = median_filter((weights - mean) / deviation.clamp_min(1e-9), MEDIAN_WIDTH)
            matrix = weights.mean(0)[first : first + len(text) + 1].cpu().numpy()
            predicted = logits[row, first : first + len(text), : tokenizer.eot].float().softmax(-1)
            sure = predicted[torch.arange(len(text)), torch.tensor(text, device=predicted.device)].tolist()
            aligned.append((cheapest_path(-matrix), sure))
        return aligned

    def _tokenizer(self, language: str) -> Any:
        from whisper.tokenizer import get_tokenizer

        if language not in self._tokenizers:
            try:
                self._tokenizers[language] = get_tokenizer(
                    self.multilingual,
                    num_languages=self._whisper.num_languages,
                    language=language if self.multilingual else None,
                    task="transcribe" if self.multilingual else None,
                )
            except ValueError as error:
                raise SettingsError(
                    "Whisper knows no such language", where=language, next_step="Use a code such as en or de"
                ) from error
        return self._tokenizers[language]


def _suppressed(tokenizer: Any) -> list[int]:
    """Return the tokens that are never text: notes on sounds, and marks of the protocol. As whisper.decode has it."""
    special = (tokenizer.transcribe, tokenizer.translate, tokenizer.sot, tokenizer.sot_prev, tokenizer.sot_lm, tokenizer.no_speech)
    return sorted({*tokenizer.non_speech_tokens, *special})


def cheapest_path(cost: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
    """Return the cheapest way through a matrix from its first corner to its last, shape (2, steps), by dynamic time warping.

    Steps go right, down or both. Diagonal by diagonal in numpy: whisper.timing's version compiles for ten seconds first.
    """
    rows, columns = cost.shape
    total = np.full((rows + 1, columns + 1), np.inf)
    total[0, 0] = 0.0
    step = np.zeros((rows + 1, columns + 1), dtype=np.int8)  # 0 both, 1 down, 2 right
    step[0, :], step[:, 0] = 2, 1
    for diagonal in range(2, rows + columns + 1):
        row = np.arange(max(1, diagonal - columns), min(rows, diagonal - 1) + 1)
        column = diagonal - row
        ways = np.stack([total[row - 1, column - 1], total[row - 1, column], total[row, column - 1]])
        # whisper.timing takes a straight step unless the diagonal is truly cheaper than both
        choice = np.where((ways[0] < ways[1]) & (ways[0] < ways[2]), 0, np.where((ways[1] < ways[0]) & (ways[1] < ways[2]), 1, 2))
        total[row, column] = cost[row - 1, column - 1] + ways[choice, np.arange(len(row))]
        step[row, column] = choice
    row_at, column_at = rows, columns
    path = []
    while row_at > 0 or column_at > 0:
        path.append((row_at - 1, column_at - 1))
        taken = step[row_at, column_at]
        row_at -= taken != 2
        column_at -= taken != 1
    found: npt.NDArray[np.int64] = np.array(path[::-1], dtype=np.int64).T
    return found


def _engine_error(error: Exception, where: str) -> EngineError:
    """Name what torch says: its out-of-memory error is a RuntimeError too."""
    text = str(error).splitlines()[0] if str(error) else type(error).__name__
    if isinstance(error, MemoryError) or "out of memory" in text.lower() or "can't allocate memory" in text.lower():
        return OutOfMemory(f"the device is out of memory ({text})", where=where, next_step="Lower EARMARK_BATCH_SIZE")
    return EngineError(f"the engine failed ({text})", where=where, next_step="Try --device cpu, or another --engine")
