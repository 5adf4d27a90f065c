"""What a worker is: a process that loads a model once and then does jobs, one JSON line in and one JSON line out.

Standard output belongs to the protocol; what libraries print goes to standard error, which is the worker's log.
"""

from __future__ import annotations

import json
import os
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

Text = tuple[Sequence[int], np.ndarray]
"""Generated token ids, and their states [sites, tokens, width]."""


@dataclass(frozen=True)
class Job:
    """Texts to write, or texts that are given and only have to be read.

    `blocks` are the blocks after which states are kept, from 0. `ends` are the end tokens; `forced` texts have exactly
    `tokens` tokens, others at most. `given` holds the tokens that follow each prompt.
    """

    prompts: list[list[int]]
    tokens: int
    forced: bool
    ends: list[int]
    pad: int
    blocks: list[int]
    folder: Path
    given: list[list[int]] = field(default_factory=list)


@dataclass(frozen=True)
class Written:
    """What a job made: its generated tokens, and a way to read the first texts back from the disk."""

    tokens: int
    read: Callable[[int], list[Text]] | None = None


Way = Callable[[Job], Written]


def serve(load: Callable[[Path], Mapping[str, Way]], packages: Sequence[str]) -> None:
    """Answer requests until standard input ends.

    ``{"load": MODEL, "threads": N}`` comes first; ``{"way": NAME, "job": {…}, "check": TEXTS}`` then asks for one job.
    An answer has "error" where something failed, and the worker goes on.
    """
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    ways: Mapping[str, Way] = {}
    for line in sys.stdin:
        asked = json.loads(line)
        try:
            if "load" in asked:
                import torch

                torch.set_num_threads(asked["threads"])
                ways = load(Path(asked["load"]))
                answer = {"versions": _versions(packages), "threads": torch.get_num_threads()}
            else:
                answer = _do(ways[asked["way"]], asked)
        except Exception as error:  # The row of this peer shows what it was; its log has the rest.
            traceback.print_exc()
            first = (str(error).strip().splitlines() or [""])[0]
            answer = {"error": f"{type(error).__name__}: {first}"[:300]}
        print(json.dumps(answer), file=answers, flush=True)


def _do(way: Way, asked: dict[str, Any]) -> dict[str, Any]:
    job = Job(**asked["job"] | {"folder": Path(asked["job"]["folder"])})
    job.folder.mkdir(parents=True, exist_ok=True)
    started = time.perf_counter()
    written = way(job)
    answer: dict[str, Any] = {"tokens": written.tokens, "seconds": time.perf_counter() - started}
    if asked.get("check") and written.read is not None:
        texts = written.read(min(asked["check"], len(job.prompts)))
        arrays = {f"ids{i}": np.asarray(ids) for i, (ids, _) in enumerate(texts)}
        np.savez(job.folder / "check.npz", **arrays, **{f"states{i}": states for i, (_, states) in enumerate(texts)})
        answer["check"] = str(job.folder / "check.npz")
    return answer


def _versions(packages: Sequence[str]) -> dict[str, str]:
    found = {}
    for name in packages:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
