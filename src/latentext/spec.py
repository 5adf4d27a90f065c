"""What a run is: frozen pydantic models, one vocabulary for YAML, Python and the command line.

Every field has the same name in a YAML file, in ``Spec(...)`` and in ``--set a.b=c``. Unknown fields are refused.
Reading files and turning pydantic's findings into one-line errors is the business of `latentext.spec_file`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

Scalar = str | int | float | bool | None
"""A value that a template variable can take."""

DType = Literal["float32", "float16", "bfloat16"]
Positions = Literal["generated", "prompt", "all", "first", "last", "text"]
Pool = Literal["none", "last", "mean", "max", "first", "entropy_mean"]
Keep = Literal["all", "accepted", "exact"]


def _one_or_many(value: Any) -> Any:
    """Let ``stop: "\\n"`` stand for ``stop: ["\\n"]``."""
    return [value] if isinstance(value, (str, int)) else value


class Frozen(BaseModel):
    """A value: immutable, and strict about names."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


SHIPPED_PRICES = "openai"
"""In place of a file in ``model.api.prices``: the table of the package, for any server."""


class ApiOptions(Frozen):
    """How a server that speaks OpenAI's protocol is asked.

    `request` holds further fields of every request body, such as ``response_format``; they decide texts and are part of
    the identity. All else only decides when and where requests are sent. `timeout` is in seconds a request. `prices` is
    a price table of your own (YAML), or ``openai`` for the one that ships with the package, which is otherwise used for
    OpenAI's own server alone.
    """

    base_url: str | None = None
    concurrency: int = Field(default=16, ge=1)
    requests_per_minute: int | None = Field(default=None, ge=1)
    tokens_per_minute: int | None = Field(default=None, ge=1)
    timeout: float = Field(default=120.0, gt=0)
    max_tries: int = Field(default=6, ge=1)
    request: dict[str, Any] = Field(default_factory=dict)
    prices: str | None = None


class VllmOptions(Frozen):
    """How vLLM is started; the fields have vLLM's own names and meaning.

    `capture` says how states are had: by replay with transformers after the texts are written, or by vLLM's own
    extraction while they are written, where it serves the sites that are asked for.
    """

    tensor_parallel_size: int = Field(default=1, ge=1)
    gpu_memory_utilization: float = Field(default=0.9, gt=0, le=1)
    max_model_len: int | None = Field(default=None, ge=1)
    enforce_eager: bool = False
    quantization: str | None = None
    capture: Literal["replay", "extract"] = "replay"


REMOTE_ENGINES = ("openai", "openai-batch")
"""Engines whose model is not in this process: texts come without token ids."""


class ModelSpec(Frozen):
    """Which model writes the texts, and how it is loaded.

    `name` is a name from ``latentext models``, a Hugging Face id or a local folder; with the engines `openai` and
    `openai-batch` it is the name that the server knows. `local` is then a model on this machine whose tokenizer encodes
    prompts and texts, and whose weights give their states.

    `batch_tokens` and `batch_size` bound the texts in flight, by their tokens and by number. `quantization` rounds the
    weights while they are loaded; weights that are stored quantised (GPTQ, AWQ) need no word of it.
    """

    name: str = "tiny"
    engine: Literal["transformers", "vllm", "openai", "openai-batch"] = "transformers"
    revision: str | None = None
    dtype: Literal["auto"] | DType = "auto"
    device: str = "auto"
    device_map: str | None = None
    attention: Literal["auto", "sdpa", "eager", "flash_attention_2"] = "auto"
    trust_remote_code: bool = False
    threads: int | None = Field(default=None, ge=1)
    batch_tokens: int | None = Field(default=None, ge=1)
    batch_size: int | None = Field(default=None, ge=1)
    quantization: Literal["bitsandbytes-4bit", "bitsandbytes-8bit"] | None = None
    api: ApiOptions | None = None
    vllm: VllmOptions | None = None
    local: str | None = None

    @property
    def remote(self) -> bool:
        """Whether the model is behind a server."""
        return self.engine in REMOTE_ENGINES

    @model_validator(mode="after")
    def _options_of_its_engine(self) -> Self:
        for name, engines in (
            ("api", REMOTE_ENGINES),
            ("local", REMOTE_ENGINES),
            ("vllm", ("vllm",)),
            ("batch_size", ("transformers",)),
            ("quantization", ("transformers",)),
        ):
            if getattr(self, name) is not None and self.engine not in engines:
                raise ValueError(f"{name} is for engine {' or '.join(engines)}, not {self.engine}")
        return self


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


_NOT_WITH_EXPECT = (
    "temperature",
    "temperatures",
    "repetition_penalty",
    "presence_penalty",
    "frequency_penalty",
    "no_repeat_ngram_size",
    "stop",
    "min_new_tokens",
)


