"""A probe on the disk: its numbers as safetensors, all that is known of it as JSON beside them, nothing to execute.

Everything that decides a prediction is kept: the site and its rows, the scaling, the target, the division of texts it
was made with, and a fingerprint of the dataset. So a probe can be judged again, and it gives the numbers that were
logged; a probe that belongs to other data is refused instead of giving numbers that mean nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

from latentext.dataset.layout import FORMAT_VERSION
from latentext.dataset.outputs import OutputKind, begins
from latentext.dataset.reader import Dataset
from latentext.dataset.sealed import canonical_json, read_sealed, write_sealed
from latentext.errors import DatasetError
from latentext.probes.collecting import view_to_probe
from latentext.probes.division import Division
from latentext.probes.fitting import Kind
from latentext.probes.metrics import Score
from latentext.probes.networks import Head, Network, build_body
from latentext.probes.posing import Question
from latentext.probes.ridge import Ridge
from latentext.spec import DType, Frozen, Keep, Pool
from latentext.storage import filesystem
from latentext.storage.atomic import write_bytes

_TENSORS = OutputKind("a saved probe", begins(r'.{8}\{(?=.*"mean":\{)(?=.*"scale":\{)'))
_FACTS = OutputKind("a saved probe", begins(r'\{"best_epoch":'))
_MOST_BYTES = 1 << 30


class ProbeFacts(Frozen):
    """The JSON of a saved probe.

    Attributes:
        dtype: type in which the states were stored.
        columns: what it predicts, column by column.
        spec_sha256: fingerprint of the dataset it was made from (`dataset_fingerprint`).
        division, keep: which texts were for training, validation and test.
        counts: texts and rows of each part.
        scores: of the test rows, by metric, as they were logged.
        hidden, unit, best_epoch, losses: of a network.
        tensors_sha256: of the safetensors file.
    """

    format_version: int = FORMAT_VERSION
    kind: Kind
    target: str
    bins: tuple[str, ...]
    ending: int
    columns: tuple[str, ...]
    site: str
    positions: str = "generated"
    pool: Pool = "none"
    width: int
    dtype: DType
    spec_sha256: str
    division: dict[str, Any]
    keep: Keep | None
    counts: dict[str, tuple[int, int]]
    scores: dict[str, dict[str, Any]]
    hidden: int = 0
    unit: float = 1.0
    best_epoch: int | None = None
    losses: tuple[float, ...] = ()
    tensors_sha256: str

    @property
    def question(self) -> Question:
        """What the probe was asked."""
        return Question(self.target, self.kind, self.bins, self.ending)


def dataset_fingerprint(dataset: Dataset) -> str:
    """Hash of what decides the texts of a dataset: prompts, model, decoding, seed.

    Requests, samples, sites and rewards may be added without another fingerprint. Fields at their defaults have no
    part in it, so that a later version, whose specs have more of them, still knows its probes.
    """
    spec = dataset.spec.model_dump(mode="json", include={"seed", "prompts", "decoding"}, exclude_defaults=True)
    spec.get("prompts", {}).pop("limit", None)
    spec.get("decoding", {}).pop("n", None)
    return hashlib.sha256(canonical_json({**spec, "identity": dataset.provenance.get("identity")})).hexdigest()


def probe_files(name: str) -> dict[str, OutputKind]:
    """The names of a probe's two files, and how earlier ones are known again.

    Example:
        >>> sorted(probe_files("resid_post.3"))
        ['resid_post.3.json', 'resid_post.3.safetensors']
    """
    return {f"{name}.safetensors": _TENSORS, f"{name}.json": _FACTS}


def save_probe(
    path: Path,
    probe: Ridge | Network,
    question: Question,
    dataset: Dataset,
    site: str,
    division: Division,
    *,
    keep: Keep | None,
    pool: Pool = "none",
    counts: Mapping[str, tuple[int, int]],
    scores: Mapping[str, Score],
) -> None:
    """Write ``path.safetensors`` and ``path.json``."""
    view = view_to_probe(dataset, site, pool)
    tensors = _tensors(probe)
    data = save_tensors(tensors)
    facts = ProbeFacts(
        kind=question.kind,
        target=question.target,
        bins=question.bins,
        ending=question.ending,
        columns=question.columns,
        site=view.site,
        pool=view.pool,
        width=view.width,
        dtype=view.stored_dtype,
        spec_sha256=dataset_fingerprint(dataset),
        division=asdict(division),
        keep=keep,
        counts=dict(counts),
        scores={metric: asdict(score) for metric, score in scores.items()},
        tensors_sha256=hashlib.sha256(data).hexdigest(),
        **_training_facts(probe),
    )
    filesystem.make_folder(path.parent)
    write_bytes(_with(path, ".safetensors"), data)
    write_sealed(_with(path, ".json"), facts.model_dump(mode="json"))


def load_probe(path: Path) -> tuple[Ridge | Network, ProbeFacts]:
    """Read a probe back; `path` is that of either file, or without an ending.

    Raises:
        DatasetError: a file is missing, damaged or of a newer format, or the two do not belong together.
    """
    stem = path.with_suffix("") if path.suffix in (".json", ".safetensors") else path
    place = _with(stem, ".json")
    try:
        facts = ProbeFacts.model_validate({k: v for k, v in read_sealed(place).items() if k != "sha256"})
    except ValidationError as error:
        raise DatasetError(f"is no probe: {error.errors()[0]['msg']}", where=str(place)) from error
    try:
        data = filesystem.read_bytes(_with(stem, ".safetensors"), _MOST_BYTES)
        if hashlib.sha256(data).hexdigest() != facts.tensors_sha256:
            raise DatasetError("is not the file that was saved with the probe", where=str(_with(stem, ".safetensors")))
        return _probe(load_tensors(data), facts), facts
    except (OSError, SafetensorError, KeyError, RuntimeError) as error:
        raise DatasetError(
            f"cannot be read ({error})", where=str(_with(stem, ".safetensors")), remedy="make the probe again"
        ) from error


def check_fits(facts: ProbeFacts, dataset: Dataset) -> None:
    """Refuse a probe that was made from other data.

    Raises:
        DatasetError: another dataset, a site that was not captured here, or states of another width.
    """
    view = view_to_probe(dataset, facts.site, facts.pool)
    if view.width != facts.width:
        raise DatasetError(
            f"the probe is for states of width {facts.width}, {view.label} here has {view.width}",
            remedy="use a probe that was made from this dataset",
        )
    if facts.spec_sha256 != dataset_fingerprint(dataset):
        raise DatasetError(
            "the probe was made from another dataset (its prompts, model or decoding differ)",
            where=str(dataset.directory),
            remedy="make one from this dataset: latentext probe DIR",
        )


def _tensors(probe: Ridge | Network) -> dict[str, torch.Tensor]:
    if isinstance(probe, Network):
        body = {f"body.{name}": tensor.contiguous() for name, tensor in probe.body.state_dict().items()}
        return {"mean": probe.mean, "scale": probe.scale, **body}
    arrays = {name: getattr(probe, name) for name in ("mean", "scale", "weight", "bias", "penalties")}
    return {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in arrays.items()}


def _probe(tensors: Mapping[str, torch.Tensor], facts: ProbeFacts) -> Ridge | Network:
    if facts.kind == "ridge":
        return Ridge(*(tensors[name].numpy() for name in ("mean", "scale", "weight", "bias", "penalties")))
    body = build_body(facts.width, len(facts.bins) or 1, facts.hidden)
    body.load_state_dict({k.removeprefix("body."): v for k, v in tensors.items() if k.startswith("body.")})
    head: Head = "bins" if facts.bins else "length"
    mean, scale, epoch = tensors["mean"], tensors["scale"], facts.best_epoch or 0
    return Network(mean, scale, facts.unit, body.eval(), head, facts.hidden, epoch, facts.losses)


def _training_facts(probe: Ridge | Network) -> dict[str, Any]:
    if isinstance(probe, Ridge):
        return {}
    return {"hidden": probe.hidden, "unit": probe.unit, "best_epoch": probe.best_epoch, "losses": probe.losses}


def _with(stem: Path, suffix: str) -> Path:
    """`with_suffix` would take ``resid_post.3`` for a name with an ending."""
    return stem.with_name(stem.name + suffix)
