"""Runs where something fails on the way: memory, single requests, the watcher; and what a run holds in memory."""

from __future__ import annotations

import gc
import json
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.run.made import commits, contents, small_spec

import latentext
from latentext.dataset.receipts import read_receipt
from latentext.dataset.restoring import states_of
from latentext.engines.engine import Generated, OutOfMemory
from latentext.engines.transformers.engine import TransformersEngine
from latentext.request import Completion, Failure, Request, StateRows
from latentext.run.progress import NoProgress
from latentext.run.runner import make_dataset
from latentext.run.verification import verify
from latentext.spec import Decoding, Spec

RECEIPTS = "records/s0000-0000/{:05d}.receipt.json"


class Troubled(TransformersEngine):
    """The real engine on a machine where something goes wrong; each class below says what."""

    def __init__(self, engine: TransformersEngine):
        super().__init__(engine.loaded, batch_tokens=engine.batch_tokens)


class ShortOfMemoryOnce(Troubled):
    """After three texts of the second shard the memory is used up, once."""

    failed = False

    def generate(
        self, requests: Sequence[Request], samples: range, decoding: Decoding, seed: int, **options: Any
    ) -> Generator[Generated | Failure, None, None]:
        for given, result in enumerate(super().generate(requests, samples, decoding, seed, **options)):
            if requests[0].index == 4 and given == 3 and not self.failed:
                self.failed = True
                raise OutOfMemory("the device has too little memory for this text")
            yield result


class FailingAt(Troubled):
    """Requests with these indices fail, until told otherwise."""

    bad: frozenset[int] = frozenset()
    asked: list[tuple[int, int]]

    def generate(
        self, requests: Sequence[Request], samples: range, decoding: Decoding, seed: int, **options: Any
    ) -> Generator[Generated | Failure, None, None]:
        self.asked += [(request.index, sample) for request in requests for sample in samples]
        for result in super().generate(requests, samples, decoding, seed, **options):
            if isinstance(result, Generated) and result.completion.index in self.bad:
                yield Failure(result.completion.index, result.completion.sample, "out-of-memory", "too little memory")
            else:
                yield result


class Counting(NoProgress):
    """Texts and tokens as a watcher is told of them."""

    def __init__(self) -> None:
        self.texts = self.tokens = self.total = 0

    def start(self, total: int, done: int, description: str) -> None:
        self.total, self.texts = total, done

    def advance(self, texts: int, tokens: int) -> None:
        self.texts += texts
        self.tokens += tokens


def test_a_batch_that_does_not_fit_is_halved_marked_and_gives_the_same_texts(
    spec: Spec, engine: TransformersEngine, tmp_path: Path
) -> None:
    four = spec.model_copy(update={"shard_size": 4})
    make_dataset(four, tmp_path / "quiet", engine=engine)
    progress = Counting()
    summary = make_dataset(four, tmp_path / "short", engine=ShortOfMemoryOnce(engine), progress=progress)
    assert (progress.texts, progress.total, progress.tokens) == (8, 8, 80)
    assert summary.tokens == 80
    how = [read_receipt(tmp_path / "short" / RECEIPTS.format(shard)).how for shard in (0, 1)]
    quiet = read_receipt(tmp_path / "quiet" / RECEIPTS.format(1)).how
    assert [h["halved"] for h in how] == [0, 1]
    assert how[1]["slots"] == quiet["slots"] // 2
    short, whole = (latentext.open_dataset(tmp_path / name).records() for name in ("short", "quiet"))
    assert short.equals(whole)
    assert verify(tmp_path / "short") == []


def rows_by_text(root: Path, shard: int) -> dict[int, StateRows]:
    stage = f"states/{next((root / 'states').iterdir()).name}"
    return {rows.index: rows for rows in states_of(root, stage, shard, ("final_norm", "resid_post.1"))}


