"""Exports a sentence encoder that `index.bert_graph` cannot write, with torch's own exporter.

Comes in: a sentence-transformers folder. Goes out: an ONNX file with the same inputs and output as `bert_graph` writes.
Does not know: caches, sessions.
"""

from __future__ import annotations

from pathlib import Path

from index.bert_graph import OPSET, pooling_mode
from store.errors import WeightsError


def export_graph(folder: Path, target: Path) -> None:
    """Trace the model in `folder` and write it to `target`. Raises `WeightsError` if torch cannot."""
    import torch
    from transformers import AutoModel

    mode = pooling_mode(folder)

    class Encoder(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.model = AutoModel.from_pretrained(str(folder), local_files_only=True, attn_implementation="eager")

        def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
            hidden = self.model(input_ids=input_ids.long(), attention_mask=attention_mask.long())[0]
            if mode == "cls":
                pooled = hidden[:, 0]
            else:
                mask = attention_mask.unsqueeze(-1).to(hidden.dtype)
                pooled = (hidden * mask).sum(1) / mask.sum(1).clamp(min=1)
            return torch.nn.functional.normalize(pooled, dim=1)

    try:
        encoder = Encoder().eval()
        example = torch.ones((2, 8), dtype=torch.int32)
        torch.onnx.export(
            encoder,
            (example, example),
            str(target),
            input_names=["input_ids", "attention_mask"],
            output_names=["embedding"],
            dynamic_axes={name: {0: "n", 1: "tokens"} for name in ("input_ids", "attention_mask")} | {"embedding": {0: "n"}},
            opset_version=OPSET,
            dynamo=False,
        )
    except (OSError, ValueError, RuntimeError) as error:
        raise WeightsError(
            f"the model cannot be exported ({error})", where=str(folder), next_step="Choose another embedder"
        ) from error
