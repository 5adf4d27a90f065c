"""``latentext batch``: pairs proposed through OpenAI's Batch API, for half the price and within a day.

Each command does one step, says what it did and which command comes next; ``run`` does them all. All of them may be
interrupted or killed and given again.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from latentext.cli import batch_steps as steps
from latentext.cli.interruption import continued_by
from latentext.cli.pairs_options import (
    BaseUrl,
    CacheDir,
    ConfigDir,
    Details,
    Force,
    Form,
    MaxCost,
    MaxTokensTotal,
    MinYield,
    Scenarios,
    Seed,
    TaskName,
    Tokenizers,
    load,
)
from latentext.cli.wording import counted

app = typer.Typer(
    name="batch",
    help="Pairs proposed by a model through OpenAI's Batch API: half the price, within a day.",
    rich_markup_mode=None,
    no_args_is_help=True,
    add_completion=False,
)

REQUESTS = Path("requests")
OUTPUTS = Path("batch_outputs")

OneTask = Annotated[
    str | None, typer.Option("--task", metavar="TASK", help="Only this task's batches. Default: all there are.")
]
Model = Annotated[str, typer.Option("--model", "-m", metavar="ID", help="The model that proposes pairs.")]
NumBatches = Annotated[int, typer.Option(min=1, metavar="N", help="Request files to make.")]
PerRequest = Annotated[int, typer.Option(min=1, metavar="N", help="Pairs to ask for in one request.")]
PerBatch = Annotated[int, typer.Option(min=1, max=50_000, metavar="N", help="Requests in one file, at most.")]
Enqueued = Annotated[
    int | None,
    typer.Option(metavar="N", help="Most prompt tokens that your account may have waiting (see its limits page)."),
]
RequestDir = Annotated[Path, typer.Option(metavar="DIR", help="Where the request files are.")]
OutputDir = Annotated[Path, typer.Option(metavar="DIR", help="Where answers are put.")]
Prices = Annotated[Path | None, typer.Option(metavar="FILE", help="A price table of your own (YAML).")]
Attempts = Annotated[int, typer.Option(min=1, metavar="N", help="How often a request is asked at most.")]
Rounds = Annotated[
    int,
    typer.Option(
        min=1,
        metavar="N",
        help="Rounds at most; each after the first asks for what is missing, never for more than it.",
    ),
]
Output = Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="JSON lines, or Parquet if it ends so.")]


@app.command()
def create(
    task: TaskName = "refusal",
    num_batches: NumBatches = 10,
    scenarios_per_request: PerRequest = 10,
    requests_per_batch: PerBatch = 50,
    output_dir: Annotated[Path, typer.Option(metavar="DIR", help="Where request files are put.")] = REQUESTS,
    model: Model = "gpt-4o",
    seed: Seed = 0,
    response_format: Form = "json_schema",
    enqueued_tokens: Enqueued = None,
    config_dir: ConfigDir = None,
    prices: Prices = None,
    add: Annotated[bool, typer.Option("--add", help="Put the new files behind those that are there.")] = False,
    force: Annotated[
        bool, typer.Option("--overwrite", "--force", help="Replace files of which none was sent.")
    ] = False,
) -> None:
    """Write the request files. Nothing is sent, and nothing is paid."""
    from latentext.engines.batch.workspace import BatchWorkspace
    from latentext.studies.pairs import load_task
    from latentext.studies.pairs.proposal_batches import BatchProposals, create_batches

    chosen = load_task(task, config_dir=config_dir)
    proposals = BatchProposals(
        chosen, model, num_batches, requests_per_batch, scenarios_per_request, seed, response_format
    )
    place = BatchWorkspace(output_dir / chosen.task_name, OUTPUTS / chosen.task_name)
    with place.alone():
        ledger = create_batches(place, proposals, proposals.limits(enqueued_tokens), add=add, force=force)
    steps.print_created(place, ledger, steps.price_table(prices, ledger.base_url))
    elsewhere = "" if output_dir == REQUESTS else f" --request-dir {output_dir}"
    typer.echo(f"next: latentext batch submit{elsewhere}")


@app.command()
def submit(
    request_dir: RequestDir = REQUESTS,
    output_dir: OutputDir = OUTPUTS,
    task: OneTask = None,
    base_url: BaseUrl = None,
    enqueued_tokens: Enqueued = None,
    max_cost: MaxCost = None,
    max_tokens_total: MaxTokensTotal = None,
    prices: Prices = None,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Ask again, too, what was given up, refused or cancelled.")
    ] = False,
) -> None:
    """Send the request files that were not sent yet. Each is paid once, whatever happens in between."""
    from latentext.engines.batch.settling import reopen
    from latentext.engines.batch.submitting import reconcile
    from latentext.engines.batch.workflow import send

    for place in steps.places(request_dir, output_dir, task):
        with continued_by(sys.argv[1:]), place.alone():
            ledger, remote, clock = steps.connected(place, base_url)
            conditions = steps.conditions_of(place, ledger, enqueued_tokens, max_cost, max_tokens_total, prices)
            ledger = reconcile(place, ledger, remote, clock, typer.echo)
            if retry_failed:
                ledger = reopen(place, ledger, typer.echo, conditions.limits)
            ledger = send(place, ledger, remote, clock, typer.echo, conditions)
        steps.print_status(ledger)


@app.command()
def status(
    request_dir: RequestDir = REQUESTS,
    task: OneTask = None,
    base_url: BaseUrl = None,
    watch: Annotated[bool, typer.Option("--watch", help="Ask again, ever more seldom, until all have ended.")] = False,
) -> None:
    """Say how the batches stand."""
    for place in steps.places(request_dir, OUTPUTS, task):
        with continued_by(sys.argv[1:]):
            steps.print_status(steps.asked_status(place, base_url, watch=watch))


@app.command()
def download(
    request_dir: RequestDir = REQUESTS,
    output_dir: OutputDir = OUTPUTS,
    task: OneTask = None,
    base_url: BaseUrl = None,
    attempts: Attempts = 3,
    prices: Prices = None,
) -> None:
    """Fetch the answers of batches that have ended, whole or in part.

    Requests without an answer that are worth asking again are written to a new file, which submit sends.
    """
    from latentext.engines.batch import downloading, polling
    from latentext.engines.batch.settling import settle

    for place in steps.places(request_dir, output_dir, task):
        with continued_by(sys.argv[1:]), place.alone():
            ledger, remote, clock = steps.connected(place, base_url)
            ledger = polling.refresh(place, ledger, remote, typer.echo)
            ledger = downloading.download(place, ledger, remote, clock, typer.echo)
            limits = steps.limits_of(ledger, None)
            ledger = settle(place, ledger, clock, typer.echo, attempts=attempts, limits=limits)
        steps.print_spent(place, ledger, steps.price_table(prices, ledger.base_url))
        steps.print_status(ledger)


@app.command()
def process(
    input_dir: Annotated[
        Path, typer.Option(metavar="DIR", help="Answers: of batch download, or of a local batch runner.")
    ] = OUTPUTS,
    request_dir: RequestDir = REQUESTS,
    task: TaskName = "refusal",
    target_scenarios: Scenarios = 1500,
    output: Output = Path("dataset.jsonl"),
    tokenizer: Tokenizers = None,
    config_dir: ConfigDir = None,
    cache_dir: CacheDir = None,
    details: Details = False,
    force: Force = False,
) -> int:
    """Judge the proposals and write the dataset.

    Reads the files of batch download, and those of any local runner of the same format, such as vLLM's run_batch.
    """
    from latentext.studies.pairs import check_place, load_task

    check_place(output, overwrite=force)
    chosen = load_task(task, config_dir=config_dir)
    tokenizers = load(tokenizer, cache_dir)
    found = steps.judge(input_dir, request_dir, chosen, tokenizers, target_scenarios, output, details=details)
    return steps.exit_code_of(found)


@app.command()
def local(
    model: Annotated[str, typer.Option("--model", "-m", metavar="ID|DIR", help="The model that answers.")],
    engine: Annotated[Literal["transformers", "vllm"], typer.Option(help="What runs it.")] = "transformers",
    max_tokens: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Tokens of an answer at most [what the requests say].")
    ] = None,
    request_dir: RequestDir = REQUESTS,
    output_dir: OutputDir = OUTPUTS,
    task: OneTask = None,
) -> None:
    """Answer the request files with a model on this machine; nothing is sent, and process reads what it writes."""
    from latentext.run.progress import progress_for
    from latentext.spec import ModelSpec
    from latentext.studies.pairs.local_batches import answer_locally

    for place in steps.places(request_dir, output_dir, task):
        with continued_by(sys.argv[1:]), place.alone():
            done = answer_locally(
                place, ModelSpec(name=model, engine=engine), max_tokens=max_tokens, progress=progress_for(sys.stderr)
            )
        typer.echo(f"{counted(done, 'request')} answered in {place.outputs}")
    typer.echo("next: latentext batch process")


@app.command()
def cancel(request_dir: RequestDir = REQUESTS, task: OneTask = None, base_url: BaseUrl = None) -> None:
    """End the batches that are under way. What they have answered by then is kept, and paid."""
    from latentext.engines.batch import polling
    from latentext.engines.batch.submitting import reconcile

    for place in steps.places(request_dir, OUTPUTS, task):
        with continued_by(sys.argv[1:]), place.alone():
            ledger, remote, clock = steps.connected(place, base_url)
            ledger = reconcile(place, ledger, remote, clock, typer.echo)
            ledger = polling.cancel(place, ledger, remote, typer.echo)
        steps.print_status(ledger)


@app.command()
def run(
    task: TaskName = "refusal",
    num_batches: NumBatches = 10,
    scenarios_per_request: PerRequest = 10,
    requests_per_batch: PerBatch = 50,
    target_scenarios: Scenarios = 1500,
    output: Output = Path("dataset.jsonl"),
    request_dir: RequestDir = REQUESTS,
    output_dir: OutputDir = OUTPUTS,
    model: Model = "gpt-4o",
    seed: Seed = 0,
    response_format: Form = "json_schema",
    base_url: BaseUrl = None,
    enqueued_tokens: Enqueued = None,
    max_cost: MaxCost = None,
    max_tokens_total: MaxTokensTotal = None,
    prices: Prices = None,
    attempts: Attempts = 3,
    rounds: Rounds = 3,
    min_yield: MinYield = 0.02,
    tokenizer: Tokenizers = None,
    config_dir: ConfigDir = None,
    cache_dir: CacheDir = None,
    details: Details = False,
    force: Force = False,
    rehearse: Annotated[
        bool, typer.Option("--rehearse", help="Do it all with a local stand-in server, free of charge, in ./rehearsal.")
    ] = False,
) -> int:
    """Create, submit, wait, download and process in one command; the same command goes on after an interruption.

    While scenarios are missing, a further round asks for them, and tells the model what was wrong with its pairs. The
    same command after the end changes nothing; with a larger --target-scenarios it goes on.
    """
    from latentext.cli import batch_run
    from latentext.studies.pairs import load_task
    from latentext.studies.pairs.proposal_batches import BatchProposals

    chosen = load_task(task, config_dir=config_dir)
    proposals = BatchProposals(
        chosen, model, num_batches, requests_per_batch, scenarios_per_request, seed, response_format
    )
    judging = batch_run.Judging(target_scenarios, output, tokenizer, config_dir, cache_dir, details, force)
    spending = batch_run.Spending(enqueued_tokens, max_cost, max_tokens_total, prices, attempts)
    more = batch_run.FurtherRounds(rounds, min_yield)
    if rehearse:
        return batch_run.rehearse(proposals, judging, spending, more)
    with continued_by(sys.argv[1:]):
        return batch_run.run(proposals, request_dir, output_dir, base_url, judging, spending, more)
