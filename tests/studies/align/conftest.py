"""Banks that many tests weigh: published rewards, and a simulated bank whose prompts differ in difficulty."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from latentext.studies.align import Bank

PUBLISHED_VALUES = ("humor", "gpt2-helpful", "gpt2-harmless", "diversity", "coherence", "perplexity")


@pytest.fixture(scope="session")
def published(materials: Path) -> Bank:
    """Rewards of 2,312 published continuations, one sample a prompt."""
    rows = json.loads((materials / "rewards" / "opt1.3b-Anthropic-harmless.json").read_text())
    return Bank(np.array([[[row[name] for name in PUBLISHED_VALUES]] for row in rows]), PUBLISHED_VALUES)


Simulate = Callable[..., Bank]


@pytest.fixture(scope="session")
def simulate() -> Simulate:
    """Make banks of standard normal rewards around standard normal prompt means: half the variance lies between."""

    def bank(prompts: int, samples: int, seed: int, names: tuple[str, ...] = ("humor",)) -> Bank:
        rng = np.random.default_rng(seed)
        between = rng.normal(size=(prompts, 1, len(names)))
        keys = tuple(f"{seed}-{i}" for i in range(prompts))
        return Bank(between + rng.normal(size=(prompts, samples, len(names))), names, keys)

    return bank
