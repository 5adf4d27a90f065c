"""From models, corpora, prompts and temperatures to specs: a dataset for each model, corpus and prompt.

Temperatures are a variable within a dataset, so that their texts stand beside each other. Models are the outer loop:
all datasets of one follow each other, and it is loaded once. Names of folders are those of the original's files.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from latentext.dataset.documents import read_spec
from latentext.dataset.layout import SPEC
from latentext.errors import SpecError
from latentext.models.display_names import folder_name, model_label
from latentext.models.registry import registered_models
from latentext.prompts.completion_corpora import completion_corpus, task_template
from latentext.prompts.legacy_formats import CHAT_FORMATS, IF_ANY
from latentext.spec import Spec
from latentext.spec.files import load_spec, resolve_inputs

EngineName = Literal["vllm", "transformers", "openai", "openai-batch"]
Policy = Literal["tokens", "retry", "sentence", "none"]

SEED, TOP_K = 129, 50
"""The original's seed, and how many of the most likely tokens it sampled from."""

FULL_CORPORA = ("dailydialog", "dailymail_cnn", "mrpc", "stories")
FULL_MODELS = ("llama2_chat7b", "llama2_chat13b", "beluga7b", "mistral7b")
FULL_TEMPERATURES = (1.0, 1.5, 2.0)
FULL_PROMPTS = (21,)
"""The original's whole grid (``--all``)."""


@dataclass(frozen=True)
class Grid:
    """What a sweep runs over, and how.

    Attributes:
        prompts: numbers of task prompts.
        subset: only the first so many sources of each corpus.
        data: a local file for each corpus that is not to come from Hugging Face.
        batch: texts in flight at most; None lets the engine choose. It changes no text in float32.
        settings: further fields of every spec, ``a.b=value``, as for ``latentext run --set``.
    """

    models: Sequence[str] = ("beluga7b",)
    corpora: Sequence[str] = ("stories",)
    prompts: Sequence[int] = (1,)
    temperatures: Sequence[float] = (1.0,)
    subset: int | None = None
    engine: EngineName = "vllm"
    policy: Policy = "tokens"
    chat_format: str = IF_ANY
    batch: int | None = None
    seed: int = SEED
    data: Mapping[str, Path] = field(default_factory=dict)
    output: Path = Path("data/complete")
    settings: Sequence[str] = ()


def grid_specs(grid: Grid) -> Iterator[Spec]:
    """The specs of a grid, each with its `output`; all names are looked up before the first is given.

    Raises:
        SpecError: an unknown corpus, prompt number, chat format or setting, or an unusable value.

    Example:
        >>> specs = list(grid_specs(Grid(models=["tiny"], corpora=["mrpc"], prompts=[1, 21], engine="transformers")))
        >>> [(spec.prompts.task, spec.output) for spec in specs]  # doctest: +NORMALIZE_WHITESPACE
        [(1, 'data/complete/transformers/tiny/mrpc_prompt_1_temp1'),
         (21, 'data/complete/transformers/tiny/mrpc_prompt_21_temp1')]
    """
    _check(grid)
    specs = [
        _spec(grid, model, corpus, prompt)
        for model in grid.models
        for corpus in grid.corpora
        for prompt in grid.prompts
    ]
    return iter(specs)


def _check(grid: Grid) -> None:
    for corpus in grid.corpora:
        completion_corpus(corpus, where="--dataset")
        for number in grid.prompts:
            task_template(corpus, number, where="--prompt")
    for temperature in grid.temperatures:
        if not 0 <= temperature < math.inf:
            raise SpecError(
                f"{temperature:g} is {'below 0' if temperature < 0 else 'no finite number'}",
                where="--temperature",
                remedy="0 is greedy, 1 the model's own",
            )
    for corpus in grid.data:
        if corpus not in grid.corpora:
            remedy = f"the sweep has: {', '.join(grid.corpora)}"
            raise SpecError(f"{corpus!r} is not among the corpora of the sweep", where="--data", remedy=remedy)
    if grid.chat_format not in CHAT_FORMATS:
        what = f"no chat format is called {grid.chat_format!r}"
        raise SpecError(what, where="--chat-format", remedy=f"known are {', '.join(CHAT_FORMATS)}")
    for model in grid.models:
        if "/" not in model and not Path(model).is_dir() and model not in (*registered_models(), "tiny"):
            if grid.engine in ("openai", "openai-batch"):
                continue
            names = ", ".join(registered_models())
            remedy = f"known are tiny, {names}; or give a Hugging Face id or a folder"
            raise SpecError(f"no model is called {model!r}", where="--model", remedy=remedy)


def _spec(grid: Grid, model: str, corpus: str, prompt: int) -> Spec:
    temperatures = list(grid.temperatures)
    name = f"{corpus}_prompt_{prompt}_temp{'-'.join(f'{temperature:g}' for temperature in temperatures)}"
    prompts: dict[str, Any] = {"corpus": corpus, "task": prompt, "chat_format": grid.chat_format}
    if corpus in grid.data:
        prompts["file"] = str(grid.data[corpus])
    if grid.subset is not None:
        prompts["limit"] = grid.subset
    decoding: dict[str, Any] = {"temperature": temperatures}
    if grid.engine in ("vllm", "transformers"):  # OpenAI's protocol has no top-k.
        decoding["top_k"] = TOP_K
    fields = {
        "name": name,
        "description": f"Completions of {corpus} by {model_label(model)} beside those of people",
        "seed": grid.seed,
        "model": {"name": model, "engine": grid.engine, "batch_size": grid.batch},
        "prompts": prompts,
        "decoding": decoding,
        "length": {"policy": grid.policy},
        "split": {"by": "source", "val": 0.1, "test": 0.1},
        "output": str(_place(grid, model, name)),
    }
    return resolve_inputs(load_spec(fields, grid.settings), Path())


def _place(grid: Grid, model: str, name: str) -> Path:
    """The directory of one dataset. Of a model that version 0.1.0 called by its last folder, such as ``hf``, the
    directory that it made is continued."""
    new, old = (
        grid.output / grid.engine / called.replace("/", "--") / name
        for called in (model_label(model), folder_name(model))
    )
    if new != old and (old / SPEC).is_file() and not (new / SPEC).exists():
        before = Path(read_spec(old).model.name)
        return old if before == Path(model).expanduser().resolve() else new
    return new
