"""``latentext probe``: what the states know about the length of their texts, beside what anyone knows without them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from latentext.cli.capture import as_site, separated
from latentext.cli.options import TrustRemoteCode, finite, sites_option
from latentext.cli.still_working import input_awaited
from latentext.errors import SpecError
from latentext.spec import Keep, Pool

if TYPE_CHECKING:
    from latentext.dataset.reader import Dataset
    from latentext.studies.probe.live_probe import LiveProbe, LiveText
    from latentext.studies.probe.probing import ProbeSettings

TargetName = Literal["remaining", "log_remaining", "progress", "total", "bins"]
KindName = Literal["ridge", "linear", "mlp"]


def probe(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="The dataset directory.")],
    sites: Annotated[
        list[str] | None,
        sites_option("all by default", "--site"),
    ] = None,
    target: Annotated[
        TargetName | None,
        typer.Option(help="What is predicted: remaining by default; total, where states were pooled over the text."),
    ] = None,
    pool: Annotated[
        Pool | None,
        typer.Option(help="Which pooled states, where texts have several; none is a row for every token."),
    ] = None,
    kind: Annotated[
        KindName | None, typer.Option(help="ridge: closed form. linear, mlp: trained. Bins are trained.")
    ] = None,
    split_by: Annotated[
        str | None,
        typer.Option(
            metavar="GROUP", help="What stays whole: sample, wording, a variable; else --test-by's, or prompt."
        ),
    ] = None,
    test_by: Annotated[
        str | None, typer.Option(metavar="GROUP", help="Test on held-out groups of this kind, such as count or word.")
    ] = None,
    validation: Annotated[
        float, typer.Option(min=0, max=1, callback=finite, help="Share of the groups that choose settings.")
    ] = 0.15,
    test: Annotated[
        float, typer.Option(min=0, max=1, callback=finite, help="Share of the groups that probes are judged by.")
    ] = 0.2,
    twins: Annotated[int, typer.Option(min=0, help="Models with random weights that read the same texts.")] = 3,
    keep: Annotated[
        Keep | None, typer.Option(help="Texts that the run's check must have passed; what the spec says by default.")
    ] = None,
    epochs: Annotated[int, typer.Option(min=1, help="linear, mlp: passes over the training rows.")] = 50,
    seed: Annotated[int, typer.Option(min=0, help="Decides the division of texts and the training.")] = 0,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FOLDER", help="Where probes and scores are written.")
    ] = None,
    saved: Annotated[
        Path | None, typer.Option("--probe", metavar="FILE", help="A saved probe: judge it again, or watch with it.")
    ] = None,
    prompt: Annotated[
        str | None, typer.Option("--try", metavar="PROMPT", help="Write a text and predict at every token.")
    ] = None,
    interactive: Annotated[bool, typer.Option("--interactive", help="The same for prompts that are typed in.")] = False,
    trust_remote_code: TrustRemoteCode = False,
) -> None:
    """Fit probes to the hidden states of a dataset, and judge them beside their baselines.

    Prints what every site's probe scores on texts that it has not seen, and what that adds to the best baseline: the
    step, the prompt's length, the count asked for, and models with random weights that read the same tokens. Probes
    and all scores are written below DIR/probes.
    """
    from latentext.dataset.reader import open_dataset
    from latentext.probes.division import Division
    from latentext.probes.networks import Training

    dataset = open_dataset(directory, trust_remote_code=trust_remote_code)
    watching = prompt is not None or interactive
    if saved is not None and not watching:
        judge_again(dataset, saved)
        return
    if saved is not None:
        watch(dataset, saved, prompt)
        return
    settings = _settings(
        dataset,
        sites or (),
        pool,
        target,
        kind,
        division=Division(split_by or test_by or "prompt", test_by, validation, test, seed),
        training=Training(epochs=epochs, seed=seed),
        twins=twins,
        keep=keep,
    )
    if watching:
        watch(dataset, _probe_to_watch(dataset, settings, output), prompt)
    else:
        print_result(dataset, settings, output)


def _settings(
    dataset: Dataset,
    sites: Sequence[str],
    pool: Pool | None,
    target: TargetName | None,
    kind: KindName | None,
    **others: Any,
) -> ProbeSettings:
    """What is asked, with defaults that follow from what was captured."""
    from latentext.probes.collecting import captured_sites, pool_to_probe
    from latentext.studies.probe.probing import ProbeSettings

    pool = pool_to_probe(dataset, pool)
    target = target or ("remaining" if pool in ("none", "first") else "total")
    return ProbeSettings(
        sites=[as_site(site) for site in separated(sites) if site != "all"] or captured_sites(dataset, pool),
        target=target,
        kind=kind or ("linear" if target == "bins" else "ridge"),
        pool=pool,
        **others,
    )


def print_result(dataset: Dataset, settings: ProbeSettings, output: Path | None) -> None:
    """Probe, save, print."""
    from latentext.cli.probe_tables import result_lines
    from latentext.studies.probe.probing import probe_dataset, results_folder

    result = probe_dataset(dataset, settings, output)
    for line in result_lines(result):
        typer.echo(line)
    typer.echo(f"probes and scores: {results_folder(dataset, settings, output)}")


def judge_again(dataset: Dataset, saved: Path) -> None:
    """Print a saved probe's scores as logged and as they are now."""
    from latentext.cli.wording import columns
    from latentext.probes.collecting import view_to_probe
    from latentext.studies.probe.probing import evaluate

    facts, scores = evaluate(dataset, saved)
    rows = [("", "logged", "now")]
    for metric, score in scores.items():
        logged = facts.scores.get(metric, {}).get("value")
        was, now = ("-" if value is None else f"{value:.6f}" for value in (logged, score.value))
        rows.append((metric, was, now))
    typer.echo(f"{facts.target} at {view_to_probe(dataset, facts.site, facts.pool).label}, {facts.kind}")
    for line in columns(rows):
        typer.echo(line)


