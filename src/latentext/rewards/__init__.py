"""Rewards: numbers that say how much of a value a text has.

`parse_rewards` reads a spec's entries, `score` scores candidates, `reward` marks a function of one's own. Scores are
raw; standardisation belongs to a bank (`latentext.align.Bank.standardised`).
"""

from latentext.rewards.candidate import Candidate, candidates_of
from latentext.rewards.entries import BUILT_IN, Reward, parse_reward, parse_rewards
from latentext.rewards.functions import reward
from latentext.rewards.identity import reward_settings, score_name
from latentext.rewards.scoring import load_scorer, score

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
