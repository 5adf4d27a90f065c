"""Any spec, stopped anywhere, then the same commands: the bytes of a run that nobody disturbed.

The other walks take every window of one spec. Here specs are drawn by a seeded generator, in orders, counts and names
that no default happens to satisfy: sites in any order and by any name, poolings, several samples, rewards, growth by a
higher limit, more samples and another capture. LATENTEXT_CRASH_POINTS=all draws more of them; LATENTEXT_SEED=N others.
"""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.crash.processes import in_a_fork
from tests.crash.test_walk import counted, fault_after, stop_process, walked
from tests.run.made import contents, small_spec

SPECS = 40 if os.environ.get("LATENTEXT_CRASH_POINTS") == "all" else 8
SEED = int(os.environ.get("LATENTEXT_SEED", "1126"))
_NAMES = ["zebra", "apple", "Mid", "z9", "a_b", "état"]
_POOLS = ["first", "last", "mean", "max", "entropy_mean"]


@pytest.mark.slow
def test_any_spec_stopped_at_any_change_to_the_disk_continues_to_the_same_bytes(
    stories260k: Path, tmp_path: Path
) -> None:
    found = walked(_walk, stories260k, tmp_path, SEED)
    assert found["walked"] == SPECS
    assert found["faults"] == []


def _walk(model: str, folder: str, seed: int, report: str) -> None:
    from latentext.engines.opening import open_transformers

    engine = open_transformers(small_spec(model).model)
    faults = []
    for number in range(SPECS):
        draws = random.Random(f"{seed} {number}")
        steps, place = drawn_steps(draws, model), Path(folder) / str(number)
        make = _maker(steps, engine)
        quiet, changes = place / "quiet", place / "changes"
        place.mkdir()
        in_a_fork(lambda: changes.write_text(str(counted(lambda: make(quiet), None))))  # noqa: B023 - called at once
        # Half of the stops fall into the first third: what the first process decided is read back by the next.
        total = int(changes.read_text())
        point = draws.randrange(total // 3) if draws.random() < 0.5 else draws.randrange(total)
        if fault := fault_after(point, place / "stopped", make, contents(quiet), stop_process):
            faults.append(f"spec {number} of seed {seed}, stopped at {point} of {total}: {fault}: {steps}")
    Path(report).write_text(json.dumps({"walked": SPECS, "faults": faults}))


def _maker(steps: list[dict[str, Any]], engine: Any) -> Callable[[Path], None]:
    from latentext.run.runner import capture_states, make_dataset
    from latentext.spec import StatesSpec

    def make(root: Path) -> None:
        for step in steps:
            if "capture" in step:
                capture_states(root, StatesSpec(**step["capture"]), engine=engine)
            else:
                make_dataset(small_spec(engine.loaded.source.name, **step), root, engine=engine)

    return make


def drawn_steps(draws: random.Random, model: str) -> list[dict[str, Any]]:
    """A run, the same run grown, and a capture that is added: fields of specs."""
    entropy = draws.random() < 0.5
    words = draws.sample(["cat", "little red dog", "bird", "very big tree", "ant"], 3)
    first, second = draws.sample(_NAMES, 2)
    fields: dict[str, Any] = {
        "seed": draws.randrange(100),
        "prompts": {
            "template": f"Once there was a {{{first}}} with {{{second}}}",
            "grid": {first: words, second: draws.sample(range(30), 2)},
            "use_chat_template": False,
        },
        "states": drawn_states(draws, entropy=entropy),
        "shard_size": draws.randint(1, 4),
        "rewards": draws.sample(["length", "diversity"], draws.randint(0, 2)),
    }
    decoding = {"temperature": draws.choice([0.0, 1.3]), "max_new_tokens": draws.randint(1, 4), "entropy": entropy}
    steps = []
    for limit, n in ((draws.randint(1, 4), draws.randint(1, 2)), (6, 3)):
        prompts = fields["prompts"] | {"limit": limit}
        steps.append(fields | {"prompts": prompts, "decoding": decoding | {"n": n}})
    return [*steps, {"capture": drawn_states(draws, entropy=entropy)}]


def drawn_states(draws: random.Random, *, entropy: bool) -> dict[str, Any]:
    """States of a model of five blocks: some sites in any order, named or numbered, pooled or not."""
    sites = draws.sample(
        ["final_norm", "embed", "resid_post.3", "resid_post.0", "resid_post.4", 2, -1], draws.randint(2, 5)
    )
    if draws.random() < 0.5:
        pools = draws.sample(_POOLS[: None if entropy else -1], draws.randint(1, 3))
        return {"sites": sites, "pool": pools, "dtype": draws.choice(["model", "float16"])}
    positions = draws.choice(["generated", "all", "last", "prompt", "first"])
    return {"sites": sites, "positions": positions, "dtype": draws.choice(["model", "bfloat16"])}
