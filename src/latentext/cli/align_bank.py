"""The commands of ``latentext align`` that read a bank: weigh it, draw from it, find λ, trace the frontier, report."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from latentext.cli.options import finite
from latentext.cli.wording import columns, counted
from latentext.errors import EXIT_DONE, ArgumentError, LatentextError, SpecError

if TYPE_CHECKING:
    from latentext.studies.align import Solution, Target, Weights
    from latentext.studies.align.text_bank import TextBank

Directory = Annotated[Path, typer.Argument(metavar="DIR", help="A dataset directory with scores.")]
LamList = Annotated[
    str | None, typer.Option("--lam_list", "--lam-list", metavar="λ,...", help="One λ a value, of either sign.")
]
ValueList = Annotated[
    str | None, typer.Option("--value_list", "--value-list", metavar="NAME,...", help="As many values of the bank.")
]
BestOf = Annotated[
    int | None, typer.Option(min=1, metavar="N", help="Best-of-N in the direction of λ instead of exp(λ·r).")
]
Smooth = Annotated[bool, typer.Option("--smooth", help="Pareto-smooth the weights.")]
Samples = Annotated[
    int | None, typer.Option(min=2, max=10**9, metavar="N", help="Only the first N samples of each prompt.")
]
Targets = Annotated[
    list[str] | None,
    typer.Option(
        "--target", metavar="NAME=LEVEL,...", help="Levels to reach: 2.46, +0.4, +0.5sd or 80%; see docs/align.md."
    ),
]
Seed = Annotated[int, typer.Option(help="The same seed gives the same draws.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace an earlier output of this command.")]


def weigh(
    directory: Directory,
    lam_list: LamList = None,
    value_list: ValueList = None,
    best_of: BestOf = None,
    smooth: Smooth = False,
    pooled: Annotated[
        bool, typer.Option("--pooled", help="One softmax over all prompts, as some published numbers are made.")
    ] = False,
    samples: Samples = None,
) -> int:
    """Say what a λ does to a bank: levels with standard errors, and whether the bank carries it."""
    from latentext.studies.align import describe, diagnose, diagnose_weights

    bank = _open_beside_others(directory, samples, value_list)
    lam = _lambdas(bank, lam_list, value_list)
    if pooled:
        _refuse_beside_pooled(best_of, smooth)
        found = diagnose(bank.bank, lam, pooled=True)
    else:
        found = diagnose_weights(bank.bank, _weights(bank, lam, best_of, smooth), lam)
    _print([*describe(found), *_as_warnings(bank.warnings)])
    return EXIT_DONE


def draw(
    directory: Directory,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="JSON, or JSON lines for candidates.")],
    lam_list: LamList = None,
    value_list: ValueList = None,
    best_of: BestOf = None,
    smooth: Smooth = False,
    k: Annotated[int, typer.Option("--k", "-k", min=1, max=10**6, help="Texts a prompt.")] = 1,
    without_replacement: Annotated[
        bool, typer.Option("--without-replacement", help="No text twice for one prompt.")
    ] = False,
    candidates: Annotated[
        bool,
        typer.Option(
            "--candidates",
            help="Write every candidate, with ids, log-probabilities, rewards, weight, and which is kept.",
        ),
    ] = False,
    trim: Annotated[
        Literal["sentence"] | None, typer.Option(help="Cut texts back to their last full sentence.")
    ] = None,
    samples: Samples = None,
    seed: Seed = 0,
    overwrite: Overwrite = False,
) -> int:
    """Draw texts from a bank by the weights of a λ."""
    from latentext.dataset.outputs import checked_file
    from latentext.studies.align import describe, diagnose_weights
    from latentext.studies.align import draw as draw_samples
    from latentext.studies.align.files import TEXTS, write_texts
    from latentext.studies.align.text_rows import CANDIDATES, candidate_rows, chosen_texts, write_lines

    checked_file(output, CANDIDATES if candidates else TEXTS, overwrite=overwrite)
    bank = _open_beside_others(directory, samples, value_list)
    lam = _lambdas(bank, lam_list, value_list)
    palette = {name: value for name, value in zip(bank.bank.names, lam, strict=True) if value}
    weights = _weights(bank, lam, best_of, smooth)
    chosen = draw_samples(bank.bank, weights, k, replace=not without_replacement, seed=seed)
    if candidates:
        write_lines(output, candidate_rows(bank, weights, chosen, palette), overwrite=overwrite)
    else:
        how = {"samples": bank.bank.samples, "seed": seed, "trim": trim, "best_of": best_of, "smooth": smooth}
        rows = chosen_texts(bank, chosen, trim=trim)
        write_texts(output, rows, palette, settings=how, skipped=sorted(bank.left_out), overwrite=overwrite)
    _print([*describe(diagnose_weights(bank.bank, weights, lam)), *_as_warnings(bank.warnings)])
    typer.echo(f"{counted(chosen.size, 'text')} of {counted(len(chosen), 'prompt')}: {output}")
    return EXIT_DONE


def solve(
    directory: Directory,
    target: Targets = None,
    pooled: Annotated[
        bool, typer.Option("--pooled", help="One softmax over all prompts, for comparison with published numbers.")
    ] = False,
    hold_out: Annotated[
        float,
        typer.Option(
            "--hold-out", callback=finite, min=0.0, max=0.9, help="The share of prompts that judge λ; 0 for none."
        ),
    ] = 0.25,
    apply: Annotated[
        Path | None, typer.Option("--apply", metavar="DIR", help="Another bank; print what λ realises on it.")
    ] = None,
    samples: Samples = None,
    seed: Annotated[int, typer.Option(min=0, help="Decides which prompts are held out.")] = 0,
) -> int:
    """Find the smallest λ that reaches target levels, or say how far the bank goes."""
    from latentext.studies.align import describe, describe_solution, diagnose
    from latentext.studies.align import hold_out as judge
    from latentext.studies.align import solve as find

    targets = _targets(target)
    bank = _open(directory, samples, tuple(targets))
    found = find(bank.bank, targets, pooled=pooled)
    held_out, notes = None, _as_warnings(bank.warnings)
    if hold_out:
        try:
            held_out = judge(bank.bank, found, share=hold_out, seed=seed)
        except LatentextError as error:  # λ stands all the same.
            notes.append(f"warning: not held out: {error}")
    _print([*describe_solution(found, held_out), *notes, f"λ: {_as_options(found)}"])
    if apply is not None:
        other = _open(apply, found.samples, found.names)
        typer.echo(f"\non {apply}:")
        _print([*describe(diagnose(other.bank, found.lam)), *_as_warnings(other.warnings)])
    return EXIT_DONE


def sweep(
    directory: Directory,
    value_list: Annotated[
        str, typer.Option("--value_list", "--value-list", metavar="NAME,NAME", help="Two or three values to trade.")
    ],
    budget: Annotated[
        list[float] | None,
        typer.Option(
            metavar="NATS",
            callback=finite,
            help="Mean divergence from the base model; may be repeated. Default 0.1, 0.3, 1.",
        ),
    ] = None,
    steps: Annotated[int, typer.Option(min=1, max=1000, help="Directions from one value to the next.")] = 8,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write the points as CSV too.")
    ] = None,
    samples: Samples = None,
    overwrite: Overwrite = False,
) -> int:
    """Trace the frontier: how much of two or three values can be had for a given divergence from the base model."""
    from latentext.dataset.outputs import checked_file
    from latentext.studies.align import sweep as trace
    from latentext.studies.align.arguments import parse_values
    from latentext.studies.align.files import FRONTIER, write_frontier

    if output is not None:
        checked_file(output, FRONTIER, overwrite=overwrite)
    bank = _open_beside_others(directory, samples, value_list)
    names = parse_values(value_list, bank.bank.names)
    points = trace(bank.bank, names, budgets=tuple(budget or (0.1, 0.3, 1.0)), steps=steps)
    places = [bank.bank.index_of(name) for name in names]
    head = ["nats", *(f"λ {name}" for name in names), *(part for name in names for part in (name, "± se")), "ESS"]
    rows = [
        [f"{point.budget:g}"]
        + [f"{point.diagnosis.lam[place] + 0.0:.3f}" for place in places]
        + [
            f"{number:.3f}"
            for place in places
            for number in (point.diagnosis.levels[place], point.diagnosis.level_errors[place])
        ]
        + [f"{point.diagnosis.effective_sample_size:.1f}"]
        for point in points
    ]
    if output is not None:  # Before a line is printed: a closed pipe never costs the file.
        write_frontier(output, [head, *rows], overwrite=overwrite)
    _print([*columns([head, *rows]), *_as_warnings(bank.warnings)])
    if output is not None:
        typer.echo(f"{counted(len(rows), 'point')}: {output}")
    return EXIT_DONE


def report(
    directory: Directory,
    target: Targets = None,
    lam_list: LamList = None,
    value_list: ValueList = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FOLDER", help="Where to write; DIR/align by default.")
    ] = None,
    samples: Samples = None,
    seed: Annotated[int, typer.Option(min=0, help="Decides which prompts are shown.")] = 0,
) -> int:
    """Draw what a λ does: rewards before and after, levels against targets, effective sample size, frontier, texts.

    λ is given, or solved for --target; without either it is 0, the base model. Writes a PNG file for each picture and
    index.html, which holds all of them.
    """
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise SpecError("pictures need matplotlib", remedy="pip install 'latentext[report]'") from error
    from latentext.studies.align import solve as find
    from latentext.studies.align.reporting import make_report

    if target and lam_list:
        raise ArgumentError("give --target or --lam_list, not both")
    bank = _open_beside_others(directory, samples, value_list)
    solution = find(bank.bank, _targets(target)) if target else None
    if solution is not None:
        lam = solution.lambda_for(bank.bank).tolist()
    elif lam_list or value_list:
        lam = _lambdas(bank, lam_list, value_list)
    else:
        lam = [0.0] * len(bank.bank.names)
    made = make_report(bank, lam, output, solution=solution, seed=seed)
    for absent in made.skipped:
        typer.echo(f"no {absent.name}: {absent.reason}")
    _print(_as_warnings(bank.warnings))
    typer.echo(f"{len(made.pictures)} pictures: {made.page}")
    return EXIT_DONE


def _open(directory: Path, samples: int | None, values: Sequence[str] = ()) -> TextBank:
    from latentext.studies.align.text_bank import open_bank

    return open_bank(directory, values, samples=samples)


def _open_beside_others(directory: Path, samples: int | None, value_list: str | None) -> TextBank:
    """The bank with all values that are scored as far as those that are named; others do not take prompts away."""
    from latentext.studies.align.arguments import as_parts
    from latentext.studies.align.text_bank import open_bank

    return open_bank(directory, [str(part) for part in as_parts(value_list or "")], samples=samples, others=True)


def _lambdas(bank: TextBank, lam_list: str | None, value_list: str | None) -> list[float]:
    """λ for every value of the bank: 0 for those that are not named."""
    from latentext.studies.align.arguments import parse_palette

    if lam_list is None or value_list is None:
        raise ArgumentError(
            "λ needs --lam_list and --value_list", remedy=f"values here are {', '.join(bank.bank.names)}"
        )
    palette = parse_palette(lam_list, value_list, bank.bank.names)
    return [palette.get(name, 0.0) for name in bank.bank.names]


def _weights(bank: TextBank, lam: list[float], best_of: int | None, smooth: bool) -> Weights:
    from latentext.studies.align import best_of as best
    from latentext.studies.align import pareto_smooth, tilt

    if best_of is not None and smooth:
        raise ArgumentError("--best-of and --smooth exclude each other")
    if best_of is not None:
        return best(bank.bank, lam, best_of)
    weights = tilt(bank.bank, lam)
    return pareto_smooth(weights)[0] if smooth else weights


def _refuse_beside_pooled(best_of: int | None, smooth: bool) -> None:
    if best_of is not None or smooth:
        raise ArgumentError("--pooled stands beside neither --best-of nor --smooth")


def _targets(target: list[str] | None) -> dict[str, Target]:
    from latentext.studies.align import parse_targets

    return parse_targets(target or [])


def _as_options(found: Solution) -> str:
    """λ as the commands take it, exact."""
    lam = ",".join(repr(float(value)) for value in found.lam)
    return f"--lam_list={lam} --value_list={','.join(found.names)}"


def _as_warnings(lines: Sequence[str]) -> list[str]:
    return [f"warning: {line}" for line in lines]


def _print(lines: Sequence[str]) -> None:
    for line in lines:
        typer.echo(line)
