"""Corpora of sources that a person completed: summaries, paraphrases, stories, dialogue turns.

Whatever a corpus calls its columns, its rows here have `id`, `source`, `human_completions` and, where there are any,
`annotations`. The package's entries lie in ``completion_corpora.yaml`` beside this file, with their numbered task
prompts; a user's are the `corpora:` of the registry (`latentext.models.registry`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, ValidationError, model_validator

from latentext.errors import SpecError
from latentext.models.registry import user_folder, user_registry
from latentext.prompts.files import open_file
from latentext.prompts.hub import HubRows
from latentext.prompts.row_chats import kind_of
from latentext.prompts.rows import BadRow, Row, Rows, require_columns
from latentext.spec import FileSource, Frozen, HubSource, PromptSpec, Scalar
from latentext.spec.yaml_text import parse_yaml

ID, SOURCE, HUMAN, ANNOTATIONS = "id", "source", "human_completions", "annotations"
"""The columns of every corpus: what names a row, what is completed, how a person did, and whatever was noted of it."""

_PACKAGED = Path(__file__).with_name("completion_corpora.yaml")


class CompletionCorpus(Frozen):
    """An entry; the fields are explained in ``completion_corpora.yaml``."""

    hub: Annotated[HubSource | None, BeforeValidator(lambda v: {"name": v} if isinstance(v, str) else v)] = None
    file: Annotated[FileSource | None, BeforeValidator(lambda v: {"path": v} if isinstance(v, str) else v)] = None
    columns: dict[Literal["id", "source", "human_completions", "annotations"], str] = Field(default_factory=dict)
    turns: str | None = None
    only: dict[str, Scalar] = Field(default_factory=dict)
    cleaning: Literal["none", "dialogue"] = "none"
    limits: tuple[Annotated[int, Field(ge=0)], Annotated[int, Field(ge=1)]] | None = None
    prompts: dict[Annotated[int, Field(ge=1)], str] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _place_and_limits(self) -> Self:
        if (self.hub is None) == (self.file is None):
            raise ValueError("give either hub or file")
        if self.limits is not None and self.limits[0] > self.limits[1]:
            raise ValueError(f"limits: {self.limits[0]} is above {self.limits[1]}")
        return self


def completion_corpora() -> Mapping[str, CompletionCorpus]:
    """All entries by name, the package's first.

    Raises:
        SpecError: an entry of the user's has a mistake.

    Example:
        >>> completion_corpora()["mrpc"].prompts[21]
        'paraphrase this: '
    """
    own = user_registry().get("corpora", {})
    if not isinstance(own, dict):
        raise SpecError("not a list of entries by name", where="corpora", remedy="as in `poems: {file: poems.csv}`")
    return {**_packaged(), **{str(name): _entry(str(name), fields) for name, fields in own.items()}}


def completion_corpus(name: str, where: str = "prompts.corpus") -> CompletionCorpus:
    """The entry of that name.

    Raises:
        SpecError: there is none; those that there are are named.
    """
    known = completion_corpora()
    if name not in known:
        what = f"no corpus of completions is called {name!r}"
        raise SpecError(what, where=where, remedy=f"known are {', '.join(known)}; others go into latentext.yaml")
    return known[name]


def task_template(corpus: str, number: int, where: str = "prompts.task") -> str:
    """The template of a numbered task prompt: its words, then the source.

    Raises:
        SpecError: the corpus has no prompt of that number; those that it has are named.

    Example:
        >>> task_template("mrpc", 21)
        'paraphrase this: {source}'
    """
    prompts = completion_corpus(corpus).prompts
    if number not in prompts:
        known = ", ".join(map(str, prompts)) or "none"
        raise SpecError(f"{corpus} has no prompt {number}", where=where, remedy=f"its prompts are: {known}")
    return prompts[number].replace("{", "{{").replace("}", "}}") + "{" + SOURCE + "}"


def open_completion_corpus(prompts: PromptSpec, directory: Path) -> CompletionRows:
    """The rows of the corpus that a spec names.

    Args:
        prompts: its `file` or `hub` are read instead of the published rows, its `columns` renamed before the entry's.
        directory: where the index of a file is kept.

    Raises:
        SpecError: the rows cannot be had, lack a column, or two have the same id.
    """
    name = prompts.corpus or ""
    corpus = completion_corpus(name)
    elsewhere = prompts.file is not None or prompts.hub is not None
    file, hub = (prompts.file, prompts.hub) if elsewhere else (corpus.file, corpus.hub)
    if file is not None:
        source: Rows = open_file(file, directory)
    else:
        source = _from_hub(name, hub or HubSource(name=name))
    columns = {**_columns(source, corpus, elsewhere), **prompts.columns}
    turns = corpus.turns if corpus.turns is not None and _has(source, corpus.turns) else None
    needed = [turns] if turns else [columns[SOURCE], columns[HUMAN]]
    require_columns(source, needed, where=f"corpus {name}")
    rows = CompletionRows(name, source, columns, turns, corpus.only if _has(source, *corpus.only) else {}, corpus)
    rows.refuse_doubled_ids(prompts.limit)
    return rows


class CompletionRows:
    """Rows of a corpus under our names, cleaned; one without a source, or whose texts are no texts, is a `BadRow`."""

    columns = None

    def __init__(
        self,
        name: str,
        source: Rows,
        columns: Mapping[str, str],
        turns: str | None,
        only: Mapping[str, Scalar],
        corpus: CompletionCorpus,
    ):
        self._name, self._source, self._columns, self._turns = name, source, columns, turns
        self._only, self._cleaning = only, corpus.cleaning
        self._numbers: Sequence[int] = range(len(source))
        if only:
            self._numbers = [number for number in self._numbers if self._is_wanted(number)]
        if not self._numbers:
            raise SpecError(f"no row has {dict(only)}", where=f"corpus {name}", remedy="check the corpus")

    @property
    def identity(self) -> Mapping[str, Any]:
        how = {"columns": dict(self._columns), "turns": self._turns, "only": dict(self._only)}
        return {**self._source.identity, "completions": {**how, "cleaning": self._cleaning}}

    def __len__(self) -> int:
        return len(self._numbers)

    def row(self, index: int) -> Row | BadRow:
        row = self._source.row(self._numbers[index])
        if isinstance(row, BadRow):
            return row
        source, human = self._texts(row)
        for name, text in ((SOURCE, source), (HUMAN, human)):
            if not isinstance(text, str):
                return BadRow("not-a-string", f"row {index}: {name!r} is {kind_of(text)}, not a text")
        if not source.strip():
            return BadRow("empty-source", f"row {index} ({self._id(row, index)}): the source is empty")
        if self._cleaning == "dialogue":
            source, human = clean_dialogue(source, human)
        found: Row = {ID: self._id(row, index), SOURCE: source, HUMAN: human}
        if (annotations := row.get(self._columns[ANNOTATIONS])) is not None:
            found[ANNOTATIONS] = annotations
        return found

    def refuse_doubled_ids(self, limit: int | None) -> None:
        """See that no two of the first `limit` rows have the same id.

        Raises:
            SpecError: two have; says which rows.
        """
        first: dict[str, int] = {}
        for index in range(len(self) if limit is None else min(limit, len(self))):
            row = self._source.row(self._numbers[index])
            if isinstance(row, BadRow):
                continue
            if (name := str(self._id(row, index))) in first:
                what = f"rows {first[name]} and {index} both have the id {name!r}"
                raise SpecError(what, where=f"corpus {self._name}", remedy="give every row an id of its own")
            first[name] = index

    def _texts(self, row: Row) -> tuple[Any, Any]:
        if self._turns is None:
            return row.get(self._columns[SOURCE]), row.get(self._columns[HUMAN])
        turns = row.get(self._turns)
        if not isinstance(turns, list) or len(turns) < 2 or not all(isinstance(turn, str) for turn in turns):
            return None, None
        stripped = [turn.strip() for turn in turns]
        return f" {END_OF_TURN} ".join(stripped[:-1]), stripped[-1]

    def _id(self, row: Row, index: int) -> Any:
        found = row.get(self._columns[ID])
        return f"{self._name}-{index}" if found is None else found

    def _is_wanted(self, number: int) -> bool:
        row = self._source.row(number)
        return isinstance(row, BadRow) or all(row.get(name) == value for name, value in self._only.items())


def _columns(source: Rows, corpus: CompletionCorpus, elsewhere: bool) -> dict[str, str]:
    """Where each of our columns is read. A file that has our own names needs no mapping, whatever the hub's are."""
    own = {name: name for name in (ID, SOURCE, HUMAN, ANNOTATIONS)}
    if elsewhere and _has(source, SOURCE, HUMAN):
        return own
    return own | dict(corpus.columns)


