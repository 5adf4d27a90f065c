"""Requests on their way: a thread with an event loop that sends what budget and pace allow and journals every answer.

Only this thread touches the client, the queue and the pace. An answer is committed to the journal before the next
request follows it, so that the end of this process, however it comes, loses no answer but those on their way. Others
hand it jobs and read results from their own outboxes, into which the journal's thread puts an answer once it is synced.
When something ends the run (a refused key, a used-up quota, a cap), nothing more is sent, answers that are still on
their way are awaited and journaled, for they are paid, and then every outbox gets the error.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future

from latentext.engines.server.answer import AnswerText, MalformedAnswerError, read_body, read_text
from latentext.engines.server.bounds import NOTHING, output_bound, overrun, prompt_bound, worst_of_tokens
from latentext.engines.server.budget import Budget
from latentext.engines.server.client import ChatClient
from latentext.engines.server.contact import Contact
from latentext.engines.server.counting import counted
from latentext.engines.server.delays import Delays
from latentext.engines.server.errors import ApiError, ApiErrorKind, error_inside, of_exception, of_status
from latentext.engines.server.http_errors import is_of_the_network
from latentext.engines.server.jobs import Endings, Job, Outbox, Result
from latentext.engines.server.journal import Journal, JournalAnswer
from latentext.engines.server.naming import sending_name
from latentext.engines.server.pace import Pace
from latentext.engines.server.prices import Price
from latentext.engines.server.spend import Spend
from latentext.errors import EngineError
from latentext.spec import ApiOptions

_logger = logging.getLogger(__name__)

_WATCH_SECONDS = 1.0
"""Between two looks at what is waited for."""

_GRACE = 2.0
"""Seconds that answers on their way get when a run is interrupted."""


class Sender:
    """The thread, from its first job to `close`."""

    def __init__(
        self,
        client: ChatClient,
        options: ApiOptions,
        model: str,
        price: Price | None,
        journal: Journal,
        budget: Budget,
        pace: Pace,
        on_spend: Callable[[Spend], None] | None = None,
        on_wait: Callable[[str | None], None] | None = None,
    ):
        self._options, self._model, self._price = options, model, price
        self._journal, self._budget, self._pace = journal, budget, pace
        self._on_spend, self._on_wait = on_spend, on_wait
        self._client = client
        self._queue: deque[Job] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._lock = threading.Lock()  # Guards the three below, which the journal's thread changes too.
        self._outboxes: set[Outbox] = set()
        self._unsettled = 0
        self._stopped: BaseException | None = None
        self._endings = Endings(options.base_url, options.max_tries)
        self._contact = Contact(client.url, direct=client.direct, wait=pace.backoff, stop=self.stop, looked=self._ended)
        self._frame, self._frame_worst = 0, NOTHING
        self._timer: asyncio.TimerHandle | None = None
        self._gate = asyncio.Lock()
        self._loop = asyncio.new_event_loop()
        self._delays, self._watched, self._said = Delays(self._loop.time()), False, False
        self._thread = threading.Thread(target=self._run, name="latentext-openai", daemon=True)
        self._thread.start()

    def submit(self, outbox: Outbox, jobs: Sequence[Job]) -> None:
        """Send these jobs as soon as may be; their results come into the outbox in any order."""
        with self._lock:
            self._outboxes.add(outbox)
            if self._stopped is not None and self._unsettled == 0:
                outbox.results.put(self._stopped)
                return
        self._loop.call_soon_threadsafe(self._enqueue, jobs)

    def withdraw(self, outbox: Outbox) -> None:
        """Nobody waits for this outbox any more: what was not sent is not sent, what was is still journaled."""
        with self._lock:
            self._outboxes.discard(outbox)
        outbox.withdrawn = True

    def close(self) -> None:
        """End all waiting, give answers on their way a moment, and the thread its end; safe to call twice."""
        self.stop(EngineError("the engine was closed"), at_once=True)
        if self._thread.is_alive() and not self._loop.is_closed():
            asyncio.run_coroutine_threadsafe(self._finish(), self._loop).result()
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()
            self._journal.wait()

    def stop(self, error: BaseException, *, at_once: bool = False) -> None:
        """Send nothing more; every waiting call ends with this error, after what is on its way unless `at_once`."""
        with self._lock:
            self._stopped = self._stopped or error
            if at_once or self._unsettled == 0:
                self._announce()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()

    def _announce(self) -> None:
        assert self._stopped is not None
        for outbox in self._outboxes:
            outbox.results.put(self._stopped)

    def _enqueue(self, jobs: Sequence[Job]) -> None:
        self._queue.extend(jobs)
        self._send_more()
        if not self._watched:
            self._watched = True
            self._delays.answered(self._loop.time())
            self._watch()

    def _watch(self) -> None:
        """Say every second what is waited for, as long as anything is."""
        queued, in_flight = len(self._queue), self._pace.in_flight
        self._tell(self._delays.line(self._loop.time(), queued=queued, in_flight=in_flight))
        self._watched = self._stopped is None and bool(queued or in_flight or self._delays)
        if self._watched:
            self._loop.call_later(_WATCH_SECONDS, self._watch)

    def _tell(self, line: str | None) -> None:
        if self._on_wait is not None and (line is not None or self._said):
            self._on_wait(line)
        self._said = line is not None

    def _send_more(self) -> None:
        """Send jobs from the front of the queue while pace and budget let them."""
        while (job := self._next()) is not None:
            task = self._loop.create_task(self._work(job))
            self._tasks.add(task)
            task.add_done_callback(self._ended)

    def _next(self) -> Job | None:
        """The job to be sent now, which counts as sent; None if there is none or it has to wait."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._queue and self._stopped is None:
            job = self._queue[0]
            if job.outbox.withdrawn:
                self._queue.popleft()
                continue
            if not self._contact.stands:
                self._contact.look()
                return None
            wait = self._pace.wait(now := self._loop.time())
            if wait is None:
                return None
            if wait > 0:
                self._timer = self._loop.call_later(wait, self._send_more)
                return None
            job.worst = job.bound + self._frame_worst
            if not self._budget.reserve(job.worst):
                if self._pace.in_flight == 0:
                    self.stop(self._budget.exhausted())
                return None  # Answers on their way will give back what they do not use.
            self._queue.popleft()
            self._delays.sent(job)
            self._pace.sent(job.worst.tokens, now=now)
            with self._lock:
                self._unsettled += 1
            return job
        return None

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:  # A fault of our own must not hang a run.
            self.stop(error, at_once=True)
        self._send_more()

    async def _work(self, job: Job | None) -> None:
        """Send a job; once it is answered, the next one that may be sent."""
        while job is not None:
            await self._ask(job)
            job = self._next()
            self._send_more()  # The window may have grown by more than this one.

    async def _ask(self, job: Job) -> None:
        job.tries += 1
        sent_at = self._loop.time()
        try:
            async with asyncio.timeout(self._options.timeout):
                key = sending_name(job.name, job.attempt)
                response = await self._client.post(job.body, idempotency_key=key)
            self._contact.heard()
            if not response.is_success:
                self._failed(job, of_status(response.status, response.content, response.headers), sent_at)
                return
            body = read_body(response.content)
            if (error := error_inside(body, response.headers)) is not None:
                self._failed(job, error, sent_at)
                return
            text = read_text(body)
        except asyncio.CancelledError:
            self._settle_unknown(job)
            self._delivered(None)
            raise
        except MalformedAnswerError as error:
            self._failed(job, ApiError(ApiErrorKind.SERVER, str(error), 200, may_have_cost=True), sent_at)
        except Exception as error:
            if not is_of_the_network(error):
                raise
            self._failed(job, of_exception(error), sent_at)
        else:
            await self._take(job, response.content, text)

    async def _in_turn(self) -> None:
        """Return when the request that followed the answer before this one has left.

        Answers that come together would otherwise all be read before any further request is sent. These would come
        together too, and again, and the server would have nothing to do in between.
        """
        await self._gate.acquire()
        # The next request is written by a task that begins in this very step: two steps on it has left.
        self._loop.call_soon(self._loop.call_soon, self._gate.release)

    async def _take(self, job: Job, raw: bytes, text: AnswerText) -> None:
        """Commit an answer to the journal, which hands it on once it is synced, and wait for the turn to go on.

        Until it is synced a power cut may still cost it, so its promise stands.
        """
        spend = counted(text, job.worst, self._price)
        self._contact.answers += 1
        self._endings.answered()
        self._delays.answered(self._loop.time())
        kept = self._journal.put(self._model, JournalAnswer(job.name, job.sample, raw, spend))
        self._budget.settle(job.worst, spend, promise=False)
        if self._on_spend is not None:
            self._on_spend(self._budget.spent)
        kept.add_done_callback(lambda done: self._kept(done, Result(job, text)))
        self._compare(job, text)
        await self._in_turn()
        self._pace.answered(job.worst.tokens - spend.tokens)

    def _compare(self, job: Job, text: AnswerText) -> None:
        """See whether an answer took more than its request could: then bounds are raised, or the run is stopped."""
        if text.usage is None:
            return
        if (problem := overrun(job.body, text.usage.completion_tokens, self._options.base_url)) is not None:
            self.stop(problem)
        if text.usage.prompt_tokens <= job.worst.tokens - output_bound(job.body):
            return
        # The server puts words of its own before the prompt: from now on they are set aside too.
        self._frame = max(self._frame, text.usage.prompt_tokens - prompt_bound(job.body))
        self._frame_worst = worst_of_tokens(self._frame, 0, self._price)

    def _kept(self, done: Future[None], result: Result) -> None:
        """In the journal's thread: the answer is on the disk, or the disk refused it."""
        if (error := done.exception()) is not None:
            self.stop(error, at_once=True)
        else:
            self._budget.kept(result.job.worst)
            if not self._queue:
                self._budget.lower_promise()
        self._delivered(None if error is not None else result)

    def _delivered(self, result: Result | None) -> None:
        with self._lock:
            self._unsettled -= 1
            if result is not None:
                result.job.outbox.results.put(result)
            if self._stopped is not None and self._unsettled == 0:
                self._announce()

    def _failed(self, job: Job, error: ApiError, sent_at: float) -> None:
        """Try again, record the failure, or stop the run."""
        now = self._loop.time()
        self._settle_failed(job, error)
        if error.kind is ApiErrorKind.RATE:
            self._pace.refused(error.retry_after, sent_at, now=now)
        else:
            self._pace.failed()
        if not (self._queue and self._pace.in_flight):
            self._budget.lower_promise()  # Nothing follows at once.
        if error.unsent:
            self._not_sent(job, error, sent_at, now)
        elif (ending := self._endings.of(error, job.tries)) is not None:
            self._delivered(None)
            self.stop(ending)
        elif error.retried and job.tries < self._options.max_tries and self._stopped is None:
            self._delivered(None)
            self._again(job, error)
        else:
            self._delivered(Result(job, error=error))

    def _settle_failed(self, job: Job, error: ApiError) -> None:
        """Count what a request without an answer may have cost, here and in the journal."""
        spend = counted(error, job.worst, self._price)
        self._budget.settle(job.worst, spend)
        if spend != Spend():
            self._journal.count(self._model, spend)
        if error.answered:
            job.attempt += 1
            self._journal.answered(job.name)

    def _not_sent(self, job: Job, error: ApiError, sent_at: float, now: float) -> None:
        """A request that did not leave waits in front until the server is there."""
        job.tries -= 1
        self._queue.appendleft(job)
        self._contact.lost(error.message, sent_at, now)
        self._delays.paused(error, now)
        self._delivered(None)

    def _again(self, job: Job, error: ApiError) -> None:
        """Put a job back to the front; one that met a 429 waits with all the others, any other by itself."""
        now = self._loop.time()
        if error.kind is ApiErrorKind.RATE:
            self._queue.appendleft(job)
            wait = self._pace.wait(now) or 0.0
            self._delays.paused(error, now + wait)
        else:
            wait = self._pace.backoff(job.tries) if error.retry_after is None else error.retry_after
            self._loop.call_later(wait, self._back, job)
            self._delays.failed(job, error, now + wait)
        tries = f"try {job.tries} of {self._options.max_tries}"
        _logger.info("request %d: %s; %s, the next in %.0f s", job.request.index, error.in_words, tries, wait)

    def _back(self, job: Job) -> None:
        self._delays.sent(job)
        self._queue.appendleft(job)
        self._send_more()

    def _settle_unknown(self, job: Job) -> None:
        """The request was cut off: it may have been billed."""
        self._settle_failed(job, ApiError(ApiErrorKind.NETWORK, "cut off", may_have_cost=True))

    async def _finish(self) -> None:
        """Wait a moment for what is on its way, cancel the rest, close the client."""
        self._tell(None)
        await self._contact.close()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=_GRACE)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._client.close()
