"""The stage that gives numbers to texts that exist: rewards, and the check of a spec.

Both judge records alone, so they can be added at any time and touch nothing that is there. A reward's model is loaded
when the first shard needs it and is gone before the next reward's. A number that is not finite is recorded as that
text's failure: silently it would spoil every mean, and as an error it would cost all the others.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

from latentext.dataset import layout
from latentext.dataset.checks import LENGTH, LENGTH_VERSION, REPETITION, check_settings, length_settings
from latentext.dataset.receipts import Receipt, read_receipt
from latentext.dataset.records import read_records
from latentext.dataset.scores import write_scores
from latentext.dataset.stages import ScoresStage, write_stage
from latentext.plan import Shard
from latentext.prompts.before import begun_by_first
from latentext.request import Completion, Failure
from latentext.rewards import Reward, candidates_of, load_scorer, score_name, text_length
from latentext.rewards.encoding import RewardModel, reward_model_from
from latentext.rewards.entries import PerplexityReward
from latentext.rewards.repetition import COLUMNS, measure_repetitions, tally_repetitions
from latentext.rewards.scoring import Scorer
from latentext.run.finished import commit, finished
from latentext.run.rewarding import ChosenReward, adopt
from latentext.run.under_way import Advance
from latentext.run.work import Work
from latentext.run.workspace import Workspace
from latentext.spec import CheckSpec, LengthSpec, Spec
from latentext.storage.interrupts import interrupts_put_off

Record = Mapping[str, Any]
Measured = Mapping[str, float] | str
"""The numbers of one text by column, or in words why it has none."""
Measure = Callable[[Sequence[Record]], Sequence[Measured]]
Tally = Callable[[Sequence[Record], Sequence[Measured]], Mapping[str, int]]

SCORE = "score"
"""The column of a reward's one number."""


@dataclass(frozen=True)
class Scoring:
    """The stage: which records it reads, what it declares, and how it measures."""

    root: Path
    records_stage: str
    stage: str
    declared: ScoresStage
    measure: Measure
    tally: Tally

    def done(self, shard: Shard) -> Receipt | None:
        """The receipt of the scores, if they are committed and made from the present records."""
        return finished(self.root, self.stage, shard)

    def ready(self, shard: Shard) -> bool:
        """Whether the texts are committed."""
        return finished(self.root, self.records_stage, shard) is not None


def score_shard(stage: Scoring, shard: Shard, advance: Advance) -> Receipt:
    """Measure the texts of one shard, and commit the numbers."""
    upstream = read_receipt(stage.root / stage.records_stage / layout.receipt_name(shard.number))
    records = read_records([stage.root / stage.records_stage / layout.table_name(shard.number)]).to_pylist()
    measured = [_finite(found) for found in stage.measure(records)]
    failures = [
        Failure(record["index"], record["sample"], "no-score", f"{stage.declared.reward}: {found}")
        for record, found in zip(records, measured, strict=True)
        if isinstance(found, str)
    ]
    with interrupts_put_off():
        # What cannot be measured must not stand there as a reward that the dataset has.
        write_stage(stage.root, stage.stage, stage.declared)
        file = write_scores(
            stage.root / stage.stage / layout.table_name(shard.number),
            [record["index"] for record in records],
            [record["sample"] for record in records],
            {c: [None if isinstance(m, str) else m[c] for m in measured] for c in stage.declared.columns},
        )
        receipt = commit(
            stage.root,
            stage.stage,
            shard,
            files=[file],
            upstream={f"{stage.records_stage}/{entry.name}": entry.sha256 for entry in upstream.files},
            counts={
                "texts": len(records) - len(failures),
                "failed": len(failures),
                **dict(sorted(stage.tally(records, measured).items())),
            },
            failures=failures,
        )
    advance(len(records), 0)
    return receipt


def check_work(workspace: Workspace, check: CheckSpec, samples: range, retry_failed: bool) -> Work:
    """The spec's check over these samples."""
    declared = ScoresStage(
        reward=REPETITION, samples=(samples.start, samples.stop), columns=COLUMNS, settings=check_settings(check)
    )

    def measure(records: Sequence[Record]) -> Sequence[Measured]:
        return measure_repetitions(check.repetition, records)

    return _work(workspace, declared, measure, tally_repetitions, retry_failed)


