"""The stage that writes texts: one shard of requests becomes records and, in flight, states.

Order of the commit: states and records are on disk under their final names, then the receipt of the states, then the
receipt of the records. A run killed in between finds a shard without the records' receipt and computes all of it again,
which gives the same bytes; states in flight are never left to a later replay, whose last bits would differ. Ctrl-C and
SIGTERM wait until the commit is whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from latentext.dataset import layout
from latentext.dataset.receipts import FileEntry, Receipt, read_receipt
from latentext.dataset.records import SPARED, count_records, read_records, write_records
from latentext.dataset.restoring import completions_of, states_of
from latentext.dataset.stages import StatesStage
from latentext.dataset.states import StatesWriter
from latentext.engines.engine import Capture, Engine, Generated, OutOfMemory
from latentext.errors import DatasetError
from latentext.plan import Plan, Shard
from latentext.request import Completion, Failure, Request, StateRows
from latentext.run.captures import has_own_dtype, states_spec
from latentext.run.finished import commit, finished
from latentext.run.server_prompts import refuse_other_prompt
from latentext.run.twins import aligned_twins
from latentext.run.under_way import Advance, UnderWay
from latentext.spec import Spec
from latentext.states.finite import nonfinite_states
from latentext.states.rows import row_positions
from latentext.storage import filesystem
from latentext.storage.interrupts import interrupts_put_off


@dataclass(frozen=True)
class Generation:
    """The stage: where it writes, and the capture that goes with it."""

    root: Path
    spec: Spec
    plan: Plan
    samples: range
    stage: str
    capture_stage: str | None = None
    capture: StatesStage | None = None
    is_accepted: Callable[[Completion], bool] | None = None
    """Where samples of a request are drawn until one is accepted: whether this one is."""

    @property
    def first_samples(self) -> range:
        """The samples that are drawn whatever comes of them."""
        return self.samples if self.is_accepted is None else self.samples[:1]

    def done(self, shard: Shard) -> Receipt | None:
        """The records' receipt, if both the records and the states in flight with them are committed."""
        records = finished(self.root, self.stage, shard)
        if records is None or self.capture_stage is None:
            return records
        return None if finished(self.root, self.capture_stage, shard, records) is None else records


@dataclass
class _Written:
    """What a pass over a shard has given so far; `texts` and `tokens` are what `Advance` was told of it."""

    completions: list[Completion]
    failures: list[Failure]
    slots: int
    halvings: int
    states: list[FileEntry] = field(default_factory=list)
    states_failures: list[Failure] = field(default_factory=list)
    texts: int = 0
    tokens: int = 0


@dataclass(frozen=True)
class _Kept:
    """What a committed version of a shard holds: its texts, their states, and the texts whose states failed."""

    completions: Sequence[Completion] = ()
    states: Sequence[StateRows] = ()
    states_failures: Sequence[Failure] = ()


def generate_shard(stage: Generation, shard: Shard, engine: Engine, advance: Advance, *, keep: bool = False) -> Receipt:
    """Write the texts of one shard, and commit them.

    Args:
        keep: keep the texts that a committed version of this shard holds and write only those that failed.
    """
    requests, bad_rows = stage.plan.requests(shard)
    if stage.spec.prompts.pairs is not None:
        requests, unfit = aligned_twins(requests)
        bad_rows += unfit
    failures = [Failure(b.index, s, b.reason, b.message) for b in bad_rows for s in stage.first_samples]
    kept = _kept(stage, shard) if keep else _Kept()
    advance(len(failures) + len(kept.completions), 0)
    with ExitStack() as until_committed:
        written = _write(stage, shard, engine, requests, kept, advance, until_committed)
        written.failures += failures
        receipt = _commit(stage, shard, engine.name, requests, written)
    engine.committed(requests, stage.samples)
    return receipt