def _has(source: Rows, *names: str) -> bool:
    try:
        require_columns(source, names, where="")
    except SpecError:
        return False
    return True


def _from_hub(name: str, hub: HubSource) -> Rows:
    try:
        return HubRows(hub)
    except SpecError as error:
        raise SpecError(
            error.what,
            where=f"corpus {name}",
            remedy="; or ".join(filter(None, ("name a local copy: --data FILE, or prompts.file", error.remedy))),
            heading="No network",
        ) from error


@lru_cache(maxsize=1)
def _packaged() -> Mapping[str, CompletionCorpus]:
    content = parse_yaml(_PACKAGED.read_text(encoding="utf-8"))
    return {name: CompletionCorpus.model_validate(fields) for name, fields in content.items()}


def _entry(name: str, fields: Any) -> CompletionCorpus:
    try:
        entry = CompletionCorpus.model_validate(fields)
    except ValidationError as error:
        found = error.errors()[0]
        field = ".".join(str(part) for part in found["loc"])
        what = f"{field}: {found['msg']}" if field else found["msg"]
        known = ", ".join(CompletionCorpus.model_fields)
        raise SpecError(what, where=f"corpora.{name}", remedy=f"fields are {known}") from None
    if entry.file is None:
        return entry
    path = str(user_folder() / Path(entry.file.path).expanduser())
    return entry.model_copy(update={"file": entry.file.model_copy(update={"path": path})})


