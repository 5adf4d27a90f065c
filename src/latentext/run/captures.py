"""Which captures a dataset needs: what the spec asks, less what is there.

Texts that are yet to be written are captured in flight; sites that are asked for later are added by replay, as a
capture of their own. A capture in flight declares itself in ``stage.json`` before its first shard, so an interrupted
run finds the same decision on disk; a replay follows from the records, and declares itself when its first shard worked.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch

from latentext.dataset import layout
from latentext.dataset.sealed import canonical_json
from latentext.dataset.stages import StatesStage, declared_stages, read_stage, tensor_name, write_stage
from latentext.dataset.states import DTYPE_NAME
from latentext.errors import SpecError
from latentext.spec import Spec, StatesSpec
from latentext.states.layout import ModelLayout
from latentext.states.sites import block_of, index_of, label_of, resolve_sites


@dataclass(frozen=True)
class StatesShape:
    """What of a model a capture has to know before it begins: how many blocks, and how wide each kind of site is.

    Without `blocks_readable` only sites that have a Hugging Face index can be read.
    """

    num_blocks: int
    widths: Mapping[str, int]
    blocks_readable: bool = True

    def width(self, site: str) -> int:
        """Number of components of a state at this site."""
        return self.widths["resid_post"] if block_of(site) is not None else self.widths[site]


def has_own_dtype(spec: Spec) -> bool:
    """Whether states are kept in a dtype of their own, not in the model's."""
    return spec.states is None or spec.states.dtype != "model"


def shape_of_layout(layout: ModelLayout) -> StatesShape:
    """The shape of a model that is in memory."""
    return StatesShape(layout.num_blocks, layout.widths, layout.blocks is not None)


def shape_of_config(config: Any) -> StatesShape:
    """The shape of a model whose weights need not be in memory yet, from the configuration of its text part."""
    width = int(config.hidden_size)
    return StatesShape(int(config.num_hidden_layers), {"embed": width, "resid_post": width, "final_norm": width})


def declared_captures(root: Path, samples: range) -> dict[str, StatesStage]:
    """The captures of these samples that exist or were begun, by stage folder."""
    wanted = (samples.start, samples.stop)
    return {stage: capture for stage, capture in _declared(root).items() if capture.samples == wanted}


def missing_capture(
    wanted: StatesSpec,
    present: Mapping[str, StatesStage],
    samples: range,
    *,
    shape: StatesShape,
    dtype: torch.dtype,
    replay_only: bool,
    settings: Mapping[str, Any],
) -> StatesStage | None:
    """The capture that has to be added so that all wanted states are kept, or None.

    Args:
        dtype: in which the states would be stored.
        replay_only: the texts of these samples exist, another capture reads them in flight, or the engine cannot.
        settings: what else decides the numbers (attention, model dtype).

    Raises:
        SpecError: a site that the model does not have, or in-flight capture of texts that exist.
    """
    missing = missing_sites(wanted, present, shape.num_blocks, dtype)
    if not missing:
        return None
    _check_readable(missing, shape)
    replay_only = replay_only or wanted.positions == "text"
    if wanted.how == "inflight" and replay_only:
        what = "the texts exist or their engine gives no states, so none can be read in flight"
        raise SpecError(what, where="states.how", remedy="use replay")
    return StatesStage(
        samples=(samples.start, samples.stop),
        sites=missing,
        positions=wanted.positions,
        pool=wanted.pool,
        dtype=DTYPE_NAME[dtype],
        how="replay" if replay_only or wanted.how == "replay" else "inflight",
        widths={tensor_name(s, p): shape.width(s) for s in missing for p in wanted.pool},
        num_layers=shape.num_blocks + 1,
        huggingface_indices=tuple(index_of(s, shape.num_blocks) for s in missing),
        settings=dict(settings),
    )


def missing_sites(
    wanted: StatesSpec, present: Mapping[str, StatesStage], num_blocks: int, dtype: torch.dtype
) -> tuple[str, ...]:
    """The wanted sites that no present capture keeps with the same rows in the same dtype."""
    same = [c for c in present.values() if _same_rows(c, wanted, DTYPE_NAME[dtype])]
    return tuple(s for s in resolve_sites(wanted.sites, num_blocks) if not any(s in c.sites for c in same))


def covered(wanted: StatesSpec, present: Mapping[str, StatesStage], dtype: torch.dtype) -> bool:
    """Whether nothing is missing, by what the captures declare: known without loading the model."""
    blocks = {capture.num_layers - 1 for capture in present.values()}
    return bool(blocks) and not missing_sites(wanted, present, min(blocks), dtype)


def declare(root: Path, capture: StatesStage) -> str:
    """Write the ``stage.json`` of a capture in flight, and return its stage folder.

    A replay, which may turn out to be impossible, declares itself with its first shard.
    """
    stage = stage_of(capture)
    if capture.how == "inflight":
        write_stage(root, stage, capture)
    return stage


def stage_of(capture: StatesStage) -> str:
    """The stage folder of a capture, named by what it holds and a hash of all of it."""
    digest = hashlib.sha256(canonical_json(capture.model_dump(mode="json"))).hexdigest()[:8]
    what = capture.sites[0] if len(capture.sites) == 1 else f"{len(capture.sites)}-sites"
    rows = capture.positions if capture.pool == ("none",) else "-".join(capture.pool)
    return layout.states_folder(f"{what}-{rows}-{digest}")


def all_states_specs(root: Path) -> list[StatesSpec]:
    """What the captures in a directory hold, whichever samples they are of; how they were made is left open.

    One without a shard is not among them: it was begun, and may never have worked.
    """
    worked = (capture for stage, capture in _declared(root).items() if layout.list_shards(root, stage))
    return [states_spec(capture).model_copy(update={"how": "auto"}) for capture in worked]


def states_spec(capture: StatesStage) -> StatesSpec:
    """The part of a spec that describes a capture."""
    return StatesSpec(
        sites=capture.sites,
        positions=capture.positions,
        pool=capture.pool,
        dtype=capture.dtype,
        how=cast(Any, capture.how),
    )


def inflight_capture(captures: Mapping[str, StatesStage]) -> tuple[str, StatesStage] | None:
    """The capture that is made while the texts are written; at most one per range of samples."""
    return next(((stage, capture) for stage, capture in captures.items() if capture.how == "inflight"), None)


def _declared(root: Path) -> dict[str, StatesStage]:
    return {stage: read_stage(root, stage, StatesStage) for stage in declared_stages(root, "states")}


def _same_rows(capture: StatesStage, wanted: StatesSpec, dtype: str) -> bool:
    return (capture.positions, capture.pool, capture.dtype) == (wanted.positions, wanted.pool, dtype)


def _check_readable(sites: tuple[str, ...], shape: StatesShape) -> None:
    if not shape.blocks_readable and (bad := [s for s in sites if index_of(s, shape.num_blocks) is None]):
        raise SpecError(
            f"{label_of(bad[0], shape.num_blocks)} cannot be read from this model, whose blocks have no hooks that fit",
            where="states.sites",
            remedy="ask for sites that have a Hugging Face index",
        )
