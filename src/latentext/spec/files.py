"""Specs as files, dictionaries and command-line settings, and every mistake in one as one line.

Paths of input files in a spec are relative to the folder of the spec file, so that a folder with a spec and its prompts
can be moved; paths in a dictionary or on the command line are relative to the working directory, and `output` always
is. A `Spec` holds what the user wrote; `resolve_inputs` makes it independent of where that was.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from latentext.errors import SpecError
from latentext.spec import SHIPPED_PRICES, TINY, ModelSpec, Spec, StatesSpec
from latentext.spec.yaml_text import YamlError, dump_yaml, parse_yaml

MAX_SPEC_BYTES = 4 << 20
"""The most that a file with a spec may hold."""

_INPUTS = ("prompts.file", "prompts.file.path", "prompts.pairs", "prompts.pairs.path", "model", "model.name")
"""Fields that hold the path of an input file or of a folder."""


def load_spec(source: str | Path | Mapping[str, Any], overrides: Sequence[str] = ()) -> Spec:
    """Read a spec.

    Args:
        source: a YAML file, or the same as a dictionary.
        overrides: settings like ``decoding.temperature=0.7``, the value in YAML; a later one wins.

    Raises:
        SpecError: unreadable, not YAML, an unknown field or an unusable value; one line that names the first.

    Example:
        >>> load_spec({"prompts": {"list": ["Hello!"]}}, ["decoding.n=4"]).decoding.n
        4
    """
    where = "spec" if isinstance(source, Mapping) else str(source)
    fields = _copy(source) if isinstance(source, Mapping) else _read_file(Path(source))
    for override in overrides:
        _apply(override, fields, spec_folder(source))
    return _validated(fields, where)


def states_of(states: StatesSpec | Mapping[str, Any]) -> StatesSpec:
    """A capture as an object, from an object or from the mapping that stands under `states` in a spec.

    Raises:
        SpecError: an unknown field or an unusable value, named as in a spec (``states.sites``).

    Example:
        >>> states_of({"sites": [-1], "pool": "mean"}).pool
        ('mean',)
    """
    if isinstance(states, StatesSpec):
        return states
    whole = load_spec({"prompts": {"list": [""]}, "states": states})
    return whole.states or StatesSpec()


def parse_spec(data: bytes, where: str) -> Spec:
    """Read a spec from the bytes of a file; errors as `load_spec`, with `where` in them."""
    return _validated(_fields(data, where), where)


def spec_folder(source: str | Path | Mapping[str, Any]) -> Path:
    """The folder that a spec's input paths are relative to: that of the file, or the working directory."""
    return Path() if isinstance(source, Mapping) else Path(source).parent


def resolve_inputs(spec: Spec, folder: Path) -> Spec:
    """The spec with its input paths absolute, where those that are relative were written in `folder`."""
    # Links on the way to an input stay as they were named, so that a path written into a dataset reads back the same;
    # those on the way to `folder` are followed, because `..` begins at the folder itself.
    start = folder.resolve()
    return _map_inputs(spec, lambda path: os.path.normpath(start / Path(path).expanduser()))


def relative_inputs(spec: Spec, folder: Path) -> Spec:
    """The spec with its absolute input paths relative to `folder`, to be written into it."""
    return _map_inputs(spec, lambda path: os.path.relpath(path, folder) if Path(path).is_absolute() else path)


def dump_spec(spec: Spec) -> str:
    """The spec as YAML that `load_spec` reads back to an equal object.

    Fields come in the order of their definition; those that have their default are left out, except the few that a
    reader looks for first.

    Example:
        >>> print(dump_spec(load_spec({"prompts": {"template": "Say {word}.", "grid": {"word": ["yes", "no"]}}})))
        name: dataset
        seed: 0
        model: {name: tiny, engine: transformers}
        prompts:
          template: Say {word}.
          grid:
            word: ['yes', 'no']
        decoding: {temperature: 0.0, max_new_tokens: 200, n: 1}
        <BLANKLINE>
    """
    fields = spec.model_dump()
    changed = spec.model_dump(exclude_defaults=True)
    for name in ("name", "seed"):
        changed[name] = fields[name]
    for part, wanted in (("model", ("name", "engine")), ("decoding", ("temperature", "max_new_tokens", "n"))):
        kept = {**changed.get(part, {}), **{name: fields[part][name] for name in wanted}}
        changed[part] = {name: kept[name] for name in fields[part] if name in kept}
    if several := changed["decoding"].pop("temperatures", None):
        changed["decoding"]["temperature"] = several
    return dump_yaml({name: changed[name] for name in fields if name in changed})


