"""The engine `openai`: a shard of requests to a server that speaks OpenAI's protocol, in real time.

What makes it safe to kill: an answer is yielded only after the journal has it on the disk, and what the journal has is
not asked for again. Several shards are in flight at once, so that the last slow answers of one leave nothing idle.
"""

from __future__ import annotations

import copy
import logging
import threading
from collections.abc import Callable, Generator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from latentext.engines.engine import Capture, Generated
from latentext.engines.server.answer import AnswerText, completion_of, read_kept, without_key
from latentext.engines.server.bounds import worst_case
from latentext.engines.server.budget import Budget, refuse_unpriced
from latentext.engines.server.client import ChatClient
from latentext.engines.server.dataset_name import is_own, name_of
from latentext.engines.server.errors import ApiError, ApiErrorKind
from latentext.engines.server.jobs import Job, Outbox, Result
from latentext.engines.server.journal import Journal
from latentext.engines.server.naming import count_earlier, earlier_answers, request_name
from latentext.engines.server.pace import FIRST_WAIT, Pace
from latentext.engines.server.prices import price_of
from latentext.engines.server.redaction import found_in_answers
from latentext.engines.server.request_body import chat_body, draw_seed, refuse_unsupported
from latentext.engines.server.sender import Sender
from latentext.engines.server.spend import Spend
from latentext.errors import EngineError
from latentext.request import Completion, Failure, Request
from latentext.spec import ApiOptions, Decoding, ModelSpec
from latentext.spec.limits import Limits

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = ["OpenAIEngine", "refuse_unsupported"]

_logger = logging.getLogger(__name__)
_PART = 64
"""Requests that are handed over at a time."""

_REASONS = {
    ApiErrorKind.CONTEXT: "prompt-too-long",
    ApiErrorKind.CONTENT: "content-filter",
    ApiErrorKind.RATE: "rate-limited",
    ApiErrorKind.SERVER: "server-error",
    ApiErrorKind.NETWORK: "network",
    ApiErrorKind.TOO_LARGE: "answer-too-large",
}


