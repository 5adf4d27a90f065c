"""What a picture is: PNG bytes with a caption and the numbers it shows; or the reason why there is none.

Figures are made as objects and drawn by Agg, never through pyplot: no display is needed, and nothing stays behind in a
notebook that draws its own. Tokens and words of a dataset become labels, so text is never read as a formula.
"""

from __future__ import annotations

import io
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

BLUE, ORANGE, GREEN, RED, GREY = "#3566a8", "#d07c1f", "#2f8f6b", "#b5403f", "#8a8f98"
"""Told apart by people who see few colours, and in print."""

_STYLE: Mapping[str, Any] = {
    "text.parse_math": False,  # A token "$\\foo$" is a token.
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.formatter.use_mathtext": False,
    "grid.color": "#e4e6ea",
    "legend.frameon": False,
    "image.cmap": "viridis",
}
_DOTS_PER_INCH = 130
_CHARACTERS_PER_INCH = 12


@dataclass(frozen=True)
class Picture:
    """A drawn picture; a notebook shows it by itself.

    Attributes:
        name: of its PNG file, without the ending.
        caption: what is drawn, of how many texts or rows.
        numbers: what the picture shows in numbers, by name, already as text.
    """

    name: str
    title: str
    caption: str
    png: bytes = field(repr=False)
    numbers: Mapping[str, str] = field(default_factory=dict)

    def _repr_png_(self) -> bytes:
        return self.png


@dataclass(frozen=True)
class Skipped:
    """A picture that a dataset does not allow, and why."""

    name: str
    title: str
    reason: str


@dataclass(frozen=True)
class Subject:
    """What a picture is of: the one place where its name and title stand."""

    name: str
    title: str

    def drawn(self, figure: Figure, caption: str, numbers: Mapping[str, str] | None = None) -> Picture:
        """The picture that `figure` holds; to be called inside `canvas`, whose style it is drawn in."""
        file = io.BytesIO()
        # Without the version of matplotlib in the file, equal data give equal bytes for longer.
        figure.savefig(file, format="png", dpi=_DOTS_PER_INCH, metadata={"Software": None})
        return Picture(self.name, self.title, caption, file.getvalue(), dict(numbers or {}))

    def skipped(self, reason: str) -> Skipped:
        """No picture."""
        return Skipped(self.name, self.title, reason)


@contextmanager
def canvas(panels: int = 1, *, width: float = 7.0, height: float = 3.8) -> Iterator[tuple[Figure, list[Axes]]]:
    """A figure of `panels` axes side by side, in the style of all pictures; sizes in inches."""
    with matplotlib.rc_context(dict(_STYLE)):
        figure = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasAgg(figure)
        yield figure, list(figure.subplots(1, panels, squeeze=False)[0])


def name_sites(axes: Axes, names: Sequence[str]) -> None:
    """Sites as people read them, beneath an axis."""
    axes.set_xticks(range(len(names)), labels=list(names), rotation=45, ha="right", fontsize=9)


def in_lines(text: str, figure: Figure) -> str:
    """A sentence broken into lines that fit the width of a figure."""
    return textwrap.fill(text, int(figure.get_figwidth() * _CHARACTERS_PER_INCH))


def label(axes: Axes, x: str, y: str) -> None:
    """Name both axes, with their units."""
    axes.set_xlabel(x)
    axes.set_ylabel(y)


def remaining_norm(largest: float) -> LogNorm:
    """The colour scale of 1 + remaining tokens: logarithmic, because the last tokens of a text differ most."""
    return LogNorm(1.0, max(2.0, 1.0 + largest))


def remaining_scale(figure: Figure, axes: Axes, drawn: Any, largest: int) -> None:
    """A colour bar for 1 + remaining tokens, labelled in remaining tokens."""
    ticks = [tick for tick in (0, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000) if tick <= largest]
    if largest > 1.3 * ticks[-1]:  # The end of the scale is said, unless it would stand on its neighbour.
        ticks.append(largest)
    bar = figure.colorbar(drawn, ax=axes)
    bar.set_ticks([1 + tick for tick in ticks], labels=[f"{tick:,}" for tick in ticks])
    bar.minorticks_off()
    bar.set_label("remaining tokens")
