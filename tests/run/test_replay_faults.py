"""States that cannot be read again: named by request, recorded, tried again when asked; the other texts go on."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.run.made import commits

import latentext
from latentext.dataset.receipts import Receipt, read_receipt
from latentext.dataset.restoring import states_of
from latentext.engines.transformers.engine import TransformersEngine
from latentext.run.runner import capture_states, make_dataset
from latentext.run.verification import verify
from latentext.spec import Spec, StatesSpec

EMBED = StatesSpec(sites=("embed",))


@contextmanager
def troubled(engine: TransformersEngine, trouble: Callable[[torch.Tensor, torch.Tensor], None]) -> Iterator[None]:
    """Let something happen to (token ids, embeddings) of every pass of the model, which is a real one."""
    embedding: Any = engine.loaded.model.get_input_embeddings()
    hook = embedding.register_forward_hook(lambda _module, ids, out: trouble(ids[0], out))
    try:
        yield
    finally:
        hook.remove()


def receipts(root: Path) -> dict[int, Receipt]:
    """The receipts of the capture of `embed`, by shard."""
    found = (path for path in root.glob("states/*/*.receipt.json") if "embed" in stage_of(path))
    return {receipt.shard: receipt for receipt in map(read_receipt, sorted(found))}


def stage_of(receipt: Path) -> list[str]:
    sites: list[str] = json.loads((receipt.parent / "stage.json").read_text())["sites"]
    return sites


def places(root: Path, receipt: Receipt) -> set[int]:
    return {rows.index for rows in states_of(root, receipt.stage, receipt.shard, ("embed",))}


def test_states_that_are_not_finite_fail_by_request_and_are_read_again_when_asked(
    spec: Spec, copied: Callable[..., Path], engine: TransformersEngine
) -> None:
    root, prompt = copied(), latentext.open_dataset(copied("other")).records().to_pylist()[3]["prompt_token_ids"]

    def spoil(ids: torch.Tensor, embeddings: torch.Tensor) -> None:
        rows = (ids[:, : len(prompt)] == torch.tensor(prompt)).all(-1)
        embeddings[rows, len(prompt), 0] = torch.nan

    with troubled(engine, spoil):
        summary = capture_states(root, EMBED, engine=engine)
    found = receipts(root)
    assert [receipt.failures for receipt in found.values() if receipt.shard != 1] == [(), (), ()]
    (failure,) = found[1].failures
    assert (failure.index, failure.sample, failure.reason) == (3, 0, "nonfinite-states")
    assert (summary.failed, summary.missing, summary.exit_code) == (0, 1, 4)
    assert failure.message == "states are not finite in float32 at embed"
    assert places(root, found[1]) == {2}
    assert json.loads((root / "failures.jsonl").read_text())["index"] == 3
    assert verify(root) == []
    make_dataset(spec, root, engine=engine)
    assert len(receipts(root)[1].failures) == 1
    assert capture_states(root, EMBED, engine=engine).exit_code == 4
    assert capture_states(root, EMBED, engine=engine, retry_failed=True).exit_code == 0
    assert receipts(root)[1].failures == ()
    assert places(root, receipts(root)[1]) == {2, 3}
    assert verify(root) == []


def test_a_text_whose_states_overflow_is_kept_and_the_states_say_why(
    spec: Spec, copied: Callable[..., Path], tmp_path: Path, engine: TransformersEngine
) -> None:
    """In flight as in a replay: 70,000 is a number of the model's float32, and none of float16."""
    narrow = spec.model_copy(update={"states": StatesSpec(sites=("final_norm", "embed"), dtype="float16")})
    prompt = latentext.open_dataset(copied("other")).records().to_pylist()[5]["prompt_token_ids"]

    def spoil(ids: torch.Tensor, embeddings: torch.Tensor) -> None:
        if ids.shape[1] >= len(prompt):
            rows = (ids[:, -len(prompt) :] == torch.tensor(prompt)).all(-1)
            embeddings[rows, -1, 0] = 70_000.0

    root = tmp_path / "data"
    with troubled(engine, spoil):
        summary = make_dataset(narrow, root, engine=engine)
    assert (summary.accepted, summary.failed, summary.missing, summary.exit_code) == (8, 0, 1, 4)
    data = latentext.open_dataset(root)
    assert data.records().num_rows == 8
    (failure,) = [failure for receipt in receipts(root).values() for failure in receipt.failures]
    assert (failure.index, failure.sample, failure.reason) == (5, 0, "nonfinite-states")
    what = "states are not finite in float16 at embed: values beyond 65,504; use states.dtype: bfloat16 or float32"
    assert failure.message == what
    assert 5 not in set(data.states("embed").rows["index"].tolist())
    assert set(data.states("final_norm").rows["index"].tolist()) == set(range(8)) - {5}
    assert verify(root) == []
    kept = commits(root)
    assert make_dataset(narrow, root, engine=engine, retry_failed=True).exit_code == 4
    assert commits(root) == kept and verify(root) == []


