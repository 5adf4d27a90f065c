"""A part of a run: every n-th shard, so that the jobs of an array share a plan without talking to each other."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

from latentext.errors import SpecError
from latentext.plan import Shard

_PART = re.compile(r"([0-9]{1,9})/([0-9]{1,9})")
_SLURM = ("SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_MIN", "SLURM_ARRAY_TASK_COUNT")


@dataclass(frozen=True, slots=True)
class RunPart:
    """Part `number` of `parts`, counted from 1: the shards whose numbers leave the remainder `number` - 1.

    Neighbouring shards go to different parts, because prompts of one kind often stand together and take equally long.

    Example:
        >>> [n for n in range(7) if Shard(n, n, n + 1) in RunPart(2, 3)]
        [1, 4]
    """

    number: int
    parts: int

    def __contains__(self, shard: Shard) -> bool:
        return shard.number % self.parts == self.number - 1


@dataclass(frozen=True, slots=True)
class ShardsHolding:
    """The shards that hold any of some consecutive requests; each is computed whole.

    Example:
        >>> [n for n in range(4) if Shard(n, 2 * n, 2 * n + 2) in ShardsHolding(range(3, 6))]
        [1, 2]
    """

    requests: range

    def __contains__(self, shard: Shard) -> bool:
        return shard.start < self.requests.stop and self.requests.start < shard.stop


SomeShards = RunPart | ShardsHolding
"""What a run may be limited to; ``shard in part`` tells."""


def parse_part(text: str) -> RunPart:
    """Read ``3/24``, or ``slurm``: this job's place in its Slurm array.

    Raises:
        SpecError: neither, or no such part, or not in a Slurm array.

    Example:
        >>> parse_part("3/24")
        RunPart(number=3, parts=24)
    """
    where = f"--shards {text}"
    if text == "slurm":
        return _slurm_part(where)
    match = _PART.fullmatch(text)
    if match is None:
        raise SpecError("not of the form K/N", where=where, remedy="for example --shards 3/24, or --shards slurm")
    number, parts = int(match[1]), int(match[2])
    if not 1 <= number <= parts:
        raise SpecError(
            f"there is no part {number} of {parts}", where=where, remedy=f"parts are 1/{parts} to {parts}/{parts}"
        )
    return RunPart(number, parts)


def _slurm_part(where: str) -> RunPart:
    """Slurm counts an array from any number and says the lowest; steps other than 1 leave gaps and are refused."""
    try:
        task, lowest, count = (int(os.environ[name]) for name in _SLURM)
    except (KeyError, ValueError):
        raise SpecError(
            f"{_SLURM[0]} is not set", where=where, remedy="submit with sbatch --array=1-24, or say which part: 3/24"
        ) from None
    if not 0 <= task - lowest < count:
        what = f"task {task} of an array of {count} that begins at {lowest}"
        raise SpecError(what, where=where, remedy="use an array without gaps, such as --array=1-24")
    return RunPart(task - lowest + 1, count)