class Decoding(Frozen):
    """How tokens are chosen. ``temperature: 0`` is greedy; filters act in the order temperature, top-k, top-p, min-p.

    `temperatures` asks every prompt at each of several; ``temperature: [1, 1.5, 2]`` says the same. Each makes a
    request of its own, whose variable `temperature` holds it.

    `n` is the number of samples a prompt. ``min_new_tokens == max_new_tokens`` forces the length. With
    ``max_new_tokens: 0`` nothing is written: the prompts are given texts, whose states are read.
    `logprobs` and `entropy` (in nats) are of the model's own distribution, before temperature, filters and penalties.

    `expect` names the variable that holds what the model will probably write, as in "repeat this text". It changes no
    text: greedy decoding then checks the expected tokens in one pass instead of writing them one by one.
    """

    temperature: float = Field(default=0.0, ge=0.0)
    temperatures: tuple[Annotated[float, Field(ge=0.0)], ...] = ()
    top_k: int | None = Field(default=None, ge=1)
    top_p: float = Field(default=1.0, gt=0.0, le=1.0)
    min_p: float = Field(default=0.0, ge=0.0, le=1.0)
    repetition_penalty: float = Field(default=1.0, gt=0.0)
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    no_repeat_ngram_size: int = Field(default=0, ge=0)
    stop: Annotated[tuple[str, ...], BeforeValidator(_one_or_many)] = ()
    min_new_tokens: int = Field(default=0, ge=0)
    max_new_tokens: int = Field(default=200, ge=0)
    n: int = Field(default=1, ge=1)
    logprobs: bool = False
    entropy: bool = False
    expect: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _one_temperature_or_several(cls, fields: Any) -> Any:
        if isinstance(fields, Mapping) and isinstance(several := fields.get("temperature"), list | tuple):
            if fields.get("temperatures"):
                raise ValueError("give temperature or temperatures, not both")
            if not several:
                raise ValueError("temperature is an empty list")
            alone = {"temperature": several[0]} if len(several) == 1 else {"temperatures": tuple(several)}
            return {name: value for name, value in fields.items() if name != "temperature"} | alone
        return fields

    @model_validator(mode="after")
    def _temperatures_differ(self) -> Self:
        if self.temperatures and self.temperature:
            raise ValueError("give temperature or temperatures, not both")
        if len(set(self.temperatures)) < len(self.temperatures):
            raise ValueError("temperatures has one of them twice")
        return self

    def at(self, temperature: float | None) -> Self:
        """These options at one temperature; at their own where it is None.

        Example:
            >>> Decoding(temperatures=(1.0, 2.0)).at(2.0) == Decoding(temperature=2.0)
            True
        """
        if temperature is None:
            return self
        return self.model_copy(update={"temperature": temperature, "temperatures": ()})

    @model_validator(mode="after")
    def _expectation_is_greedy(self) -> Self:
        if self.expect is not None:
            for name in _NOT_WITH_EXPECT:
                if getattr(self, name) != type(self).model_fields[name].default:
                    raise ValueError(f"expect checks plain greedy decoding and cannot stand beside {name}")
        return self

    @model_validator(mode="after")
    def _order(self) -> Self:
        if self.min_new_tokens > self.max_new_tokens:
            raise ValueError(f"min_new_tokens {self.min_new_tokens} is above max_new_tokens {self.max_new_tokens}")
        if any(not s for s in self.stop):
            raise ValueError("stop has an empty string")
        return self

    @property
    def given(self) -> bool:
        """Whether the prompts are given texts and nothing is written."""
        return self.max_new_tokens == 0

    @model_validator(mode="after")
    def _nothing_about_what_is_not_written(self) -> Self:
        for name in ("n", "stop", "expect", "logprobs", "entropy") if self.given else ():
            if getattr(self, name) != type(self).model_fields[name].default:
                raise ValueError(f"max_new_tokens: 0 writes nothing and cannot stand beside {name}")
        return self


class StatesSpec(Frozen):
    """Which hidden states are kept, by the definitions in docs/architecture.md.

    `sites` are names (`embed`, `resid_post.3`, `final_norm`), Hugging Face hidden_states indices (negative ones count
    back from the last), or ``all``. With `pool` other than ``none`` one row a text is kept for each pooling.
    """

    sites: Annotated[tuple[str | int, ...], BeforeValidator(_one_or_many), Field(min_length=1)] = ("final_norm",)
    positions: Positions = "generated"
    pool: Annotated[tuple[Pool, ...], BeforeValidator(_one_or_many), Field(min_length=1)] = ("none",)
    dtype: Literal["model"] | DType = "model"
    how: Literal["auto", "inflight", "replay"] = "auto"

    @model_validator(mode="after")
    def _rows_or_pools(self) -> Self:
        if "none" in self.pool and len(self.pool) > 1:
            raise ValueError("pool: none keeps every row and cannot stand beside poolings; make two captures")
        if self.pool != ("none",) and self.positions != "generated":
            raise ValueError(f"poolings are of the generated positions; leave out positions: {self.positions}")
        return self


