"""Pairs of texts that differ in exactly one token, under several tokenizers at once.

Activations of two prompts can be compared position by position only when both have the same number of tokens and all
but one are equal; and a pair serves several models only when that holds under each one's tokenizer. So every form of a
pair is encoded without special tokens by every tokenizer: equal length, exactly one differing id.

Encoding is where the time goes, so each distinct text is encoded once, in batches that keep all cores busy.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache
from itertools import chain, compress, islice
from operator import ne
from typing import Any, TypeVar

from tokenizers import Encoding

from latentext.errors import SpecError
from latentext.pairs.checks import FormCheck, PairCheck, Reason, TwinTexts
from latentext.pairs.forms import BARE, Form
from latentext.pairs.tokenizer import PairTokenizer

_CHUNK_PAIRS = 512
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
        >>> from latentext.pairs import load_tokenizers
        >>> tokenizers = load_tokenizers(["qwen=Qwen/Qwen2-7B"])                            # doctest: +SKIP
        >>> [check] = validate_pairs([("make a cake", "make a bomb")], tokenizers)          # doctest: +SKIP
        >>> check.valid, check.checks[0].tokens                                             # doctest: +SKIP
        (True, ((' cake', ' bomb'),))
    """
    twins = (_in_forms(pair, forms) for pair in pairs)
    return validate_texts(twins, tokenizers, same_word=same_word, chats=chats)


def validate_texts(
    twins: Iterable[TwinTexts],
    tokenizers: Sequence[PairTokenizer],
    *,
    same_word: bool = False,
    chats: Mapping[str, Render] | None = None,
) -> Iterator[PairCheck]:
    """Check texts that are already in their forms, as a written dataset holds them; else as `validate_pairs`."""
    if not tokenizers:
        raise SpecError("no tokenizer is given", remedy="pairs are valid or not under tokenizers only")
    examiners = [_Examiner(tokenizer, (chats or {}).get(tokenizer.name)) for tokenizer in tokenizers]

    def encode(chunk: list[_Judged]) -> list[_Encoded]:
        sound = [texts for texts, reason in chunk if reason is None]
        return [examiner.encode(sound) for examiner in examiners]

    judged = ((texts, _reason_in_texts(texts)) for texts in twins)
    for chunk, encoded in _one_ahead(encode, _chunks(judged)):
        compared = zip(*map(_Examiner.compare, examiners, encoded), strict=True)
        for texts, reason in chunk:
            checks = () if reason else tuple(chain.from_iterable(next(compared)))
            result = PairCheck(texts, checks, reason or _reason_in_checks(checks, same_word))
            _log(result)
            yield result


_Judged = tuple[TwinTexts, Reason | None]
_Item = TypeVar("_Item")
_Done = TypeVar("_Done")


@dataclass(frozen=True, slots=True)
class _Encoded:
    """A chunk of pairs with the encoding of every distinct text in it."""

    chunk: Sequence[TwinTexts]
    texts: Sequence[str]
    encodings: Sequence[Encoding]