# Dialogues of two speakers as lines ``A: …`` and ``B: …``, as the files of the original comparison have them.
#
# Raw rows mark the ends of turns by ``[EOT]``. Speakers take turns and A begins; so the label of the completion,
# which is the next turn, follows from the number of turns before. Rows that have their labels already stay as they
# are.

END_OF_TURN = "[EOT]"
SPEAKERS = "AB"


def clean_dialogue(source: str, completion: str) -> tuple[str, str]:
    """Label the turns of a dialogue and of the turn that completes it, all in lower case.

    A turn keeps the space before its ``[EOT]``, so a line but the last ends in one.

    Example:
        >>> clean_dialogue("Hi! [EOT] hello. who's there?", "it's me.")
        ("A: hi! \\nB: hello. who's there?", "A: it's me.")
        >>> clean_dialogue("A: hi!", "B: hello.")
        ('A: hi!', 'B: hello.')
    """
    if END_OF_TURN not in source and source.startswith(f"{SPEAKERS[0]}: "):
        return source, completion
    turns = [turn.removeprefix(" ").lower() for turn in source.split(END_OF_TURN)]
    lines = [f"{_speaker(number)}: {turn}" for number, turn in enumerate(turns)]
    return "\n".join(lines), f"{_speaker(len(turns))}: {completion.lower()}"


def _speaker(turn: int) -> str:
    return SPEAKERS[turn % len(SPEAKERS)]
