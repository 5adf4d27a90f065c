"""The engine `openai-batch`: a shard of requests becomes a batch of OpenAI's Batch API, for half the price.

Each shard has a folder beside the journal, named by the texts that it asks for, with the request files, the ledger and
what came back; `latentext.engines.batch` keeps it true through any kill. So a run that is started again finds
its batches where it left them: under way, ended, or fetched. Many shards wait at once, each in a thread that sleeps;
answers go through the journal like those of real time, so caps, totals and the price of a text agree.
"""

from __future__ import annotations

import copy
import hashlib
import json
import logging
import threading
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from latentext.engines.batch.accounts import BatchAccounts, Entry
from latentext.engines.batch.clock import Clock, Stopped, stoppable_clock
from latentext.engines.batch.ledger import Ledger, Step, read_ledger
from latentext.engines.batch.limits import BatchLimits
from latentext.engines.batch.polling import waiting_for
from latentext.engines.batch.remote import open_remote
from latentext.engines.batch.request_files import write_named_requests
from latentext.engines.batch.settling import outputs_of
from latentext.engines.batch.workflow import Conditions, run_batches
from latentext.engines.batch.workspace import BatchWorkspace
from latentext.engines.engine import Capture, Generated
from latentext.engines.server.answer import completion_of, read_kept, without_key
from latentext.engines.server.budget import Budget, refuse_unpriced
from latentext.engines.server.dataset_name import is_own, name_of
from latentext.engines.server.engine import failure_of, tell_notes
from latentext.engines.server.journal import Journal
from latentext.engines.server.naming import earlier_answers, request_name, sending_name
from latentext.engines.server.prices import price_of
from latentext.engines.server.redaction import found_in_answers
from latentext.engines.server.request_body import chat_body, draw_seed, refuse_unsupported
from latentext.engines.server.spend import Spend
from latentext.errors import BudgetError, EngineError, SpecError
from latentext.request import Completion, Failure, Request
from latentext.spec import ApiOptions, Decoding, ModelSpec
from latentext.spec.limits import Limits
from latentext.storage import filesystem

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = ["BatchEngine", "refuse_unsupported"]

_logger = logging.getLogger(__name__)
_Place = tuple[str, int]
"""Request key and sample of a text."""


@dataclass(frozen=True)
class _Asked:
    """One text that is asked for: the request as it goes over the wire, and its name."""

    request: Request
    sample: int
    body: dict[str, Any]
    name: str
    attempt: int = 1

    @property
    def place(self) -> _Place:
        return self.request.key, self.sample

    def entry(self, *, earlier: bool) -> Entry:
        """Where the journal keeps its answer."""
        return Entry(*self.place) if earlier else Entry(self.name, self.sample)

    def custom_id(self, *, earlier: bool) -> str:
        """What its line in a batch is called; version 0.1.0 called it by key and sample alone."""
        return f"{self.request.key}-{self.sample}" if earlier else sending_name(self.name, self.attempt)


_LOOK_AGAIN_SECONDS = 30.0