class OpenAIEngine:
    """Generation by a server.

    Args:
        journal: the file that keeps answers until their shard is written; made if it is not there.
        limits: what may be spent in all, earlier runs with this journal included.
        tokenizer: of a local model; gives texts their token ids.
        dataset: the directory that the texts are for: answers belong to it (`dataset_name`).
        on_spend: told what was spent so far after every answer, from another thread.
        on_note: told what a person should know of the journal.
        on_wait: told what requests wait for, and None when they do no more; from another thread.
        first_wait: seconds before a second try where the server does not say, doubled with every further one.

    Raises:
        CredentialsError: there is no key for OpenAI's own server.
        SpecError: a cap on money for a model without a price, or a journal on a network file system.
        DatasetError: another process has the journal open.

    Example:
        >>> import tempfile
        >>> from latentext.engines.server.standin import StandIn
        >>> request = Request(0, "a1", {}, [{"role": "user", "content": "Hi"}], "Hi", ())
        >>> with StandIn() as server, tempfile.TemporaryDirectory() as folder:
        ...     model = ModelSpec(name="m", engine="openai", api=ApiOptions(base_url=server.url))
        ...     engine = OpenAIEngine(model, journal=Path(folder, "j"), limits=Limits())
        ...     [made] = engine.generate([request], range(1), Decoding(max_new_tokens=3), 0)
        ...     engine.close()
        >>> len(made.completion.text.split()), made.completion.usage.completion_tokens
        (3, 3)
    """

    name = "openai"
    shards_in_flight = 4

    def __init__(
        self,
        model: ModelSpec,
        *,
        journal: Path,
        limits: Limits,
        tokenizer: PreTrainedTokenizerBase | None = None,
        dataset: Path | None = None,
        on_spend: Callable[[Spend], None] | None = None,
        on_note: Callable[[str], None] | None = None,
        on_wait: Callable[[str | None], None] | None = None,
        first_wait: float = FIRST_WAIT,
    ):
        self._model, options = model, model.api or ApiOptions()
        # A copy, because fast tokenizers refuse to be used from two threads at once and others use the original.
        self._tokenizer, self._encoding = copy.deepcopy(tokenizer), threading.Lock()
        self._price = price_of(model)
        refuse_unpriced(limits, self._price, model.name)
        self._journal = Journal(journal)
        try:
            self._dataset, self._own = name_of(dataset, self._journal), is_own(journal, dataset)
            tell_notes(self._journal, own=self._own, on_note=on_note)
            self._names: dict[tuple[str, int], str] = {}
            self._budget = Budget(self._journal, limits)
            client = ChatClient(options)
            self._redaction = client.redaction
            self._sender = Sender(
                client,
                options,
                model.name,
                self._price,
                self._journal,
                self._budget,
                Pace(
                    options.concurrency, options.requests_per_minute, options.tokens_per_minute, first_wait=first_wait
                ),
                on_spend,
                on_wait,
            )
        except BaseException:
            self._journal.close()
            raise
        if on_spend is not None:
            on_spend(self.spent)

    @property
    def spent(self) -> Spend:
        """What was spent so far, earlier runs included."""
        return self._budget.spent

    def slots_for(self, requests: Sequence[Request], decoding: Decoding) -> int:
        """A server has no batch of ours: the number says nothing but how many requests there are."""
        return max(1, len(requests))

    def generate(
        self,
        requests: Sequence[Request],
        samples: range,
        decoding: Decoding,
        seed: int,
        *,
        capture: Capture | None = None,
        slots: int | None = None,
        under_way: Callable[[int], None] | None = None,
    ) -> Generator[Generated | Failure, None, None]:
        """Ask for all samples of all requests; texts come in the order of their answers, failures last, in order.

        Raises:
            EngineError: states were asked for, which a server does not give; or the engine was closed meanwhile.
            CredentialsError, BudgetError, SpecError: what every further request would meet too.
        """
        if capture is not None:
            raise EngineError("a server gives no states", remedy="read them by replay (states.how: replay)")
        failures: list[Failure] = []
        for made in self._made_of([(r, s) for r in requests for s in samples], decoding, seed):
            if isinstance(made, Failure):
                failures.append(made)
            else:
                yield Generated(made)
        yield from sorted(failures, key=lambda failure: (failure.index, failure.sample))

    def committed(self, requests: Sequence[Request], samples: range) -> None:
        """Let go of what the journal keeps for these texts."""
        places = [(r.key, s) for r in requests for s in samples]
        named = [(name, place[1]) for place in places if (name := self._names.pop(place, None)) is not None]
        self._journal.forget([*named, *(places if self._own else [])])

    def close(self) -> None:
        """End all calls, give answers on their way two seconds to reach the journal, and close both."""
        self._sender.close()
        self._budget.close()
        self._journal.close()
        if found := self._redaction.found:
            _logger.warning("%s", found_in_answers(found))

    def _made_of(
        self, wanted: Sequence[tuple[Request, int]], decoding: Decoding, seed: int
    ) -> Generator[Completion | Failure, None, None]:
        """Take from the journal what it has, ask the server for the rest, and give each text when it is there."""
        outbox, asked, waiting = Outbox(), 0, iter(wanted)
        try:
            # In parts, so that the first are on their way while the others are made ready.
            while part := list(islice(waiting, _PART)):
                jobs = [self._job(r, s, outbox, decoding, seed) for r, s in part if r.messages]
                kept = self._kept(jobs)
                missing = [job for job in jobs if job.name not in kept]
                attempts = self._journal.attempts(job.name for job in missing)
                for job in missing:
                    job.attempt = attempts[job.name]
                self._sender.submit(outbox, missing)
                asked += len(missing)
                for request, sample in part:
                    if not request.messages:
                        yield Failure(request.index, sample, "empty-prompt", "there is no message to send")
                for job in jobs:
                    if (raw := kept.get(job.name)) is not None:
                        # Journals of 0.1.0 may hold a key that a server sent back.
                        text = read_kept(raw, self._redaction)
                        yield self._completion(job, text, decoding)
            for _ in range(asked):
                result = outbox.results.get()
                if isinstance(result, BaseException):
                    raise copy.copy(result)  # Other threads raise the same one.
                yield self._made(result, decoding)
        finally:
            self._sender.withdraw(outbox)

    def _kept(self, jobs: Sequence[Job]) -> dict[str, bytes]:
        """The answers that the journal has, by the names of their requests."""
        named = self._journal.answers((job.name, job.sample) for job in jobs)
        kept = {name: raw for (name, _), raw in named.items()}
        return kept | (earlier_answers(self._journal, {job.place: job.name for job in jobs}) if self._own else {})

    def _job(self, request: Request, sample: int, outbox: Outbox, decoding: Decoding, seed: int) -> Job:
        body = chat_body(self._model, request.messages, decoding, seed=draw_seed(seed, request.key, sample))
        name = request_name(self._dataset, request.key, sample, body)
        self._names[request.key, sample] = name
        return Job(name, sample, body, worst_case(body, self._price), outbox, request)

    def _made(self, result: Result, decoding: Decoding) -> Completion | Failure:
        if result.text is None:
            assert result.error is not None
            return failure_of(result.job.request, result.job.sample, result.error)
        return self._completion(result.job, result.text, decoding)

    def _completion(self, job: Job, text: AnswerText, decoding: Decoding) -> Completion | Failure:
        text = without_key(text, self._redaction)
        with self._encoding:
            made = completion_of(
                job.request, job.sample, text, tokenizer=self._tokenizer, ends_with_eos=not decoding.stop
            )
        if isinstance(made, Failure):  # Asked again, it is another attempt: a server may remember what it said to this.
            self._journal.answered(job.name)
        return made


def tell_notes(journal: Journal, *, own: bool, on_note: Callable[[str], None] | None) -> None:
    """Say what a person should know of a journal: what was taken over from an earlier version, and what is not used."""
    notes = list(journal.notes)
    if not own and (count := count_earlier(journal)):
        notes.append(
            f"{journal.path}: {count:,} answers of version 0.1.0, which did not note whose they are, are not used"
        )
    if on_note is not None:
        for note in notes:
            on_note(note)


def failure_of(request: Request, sample: int, error: ApiError) -> Failure:
    """The failure of a request that met an error which others do not."""
    return Failure(request.index, sample, _REASONS.get(error.kind, error.kind.value), error.message)
