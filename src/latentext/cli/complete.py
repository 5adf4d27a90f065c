"""``latentext complete``: how models complete what people completed, over models, corpora, prompts and temperatures.

The options have the short names of the original's ``run_pipeline.py`` beside long ones. Words after one dash, such as
``-mdl`` or ``-prompt_n``, need nothing special: the parser looks for a whole name before it takes letters one by one.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypeVar

import typer

from latentext.cli.interruption import continued_by
from latentext.cli.options import finite
from latentext.cli.run import intention, limits_from, print_summary
from latentext.cli.wording import counted
from latentext.errors import EXIT_DONE, SpecError

if TYPE_CHECKING:
    from latentext.run.estimate import Estimate
    from latentext.spec import Spec
    from latentext.spec.limits import Limits
    from latentext.studies.complete import Finished, Grid

T = TypeVar("T")

Many = list[str] | None


def complete(
    datasets: Annotated[Many, typer.Option("--dataset", "-d", metavar="NAME,...", help="Corpora [stories].")] = None,
    models: Annotated[
        Many,
        typer.Option(
            "--model", "-m", "-mdl", metavar="NAME,...", help="Names of `latentext models`, ids, folders [beluga7b]."
        ),
    ] = None,
    prompts: Annotated[
        Many, typer.Option("--prompt", "-prompt_n", metavar="N,...", help="Numbers of task prompts [1].")
    ] = None,
    subset: Annotated[
        int | None,
        typer.Option("--subset", "-subset", min=1, metavar="N", help="Only the first N sources of a corpus."),
    ] = None,
    temperatures: Annotated[
        Many, typer.Option("--temperature", "-temperature", metavar="T,...", help="0 is greedy [1].")
    ] = None,
    batch: Annotated[
        int | None,
        typer.Option("--batch-size", "-batch", min=1, metavar="N", help="Texts in flight at most [what memory holds]."),
    ] = None,
    hf: Annotated[bool, typer.Option("-hf", help="Short for --engine transformers.")] = False,
    engine: Annotated[
        Literal["vllm", "transformers", "openai", "openai-batch"] | None,
        typer.Option("--engine", help="What runs the models [vllm]."),
    ] = None,
    length: Annotated[
        Literal["tokens", "retry", "sentence", "none"],
        typer.Option("--length", help="How the corpus's limits of length hold; see docs/complete.md."),
    ] = "tokens",
    data: Annotated[
        Many, typer.Option("--data", metavar="[NAME=]FILE", help="A local file of a corpus, instead of Hugging Face.")
    ] = None,
    chat_format: Annotated[
        str,
        typer.Option("--chat-format", help="if-any (the model's own), template, stable-beluga, llama-2 or mistral."),
    ] = "if-any",
    seed: Annotated[int, typer.Option("--seed", help="Of the draws.")] = 129,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", help="Where a folder for each engine and model is made.")
    ] = Path("data/complete"),
    changes: Annotated[Many, typer.Option("--set", metavar="A.B=C", help="A further field of every spec.")] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="The original's whole grid: 4 corpora, 4 models, 3 temperatures.")
    ] = False,
    max_cost: Annotated[
        float | None,
        typer.Option(
            min=0, callback=finite, metavar="USD", help="A server may cost so much for the whole sweep, at most."
        ),
    ] = None,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Ask again where a request failed.")] = False,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Move existing datasets aside and start from nothing.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what would be made, and make nothing.")] = False,
) -> int:
    """Let models complete the sources of a corpus, to be compared with what people wrote.

    Lists make a sweep in which each model is loaded once: -temperature 1,1.5,2. The same command continues an
    interrupted sweep. Then: latentext report DIR, latentext export DIR OUT --to tidy.
    """
    grid = _grid(datasets, models, prompts, temperatures, everything)
    from dataclasses import replace

    if hf and engine not in (None, "transformers"):
        raise SpecError(f"-hf stands for transformers, and --engine says {engine}", remedy="leave one out")
    grid = replace(
        grid,
        subset=subset,
        engine="transformers" if hf else engine or "vllm",
        policy=length,
        chat_format=chat_format,
        batch=batch,
        seed=seed,
        data=_files(data or [], grid.corpora),
        output=output,
        settings=changes or (),
    )
    if dry_run:
        return _dry_run(grid, limits_from(max_cost, None))
    return _run(grid, retry_failed=retry_failed, fresh=fresh, limits=limits_from(max_cost, None))


def _grid(datasets: Many, models: Many, prompts: Many, temperatures: Many, everything: bool) -> Grid:
    from latentext.studies.complete import grid as full

    whole = full.Grid(full.FULL_MODELS, full.FULL_CORPORA, full.FULL_PROMPTS, full.FULL_TEMPERATURES)
    base = whole if everything else full.Grid()
    return full.Grid(
        models=_values(models, str, "--model") or base.models,
        corpora=_values(datasets, str, "--dataset") or base.corpora,
        prompts=_values(prompts, int, "--prompt") or base.prompts,
        temperatures=_values(temperatures, float, "--temperature") or base.temperatures,
    )


def _values(given: Many, kind: Callable[[str], T], where: str) -> list[T]:
    """The values of an option that may be given several times, each time with commas; each once, in order."""
    words = [word.strip() for text in given or () for word in text.split(",") if word.strip()]
    try:
        return list(dict.fromkeys(kind(word) for word in words))
    except ValueError:
        what = f"{', '.join(words)} is not {'whole numbers' if kind is int else 'numbers'}"
        raise SpecError(what, where=where, remedy="separate values by commas, as in 1,2") from None


def _files(given: Sequence[str], corpora: Sequence[str]) -> dict[str, Path]:
    files = {}
    for text in given:
        name, equals, path = text.partition("=")
        if not equals or name not in corpora:
            if len(corpora) != 1:
                what = f"{text!r} does not say which corpus it is of"
                raise SpecError(what, where="--data", remedy=f"write {corpora[0]}={text}")
            name, path = corpora[0], text
        files[name] = Path(path)
        if not files[name].expanduser().is_file():
            raise SpecError("no such file", where=f"--data {path}", remedy="name a file of rows")
    return files


def _run(grid: Grid, *, retry_failed: bool, fresh: bool, limits: Limits) -> int:
    from latentext.run.progress import progress_for
    from latentext.studies.complete import grid_specs, run_sweep

    specs = list(grid_specs(grid))
    progress = progress_for(sys.stderr)

    def say(spec: Spec, plan: Estimate) -> None:
        progress.note(f"{spec.model.name}, {spec.name}: {intention(plan)}")
        made = max(1, len(spec.decoding.temperatures))
        if grid.subset is not None and plan.requests < grid.subset * made:
            progress.note(f"{spec.prompts.corpus} has only {plan.requests // made:,} sources; all are taken")

    codes = []
    with continued_by(sys.argv[1:], sets_fields=True):
        sweep = run_sweep(specs, retry_failed=retry_failed, fresh=fresh, progress=progress, on_plan=say, limits=limits)
        for finished in sweep:
            _print(finished)
            codes.append(finished.exit_code)
    if len(specs) > 1:
        done = sum(code == EXIT_DONE for code in codes)
        typer.echo(f"{done} of {counted(len(specs), 'dataset')} complete: {grid.output}")
    # The gravest: what stopped a dataset (1, 2, 3) before what left single requests failed (4).
    return min((code for code in codes if code != EXIT_DONE), default=EXIT_DONE)


def _print(finished: Finished) -> None:
    if finished.error is not None:
        typer.echo(f"latentext: {finished.spec.model.name}, {finished.spec.name}: {finished.error}", err=True)
    elif finished.summary is not None:
        print_summary(finished.summary)


def _dry_run(grid: Grid, limits: Limits) -> int:
    from latentext.run.estimate import estimate
    from latentext.studies.complete import grid_specs

    for spec in grid_specs(grid):
        typer.echo(f"{spec.output}: {intention(estimate(spec, limits))}")
    return EXIT_DONE
