"""Pairs of texts that differ in exactly one token, under several tokenizers at once.

Activations of two prompts can be compared position by position only when both have the same number of tokens and all
but one are equal; and a pair serves several models only when that holds under each one's tokenizer. So every form of a
pair is encoded without special tokens by every tokenizer: equal length, exactly one differing id.

Encoding is where the time goes, so each distinct text of a chunk is encoded once. Tokenizers leave Python while they
encode: a few small chunks at a time, each in a thread of its own, keep all cores busy, and others are compared
meanwhile. That takes less than to let one call at a time use all cores.
"""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache
from itertools import chain, compress, count, islice
from operator import ne
from typing import Any

from tokenizers import Encoding

from latentext.errors import SpecError
from latentext.studies.pairs.checks import FormCheck, PairCheck, Reason, TwinTexts
from latentext.studies.pairs.forms import BARE, Form
from latentext.studies.pairs.tokenizer import PairTokenizer, one_core_a_call

_CHUNK_PAIRS = 64
_THREADS = min(os.cpu_count() or 1, 8) + 1
"""One more than cores, since one of them is in Python at times; comparing keeps up with eight."""
_logger = logging.getLogger(__name__)

Render = Callable[[str], str]
"""Puts a text into a model's chat template, as the user's turn."""


def validate_pairs(
    pairs: Iterable[tuple[Any, Any]],
    tokenizers: Sequence[PairTokenizer],
    forms: Sequence[Form] = (BARE,),
    *,
    same_word: bool = False,
    chats: Mapping[str, Render] | None = None,
) -> Iterator[PairCheck]:
    """Check pairs of tasks in every form under every tokenizer; one result a pair, in order, as the pairs come.

    Args:
        pairs: two tasks each; values that are not strings give the reason ``not-a-string``.
        tokenizers: from `load_tokenizers`.
        forms: the texts around the task; without any the tasks are checked as they are.
        same_word: ask also that the differing token spells the same text in every form and tokenizer.
        chats: for tokenizers (by name) that have a chat template: every form is checked inside it too.

    Example:
        >>> from latentext.studies.pairs import load_tokenizers
        >>> tokenizers = load_tokenizers(["qwen=Qwen/Qwen2-7B"])                            # doctest: +SKIP
        >>> [check] = validate_pairs([("make a cake", "make a bomb")], tokenizers)          # doctest: +SKIP
        >>> check.valid, check.checks[0].tokens                                             # doctest: +SKIP
        (True, ((' cake', ' bomb'),))
    """
    return _validate((_in_forms(pair, forms) for pair in pairs), tokenizers, same_word, chats)


def validate_texts(
    twins: Iterable[TwinTexts],
    tokenizers: Sequence[PairTokenizer],
    *,
    same_word: bool = False,
    chats: Mapping[str, Render] | None = None,
) -> Iterator[PairCheck]:
    """Check texts that are already in their forms, as a written dataset holds them; else as `validate_pairs`."""
    return _validate(((texts, _reason_in_texts(texts)) for texts in twins), tokenizers, same_word, chats)


_Judged = tuple[TwinTexts, Reason | None]
"""The texts of a pair, and why there is nothing to encode, if so."""


def _validate(
    judged: Iterable[_Judged],
    tokenizers: Sequence[PairTokenizer],
    same_word: bool,
    chats: Mapping[str, Render] | None,
) -> Iterator[PairCheck]:
    if not tokenizers:
        raise SpecError("no tokenizer is given", remedy="pairs are valid or not under tokenizers only")
    examiners = [_Examiner(tokenizer, (chats or {}).get(tokenizer.name)) for tokenizer in tokenizers]
    for chunk, encoded in _ahead(examiners, judged):
        numbers, debugging = count(), _logger.isEnabledFor(logging.DEBUG)
        for texts, reason in chunk:
            checks: tuple[FormCheck, ...] = ()
            if reason is None:
                number = next(numbers)
                checks = tuple([check for one in encoded for check in one.checks(number)])
                reason = _reason_in_checks(checks, same_word)
            result = PairCheck(texts, checks, reason)
            if debugging:
                _log(result)
            yield result


def _ahead(examiners: Sequence[_Examiner], judged: Iterable[_Judged]) -> Iterator[tuple[list[_Judged], list[_Encoded]]]:
    """Chunks in their order with their encoding by every examiner, while threads are at work on the next ones."""
    remaining = iter(judged)
    with one_core_a_call(), ThreadPoolExecutor(_THREADS) as threads:
        waiting: deque[tuple[list[_Judged], list[Future[_Encoded]]]] = deque()
        while True:
            while len(waiting) <= _THREADS and (chunk := list(islice(remaining, _CHUNK_PAIRS))):
                sound = _Chunk.of([texts for texts, reason in chunk if reason is None])
                waiting.append((chunk, [threads.submit(examiner.encode, sound) for examiner in examiners]))
            if not waiting:
                return
            ready, encoded = waiting.popleft()
            yield ready, [future.result() for future in encoded]