def _commit(
    stage: Generation, shard: Shard, engine_name: str, requests: Sequence[Request], written: _Written
) -> Receipt:
    """Write the records, and the receipts of states and records."""
    records = write_records(stage.root / stage.stage / layout.table_name(shard.number), requests, written.completions)
    how = {"engine": engine_name, "slots": written.slots, "halved": written.halvings}
    if stage.capture_stage is not None:
        commit(
            stage.root,
            stage.capture_stage,
            shard,
            files=written.states,
            upstream={f"{stage.stage}/{records.name}": records.sha256},
            how=how,
            counts={"texts": len(written.completions) - len(written.states_failures)},
            failures=written.states_failures,
        )
    counts = count_records(len(shard) * len(stage.samples), requests, written.completions, written.failures)
    if stage.is_accepted is not None:
        drawn = counts["accepted"] + counts["failed"]
        counts |= {"planned": drawn, SPARED: counts["planned"] - drawn}
    failures = written.failures
    return commit(stage.root, stage.stage, shard, files=[records], how=how, counts=counts, failures=failures)


def _write(
    stage: Generation,
    shard: Shard,
    engine: Engine,
    requests: Sequence[Request],
    kept: _Kept,
    advance: Advance,
    until_committed: ExitStack,
) -> _Written:
    """Generate with the engine's batch, halved as often as memory asks; from the first final name on until
    `until_committed` is left, interrupts wait."""
    slots, halvings = engine.slots_for(requests, stage.spec.decoding), 0
    while True:
        written = _Written(list(kept.completions), [], slots, halvings, states_failures=list(kept.states_failures))
        try:
            _write_once(stage, shard, engine, requests, kept.states, written, advance, until_committed)
        except OutOfMemory:
            advance(-written.texts, -written.tokens)
            slots, halvings = slots // 2, halvings + 1
            continue
        return written


def _write_once(
    stage: Generation,
    shard: Shard,
    engine: Engine,
    requests: Sequence[Request],
    kept_states: Sequence[StateRows],
    written: _Written,
    advance: Advance,
    until_committed: ExitStack,
) -> None:
    writer = _states_writer(stage, shard, behind=engine.shards_in_flight > 1)
    prompts = {r.index: r for r in requests}
    capture = Capture(states_spec(stage.capture), stage.capture.sites) if stage.capture else None
    under_way = UnderWay(advance)
    try:
        for rows in kept_states:
            writer.add(rows)
        for samples, group in _asked(stage, requests, written):
            decoding = stage.spec.decoding.at(group[0].temperature)
            results = engine.generate(
                group,
                samples,
                decoding,
                stage.spec.seed,
                capture=capture,
                slots=written.slots,
                under_way=under_way.reached,
            )
            # Closed at once when something fails: an engine in the middle of a batch has hooks in the model.
            with closing(results):
                for result in results:
                    if stage.spec.states is not None and isinstance(result, Generated):
                        refuse_other_prompt(stage.spec, prompts[result.completion.index], result.completion)
                    tokens = _take(result, written, writer, prompts, stage.capture, has_own_dtype(stage.spec))
                    # Texts are counted as they were planned: what is drawn again is one text still.
                    texts = int(stage.is_accepted is None or samples.start == stage.samples.start)
                    written.texts, written.tokens = written.texts + texts, written.tokens + tokens
                    under_way.finished(texts, tokens)
        writer.finish()
        under_way.end()
        until_committed.enter_context(interrupts_put_off())
        if stage.capture is not None:
            written.states = writer.close()
    except BaseException as error:
        writer.abort()
        if isinstance(error, Exception):  # Else the run is interrupted, and says how much was under way.
            under_way.end()
        raise


def _take(
    result: Generated | Failure,
    written: _Written,
    writer: StatesWriter,
    prompts: Mapping[int, Request],
    capture: StatesStage | None,
    own_dtype: bool,
) -> int:
    """Keep what the engine gave for one text; returns how many tokens were generated."""
    if isinstance(result, Failure):
        written.failures.append(result)
        return 0
    written.completions.append(result.completion)
    if capture is not None:
        rows = _asserted(result, prompts[result.completion.index], capture)
        if (failure := nonfinite_states(rows, narrowed=own_dtype)) is None:
            writer.add(rows)
        else:  # The text is whole all the same.
            written.states_failures.append(failure)
    usage = result.completion.usage
    return len(result.completion.token_ids) if usage is None else usage.completion_tokens


