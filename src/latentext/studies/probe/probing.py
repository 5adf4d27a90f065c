"""Probes of a dataset from first to last: collect its rows, add the untrained twins, fit, judge, save.

`latentext.probes` knows datasets and nothing of models; the twins need one, so they come in here.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from latentext.dataset.outputs import OutputKind, begins, checked_members
from latentext.dataset.reader import Dataset
from latentext.errors import LatentextError
from latentext.probes.baselines import UNTRAINED
from latentext.probes.collecting import collect, make_question, view_to_probe
from latentext.probes.division import TEST, Division
from latentext.probes.fitting import Kind, predict
from latentext.probes.metrics import Score
from latentext.probes.networks import Training
from latentext.probes.posing import Posed
from latentext.probes.probing import ProbeResult, ask
from latentext.probes.saved import ProbeFacts, check_fits, dataset_fingerprint, load_probe, probe_files, save_probe
from latentext.probes.taking_part import TakingPart
from latentext.spec import Keep, Pool
from latentext.storage import filesystem
from latentext.storage.atomic import write_bytes
from latentext.studies.probe.untrained_twin import UntrainedTwin

FOLDER = "probes"
RESULTS = "results.json"
_SCORES = OutputKind("scores of probes", begins(r'\{\s*"spec_sha256": '))


@dataclass(frozen=True)
class ProbeSettings:
    """What is asked of a dataset.

    Attributes:
        sites: names or Hugging Face indices.
        target: one of `latentext.probes.collecting.TARGETS`.
        twins: how many models with random weights read the same texts.
        keep: which texts the run's check must have passed; None: what the spec says.
        pool: which pooled states, one per text; ``none`` for those of every token.
    """

    sites: Sequence[str | int]
    target: str = "remaining"
    kind: Kind = "ridge"
    division: Division = field(default_factory=Division)
    training: Training = field(default_factory=Training)
    twins: int = 3
    keep: Keep | None = None
    pool: Pool = "none"

    @property
    def name(self) -> str:
        """Of the folder that holds the probes."""
        test_by = "" if self.division.test_by is None else f"-test-by-{self.division.test_by}"
        by = "" if self.division.by in ("prompt", self.division.test_by) else f"-by-{self.division.by}"
        pool = "" if self.pool == "none" else f"-{self.pool}"
        return f"{self.target}-{self.kind}{pool}{by}{test_by}"


def probe_dataset(dataset: Dataset, settings: ProbeSettings, output: Path | None = None) -> ProbeResult:
    """Probe a dataset, and save the probes and their scores below `output`.

    Args:
        output: a folder; left out, it is ``probes/<settings.name>`` in the dataset's directory.

    Raises:
        DatasetError: see `latentext.probes.collecting.collect`; or `output` lies elsewhere in a dataset, or holds other
            files under the names of probes.

    Example:
        >>> data = latentext.open_dataset("data/same_prompt")                                   # doctest: +SKIP
        >>> result = probe_dataset(data, ProbeSettings(sites=["final_norm"]))            # doctest: +SKIP
        >>> result.sites[0].added["r2"]                                                  # doctest: +SKIP
        Added(over='count - step', score=Score(value=0.004, low=-0.001, high=0.011, reason=''))
    """
    views = [view_to_probe(dataset, site, settings.pool) for site in settings.sites]
    _place(dataset, settings, output, [view.site for view in views])
    question = make_question(settings.target, settings.kind)
    rows, source, part = collect(
        dataset, settings.sites, settings.target, settings.division, settings.keep, settings.pool
    )
    twins, absent = _twins(dataset, list(source.widths), settings)
    result = ask(Posed(question, rows, settings.training), source, twins=twins, absent=absent)
    result = replace(result, taking_part=part, labels={view.site: view.label for view in views})
    save(dataset, settings, result, _place(dataset, settings, output, [site.site for site in result.sites]))
    return result


def _place(dataset: Dataset, settings: ProbeSettings, output: Path | None, sites: Sequence[str]) -> Path:
    """Where the probes of these sites may be written."""
    members = {name: kind for site in sites for name, kind in probe_files(site).items()}
    folder = results_folder(dataset, settings, output)
    return checked_members(folder, {**members, RESULTS: _SCORES}, views=dataset.directory / FOLDER)


def _twins(
    dataset: Dataset, sites: Sequence[str], settings: ProbeSettings
) -> tuple[dict[str, UntrainedTwin], dict[str, str]]:
    """The untrained twins by name; where there are none, why."""
    if settings.twins == 0:
        return {}, {UNTRAINED: "not asked for"}
    seeds = range(settings.twins)
    twins = {f"{UNTRAINED}, seed {seed}": UntrainedTwin(dataset, sites, seed, settings.pool) for seed in seeds}
    try:
        for twin in twins.values():
            twin.layout  # noqa: B018 - made now, so that what cannot be made costs no scores.
    except LatentextError as error:
        return {}, {UNTRAINED: str(error)}
    return twins, {}


def save(dataset: Dataset, settings: ProbeSettings, result: ProbeResult, folder: Path) -> None:
    """Write every site's probe and all scores."""
    filesystem.make_folder(folder)
    for site in result.sites:
        save_probe(
            folder / site.site,
            result.probes[site.site],
            result.question,
            dataset,
            site.site,
            settings.division,
            keep=settings.keep,
            pool=settings.pool,
            counts=result.counts,
            scores=site.scores,
        )
    text = json.dumps(as_json(dataset, settings, result), indent=2, ensure_ascii=False, allow_nan=False)
    write_bytes(folder / RESULTS, text.encode() + b"\n")