@dataclass(frozen=True, slots=True)
class _Chunk:
    """Some pairs with every distinct text among theirs, and its place in that order."""

    twins: Sequence[TwinTexts]
    places: Mapping[str, int]

    @classmethod
    def of(cls, twins: Sequence[TwinTexts]) -> _Chunk:
        distinct = dict.fromkeys(chain.from_iterable(chain.from_iterable(texts.values() for texts in twins)))
        return cls(twins, dict(zip(distinct, count())))

    def with_chat(self, render: Render) -> _Chunk:
        """The same pairs with each form once more inside a chat template."""
        return self.of([{**texts, **_in_chat(texts, render)} for texts in self.twins])


@dataclass(frozen=True, slots=True)
class _Encoded:
    """A chunk under one tokenizer.

    Ids are fetched pair by pair, out of encodings that Python's garbage collector does not look at: lists for a whole
    chunk would have it search all of memory again and again.
    """

    examiner: _Examiner
    chunk: _Chunk
    encodings: Sequence[Encoding]

    def checks(self, number: int) -> Iterator[FormCheck]:
        """Those of one pair, form by form."""
        encodings, places, compare = self.encodings, self.chunk.places, self.examiner.compare
        for form, (first, second) in self.chunk.twins[number].items():
            yield compare(form, encodings[places[first]].ids, encodings[places[second]].ids)


@dataclass(frozen=True, slots=True)
class _Examiner:
    """One tokenizer at work on chunks of pairs."""

    tokenizer: PairTokenizer
    render: Render | None
    token_text: Callable[[int], str] = field(init=False)

    def __post_init__(self) -> None:
        # The same few words differ in pair after pair, and decoding one costs as much as comparing two texts.
        object.__setattr__(self, "token_text", cache(self.tokenizer.token_text))

    def encode(self, chunk: _Chunk) -> _Encoded:
        """Encode each text once (and once more inside the chat template)."""
        if self.render:
            chunk = chunk.with_chat(self.render)
        return _Encoded(self, chunk, self.tokenizer.encodings(list(chunk.places)))

    def compare(self, form: str, first: list[int], second: list[int]) -> FormCheck:
        """What two texts' ids say."""
        name, lengths = self.tokenizer.name, (len(first), len(second))
        if lengths[0] != lengths[1]:
            return FormCheck(name, form, lengths, (), (), (), Reason.LENGTH)
        positions = tuple(compress(count(), map(ne, first, second)))
        token_ids = tuple([(first[position], second[position]) for position in positions])
        tokens = tuple([(self.token_text(a), self.token_text(b)) for a, b in token_ids])
        reason = None
        if len(positions) != 1:
            reason = Reason.SEVERAL_DIFFERENCES if positions else Reason.SAME_IDS
        return FormCheck(name, form, lengths, positions, token_ids, tokens, reason)


def _in_chat(texts: TwinTexts, render: Render) -> dict[str, tuple[str, str]]:
    return {f"{form} in chat": (render(first), render(second)) for form, (first, second) in texts.items()}


def _in_forms(pair: tuple[Any, Any], forms: Sequence[Form]) -> _Judged:
    """Both tasks in every form; without the text around them where that would hide that they are no tasks."""
    first, second = pair
    if not _is_text(first) or not _is_text(second):
        return {form.name: pair for form in forms}, Reason.NOT_A_STRING
    texts: dict[str, tuple[str, str]] = {}
    sentences: dict[bool, tuple[str, str]] = {}
    for form in forms:
        if (twin := sentences.get(form.terminal_mark)) is None:
            twin = sentences[form.terminal_mark] = form.sentence(first), form.sentence(second)
            if reason := _reason_in_strings(*twin):
                return {form.name: (form.sentence(first), form.sentence(second)) for form in forms}, reason
        texts[form.name] = f"{form.prefix}{twin[0]}{form.suffix}", f"{form.prefix}{twin[1]}{form.suffix}"
    return texts, None


def _reason_in_texts(texts: TwinTexts) -> Reason | None:
    for first, second in texts.values():
        if not _is_text(first) or not _is_text(second):
            return Reason.NOT_A_STRING
        if reason := _reason_in_strings(first, second):
            return reason
    return None


def _reason_in_strings(first: str, second: str) -> Reason | None:
    if not first.strip() or not second.strip():
        return Reason.EMPTY
    return Reason.IDENTICAL if first == second else None


def _is_text(value: Any) -> bool:
    """JSON can spell half of a surrogate pair, at which a tokenizer would raise."""
    if not isinstance(value, str):
        return False
    try:
        return value.isascii() or value.encode() is not None
    except UnicodeEncodeError:
        return False


def _reason_in_checks(checks: Sequence[FormCheck], same_word: bool) -> Reason | None:
    for check in checks:
        if check.reason is not None:
            return check.reason
    if same_word and len({(first.strip(), second.strip()) for check in checks for first, second in check.tokens}) > 1:
        return Reason.DIFFERENT_WORDS
    return None


def _log(result: PairCheck) -> None:
    for check in result.checks:
        _logger.debug(
            "%s, %s: lengths %d and %d, positions %s, ids %s, tokens %s, %s",
            check.tokenizer, check.form, *check.lengths, check.positions, check.token_ids, check.tokens,
            check.reason or "valid",
        )  # fmt: skip
    if not result.checks:
        _logger.debug("%s: %s", result.texts, result.reason)
