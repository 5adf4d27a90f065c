"""Pairs from a model: ask, validate, learn from what failed, ask again, until there are enough.

Each round is a run of the same spec over a file of chats that grew (`checkpoint`), so the engine, the journal, budgets,
receipts and resumption are those of every other run, and any engine will do. What follows from the answers (which pairs
count, what the next round asks) is computed anew each time and stored nowhere.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

from latentext.engines.engine import Engine
from latentext.engines.opening import model_facts, open_engine, refuse_unsupported
from latentext.errors import BudgetError, EngineError, LatentextError
from latentext.request import Message
from latentext.run.progress import NoProgress, Progress
from latentext.run.runner import make_dataset
from latentext.spec import Decoding, ModelSpec, Spec
from latentext.spec.limits import Limits
from latentext.studies.pairs import PairTask, PairTokenizer
from latentext.studies.pairs.checkpoint import Checkpoint, settings_of
from latentext.studies.pairs.proposing import PROPOSAL_DECODING, Harvest
from latentext.studies.pairs.rounds import MINIMUM_YIELD, Round, next_round, recent_yield, round_chats

_SHARD_SIZE = 16


@dataclass(frozen=True)
class Proposals:
    """What is asked for.

    Attributes:
        task: with its instructions, examples and forms.
        tokenizers: every pair is one differing token under each of them.
        target: scenarios wanted.
        model: who proposes, through whichever engine.
        decoding: of a reply.
        seed: decides topics, words and draws.
        pairs_each: pairs asked for in a request; the task's ``batch_size`` by default.
        minimum_yield: valid new pairs of those asked for, under which a run ends.
    """

    task: PairTask
    tokenizers: Sequence[PairTokenizer]
    target: int
    model: ModelSpec
    decoding: Decoding = PROPOSAL_DECODING
    seed: int = 0
    pairs_each: int | None = None
    minimum_yield: float = MINIMUM_YIELD

    @property
    def pairs_a_request(self) -> int:
        """Pairs asked for in one request."""
        return self.pairs_each or self.task.batch_size


@dataclass(frozen=True)
class Outcome:
    """What came of a run; `stopped` is why it ended before the target, None if it did not."""

    harvest: Harvest
    history: Sequence[Round] = field(repr=False)
    stopped: LatentextError | None = None


OnRound = Callable[[Harvest, Sequence[Round]], None]
"""Told of all that is there after each round."""


def propose_pairs(
    proposals: Proposals,
    checkpoint: Checkpoint,
    *,
    limits: Limits | None = None,
    journal: Path | None = None,
    retry_failed: bool = False,
    progress: Progress | None = None,
    on_round: OnRound | None = None,
) -> Outcome:
    """Propose until there are as many scenarios as wanted, a cap is reached, or the yield stays under the floor.

    Args:
        checkpoint: where requests and answers are kept; the same call on it goes on where the last one ended.
        limits: hard caps, for engines that cost money.
        journal: see `latentext.run.runner.make_dataset`.
        retry_failed: ask again where a request failed.

    Raises:
        LatentextError: no request of a round was answered, the key was refused, and so on; what was answered stays.

    Example:
        >>> proposals = Proposals(task, tokenizers, 10, ModelSpec(name="tiny"))            # doctest: +SKIP
        >>> outcome = propose_pairs(proposals, Checkpoint(Path("pairs.checkpoint")))       # doctest: +SKIP
    """
    asked_for = settings_of(proposals.task, proposals.tokenizers, proposals.seed, proposals.pairs_a_request)
    refuse_unsupported(proposals.model, proposals.decoding, limits)  # Before a folder is made.
    checkpoint.begin(asked_for)
    harvest, history = Harvest(proposals.task, proposals.tokenizers, proposals.target), list[Round]()
    with _engine_in_memory(proposals.model) as engine:
        while True:
            rounds = checkpoint.rounds()
            if rounds:
                try:
                    make_dataset(
                        _spec(proposals, checkpoint),
                        checkpoint.answers,
                        retry_failed=retry_failed,
                        progress=progress or NoProgress(),
                        engine=engine,
                        limits=limits,
                        journal=journal,
                    )
                except BudgetError as error:
                    _take(proposals, checkpoint, rounds[len(history) :], harvest, history, complete=False)
                    return Outcome(harvest, history, error)
                retry_failed = False
            _take(proposals, checkpoint, rounds[len(history) :], harvest, history)
            if on_round is not None and history:
                on_round(harvest, history)
            if harvest.complete:
                return Outcome(harvest, history)
            if (stopped := _fruitless(proposals, harvest, history)) is not None:
                return Outcome(harvest, history, stopped)
            checkpoint.add_round(len(rounds), _next_chats(proposals, harvest, history, rounds))


def _spec(proposals: Proposals, checkpoint: Checkpoint) -> Spec:
    return Spec.model_validate(
        {
            "name": f"{proposals.task.task_name}-proposals",
            "description": f"Requests for pairs of the task {proposals.task.task_name}, and the replies",
            "seed": proposals.seed,
            "model": proposals.model.model_dump(),
            "prompts": {"file": str(checkpoint.requests.resolve())},
            "decoding": proposals.decoding.model_dump(),
            "shard_size": _SHARD_SIZE,
        }
    )


def _take(
    proposals: Proposals,
    checkpoint: Checkpoint,
    rounds: Sequence[range],
    harvest: Harvest,
    history: list[Round],
    *,
    complete: bool = True,
) -> None:
    """Add the answers of rounds that were not looked at yet."""
    for requests in rounds:
        answers = checkpoint.read_answers(requests, all_of_them=complete)
        if answers and all(answer.failed for answer in answers):
            raise EngineError(
                f"none of the {len(answers)} requests of round {len(history) + 1} was answered: "
                f"{answers[0].finish_reason}",
                where=str(checkpoint.answers / "failures.jsonl"),
                remedy="mend the cause, then give the same command with --retry-failed",
            )
        history.append(Round(len(answers), proposals.pairs_a_request, harvest.take(answers)))


def _fruitless(proposals: Proposals, harvest: Harvest, history: Sequence[Round]) -> EngineError | None:
    found = recent_yield(history)
    if found is None or found >= proposals.minimum_yield:
        return None
    return EngineError(
        f"the newest rounds gave {found:.1%} valid new pairs of those asked for, under the floor of "
        f"{proposals.minimum_yield:.1%}: {len(harvest.scenarios):,} of {proposals.target:,} scenarios",
        where=f"model {proposals.model.name}",
        remedy="take another model, fewer tokenizers or a lower --min-yield; the same command then goes on",
    )


def _next_chats(
    proposals: Proposals, harvest: Harvest, history: Sequence[Round], rounds: Sequence[range]
) -> list[Sequence[Message]]:
    first, each = rounds[-1].stop if rounds else 0, proposals.pairs_a_request
    count = next_round(history, len(harvest.scenarios), proposals.target, each)
    return round_chats(proposals.task, harvest, range(first, first + count), seed=proposals.seed, pairs_each=each)


def _engine_in_memory(model: ModelSpec) -> closing[Engine] | nullcontext[None]:
    """The engine, opened once for all rounds where it holds weights; engines of servers are opened by each run."""
    if model.remote:
        return nullcontext()
    return closing(open_engine(model, model_facts(model).tokenizer))
