"""A bar with a line below it: next to the bar a terminal of 80 columns has no room for a sentence."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import RenderableType
from rich.progress import Progress as Bar
from rich.text import Text


class TwoLines(Bar):
    """A bar; `below` is the line, and there is none while it is empty."""

    below = ""

    def get_renderables(self) -> Iterator[RenderableType]:
        """The bar's line, and the one below as soon as there is something to say."""
        yield self.make_tasks_table(self.tasks)
        if self.below:
            yield Text(self.below)
