"""The engine `openai-batch`: a shard of requests becomes a batch of OpenAI's Batch API, for half the price.

Each shard has a folder beside the journal, named by the texts that it asks for, with the request files, the ledger and
what came back; `latentext.engines.openai.batches` keeps it true through any kill. So a run that is started again finds
its batches where it left them: under way, ended, or fetched. Many shards wait at once, each in a thread that sleeps;
answers go through the journal like those of real time, so caps, totals and the price of a text agree.
"""

from __future__ import annotations

import copy
import hashlib
import json
import logging
import threading
from collections.abc import Callable, Generator, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from latentext.dataset import filesystem
from latentext.engines.engine import Capture, Generated
from latentext.engines.openai.answer import Text, completion_of, metered, read_body, read_text, without_key
from latentext.engines.openai.batches.clock import Clock, Stopped, stoppable_clock
from latentext.engines.openai.batches.ledger import Ledger, Step, read_ledger
from latentext.engines.openai.batches.limits import BatchLimits
from latentext.engines.openai.batches.remote import open_remote
from latentext.engines.openai.batches.request_files import write_named_requests
from latentext.engines.openai.batches.settling import outputs_of
from latentext.engines.openai.batches.workflow import Conditions, run_batches
from latentext.engines.openai.batches.workspace import Workspace
from latentext.engines.openai.budget import NOTHING, Budget, Worst, refuse_unpriced, worst_case
from latentext.engines.openai.engine import failure_of
from latentext.engines.openai.journal import Answer, Journal
from latentext.engines.openai.prices import price_of
from latentext.engines.openai.redaction import found_in_answers
from latentext.engines.openai.request_body import chat_body, draw_seed, refuse_unsupported
from latentext.engines.openai.spend import Spend
from latentext.errors import EngineError
from latentext.limits import Limits
from latentext.request import Completion, Failure, Request
from latentext.spec import ApiOptions, Decoding, ModelSpec

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = ["BatchEngine", "refuse_unsupported"]

_logger = logging.getLogger(__name__)
_Place = tuple[str, int]
_Wanted = dict[_Place, tuple[Request, int]]
"""(key, sample) → what is asked for."""

_LOOK_AGAIN_SECONDS = 30.0