def length_work(workspace: Workspace, length: LengthSpec, samples: range, retry_failed: bool) -> Work:
    """The lengths of these samples, and whether they are legal; of datasets of 0.1.0 by its version of them."""
    version = 1 if begun_by_first(workspace.provenance.versions.get("latentext")) else LENGTH_VERSION
    declared = ScoresStage(
        reward=LENGTH,
        samples=(samples.start, samples.stop),
        columns=text_length.COLUMNS,
        settings=length_settings(length, version),
    )

    def measure(records: Sequence[Record]) -> Sequence[Measured]:
        return text_length.measure_lengths(length, ((r["text"], r["finish_reason"]) for r in records), version)

    def tally(records: Sequence[Record], measured: Sequence[Measured]) -> Mapping[str, int]:
        return text_length.tally_lengths(length, len(samples), records, measured)

    return _work(workspace, declared, measure, tally, retry_failed)


def text_judge(spec: Spec) -> Callable[[Completion], bool] | None:
    """Whether a text has a legal length, for a spec that draws samples until one has; else None."""
    length = spec.length
    if length is None or not spec.retries:
        return None

    def is_accepted(completion: Completion) -> bool:
        (found,) = text_length.measure_lengths(length, [(completion.text, completion.finish_reason)])
        return found["accepted"] == 1.0

    return is_accepted


def reward_works(
    workspace: Workspace, chosen: ChosenReward, ranges: Sequence[range], retry_failed: bool
) -> Iterator[Work]:
    """A reward over these ranges of samples; its model is loaded once for all of them, on first use."""
    reward = chosen.reward

    @cache
    def scorer() -> Scorer:
        generator = _generator(workspace) if _needs_generator(reward, workspace) else None
        return load_scorer(reward, generator=generator, device=workspace.spec.model.device)

    def measure(records: Sequence[Record]) -> Sequence[Measured]:
        return _score_each_once(scorer(), records)

    for samples in ranges:
        declared = ScoresStage(
            reward=reward.name, samples=(samples.start, samples.stop), columns=(SCORE,), settings=chosen.settings
        )
        work = _work(workspace, declared, measure, lambda records, measured: {}, retry_failed)
        yield replace(work, compute=partial(_compute_and_adopt, workspace, chosen, work.compute), asked=chosen.asked)
        if layout.list_shards(workspace.root, work.name):  # It worked in an earlier run.
            adopt(workspace, chosen)


def _compute_and_adopt(
    workspace: Workspace,
    chosen: ChosenReward,
    compute: Callable[[Shard, Advance], Receipt],
    shard: Shard,
    advance: Advance,
) -> Receipt:
    receipt = compute(shard, advance)
    adopt(workspace, chosen)
    return receipt


def _work(workspace: Workspace, declared: ScoresStage, measure: Measure, tally: Tally, retry_failed: bool) -> Work:
    samples = range(*declared.samples)
    folder = layout.scores_folder(_folder_name(declared))
    stage = Scoring(workspace.root, layout.records_folder(samples), folder, declared, measure, tally)
    retried: set[int] = set()

    def done(shard: Shard) -> Receipt | None:
        receipt = stage.done(shard)
        return None if retry_failed and receipt and receipt.failures and shard.number not in retried else receipt

    def compute(shard: Shard, advance: Advance) -> Receipt:
        retried.add(shard.number)
        return score_shard(stage, shard, advance)

    return Work(folder, f"scores {declared.reward}", len(samples), done, compute, stage.ready)


def _folder_name(declared: ScoresStage) -> str:
    """`score_name`, and the samples where they are not the first: those were added later."""
    name = score_name(declared.reward, declared.settings)
    start, stop = declared.samples
    return name if start == 0 else f"{name}-s{start:04d}-{stop - 1:04d}"


def _score_each_once(scorer: Scorer, records: Sequence[Record]) -> list[Measured]:
    """Score equal candidates once: samples of one prompt are often the same text."""
    candidates = list(candidates_of(records))
    keys = [candidate.key for candidate in candidates]
    distinct = dict(zip(keys, candidates, strict=True))
    scores = dict(zip(distinct, scorer(list(distinct.values())).tolist(), strict=True))
    return [{SCORE: scores[key]} for key in keys]


def _finite(measured: Measured) -> Measured:
    if not isinstance(measured, str):
        for column, value in measured.items():
            if not math.isfinite(value):
                return f"{column} is {value}"
    return measured


def _needs_generator(reward: Reward, workspace: Workspace) -> bool:
    """Recorded log-probabilities are a continuation's perplexity already; then the model is not loaded for it."""
    recorded = workspace.spec.decoding.logprobs
    return isinstance(reward, PerplexityReward) and not (recorded and reward.perplexity == "continuation")


def _generator(workspace: Workspace) -> RewardModel:
    loaded = workspace.model
    return reward_model_from(loaded.model, loaded.tokenizer)
