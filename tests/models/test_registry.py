"""Short names of models: the package's own, and a user's from YAML."""

from __future__ import annotations

from pathlib import Path

import pytest

from latentext.errors import SpecError
from latentext.models.catalogue import describe_model, suggested_models
from latentext.models.registry import VARIABLE, registered_models
from latentext.models.resolve import resolve_model

# Source: the table of seed models.
SEED_MODELS = {
    "beluga7b": "stabilityai/StableBeluga-7B",
    "beluga70b": "stabilityai/StableBeluga2",
    "beluga70bQ": "TheBloke/StableBeluga2-70B-GPTQ",
    "llama2_chat7b": "meta-llama/Llama-2-7b-chat-hf",
    "llama2_chat13b": "meta-llama/Llama-2-13b-chat-hf",
    "llama2_chat70bQ": "TheBloke/Llama-2-70B-Chat-GPTQ",
    "mistral7b": "mistralai/Mistral-7B-Instruct-v0.2",
    "mistral8x7b": "mistralai/Mixtral-8x7B-Instruct-v0.1",
}


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "latentext.yaml"
    monkeypatch.setenv(VARIABLE, str(path))
    return path


def test_the_short_names_stand_for_their_hub_ids() -> None:
    for name, hub in SEED_MODELS.items():
        source = resolve_model(name)
        assert (source.path_or_id, source.local) == (hub, False)


def test_a_quantised_model_has_one_size_and_others_one_a_dtype() -> None:
    quantised = describe_model("beluga70bQ")
    assert quantised.memory() == {"4-bit": 34_488_324_096}
    assert describe_model("beluga7b").memory()["bfloat16"] == 2 * 6_738_415_616


def test_published_sizes_are_those_of_the_architectures() -> None:
    """Sizes of Llama-2 7B and Mistral 7B from their published shapes: width, feed-forward, blocks, vocabulary."""

    def llama(width: int, feed: int, blocks: int, key_value: int, vocabulary: int) -> int:
        block = 2 * width * width + 2 * width * key_value + 3 * width * feed + 2 * width
        return blocks * block + 2 * vocabulary * width + width

    sizes = {name: entry.parameters for name, entry in registered_models().items()}
    assert sizes["llama2_chat7b"] == llama(4096, 11008, 32, 4096, 32000)
    assert sizes["llama2_chat13b"] == llama(5120, 13824, 40, 5120, 32000)
    assert sizes["beluga70b"] == llama(8192, 28672, 80, 1024, 32000)
    assert sizes["mistral7b"] == llama(4096, 14336, 32, 1024, 32000)
    assert sizes["llama3.3-70b"] == llama(8192, 28672, 80, 1024, 128256)


def test_a_users_entry_is_named_like_the_packages_and_wins(registry: Path, stories260k: Path) -> None:
    registry.write_text(f"models:\n  small: {{path: {stories260k}}}\n  beluga7b: my/fork\n")
    assert resolve_model("small").path_or_id == str(stories260k)
    assert resolve_model("beluga7b").path_or_id == "my/fork"
    assert describe_model("small").parameters == 260_032
    assert "small" in [model.name for model in suggested_models()]


def test_a_path_in_the_registry_is_relative_to_its_file(registry: Path, stories260k: Path) -> None:
    (registry.parent / "link").symlink_to(stories260k)
    registry.write_text("models: {small: {path: link}}")
    assert resolve_model("small").local


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("models: {a: {hub: x/y, path: z}}", "either hub or path"),
        ("models: {a: {hub: x/y, dtype: float16}}", "dtype"),
        ("models: [a]", "by name"),
        ("modles: {}", "its fields are models: and corpora:"),
        ("models: {", "registry|latentext.yaml"),
        ("models: {a: {path: nowhere}}", "no folder"),
    ],
)
def test_a_registry_with_a_mistake_is_one_line(registry: Path, text: str, complaint: str) -> None:
    registry.write_text(text)
    with pytest.raises(SpecError, match=complaint):
        resolve_model("a")


def test_a_registry_that_is_named_and_absent_is_refused(registry: Path) -> None:
    with pytest.raises(SpecError, match="no such file"):
        registered_models()
