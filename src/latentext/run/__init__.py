"""Stages over shards: what turns a spec into a dataset directory, and continues one that was interrupted.

``latentext.run(spec)`` is how a run is started from Python, and ``latentext.run`` is also this package: whichever of
its modules is imported first, Python then binds that name to the package. So the package itself can be called.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any


class _CallablePackage(ModuleType):
    def __call__(self, *args: Any, **options: Any) -> Any:
        """Make or continue the dataset of a spec: see `latentext.run.runner.run`."""
        from latentext.run.runner import run

        return run(*args, **options)


sys.modules[__name__].__class__ = _CallablePackage
