"""Writes a BERT-like sentence encoder as one ONNX graph, straight from its weights, without torch.

Comes in: a sentence-transformers folder (`config.json`, `model.safetensors`, `1_Pooling/config.json`). Goes out: an ONNX file
whose inputs are `input_ids` and `attention_mask` (int32, shape (n, tokens)) and whose output `embedding` (float32, shape (n, d))
is pooled and normalised. Attention, layer norm and GELU are ONNX Runtime's fused operators.
Does not know: tokens, caches, sessions.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from store.errors import WeightsError

MODEL_TYPES = ("bert", "roberta", "xlm-roberta", "camembert")  # one architecture, written in four ways
FUSED = "com.microsoft"
OPSET, IR_VERSION = 17, 8

Array = npt.NDArray[np.float32]


def can_write(folder: Path) -> bool:
    """Tell whether the model in `folder` is of a kind that `write_graph` knows."""
    config = read_json(folder / "config.json")
    return (
        config.get("model_type") in MODEL_TYPES
        and config.get("hidden_act") == "gelu"
        and config.get("position_embedding_type", "absolute") == "absolute"
        and (folder / "model.safetensors").is_file()
    )


def read_json(path: Path) -> dict[str, Any]:
    """Return a JSON object from a file, {} if there is no such file."""
    if not path.is_file():
        return {}
    loaded = json.loads(path.read_text(encoding="utf-8"))
    return loaded if isinstance(loaded, dict) else {}


def pooling_mode(folder: Path) -> str:
    """Return `cls` or `mean`, as the folder's pooling module says. Raises `WeightsError` for any other."""
    config = read_json(folder / "1_Pooling" / "config.json")
    on = [key.removeprefix("pooling_mode_") for key, value in config.items() if key.startswith("pooling_mode_") and value is True]
    if on == ["cls_token"]:
        return "cls"
    if on in ([], ["mean_tokens"]):
        return "mean"
    raise WeightsError(
        f"its pooling ({', '.join(on)}) is not supported", where=str(folder), next_step="Choose a model with mean or CLS pooling"
    )


def write_graph(folder: Path, target: Path) -> None:
    """Write the ONNX file of the model in `folder` to `target`. Raises `WeightsError` if a weight is missing."""
    import onnx
    from safetensors.numpy import load_file

    config = read_json(folder / "config.json")
    weights = load_file(folder / "model.safetensors")
    graph = _Graph({_plain_name(name): value.astype(np.float32) for name, value in weights.items()}, str(folder))
    hidden = _embeddings(graph, config)
    for layer in range(int(config["num_hidden_layers"])):
        hidden = _layer(graph, config, layer, hidden)
    _pooled(graph, hidden, pooling_mode(folder))
    model = onnx.helper.make_model(
        onnx.helper.make_graph(
            graph.nodes,
            "sentence-encoder",
            [
                onnx.helper.make_tensor_value_info(name, onnx.TensorProto.INT32, ["n", "tokens"])
                for name in ("input_ids", "attention_mask")
            ],
            [onnx.helper.make_tensor_value_info("embedding", onnx.TensorProto.FLOAT, ["n", int(config["hidden_size"])])],
            [onnx.numpy_helper.from_array(value, name) for name, value in graph.constants.items()],
        ),
        opset_imports=[onnx.helper.make_opsetid("", OPSET), onnx.helper.make_opsetid(FUSED, 1)],
        ir_version=IR_VERSION,
    )
    target.write_bytes(model.SerializeToString())


class _Graph:
    """Nodes and constants as they are written down."""

    def __init__(self, weights: dict[str, Array], where: str) -> None:
        self.weights, self.where = weights, where
        self.nodes: list[Any] = []
        self.constants: dict[str, npt.NDArray[Any]] = {}

    def weight(self, name: str) -> Array:
        if name not in self.weights:
            raise WeightsError(f"the weight {name!r} is missing", where=self.where, next_step="Install the model again")
        return self.weights[name]

    def constant(self, name: str, value: npt.NDArray[Any]) -> str:
        self.constants[name] = np.asarray(value, order="C")
        return name

    def node(self, kind: str, inputs: list[str], output: str, *, domain: str = "", **attributes: Any) -> str:
        from onnx import helper

        self.nodes.append(helper.make_node(kind, inputs, [output], domain=domain, **attributes))
        return output

    def norm(self, name: str, inputs: list[str], output: str, epsilon: float, bias: str) -> str:
        """Add two tensors and a bias, and normalise the sum."""
        gamma = self.constant(f"{output}.gamma", self.weight(f"{name}.weight"))
        beta = self.constant(f"{output}.beta", self.weight(f"{name}.bias"))
        return self.node("SkipLayerNormalization", [*inputs, gamma, beta, bias], output, domain=FUSED, epsilon=epsilon)


