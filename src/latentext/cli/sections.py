"""The commands in the order in which people look for them: make, look, studies, share; one short line for each."""

from __future__ import annotations

from typing import Any

from latentext.cli.interruption import Commands

SECTIONS = {
    "Make a dataset": {
        "demo": "Make a first dataset with the built-in model.",
        "run": "Make the dataset of a spec, or continue it.",
        "capture": "Add hidden states to finished texts.",
        "score": "Add rewards to finished texts.",
        "merge": "Merge datasets that array jobs made.",
    },
    "Look at it": {
        "status": "Show what is finished and what is missing.",
        "show": "Print texts token by token.",
        "report": "Draw pictures of a dataset on one page.",
        "verify": "Check files against receipts, and states against the model.",
    },
    "Studies": {
        "probe": "Fit probes to hidden states and compare them with baselines.",
        "represent": "Get one vector for each text of a table.",
        "complete": "Let models complete what people completed.",
        "pairs": "Make prompts that differ in exactly one token.",
        "batch": "Ask for pairs through OpenAI's Batch API.",
        "align": "Draw texts shifted towards chosen rewards.",
    },
    "Share it": {"export": "Write NumPy arrays, JSON lines or Parquet."},
    "What there is": {
        "recipes": "List the shipped specs, or print one.",
        "models": "List models by name, with the memory they take.",
        "corpora": "List corpora of human completions.",
        "schema": "Print every field of a spec as JSON schema.",
    },
}
"""Titles, commands and what each is for, as ``latentext --help`` shows them."""


class CommandSections(Commands):
    """The commands of latentext, listed in sections."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write one list per section, all in columns of one width."""
        width = max(len(name) for commands in SECTIONS.values() for name in commands)
        for title, commands in SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl([(name.ljust(width), words) for name, words in commands.items()])