def _asked(
    stage: Generation, requests: Sequence[Request], written: _Written
) -> Iterator[tuple[range, Sequence[Request]]]:
    """What to ask of the engine, in turn.

    Where samples are drawn until one is accepted, the next sample of the requests that have none yet: known only when
    the answers before have come, so the groups are made as they are asked for.
    """
    have = {(c.index, c.sample) for c in written.completions}
    if stage.is_accepted is None:
        yield from _wanted(requests, stage.samples, have)
        return
    accepted: dict[tuple[int, int], bool] = {}
    for sample in stage.samples:
        for completion in written.completions:
            place = (completion.index, completion.sample)
            if place not in accepted:
                accepted[place] = stage.is_accepted(completion)
        settled = {index for (index, _), is_accepted in accepted.items() if is_accepted}
        settled |= {failure.index for failure in written.failures}
        waiting = [request for request in requests if request.index not in settled]
        yield from _wanted(waiting, range(sample, sample + 1), have)


def _wanted(
    requests: Sequence[Request], samples: range, have: set[tuple[int, int]]
) -> list[tuple[range, Sequence[Request]]]:
    """What to ask of the engine: everything of one temperature at once, or sample by sample where some are kept."""
    groups: list[tuple[range, Sequence[Request]]] = []
    for temperature in dict.fromkeys(request.temperature for request in requests):
        here = [request for request in requests if request.temperature == temperature]
        if not have:
            groups.append((samples, here))
        else:
            groups += [(range(s, s + 1), [r for r in here if (r.index, s) not in have]) for s in samples]
    return [(sample, group) for sample, group in groups if group]


def _states_writer(stage: Generation, shard: Shard, *, behind: bool) -> StatesWriter:
    widths = stage.capture.widths if stage.capture else {}
    dtype = getattr(torch, stage.capture.dtype) if stage.capture else torch.float32
    folder = stage.root / (stage.capture_stage or stage.stage)
    filesystem.make_folder(folder)
    filesystem.make_folder(stage.root / stage.stage)
    return StatesWriter(folder, shard.number, widths, dtype, behind=behind and stage.capture is not None)


def _asserted(result: Generated, request: Request, capture: StatesStage) -> StateRows:
    """The states of a text, once their labels agree with its token ids: what is committed was checked."""
    rows, completion = result.states, result.completion
    where = f"states of request {completion.index}, sample {completion.sample}"
    if rows is None:
        raise DatasetError("the engine gave no states", where=where)
    positions = "generated" if capture.pooled else capture.positions
    expected = row_positions(positions, len(request.prompt_token_ids), len(completion.token_ids))
    if capture.pooled:
        expected = expected[-1:]
    text = np.asarray([*request.prompt_token_ids, *completion.token_ids], dtype=np.int32)
    if rows.position.tolist() != list(expected) or not np.array_equal(rows.token_id, text[rows.position + 1]):
        raise DatasetError("rows do not agree with the token ids", where=where, remedy="please report this")
    return rows


def _kept(stage: Generation, shard: Shard) -> _Kept:
    completions = completions_of(read_records([stage.root / stage.stage / layout.table_name(shard.number)]))
    if stage.capture_stage is None or stage.capture is None:
        return _Kept(completions)
    states = list(states_of(stage.root, stage.capture_stage, shard.number, tuple(stage.capture.widths)))
    receipt = read_receipt(stage.root / stage.capture_stage / layout.receipt_name(shard.number))
    failures = [Failure(**failure.model_dump()) for failure in receipt.failures]
    return _Kept(completions, states, failures)
