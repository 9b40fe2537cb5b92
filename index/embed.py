"""From text to vectors: a sentence-transformers model, run by ONNX Runtime or by torch.

Comes in: texts. Goes out: normalised vectors, float32, shape (n, d), and the stamp of the model that made them.
Does not know: passages, windows, where vectors are kept.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from index.bert_graph import can_write, read_json, write_graph
from store.errors import WeightsError
from store.files import sha256_of, write_atomic
from store.settings import Settings
from store.weights import find_embedder, models_folder

Vectors = npt.NDArray[np.float32]

BATCH_TOKENS = 4096  # tokens of a batch, padding included: more gains nothing on a CPU
CACHED_QUERIES = 4096  # query vectors kept in memory: 6 MB at 384 dimensions
FLOAT = 1  # ONNX's number for float32
# By the weights' hash. Of 300 real questions on 100,000 windows 1 in 100 has its nearest window below .35; a question about puppies
# in a catalogue on Bitcoin reaches .2.
UNRELATED = {"53aa5117": 0.3}  # all-MiniLM-L6-v2
# Of models whose folders do not say it, by a part of their names: what stands before a query, and before a passage.
PROMPTS = {
    "bge-": ("Represent this sentence for searching relevant passages: ", ""),
    "e5-": ("query: ", "passage: "),
}
WEIGHT_FILES = ("model.safetensors", "pytorch_model.bin")


class Embedder(Protocol):
    """Turns texts into vectors. `name` stamps the model by its content, whatever backend runs it.

    `unrelated`: a cosine that texts about different things stay below; 0 where that is not known of a model.
    """

    name: str
    dim: int
    max_tokens: int
    unrelated: float

    def embed_passages(self, texts: Sequence[str]) -> Vectors:
        """Return normalised vectors, float32, shape (n, d)."""
        ...

    def embed_query(self, text: str) -> Vectors:
        """Return a normalised vector, float32, shape (d,)."""
        ...


def open_embedder(settings: Settings, *, threads: int | None = None) -> Embedder:
    """Open the embedder that the settings name. `threads` limits one call's CPU threads (default: half of the cores, at least one).

    Raises `WeightsError` if the model cannot be found or loaded.
    """
    folder = find_embedder(settings.embedder, settings)
    threads = threads or settings.threads or max(1, (os.cpu_count() or 2) // 2)
    if (folder / "tokenizer.json").is_file():
        return OnnxEmbedder(folder, _cache_folder(settings), threads)
    return TorchEmbedder(folder, _cache_folder(settings), threads)


class OnnxEmbedder:
    """The model as ONNX graphs, made once and kept in the cache. Needs neither torch nor sentence_transformers.

    Passages are embedded in float32. A query goes through the same graph in int8: 2.9 ms of a core in place of 7.5, and the same
    ranks (200 talks: fused .744 and .744 strict nDCG@10). Each graph is loaded when it is first needed.
    """

    def __init__(self, folder: Path, cache: Path, threads: int) -> None:
        """Open the model of a sentence-transformers folder, writing its graph to `cache` if it is not there yet."""
        from tokenizers import Tokenizer

        self.name = model_stamp(folder, cache)
        self.dim, self.max_tokens = _shape(folder)
        self.unrelated = UNRELATED.get(self.name.rpartition(":")[2], 0.0)
        self._folder, self._threads = folder, threads
        self._graph = cache / f"{self.name.replace('@sha256:', '-')}.fp32.onnx"
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.enable_truncation(self.max_tokens)
        self._tokenizer.no_padding()
        self._pad = int(read_json(folder / "config.json").get("pad_token_id") or 0)
        self._query_prompt, self._passage_prompt = prompts_of(folder, self.name)
        self._queries = _QueryCache(CACHED_QUERIES)

    def embed_passages(self, texts: Sequence[str]) -> Vectors:
        """Return normalised vectors, float32, shape (n, d). Texts of like length share a batch."""
        vectors = np.zeros((len(texts), self.dim), dtype=np.float32)
        ids = [encoding.ids for encoding in self._tokenizer.encode_batch([self._passage_prompt + text for text in texts])]
        order = sorted(range(len(texts)), key=lambda index: len(ids[index]), reverse=True)
        start = 0
        while start < len(order):
            longest = max(len(ids[order[start]]), 1)
            batch = order[start : start + max(1, BATCH_TOKENS // longest)]
            vectors[batch] = self._run(self._exact, [ids[index] for index in batch])
            start += len(batch)
        return vectors

    def embed_query(self, text: str) -> Vectors:
        """Return a normalised vector, float32, shape (d,); queries seen lately come from memory."""
        vector = self._queries.get(text)
        if vector is None:
            vector = self._run(self._fast, [self._tokenizer.encode(self._query_prompt + text).ids])[0]
            self._queries.put(text, vector)
        return vector

    @cached_property
    def _exact(self) -> Any:
        return _open_graph(_made(self._graph, partial(_make_graph, self._folder)), self._threads)

    @cached_property
    def _fast(self) -> Any:
        small = self._graph.with_suffix("").with_suffix(".int8.onnx")
        if not small.is_file():
            _made(self._graph, partial(_make_graph, self._folder))
        return _open_graph(_made(small, partial(_make_small, self._graph)), self._threads)

    def _run(self, session: Any, ids: Sequence[Sequence[int]]) -> Vectors:
        longest = max(map(len, ids))
        tokens = np.full((len(ids), longest), self._pad, dtype=np.int32)
        mask = np.zeros((len(ids), longest), dtype=np.int32)
        for row, some in enumerate(ids):
            tokens[row, : len(some)] = some
            mask[row, : len(some)] = 1
        feeds: dict[str, Any] = {"input_ids": tokens, "attention_mask": mask}
        (vectors,) = session.run(["embedding"], feeds)
        return np.asarray(vectors, dtype=np.float32)


class TorchEmbedder:
    """The model run by sentence-transformers, for folders that ONNX Runtime cannot serve, and to check the other against."""

    def __init__(self, folder: Path, cache: Path, threads: int) -> None:
        """Load a sentence-transformers folder. Raises `WeightsError` if it is none."""
        import torch
        from sentence_transformers import SentenceTransformer

        torch.set_num_threads(threads)  # with more threads than free cores it is 30 times slower
        try:
            self._model = SentenceTransformer(
                str(folder), device="cuda" if torch.cuda.is_available() else "cpu", local_files_only=True
            )
        except (OSError, ValueError) as error:
            raise WeightsError(
                f"not a sentence-transformers model ({error})", where=str(folder), next_step="Check the setting embedder"
            ) from error
        self.name = model_stamp(folder, cache)
        self.unrelated = UNRELATED.get(self.name.rpartition(":")[2], 0.0)
        self._query_prompt, self._passage_prompt = prompts_of(folder, self.name)
        dimension = getattr(self._model, "get_embedding_dimension", None) or self._model.get_sentence_embedding_dimension
        self.dim = int(dimension() or 0)
        self.max_tokens = int(self._model.max_seq_length or 512)
        self._queries = _QueryCache(CACHED_QUERIES)

    def embed_passages(self, texts: Sequence[str]) -> Vectors:
        """Return normalised vectors, float32, shape (n, d)."""
        return self._encode(texts, self._passage_prompt)

    def embed_query(self, text: str) -> Vectors:
        """Return a normalised vector, float32, shape (d,); queries seen lately come from memory."""
        vector = self._queries.get(text)
        if vector is None:
            vector = self._encode([text], self._query_prompt)[0]
            self._queries.put(text, vector)
        return vector

    def _encode(self, texts: Sequence[str], prompt: str) -> Vectors:
        if not texts:
            return np.zeros((0, self.dim), dtype=np.float32)
        vectors = self._model.encode(list(texts), prompt=prompt, normalize_embeddings=True, show_progress_bar=False)
        return np.asarray(vectors, dtype=np.float32)


class _QueryCache:
    """The vectors of the queries seen last. Safe between threads."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._kept: OrderedDict[str, Vectors] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, text: str) -> Vectors | None:
        with self._lock:
            if text in self._kept:
                self._kept.move_to_end(text)
            return self._kept.get(text)

    def put(self, text: str, vector: Vectors) -> None:
        with self._lock:
            self._kept[text] = vector
            if len(self._kept) > self._size:
                self._kept.popitem(last=False)


