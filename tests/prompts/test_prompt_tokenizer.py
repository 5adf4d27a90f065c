"""Loading tokenizers, and telling them apart."""

from __future__ import annotations

import copy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from transformers import AutoTokenizer

from latentext.errors import SpecError
from latentext.models import resolve_model
from latentext.prompts.tokenizer import load_tokenizer, tokenizer_fingerprint


def test_a_tokenizer_is_loaded_by_name_by_folder_or_by_source(stories260k: Path) -> None:
    by_name = load_tokenizer(str(stories260k))
    by_source = load_tokenizer(resolve_model(str(stories260k)))
    assert by_name("Once")["input_ids"] == by_source("Once")["input_ids"]
    assert load_tokenizer("tiny").chat_template


@pytest.mark.parametrize("content", [None, "{", "[]", '{"version": "1.0"}'])
def test_a_damaged_tokenizer_is_one_line(stories260k: Path, tmp_path: Path, content: str | None) -> None:
    broken = tmp_path / "model"
    shutil.copytree(stories260k, broken)
    if content is None:
        for file in broken.glob("*token*"):
            file.unlink()
    else:
        (broken / "tokenizer.json").write_text(content)
    with pytest.raises(SpecError) as caught:
        load_tokenizer(str(broken))
    assert str(caught.value).startswith(f"model {broken}: cannot be loaded: ")


@pytest.mark.slow
def test_the_fingerprint_is_that_of_a_copy_in_another_process(stories260k: Path, tmp_path: Path) -> None:
    shutil.copytree(stories260k, tmp_path / "copy")
    code = (
        "import sys; from latentext.prompts.tokenizer import load_tokenizer, tokenizer_fingerprint;"
        "print(tokenizer_fingerprint(load_tokenizer(sys.argv[1])))"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "copy")]
    other = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    assert tokenizer_fingerprint(AutoTokenizer.from_pretrained(stories260k)) == other


def test_the_fingerprint_changes_with_the_vocabulary_the_template_and_the_special_tokens(
    stories260k: Path, materials: Path
) -> None:
    stories = AutoTokenizer.from_pretrained(stories260k)
    prints = {tokenizer_fingerprint(stories)}
    for name in ("qwen2", "mistral-v1"):
        prints.add(tokenizer_fingerprint(AutoTokenizer.from_pretrained(materials / "tokenizers" / name)))
    templated, other_end, larger = (copy.deepcopy(stories) for _ in range(3))
    templated.chat_template = "{{ messages[0]['content'] }}"
    other_end.eos_token = "<unk>"
    larger.add_tokens(["zebra"])
    prints |= {tokenizer_fingerprint(tokenizer) for tokenizer in (templated, other_end, larger)}
    assert len(prints) == 6


def test_a_call_with_padding_or_truncation_leaves_the_fingerprint(stories260k: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(stories260k)
    before = tokenizer_fingerprint(tokenizer)
    tokenizer.pad_token = tokenizer.eos_token
    padded = tokenizer_fingerprint(tokenizer)
    tokenizer(["a", "b c d"], padding=True, truncation=True, max_length=2)
    assert tokenizer_fingerprint(tokenizer) == padded != before
