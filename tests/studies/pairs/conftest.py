"""The three real tokenizers that pairs are checked against here."""

from __future__ import annotations

from pathlib import Path

import pytest

from latentext.studies.pairs import PairTokenizer, load_tokenizers


@pytest.fixture(scope="session")
def tokenizer_sources(materials: Path) -> list[str]:
    """Qwen2, Llama-3 and Mistral-v1 as options of a command."""
    folders = {"qwen2": "qwen2", "llama3": "llama-3.2-instruct", "mistral": "mistral-v1"}
    return [f"{name}={materials / 'tokenizers' / folder}" for name, folder in folders.items()]


@pytest.fixture(scope="session")
def tokenizers(tokenizer_sources: list[str]) -> tuple[PairTokenizer, ...]:
    return load_tokenizers(tokenizer_sources)