def _probe_to_watch(dataset: Dataset, settings: ProbeSettings, output: Path | None) -> Path:
    """The saved probe of the deepest site asked for, which the next token is read from; made where there is none."""
    from latentext.probes.collecting import view_to_probe
    from latentext.studies.probe.probing import probe_dataset, results_folder

    view = view_to_probe(dataset, settings.sites[-1], settings.pool)
    saved = results_folder(dataset, settings, output) / view.site
    if not saved.with_name(f"{view.site}.json").exists():
        typer.echo(f"no probe of {view.label} yet: making one", err=True)
        probe_dataset(dataset, settings, output)
    return saved


def watch(dataset: Dataset, saved: Path, prompt: str | None) -> None:
    """Predict live for one prompt, or for each that is typed in until an empty line or the end of the input."""
    from latentext.studies.probe.live_probe import open_live

    live = open_live(dataset, saved)
    if prompt is not None:
        print_text(live, prompt)
        return
    while prompt := _next_prompt():
        try:
            print_text(live, prompt)
        except SpecError as error:  # One bad prompt does not end the session.
            typer.echo(f"latentext: {error}", err=True)


def _next_prompt() -> str:
    """The next line of the input; empty at its end."""
    with input_awaited():
        try:
            return input("prompt> ").strip()
        except EOFError:
            return ""


def print_text(live: LiveProbe, prompt: str) -> None:
    """Generate, and print every token with what was predicted."""
    for line in live_lines(live.watch(prompt)):
        typer.echo(line)


def live_lines(text: LiveText) -> list[str]:
    """Step, token, actual, predicted, error and relative error of every token; then the mean error and the text."""
    from latentext.cli.visible import visible
    from latentext.cli.wording import columns

    rows = [("step", "token", "actual", "predicted", "error", "relative error")]
    for step in text.steps:
        relative = "" if step.relative_error is None else f"{step.relative_error:.0%}"
        actual = "?" if step.actual is None else f"{step.actual:.4g}"
        error = "?" if step.error is None else f"{step.error:+.2f}"
        rows.append((str(step.step), visible(step.token), actual, f"{step.predicted:.2f}", error, relative))
    mae = "not known: the text did not end by itself" if text.mae is None else f"{text.mae:.3f}"
    return [*columns(rows), "", f"MAE {mae}", f"text ({text.finish_reason}): {visible(text.text)}"]
