"""Batches by token budget: every text once, none beyond the budget unless it must be."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from latentext.rewards.batches import padded, token_batches


@given(st.lists(st.integers(1, 50), max_size=60), st.integers(1, 200))
def test_every_text_is_in_one_batch_and_batches_keep_to_the_budget(lengths: list[int], budget: int) -> None:
    batches = token_batches(lengths, budget)
    assert sorted(index for batch in batches for index in batch) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) == 1 or len(batch) * max(lengths[i] for i in batch) <= budget


@given(st.lists(st.integers(1, 50), min_size=1, max_size=60), st.integers(1, 200))
def test_the_first_batch_holds_the_longest_text(lengths: list[int], budget: int) -> None:
    assert lengths[token_batches(lengths, budget)[0][0]] == max(lengths)


def test_padding_stands_on_the_right_and_is_masked() -> None:
    encodings = [{"input_ids": [5, 6, 7], "attention_mask": [1, 1, 1]}, {"input_ids": [9], "attention_mask": [1]}]
    found = padded(encodings, pad_token_id=9, device=torch.device("cpu"))
    assert found["input_ids"].tolist() == [[5, 6, 7], [9, 9, 9]]
    assert found["attention_mask"].tolist() == [[1, 1, 1], [1, 0, 0]]