def prompts_of(folder: Path, name: str) -> tuple[str, str]:
    """Return what a model wants to read before a query and before a passage: what its folder says, else what is known of it."""
    prompts = read_json(folder / "config_sentence_transformers.json").get("prompts") or {}
    query, passage = str(prompts.get("query", "")), str(prompts.get("document", prompts.get("passage", "")))
    if query or passage:
        return query, passage
    return next((known for part, known in PROMPTS.items() if part in name.lower()), ("", ""))


def model_stamp(folder: Path, cache: Path) -> str:
    """Return `NAME@sha256:FIRST8` of a model folder. The hash is taken once and kept in `cache` until the file changes."""
    weights = next((folder / name for name in WEIGHT_FILES if (folder / name).is_file()), None)
    if weights is None:
        raise WeightsError("no weights in this folder", where=str(folder), next_step=f"It should hold {' or '.join(WEIGHT_FILES)}")
    facts = weights.stat()
    key = hashlib.sha256(f"{weights.resolve()}\0{facts.st_size}\0{facts.st_mtime_ns}".encode()).hexdigest()[:16]
    kept = cache / f"stamp-{key}.json"
    digest = str(read_json(kept).get("sha256", ""))
    if not digest:
        digest = sha256_of(weights)
        write_atomic(kept, json.dumps({"sha256": digest, "file": weights.name}).encode())
    config = read_json(folder / "config.json")
    hub = next((part.rpartition("--")[2] for part in folder.parts if part.startswith("models--")), "")  # the hub's own cache
    parts = (hub, folder.name, folder.parent.name, str(config.get("_name_or_path", "")).rsplit("/", 1)[-1], "model")
    name = next(part for part in parts if part and part not in {"model", "models"})
    return f"{name}@sha256:{digest[:8]}"


