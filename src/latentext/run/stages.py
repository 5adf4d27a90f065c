"""The stages of a run, in an order in which each finds what it reads.

Each is decided on when its turn comes, by what is on disk by then: samples that exist, captures that were begun.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from latentext.dataset import layout
from latentext.dataset.captures import sites_in_words
from latentext.dataset.documents import read_spec
from latentext.dataset.receipts import Receipt, read_receipt
from latentext.dataset.records import UNCOUNTED
from latentext.dataset.stages import StatesStage
from latentext.engines.engine import Engine
from latentext.engines.given import GivenTexts
from latentext.engines.vllm.support import can_extract
from latentext.errors import DatasetError
from latentext.plan import Shard
from latentext.prompts.token_text import loses_opening_space
from latentext.run.captures import (
    all_states_specs,
    covered,
    declare,
    declared_captures,
    inflight_capture,
    missing_capture,
)
from latentext.run.generating import Generation, generate_shard
from latentext.run.replaying import Replay, replay_shard
from latentext.run.rewarding import chosen_rewards
from latentext.run.scoring import check_work, length_work, reward_works, text_judge
from latentext.run.server_prompts import not_compared
from latentext.run.under_way import Advance
from latentext.run.work import Work
from latentext.run.workspace import Workspace
from latentext.spec import Spec, StatesSpec


def all_works(workspace: Workspace, retry_failed: bool, *, generate: bool = True) -> Iterator[Work]:
    """Texts, states and scores; without `generate` the scores alone, of the texts that are there."""
    spec = read_spec(workspace.root)  # It also has the check of earlier runs.
    rewards = chosen_rewards(workspace)
    if generate:
        yield from text_works(workspace, workspace.spec.states, retry_failed)
    ranges = sample_ranges(workspace.root, 0)
    if spec.length is not None:
        yield from (length_work(workspace, spec.length, samples, retry_failed) for samples in ranges)
    if spec.check is not None:
        yield from (check_work(workspace, spec.check, samples, retry_failed) for samples in ranges)
    for reward in rewards:
        yield from reward_works(workspace, reward, ranges, retry_failed)


def text_works(
    workspace: Workspace, states: StatesSpec | None, retry_failed: bool = False, *, generate: bool = True
) -> Iterator[Work]:
    """Texts with the states that are read in flight, and then states that are replayed.

    All texts come first: an engine of its own can then give its memory back to the model that replays them. Captures
    that some earlier command began, and that never worked, come last and hold nothing up.
    """
    ranges = sample_ranges(workspace.root, workspace.spec.decoding.n if generate else 0)
    declared = {}
    for samples in ranges:
        declared[samples] = captures = _declare_missing(workspace, states, samples)
        if generate:
            yield _generation(workspace, samples, captures, retry_failed)
    replays = [
        (_is_asked(workspace, states, name, capture), samples, name, capture)
        for samples, captures in declared.items()
        for name, capture in captures.items()
        if capture.how == "replay"
    ]
    for asked, samples, name, capture in sorted(replays, key=lambda replayed: not replayed[0]):
        work = _replay(workspace, layout.records_folder(samples), name, capture, retry_failed)
        yield replace(work, asked=asked)


def _is_asked(workspace: Workspace, states: StatesSpec | None, name: str, capture: StatesStage) -> bool:
    """Whether a capture is wanted now, or has worked before; else some earlier command only began it."""
    if not (workspace.root / name / layout.STAGE).exists() or layout.list_shards(workspace.root, name):
        return True
    return states is not None and covered(states, {name: capture}, workspace.state_dtype(states.dtype))


def _declare_missing(workspace: Workspace, states: StatesSpec | None, samples: range) -> dict[str, StatesStage]:
    """The captures of these samples: what the spec asks, and what earlier samples have, so that a dataset is even."""
    captures = declared_captures(workspace.root, samples)
    texts_exist = (workspace.root / layout.records_folder(samples)).exists()
    for wanted in filter(None, [states, *all_states_specs(workspace.root)]):
        dtype = workspace.state_dtype(wanted.dtype)
        if covered(wanted, captures, dtype):
            continue
        shape = workspace.states_shape
        missing = missing_capture(
            wanted,
            captures,
            samples,
            shape=shape,
            dtype=dtype,
            replay_only=texts_exist
            or inflight_capture(captures) is not None
            or not reads_in_flight(workspace.spec, wanted, shape.num_blocks),
            settings=workspace.settings,
        )
        if missing is not None:
            captures[declare(workspace.root, missing)] = missing
    return captures


def reads_in_flight(spec: Spec, states: StatesSpec, num_blocks: int) -> bool:
    """Whether the spec's engine gives these states while it writes."""
    if spec.decoding.given:
        return False
    return spec.model.engine == "transformers" or can_extract(spec.model, spec.decoding, states, num_blocks)


