"""What Ctrl-C and SIGTERM say, in every command: what is kept, what is lost, and which command goes on."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import typer

from latentext.errors import EXIT_INTERRUPTED


@contextmanager
def continued_by(arguments: Sequence[str], *, sets_fields: bool = False) -> Iterator[None]:
    """Inside, an interrupted command is continued by the same command, and says so; exit code 130.

    ``--fresh`` is left out of the command that is printed: it would move aside what was just made.

    Args:
        sets_fields: whether the command has ``--set``, by which it can be given smaller shards.
    """
    try:
        yield
    except KeyboardInterrupt as error:
        words = [word for word in arguments if word != "--fresh"]
        for line in _lines(error, words, sets_fields):
            typer.echo(line, err=True)
        raise typer.Exit(EXIT_INTERRUPTED) from None


def _lines(error: KeyboardInterrupt, words: Sequence[str], sets_fields: bool) -> Iterator[str]:
    left = getattr(error, "left", None)  # Of `RunInterrupted`, whose module may not even be imported yet.
    yield "Interrupted." if left is None else f"Interrupted. {left}."
    if left is not None and sets_fields and (size := left.smaller_shards) is not None:
        yield f"To keep more next time, use smaller shards: {_command(_with_shard_size(words, size))}"
    yield f"To go on: {_command(words)}"


def _with_shard_size(words: Sequence[str], size: int) -> list[str]:
    """The command with this shard size instead of one that it names.

    Example:
        >>> _with_shard_size(["run", "a.yaml", "--set", "shard_size=128", "--set=seed=1"], 16)
        ['run', 'a.yaml', '--set=seed=1', '--set', 'shard_size=16']
    """
    kept: list[str] = []
    for word in words:
        if re.match(r"(--set=)?shard_size=", word):
            if not word.startswith("--") and kept[-1:] == ["--set"]:
                kept.pop()
            continue
        kept.append(word)
    return [*kept, "--set", f"shard_size={size}"]


def _command(words: Sequence[str]) -> str:
    return shlex.join(["latentext", *words])


class Commands(typer.core.TyperGroup):
    """Commands of which one that is interrupted says so, whichever it is.

    Those that are continued say more by `continued_by`; all others keep nothing of what was not finished.
    """

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            typer.echo(f"Interrupted. To start again: {_command(sys.argv[1:])}", err=True)
            raise typer.Exit(EXIT_INTERRUPTED) from None
