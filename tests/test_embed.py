from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from index.embed import OnnxEmbedder, TorchEmbedder, model_stamp
from store.errors import WeightsError
from store.weights import find_embedder
from tests import talks

TEXTS = ["Why is the sea salty?", "Sourdough needs flour, water and time. " * 40, "k8s"]


def test_vectors_are_normalised_and_mean_something() -> None:
    embedder = talks.embedder()
    vectors = embedder.embed_passages(["The ocean contains dissolved salt.", "Knead the dough for ten minutes."])
    assert vectors.shape == (2, embedder.dim) and vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)
    query = embedder.embed_query("why is the sea salty")
    assert query.shape == (embedder.dim,)
    assert vectors[0] @ query > vectors[1] @ query + 0.2


def test_batches_do_not_change_vectors() -> None:
    embedder = talks.embedder()
    together = embedder.embed_passages(TEXTS)
    alone = np.stack([embedder.embed_passages([text])[0] for text in TEXTS])
    np.testing.assert_allclose(together, alone, atol=1e-5)
    assert embedder.embed_passages([]).shape == (0, embedder.dim)


def test_a_query_in_int8_is_where_the_same_text_is_in_float32() -> None:
    embedder = talks.embedder()
    texts = ["", "why is the sea salty", *TEXTS]
    for text, exact in zip(texts, embedder.embed_passages(texts), strict=True):
        query = embedder.embed_query(text)
        assert query.dtype == np.float32 and abs(np.linalg.norm(query) - 1) < 1e-5
        assert query @ exact > 0.97


def test_onnx_and_torch_agree() -> None:
    talks.embedder()
    settings = talks.settings(Path("nowhere"))
    torch = TorchEmbedder(find_embedder(settings.embedder, settings), Path(talks.models_dir()) / "embedders", 1)
    assert (torch.name, torch.dim) == (talks.embedder().name, talks.embedder().dim)
    np.testing.assert_allclose(torch.embed_passages(TEXTS), talks.embedder().embed_passages(TEXTS), atol=2e-5)


def test_serving_needs_neither_torch_nor_sentence_transformers() -> None:
    talks.embedder().embed_passages(["x"])
    talks.embedder().embed_query("x")
    program = (
        "import sys; from pathlib import Path; from tests import talks; from index.search import Searcher;"
        f"talks.models_dir = lambda: {talks.models_dir()!r}; talks.embedder().embed_query('x');"
        "print(sorted({'torch', 'sentence_transformers', 'transformers', 'onnx'} & set(sys.modules)))"
    )
    found = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=Path(__file__).parents[1], check=True
    )
    assert found.stdout.strip() == "[]"


def test_the_stamp_follows_the_weights(tmp_path: Path) -> None:
    folder = tmp_path / "my-model"
    folder.mkdir()
    with pytest.raises(WeightsError, match="no weights"):
        model_stamp(folder, tmp_path / "cache")
    (folder / "model.safetensors").write_bytes(b"one")
    first = model_stamp(folder, tmp_path / "cache")
    assert first.startswith("my-model@sha256:")
    (folder / "model.safetensors").write_bytes(b"other")
    assert model_stamp(folder, tmp_path / "cache") != first


@pytest.mark.parametrize("kind", ["roberta-cls", "distilbert"])
def test_other_architectures(tmp_path: Path, kind: str) -> None:
    """Small random models: one written straight from its weights, one exported by torch; both must equal transformers' answer."""
    import torch
    from transformers import AutoModel, DistilBertConfig, RobertaConfig

    torch.manual_seed(0)
    source = find_embedder("all-MiniLM-L6-v2", talks.settings(Path("nowhere"))) if talks.embedder() else Path()
    if kind == "distilbert":
        config = DistilBertConfig(vocab_size=30522, dim=32, hidden_dim=64, n_layers=2, n_heads=4, max_position_embeddings=64)
        pooling = {"pooling_mode_mean_tokens": True}
    else:
        config = RobertaConfig(
            vocab_size=30522, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
            max_position_embeddings=66, type_vocab_size=1, pad_token_id=0, layer_norm_eps=1e-5,
        )  # fmt: skip
        pooling = {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}
    folder = tmp_path / kind
    model = AutoModel.from_config(config).eval()
    model.save_pretrained(folder)
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    (folder / "sentence_bert_config.json").write_text('{"max_seq_length": 60}')
    (folder / "tokenizer.json").write_bytes((source / "tokenizer.json").read_bytes())
    embedder = OnnxEmbedder(folder, tmp_path / "cache", 1)
    vectors = embedder.embed_passages(["A short one.", "Something a good deal longer than the other text."])
    for vector, text in zip(vectors, ["A short one.", "Something a good deal longer than the other text."], strict=True):
        ids = torch.tensor([embedder._tokenizer.encode(text).ids])
        with torch.no_grad():
            hidden = model(input_ids=ids, attention_mask=torch.ones_like(ids))[0][0]
        expected = hidden[0] if "cls" in kind else hidden.mean(0)
        np.testing.assert_allclose(vector, (expected / expected.norm()).numpy(), atol=1e-4)
        assert embedder.embed_query(text) @ vector > 0.97
