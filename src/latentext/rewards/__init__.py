"""Rewards: numbers that say how much of a value a text has.

`parse_rewards` reads a spec's entries, `score` scores candidates, `reward` marks a function of one's own. Scores are
raw; standardisation belongs to a bank (`latentext.studies.align.Bank.standardised`).

What needs torch is loaded on first use (PEP 562): reading a spec and marking a function must stay quick.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from latentext.rewards.candidate import Candidate, candidates_of
from latentext.rewards.entries import BUILT_IN, Reward, parse_reward, parse_rewards
from latentext.rewards.functions import reward

if TYPE_CHECKING:
    from latentext.rewards.identity import reward_settings, score_name
    from latentext.rewards.scoring import load_scorer, score

_HEAVY = {
    "load_scorer": "latentext.rewards.scoring",
    "reward_settings": "latentext.rewards.identity",
    "score": "latentext.rewards.scoring",
    "score_name": "latentext.rewards.identity",
}

__all__ = [
    "BUILT_IN",
    "Candidate",
    "Reward",
    "candidates_of",
    "load_scorer",
    "parse_reward",
    "parse_rewards",
    "reward",
    "reward_settings",
    "score",
    "score_name",
]


def __getattr__(name: str) -> Any:
    if name not in _HEAVY:
        raise AttributeError(f"module 'latentext.rewards' has no attribute {name!r}")
    return getattr(importlib.import_module(_HEAVY[name]), name)