def _map_inputs(spec: Spec, move: Callable[[str], str]) -> Spec:
    """The spec with `move` applied to the file of prompts, and to models and reward functions that are local."""
    for name in ("file", "pairs"):
        if (source := getattr(spec.prompts, name)) is not None:
            moved = source.model_copy(update={"path": move(source.path)})
            spec = spec.model_copy(update={"prompts": spec.prompts.model_copy(update={name: moved})})
    spec = spec.model_copy(update={"model": _map_model(spec.model, move)})
    return spec.model_copy(update={"rewards": tuple(_map_reward(entry, move) for entry in spec.rewards)})


def _map_model(model: ModelSpec, move: Callable[[str], str]) -> ModelSpec:
    """The model with `move` applied to its folder and to its table of prices."""
    field = "local" if model.remote else "name"
    name = getattr(model, field)
    if name is not None and name != TINY and (Path(moved := move(name)).is_dir() or Path(name).is_absolute()):
        model = model.model_copy(update={field: moved})
    if model.api is not None and model.api.prices not in (None, SHIPPED_PRICES):
        model = model.model_copy(update={"api": model.api.model_copy(update={"prices": move(model.api.prices)})})
    return model


def _map_reward(entry: str | dict[str, Any], move: Callable[[str], str]) -> str | dict[str, Any]:
    """A reward with `move` applied to the file of its function or to the folder of its model."""
    if isinstance(entry, str):
        path, colon, function = entry.rpartition(":")
        return f"{move(path)}:{function}" if colon and path.endswith(".py") else entry
    moved = dict(entry)
    for kind in ("classifier", "embedding"):
        if isinstance(name := entry.get(kind), str) and (Path(move(name)).is_dir() or Path(name).is_absolute()):
            moved[kind] = move(name)
    if isinstance(place := entry.get("function"), str):
        moved["function"] = _map_reward(place, move)
    return moved


