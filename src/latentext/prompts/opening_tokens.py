"""What a tokenizer puts before a text: a BOS as a rule, other tokens in some families, often nothing."""

from __future__ import annotations

from transformers import PreTrainedTokenizerBase


def added_bos(tokenizer: PreTrainedTokenizerBase) -> int | None:
    """The id of the BOS that this tokenizer puts before a text; None if it has none or does not add it."""
    bos: int | None = tokenizer.bos_token_id
    return None if bos is None or added_prefix(tokenizer)[:1] != [bos] else bos


def added_prefix(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """The ids that this tokenizer puts before a text; as a rule its BOS or none."""
    bare: list[int] = tokenizer("a", add_special_tokens=False, verbose=False)["input_ids"]
    whole: list[int] = tokenizer("a", verbose=False)["input_ids"]
    places = (start for start in range(len(whole)) if whole[start : start + len(bare)] == bare)
    return whole[: next(places, int(whole[:1] == [tokenizer.bos_token_id]))]


def with_one_prefix(ids: list[int], prefix: list[int]) -> list[int]:
    """The ids with `prefix`, which is not empty, exactly once before them.

    Example:
        >>> with_one_prefix([1, 1, 5], [1]), with_one_prefix([5], [7, 8])
        ([1, 5], [7, 8, 5])
    """
    start = 0
    while ids[start : start + len(prefix)] == prefix:
        start += len(prefix)
    return [*prefix, *ids[start:]]
