"""Pairs in a run: both twins of a pair are aligned under this model's tokenizer, or neither is kept.

A pairs file was validated under some tokenizers, perhaps not under this one, and a chat template may stand around the
texts here. States are compared position by position, so this is asserted on the very ids that the model reads.
"""

from __future__ import annotations

from collections.abc import Sequence

from latentext.request import Failure, Request
from latentext.spec import TWINS

NOT_ALIGNED = "twins-not-aligned"
"""The reason of a failure."""


def aligned_twins(requests: Sequence[Request]) -> tuple[list[Request], list[Failure]]:
    """The requests whose twins have equal length and one differing id; for each of the others why not (as sample 0).

    Twins are the requests 2i and 2i + 1. Without ids (a remote engine without a local tokenizer) nothing can be said,
    and all are kept.
    """
    by_pair: dict[int, list[Request]] = {}
    for request in requests:
        by_pair.setdefault(request.index // len(TWINS), []).append(request)
    kept, failures = [], []
    for twins in by_pair.values():
        if (problem := _problem(twins)) is None:
            kept += twins
        else:
            failures += [Failure(request.index, 0, NOT_ALIGNED, problem) for request in twins]
    return kept, failures


def _problem(twins: Sequence[Request]) -> str | None:
    if len(twins) < len(TWINS):
        return "its twin gave no prompt"
    first, second = (twin.prompt_token_ids for twin in twins)
    if not first and not second:
        return None
    if len(first) != len(second):
        return f"{len(first)} and {len(second)} tokens under this model's tokenizer"
    differing = sum(a != b for a, b in zip(first, second, strict=True))
    return None if differing == 1 else f"{differing} of {len(first)} tokens differ under this model's tokenizer"