def _read_file(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > MAX_SPEC_BYTES:
            raise SpecError("larger than 4 MiB", where=str(path), remedy="put the prompts into a file (prompts.file)")
        data = path.read_bytes()
    except FileNotFoundError:
        raise SpecError("no such file", where=str(path), remedy="name a spec in YAML") from None
    except OSError as error:
        raise SpecError(f"cannot be read: {error.strerror}", where=str(path), remedy="name a spec in YAML") from None
    return _fields(data, str(path))


def _fields(data: bytes, where: str) -> dict[str, Any]:
    try:
        fields = parse_yaml(data.decode("utf-8"))
    except UnicodeDecodeError:
        raise SpecError("not UTF-8", where=where, remedy="save it as UTF-8") from None
    except YamlError as error:
        raise SpecError(str(error), where=where, remedy="correct the YAML") from None
    if not isinstance(fields, dict):
        raise SpecError("no fields", where=where, remedy="a spec has fields such as `prompts:`")
    return fields


def _validated(fields: dict[str, Any], where: str) -> Spec:
    try:
        return Spec.model_validate(fields)
    except ValidationError as error:
        raise _first_finding(error, fields, where) from None


def _copy(value: Any) -> Any:
    """Fields that can be changed without touching the caller's."""
    if isinstance(value, Mapping):
        return {name: _copy(item) for name, item in value.items()}
    return value


def _apply(override: str, fields: dict[str, Any], folder: Path) -> None:
    """Put one ``a.b=value`` into the fields."""
    path, equals, text = override.partition("=")
    names = path.strip().split(".")
    where = f"--set {override}"
    if not equals or not all(names):
        raise SpecError("not of the form a.b=value", where=where, remedy="for example --set decoding.temperature=0.7")
    try:
        value = parse_yaml(text)
    except YamlError as error:
        raise SpecError(str(error), where=where, remedy="give the value in YAML") from None
    inner = fields
    for place, name in enumerate(names[:-1], 1):
        known = inner.get(name)
        if known is not None and not isinstance(known, dict):
            known = _long_form(names[:place], known, where)
        inner[name] = inner = {} if known is None else known
    inner[names[-1]] = _seen_from(folder, names, value)


def _long_form(names: Sequence[str], value: Any, where: str) -> dict[str, Any]:
    """``model: tiny`` as ``model: {name: tiny}``: what a part's first field is, its short form gives."""
    model = _model_at(names)
    if model is None or not isinstance(value, str):
        raise SpecError(f"{'.'.join(names)} has no fields", where=where, remedy="set it as a whole")
    return {next(iter(model.model_fields)): value}


def _seen_from(folder: Path, names: Sequence[str], value: Any) -> Any:
    """A path given on the command line, as the spec file's folder sees it."""
    path = ".".join(names)
    is_input = path in _INPUTS
    if not is_input or not isinstance(value, str) or folder == Path():
        return value
    if path.startswith("model") and (value == TINY or not Path(value).is_dir()):
        return value
    return os.path.relpath(Path(value).expanduser(), folder)


def _first_finding(error: ValidationError, fields: Mapping[str, Any], where: str) -> SpecError:
    """The first of pydantic's findings in our words; an unknown name comes first, for it often causes the others, and a
    number that is not finite, of which every other type that a field can have says only that it is not that type."""
    findings = error.errors(include_url=False)
    telling = ("extra_forbidden", "finite_number")
    finding = next((found for kind in telling for found in findings if found["type"] == kind), findings[0])
    names = _field_path(finding["loc"], fields)
    remedy = None
    if finding["type"] == "extra_forbidden":
        what = f"unknown field {'.'.join(names)}"
        model = _model_at(names[:-1])
        known = list(model.model_fields) if model is not None else []
        nearest = difflib.get_close_matches(names[-1], known, n=1)
        others = f"fields here are: {', '.join(known)}" if known else "remove it"
        remedy = f"did you mean {nearest[0]}?" if nearest else others
    elif finding["type"] == "missing":
        what = f"{'.'.join(names)} is missing"
    else:
        # Where several types may stand, each has its own complaint about the same field.
        same = [other["msg"] for other in findings if _field_path(other["loc"], fields) == names]
        same = [finding["msg"]] if finding["type"] == "finite_number" else same
        message = ", or ".join(dict.fromkeys(same)).removeprefix("Value error, ")
        what = f"{'.'.join(names)}: {message}" if names else message
        if finding["type"] != "value_error":
            what += f" (it is {_shown(finding['input'])})"
            remedy = _description(names)
    return SpecError(what, where=where, remedy=remedy)


def _description(names: Sequence[str]) -> str | None:
    """What a field is for, as its definition says it; None where the names lead to no field."""
    model = _model_at(names[:-1]) if names else None
    field = None if model is None else model.model_fields.get(names[-1])
    return None if field is None or field.description is None else f"{names[-1]}: {field.description.rstrip('.')}"


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:60] + "…"


def _field_path(location: Sequence[str | int], fields: Any) -> list[str]:
    """The names in a finding's location that a user wrote: pydantic adds those of the types that it tried."""
    names: list[str] = []
    value = fields
    for place, part in enumerate(location):
        if _holds(value, part):
            value = value[part]
        elif isinstance(value, Mapping) and place == len(location) - 1:  # A missing field.
            value = None
        else:
            continue
        names.append(str(part))
    return names


def _holds(value: Any, part: str | int) -> bool:
    if isinstance(value, Mapping):
        return part in value
    return isinstance(value, list | tuple) and isinstance(part, int) and part < len(value)


def _model_at(names: Sequence[str]) -> type[BaseModel] | None:
    """The pydantic model of the part of a spec that `names` lead to."""
    model: type[BaseModel] | None = Spec
    for name in names:
        if model is None or name not in model.model_fields:
            return None
        annotation = model.model_fields[name].annotation
        candidates = (annotation, *get_args(annotation))
        model = next((kind for kind in candidates if isinstance(kind, type) and issubclass(kind, BaseModel)), None)
    return model
