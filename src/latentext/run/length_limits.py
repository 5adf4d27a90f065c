"""Limits of length, settled when a run starts: from the corpus in words, by the model's tokenizer in tokens.

What is measured is recorded in the spec of the directory, and taken over by every later run of it, as threads and the
batch budget are: a corpus that has grown since does not move the limits.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from latentext.dataset import layout
from latentext.dataset.documents import read_spec
from latentext.errors import SpecError
from latentext.prompts.completion_corpora import completion_corpora
from latentext.prompts.conversations import open_conversations
from latentext.prompts.rows import BadRow
from latentext.spec import Decoding, LengthSpec, PromptSpec, Spec
from latentext.storage.atomic import temporary_folder
from latentext.word_count import count_words, measure_words, token_limits

MEASURED_TEXTS = 1000
"""Human texts from which the tokens a word are measured: the first ones that there are."""

MOST_SAMPLES = 30
"""Samples of a request that ``retry`` draws at most, unless `decoding.n` says otherwise."""


def settle_length(spec: Spec, root: Path | None, tokenizer: Any) -> Spec:
    """The spec with the limits of its `length` in words and, for its policy, in tokens.

    Args:
        root: the directory of the run, whose own spec may have them already; None looks at the corpus.
        tokenizer: of the model; None where it is remote.

    Raises:
        SpecError: there are no limits and no human texts, or no tokenizer to measure by.
    """
    length = spec.length
    if length is None or length.tokens_per_word is not None:
        return spec
    count_words([])  # Without spaCy the run would fail only when its texts are written.
    before = _before(spec, root)
    if before is not None:
        length = before
    elif length.policy != "none" or None in (length.min, length.max):
        length = _measured(spec, length, tokenizer)
    return spec.model_copy(update={"length": length, "decoding": _limited(spec, length)})


def human_texts(prompts: PromptSpec, variable: str, most: int | None = None) -> list[str]:
    """The texts that a person wrote, of the first `most` rows that have one.

    Raises:
        SpecError: the rows cannot be read.
    """
    texts: list[str] = []
    with temporary_folder("lengths") as folder:
        chats = open_conversations(prompts.model_copy(update={"limit": None}), 0, folder)
        for number in range(len(chats)):
            chat = chats[number]
            if not isinstance(chat, BadRow) and isinstance(text := chat.variables.get(variable), str):
                texts.append(text)
            if len(texts) == most:
                break
    return texts


def _before(spec: Spec, root: Path | None) -> LengthSpec | None:
    """What the run that made the directory settled for the same `length`, if there was one."""
    if root is None or spec.length is None or not (root / layout.SPEC).is_file():
        return None
    before = read_spec(root).length
    if before is None or (before.policy, before.human) != (spec.length.policy, spec.length.human):
        return None
    given = {name: value for name in ("min", "max") if (value := getattr(spec.length, name)) is not None}
    return before.model_copy(update=given)


def _measured(spec: Spec, length: LengthSpec, tokenizer: Any) -> LengthSpec:
    entry = completion_corpora().get(spec.prompts.corpus or "")
    limits = entry.limits if entry is not None else None
    fewest, most = length.min, length.max
    if limits is not None:
        fewest, most = limits[0] if fewest is None else fewest, limits[1] if most is None else most
    ratio = None
    if length.policy != "none":
        if tokenizer is None:
            what = "there is no tokenizer to convert words into tokens by"
            remedy = "give model.local, or length.policy: none and decoding.max_new_tokens"
            raise SpecError(what, where="length", remedy=remedy)
        texts = human_texts(spec.prompts, length.human, MEASURED_TEXTS)
        if not texts:
            what = f"no row has a text {length.human!r} to measure tokens a word by"
            raise SpecError(what, where="length.human", remedy="name the column, or give length.tokens_per_word")
        ratio = measure_words(texts, tokenizer).tokens_per_word
    if fewest is None or most is None:
        found = measure_words(human_texts(spec.prompts, length.human))
        fewest, most = found.fewest if fewest is None else fewest, found.most if most is None else most
    return length.model_copy(update={"min": fewest, "max": most, "tokens_per_word": ratio})


def _limited(spec: Spec, length: LengthSpec) -> Decoding:
    """The options with the limits of the policy, where they give none themselves; servers know no fewest tokens."""
    decoding, changes = spec.decoding, {}
    given = decoding.model_fields_set
    if length.tokens_per_word is not None and length.min is not None and length.max is not None:
        fewest, most = token_limits(length.min, length.max, length.tokens_per_word)
        changes["max_new_tokens"] = most
        if length.policy != "retry" and not spec.model.remote:
            changes["min_new_tokens"] = min(fewest, decoding.max_new_tokens if "max_new_tokens" in given else most)
    if length.policy == "retry":
        changes["n"] = MOST_SAMPLES
    return decoding.model_copy(update={name: value for name, value in changes.items() if name not in given})
