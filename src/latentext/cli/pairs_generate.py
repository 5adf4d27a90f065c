"""``latentext pairs generate``: pairs that a model proposes."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from latentext.cli.interruption import continued_by
from latentext.cli.options import finite
from latentext.cli.pairs_options import (
    BaseUrl,
    CacheDir,
    ConfigDir,
    Details,
    Force,
    Form,
    LogLevelOption,
    MaxCost,
    MaxTokens,
    MaxTokensTotal,
    MinYield,
    PairsEach,
    PriceTable,
    ResponseForm,
    Scenarios,
    Seed,
    TaskName,
    Tokenizers,
    load,
    set_log_level,
)
from latentext.cli.run import limits_from
from latentext.cli.wording import counted
from latentext.errors import EXIT_DONE, SpecError

if TYPE_CHECKING:
    from latentext.engines.server.spend import Spend
    from latentext.spec import ModelSpec
    from latentext.spec.limits import Limits
    from latentext.studies.pairs import PairTask, PairTokenizer
    from latentext.studies.pairs.checkpoint import Checkpoint
    from latentext.studies.pairs.proposing_run import Outcome, Proposals

EngineName = Literal["auto", "openai", "transformers", "vllm"]
REHEARSAL = Path("rehearsal") / "dataset.jsonl"

Output = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        metavar="FILE",
        help="JSON lines, or Parquet if it ends so. Default: dataset.jsonl; of a rehearsal rehearsal/dataset.jsonl.",
    ),
]
CheckpointDir = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR",
        help="The folder with requests, answers and journal that the same command continues from. Default: beside the "
        "output, dataset.checkpoint.",
    ),
]
NoCheckpoint = Annotated[
    bool, typer.Option("--no-checkpoint", help="Work in a temporary folder: what a stopped run paid for is lost.")
]
ModelName = Annotated[
    str,
    typer.Option("--model", "-m", metavar="ID|DIR", help="A model of the server, or a local one (transformers)."),
]
EngineOption = Annotated[EngineName, typer.Option(help="auto: transformers for tiny and for folders, else openai.")]
Temperature = Annotated[float, typer.Option(min=0, callback=finite, help="Of the replies.")]
Concurrency = Annotated[int, typer.Option(min=1, help="Requests in flight at most.")]
PerMinute = Annotated[int | None, typer.Option(min=1, help="The account's limit, if known.")]
JournalPath = Annotated[
    Path | None, typer.Option(metavar="PATH", help="Where answers are kept first, on a disk of this machine.")
]
RetryFailed = Annotated[bool, typer.Option("--retry-failed", help="Ask again where a request failed.")]
Rehearse = Annotated[
    bool, typer.Option("--rehearse", help="Run all of it against a stand-in server on this machine, free of charge.")
]


def generate(
    task: TaskName = "refusal",
    num_scenarios: Scenarios = 1500,
    output: Output = None,
    checkpoint: CheckpointDir = None,
    no_checkpoint: NoCheckpoint = False,
    config_dir: ConfigDir = None,
    model: ModelName = "gpt-4o",
    engine: EngineOption = "auto",
    base_url: BaseUrl = None,
    temperature: Temperature = 0.8,
    max_tokens: MaxTokens = 2048,
    pairs_per_request: PairsEach = None,
    response_format: Form = "json_schema",
    seed: Seed = 0,
    min_yield: MinYield = 0.02,
    max_cost: MaxCost = None,
    max_tokens_total: MaxTokensTotal = None,
    concurrency: Concurrency = 16,
    requests_per_minute: PerMinute = None,
    tokens_per_minute: PerMinute = None,
    prices: PriceTable = None,
    journal: JournalPath = None,
    retry_failed: RetryFailed = False,
    rehearse: Rehearse = False,
    details: Details = False,
    tokenizer: Tokenizers = None,
    cache_dir: CacheDir = None,
    force: Force = False,
    log_level: LogLevelOption = "INFO",
) -> int:
    """Let a model propose pairs, keep those that are valid, and tell it what was wrong with the others.

    The run ends with as many scenarios as wanted, at a cap, or when hardly any of the pairs are valid. An interrupted
    run is continued by the same command; no answer is paid for twice.
    """
    from latentext.spec import Decoding
    from latentext.studies.pairs import check_place, load_task, write_scenarios
    from latentext.studies.pairs.checkpoint import Checkpoint
    from latentext.studies.pairs.proposing_run import Proposals

    set_log_level(log_level)
    if no_checkpoint and checkpoint is not None:
        raise SpecError("--checkpoint and --no-checkpoint exclude each other", remedy="leave one out")
    target = output or (REHEARSAL if rehearse else Path("dataset.jsonl"))
    temporary = no_checkpoint or (rehearse and checkpoint is None)
    with _folder(None if temporary else checkpoint or target.with_suffix(".checkpoint")) as folder:
        kept = Checkpoint(folder)
        check_place(target, overwrite=force or kept.may_replace(target) or (rehearse and output is None))
        loaded = load_task(task, config_dir=config_dir)
        tokenizers = _tokenizers(loaded, tokenizer, cache_dir, config_dir, rehearse)
        with _server(loaded, config_dir, rehearse) as stand_in:
            spec = _model(
                loaded,
                model,
                "openai" if rehearse else engine,
                response_format,
                base_url=stand_in or base_url,
                concurrency=concurrency,
                requests_per_minute=requests_per_minute,
                tokens_per_minute=tokens_per_minute,
                prices="openai" if rehearse and prices is None else prices,
            )
            decoding = Decoding(temperature=temperature, max_new_tokens=max_tokens)
            proposals = Proposals(loaded, tokenizers, num_scenarios, spec, decoding, seed, pairs_per_request, min_yield)
            limits = limits_from(max_cost, max_tokens_total)
            outcome = _propose(proposals, kept, limits, journal, retry_failed=retry_failed)
        if scenarios := outcome.harvest.scenarios:  # Before a line is printed: a closed pipe never costs the file.
            note = partial(kept.note_output, target)
            write_scenarios(target, scenarios, details=details, overwrite=True, note=note)
        if temporary and outcome.stopped is not None:
            typer.echo("No checkpoint is kept: to be able to go on, give --checkpoint; to begin again, give --force.")
        return _finish(outcome, kept, target, proposals, rehearsed=rehearse, journal=journal)


def _propose(
    proposals: Proposals, kept: Checkpoint, limits: Limits, journal: Path | None, *, retry_failed: bool
) -> Outcome:
    """Ask round after round, under a live display."""
    from latentext.cli.pairs_progress import watching
    from latentext.engines.server.credentials import api_key, server_address
    from latentext.studies.pairs.proposing_run import propose_pairs

    options = proposals.model.api
    if options is not None and not kept.requests.exists():  # What is answered already needs no key.
        api_key(server_address(options.base_url))
    with (
        watching(sys.stderr, proposals.target, lambda: _spent(kept, journal)) as (progress, on_round),
        continued_by(sys.argv[1:]),
    ):
        return propose_pairs(
            proposals,
            kept,
            limits=limits,
            journal=journal,
            retry_failed=retry_failed,
            progress=progress,
            on_round=on_round,
        )


def _finish(
    outcome: Outcome,
    checkpoint: Checkpoint,
    output: Path,
    proposals: Proposals,
    *,
    rehearsed: bool,
    journal: Path | None,
) -> int:
    """Say what the written pairs consist of, and raise what ended the run early."""
    from latentext.cli.pairs_summary import print_harvest, print_projections
    from latentext.engines.server.prices import shipped_prices
    from latentext.studies.pairs.projection import YIELDS

    scenarios = outcome.harvest.scenarios
    print_harvest(outcome.harvest)
    if scenarios:
        typer.echo(f"{counted(len(scenarios), 'scenario')} in {output}")
    else:
        typer.echo(f"no scenarios; {output} is not written")
    if spent := _spent(checkpoint, journal):
        typer.echo(f"the stand-in counted {spent}" if rehearsed else str(spent))
    if rehearsed:
        typer.echo("\nThis was a rehearsal: the pairs are the stand-in's, and no money was spent. The real run:")
        print_projections(
            proposals.task,
            proposals.target,
            YIELDS,
            model=proposals.model.name,
            decoding=proposals.decoding,
            pairs_each=proposals.pairs_each,
            prices=shipped_prices(),
            seed=proposals.seed,
        )
    if outcome.stopped is not None:
        raise outcome.stopped
    return EXIT_DONE


def _model(
    task: PairTask,
    name: str,
    engine: EngineName,
    form: ResponseForm,
    **options: object,
) -> ModelSpec:
    """The model of the spec; options of a server are left out where there is none."""
    from latentext.spec import TINY, ModelSpec
    from latentext.studies.pairs.proposing import response_format

    if engine == "auto":
        engine = "transformers" if name == TINY or Path(name).expanduser().is_dir() else "openai"
    if engine != "openai":
        return ModelSpec(name=name, engine=engine)
    request = response_format(task, form)
    api = {**options, "request": {} if request is None else {"response_format": request}}
    return ModelSpec.model_validate({"name": name, "engine": engine, "api": api})


def _tokenizers(
    task: PairTask, sources: Sequence[str] | None, cache_dir: Path | None, config_dir: Path | None, rehearse: bool
) -> tuple[PairTokenizer, ...]:
    """The tokenizers asked for; a rehearsal without any gets one that needs no files."""
    import logging

    from latentext.studies.pairs import failing_examples
    from latentext.studies.pairs.mixture import rehearsal_tokenizer

    if rehearse and not sources:
        logging.getLogger(__name__).info("no --tokenizer is given: the rehearsal takes one that knows whole words")
        return (rehearsal_tokenizer(task, config_dir),)
    tokenizers = load(sources, cache_dir)
    for number, check in failing_examples(task, tokenizers):
        logging.getLogger(__name__).warning("example %d is no valid pair: %s", number, check.describe())
    return tokenizers


def _spent(checkpoint: Checkpoint, journal: Path | None) -> Spend | None:
    """Tokens and money so far; None where no server was asked."""
    from latentext.engines.server.journal import read_spend

    return read_spend(journal or checkpoint.answers / "journal.sqlite")


@contextmanager
def _folder(checkpoint: Path | None) -> Iterator[Path]:
    if checkpoint is not None:
        yield checkpoint
        return
    from latentext.storage.atomic import temporary_folder

    with temporary_folder("pairs") as folder:
        yield folder / "checkpoint"


@contextmanager
def _server(task: PairTask, config_dir: Path | None, rehearse: bool) -> Iterator[str | None]:
    """The address of a stand-in server, if one is wanted."""
    if not rehearse:
        yield None
        return
    from latentext.engines.server.standin import StandIn
    from latentext.studies.pairs.mixture import proposal_replies

    with StandIn(proposal_replies(task, config_dir)) as server:
        yield server.url
