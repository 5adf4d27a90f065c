"""Splits of pairs: what must not stand on two sides is kept together.

A probe that is trained on "cake/bomb" and tested on "bread/bomb" has seen the word it is tested on. So scenarios are
grouped by word (a word in common, also through others, puts scenarios into one group), by frame, by topic, or each by
itself, and every group goes to one side whole.

Groups by word differ much in size, so the shares are of scenarios, not of groups: groups come in an order that only
the seed and their names decide, and each goes where it still fits. What fits nowhere else is for training.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence

from latentext.errors import SpecError
from latentext.spec import SplitSpec
from latentext.studies.pairs.scenario import Scenario

GROUPS = ("scenario", "word", "frame", "topic")
"""What can be kept on one side; ``prompt``, the default of a split, means ``scenario`` here."""


def split_scenarios(scenarios: Sequence[Scenario], split: SplitSpec) -> dict[str, list[Scenario]]:
    """Divide scenarios into ``train``, and ``val`` and ``test`` where they have a share, in their order.

    Raises:
        SpecError: pairs cannot be grouped like that, or a split that has a share would be empty.

    Example:
        >>> from latentext.studies.pairs.scenario import Scenario
        >>> texts = [("a cake", "a bomb"), ("a pie", "a bomb"), ("a hat", "a gun"), ("a car", "a tank")]
        >>> scenarios = [Scenario(number, "refusal", {"multi_token": twin}) for number, twin in enumerate(texts)]
        >>> parts = split_scenarios(scenarios, SplitSpec(by="word", val=0.5))
        >>> sorted(len(part) for part in parts.values())
        [2, 2]
    """
    labels = _labels(scenarios, "scenario" if split.by == "prompt" else split.by)
    room = {name: round(share * len(scenarios)) for name, share in (("val", split.val), ("test", split.test)) if share}
    place: dict[str, str] = {}
    for label, size in sorted(Counter(labels).items(), key=lambda group: _rank(group[0], split.seed)):
        side = next((name for name in room if size <= room[name]), "train")
        place[label] = side
        if side != "train":
            room[side] -= size
    parts: dict[str, list[Scenario]] = {name: [] for name in ("train", *room)}
    for scenario, label in zip(scenarios, labels, strict=True):
        parts[place[label]].append(scenario)
    if empty := [name for name, part in parts.items() if not part]:
        largest = Counter(labels).most_common(1)[0][1] if labels else 0
        raise SpecError(
            f"the split leaves {' and '.join(empty)} empty: {len(scenarios)} scenarios in {len(place)} groups by "
            f"{split.by}, the largest with {largest}",
            remedy="make more scenarios, choose other shares, or split by scenario",
        )
    return parts


def _labels(scenarios: Sequence[Scenario], by: str) -> list[str]:
    """The name of each scenario's group."""
    if by == "scenario":
        return [str(scenario.scenario_id) for scenario in scenarios]
    if by == "frame":
        return [scenario.frame for scenario in scenarios]
    if by == "word":
        words = [scenario.words for scenario in scenarios]
        leaders = _connected(words)
        return [leaders[first] for first, _ in words]
    if by != "topic":
        raise SpecError(f"pairs cannot be split by {by!r}", where="split.by", remedy=f"choose {', '.join(GROUPS)}")
    if unknown := next((scenario for scenario in scenarios if scenario.topic is None), None):
        raise SpecError(
            f"scenario {unknown.scenario_id} has no topic",
            where="split.by",
            remedy="split by word or frame, or write the file with --details",
        )
    return [str(scenario.topic) for scenario in scenarios]


def _connected(pairs: Sequence[tuple[str, str]]) -> dict[str, str]:
    """For every word the first word, in alphabetical order, of all that hang together through pairs."""
    leader: dict[str, str] = {}

    def find(word: str) -> str:
        leader.setdefault(word, word)
        while leader[word] != word:
            leader[word] = leader[leader[word]]
            word = leader[word]
        return word

    for first, second in pairs:
        low, high = sorted((find(first), find(second)))
        leader[high] = low
    return {word: find(word) for word in list(leader)}


def _rank(label: str, seed: int) -> bytes:
    return hashlib.blake2b(f"{seed}:{label}".encode("utf-8", "backslashreplace")).digest()