def _plain_name(name: str) -> str:
    for prefix in (*(f"{kind}." for kind in MODEL_TYPES), "model."):
        name = name.removeprefix(prefix)
    return name


def _embeddings(graph: _Graph, config: dict[str, Any]) -> str:
    words = graph.constant("words", graph.weight("embeddings.word_embeddings.weight"))
    places = graph.weight("embeddings.position_embeddings.weight")
    if config["model_type"] != "bert":  # the RoBERTa family counts places from the padding id + 1
        places = places[int(config.get("pad_token_id", 1)) + 1 :]
    places = places + graph.weight("embeddings.token_type_embeddings.weight")[0]  # a single text is all of type 0
    inputs = [
        "input_ids",
        "",
        words,
        graph.constant("places", places),
        "",
        graph.constant("embedded.gamma", graph.weight("embeddings.LayerNorm.weight")),
        graph.constant("embedded.beta", graph.weight("embeddings.LayerNorm.bias")),
    ]
    from onnx import helper

    outputs = ["embedded", "embedded.mask"]
    graph.nodes.append(
        helper.make_node("EmbedLayerNormalization", inputs, outputs, domain=FUSED, epsilon=float(config["layer_norm_eps"]))
    )
    return "embedded"


def _layer(graph: _Graph, config: dict[str, Any], layer: int, hidden: str) -> str:
    source, name, epsilon = f"encoder.layer.{layer}", f"layer{layer}", float(config["layer_norm_eps"])
    parts = [f"{source}.attention.self.{part}" for part in ("query", "key", "value")]
    qkv = graph.constant(f"{name}.qkv", np.concatenate([graph.weight(f"{part}.weight").T for part in parts], axis=1))
    qkv_bias = graph.constant(f"{name}.qkv.bias", np.concatenate([graph.weight(f"{part}.bias") for part in parts]))
    attended = graph.node(
        "Attention",
        [hidden, qkv, qkv_bias, "attention_mask"],
        f"{name}.attended",
        domain=FUSED,
        num_heads=int(config["num_attention_heads"]),
    )

    def linear(part: str, value: str, output: str) -> tuple[str, str]:
        weight = graph.constant(f"{output}.weight", graph.weight(f"{source}.{part}.weight").T)
        return graph.node("MatMul", [value, weight], output), graph.constant(
            f"{output}.bias", graph.weight(f"{source}.{part}.bias")
        )

    projected, bias = linear("attention.output.dense", attended, f"{name}.projected")
    first = graph.norm(f"{source}.attention.output.LayerNorm", [projected, hidden], f"{name}.first", epsilon, bias)
    wide, bias = linear("intermediate.dense", first, f"{name}.wide")
    active = graph.node("BiasGelu", [wide, bias], f"{name}.active", domain=FUSED)
    narrow, bias = linear("output.dense", active, f"{name}.narrow")
    return graph.norm(f"{source}.output.LayerNorm", [narrow, first], f"{name}.second", epsilon, bias)


def _pooled(graph: _Graph, hidden: str, mode: str) -> None:
    axis_1 = graph.constant("axis_1", np.array([1], dtype=np.int64))
    if mode == "cls":
        first = graph.constant("first", np.array(0, dtype=np.int64))
        pooled = graph.node("Gather", [hidden, first], "pooled", axis=1)
    else:
        from onnx import TensorProto

        axis_2 = graph.constant("axis_2", np.array([2], dtype=np.int64))
        mask = graph.node("Cast", ["attention_mask"], "mask", to=TensorProto.FLOAT)
        wide_mask = graph.node("Unsqueeze", [mask, axis_2], "mask.wide")
        kept = graph.node("Mul", [hidden, wide_mask], "kept")
        total = graph.node("ReduceSum", [kept, axis_1], "total", keepdims=0)
        count = graph.node("ReduceSum", [mask, axis_1], "count", keepdims=1)
        pooled = graph.node("Div", [total, count], "pooled")
    graph.node("LpNormalization", [pooled], "embedding", axis=1, p=2)