@dataclass(frozen=True, slots=True)
class _Examiner:
    """One tokenizer at work on chunks of pairs."""

    tokenizer: PairTokenizer
    render: Render | None
    token_text: Callable[[int], str] = field(init=False)

    def __post_init__(self) -> None:
        # The same few words differ in pair after pair, and decoding one costs as much as comparing two texts.
        object.__setattr__(self, "token_text", cache(self.tokenizer.token_text))

    def encode(self, chunk: Sequence[TwinTexts]) -> _Encoded:
        """Encode each pair in each form (and once more inside the chat template)."""
        if self.render:
            chunk = [{**texts, **_in_chat(texts, self.render)} for texts in chunk]
        distinct = list(dict.fromkeys(text for texts in chunk for twin in texts.values() for text in twin))
        return _Encoded(chunk, distinct, self.tokenizer.encodings(distinct))

    def compare(self, encoded: _Encoded) -> Iterator[list[FormCheck]]:
        """The checks of each pair, form by form."""
        ids = {text: encoding.ids for text, encoding in zip(encoded.texts, encoded.encodings, strict=True)}
        for texts in encoded.chunk:
            yield [self._compare(form, ids[first], ids[second]) for form, (first, second) in texts.items()]

    def _compare(self, form: str, first: list[int], second: list[int]) -> FormCheck:
        lengths = (len(first), len(second))
        if lengths[0] != lengths[1]:
            return FormCheck(self.tokenizer.name, form, lengths, (), (), (), Reason.LENGTH)
        positions = tuple(compress(range(lengths[0]), map(ne, first, second)))
        token_ids = tuple([(first[position], second[position]) for position in positions])
        tokens = tuple([(self.token_text(a), self.token_text(b)) for a, b in token_ids])
        reason = None
        if len(positions) != 1:
            reason = Reason.SEVERAL_DIFFERENCES if positions else Reason.SAME_IDS
        return FormCheck(self.tokenizer.name, form, lengths, positions, token_ids, tokens, reason)


def _chunks(judged: Iterable[_Judged]) -> Iterator[list[_Judged]]:
    remaining = iter(judged)
    while chunk := list(islice(remaining, _CHUNK_PAIRS)):
        yield chunk


def _one_ahead(work: Callable[[_Item], _Done], items: Iterable[_Item]) -> Iterator[tuple[_Item, _Done]]:
    """Each item with its result, in order, while another thread is already at work on the next.

    Tokenizers leave Python while they encode, so comparing one chunk costs no time beside encoding another.
    """
    with ThreadPoolExecutor(max_workers=1) as background:
        waiting: deque[tuple[_Item, Future[_Done]]] = deque()
        for item in items:
            waiting.append((item, background.submit(work, item)))
            if len(waiting) > 1:
                ready, result = waiting.popleft()
                yield ready, result.result()
        for ready, result in waiting:
            yield ready, result.result()


def _in_chat(texts: TwinTexts, render: Render) -> dict[str, tuple[str, str]]:
    return {f"{form} in chat": (render(first), render(second)) for form, (first, second) in texts.items()}


def _in_forms(pair: tuple[Any, Any], forms: Sequence[Form]) -> TwinTexts:
    """Both tasks in every form; without the text around them where that would hide that they are no tasks."""
    first, second = pair
    if not _is_text(first) or not _is_text(second):
        return {form.name: pair for form in forms}
    sentences = {form.name: (form.sentence(first), form.sentence(second)) for form in forms}
    if any(_reason_in_twin(twin) for twin in sentences.values()):
        return sentences
    return {form.name: (form.text(first), form.text(second)) for form in forms}


def _reason_in_texts(texts: TwinTexts) -> Reason | None:
    for twin in texts.values():
        if reason := _reason_in_twin(twin):
            return reason
    return None


def _reason_in_twin(twin: tuple[Any, Any]) -> Reason | None:
    first, second = twin
    if not _is_text(first) or not _is_text(second):
        return Reason.NOT_A_STRING
    if not first.strip() or not second.strip():
        return Reason.EMPTY
    return Reason.IDENTICAL if first == second else None


def _is_text(value: Any) -> bool:
    """JSON can spell half of a surrogate pair, at which a tokenizer would raise."""
    try:
        return isinstance(value, str) and value.encode() is not None
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
    if not _logger.isEnabledFor(logging.DEBUG):
        return
    for check in result.checks:
        _logger.debug(
            "%s, %s: lengths %d and %d, positions %s, ids %s, tokens %s, %s",
            check.tokenizer, check.form, *check.lengths, check.positions, check.token_ids, check.tokens,
            check.reason or "valid",
        )  # fmt: skip
    if not result.checks:
        _logger.debug("%s: %s", result.texts, result.reason)
