"""What the stand-in server replies to a request for pairs: a fixed mixture of all that real models do.

Most replies are lists of pairs, of which about half hold; some are no JSON, some refuse, some are cut in the middle.
Which of them a request gets follows from its text alone, so a rehearsal that is killed and continued, and one through
batches, see the same. The pairs are frames and words of the shipped banks; a rehearsal shows how a run goes and what is
counted, not what yield a model will have.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, models, pre_tokenizers

from latentext.engines.server.standin.texts import StandInReply, fraction
from latentext.errors import SpecError
from latentext.studies.pairs import PairTask, PairTokenizer, WordBank, WordCandidate, load_bank

KINDS = (("pairs", 0.8), ("malformed", 0.07), ("refused", 0.06), ("cut", 0.07))
"""Kinds of replies and their shares."""
VALID_SHARE = 0.55
"""Of the pairs in a reply, those that are meant to hold."""

_WISH = re.compile(r"Write (\d+) new pairs?\.")
_FALLBACK = "refusal"


def proposal_replies(task: PairTask, config_dir: Path | None = None) -> Callable[[Mapping[str, Any]], StandInReply]:
    """What the server says: from the body of a request to its reply, a pure function.

    Args:
        task: whose sides the pairs have; a task without a word bank gets the sentences of ``refusal``.

    Example:
        >>> from latentext.studies.pairs import load_task
        >>> reply = proposal_replies(load_task("refusal"))
        >>> body = {"messages": [{"role": "user", "content": "Write 3 new pairs."}]}
        >>> reply(body) == reply(body)
        True
    """
    candidates = list(_bank(task, config_dir).candidates())

    def reply(body: Mapping[str, Any]) -> StandInReply:
        kind = _kind(fraction(body, "kind"))
        if kind == "refused":
            return StandInReply(None, refusal="I'm sorry, but I can't help with that.")
        if kind == "malformed":
            return StandInReply("Here are some ideas: one could ask for a cake, or else for something that is no cake.")
        entries = list(_entries(body, task, candidates))
        text = json.dumps({"pairs": entries}, ensure_ascii=False)
        if kind == "cut":
            return StandInReply(text[: int(len(text) * (0.3 + 0.6 * fraction(body, "cut")))], "length")
        return StandInReply(text)

    return reply


def rehearsal_tokenizer(task: PairTask, config_dir: Path | None = None) -> PairTokenizer:
    """A tokenizer for rehearsals without any on the disk: the words of the bank are one token, others are spelt.

    Example:
        >>> from latentext.studies.pairs import load_task
        >>> words = rehearsal_tokenizer(load_task("refusal"))
        >>> [len(ids) for ids in words.encode(["make a cake", "make a cakeish"])]
        [3, 6]
    """
    texts = [text for candidate in _bank(task, config_dir).candidates() for text in candidate.tasks]
    texts += [text for pair in task.example_pairs for text in pair]
    texts += [part for form in task.forms for part in (form.prefix, form.suffix)]
    split = pre_tokenizers.Whitespace()
    words = sorted({word for text in texts for word, _ in split.pre_tokenize_str(text)})
    letters = sorted({letter for word in words for letter in word} | set("abcdefghijklmnopqrstuvwxyz"))
    pieces = ["[UNK]", *dict.fromkeys([*words, *letters, *(f"##{letter}" for letter in letters)])]
    backend = Tokenizer(models.WordPiece({piece: number for number, piece in enumerate(pieces)}, unk_token="[UNK]"))
    backend.pre_tokenizer = split
    return PairTokenizer("words", backend, Path())


def _bank(task: PairTask, config_dir: Path | None) -> WordBank:
    try:
        return load_bank(task.task_name, config_dir=config_dir)
    except SpecError:  # A task of the user's own may have no bank.
        return load_bank(_FALLBACK)


def _kind(share: float) -> str:
    for kind, part in KINDS:
        if share < part:
            return kind
        share -= part
    return KINDS[-1][0]


def _entries(body: Mapping[str, Any], task: PairTask, candidates: Sequence[WordCandidate]) -> Iterator[dict[str, str]]:
    for number in range(_wanted(body, task)):
        candidate = candidates[int(fraction(body, f"pair {number}") * len(candidates))]
        first, second = candidate.tasks
        if (share := fraction(body, f"valid {number}")) >= VALID_SHARE:
            first, second = _spoilt(candidate, (share - VALID_SHARE) / (1 - VALID_SHARE))
        yield dict(zip(task.sides, (first, second), strict=True))


def _spoilt(candidate: WordCandidate, share: float) -> tuple[str, str]:
    """A pair that does not hold: a word that is spelt, two differing words, or the same sentence twice."""
    first, second = candidate.tasks
    if share < 0.45:
        return first, candidate.frame.replace("{}", f"{candidate.words[1]}ish")
    if share < 0.9:
        return first, f"Please {second[0].lower()}{second[1:]}"
    return first, first


def _wanted(body: Mapping[str, Any], task: PairTask) -> int:
    """How many pairs the request asks for."""
    for message in body.get("messages", ()):
        if found := _WISH.search(str(message.get("content") or "")):
            return int(found[1])
    return task.batch_size