class BatchEngine:
    """Generation by batches.

    Args:
        journal: the file that keeps answers until their shard is written; the folder beside it, with ``.batches`` at
            the end of its name, holds the batches.
        limits: what may be spent in all, earlier runs with this journal included.
        tokenizer: of a local model; gives texts their token ids.
        dataset: the directory that the texts are for: answers belong to it (`dataset_name`).
        on_spend: told what was spent so far after every batch, from another thread.
        on_wait: told what requests wait for, and None when they do no more.
        on_note: told what a person should know of the journal.
        clock: what waits between two looks at a batch.

    Raises:
        CredentialsError: there is no key for OpenAI's own server.
        SpecError: a cap on money for a model without a price, or a journal on a network file system.
        DatasetError: another process has the journal open.
    """

    name = "openai-batch"
    shards_in_flight = 32

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
        clock: Clock | None = None,
    ):
        self._model, options = model, model.api or ApiOptions()
        self._options, self._on_spend, self._on_wait = options, on_spend, on_wait
        # A copy, because fast tokenizers refuse to be used from two threads at once and others use the original.
        self._tokenizer, self._encoding = copy.deepcopy(tokenizer), threading.Lock()
        self._price = price_of(model)
        refuse_unpriced(limits, self._price, model.name)
        self._stop = threading.Event()
        self._clock = clock or stoppable_clock(self._stop)
        self._remote = open_remote(options.base_url, self._clock, timeout=options.timeout)
        self._root = journal.with_name(journal.name + ".batches")
        self._journal = Journal(journal)
        try:
            self._dataset, self._own = name_of(dataset, self._journal), is_own(journal, dataset)
            tell_notes(self._journal, own=self._own, on_note=on_note)
            self._budget = Budget(self._journal, limits)
            self._accounts = BatchAccounts(self._budget, self._journal, model.name, self._price, self._remote.redaction)
            self._accounts.take_over(self._root)
        except BaseException:
            self._journal.close()
            raise
        self._asked: dict[_Place, _Asked] = {}
        self._without_text: set[_Place] = set()
        self._folders: dict[Path, frozenset[_Place]] = {}
        if on_spend is not None:
            on_spend(self.spent)

    @property
    def spent(self) -> Spend:
        """What was spent so far, earlier runs included."""
        return self._budget.spent

    def slots_for(self, requests: Sequence[Request], decoding: Decoding) -> int:
        """A server has no batch of ours in its memory: the number says nothing but how many requests there are."""
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
        """Send all samples of all requests, wait for their batches, and give texts and failures in order.

        Raises:
            EngineError: states were asked for, which a server does not give; or the engine was closed meanwhile.
            CredentialsError, BudgetError: what every further batch would meet too.
        """
        if capture is not None:
            raise EngineError("a server gives no states", remedy="read them by replay (states.how: replay)")
        wanted = [self._ask(request, sample, decoding, seed) for request in requests for sample in samples]
        attempts = self._journal.attempts(asked.name for asked in wanted)
        wanted = [replace(asked, attempt=attempts[asked.name]) for asked in wanted]
        folder, earlier = self._folder(wanted)
        self._folders[folder] = frozenset(asked.place for asked in wanted)
        self._asked |= {asked.place: asked for asked in wanted}
        missing = [asked for asked in wanted if asked.request.messages and asked.name not in self._kept(wanted)]
        place = BatchWorkspace(folder / "requests", folder / "outputs")
        if missing:
            self._batched(place, wanted, missing, earlier=earlier)
        kept = self._kept(wanted)
        for asked in wanted:
            if asked.name in kept:
                result = self._completion(asked, kept[asked.name], decoding)
            elif asked.request.messages:
                result = self._failure(place, asked, earlier=earlier)
            else:
                result = Failure(asked.request.index, asked.sample, "empty-prompt", "there is no message to send")
            if isinstance(result, Failure):
                self._without_text.add(asked.place)
            yield result if isinstance(result, Failure) else Generated(result)

    def committed(self, requests: Sequence[Request], samples: range) -> None:
        """Let go of what the journal and the folders of batches keep for these texts."""
        places = {(request.key, sample) for request in requests for sample in samples}
        for where in places & self._without_text:  # Asked for again, they are other requests.
            self._journal.answered(self._asked[where].name)
        named = [(self._asked.pop(where).name, where[1]) for where in places if where in self._asked]
        self._without_text -= places
        self._journal.forget([*named, *(places if self._own else ())])
        for folder in [folder for folder, texts in self._folders.items() if texts <= places]:
            ledger = read_ledger(folder / "requests")
            filesystem.remove_folder(folder)
            self._budget.forget_batches([part.tag for part in ledger.parts] if ledger else [])
            del self._folders[folder]

    def close(self) -> None:
        """End all waiting and close the journal; batches that are under way go on at the server."""
        self._stop.set()
        self._budget.close()
        self._journal.close()
        if found := self._remote.redaction.found:
            _logger.warning("%s", found_in_answers(found))

    def _ask(self, request: Request, sample: int, decoding: Decoding, seed: int) -> _Asked:
        body = chat_body(self._model, request.messages, decoding, seed=draw_seed(seed, request.key, sample))
        return _Asked(request, sample, body, request_name(self._dataset, request.key, sample, body))

    def _kept(self, wanted: Sequence[_Asked]) -> dict[str, bytes]:
        """The answers that the journal has, by the names of their requests."""
        named = self._journal.answers((asked.name, asked.sample) for asked in wanted)
        kept = {name: raw for (name, _), raw in named.items()}
        return kept | (earlier_answers(self._journal, {a.place: a.name for a in wanted}) if self._own else {})

    def _folder(self, wanted: Sequence[_Asked]) -> tuple[Path, bool]:
        """Where the batches of these texts are, and whether version 0.1.0 made them."""
        earlier = self._root / _folder_name([list(asked.place) for asked in wanted])
        if self._own and (earlier / "requests").is_dir():
            return earlier, True
        return self._root / _folder_name([asked.name for asked in wanted]), False

    def _batched(
        self, place: BatchWorkspace, wanted: Sequence[_Asked], missing: Sequence[_Asked], *, earlier: bool
    ) -> None:
        """Ask for these texts by batches; what is answered is in the journal then, whatever ends the run."""
        entries = {asked.custom_id(earlier=earlier): asked.entry(earlier=earlier) for asked in wanted}
        try:
            with place.alone():
                ledger = read_ledger(place.requests) or self._created(place, missing)
                self._run(place, self._at_this_server(place, ledger), entries)
        except Stopped as error:
            raise EngineError("the run was stopped", remedy="the same command goes on with its batches") from error

    def _run(self, place: BatchWorkspace, ledger: Ledger, entries: dict[str, Entry]) -> None:
        """Bring the batches of a folder to their end, as far as caps allow."""
        with self._accounts.of(place, ledger, entries) as account:
            conditions = Conditions(BatchLimits(), afford=account, fetched=self._counting(account.count))
            try:
                while True:
                    try:
                        run_batches(
                            place, ledger, self._remote, self._clock, _logger.info, conditions, show=self._tell_wait
                        )
                        return
                    except BudgetError as error:
                        if error is not account.refused or not self._accounts.others_at_work(account):
                            raise
                    self._clock.sleep(_LOOK_AGAIN_SECONDS)  # A batch that ends gives back what it did not use.
                    ledger = place.ledger()
            finally:
                self._counting(account.count)(place.ledger())

    def _tell_wait(self, ledger: Ledger) -> None:
        if self._on_wait is not None:
            self._on_wait(waiting_for(ledger))

    def _counting(self, count: Callable[[Ledger], None]) -> Callable[[Ledger], None]:
        def told(ledger: Ledger) -> None:
            count(ledger)
            if self._on_spend is not None:
                self._on_spend(self.spent)

        return told

    def _created(self, place: BatchWorkspace, missing: Sequence[_Asked]) -> Ledger:
        named = ((asked.custom_id(earlier=False), asked.body) for asked in missing)
        parts = tuple(write_named_requests(place, named, BatchLimits()))
        return place.save(Ledger(name=self._model.name, base_url=self._options.base_url, parts=parts))

    def _at_this_server(self, place: BatchWorkspace, ledger: Ledger) -> Ledger:
        """The ledger with the address that is asked now.

        Raises:
            SpecError: batches that are not settled were sent to another one.
        """
        now = self._options.base_url
        if ledger.base_url == now or ledger.settled:
            return ledger
        if any(part.may_cost and part.step is not Step.SETTLED for part in ledger.parts):
            raise SpecError(
                f"batches of this run were sent to {ledger.base_url or 'OpenAI'} and are not done, not to "
                f"{now or 'OpenAI'}",
                where="model.api.base_url",
                remedy="give the address that they were sent to, or wait for them there",
            )
        return place.save(ledger.model_copy(update={"base_url": now}))

    def _failure(self, place: BatchWorkspace, asked: _Asked, *, earlier: bool) -> Failure:
        """Why a request has no answer: its own error, or its batch's."""
        ledger = place.ledger()
        for answer in outputs_of(place, ledger.parts).answers([asked.custom_id(earlier=earlier)]):
            if answer.error is not None:
                return failure_of(asked.request, asked.sample, answer.error)
        problem = next((part.problem for part in ledger.parts if part.problem), None)
        problem = problem or "its batch ended without an answer for it"
        return Failure(asked.request.index, asked.sample, "batch-failed", problem)

    def _completion(self, asked: _Asked, raw: bytes, decoding: Decoding) -> Completion | Failure:
        # Journals of 0.1.0 may hold a key that a server sent back.
        text = without_key(read_kept(raw, self._remote.redaction), self._remote.redaction)
        with self._encoding:
            return completion_of(
                asked.request, asked.sample, text, tokenizer=self._tokenizer, ends_with_eos=not decoding.stop
            )


def _folder_name(texts: Sequence[Any]) -> str:
    """Names the texts of a shard: the same shard finds its folder again."""
    return hashlib.sha256(json.dumps(sorted(texts)).encode()).hexdigest()[:32]
