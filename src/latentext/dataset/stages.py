"""What a stage says of itself: ``stage.json`` in its folder, written before its first shard.

Receipts say what a shard is; this file says what all shards of a stage have in common, so that a reader knows the
sites and widths of a capture before (and even if never) a shard of it exists. Records need none: their folder's name
and the spec say everything.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import Field, ValidationError, ValidationInfo, field_validator

from latentext.dataset import layout
from latentext.dataset.sealed import read_sealed, write_sealed
from latentext.errors import DatasetError
from latentext.spec import DType, Frozen, Pool, Positions
from latentext.storage import filesystem


class StatesStage(Frozen):
    """A capture: which hidden states, of which samples, where and how.

    Attributes:
        samples: first sample index and one past the last, as in ``range(*samples)``.
        sites: names of the sites, in the order asked for.
        pool: ``("none",)`` for a row per position, else the poolings, one row a text.
        dtype: type in which the states are stored.
        how: captured while the texts were written (inflight), or in a second pass over their ids (replay).
        widths: length of a state by tensor name, in the order in which parts store them (`tensor_names`). JSON objects
            have no order, and a sealed file sorts its keys: so the order follows from `sites` and `pool`, not from
            the file.
        num_layers: hidden states per position in the seeds' sense: blocks + 1.
        huggingface_indices: the ``hidden_states`` index of each site, in the order of `sites`; None for the last block
            before the norm, which has none.
        settings: what else decided the result (attention, versions, ...): JSON values.
    """

    format_version: int = layout.FORMAT_VERSION
    samples: tuple[int, int]
    sites: tuple[str, ...]
    positions: Positions
    pool: tuple[Pool, ...]
    dtype: DType
    how: str
    widths: dict[str, int] = Field(min_length=1)
    num_layers: int = Field(ge=1)
    huggingface_indices: tuple[int | None, ...]
    settings: dict[str, Any] = Field(default_factory=dict)

    @field_validator("widths")
    @classmethod
    def _in_storage_order(cls, widths: dict[str, int], info: ValidationInfo) -> dict[str, int]:
        names = tensor_names(info.data.get("sites", ()), info.data.get("pool", ()))
        if set(names) != set(widths):
            raise ValueError(f"widths of {sorted(widths)}, where sites and pool name {sorted(names)}")
        return {name: widths[name] for name in names}

    @property
    def pooled(self) -> bool:
        return self.pool != ("none",)


def tensor_name(site: str, pool: Pool = "none") -> str:
    """Name of the tensor that holds a site, as it is or pooled."""
    return site if pool == "none" else f"{site}:{pool}"


def tensor_names(sites: Sequence[str], pool: Sequence[Pool]) -> tuple[str, ...]:
    """The tensors of a capture in the order in which its parts store them: site by site, each in all poolings.

    Example:
        >>> tensor_names(["final_norm", "embed"], ["mean", "first"])
        ('final_norm:mean', 'final_norm:first', 'embed:mean', 'embed:first')
    """
    return tuple(tensor_name(site, kind) for site in sites for kind in pool)


class ScoresStage(Frozen):
    """A reward's scores: which samples were scored, what the columns are, and what decides the numbers.

    Attributes:
        reward: the reward's name, as in the spec.
        columns: numbers that every text gets, by name.
        settings: what decides them (model, revision, options, ...): JSON values.
    """

    format_version: int = layout.FORMAT_VERSION
    reward: str
    samples: tuple[int, int]
    columns: tuple[str, ...] = Field(min_length=1)
    settings: dict[str, Any] = Field(default_factory=dict)


AnyStage = StatesStage | ScoresStage
Stage = TypeVar("Stage", bound=Frozen)


def write_stage(root: Path, stage: str, declared: AnyStage) -> None:
    """Make the stage's folder and write its ``stage.json``.

    Raises:
        DatasetError: the folder already declares something else; two captures cannot share a name.
    """
    path = root / stage / layout.STAGE
    filesystem.make_folder(path.parent)
    if path.exists() and read_stage(root, stage, type(declared)) != declared:
        raise DatasetError(f"{stage} already holds something else", where=str(path), remedy="choose another name")
    if not path.exists():
        write_sealed(path, declared.model_dump(mode="json"))


def read_stage(root: Path, stage: str, model: type[Stage]) -> Stage:
    """What a stage declares, its hash checked.

    Raises:
        DatasetError: the file is missing, damaged, of a newer format, or declares a stage of another kind.
    """
    path = root / stage / layout.STAGE
    fields = read_sealed(path, remedy=_remedy(stage))
    try:
        return model.model_validate({name: value for name, value in fields.items() if name != "sha256"})
    except ValidationError as error:
        raise DatasetError(f"does not declare {model.__name__}: {error.errors()[0]['msg']}", where=str(path)) from error


def declared_stages(root: Path, kind: str) -> list[str]:
    """Stages of a kind that say what they are; an empty folder was left by a run that was killed before it said so.

    Raises:
        DatasetError: a folder has shards and does not say of what: its file was lost.
    """
    stages = []
    for stage in layout.list_stages(root, kind):
        if (root / stage / layout.STAGE).exists():
            stages.append(stage)
        elif layout.list_shards(root, stage):
            raise DatasetError("missing", where=str(root / stage / layout.STAGE), remedy=_remedy(stage))
    return stages


def _remedy(stage: str) -> str:
    # Nothing but this file says what the folder holds, so a run cannot rebuild it in place.
    return f"remove the folder {stage} and run the same command again: it is made anew"
