"""Corpora that a spec names: published prompt sets, from a local file or from Hugging Face, cut as published.

A corpus says two things, where its rows come from and how a row becomes a prompt. `prompts.file` or `prompts.hub`
beside `prompts.corpus` replace the first and keep the second. Without them a local copy is looked for in
``$LATENTEXT_MATERIALS/prompts``, then in ``../shared/materials/prompts``; without one Hugging Face is asked. Either way
a plan holds the prompts' digests, so a run that another source would change is refused.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from latentext.errors import SpecError
from latentext.prompts.completion_corpora import completion_corpora, open_completion_corpus
from latentext.prompts.files import open_file
from latentext.prompts.hub import HubRows
from latentext.prompts.published import REVIEWS, dialogue_row, is_long_enough, review_prompt
from latentext.prompts.rows import BadRow, Row, Rows, require_any_column
from latentext.spec import FileSource, HubSource, PromptSpec

MATERIALS = "LATENTEXT_MATERIALS"
"""The environment variable that names a folder with local copies, in its subfolder ``prompts``."""

_DEFAULT_MATERIALS = Path("..", "shared", "materials")


@dataclass(frozen=True)
class Corpus:
    """A published prompt set.

    Attributes:
        hub: where it is published.
        local: the name of a local copy.
        columns: names that the column of texts may have.
        unit: what a row holds: a dialogue, or a review.
    """

    hub: HubSource
    local: str
    columns: tuple[str, ...]
    unit: Literal["dialogue", "review"]


CORPORA: Mapping[str, Corpus] = {
    "Anthropic-harmless": Corpus(
        HubSource(name="Anthropic/hh-rlhf", data_dir="harmless-base", split="test"),
        "hh-rlhf-harmless-base-test.jsonl.gz",
        ("chosen",),
        "dialogue",
    ),
    "Imdb": Corpus(HubSource(name="stanfordnlp/imdb"), "imdb-paired-dev.tsv", ("text", "Text", "review"), "review"),
}
"""Corpora by the names that MAP's package gives them. The local copy of Imdb has 490 reviews, of the paired set."""


def open_corpus(prompts: PromptSpec, seed: int, directory: Path) -> Rows:
    """The prompts of a named corpus.

    Args:
        prompts: names the corpus, and the file or dataset to read instead of the published one, if any.
        seed: decides where reviews are cut.
        directory: where the index of a file is kept.

    Raises:
        SpecError: an unknown corpus, or a source that is not there or has no column of texts.
    """
    name = prompts.corpus or ""
    if name not in CORPORA:
        if name in (completions := completion_corpora()):
            return open_completion_corpus(prompts, directory)
        raise SpecError(
            f"no corpus is called {name!r}",
            where="prompts.corpus",
            remedy=f"known are {', '.join((*CORPORA, *completions))}; any other file is read by prompts.file",
        )
    corpus = CORPORA[name]
    source = _open_source(prompts, corpus, directory)
    require_any_column(source, corpus.columns, where=f"corpus {name}")
    if corpus.unit == "dialogue":
        return DialogueRows(source, corpus.columns)
    return ReviewRows(source, corpus.columns, seed)


def local_copy(name: str) -> Path | None:
    """The file of a corpus on this machine, if there is one where local copies are looked for."""
    folder = Path(os.environ.get(MATERIALS) or _DEFAULT_MATERIALS)
    path = folder / "prompts" / CORPORA[name].local
    return path if path.is_file() else None


def _open_source(prompts: PromptSpec, corpus: Corpus, directory: Path) -> Rows:
    if prompts.file is not None:
        return open_file(prompts.file, directory)
    if prompts.hub is not None:
        return HubRows(prompts.hub)
    path = local_copy(prompts.corpus or "")
    if path is not None:
        return open_file(FileSource(path=str(path)), directory)
    try:
        return HubRows(corpus.hub)
    except SpecError as error:
        raise SpecError(
            f"no local copy {corpus.local}, and {corpus.hub.name}: {error.what}",
            where=f"corpus {prompts.corpus}",
            remedy=f"{error.remedy}; or name a file of it by prompts.file (--prompts of latentext align)",
            heading=error.heading,
        ) from error


class DialogueRows:
    """Dialogues as their opening question, in the variable `prompt`; one without its markers is a `BadRow`."""

    columns = ("prompt",)

    def __init__(self, source: Rows, names: tuple[str, ...]):
        self._source, self._names = source, names

    @property
    def identity(self) -> Mapping[str, Any]:
        return {**self._source.identity, "corpus": "dialogue"}

    def __len__(self) -> int:
        return len(self._source)

    def row(self, index: int) -> Row | BadRow:
        text = _text(self._source, index, self._names)
        prompt = text if isinstance(text, BadRow) else dialogue_row(text)
        return prompt if isinstance(prompt, BadRow) else {"prompt": prompt}


class ReviewRows:
    """The beginnings of the first 1,000 reviews of more than 30 characters, in the variable `prompt`.

    Which reviews those are is found once, by reading the first thousand or so.
    """

    columns = ("prompt",)

    def __init__(self, source: Rows, names: tuple[str, ...], seed: int):
        self._source, self._names, self._seed = source, names, seed
        self._numbers: list[int] = []
        for number in range(len(source)):
            text = _text(source, number, names)
            if isinstance(text, BadRow) or is_long_enough(text):
                self._numbers.append(number)
            if len(self._numbers) == REVIEWS:
                break
        if not self._numbers:
            raise SpecError("no review of more than 30 characters", where="corpus", remedy="check the file")

    @property
    def identity(self) -> Mapping[str, Any]:
        return {**self._source.identity, "corpus": "review", "seed": self._seed}

    def __len__(self) -> int:
        return len(self._numbers)

    def row(self, index: int) -> Row | BadRow:
        text = _text(self._source, self._numbers[index], self._names)
        return text if isinstance(text, BadRow) else {"prompt": review_prompt(text, index, self._seed)}


def _text(source: Rows, index: int, names: tuple[str, ...]) -> str | BadRow:
    row = source.row(index)
    if isinstance(row, BadRow):
        return row
    text = next((row[name] for name in names if name in row), None)
    return text if isinstance(text, str) else BadRow("not-a-string", f"the row has no text in {' or '.join(names)}")
