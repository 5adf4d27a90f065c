"""scipy where λ is looked for, and only there: weights, draws and diagnoses of a known λ need no more than NumPy."""

from __future__ import annotations

from typing import Any

from latentext.errors import SpecError


def scipy_optimize() -> Any:
    """The module ``scipy.optimize``, or a SpecError that says how to install it."""
    try:
        import scipy.optimize
    except ImportError as error:
        raise SpecError("looking for λ needs scipy", remedy="pip install 'latentext[align]'") from error
    return scipy.optimize