def sample_ranges(root: Path, samples: int) -> list[range]:
    """The ranges of samples that have or get a records folder: those that exist, then what is missing up to
    `samples`."""
    ranges = [layout.samples_of(stage) for stage in layout.list_stages(root, "records")]
    have = max((r.stop for r in ranges), default=0)
    return ranges if samples <= have else [*ranges, range(have, samples)]


def _generation(workspace: Workspace, samples: range, captures: dict[str, StatesStage], retry_failed: bool) -> Work:
    inflight = inflight_capture(captures)
    stage = Generation(
        workspace.root,
        workspace.spec,
        workspace.plan,
        samples,
        layout.records_folder(samples),
        inflight[0] if inflight else None,
        inflight[1] if inflight else None,
        text_judge(workspace.spec),
    )
    retried: set[int] = set()

    def done(shard: Shard) -> Receipt | None:
        receipt = stage.done(shard)
        return None if retry_failed and receipt and receipt.failures and shard.number not in retried else receipt

    def compute(shard: Shard, advance: Advance) -> Receipt:
        retried.add(shard.number)
        _refuse_lost_spaces(workspace)
        return generate_shard(stage, shard, writer(), advance, keep=stage.done(shard) is not None)

    def writer() -> Engine:
        return GivenTexts(workspace.model) if workspace.spec.decoding.given else workspace.engine

    return Work(
        stage.stage,
        "texts",
        len(stage.first_samples),
        done,
        compute,
        shards_in_flight=lambda: writer().shards_in_flight,
    )


def _refuse_lost_spaces(workspace: Workspace) -> None:
    """Texts of 0.1.0 lack the space before the answer where the tokenizer loses it; no more are added to such a
    dataset, which would then hold both kinds.

    Raises:
        DatasetError: the dataset was begun by 0.1.0, and its tokenizer is of that kind.
    """
    spec, tokenizer = workspace.spec, workspace.facts.tokenizer
    begun_by = workspace.provenance.versions.get("latentext", "")
    if spec.model.remote or spec.decoding.given or tokenizer is None or not begun_by.startswith("0.1."):
        return
    if loses_opening_space(tokenizer):
        raise DatasetError(
            f"begun by latentext {begun_by}, whose texts lack the space before the answer with this tokenizer",
            where=str(workspace.root),
            remedy=f"go on with latentext {begun_by}, or begin again with --fresh",
        )


def _replay(workspace: Workspace, records_stage: str, name: str, capture: StatesStage, retry_failed: bool) -> Work:
    stage = Replay(workspace.root, records_stage, name, capture, workspace.spec)
    texts = capture.samples[1] - capture.samples[0]
    retried: set[int] = set()

    def done(shard: Shard) -> Receipt | None:
        receipt = stage.done(shard)
        return None if retry_failed and receipt and receipt.failures and shard.number not in retried else receipt

    def compute(shard: Shard, advance: Advance) -> Receipt:
        retried.add(shard.number)
        return replay_shard(stage, shard, workspace.model.layout, advance)

    return Work(
        name,
        f"states of {sites_in_words(capture)}",
        texts,
        done,
        compute,
        stage.ready,
        shards_in_flight=lambda: workspace.model.shards_in_flight,
        remark=lambda: _not_compared(workspace, records_stage),
    )


def _not_compared(workspace: Workspace, records_stage: str) -> str | None:
    folder = workspace.root / records_stage
    shards = layout.list_shards(workspace.root, records_stage)
    counts = [read_receipt(folder / layout.receipt_name(number)).counts for number in shards]
    uncounted = sum(count.get(UNCOUNTED, 0) for count in counts)
    return not_compared(workspace.spec, uncounted, sum(count["accepted"] for count in counts))
