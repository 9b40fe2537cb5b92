"""Whisper weights in three formats, made one: CTranslate2, Hugging Face and openai-whisper.

Comes in: `Weights` (a folder or file). Goes out: a `Checkpoint` with openai-whisper's tensor names, or a CTranslate2 folder.
Does not know: engines, devices. Nothing here can execute: tensors only, pickles only through torch's weights_only.
"""

from __future__ import annotations

import json
import pickle
import shutil
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from store.errors import WeightsError
from store.settings import Settings
from store.weights import CTRANSLATE2_FILE, Weights, models_folder

Tensors = dict[str, npt.NDArray[Any]]

CTRANSLATE2_VERSION = 6  # of the file's layout; older ones had no aliases
CTRANSLATE2_TYPES = {0: np.float32, 1: np.int8, 2: np.int16, 3: np.int32, 4: np.float16}
HEAD_SIZE = 64  # every Whisper has heads this wide


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A Whisper model with openai-whisper's names. `alignment_heads` are (layer, head), None where unknown."""

    dims: dict[str, int]
    tensors: Tensors
    alignment_heads: tuple[tuple[int, int], ...] | None


def read_checkpoint(weights: Weights) -> Checkpoint:
    """Read weights of any format. Raises `WeightsError` if they are no Whisper model."""
    try:
        if weights.format == "ctranslate2":
            return _from_ctranslate2(weights.path)
        if weights.format == "transformers":
            return _from_transformers(weights.path)
        return _from_openai(weights.path)
    except (KeyError, ValueError, struct.error, OSError, RuntimeError, pickle.UnpicklingError) as error:
        reason = (str(error).splitlines() or [""])[0]
        raise WeightsError(
            f"the weights cannot be read as a Whisper model ({type(error).__name__}: {reason})",
            where=str(weights.path),
            next_step="Fetch them again",
        ) from error


def as_ctranslate2(weights: Weights, settings: Settings) -> Path:
    """Return a CTranslate2 folder with these weights, converting a Hugging Face folder once."""
    if weights.format == "ctranslate2":
        return weights.path
    if weights.format == "openai":
        raise WeightsError(
            "faster-whisper cannot load an openai-whisper file",
            where=str(weights.path),
            next_step="Use --engine openai-whisper for it",
        )
    folder = models_folder(settings) / f"ctranslate2-{weights.label}"
    if not (folder / CTRANSLATE2_FILE).is_file():
        _convert(weights.path, folder)
    return folder


def _convert(source: Path, folder: Path) -> None:
    from ctranslate2.converters import TransformersConverter

    beside = [name for name in ("tokenizer.json", "preprocessor_config.json") if (source / name).is_file()]
    if "tokenizer.json" not in beside:
        raise WeightsError("the folder has no tokenizer.json", where=str(source), next_step="Save the model's tokenizer there too")
    part = folder.with_name(f"{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    try:
        TransformersConverter(str(source), copy_files=beside).convert(str(part), quantization="float16")
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        shutil.rmtree(part, ignore_errors=True)
        raise WeightsError(
            f"the model cannot be converted ({error})", where=str(source), next_step="Use --engine openai-whisper for it"
        ) from error
    _name_languages(part)
    shutil.rmtree(folder, ignore_errors=True)
    part.replace(folder)


def _name_languages(folder: Path) -> None:
    """Write down which tokens are languages, where the source did not: without them none is ever detected."""
    path = folder / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    if config.get("lang_ids"):
        return
    marks = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))["added_tokens"]
    ids = {mark["content"]: mark["id"] for mark in marks}
    first, last = ids.get("<|startoftranscript|>", 0), ids.get("<|translate|>", 0)
    config["lang_ids"] = sorted(number for number in ids.values() if first < number < last)
    path.write_text(json.dumps(config, indent=2), encoding="utf-8")


# --- CTranslate2 ------------------------------------------------------------------------------------------------------


