"""Answers in their place: behind a prompt that ends with a space and behind one that does not."""

from __future__ import annotations

from pathlib import Path

import yaml

from latentext.studies.pairs import PairTokenizer, check_answers, load_task
from latentext.studies.pairs.documents import PACKAGE


def test_yes_and_no_are_one_token_behind_a_prompt_without_its_last_space(
    tokenizers: tuple[PairTokenizer, ...],
) -> None:
    checks = list(check_answers(load_task("refusal"), tokenizers))
    assert len(checks) == 3 * 2 * 2
    for check in checks:
        expected = "joins-the-prompt" if check.trailing_space else "one-token"
        assert check.finding == expected
        tokenizer = next(found for found in tokenizers if found.name == check.tokenizer)
        assert [tokenizer.token_text(token_id) for token_id in check.token_ids] == [f" {check.answer}"]


def test_positive_is_one_token_for_qwen_and_llama_but_two_for_mistral(tokenizers: tuple[PairTokenizer, ...]) -> None:
    findings = {
        (check.tokenizer, check.answer): check.finding
        for check in check_answers(load_task("sentiment"), tokenizers)
        if not check.trailing_space
    }
    assert findings["qwen2", "Positive"] == findings["llama3", "Positive"] == "one-token"
    assert findings["mistral", "Positive"] == "several-tokens"


def test_an_answer_of_several_tokens_is_told(tokenizers: tuple[PairTokenizer, ...], tmp_path: Path) -> None:
    task = yaml.safe_load((PACKAGE / "tasks" / "refusal.yaml").read_text()) | {"answers": ["Absolutely not"]}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(task))
    checks = list(check_answers(load_task(str(tmp_path / "mine.yaml")), tokenizers))
    assert {check.finding for check in checks if not check.trailing_space} == {"several-tokens"}
    assert all(len(check.token_ids) > 1 for check in checks)