class RepetitionCheck(Frozen):
    """The variables that hold the word to repeat and how often."""

    word: str = "word"
    count: str = "count"


class CheckSpec(Frozen):
    """Whether a text does what was asked, judged text by text and kept with the scores.

    Of a repetition, `accepted` is a text that is nothing but the word, and `exact` one that has it as often as asked
    (see `latentext.rewards.repetition`). `keep` is what splits and exports take; what they leave out stays in the
    dataset.
    """

    repetition: RepetitionCheck
    keep: Keep = "all"


class LengthSpec(Frozen):
    """How long texts should be, in words as spaCy's blank English tokenizer cuts them (extra `complete`).

    `min` and `max` are legal lengths, both included; left out, those of the corpus. The limits hold by `policy`:
    ``tokens`` sets `decoding.min_new_tokens` and `max_new_tokens` to them, converted by the number of tokens a word
    that the model's tokenizer gives the human texts; ``retry`` draws samples 0, 1, 2, … of a request until one has a
    legal length and was not cut, at most `decoding.n` (30 unless it is given); ``sentence`` sets the limits of tokens,
    and takes of a text that was cut the full sentences; ``none`` only counts. A limit that `decoding` gives stays.

    `human` is the variable that holds a person's text. `tokens_per_word` is measured when a run starts, and recorded.
    """

    policy: Literal["tokens", "retry", "sentence", "none"] = "tokens"
    min: int | None = Field(default=None, ge=0)
    max: int | None = Field(default=None, ge=1)
    human: str = "human_completions"
    tokens_per_word: float | None = Field(default=None, gt=0.0)

    @model_validator(mode="after")
    def _order(self) -> Self:
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min {self.min} is above max {self.max}")
        return self


class SplitSpec(Frozen):
    """How texts are divided on reading; `by` names the group that stays whole (prompt, template, index or a
    variable)."""

    by: str = "prompt"
    val: float = Field(default=0.1, ge=0.0, lt=1.0)
    test: float = Field(default=0.0, ge=0.0, lt=1.0)
    seed: int = 0


class Spec(Frozen):
    """One run. All of it is in the file ``spec.yaml`` of the dataset directory that it makes.

    Example:
        >>> spec = Spec(prompts={"template": "Say {word}.", "grid": {"word": ["yes", "no"]}})
        >>> spec.model.name, spec.decoding.max_new_tokens
        ('tiny', 200)
    """

    name: str = "dataset"
    description: str = ""
    seed: int = 0
    model: Annotated[ModelSpec, BeforeValidator(lambda v: {"name": v} if isinstance(v, str) else v)] = ModelSpec()
    prompts: PromptSpec
    decoding: Decoding = Decoding()
    states: StatesSpec | None = None
    rewards: tuple[str | dict[str, Any], ...] = ()
    check: CheckSpec | None = None
    length: LengthSpec | None = None
    split: SplitSpec = SplitSpec()
    shard_size: int | None = Field(default=None, ge=1)
    output: str | None = None

    @property
    def retries(self) -> bool:
        """Whether samples of a request are drawn until one has a legal length."""
        return self.length is not None and self.length.policy == "retry"

    @model_validator(mode="after")
    def _one_verdict(self) -> Self:
        if self.retries and self.check is not None:
            raise ValueError("length.policy: retry and check both say what is accepted; leave one out")
        return self

    @model_validator(mode="after")
    def _check_has_its_variables(self) -> Self:
        if self.check is not None and self.prompts.grid is not None:
            known = (*self.prompts.grid, *self.prompts.columns)
            for name in (self.check.repetition.word, self.check.repetition.count):
                if name not in known:
                    raise ValueError(f"check.repetition needs {name!r}; the grid has {', '.join(known)}")
        return self

    @model_validator(mode="after")
    def _given_texts_are_only_read(self) -> Self:
        if not self.decoding.given:
            return self
        if self.rewards or self.check is not None:
            raise ValueError("decoding.max_new_tokens: 0 writes no texts that rewards or a check could judge")
        states = self.states
        if states is not None and (states.positions not in ("text", "prompt", "all") or states.pool != ("none",)):
            raise ValueError("decoding.max_new_tokens: 0 writes no texts; states of given texts are positions: text")
        return self

    @model_validator(mode="after")
    def _twins_share_a_shard(self) -> Self:
        if self.prompts.pairs is not None and self.shard_size is not None and self.shard_size % len(TWINS):
            raise ValueError(f"shard_size {self.shard_size} would cut a pair in two; give an even number")
        return self