class BatchEngine:
    """Generation by batches.

    Args:
        journal: the file that keeps answers until their shard is written; the folder beside it, with ``.batches`` at
            the end of its name, holds the batches.
        limits: what may be spent in all, earlier runs with this journal included.
        tokenizer: of a local model; gives texts their token ids.
        on_spend: told what was spent so far after every batch, from another thread.
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
        on_spend: Callable[[Spend], None] | None = None,
        clock: Clock | None = None,
    ):
        self._model, options = model, model.api or ApiOptions()
        self._options, self._on_spend = options, on_spend
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
            self._budget = Budget(self._journal, limits)
        except BaseException:
            self._journal.close()
            raise
        self._lock, self._under_way = threading.Lock(), 0
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
    ) -> Generator[Generated | Failure, None, None]:
        """Send all samples of all requests, wait for their batches, and give texts and failures in order.

        Raises:
            EngineError: states were asked for, which a server does not give; or the engine was closed meanwhile.
            CredentialsError, BudgetError: what every further batch would meet too.
        """
        if capture is not None:
            raise EngineError("a server gives no states", remedy="read them by replay (states.how: replay)")
        wanted = {(r.key, s): (r, s) for r in requests for s in samples}
        shard = frozenset(wanted)
        self._folders[self._root / _folder_name(shard)] = shard
        made: dict[_Place, Completion | Failure] = {}
        missing: _Wanted = {}
        kept = self._journal.answers(wanted)
        for where, (request, sample) in wanted.items():
            if where in kept:
                text = read_text(read_body(self._remote.redaction.of_bytes(kept[where])))
                made[where] = self._completion(request, sample, text, decoding)
            elif not request.messages:
                made[where] = Failure(request.index, sample, "empty-prompt", "there is no message to send")
            else:
                missing[where] = (request, sample)
        if missing:
            made |= self._batched(shard, missing, decoding, seed)
        for where in wanted:
            result = made[where]
            yield result if isinstance(result, Failure) else Generated(result)

    def committed(self, requests: Sequence[Request], samples: range) -> None:
        """Let go of what the journal and the folders of batches keep for these texts."""
        places = {(request.key, sample) for request in requests for sample in samples}
        self._journal.forget(places)
        for folder in [folder for folder, texts in self._folders.items() if texts <= places]:
            filesystem.remove_folder(folder)
            del self._folders[folder]

    def close(self) -> None:
        """End all waiting and close the journal; batches that are under way go on at the server."""
        self._stop.set()
        self._budget.close()
        self._journal.close()
        if found := self._remote.redaction.found:
            _logger.warning("%s", found_in_answers(found))

    def _batched(
        self, shard: frozenset[_Place], missing: _Wanted, decoding: Decoding, seed: int
    ) -> dict[_Place, Completion | Failure]:
        """What batches gave for these texts, journaled."""
        folder = self._root / _folder_name(shard)
        place = Workspace(folder / "requests", folder / "outputs")
        try:
            with place.alone():
                answers = self._run(place, missing, decoding, seed)
        except Stopped as error:
            raise EngineError("the run was stopped", remedy="the same command goes on with its batches") from error
        return {
            where: self._completion(request, sample, answers[where][0], decoding)
            if where in answers
            else self._failure(place, request, sample)
            for where, (request, sample) in missing.items()
        }

    def _run(
        self, place: Workspace, missing: _Wanted, decoding: Decoding, seed: int
    ) -> dict[_Place, tuple[Text, Spend]]:
        """Bring the batches of a folder to their end; answers that are paid are kept whatever ends the run."""
        ledger = read_ledger(place.requests) or self._created(place, missing, decoding, seed)
        worst = self._reserve(ledger, missing, decoding, seed)
        spend = Spend()
        try:
            try:
                run_batches(place, ledger, self._remote, self._clock, _logger.info, Conditions(BatchLimits()))
            finally:
                answers = self._journaled(place, missing)
                spend = sum((spent for _, spent in answers.values()), spend)
        finally:
            self._settle(worst, spend)
        return answers

    def _created(self, place: Workspace, missing: _Wanted, decoding: Decoding, seed: int) -> Ledger:
        named = ((_custom_id(where), body) for where, body in self._bodies(missing, decoding, seed))
        parts = tuple(write_named_requests(place, named, BatchLimits()))
        return place.save(Ledger(name=self._model.name, base_url=self._options.base_url, parts=parts))

    def _bodies(self, missing: _Wanted, decoding: Decoding, seed: int) -> Iterable[tuple[_Place, dict[str, Any]]]:
        for where, (request, sample) in missing.items():
            draw = draw_seed(seed, request.key, sample)
            yield where, chat_body(self._model, request.messages, decoding, seed=draw)

    def _reserve(self, ledger: Ledger, missing: _Wanted, decoding: Decoding, seed: int) -> Worst:
        """Set the worst case of a shard aside; one that was sent already is counted as far as the caps let it.

        Raises:
            BudgetError: it does not fit, even with nothing else under way.
        """
        cases = [worst_case(body, self._price, batch=True) for _, body in self._bodies(missing, decoding, seed)]
        worst = Worst(sum(case.tokens for case in cases), sum(case.picodollars for case in cases))
        sent = len(ledger.at(Step.PLANNED)) < len(ledger.parts)
        while not self._budget.reserve(worst, promise=False):
            if sent:
                worst = NOTHING
                break
            with self._lock:
                alone = self._under_way == 0
            if alone:
                raise self._budget.exhausted()
            self._clock.sleep(_LOOK_AGAIN_SECONDS)  # A shard that ends gives back what it did not use.
        with self._lock:
            self._under_way += 1
        return worst

    def _settle(self, worst: Worst, spend: Spend) -> None:
        self._budget.settle(worst, spend)
        with self._lock:
            self._under_way -= 1
        if self._on_spend is not None:
            self._on_spend(self.spent)

    def _journaled(self, place: Workspace, missing: _Wanted) -> dict[_Place, tuple[Text, Spend]]:
        """The answers that are here, each on the disk in the journal, with what it cost."""
        named = {_custom_id(where): where for where in missing}
        found: dict[_Place, tuple[Text, Spend]] = {}
        done = []
        ledger = place.ledger()
        for answer in outputs_of(place, ledger.parts).answers(named):
            if answer.body is None:
                continue
            text, (key, sample) = read_text(answer.body), named[answer.custom_id]
            spend = metered(text, self._price, batch=True) or Spend(1, unpriced=int(self._price is None))
            raw = self._remote.redaction.of_bytes(json.dumps(answer.body).encode())
            done.append(self._journal.put(self._model.name, Answer(key, sample, raw, spend)))
            found[key, sample] = (text, spend)
        for future in done:
            future.result()
        return found

    def _failure(self, place: Workspace, request: Request, sample: int) -> Failure:
        """Why a request has no answer: its own error, or its batch's."""
        ledger = place.ledger()
        for answer in outputs_of(place, ledger.parts).answers([_custom_id((request.key, sample))]):
            if answer.error is not None:
                return failure_of(request, sample, answer.error)
        problem = next((part.problem for part in ledger.parts if part.problem), None)
        return Failure(request.index, sample, "batch-failed", problem or "its batch ended without an answer for it")

    def _completion(self, request: Request, sample: int, text: Text, decoding: Decoding) -> Completion | Failure:
        text = without_key(text, self._remote.redaction)
        with self._encoding:
            return completion_of(request, sample, text, tokenizer=self._tokenizer, ends_with_eos=not decoding.stop)


def _custom_id(where: _Place) -> str:
    key, sample = where
    return f"{key}-{sample}"


def _folder_name(shard: frozenset[_Place]) -> str:
    """Names the texts of a shard: the same shard finds its folder again."""
    return hashlib.sha256(json.dumps(sorted(shard)).encode()).hexdigest()[:32]