def test_retrying_opens_only_shards_with_failures_and_keeps_what_they_hold(
    spec: Spec, engine: TransformersEngine, tmp_path: Path, finished: Path
) -> None:
    root, troubled = tmp_path / "data", FailingAt(engine)
    troubled.bad, troubled.asked = frozenset({3, 6}), []
    summary = make_dataset(spec, root, engine=troubled)
    assert (summary.accepted, summary.failed, summary.exit_code) == (6, 2, 4)
    failures = [json.loads(line) for line in (root / "failures.jsonl").read_text().splitlines()]
    assert [(f["index"], f["reason"]) for f in failures] == [(3, "out-of-memory"), (6, "out-of-memory")]
    before, states = commits(root), rows_by_text(root, 1)

    troubled.asked = []
    assert make_dataset(spec, root, engine=troubled).failed == 2  # Without being asked nothing is tried again.
    assert troubled.asked == []
    assert commits(root) == before

    troubled.bad = frozenset({6})
    progress = Counting()
    assert make_dataset(spec, root, engine=troubled, retry_failed=True, progress=progress).failed == 1
    assert troubled.asked == [(3, 0), (6, 0)]
    assert (progress.texts, progress.total) == (8, 8)
    after = commits(root)
    assert {n: s for n, s in before.items() if Path(n).name[:5] in ("00000", "00002")} == {
        n: s for n, s in after.items() if Path(n).name[:5] in ("00000", "00002")
    }
    kept = rows_by_text(root, 1)[2]
    assert all(kept.tensors[name].equal(tensor) for name, tensor in states[2].tensors.items())
    troubled.bad = frozenset()
    assert make_dataset(spec, root, engine=troubled, retry_failed=True).exit_code == 0
    assert latentext.open_dataset(root).records().equals(latentext.open_dataset(finished).records())
    assert verify(root) == []


class Nuisance(NoProgress):
    """A watcher that presses Ctrl-C after three texts."""

    seen = 0

    def advance(self, texts: int, tokens: int) -> None:
        self.seen += texts
        if self.seen >= 3:
            raise KeyboardInterrupt


def test_an_engine_is_as_it_was_after_a_run_was_interrupted_in_a_batch(
    spec: Spec, engine: TransformersEngine, tmp_path: Path, finished: Path
) -> None:

    def hooks() -> int:
        return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in engine.loaded.model.modules())

    before = hooks()
    with pytest.raises(KeyboardInterrupt) as interrupted:
        make_dataset(spec, tmp_path / "data", engine=engine, progress=Nuisance())
    assert interrupted.value  # The traceback and with it every frame of the run is alive, as in a notebook.
    assert hooks() == before
    make_dataset(spec, tmp_path / "data", engine=engine)
    new, old = contents(tmp_path / "data"), contents(finished)
    assert {n for n in old if new.get(n) != old[n]} <= {"spec.yaml", "metadata.json", "README.md"}


def held_in_memory() -> int:
    """Texts, requests and rows that are alive and were made after `gc.freeze`."""
    return sum(isinstance(thing, Completion | Request | StateRows | Generated) for thing in gc.get_objects())


def test_what_is_held_in_memory_does_not_grow_with_the_number_of_shards(
    stories260k: Path, engine: TransformersEngine, tmp_path: Path
) -> None:
    class Most(NoProgress):
        most = 0

        def advance(self, texts: int, tokens: int) -> None:
            self.most = max(self.most, held_in_memory())

    held = {}
    for shards in (2, 10):
        progress = Most()
        spec = small_spec(stories260k, counts=shards // 2, decoding={"max_new_tokens": 2})
        gc.collect()
        gc.freeze()
        try:
            make_dataset(spec, tmp_path / str(shards), engine=engine, progress=progress)
        finally:
            gc.unfreeze()
        held[shards] = progress.most
    assert 0 < held[10] <= held[2]


@pytest.mark.slow
def test_real_prompts_give_texts_and_those_that_are_too_long_a_reason(
    materials: Path, stories260k: Path, engine: TransformersEngine, tmp_path: Path
) -> None:
    spec = small_spec(
        stories260k,
        prompts={
            "file": {"path": str(materials / "prompts" / "dailydialog-500.ndjson")},
            "columns": {"prompt": "source"},
            "use_chat_template": False,
        },
        decoding={"max_new_tokens": 100},
        shard_size=128,
    )
    summary = make_dataset(spec, tmp_path / "data", engine=engine)
    assert (summary.planned, summary.pending) == (500, 0)
    assert summary.accepted >= 400
    failures = [json.loads(line) for line in (tmp_path / "data" / "failures.jsonl").read_text().splitlines()]
    assert len(failures) == summary.failed == 500 - summary.accepted
    assert {failure["reason"] for failure in failures} == {"prompt-too-long"}
    data = latentext.open_dataset(tmp_path / "data")
    assert sum(map(len, data.records(["token_ids"])["token_ids"])) == data.states("final_norm").shape[0]
    assert verify(tmp_path / "data", sample=16) == []
