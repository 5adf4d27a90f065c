"""One question put to every site: probes, the baselines beside them, and what the probes add.

The result is numbers only. Where they come from (a dataset, a random model) and where they go (a terminal, a file) is
the business of others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from latentext.phases import phase
from latentext.probes import baselines
from latentext.probes.division import PART_NAMES
from latentext.probes.judging import AddedScore, Judgement, add_over_best
from latentext.probes.metrics import Score
from latentext.probes.networks import Network
from latentext.probes.posing import Posed, Question
from latentext.probes.ridge import Ridge
from latentext.probes.rows import StatesSource
from latentext.probes.taking_part import TakingPart

Scores = Mapping[str, Score]


@dataclass(frozen=True)
class SiteResult:
    """The scores of one site's probe.

    Attributes:
        width: length of a state.
        scores: by metric.
        baselines: scores of the baselines that depend on the site, by name: shuffled labels, untrained twins.
        added: what the probe adds over the best of all baselines, by metric.
    """

    site: str
    width: int
    scores: Scores
    baselines: Mapping[str, Scores]
    added: Mapping[str, AddedScore]


@dataclass(frozen=True)
class ProbeResult:
    """The answer to one question.

    Attributes:
        counts: (texts, rows) of each part.
        baselines: scores of the baselines that know no states, by name.
        absent: baselines that were not made, and why.
        sites: in the order of the source.
        probes: the fitted probes by site.
        taking_part: how many of all texts and rows it is about, where the rows came from a dataset.
        labels: what sites are called where people read, by site; a site without one is called by its name.
    """

    question: Question
    counts: Mapping[str, tuple[int, int]]
    baselines: Mapping[str, Scores]
    absent: Mapping[str, str]
    sites: Sequence[SiteResult]
    probes: Mapping[str, Ridge | Network] = field(repr=False)
    taking_part: TakingPart | None = None
    labels: Mapping[str, str] = field(default_factory=dict)


def ask(
    posed: Posed,
    source: StatesSource,
    *,
    twins: Mapping[str, StatesSource] | None = None,
    absent: Mapping[str, str] | None = None,
) -> ProbeResult:
    """Fit probes to every site, and to everything that they must beat.

    Args:
        twins: states of the same rows from models with random weights, by name.
        absent: baselines that the caller could not make, and why.
    """
    features, impossible = baselines.features(posed.rows)
    common = {baselines.MEAN: posed.judged_mean(), **_judged(posed, features, "baselines without states")}
    by_twin = {name: _judged(posed, twin, name) for name, twin in (twins or {}).items()}
    fitted = posed.fit(source)
    with phase("judging shuffled labels"):
        dealt = posed.judged_shuffled(source, fitted)
    with phase("comparing sites", len(source.widths)) as comparing:
        sites = []
        for site in source.widths:
            judged = posed.judged(fitted[site])
            sites.append(
                _site_result(posed, site, source.widths[site], judged, common, dealt[site], _at(by_twin, site))
            )
            comparing.moved()
    return ProbeResult(
        question=posed.question,
        counts={name: (of.texts, len(of)) for name, of in ((n, posed.rows.of(p)) for p, n in enumerate(PART_NAMES))},
        baselines={name: judgement.scores for name, judgement in common.items()},
        absent=impossible | dict(absent or {}),
        sites=sites,
        probes={site: one.probe for site, one in fitted.items()},
    )


def _judged(posed: Posed, source: StatesSource, what: str) -> dict[str, Judgement]:
    with phase(what):
        return {name: posed.judged(fitted) for name, fitted in posed.fit(source).items()}


def _at(by_twin: Mapping[str, Mapping[str, Judgement]], site: str) -> dict[str, Judgement]:
    return {name: judged[site] for name, judged in by_twin.items()}


def _site_result(
    posed: Posed,
    site: str,
    width: int,
    probe: Judgement,
    common: Mapping[str, Judgement],
    dealt: Judgement,
    twins: Mapping[str, Judgement],
) -> SiteResult:
    # Shuffled labels check the method: their targets are others, so nothing is compared with them.
    found = {metric: add_over_best(probe, {**common, **twins}, metric) for metric in posed.question.compared}
    return SiteResult(
        site=site,
        width=width,
        scores=probe.scores,
        baselines={baselines.SHUFFLED: dealt.scores, **{name: judged.scores for name, judged in twins.items()}},
        added={metric: added for metric, added in found.items() if added is not None},
    )
