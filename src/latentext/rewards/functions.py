"""Rewards that are plain Python functions: one text in, one number out.

A function becomes a reward by its mark, not by a registry: ``@reward("name")`` writes the name on it and returns it
unchanged, and a spec names it by where it lives, ``my_package.rewards:exclamations`` or ``rewards.py:exclamations``.
What a run computed is then decided by the spec and by the file, never by which modules happened to be imported.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import TypeVar

from latentext.errors import SpecError
from latentext.rewards.candidate import Candidate
from latentext.rewards.local_modules import local_imports

RewardFunction = Callable[[Candidate], float]
Function = TypeVar("Function", bound=RewardFunction)


def reward(name: str, *, version: str | None = None) -> Callable[[Function], Function]:
    """Mark a function as the reward `name`.

    Args:
        name: letters, digits, ``_``, ``-`` and ``.``; part of a folder's name.
        version: identifies the function; change it when the function changes its mind. Without it, any change of the
            file that the function lives in, or of a local file that it imports, makes a new reward, whose scores are
            computed anew. What else it reads, such as a word list, needs a version.

    Example:
        >>> @reward("exclamations")
        ... def exclamations(candidate):
        ...     return float(candidate.text.count("!"))
        >>> exclamations(Candidate("Hi", " there!"))
        1.0
    """

    def mark(function: Function) -> Function:
        function.reward_name = name  # type: ignore[attr-defined]
        function.reward_version = version  # type: ignore[attr-defined]
        return function

    return mark


def place_of(path: str) -> Path | None:
    """The file or package folder that `load_function` would import first for a path; nothing is imported.

    Example:
        >>> place_of("mine.py:polite"), place_of("no_such_package.rewards:polite")
        (PosixPath('mine.py'), None)
    """
    place = path.rpartition(":")[0]
    if place.endswith(".py"):
        return Path(place)
    try:
        found = importlib.util.find_spec(place.partition(".")[0]) if place else None
    except (ImportError, ValueError):
        return None
    places = () if found is None else (*(found.submodule_search_locations or ()), *filter(None, [found.origin]))
    return Path(places[0]) if places else None


def load_function(path: str) -> RewardFunction:
    """Import a marked function by ``module:function`` or ``file.py:function``.

    Raises:
        SpecError: nothing can be imported there, or what is there has no mark.

    Example:
        >>> load_function("latentext.rewards.texts:length").reward_name
        'length'
    """
    place, _, attribute = path.rpartition(":")
    if not place or not attribute:
        raise SpecError(f"not a reward function: {path!r}", remedy="write module:function or file.py:function")
    module = _load_file(Path(place)) if place.endswith(".py") else _load_module(place, path)
    function = getattr(module, attribute, None)
    if not callable(function) or not hasattr(function, "reward_name"):
        marked = [name for name, value in vars(module).items() if hasattr(value, "reward_name")]
        raise SpecError(
            f"{attribute!r} is no function marked @reward(name)",
            where=place,
            remedy=f"marked are: {', '.join(marked) or 'none'}",
        )
    return function  # type: ignore[no-any-return]


def function_identity(function: RewardFunction) -> str:
    """What stands for a function in its scores' identity: its version, or the sha256 of the file it lives in and, where
    it imports any, of the local files that it imports."""
    version = getattr(function, "reward_version", None)
    if version is not None:
        return f"version {version}"
    file = inspect.getsourcefile(function)
    if file is None:
        raise SpecError(
            f"no file holds the reward {function!r}", remedy="give it a version: @reward(name, version=...)"
        )
    total = hashlib.sha256(Path(file).read_bytes())
    package = getattr(inspect.getmodule(function), "__package__", None) or ""
    for name, imported in local_imports(Path(file), package).items():
        total.update(f"\n{name} {hashlib.sha256(imported.read_bytes()).hexdigest()}".encode())
    return f"sha256 {total.hexdigest()}"


def _load_module(name: str, path: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        ours = name.startswith("latentext.")
        remedy = "pip install 'latentext[rewards]'" if ours else "check the name, and that its folder is on PYTHONPATH"
        raise SpecError(f"cannot import {name}: {error}", where=f"reward {path}", remedy=remedy) from error


def _load_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise SpecError("no such file", where=str(path), remedy="reward files are looked for from the current folder")
    # Two files of one name in different folders are different modules.
    name = f"latentext_reward_{path.stem}_{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:8]}"
    found = importlib.util.spec_from_file_location(name, path)
    assert found is not None and found.loader is not None  # A path that ends in .py always has a loader.
    module = importlib.util.module_from_spec(found)
    sys.modules[name] = module  # inspect and dataclasses look a function's module up here.
    try:
        found.loader.exec_module(module)
    except (Exception, SystemExit) as error:  # It is a person's own program, and may raise anything.
        del sys.modules[name]
        what = f"cannot be imported: {type(error).__name__}: {error}"
        raise SpecError(what, where=str(path), remedy="correct the file") from error
    return module
