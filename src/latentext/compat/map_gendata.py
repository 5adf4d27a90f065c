"""``python -m latentext.gendata``: the command line of MAP's gendata, by the names it has there.

    python -m latentext.gendata generate_from_original_model --basemodel_name=tiny --data_name=Imdb
    python -m latentext.gendata generate_from_MC_aligned_model --lam_list=-0.5 --value_list=humor --MC_nsamples=50

They are the commands ``latentext align original`` and ``latentext align sample`` under other names.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from latentext.studies.align.generation import TextGeneration

__all__ = ["TextGeneration", "as_align", "main"]

_COMMANDS = {"generate_from_original_model": "original", "generate_from_MC_aligned_model": "sample"}


def as_align(arguments: Sequence[str]) -> list[str]:
    """The same command line in the words of ``latentext``.

    Example:
        >>> as_align(["generate_from_MC_aligned_model", "--lam_list=-0.5"])
        ['align', 'sample', '--lam_list=-0.5']
    """
    return ["align", *(_COMMANDS.get(word, word) for word in arguments)]


def main() -> None:
    """Run the command line."""
    from latentext.cli import app

    sys.argv[1:] = as_align(sys.argv[1:])  # What an interrupted run says to go on is then right too.
    app.main()
