"""How often texts did what was asked: the statistics of a check, under the names that the length experiments use.

Everything is summed from the counts in receipts, so it costs nothing to say it again after every run.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from typing import Any

from latentext.spec import Spec

CORRECTNESS_FACTS = (
    "num_prompt_templates",
    "planned_samples",
    "attempted_samples",
    "accepted_samples",
    "rejected_samples",
    "prompt_usage_distribution",
    "correctness_stats",
)
"""Keys of metadata.json where the spec has a check."""

_BINS: tuple[tuple[str, float, float], ...] = (
    ("<-10", -math.inf, -11),
    ("-10..-6", -10, -6),
    ("-5..-3", -5, -3),
    ("-2", -2, -2),
    ("-1", -1, -1),
    ("exact", 0, 0),
    ("+1", 1, 1),
    ("+2", 2, 2),
    ("+3..+5", 3, 5),
    ("+6..+10", 6, 10),
    (">+10", 11, math.inf),
)
"""Name, first and last count error of each bin; whole numbers fall into exactly one."""


def deviation_bin(error: int) -> str:
    """The bin of a count error (found minus asked).

    Example:
        >>> [deviation_bin(error) for error in (-40, -3, 0, 2, 11)]
        ['<-10', '-5..-3', 'exact', '+2', '>+10']
    """
    return next(name for name, first, last in _BINS if first <= error <= last)


def correctness_facts(spec: Spec, counts: Mapping[str, int], checked: Mapping[str, int]) -> dict[str, Any]:
    """What metadata.json says of a checked dataset.

    Args:
        counts: `planned`, `accepted`, `rejected` and `failed`, in texts.
        checked: the summed counts of the check's receipts (`latentext.rewards.repetition.tally_repetitions`).
    """
    attempted = counts["accepted"] + counts["rejected"] + counts["failed"]
    templates = _templates(spec)
    usage = _numbered(checked, "template.")
    if not usage and templates == 1:
        usage[0] = counts["accepted"] + counts["rejected"]
    facts = (
        templates,
        counts["planned"],
        attempted,
        counts["accepted"],
        counts["rejected"],
        {str(number): usage[number] for number in sorted(usage)},
        _stats(checked, attempted),
    )
    return dict(zip(CORRECTNESS_FACTS, facts, strict=True))


def _stats(checked: Mapping[str, int], attempted: int) -> dict[str, Any]:
    """`accuracy` is exact / attempted; errors are of accepted texts, null where there is none."""
    errors = _numbered(checked, "count_error.")
    accepted = errors.total()
    bins = dict.fromkeys((name for name, _, _ in _BINS), 0)
    for error, count in errors.items():
        bins[deviation_bin(error)] += count
    return {
        "exact": checked.get("exact", 0),
        "accuracy": checked.get("exact", 0) / attempted if attempted else None,
        **(_moments(errors) if accepted else dict.fromkeys(_MOMENTS)),
        "deviation_bins": bins,
    }


_MOMENTS = ("mean_count_error", "mean_absolute_count_error", "std_count_error")


def _moments(errors: Counter[int]) -> dict[str, float]:
    """Mean, mean absolute value and (population) standard deviation of the count error."""
    count = errors.total()
    mean = sum(error * times for error, times in errors.items()) / count
    absolute = sum(abs(error) * times for error, times in errors.items()) / count
    variance = sum((error - mean) ** 2 * times for error, times in errors.items()) / count
    return dict(zip(_MOMENTS, (mean, absolute, math.sqrt(variance)), strict=True))


def _numbered(counts: Mapping[str, int], prefix: str) -> Counter[int]:
    named = {name: times for name, times in counts.items() if name.startswith(prefix)}
    return Counter({int(name.removeprefix(prefix)): times for name, times in named.items()})


def _templates(spec: Spec) -> int:
    """Wordings of the spec; 0 where the rows themselves are the prompts."""
    if spec.prompts.templates is not None:
        return len(spec.prompts.templates)
    return int(spec.prompts.template is not None)
