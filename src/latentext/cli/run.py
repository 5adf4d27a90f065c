"""``latentext run``: make the dataset of a spec, or continue it; and the same sentence at the end of every run."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from latentext.cli.interruption import continued_by
from latentext.cli.options import finite
from latentext.cli.wording import columns, counted, size
from latentext.engines.server.spend import money
from latentext.errors import SpecError

if TYPE_CHECKING:
    from latentext.run.driving import Workers
    from latentext.run.estimate import Estimate
    from latentext.run.part import RunPart
    from latentext.run.runner import RunSummary
    from latentext.run.worker import WorkOrder
    from latentext.spec import Spec
    from latentext.spec.limits import Limits


def run(
    spec: Annotated[
        str, typer.Argument(metavar="SPEC", help="A YAML file, or the name of a recipe such as length/same_prompt.")
    ],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="DIR", help="The dataset directory, instead of the spec's.")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            "-m",
            metavar="ID|DIR",
            help="Name from `latentext models`, Hugging Face id or folder, in place of the spec's.",
        ),
    ] = None,
    limit: Annotated[int | None, typer.Option(min=0, metavar="N", help="Only the first N prompts.")] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="A.B=C", help="Change one field of the spec; may be given several times."),
    ] = None,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Ask again where a request failed.")] = False,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Move an existing dataset aside and start from nothing.")
    ] = False,
    preview: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Make the first N texts, print them, keep nothing.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what the run would make, and make nothing.")
    ] = False,
    max_cost: Annotated[
        float | None,
        typer.Option(min=0, callback=finite, metavar="USD", help="Stop before requests to a server cost more in all."),
    ] = None,
    max_tokens_total: Annotated[
        int | None, typer.Option(min=0, metavar="N", help="Stop before requests to a server use more tokens in all.")
    ] = None,
    journal: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Where answers of a server are kept until committed; on a local disk."),
    ] = None,
    shards: Annotated[
        str | None,
        typer.Option(metavar="K/N", help="Only part K of N of the shards; `slurm`: this job's part of its array."),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Spread the shards over N workers, each with its own model.")
    ] = None,
    runner: Annotated[
        Literal["processes", "ray"], typer.Option(help="What workers are: processes here, or Ray actors.")
    ] = "processes",
    address: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="Ray's cluster; without it one is started here.")
    ] = None,
    gpus_per_worker: Annotated[
        float, typer.Option(min=0, callback=finite, metavar="G", help="GPUs that Ray reserves for each worker.")
    ] = 0,
    shard_timeout: Annotated[
        float | None,
        typer.Option(min=0, callback=finite, metavar="SECONDS", help="Replace a worker that takes longer for a shard."),
    ] = None,
) -> int:
    """Make the dataset of a spec, or continue it.

    An interrupted run is continued by the same command. A dataset that exists keeps everything it has; a spec that
    would change it is refused.
    """
    from latentext.cli.options import spec_from

    chosen = spec_from(spec, changes or (), model, limit if preview is None else preview)
    limits = limits_from(max_cost, max_tokens_total)
    if dry_run:
        return print_plan(chosen, limits)
    if preview is not None:
        return _preview(chosen, preview, limits)
    if workers is not None or runner == "ray":
        if shards is not None:
            raise SpecError("workers share all shards", where="--shards", remedy="give --workers or --shards, not both")
        fleet = Fleet(workers or 1, runner, address, gpus_per_worker, shard_timeout)
        return spread(chosen, output, fleet, retry_failed=retry_failed, fresh=fresh)
    part = None if shards is None else _part(shards)
    return make(chosen, output, retry_failed=retry_failed, fresh=fresh, limits=limits, journal=journal, part=part)


def _part(text: str) -> RunPart:
    from latentext.run.part import parse_part

    return parse_part(text)


def limits_from(max_cost: float | None, max_tokens_total: int | None) -> Limits:
    """The caps of the command line; money is counted in decimals, as it is written."""
    from decimal import Decimal

    from latentext.spec.limits import Limits

    return Limits(None if max_cost is None else Decimal(str(max_cost)), max_tokens_total)


def make(
    spec: Spec,
    output: Path | None,
    *,
    retry_failed: bool = False,
    fresh: bool = False,
    limits: Limits | None = None,
    journal: Path | None = None,
    part: RunPart | None = None,
) -> int:
    """Run a spec with progress on the error stream and a summary on standard output; returns the exit code."""
    from latentext.run.progress import progress_for
    from latentext.run.runner import make_dataset

    progress = progress_for(sys.stderr)

    def say(plan: Estimate) -> None:
        progress.note(intention(plan))

    with continued_by(sys.argv[1:], sets_fields=True):
        summary = make_dataset(
            spec,
            output,
            retry_failed=retry_failed,
            fresh=fresh,
            progress=progress,
            on_plan=say,
            limits=limits,
            journal=journal,
            part=part,
        )
    print_summary(summary)
    return summary.exit_code


@dataclass(frozen=True)
class Fleet:
    """The workers that a command line asks for."""

    count: int
    runner: Literal["processes", "ray"]
    address: str | None
    gpus_per_worker: float
    shard_timeout: float | None

    def start(self, order: WorkOrder) -> Workers:
        """Start the workers for an order."""
        if self.runner == "ray":
            from latentext.run.ray_workers import RayWorkers

            return RayWorkers(order, self.count, address=self.address, gpus_per_worker=self.gpus_per_worker)
        from latentext.run.processes import ProcessWorkers

        return ProcessWorkers(order, self.count)


def spread(spec: Spec, output: Path | None, fleet: Fleet, *, retry_failed: bool = False, fresh: bool = False) -> int:
    """Run a spec over workers, with progress and a summary as `make` has them; returns the exit code."""
    from latentext.run.progress import progress_for
    from latentext.run.spreading import make_dataset_with_workers

    progress = progress_for(sys.stderr)
    here = fleet.runner == "processes"
    with continued_by(sys.argv[1:], sets_fields=True):
        summary = make_dataset_with_workers(
            spec,
            output,
            start=fleet.start,
            retry_failed=retry_failed,
            fresh=fresh,
            # Processes share this machine's cores; where Ray's actors are, only Ray knows.
            threads=max(1, (os.cpu_count() or 1) // fleet.count) if here else None,
            shard_timeout=fleet.shard_timeout,
            progress=progress,
            on_plan=lambda plan: progress.note(intention(plan)),
        )
    print_summary(summary)
    return summary.exit_code


def print_summary(summary: RunSummary) -> None:
    """Say what a dataset holds after a run and where, and what to do about requests that failed."""
    from latentext.run.tally import in_words

    typer.echo(_counts(summary))
    if summary.tokens:
        rate = f", {summary.tokens / summary.seconds:,.0f} tokens/s" if summary.seconds else ""
        typer.echo(f"{counted(summary.tokens, 'token')} written in {in_words(summary.seconds)}{rate}")
    print_place(summary)


def print_place(summary: RunSummary) -> None:
    """Say where a dataset is, and what to do about what failed: the end of every summary."""
    typer.echo(f"dataset: {summary.directory}")
    for (stage, shard), why in summary.passed_over.items():
        typer.echo(f"{stage}, shard {shard} was passed over: {why}")
    if summary.missing:
        typer.echo(f"missing states or scores: {summary.missing:,}")
    if summary.failed or summary.missing:
        for line in _failures(summary.directory):
            typer.echo(line)
        typer.echo(f"reasons: {summary.directory / 'failures.jsonl'}; to ask again: --retry-failed")


def _failures(directory: Path) -> Iterator[str]:
    """How many failed for which reason, with the first one's message."""
    import json

    from latentext.dataset.views import failure_lines

    found: dict[str, list[str]] = {}
    for line in failure_lines(directory):
        failure = json.loads(line)
        found.setdefault(failure["reason"], []).append(f"request {failure['index']}: {failure['message']}")
    for reason, messages in found.items():
        yield f"{len(messages):,} {reason}, such as {messages[0]}"


