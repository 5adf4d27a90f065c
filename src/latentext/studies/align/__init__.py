"""Value-aligned sampling: a bank of scored samples made once, any λ after.

`Bank` holds the rewards; `tilt`, `best_of` and `pareto_smooth` weigh its samples, `draw` picks them, `diagnose` says
what came of it; `solve` finds λ for target levels (after `reach`), `hold_out` checks it on held-out prompts,
`sweep` traces the frontier. The theory, with its limits, is docs/align.md.
"""

from latentext.studies.align.bank import Bank, bank_of_rows
from latentext.studies.align.best import best_of, best_of_n_divergence
from latentext.studies.align.describing import describe, describe_solution
from latentext.studies.align.diagnosis import Diagnosis, diagnose, diagnose_weights
from latentext.studies.align.drawing import draw
from latentext.studies.align.frontier import FrontierPoint, sweep
from latentext.studies.align.held_out import HeldOut, hold_out
from latentext.studies.align.palette import Solution, solve, solve_levels
from latentext.studies.align.reachability import Reach, reach
from latentext.studies.align.reading import read_bank
from latentext.studies.align.smoothing import pareto_smooth
from latentext.studies.align.targets import Target, parse_target, parse_targets, target_levels
from latentext.studies.align.weights import Weights, tilt

__all__ = [
    "Bank",
    "Diagnosis",
    "FrontierPoint",
    "HeldOut",
    "Reach",
    "Solution",
    "Target",
    "Weights",
    "bank_of_rows",
    "best_of",
    "best_of_n_divergence",
    "describe",
    "describe_solution",
    "diagnose",
    "diagnose_weights",
    "draw",
    "hold_out",
    "pareto_smooth",
    "parse_target",
    "parse_targets",
    "reach",
    "read_bank",
    "solve",
    "solve_levels",
    "sweep",
    "target_levels",
    "tilt",
]