def as_json(dataset: Dataset, settings: ProbeSettings, result: ProbeResult) -> dict[str, Any]:
    """Every number of a result; a score without a value has its reason beside it."""
    return {
        "spec_sha256": dataset_fingerprint(dataset),
        "question": asdict(result.question),
        "division": asdict(settings.division),
        "training": asdict(settings.training) if settings.kind != "ridge" else None,
        "counts": {part: {"texts": texts, "rows": rows} for part, (texts, rows) in result.counts.items()},
        "taking_part": None if result.taking_part is None else _parts(result.taking_part),
        "pool": settings.pool,
        "baselines": {name: _scores(scores) for name, scores in result.baselines.items()},
        "absent": dict(result.absent),
        "sites": [
            {
                "site": site.site,
                "label": result.labels.get(site.site, site.site),
                "width": site.width,
                "scores": _scores(site.scores),
                "baselines": {name: _scores(scores) for name, scores in site.baselines.items()},
                "added": {metric: asdict(added) for metric, added in site.added.items()},
            }
            for site in result.sites
        ],
    }


def _parts(part: TakingPart) -> dict[str, Any]:
    """All texts and rows, those that take part, and the others by reason: they add up."""
    return {
        "all": {"texts": part.all_texts, "rows": part.all_rows},
        "taking_part": {"texts": part.texts, "rows": part.rows},
        "left_out": [asdict(left) for left in part.left_out],
    }


def _scores(scores: Any) -> dict[str, Any]:
    return {metric: asdict(score) for metric, score in scores.items()}


def results_folder(dataset: Dataset, settings: ProbeSettings, output: Path | None = None) -> Path:
    """Where probes and scores are written."""
    return output or dataset.directory / FOLDER / settings.name


def evaluate(dataset: Dataset, path: Path) -> tuple[ProbeFacts, dict[str, Score]]:
    """Judge a saved probe on the test texts that it was saved with: the logged numbers, if nothing has changed.

    Raises:
        DatasetError: the probe is of another dataset, or was damaged.
    """
    probe, facts = load_probe(path)
    check_fits(facts, dataset)
    rows, source, _ = collect(dataset, [facts.site], facts.target, Division(**facts.division), facts.keep, facts.pool)
    output = predict(source, {facts.site: probe}, rows.of(TEST))[facts.site]
    posed = Posed(facts.question, rows)
    return facts, dict(posed.judge.judge(posed.read(output.blocks())).scores)