def _counts(summary: RunSummary) -> str:
    """Such as ``120 texts: 69 accepted, 51 rejected (48 cut at the limit)``, or ``120 texts: 120 written``."""
    counts = {
        "accepted" if summary.judged else "written": summary.accepted,
        "rejected": summary.rejected,
        "failed": summary.failed,
        "pending": summary.pending,
    }
    parts = [f"{count:,} {name}" for place, (name, count) in enumerate(counts.items()) if count or not place]
    cut = f" ({summary.cut:,} cut at the limit)" if summary.judged and summary.cut else ""
    return f"{counted(summary.planned, 'text')}: {', '.join(parts)}{cut}"


def intention(plan: Estimate) -> str:
    """What a run is about to make, in one line."""
    disk = size(plan.record_bytes + plan.state_bytes)
    line = f"{counted(plan.requests, 'request')}: at most {plan.max_new_tokens_total:,} new tokens and {disk} on disk"
    line = f"{line}, at most {money(plan.cost)}" if plan.cost else line
    return f"{line}; {_left_out(plan)}" if plan.left_out else line


def _left_out(plan: Estimate) -> str:
    names = ", ".join(plan.left_out[:5]) + (", …" if len(plan.left_out) > 5 else "")
    return f"{counted(len(plan.left_out), 'column')} of bytes or durations not kept: {names}"


def print_plan(spec: Spec, limits: Limits) -> int:
    """Print what a run would make, and make nothing."""
    from latentext.run.estimate import estimate

    plan = estimate(spec, limits)
    rows = [
        ("requests", f"{plan.requests:,}"),
        ("prompt tokens", f"{plan.prompt_tokens:,}"),
        ("new tokens, at most", f"{plan.max_new_tokens_total:,}"),
        ("records on disk, at most", size(plan.record_bytes)),
        ("states on disk, at most", size(plan.state_bytes)),
    ]
    if not spec.model.remote:
        rows += [
            ("model in memory", "unknown" if plan.model_bytes is None else size(plan.model_bytes)),
            ("key-value cache, at most", size(plan.kv_cache_bytes)),
        ]
    else:
        rows.append(("cost, at most", "unknown" if plan.cost is None else money(plan.cost)))
    if spec.prompts.system is not None:
        rows.append(("system message", spec.prompts.system))
    if plan.removed_dates:
        rows.append(("left out of every prompt", " ".join(plan.removed_dates)))
    for line in columns(rows):
        typer.echo(line)
    if plan.left_out:
        typer.echo(_left_out(plan))
    return 0


def _preview(spec: Spec, count: int, limits: Limits) -> int:
    from latentext.cli.show import print_texts
    from latentext.run.runner import make_dataset
    from latentext.storage.atomic import temporary_folder

    with temporary_folder("preview") as folder:
        summary = make_dataset(spec, folder / "preview", limits=limits)
        print_texts(folder / "preview", count, trust_remote_code=spec.model.trust_remote_code)
    return summary.exit_code
