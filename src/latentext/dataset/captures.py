"""Which captures answer a question for states: by site, positions and pooling, over all samples.

A capture is one stage folder, made at one time for some samples. A reader asks for a site; the answer may lie in
several captures (samples added later have their own), or in more than one way (positions, poolings). The first is
joined, the second must be named: nothing is chosen silently between different things.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from latentext.dataset.stages import StatesStage, tensor_name
from latentext.errors import DatasetError
from latentext.spec import Pool, Positions

Name = TypeVar("Name", bound=str)


@dataclass(frozen=True, slots=True)
class Choice:
    """Captures that together hold one site: by name, with disjoint samples; and the tensor's name in their parts."""

    captures: Mapping[str, StatesStage]
    site: str
    tensor: str
    positions: Positions
    pool: Pool


def choose(
    captures: Mapping[str, StatesStage],
    site: str | int,
    positions: Positions | None = None,
    pool: Pool | None = None,
    capture: str | None = None,
) -> Choice:
    """Find the captures that hold `site`, a name or a Hugging Face hidden_states index (negative: from the last).

    Left out, `positions` is ``generated`` and `pool` is ``none`` where there is such a capture, else the only one
    there is. Where two captures hold the same states of the same samples, the first by name is taken.

    Raises:
        DatasetError: the site was not captured (those that were are named), or not so; or what was captured leaves a
            choice that must be named.
    """
    candidates = dict(captures)
    if capture is not None:
        candidates = {name: stage for name, stage in captures.items() if name == capture}
        if not candidates:
            raise DatasetError(f"no capture {capture!r}", remedy=f"captures are: {_listed(captures)}")
    if not candidates:
        raise DatasetError("no states were captured", remedy="add them with: latentext capture DIR --sites final_norm")
    site, candidates = _with_site(candidates, site)
    positions = _one_of("positions", [stage.positions for stage in candidates.values()], positions, "generated")
    candidates = {name: stage for name, stage in candidates.items() if stage.positions == positions}
    pool = _one_of("pool", [pool for stage in candidates.values() for pool in stage.pool], pool, "none")
    candidates = {name: stage for name, stage in candidates.items() if pool in stage.pool}
    chosen = _disjoint(candidates)
    tensor = tensor_name(site, pool)
    if len({(stage.dtype, stage.widths[tensor]) for stage in chosen.values()}) > 1:
        raise DatasetError(f"{site} was captured in different types", remedy=f"name a capture: {_listed(chosen)}")
    return Choice(chosen, site, tensor, positions, pool)


def _with_site(candidates: Mapping[str, StatesStage], site: str | int) -> tuple[str, dict[str, StatesStage]]:
    names = {name: _site_name(stage, site) for name, stage in candidates.items()}
    found = {name: stage for name, stage in candidates.items() if names[name] is not None}
    if not found:
        captured = _listed(site for stage in candidates.values() for site in stage.sites)
        raise DatasetError(f"site {site!r} was not captured", remedy=f"captured sites are: {captured}")
    return str(next(names[name] for name in found)), found


def _site_name(stage: StatesStage, site: str | int) -> str | None:
    if isinstance(site, str):
        return site if site in stage.sites else None
    index = site + stage.num_layers if site < 0 else site
    by_index = dict(zip(stage.huggingface_indices, stage.sites, strict=True))
    return by_index.get(index)


def _one_of(what: str, present: Sequence[Name], wanted: Name | None, usual: Name) -> Name:
    if wanted is None:
        wanted = usual if usual in present or len(set(present)) != 1 else present[0]
        remedy = f"name {what}: {_listed(present)}"
    else:
        remedy = f"captured: {_listed(present)}"
    if wanted not in present:
        raise DatasetError(f"no states were captured with {what} {wanted!r}", remedy=remedy)
    return wanted


def _disjoint(candidates: Mapping[str, StatesStage]) -> dict[str, StatesStage]:
    """One capture for each range of samples, in the order of samples; ranges that overlap otherwise are refused."""
    by_samples: dict[tuple[int, int], str] = {}
    for name in sorted(candidates):
        by_samples.setdefault(candidates[name].samples, name)
    end = 0
    for start, stop in sorted(by_samples):
        if start < end:
            raise DatasetError("captures overlap in their samples", remedy=f"name a capture: {_listed(candidates)}")
        end = stop
    return {by_samples[samples]: candidates[by_samples[samples]] for samples in sorted(by_samples)}


def _listed(names: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(names)) or "none"