def test_a_pass_that_does_not_fit_is_halved_and_a_text_that_does_not_fit_alone_fails(
    copied: Callable[..., Path], engine: TransformersEngine
) -> None:
    lengths = [len(row["prompt_token_ids"] + row["token_ids"]) for row in records(copied("other"))]
    longest = max(lengths)
    too_long = {index for index, length in enumerate(lengths) if length == longest}
    assert 0 < len(too_long) < 8

    def short_of_memory(ids: torch.Tensor, embeddings: torch.Tensor) -> None:
        if len(ids) > 1 or ids.shape[1] >= longest:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    root, roomy = copied(), copied("roomy")
    capture_states(roomy, EMBED, engine=engine)
    with troubled(engine, short_of_memory):
        capture_states(root, EMBED, engine=engine)
    found = receipts(root)
    assert {f.index: f.reason for r in found.values() for f in r.failures} == dict.fromkeys(too_long, "out-of-memory")
    assert set().union(*(places(root, receipt) for receipt in found.values())) == set(range(8)) - too_long
    assert all(receipt.how["halved"] > 0 for receipt in found.values())
    assert [receipt.how for receipt in receipts(roomy).values()] == [{"engine": "replay"}] * 4
    assert verify(root) == []


def test_a_batch_that_never_fits_is_halved_down_to_one_text_which_fails(
    spec: Spec, tmp_path: Path, engine: TransformersEngine
) -> None:
    def never(ids: torch.Tensor, embeddings: torch.Tensor) -> None:
        raise MemoryError

    with troubled(engine, never):
        summary = make_dataset(spec.model_copy(update={"shard_size": 4}), tmp_path / "data", engine=engine)
    assert (summary.accepted, summary.failed, summary.exit_code) == (0, 8, 4)
    receipt = read_receipt(tmp_path / "data" / "records" / "s0000-0000" / "00000.receipt.json")
    assert [failure.reason for failure in receipt.failures] == ["out-of-memory"] * 4
    assert receipt.how["slots"] == 1
    assert receipt.how["halved"] > 0
    assert verify(tmp_path / "data", sample=0) == []


def records(root: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = latentext.open_dataset(root).records().to_pylist()
    return rows


@pytest.mark.parametrize("words", ["CUDA error: out of memory", "CUBLAS_STATUS_ALLOC_FAILED when calling x"])
def test_what_drivers_say_of_memory_is_understood(
    words: str, spec: Spec, tmp_path: Path, engine: TransformersEngine
) -> None:
    met: list[int] = []

    def once(ids: torch.Tensor, embeddings: torch.Tensor) -> None:
        if not met:
            met.append(len(ids))
            raise RuntimeError(words)

    with troubled(engine, once):
        summary = make_dataset(spec, tmp_path / "data", engine=engine)
    assert (summary.accepted, summary.failed) == (8, 0)
    assert met == [2]
