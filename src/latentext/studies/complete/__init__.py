"""Human and machine texts side by side: the grid of the original comparison, as specs that share loaded models."""

from latentext.studies.complete.grid import Grid, grid_specs
from latentext.studies.complete.sweep import Finished, run_sweep

__all__ = ["Finished", "Grid", "grid_specs", "run_sweep"]
