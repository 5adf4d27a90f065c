"""Which captures answer a question for states: by site, positions and pooling, over all samples.

A capture is one stage folder, made at one time for some samples. A reader asks for a site; the answer may lie in
several captures (samples added later have their own), or in more than one way (positions, poolings). The first is
joined, the second must be named: nothing is chosen silently between different things.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass

from latentext.dataset.stages import StatesStage, tensor_name
from latentext.errors import DatasetError
from latentext.spec import Pool, Positions
from latentext.states.layer_names import listed, site_label

_MOST_NAMED = 4


@dataclass(frozen=True, slots=True)
class Choice:
    """Captures that together hold one site: by name, with disjoint samples; and the tensor's name in their parts.

    `layer` is the site's index in Hugging Face's ``hidden_states``, None for the last block before the norm.
    """

    captures: Mapping[str, StatesStage]
    site: str
    layer: int | None
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

    With `positions` and `pool` left out, the states of every generated token are taken where they were kept, else the
    only kind of rows that was; of several other kinds one must be named. Where two captures hold the same states of
    the same samples, the first by name is taken.

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
    positions, pool = _kind_of_rows(site, candidates, positions, pool)
    chosen = _disjoint(
        {n: stage for n, stage in candidates.items() if stage.positions == positions and pool in stage.pool}
    )
    tensor = tensor_name(site, pool)
    if len({(stage.dtype, stage.widths[tensor]) for stage in chosen.values()}) > 1:
        raise DatasetError(
            f"{labels(chosen)[site]} was captured in different types", remedy=f"name a capture: {_listed(chosen)}"
        )
    return Choice(chosen, site, layers(chosen)[site], tensor, positions, pool)


def layers(captures: Mapping[str, StatesStage]) -> dict[str, int | None]:
    """The Hugging Face index of every captured site, from the embedding to the last norm."""
    depth: dict[str, tuple[float, int | None]] = {}
    for stage in captures.values():
        for site, index in zip(stage.sites, stage.huggingface_indices, strict=True):
            # The last block before the norm has no index: it stands just before the norm.
            depth[site] = stage.num_layers - 1.5 if index is None else index, index
    return {site: depth[site][1] for site in sorted(depth, key=lambda site: depth[site][0])}


def labels(captures: Mapping[str, StatesStage]) -> dict[str, str]:
    """What every captured site is called where people read (`latentext.states.layer_names`), by its name, by depth."""
    return {site: site_label(site, layer) for site, layer in layers(captures).items()}


def sites_in_words(stage: StatesStage) -> str:
    """The sites of a capture by layer and name; of many the first and the last."""
    called = list(labels({"": stage}).values())
    return listed(called) if len(called) <= _MOST_NAMED else f"{len(called)} sites, {called[0]} to {called[-1]}"


def name_of(captures: Mapping[str, StatesStage], site: str | int) -> str:
    """The name of a captured site, which may be given by its Hugging Face index.

    Raises:
        DatasetError: it was not captured; those that were are named.
    """
    return _with_site(captures, site)[0]


def sites_with(captures: Mapping[str, StatesStage], positions: Container[Positions], pool: Pool) -> list[str]:
    """Sites whose states were kept at one of these positions in this pooling, by depth."""
    kept = {n: s for n, s in captures.items() if s.positions in positions and pool in s.pool}
    return list(layers(kept))


def pool_of_texts(
    captures: Mapping[str, StatesStage], positions: Container[Positions], wanted: Pool | None = None
) -> Pool:
    """The pooling to read where a reader takes a row for every token, or one row per text.

    Args:
        positions: of the rows for every token that the reader can use; pooled states are of generated tokens.
        wanted: as the user named it; left out, ``none`` where every token was kept, else the only pooling.

    Raises:
        DatasetError: nothing was captured so, or there are several poolings and none is named.
    """
    present = dict.fromkeys(
        pool for stage in captures.values() for pool in stage.pool if pool != "none" or stage.positions in positions
    )
    if wanted is not None and wanted not in present:
        what = "no states were kept of every token" if wanted == "none" else f"no states were pooled by {wanted}"
        raise DatasetError(what, where="--pool", remedy=f"there are: {_listed(map(_in_words, present))}")
    if wanted is not None or "none" in present:
        return wanted or "none"
    if not present:
        what = "no states of generated tokens were captured"
        raise DatasetError(what, remedy="add them with: latentext capture DIR --sites final_norm")
    if len(present) > 1:
        what = f"states were pooled in {len(present)} ways, each with one row per text"
        raise DatasetError(what, remedy=f"choose one: {' or '.join(f'--pool {pool}' for pool in present)}")
    return next(iter(present))


def _in_words(pool: Pool) -> str:
    return "none (every token)" if pool == "none" else pool


def _with_site(candidates: Mapping[str, StatesStage], site: str | int) -> tuple[str, dict[str, StatesStage]]:
    names = {name: _site_name(stage, site) for name, stage in candidates.items()}
    found = {name: stage for name, stage in candidates.items() if names[name] is not None}
    if not found:
        what = f"layer {site}" if isinstance(site, int) else f"site {site!r}"
        captured = listed(list(labels(candidates).values()))
        raise DatasetError(f"{what} was not captured", remedy=f"captured sites are: {captured}")
    return str(next(names[name] for name in found)), found


def _site_name(stage: StatesStage, site: str | int) -> str | None:
    if isinstance(site, str):
        return site if site in stage.sites else None
    index = site + stage.num_layers if site < 0 else site
    by_index = dict(zip(stage.huggingface_indices, stage.sites, strict=True))
    return by_index.get(index)


def _kind_of_rows(
    site: str, candidates: Mapping[str, StatesStage], positions: Positions | None, pool: Pool | None
) -> tuple[Positions, Pool]:
    present = dict.fromkeys((stage.positions, kind) for stage in candidates.values() for kind in stage.pool)
    fitting = [kind for kind in present if positions in (None, kind[0]) and pool in (None, kind[1])]
    usual = (positions or "generated", pool or "none")
    if len(fitting) == 1 or usual in fitting:
        return usual if usual in fitting else fitting[0]
    called = labels(candidates)[site]
    if not fitting:
        asked = [f"positions={positions!r}"] * (positions is not None) + [f"pool={pool!r}"] * (pool is not None)
        what, remedy = f"{called} was not captured with {', '.join(asked)}", "captured"
    else:
        what, remedy = f"{called} was captured in {len(fitting)} ways, one must be named", "name one"
    raise DatasetError(what, remedy=f"{remedy}: {' or '.join(map(_asked, fitting or present))}")


def _asked(kind: tuple[Positions, Pool]) -> str:
    """How a kind of rows is asked for."""
    return f"positions={kind[0]!r}" if kind[1] == "none" else f"pool={kind[1]!r}"


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