def read_ctranslate2(path: Path) -> Tensors:
    """Read a `model.bin`: a plain list of named tensors, then aliases. int8 tensors come back as float32."""
    tensors: Tensors = {}
    with path.open("rb") as file:
        (version,) = _unpack(file, "<I")
        if version != CTRANSLATE2_VERSION:
            raise ValueError(f"layout version {version}, not {CTRANSLATE2_VERSION}")
        _name(file)  # the specification's name
        _unpack(file, "<I")  # and its revision
        (count,) = _unpack(file, "<I")
        for _ in range(count):
            name = _name(file)
            (rank,) = _unpack(file, "<B")
            shape = _unpack(file, f"<{rank}I")
            kind, size = _unpack(file, "<BI")
            tensors[name] = np.frombuffer(file.read(size), dtype=CTRANSLATE2_TYPES[kind]).reshape(shape)
        (aliases,) = _unpack(file, "<I")
        for _ in range(aliases):
            alias = _name(file)
            tensors[alias] = tensors[_name(file)]
    for name in [name for name in tensors if name.endswith("weight_scale")]:
        weight = name.removesuffix("_scale")
        scale = tensors[name].astype(np.float32)
        tensors[weight] = tensors[weight].astype(np.float32) / (scale[:, None] if scale.ndim else scale)
    return tensors


def _unpack(file: BinaryIO, layout: str) -> tuple[Any, ...]:
    return struct.unpack(layout, file.read(struct.calcsize(layout)))


def _name(file: BinaryIO) -> str:
    (length,) = _unpack(file, "<H")
    return file.read(length)[:-1].decode()  # without the closing NUL


def _from_ctranslate2(folder: Path) -> Checkpoint:
    source = read_ctranslate2(folder / CTRANSLATE2_FILE)
    tensors: Tensors = {}

    def linear(old: str, new: str, *, bias: bool = True) -> None:
        tensors[f"{new}.weight"] = source[f"{old}/weight"]
        if bias:
            tensors[f"{new}.bias"] = source[f"{old}/bias"]

    def norm(old: str, new: str) -> None:
        tensors[f"{new}.weight"], tensors[f"{new}.bias"] = source[f"{old}/gamma"], source[f"{old}/beta"]

    def fused(old: str, new: str, names: tuple[str, ...]) -> None:
        weights = np.split(source[f"{old}/weight"], len(names))
        biases = np.split(source[f"{old}/bias"], len(names))
        for name, weight, bias in zip(names, weights, biases, strict=True):
            tensors[f"{new}.{name}.weight"] = weight
            if name != "key":  # Whisper's keys have no bias; CTranslate2 stores zeros for them
                tensors[f"{new}.{name}.bias"] = bias

    for side in ("encoder", "decoder"):
        tensors[f"{side}.positional_embedding"] = source[f"{side}/position_encodings/encodings"]
        for layer in range(_layers(source, f"{side}/layer_{{}}/ffn/linear_0/weight")):
            old, new = f"{side}/layer_{layer}", f"{side}.blocks.{layer}"
            norm(f"{old}/self_attention/layer_norm", f"{new}.attn_ln")
            fused(f"{old}/self_attention/linear_0", f"{new}.attn", ("query", "key", "value"))
            linear(f"{old}/self_attention/linear_1", f"{new}.attn.out")
            if side == "decoder":
                norm(f"{old}/attention/layer_norm", f"{new}.cross_attn_ln")
                linear(f"{old}/attention/linear_0", f"{new}.cross_attn.query")
                fused(f"{old}/attention/linear_1", f"{new}.cross_attn", ("key", "value"))
                linear(f"{old}/attention/linear_2", f"{new}.cross_attn.out")
            norm(f"{old}/ffn/layer_norm", f"{new}.mlp_ln")
            linear(f"{old}/ffn/linear_0", f"{new}.mlp.0")
            linear(f"{old}/ffn/linear_1", f"{new}.mlp.2")
    linear("encoder/conv1", "encoder.conv1")
    linear("encoder/conv2", "encoder.conv2")
    norm("encoder/layer_norm", "encoder.ln_post")
    tensors["decoder.token_embedding.weight"] = source["decoder/embeddings/weight"]
    norm("decoder/layer_norm", "decoder.ln")
    heads = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("alignment_heads")
    return Checkpoint(_dims(tensors), tensors, _heads(heads))


