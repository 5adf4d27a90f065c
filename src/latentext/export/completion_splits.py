"""Splits of human and machine texts side by side: no source, and no id, is in two of them.

A detector that saw one text of a source in training would know its others by their content. So all texts of a source
stay together, human and machine, of every model, prompt and temperature; and so do rows of different ids with the same
source. Shares are taken corpus by corpus, so that every split has the same mixture of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from latentext.dataset.splits import group_name, split_groups
from latentext.spec import SplitSpec

Member = tuple[str, str]
"""A row's corpus and id."""


def completion_splits(rows: Iterable[Mapping[str, Any]], split: SplitSpec) -> dict[Member, str]:
    """The split of every (corpus, id) in `rows`, which have `corpus`, `id` and `source`; `split.by` plays no part.

    Within a corpus they are those that a dataset has by ``split: {by: source}``, as long as no two ids share a source.

    Raises:
        DatasetError: a corpus has too few sources for its shares.

    Example:
        >>> rows = [{"corpus": "c", "id": str(n), "source": f"text {n // 2}"} for n in range(8)]
        >>> found = completion_splits(rows, SplitSpec(val=0.25, test=0.25))
        >>> found["c", "0"] == found["c", "1"], sorted(found.values())
        (True, ['test', 'test', 'train', 'train', 'train', 'train', 'val', 'val'])
    """
    groups = _joined(rows)
    splits: dict[Member, str] = {}
    for corpus in dict.fromkeys(corpus for corpus, _ in groups.values()):
        members = [member for member, (owner, _) in groups.items() if owner == corpus]
        divided = split_groups([group_name(groups[member][1]) for member in members], split)
        splits |= {members[row]: name for name, numbers in divided.items() for row in numbers.tolist()}
    return splits


def _joined(rows: Iterable[Mapping[str, Any]]) -> dict[Member, tuple[str, str]]:
    """For every member its group: the first corpus and the least source among all that it is joined to.

    Ids and sources are the nodes of a graph, rows its edges; a group is a connected part (union by path halving).
    """
    parent: dict[Any, Any] = {}

    def root(node: Any) -> Any:
        parent.setdefault(node, node)
        while parent[node] != node:
            parent[node] = node = parent[parent[node]]
        return node

    sources: dict[Member, str] = {}
    for row in rows:
        member, source = (str(row["corpus"]), str(row["id"])), str(row["source"])
        parent[root(member)] = root(("source", source, ""))
        sources[member] = min(source, sources.get(member, source))
    owner: dict[Any, tuple[str, str]] = {}
    for member, source in sources.items():
        corpus, least = owner.get(root(member), (member[0], source))
        owner[root(member)] = (corpus, min(least, source))
    return {member: owner[root(member)] for member in sources}
