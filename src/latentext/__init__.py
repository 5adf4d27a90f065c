"""Text datasets from language models, with what the model was thinking.

The public names are those of `latentext.api`. Nothing heavy is imported here: ``import latentext`` and
``latentext --help`` must answer at once, so a name is loaded on first use (PEP 562).
"""

from __future__ import annotations

import importlib
import os
import sys
import warnings
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from latentext.api import (
        BudgetError,
        CheckSpec,
        CredentialsError,
        Dataset,
        DatasetError,
        Decoding,
        DiskFullError,
        EngineError,
        LatentextError,
        LengthSpec,
        Limits,
        ModelSpec,
        PromptSpec,
        RunSummary,
        Spec,
        SpecError,
        SplitSpec,
        StatesSpec,
        StatesView,
        capture_states,
        load_spec,
        make_dataset,
        open_dataset,
        reward,
        score_texts,
    )
    from latentext.api import open_dataset as open  # noqa: F401 (an alias, and ``import *`` leaves it alone)

__version__ = "0.2.0.dev0"

# While another process is busy, OpenMP's threads that wait actively keep each other from the cores: a run is then three
# to fifty times slower. OpenMP reads this when torch loads it.
if "torch" not in sys.modules:
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

__all__ = [
    "BudgetError",
    "CheckSpec",
    "CredentialsError",
    "Dataset",
    "DatasetError",
    "Decoding",
    "DiskFullError",
    "EngineError",
    "LatentextError",
    "LengthSpec",
    "Limits",
    "ModelSpec",
    "PromptSpec",
    "RunSummary",
    "Spec",
    "SpecError",
    "SplitSpec",
    "StatesSpec",
    "StatesView",
    "__version__",
    "capture_states",
    "load_spec",
    "make_dataset",
    "open_dataset",
    "reward",
    "score_texts",
]

_SOURCES = {
    "latentext.dataset.reader": ("Dataset", "open_dataset"),
    "latentext.dataset.states_view": ("StatesView",),
    "latentext.errors": (
        "BudgetError",
        "CredentialsError",
        "DatasetError",
        "DiskFullError",
        "EngineError",
        "LatentextError",
        "SpecError",
    ),
    "latentext.spec.limits": ("Limits",),
    "latentext.rewards": ("reward",),
    "latentext.run.runner": ("RunSummary", "capture_states", "make_dataset", "score_texts"),
    "latentext.spec": (
        "CheckSpec",
        "Decoding",
        "LengthSpec",
        "ModelSpec",
        "PromptSpec",
        "Spec",
        "SplitSpec",
        "StatesSpec",
    ),
    "latentext.spec.files": ("load_spec",),
}
_MODULES = {name: module for module, names in _SOURCES.items() for name in names}

_OF_OTHER_TOOLS = {
    "apply_chat_template": "latentext.compat.length_prediction",
    "extract_and_save_hidden_states": "latentext.compat.gpi_pack",
    "extract_hidden_states": "latentext.compat.length_prediction",
    "generate_prompt": "latentext.compat.length_prediction",
    "load_model": "latentext.compat.length_prediction",
    "save_dataset": "latentext.compat.length_prediction",
    "TextGeneration": "latentext.compat.map_gendata",
}


if not TYPE_CHECKING:  # A type checker that saw this would believe any name.

    def __getattr__(name: str) -> Any:
        if name == "open":
            return importlib.import_module("latentext.dataset.reader").open_dataset
        if name in _MODULES:
            return getattr(importlib.import_module(_MODULES[name]), name)
        if name in _OF_OTHER_TOOLS:
            place = _OF_OTHER_TOOLS[name]
            warnings.warn(f"latentext.{name} is deprecated; import it from {place}", DeprecationWarning, stacklevel=2)
            return getattr(importlib.import_module(place), name)
        raise AttributeError(f"module 'latentext' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
