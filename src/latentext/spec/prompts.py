"""Where requests come from."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from latentext.spec.base import Frozen, Scalar


class FileSource(Frozen):
    """A file of prompts: JSONL/NDJSON, CSV, TSV, Parquet or plain text (one prompt a line), gzip allowed."""

    path: str
    format: Literal["auto", "jsonl", "csv", "tsv", "parquet", "text"] = "auto"


class HubSource(Frozen):
    """A Hugging Face dataset by name (extra `hub`)."""

    name: str
    config: str | None = None
    data_dir: str | None = None
    split: str = "train"
    revision: str | None = None


PairForm = Literal["single_token", "multi_token"]
"""How a task of a pairs file is asked: for an answer of one token, or of many."""

TWINS = ("prompt", "counterfactual")
"""The two texts of a pair, in their order."""


class PairsSource(Frozen):
    """A file of counterfactual pairs, as ``latentext pairs`` writes them: every text a prompt, twins side by side."""

    path: str
    forms: Annotated[tuple[PairForm, ...], Field(min_length=1)] = ("single_token", "multi_token")

    @model_validator(mode="after")
    def _each_form_once(self) -> Self:
        if len(set(self.forms)) < len(self.forms):
            raise ValueError(f"forms names one twice: {', '.join(self.forms)}")
        return self


class RangeSpec(Frozen):
    """Whole numbers like Python's ``range``: ``{range: [5, 50]}`` is 5 … 49."""

    range: tuple[int, int] | tuple[int, int, int]


GridValues = RangeSpec | tuple[Scalar, ...]


class PromptSpec(Frozen):
    """Where requests come from and how they are worded.

    Rows come from exactly one of `grid`, `list`, `file`, `hub`, `pairs` or `corpus`; beside a `corpus` (a published set
    by its name) `file` or `hub` say where to read it. A row is a set of named values. The user turn is `template` (or
    each of `templates`) filled from the row; without a template it is the row's `prompt` column, or the chat in its
    `messages` column. `columns` renames: ``{prompt: source}`` reads the column `source` as `prompt`.

    Of a corpus of completions (`latentext.prompts.completion_corpora`) `task` is the number of one of its task prompts,
    in place of a template.

    `chat_format` is ``template`` (the tokenizer's own), a hand-written format by name
    (`latentext.prompts.legacy_formats`), or ``auto``: what the registry has for the model, as a rule the template;
    ``if-any`` is the same, and for a tokenizer without a template the text as it stands.
    """

    template: str | None = None
    templates: tuple[str, ...] | None = None
    template_choice: Literal["each", "random"] = "each"
    grid: dict[str, GridValues] | None = None
    list: tuple[str | dict[str, Any], ...] | None = None
    file: Annotated[FileSource | None, BeforeValidator(lambda v: {"path": v} if isinstance(v, str) else v)] = None
    hub: Annotated[HubSource | None, BeforeValidator(lambda v: {"name": v} if isinstance(v, str) else v)] = None
    pairs: Annotated[PairsSource | None, BeforeValidator(lambda v: {"path": v} if isinstance(v, str) else v)] = None
    corpus: str | None = None
    task: int | None = None
    columns: dict[str, str] = Field(default_factory=dict)
    system: str | None = None
    use_chat_template: bool = True
    remove_date_lines: bool = True
    add_generation_prompt: bool = True
    chat_format: str = "auto"
    limit: int | None = Field(default=None, ge=0)

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        names = ("grid", "list", "file", "hub", "pairs", "corpus")
        sources = [name for name in names if getattr(self, name) is not None]
        if len(sources) > 1 and not (self.corpus is not None and sources in (["file", "corpus"], ["hub", "corpus"])):
            raise ValueError(f"give one source of rows, not {' and '.join(sources)}")
        if not sources and self.template is None and self.templates is None:
            raise ValueError("give a template, or rows by one of grid, list, file, hub, pairs, corpus")
        if self.template is not None and self.templates is not None:
            raise ValueError("give template or templates, not both")
        if self.templates is not None and not self.templates:
            raise ValueError("templates is empty")
        if self.task is not None:
            if self.corpus is None:
                raise ValueError("task is the number of a corpus's prompt; give a corpus")
            if self.template is not None or self.templates is not None:
                raise ValueError("give a task or a template, not both")
        return self

    @model_validator(mode="after")
    def _twins_stay_twins(self) -> Self:
        if self.pairs is not None and self.template_choice == "random":
            raise ValueError("template_choice: random would give twins different templates")
        if self.pairs is not None and self.limit is not None and self.limit % len(TWINS):
            raise ValueError(f"limit {self.limit} would cut a pair in two; give an even number of texts")
        return self
