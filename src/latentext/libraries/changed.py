"""The error for a library that no longer has what latentext uses of it."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

from latentext.errors import EngineError

NEWEST_TESTED = {"openai": "3.57.0", "torch": "2.13.0", "transformers": "5.24.0", "vllm": "0.32.0"}
"""The newest release of each library that the tests passed with; a test compares it with constraints-newest.txt."""


def installed(library: str) -> str:
    """The installed version of a library, ``unknown`` for one without metadata.

    Example:
        >>> installed("no-such-package")
        'unknown'
    """
    try:
        return version(library)
    except PackageNotFoundError:
        return "unknown"


def changed(library: str, problem: str | ImportError) -> EngineError:
    """The error to raise where `library` lacks something that latentext uses.

    Args:
        problem: what is missing, or the exception that says so.

    Example:
        >>> print(changed("torch", "it has no operator x"))  # doctest: +ELLIPSIS
        torch ... does not fit this version of latentext: it has no operator x; pip install 'torch==...
    """
    problem = str(problem).split(" (/")[0]  # Python adds the path of the module.
    return EngineError(
        f"{library} {installed(library)} does not fit this version of latentext: {problem}",
        remedy=f"pip install '{library}=={NEWEST_TESTED[library]}', or install a newer latentext",
        heading="Newer libraries",
    )
