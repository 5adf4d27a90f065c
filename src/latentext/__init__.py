"""Text datasets from language models, with what the model was thinking.

Nothing heavy is imported here: ``import latentext`` and ``latentext --help`` must answer at once, so the public names
are loaded on first use (PEP 562).
"""

from __future__ import annotations

import importlib
import os
import sys
from typing import Any

__version__ = "0.2.0.dev0"

# While another process is busy, OpenMP's threads that wait actively keep each other from the cores: a run is then three
# to fifty times slower. OpenMP reads this when torch loads it.
if "torch" not in sys.modules:
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

_PUBLIC = {
    "Spec": "latentext.spec",
    "load_spec": "latentext.spec_file",
    "open": "latentext.dataset.reader",
    "make_dataset": "latentext.run.runner",
    "capture_states": "latentext.run.runner",
    "score_texts": "latentext.run.runner",
    "extract_and_save_hidden_states": "latentext.recipes.represent",
    "apply_chat_template": "latentext.recipes.length",
    "generate_prompt": "latentext.recipes.length",
    "load_model": "latentext.recipes.length",
    "extract_hidden_states": "latentext.recipes.length",
    "TextGeneration": "latentext.recipes.align",
    "save_dataset": "latentext.dataset.saving",
}

__all__ = ["__version__", *_PUBLIC]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'latentext' has no attribute {name!r}")
    return getattr(importlib.import_module(_PUBLIC[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
