"""Which rewards a run scores by, and when one becomes a part of its dataset.

A person names rewards, in a spec or on the command line; those may run code. A dataset names the rewards that it had
before in its ``spec.yaml``, which may come from anybody: of these a run brings up to date what needs no code, and what
fails among them is said and holds nothing up. A reward is written into ``spec.yaml`` with its first committed shard, so
that one that never worked is not there for later runs to meet.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from latentext.dataset import layout
from latentext.dataset.checks import check_stages
from latentext.dataset.documents import read_spec
from latentext.dataset.stages import ScoresStage, declared_stages, read_stage
from latentext.dataset.trust import refuse_inside
from latentext.errors import CredentialsError, SpecError
from latentext.plan.note import PlanNote
from latentext.rewards import Reward, parse_reward, parse_rewards, reward_settings
from latentext.rewards.entries import Entry, PerplexityReward, known_name, names_code
from latentext.rewards.functions import place_of
from latentext.run.workspace import PLAN, Workspace
from latentext.spec import Spec
from latentext.spec.files import dump_spec, relative_inputs
from latentext.storage.atomic import write_bytes


@dataclass(frozen=True)
class ChosenReward:
    """A reward to score by.

    Attributes:
        entry: as the spec names it.
        settings: what decides its numbers.
        asked: whether a person named it; one that only the dataset names may fail.
    """

    entry: Entry
    reward: Reward
    settings: dict[str, Any]
    asked: bool


def refuse_missing(entries: Sequence[Entry], root: Path) -> None:
    """See that the rewards of a person's spec can be found, before anything is written for the dataset in `root`.

    Raises:
        SpecError: an entry is no reward, its model or function cannot be found, or its function lies in the dataset.
        CredentialsError: a reward's model is gated.
    """
    for entry in filter(names_code, entries):
        function = entry if isinstance(entry, str) else str(entry["function"])
        if (place := place_of(function)) is not None:
            refuse_inside(root, place, f"reward {function}")
    for reward in parse_rewards(entries):
        reward_settings(reward, generator_identity="")


def chosen_rewards(workspace: Workspace) -> list[ChosenReward]:
    """What a run of this workspace scores by: what its spec names, then what the dataset had before.

    Raises:
        SpecError, CredentialsError: as `refuse_missing`, of what the spec names.
    """

    def settings(reward: Reward) -> dict[str, Any]:
        needed = isinstance(reward, PerplexityReward)
        return reward_settings(reward, " ".join(map(str, workspace.settings.values())) if needed else "")

    entries = workspace.spec.rewards
    chosen = [
        ChosenReward(entry, reward, settings(reward), asked=True)
        for entry, reward in zip(entries, parse_rewards(entries), strict=True)
    ]
    for entry in _had_before(workspace.root, entries):
        if not names_code(entry):
            try:
                reward = parse_reward(entry)
                chosen.append(ChosenReward(entry, reward, settings(reward), asked=False))
            except (SpecError, CredentialsError):  # `_left_out` says so.
                continue
    return chosen


def remarks_on_rewards(root: Path, spec: Spec) -> Iterator[str]:
    """What a person should know of the scores that a run of `spec` makes, in lines."""
    yield from _left_out(root, spec)
    yield from _scored_raw(root, spec)


def _left_out(root: Path, spec: Spec) -> Iterator[str]:
    """Lines on the rewards that the dataset had before and that a run of `spec` does not score by."""
    before = _had_before(root, spec.rewards)
    code = [entry for entry in before if names_code(entry)]
    if code and len(code) > _whole_rewards(root, before):
        for entry in code:
            function = entry if isinstance(entry, str) else entry["function"]
            yield f"not scored by {function}: only {root / layout.SPEC} names this code; to run it: --reward {function}"
    for entry in before:
        if not names_code(entry):
            try:
                reward_settings(parse_reward(entry), generator_identity="")
            except (SpecError, CredentialsError) as error:
                yield f"not scored by {known_name(entry)}, which the dataset had before: {error}"


def _scored_raw(root: Path, spec: Spec) -> Iterator[str]:
    """Lines on scores of raw text by models with a chat template, which a run of `spec` makes anew by the template."""
    stages = [(stage, read_stage(root, stage, ScoresStage)) for stage in declared_stages(root, "scores")]
    for entry in (*spec.rewards, *(entry for entry in _had_before(root, spec.rewards) if not names_code(entry))):
        raw = [(stage, had) for stage, had in stages if had.reward == known_name(entry) and _is_raw(had.settings)]
        if not raw:
            continue
        try:
            settings = reward_settings(parse_reward(entry), generator_identity="")
        except (SpecError, CredentialsError):  # `_left_out` says so.
            continue
        if settings.get("input") == "chat":
            for stage, had in raw:
                if had.settings == {**settings, "input": "full_text"}:
                    yield (
                        f"{stage} holds scores of raw text, as latentext 0.1.0 made them; {had.reward} is scored anew, "
                        "with the reward model's chat template"
                    )


def _is_raw(settings: Mapping[str, Any]) -> bool:
    return "classifier" in settings and settings.get("input") == "full_text"


def adopt(workspace: Workspace, chosen: ChosenReward) -> None:
    """Write a reward that works into the dataset's spec, in place of another version of the same name."""
    if not chosen.asked or chosen.entry in read_spec(workspace.root).rewards:
        return
    with workspace.leases.wait_for("plan"):
        spec = read_spec(workspace.root)
        if chosen.entry in spec.rewards:
            return
        rewards = [chosen.entry if known_name(entry) == chosen.reward.name else entry for entry in spec.rewards]
        if chosen.entry not in rewards:
            rewards.append(chosen.entry)
        grown = Spec.model_validate({**dict(spec), "rewards": rewards})
        text = dump_spec(relative_inputs(grown, workspace.root.resolve()))
        write_bytes(workspace.root / layout.SPEC, text.encode())


def _had_before(root: Path, named: Sequence[Entry]) -> list[Entry]:
    """The rewards of the dataset that are not among those named now, nor other versions of these."""
    names = {reward.name for reward in parse_rewards(named)}
    return [entry for entry in read_spec(root).rewards if entry not in named and known_name(entry) not in names]


def _whole_rewards(root: Path, before: Sequence[Entry]) -> int:
    """How many rewards scored every planned text, those aside whose names the entries tell."""
    note = PlanNote.read(root / PLAN)
    shards = 0 if note is None else sum(-(-(stop - start) // note.shard_size) for start, stop in note.segments)
    spec = read_spec(root)
    told, judged = {known_name(entry) for entry in before}, set(check_stages(root, spec))
    whole: dict[str, set[tuple[int, int]]] = {}
    for stage in declared_stages(root, "scores"):
        declared = read_stage(root, stage, ScoresStage)
        if stage not in judged and declared.reward not in told and len(layout.list_shards(root, stage)) >= shards:
            whole.setdefault(declared.reward, set()).add(declared.samples)
    return sum(sum(stop - start for start, stop in samples) >= spec.decoding.n for samples in whole.values())
