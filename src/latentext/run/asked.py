"""What a dataset's spec asks for and its directory does not hold, as its stages and receipts say.

A stage that was never begun has no folder, and one whose folder was lost has none either: so a count over the folders
that are there says "complete" of a directory without texts. Nothing that the spec names is imported: the rewards whose
names only their Python files know are counted against the scores that no other reward accounts for.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from latentext.dataset import layout
from latentext.dataset.checks import LENGTH, REPETITION, check_stages
from latentext.dataset.reader import Dataset
from latentext.dataset.stages import ScoresStage, StatesStage, declared_stages, read_stage
from latentext.plan.note import PlanNote
from latentext.rewards.entries import known_name
from latentext.run.workspace import PLAN
from latentext.spec import Spec


def absent_stages(root: Path, spec: Spec) -> Iterator[str]:
    """What the spec asks for and no folder holds, in the words of `status`."""
    ranges = [layout.samples_of(stage) for stage in layout.list_stages(root, "records")]
    have = max((samples.stop for samples in ranges), default=0)
    if have < spec.decoding.n:
        ranges.append(range(have, spec.decoding.n))
        yield texts_in_words(ranges[-1])
    if spec.states is not None:
        captured = {read_stage(root, stage, StatesStage).samples for stage in declared_stages(root, "states")}
        for samples in ranges:
            if (samples.start, samples.stop) not in captured:
                sites = ", ".join(f"layer {site}" if isinstance(site, int) else site for site in spec.states.sites)
                yield f"states of {sites}" + ("" if len(ranges) == 1 else f", {texts_in_words(samples)}")
    judged = {read_stage(root, stage, ScoresStage).samples for stage in check_stages(root, spec)}
    if (spec.check is not None or spec.length is not None) and not _all_samples(judged, spec):
        yield f"scores: {REPETITION if spec.check is not None else LENGTH}"
    yield from (f"scores: {name}" for name in _absent_rewards(root, spec))


def texts_in_words(samples: range) -> str:
    """Texts of these samples, as `status` names them."""
    return "texts" if samples == range(1) else f"texts, samples {samples.start} … {samples.stop - 1}"


def _absent_rewards(root: Path, spec: Spec) -> Iterator[str]:
    """The rewards of a spec that have no folder, or none for some of the samples."""
    judged, scored = set(check_stages(root, spec)), dict[str, set[tuple[int, int]]]()
    for stage in declared_stages(root, "scores"):
        if stage not in judged:
            declared = read_stage(root, stage, ScoresStage)
            scored.setdefault(declared.reward, set()).add(declared.samples)
    unnamed = []
    for entry in spec.rewards:
        name = known_name(entry)
        if name is None:
            unnamed.append(entry)
        elif not _all_samples(scored.pop(name, set()), spec):
            yield name
    if unnamed:
        yield from (name for name, samples in scored.items() if not _all_samples(samples, spec))
    yield from map(str, unnamed[len(scored) :])


def _all_samples(scored: set[tuple[int, int]], spec: Spec) -> bool:
    return sum(stop - start for start, stop in scored) >= spec.decoding.n


@dataclass(frozen=True)
class Progressed:
    """How many texts a directory holds, or says that they failed, of how many that were planned.

    Where samples are drawn until one is accepted, a request counts as one text.
    """

    made: int
    planned: int

    @property
    def unfinished(self) -> bool:
        return self.made < self.planned


def texts_made(dataset: Dataset) -> Progressed:
    """Count the texts of a dataset by its plan and its receipts.

    Raises:
        DatasetError: the plan or a receipt is damaged.
    """
    note, spec = PlanNote.read(dataset.directory / PLAN), dataset.spec
    requests = dataset.plan_count if note is None else note.planned
    made, samples = 0, 0
    for stage, receipts in dataset.record_receipts.items():
        drawn = 1 if spec.retries else len(layout.samples_of(stage))
        made += drawn * sum(receipt.stop - receipt.start for receipt in receipts.values())
        samples += drawn
    return Progressed(made, requests * max(samples, 1 if spec.retries else spec.decoding.n))
