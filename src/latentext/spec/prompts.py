"""Where requests come from."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from latentext.spec.base import Frozen, Scalar


class FileSource(Frozen):
    """A file of prompts: JSONL/NDJSON, CSV, TSV, Parquet or plain text (one prompt a line), gzip allowed."""

    path: str = Field(description="Path of the file; relative to the spec.")
    format: Literal["auto", "jsonl", "csv", "tsv", "parquet", "text"] = Field(
        default="auto", description="Format; by the file's ending if `auto`."
    )


class HubSource(Frozen):
    """A Hugging Face dataset by name (extra `hub`)."""

    name: str = Field(description="Id of the Hugging Face dataset.")
    config: str | None = Field(default=None, description="Its configuration.")
    data_dir: str | None = Field(default=None, description="Its data directory.")
    split: str = Field(default="train", description="Split whose rows are read.")
    revision: str | None = Field(default=None, description="Branch, tag or commit.")


PairForm = Literal["single_token", "multi_token"]
"""How a task of a pairs file is asked: for an answer of one token, or of many."""

TWINS = ("prompt", "counterfactual")
"""The two texts of a pair, in their order."""


class PairsSource(Frozen):
    """A file of counterfactual pairs, as ``latentext pairs`` writes them: every text a prompt, twins side by side."""

    path: str = Field(description="Path of the pairs file.")
    forms: Annotated[tuple[PairForm, ...], Field(min_length=1)] = Field(
        default=("single_token", "multi_token"), description="Wordings of each pair that are read."
    )

    @model_validator(mode="after")
    def _each_form_once(self) -> Self:
        if len(set(self.forms)) < len(self.forms):
            raise ValueError(f"forms names one twice: {', '.join(self.forms)}")
        return self


class RangeSpec(Frozen):
    """Whole numbers like Python's ``range``: ``{range: [5, 50]}`` is 5 … 49."""

    range: tuple[int, int] | tuple[int, int, int] = Field(
        description="Start, stop (not included) and, if wanted, step."
    )


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

    template: str | None = Field(default=None, description="Prompt with names in braces, filled from each row.")
    templates: tuple[str, ...] | None = Field(default=None, description="Several templates, in place of one.")
    template_choice: Literal["each", "random"] = Field(
        default="each", description="Fill every template from each row, or one drawn at random per row."
    )
    grid: dict[str, GridValues] | None = Field(
        default=None, description="Values per variable; rows are all combinations, the last variable varies fastest."
    )
    list: tuple[str | dict[str, Any], ...] | None = Field(default=None, description="Prompts, or rows as mappings.")
    file: Annotated[FileSource | None, BeforeValidator(lambda v: {"path": v} if isinstance(v, str) else v)] = Field(
        default=None, description="File with one row per prompt; a path alone is enough."
    )
    hub: Annotated[HubSource | None, BeforeValidator(lambda v: {"name": v} if isinstance(v, str) else v)] = Field(
        default=None, description="Hugging Face dataset with one row per prompt; its id alone is enough."
    )
    pairs: Annotated[PairsSource | None, BeforeValidator(lambda v: {"path": v} if isinstance(v, str) else v)] = Field(
        default=None, description="File of counterfactual pairs; a path alone is enough."
    )
    corpus: str | None = Field(default=None, description="Published set of prompts, by name.")
    task: int | None = Field(default=None, description="Number of the corpus's task prompt, in place of a template.")
    columns: dict[str, str] = Field(
        default_factory=dict,
        description="Which column holds what: `{prompt: question}` reads the column `question` as the prompt.",
    )
    system: str | None = Field(default=None, description="System message before every prompt.")
    use_chat_template: bool = Field(default=True, description="Wrap prompts in the model's chat template.")
    remove_date_lines: bool = Field(
        default=True, description="Leave out the sentences of the chat template that hold today's date."
    )
    add_generation_prompt: bool = Field(
        default=True, description="End the chat with the header of the assistant's answer."
    )
    chat_format: str = Field(
        default="auto", description="`template` (the tokenizer's), `auto`, `if-any`, or a hand-written format by name."
    )
    limit: int | None = Field(default=None, ge=0, description="Number of rows that are read; all if left out.")

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