# --- Hugging Face and openai-whisper ----------------------------------------------------------------------------------

TRANSFORMERS_NAMES = (  # in this order: the encoder's attention must not be taken for the decoder's
    ("embed_tokens", "token_embedding"),
    ("embed_positions.weight", "positional_embedding"),
    ("layers.", "blocks."),
    ("encoder_attn_layer_norm", "cross_attn_ln"),
    ("self_attn_layer_norm", "attn_ln"),
    ("final_layer_norm", "mlp_ln"),
    ("encoder_attn", "cross_attn"),
    ("self_attn", "attn"),
    ("q_proj", "query"),
    ("k_proj", "key"),
    ("v_proj", "value"),
    ("out_proj", "out"),
    ("fc1", "mlp.0"),
    ("fc2", "mlp.2"),
    ("encoder.layer_norm", "encoder.ln_post"),
    ("decoder.layer_norm", "decoder.ln"),
)


def _from_transformers(folder: Path) -> Checkpoint:
    tensors: Tensors = {}
    for name, tensor in _transformers_tensors(folder).items():
        if name == "proj_out.weight":  # the same as the token embedding
            continue
        renamed = name.removeprefix("model.")
        for old, new in TRANSFORMERS_NAMES:
            renamed = renamed.replace(old, new)
        tensors[renamed] = tensor
    generation = folder / "generation_config.json"
    heads = json.loads(generation.read_text(encoding="utf-8")).get("alignment_heads") if generation.is_file() else None
    return Checkpoint(_dims(tensors), tensors, _heads(heads))


def _transformers_tensors(folder: Path) -> Tensors:
    import torch

    files = sorted(folder.glob("model*.safetensors"))
    found: dict[str, Any] = {}
    if files:
        from safetensors.torch import load_file

        for file in files:
            found.update(load_file(str(file)))
    else:
        found = torch.load(folder / "pytorch_model.bin", map_location="cpu", weights_only=True)
    return {name: _as_numpy(tensor) for name, tensor in found.items()}


def _from_openai(path: Path) -> Checkpoint:
    import torch

    loaded = torch.load(path, map_location="cpu", weights_only=True)
    tensors = {name: _as_numpy(tensor) for name, tensor in loaded["model_state_dict"].items()}
    return Checkpoint(_dims(tensors), tensors, _heads(loaded.get("alignment_heads")))


def _as_numpy(tensor: Any) -> npt.NDArray[Any]:
    """Return a torch tensor as numpy, which has no bfloat16."""
    converted: npt.NDArray[Any] = (tensor.float() if str(tensor.dtype) == "torch.bfloat16" else tensor).numpy()
    return converted


def _heads(found: Any) -> tuple[tuple[int, int], ...] | None:
    return tuple((int(layer), int(head)) for layer, head in found) if found else None


def _layers(names: Tensors, pattern: str) -> int:
    count = 0
    while pattern.format(count) in names:
        count += 1
    return count


def _dims(tensors: Tensors) -> dict[str, int]:
    """Read the model's dimensions off its tensors, under the names of openai-whisper's `ModelDimensions`."""
    audio_state, n_mels = (int(size) for size in tensors["encoder.conv1.weight"].shape[:2])
    n_vocab, text_state = (int(size) for size in tensors["decoder.token_embedding.weight"].shape)
    return {
        "n_mels": n_mels,
        "n_audio_ctx": int(tensors["encoder.positional_embedding"].shape[0]),
        "n_audio_state": audio_state,
        "n_audio_head": audio_state // HEAD_SIZE,
        "n_audio_layer": _layers(tensors, "encoder.blocks.{}.mlp.0.weight"),
        "n_vocab": n_vocab,
        "n_text_ctx": int(tensors["decoder.positional_embedding"].shape[0]),
        "n_text_state": text_state,
        "n_text_head": text_state // HEAD_SIZE,
        "n_text_layer": _layers(tensors, "decoder.blocks.{}.mlp.0.weight"),
    }
