"""What can be named: ``latentext models``, ``corpora``, ``recipes`` and ``schema``."""

from __future__ import annotations

import itertools
import json
import re
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from latentext.cli.options import AsJson
from latentext.cli.wording import columns, counted, size

if TYPE_CHECKING:
    from latentext.models.catalogue import ModelInfo
    from latentext.models.memory import Memory


def models(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="MODEL", help="Models to look up instead of the usual ones.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List models by short name, their size in memory by dtype, and which fit here.

    Any other Hugging Face id or folder of a causal language model can be used in the same way. Names of your own go
    into latentext.yaml: see docs/complete.md.
    """
    from latentext.models.catalogue import BYTES_PER_PARAMETER, describe_model, suggested_models
    from latentext.models.memory import memory_here

    found = [describe_model(name) for name in names] if names else suggested_models()
    memory = memory_here()
    if as_json:
        described = [{**asdict(model), "bytes": model.memory() if model.parameters else None} for model in found]
        typer.echo(json.dumps({"models": described, "memory_bytes": memory.total_bytes}))
        return
    rows = [("model", "parameters", *BYTES_PER_PARAMETER, "fits here", "source")]
    rows += [_row(model, memory) for model in found]
    for line in columns(rows):
        typer.echo(line)
    typer.echo(f"Sizes are of the weights; {memory.owner} has {size(memory.total_bytes)} of memory.")


def _row(model: ModelInfo, memory: Memory) -> tuple[str, ...]:
    from latentext.models.catalogue import BYTES_PER_PARAMETER

    if model.parameters is None:
        return (model.name, "unknown", *("unknown" for _ in BYTES_PER_PARAMETER), "unknown", model.source)
    weights = model.memory()
    fitting = next((f"in {dtype}" for dtype, weight_bytes in weights.items() if memory.holds(weight_bytes)), "no")
    if model.quantisation is not None and not memory.of_gpu:
        fitting = "no, needs a GPU"
    sizes = (size(weights[dtype]) if dtype in weights else "-" for dtype in BYTES_PER_PARAMETER)
    return (model.name, _parameters(model.parameters), *sizes, fitting, model.source)


def _parameters(count: int) -> str:
    return f"{count / 1e9:.2f} B" if count >= 1e9 else f"{count / 1e6:.2f} M"


def recipes(
    name: Annotated[str | None, typer.Argument(help="Recipe to print, such as length/same_prompt.")] = None,
) -> None:
    """List the recipes with what each is for, or print one of them.

    Run one with ``latentext run NAME``; copy one with ``latentext recipes NAME > mine.yaml``.
    """
    from latentext.errors import SpecError
    from latentext.studies.catalogue import recipe_names, recipe_path

    known = recipe_names()
    if name is None:
        width = max(map(len, known))
        for each in known:
            typer.echo(f"{each.ljust(width)}  {_first_sentence(str(recipe_path(each)))}")
        return
    path = recipe_path(name)
    if path is None:
        raise SpecError(f"no recipe is called {name!r}", where="NAME", remedy=f"recipes are {', '.join(known)}")
    typer.echo(path.read_text(encoding="utf-8"), nl=False)


def _first_sentence(path: str) -> str:
    """The first sentence of the comment that a recipe begins with."""
    lines = Path(path).read_text(encoding="utf-8").splitlines()
    comment = itertools.takewhile(lambda line: line.startswith("#"), lines)
    text = " ".join(line.lstrip("# ") for line in comment if "$schema" not in line)
    return re.split(r"(?<=[.?]) ", text, maxsplit=1)[0]


def schema(
    output: Annotated[Path | None, typer.Option("--output", "-o", help="File to write; otherwise printed.")] = None,
) -> None:
    """Print the JSON schema of a spec: all fields with types, defaults and descriptions.

    An editor with a YAML language server completes and checks a spec whose first line is

        # yaml-language-server: $schema=spec.schema.json
    """
    from latentext.errors import SpecError
    from latentext.spec import Spec

    text = json.dumps(Spec.model_json_schema(), indent=2, ensure_ascii=False) + "\n"
    if output is None:
        typer.echo(text, nl=False)
        return
    if output.exists():
        raise SpecError(f"{output} exists already", where="--output", remedy="name another file or remove it")
    output.write_text(text, encoding="utf-8")


def corpora(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="A corpus to measure; without it all are listed.")
    ] = None,
    data: Annotated[Path | None, typer.Option(metavar="FILE", help="A local file of its rows.")] = None,
    model: Annotated[
        str | None, typer.Option("--model", "-m", metavar="ID|DIR", help="Also count tokens of this model's tokenizer.")
    ] = None,
    prompts: Annotated[bool, typer.Option("--prompts", help="Print the numbered task prompts.")] = False,
) -> None:
    """List the corpora that models can complete, or measure the human texts of one.

    Lengths are in words as spaCy's blank English tokenizer cuts them. A corpus of your own is one entry in
    latentext.yaml: see docs/complete.md.
    """
    from latentext.prompts.completion_corpora import completion_corpora, completion_corpus

    if prompts:
        chosen = {name: completion_corpus(name, where="NAME")} if name else completion_corpora()
        for corpus, entry in chosen.items():
            for number, text in entry.prompts.items():
                typer.echo(f"{corpus} {number}: {text}")
        return
    if name is not None:
        _measure(name, data, model)
        return
    rows = [("corpus", "limits in words", "prompts", "source")]
    for corpus, entry in completion_corpora().items():
        limits = "-" if entry.limits is None else f"{entry.limits[0]}-{entry.limits[1]}"
        place = entry.hub.name if entry.hub is not None else entry.file.path if entry.file is not None else ""
        rows.append((corpus, limits, ", ".join(map(str, entry.prompts)) or "-", place))
    for line in columns(rows):
        typer.echo(line)


def _measure(name: str, data: Path | None, model: str | None) -> None:
    from latentext.prompts.completion_corpora import HUMAN, completion_corpus
    from latentext.prompts.tokenizer import load_tokenizer
    from latentext.run.length_limits import human_texts
    from latentext.spec import FileSource, PromptSpec
    from latentext.word_count import measure_words

    entry = completion_corpus(name, where="NAME")
    file = None if data is None else FileSource(path=str(data))
    texts = human_texts(PromptSpec(corpus=name, template="{source}", file=file), HUMAN)
    found = measure_words(texts, None if model is None else load_tokenizer(model))
    typer.echo(
        f"{counted(found.texts, 'human text')} of {found.fewest} to {found.most} words, {found.mean:.1f} on average"
    )
    typer.echo(f"limits: [{found.fewest}, {found.most}]" + _registered(entry.limits, (found.fewest, found.most)))
    if found.tokens_per_word is not None:
        typer.echo(f"{found.tokens_per_word:g} tokens of {model} a word")


def _registered(limits: tuple[int, int] | None, found: tuple[int, int]) -> str:
    return (
        ""
        if limits is None or limits == found
        else f" (of these texts; of the whole corpus: [{limits[0]}, {limits[1]}])"
    )
