"""Writes Whisper's encoder as one ONNX graph, int8 where the time goes, straight from the weights.

Comes in: a `Checkpoint`. Goes out: an ONNX model with input `mel` (float32, shape (n, n_mels, frames), any even number of frames up
to 3,000) and output `encoded` (float32, shape (n, frames / 2, state)).
Weights are int8 per output column, activations are quantised as they come; convolutions, attention and norms stay float32.
Does not know: sessions, caches, the decoder.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from store.checkpoint import Checkpoint, Tensors

GRAPH_VERSION = 1  # changes when the same weights would give another graph
FUSED = "com.microsoft"
OPSET, IR_VERSION = 17, 8
EPSILON = 1e-5
LARGEST = 63  # of an int8 weight: products of 7-bit weights cannot saturate AVX2's 16-bit sums (onnxruntime calls it reduce_range)

Array = npt.NDArray[np.float32]


def encoder_onnx(checkpoint: Checkpoint) -> bytes:
    """Return the encoder as the content of an ONNX file. Raises `KeyError` if a tensor is missing."""
    from onnx import TensorProto, helper, numpy_helper

    graph = _Graph(checkpoint.tensors)
    hidden = _ears(graph)
    layers = checkpoint.dims["n_audio_layer"]
    normed = graph.norm("encoder.blocks.0.attn_ln", hidden)
    for layer in range(layers):
        after = f"encoder.blocks.{layer + 1}.attn_ln" if layer + 1 < layers else "encoder.ln_post"
        hidden, normed = _layer(graph, f"encoder.blocks.{layer}", checkpoint.dims["n_audio_head"], hidden, normed, after)
    graph.node("Identity", [normed], "encoded")
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "whisper-encoder",
            [helper.make_tensor_value_info("mel", TensorProto.FLOAT, ["n", checkpoint.dims["n_mels"], "frames"])],
            [helper.make_tensor_value_info("encoded", TensorProto.FLOAT, ["n", "states", checkpoint.dims["n_audio_state"]])],
            [numpy_helper.from_array(value, name) for name, value in graph.constants.items()],
        ),
        opset_imports=[helper.make_opsetid("", OPSET), helper.make_opsetid(FUSED, 1)],
        ir_version=IR_VERSION,
    )
    return bytes(model.SerializeToString())


def quantised(weight: Array) -> tuple[npt.NDArray[np.int8], Array]:
    """Return a weight of shape (inputs, outputs) as int8 and the scale of each output column."""
    scale = np.maximum(np.abs(weight).max(axis=0), 1e-12) / LARGEST
    return np.rint(weight / scale).astype(np.int8), scale.astype(np.float32)


class _Graph:
    """Nodes and constants as they are written down."""

    def __init__(self, tensors: Tensors) -> None:
        self._tensors = tensors
        self.nodes: list[Any] = []
        self.constants: dict[str, npt.NDArray[Any]] = {}

    def weight(self, name: str) -> Array:
        return np.asarray(self._tensors[name], dtype=np.float32)

    def constant(self, name: str, value: npt.NDArray[Any]) -> str:
        self.constants[name] = np.asarray(value, order="C")
        return name

    def node(self, kind: str, inputs: list[str], *outputs: str, domain: str = "", **attributes: Any) -> str:
        from onnx import helper

        self.nodes.append(helper.make_node(kind, inputs, list(outputs), domain=domain, **attributes))
        return outputs[0]

    def linear(self, name: str, value: str, weight: Array, bias: Array) -> str:
        """Multiply with an int8 weight of shape (inputs, outputs) and add the bias."""
        whole, scale = quantised(weight)
        inputs = [
            value,
            self.constant(f"{name}.weight", whole),
            self.constant(f"{name}.scale", scale),
            "",  # symmetric: no zero points
            self.constant(f"{name}.bias", bias),
        ]
        return self.node("DynamicQuantizeMatMul", inputs, name, domain=FUSED)

    def norm(self, name: str, value: str) -> str:
        scale = self.constant(f"{name}.scale", self.weight(f"{name}.weight"))
        return self.node(
            "LayerNormalization", [value, scale, self.constant(f"{name}.bias", self.weight(f"{name}.bias"))], name, epsilon=EPSILON
        )

    def add_and_norm(self, name: str, left: str, right: str) -> tuple[str, str]:
        """Return the sum and its norm, in one pass."""
        scale = self.constant(f"{name}.scale", self.weight(f"{name}.weight"))
        bias = self.constant(f"{name}.bias", self.weight(f"{name}.bias"))
        # The third and second outputs are the mean and deviation, which only training wants.
        self.node("SkipLayerNormalization", [left, right, scale, bias], name, "", "", f"{name}.sum", domain=FUSED, epsilon=EPSILON)
        return f"{name}.sum", name


def _ears(graph: _Graph) -> str:
    """Two convolutions, the second halves the frames; then the places are added."""
    value = "mel"
    for name, stride in (("encoder.conv1", 1), ("encoder.conv2", 2)):
        inputs = [
            value,
            graph.constant(f"{name}.weight", graph.weight(f"{name}.weight")),
            graph.constant(f"{name}.bias", graph.weight(f"{name}.bias")),
        ]
        graph.node("Conv", inputs, name, kernel_shape=[3], pads=[1, 1], strides=[stride])
        value = graph.node("Gelu", [name], f"{name}.active", domain=FUSED)
    heard = graph.node("Transpose", [value], "heard", perm=[0, 2, 1])
    places = graph.constant("places", graph.weight("encoder.positional_embedding"))
    zero = graph.constant("zero", np.array([0], dtype=np.int64))
    shape = graph.node("Shape", [heard], "heard.shape", start=1, end=2)
    here = graph.node("Slice", [places, zero, shape, zero], "places.here")
    return graph.node("Add", [heard, here], "placed")


def _layer(graph: _Graph, name: str, heads: int, hidden: str, normed: str, after: str) -> tuple[str, str]:
    """Return what comes out of a layer, and its norm by `after`."""
    query, key, value = (graph.weight(f"{name}.attn.{part}.weight").T for part in ("query", "key", "value"))
    bias = graph.weight(f"{name}.attn.query.bias")  # Whisper's keys have none
    biases = np.concatenate([bias, np.zeros_like(bias), graph.weight(f"{name}.attn.value.bias")])
    together = graph.linear(f"{name}.qkv", normed, np.concatenate([query, key, value], axis=1), biases)
    parts = [f"{name}.{part}" for part in ("query", "key", "value")]
    graph.node("Split", [together], *parts, axis=2)
    attended = graph.node("MultiHeadAttention", parts, f"{name}.attended", domain=FUSED, num_heads=heads)
    out = graph.linear(f"{name}.out", attended, graph.weight(f"{name}.attn.out.weight").T, graph.weight(f"{name}.attn.out.bias"))
    hidden, normed = graph.add_and_norm(f"{name}.mlp_ln", out, hidden)
    wide = graph.linear(f"{name}.wide", normed, graph.weight(f"{name}.mlp.0.weight").T, graph.weight(f"{name}.mlp.0.bias"))
    active = graph.node("Gelu", [wide], f"{name}.active", domain=FUSED)
    narrow = graph.linear(f"{name}.narrow", active, graph.weight(f"{name}.mlp.2.weight").T, graph.weight(f"{name}.mlp.2.bias"))
    return graph.add_and_norm(after, narrow, hidden)
