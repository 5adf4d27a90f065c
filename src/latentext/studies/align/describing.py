"""Diagnoses and solutions as lines of plain tables, for a terminal or a log."""

from __future__ import annotations

from collections.abc import Iterator

from latentext.studies.align.bank import Floats
from latentext.studies.align.diagnosis import FEW_SAMPLES, Diagnosis
from latentext.studies.align.held_out import HeldOut
from latentext.studies.align.palette import Solution


def describe(diagnosis: Diagnosis) -> list[str]:
    """A line a value, a line on how many samples count, and the warnings."""
    numbers = {
        "λ": diagnosis.lam,
        "base": diagnosis.base_levels,
        "level": diagnosis.levels,
        "± se": diagnosis.level_errors,
        "shift": diagnosis.shifts,
        "± se ": diagnosis.shift_errors,
    }
    sizes = f"effective sample size {diagnosis.effective_sample_size:.1f}"
    if diagnosis.pooled:
        sizes += " over all samples (pooled form)"
    else:
        sizes += f" (mean over prompts), under {FEW_SAMPLES:.0f} in {diagnosis.share_few:.1%} of them"
    reliability = f"{sizes}; divergence {diagnosis.divergence:.3f} of at most {diagnosis.largest_divergence:.3f} nats"
    return [*_table(diagnosis.names, numbers), reliability, *(f"warning: {line}" for line in diagnosis.warnings)]


def describe_solution(solution: Solution, held_out: HeldOut | None = None) -> list[str]:
    """A line a value with λ, target and realised level, beside them the shifts on held-out prompts; the duality gap."""
    numbers = {
        "λ": solution.lam,
        "base": solution.base_levels,
        "target": solution.target,
        "level": solution.levels,
        "shift asked": solution.target - solution.base_levels,
    }
    if held_out is not None:
        numbers |= {"held out": held_out.diagnosis.shifts, "± se": held_out.diagnosis.shift_errors}
    far = "any multiple" if solution.fraction == float("inf") else f"up to {solution.fraction:.2f} times"
    optimum = (
        f"duality gap {abs(solution.duality_gap):.1e}; divergence {solution.divergence:.3f} nats; {far} the "
        "shift asked is reachable; "
        f"for {solution.samples} samples a prompt"
    )
    lines = [*_table(solution.names, numbers), optimum]
    if solution.pooled:
        lines.append("warning: the pooled form misses its targets when texts are drawn per prompt; see docs/align.md")
    if held_out is not None:
        lines += [f"warning: held out: {line}" for line in held_out.diagnosis.warnings]
    return lines


def _table(names: tuple[str, ...], numbers: dict[str, Floats]) -> Iterator[str]:
    width = max(len(name) for name in (*names, "value"))
    yield "  ".join([f"{'value':<{width}}", *(f"{title:>11}" for title in numbers)])
    for row, name in enumerate(names):
        # Adding 0.0 after rounding turns -0.000 into 0.000.
        yield "  ".join(
            [f"{name:<{width}}", *(f"{round(float(column[row]), 3) + 0.0:11.3f}" for column in numbers.values())]
        )
