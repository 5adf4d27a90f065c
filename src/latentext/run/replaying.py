"""The stage that reads the states of texts that exist: one shard of records becomes states."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

import torch

from latentext.dataset import layout
from latentext.dataset.receipts import FileEntry, Receipt, read_receipt
from latentext.dataset.records import read_records
from latentext.dataset.restoring import completions_of, requests_of
from latentext.dataset.stages import StatesStage, write_stage
from latentext.dataset.states import StatesWriter
from latentext.engines.engine import OutOfMemory
from latentext.engines.transformers.memory import memory_errors
from latentext.plan import Shard
from latentext.request import Completion, Failure, Request, StateRows
from latentext.run.captures import has_own_dtype, states_spec
from latentext.run.finished import commit, finished
from latentext.run.server_prompts import refuse_other_prompts
from latentext.run.under_way import Advance
from latentext.spec import Spec
from latentext.states.finite import nonfinite_states
from latentext.states.layout import ModelLayout
from latentext.states.replay import REPLAY_TOKENS, WrittenText, replay
from latentext.storage import filesystem
from latentext.storage.interrupts import interrupts_put_off


@dataclass(frozen=True)
class Replay:
    """The stage: which records it reads and which capture it writes."""

    root: Path
    records_stage: str
    stage: str
    capture: StatesStage
    spec: Spec

    def done(self, shard: Shard) -> Receipt | None:
        """The capture's receipt, if it is committed and made from the present records."""
        return finished(self.root, self.stage, shard)

    def ready(self, shard: Shard) -> bool:
        """Whether the texts are committed."""
        return finished(self.root, self.records_stage, shard) is not None


def written_texts(root: Path, records_stage: str, shard_number: int) -> list[WrittenText]:
    """The texts of a shard as replay wants them."""
    return _as_replayed(_texts_of(root, records_stage, shard_number))


def _texts_of(root: Path, records_stage: str, shard_number: int) -> list[tuple[Request, Completion]]:
    table = read_records([root / records_stage / layout.table_name(shard_number)])
    return list(zip(requests_of(table), completions_of(table), strict=True))


def _as_replayed(texts: Iterable[tuple[Request, Completion]]) -> list[WrittenText]:
    return [WrittenText(c.index, c.sample, r.prompt_token_ids, c.token_ids, c.entropies) for r, c in texts]


def _remove_if_empty(folder: Path) -> None:
    """A capture that failed before its first shard leaves no folder."""
    with suppress(OSError):
        folder.rmdir()


@dataclass
class _Read:
    """What one attempt at a shard gave: the files of its states, and the texts that have none."""

    files: list[FileEntry]
    failures: list[Failure]


def replay_shard(stage: Replay, shard: Shard, model_layout: ModelLayout, advance: Advance) -> Receipt:
    """Capture the states of one shard's texts, and commit them.

    If memory is short, the shard is begun again with passes of half as many tokens, down to one text a pass; a text
    that does not even fit alone, or whose states are not finite, is recorded as failed, and the others go on.
    """
    records = read_receipt(stage.root / stage.records_stage / layout.receipt_name(shard.number))
    written = _texts_of(stage.root, stage.records_stage, shard.number)
    refuse_other_prompts(stage.spec, written)
    texts = _as_replayed(written)
    filesystem.make_folder(stage.root / stage.stage)
    tokens, halvings = REPLAY_TOKENS, 0
    with ExitStack() as until_committed:
        until_committed.callback(_remove_if_empty, stage.root / stage.stage)
        while (read := _read(stage, shard, texts, model_layout, tokens, advance, until_committed)) is None:
            tokens, halvings = tokens // 2, halvings + 1
        return commit(
            stage.root,
            stage.stage,
            shard,
            files=read.files,
            upstream={f"{stage.records_stage}/{file.name}": file.sha256 for file in records.files},
            how={"engine": "replay", **({"halved": halvings} if halvings else {})},
            counts={"texts": len(texts) - len(read.failures)},
            failures=read.failures,
        )


def _read(
    stage: Replay,
    shard: Shard,
    texts: Sequence[WrittenText],
    model_layout: ModelLayout,
    tokens_per_pass: int,
    advance: Advance,
    until_committed: ExitStack,
) -> _Read | None:
    """Read a shard's states with passes of so many tokens; None if memory was short and fewer may do.

    From the first final name on until `until_committed` is left, interrupts wait.
    """
    dtype = getattr(torch, stage.capture.dtype)
    behind = next(model_layout.base.parameters()).is_cuda
    writer = StatesWriter(stage.root / stage.stage, shard.number, stage.capture.widths, dtype, behind=behind)
    alone = tokens_per_pass <= max((text.length for text in texts), default=0)
    failures: list[Failure] = []
    done = 0
    try:
        # Longest first, as within a pass, since the order decides which texts share a file.
        for group in [[text] for text in sorted(texts, key=lambda t: -t.length)] if alone else [texts]:
            try:
                with memory_errors():
                    for rows in _rows(stage, group, model_layout, tokens_per_pass):
                        if (failure := nonfinite_states(rows, narrowed=has_own_dtype(stage.spec))) is None:
                            writer.add(rows)
                        else:
                            failures.append(failure)
                        done += 1
                        advance(1, 0)
            except OutOfMemory as error:
                if not alone:
                    writer.abort()
                    advance(-done, 0)
                    return None
                failures.append(Failure(group[0].index, group[0].sample, "out-of-memory", str(error)))
                done += 1
                advance(1, 0)
        writer.finish()
        until_committed.enter_context(interrupts_put_off())
        write_stage(stage.root, stage.stage, stage.capture)
        return _Read(writer.close(), failures)
    except BaseException:
        writer.abort()
        raise


def _rows(
    stage: Replay, texts: Sequence[WrittenText], model_layout: ModelLayout, tokens_per_pass: int
) -> Iterator[StateRows]:
    states, dtype = states_spec(stage.capture), getattr(torch, stage.capture.dtype)
    return replay(model_layout, texts, states, stage.capture.sites, dtype=dtype, tokens_per_pass=tokens_per_pass)