def _made(graph: Path, make: Callable[[Path], None]) -> Path:
    """Return `graph`, made first if it is not there. What is half made never has its name."""
    if not graph.is_file():
        graph.parent.mkdir(parents=True, exist_ok=True)
        part = graph.with_name(f".{graph.name}.{os.getpid()}-{threading.get_ident()}.part")
        try:
            make(part)
            part.replace(graph)
        finally:
            part.unlink(missing_ok=True)
    return graph


def _make_graph(folder: Path, target: Path) -> None:
    if can_write(folder):
        write_graph(folder, target)
    else:
        from index.torch_graph import export_graph

        export_graph(folder, target)


def _make_small(graph: Path, target: Path) -> None:
    """Write the graph with int8 weights, one scale a column. 7 bits are used: AVX2 adds products in 16 bits."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    unseen = {"DefaultTensorType": FLOAT}  # what the fused operators give is not known to ONNX
    quantize_dynamic(
        graph,
        target,
        op_types_to_quantize=["MatMul", "Attention"],
        weight_type=QuantType.QInt8,
        per_channel=True,
        reduce_range=True,
        extra_options=unseen,
    )


def _open_graph(graph: Path, threads: int) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # waiting threads must not burn a shared core
    try:
        return onnxruntime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's own errors share no public base class
        raise WeightsError(
            f"the encoder cannot be loaded ({error})", where=str(graph), next_step="Delete the file; it will be made again"
        ) from error


def _shape(folder: Path) -> tuple[int, int]:
    """Return the dimension and the longest input in tokens."""
    config = read_json(folder / "config.json")
    limit = read_json(folder / "sentence_bert_config.json").get("max_seq_length") or config.get("max_position_embeddings") or 512
    return int(config.get("hidden_size") or config.get("dim") or 0), int(limit)


def _cache_folder(settings: Settings) -> Path:
    return models_folder(settings) / "embedders"
