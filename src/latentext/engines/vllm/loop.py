"""vLLM's step loop in a thread of its own: shards hand their texts in and take them out, and the engine never drains.

vLLM's engine belongs to one thread. Shards are generated in threads of their own, several at a time, and each commits
itself; so between them and the engine stands this loop. It takes in what shards ask for between two steps, steps while
anything is unfinished, and hands every finished text to the shard that asked for it. While one shard's last texts are
written, those of the next fill the batch.

Whatever stops vLLM reaches every shard that waits, as the `EngineError` it is told there.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count
from queue import SimpleQueue
from typing import Any

from latentext.engines.stopping import StopStrings
from latentext.errors import EngineError, LatentextError
from latentext.finish_reasons import LENGTH, STOP, UNKNOWN, finish_reason
from latentext.libraries.vllm import has_requests, token_prompt

RESUME = "what is finished is kept; the same command continues"


@dataclass(frozen=True)
class VllmOrder:
    """One text to write: vLLM's parameters for it, and the stop strings to look for."""

    prompt_token_ids: Sequence[int]
    params: Any
    stop_strings: StopStrings | None = None


@dataclass
class Written:
    """What came of an order; `problem` says why there is no text."""

    number: int
    token_ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    finish_reason: str = ""
    states_path: str | None = None
    problem: str = ""


class Ticket:
    """A shard's place at the loop: iterate over it to get its texts as they are finished."""

    def __init__(self, orders: Sequence[VllmOrder], under_way: Callable[[int], None] | None = None):
        self.orders = orders
        self._under_way, self._tokens = under_way, 0
        self.finished: SimpleQueue[Written | LatentextError] = SimpleQueue()
        self.dropped = False

    def wrote(self, tokens: int) -> None:
        """So many more tokens are in texts that are not finished; in the loop's thread."""
        self._tokens += tokens
        if self._under_way is not None:
            self._under_way(self._tokens)

    def __iter__(self) -> Iterator[Written]:
        for _ in self.orders:
            result = self.finished.get()
            if isinstance(result, LatentextError):
                raise result
            yield result


@dataclass
class _Text:
    ticket: Ticket
    order: VllmOrder
    written: Written


class StepLoop:
    """The loop around one vLLM engine.

    Args:
        start: makes the ``LLMEngine``; called in the loop's thread, to which the engine then belongs.
        stop: shuts the engine down, in the same thread.
    """

    def __init__(self, start: Callable[[], Any], stop: Callable[[Any], None]):
        self._start, self._stop = start, stop
        self._inbox: SimpleQueue[Ticket | None] = SimpleQueue()
        self._tickets: set[Ticket] = set()
        self._texts: dict[str, _Text] = {}
        self._names = map(str, count())
        self._lock = threading.Lock()
        self._error: LatentextError | None = None
        self._started = threading.Event()
        self._engine: Any = None
        self.steps = 0
        """Passes of the engine so far: texts that are written side by side share them."""
        self._thread = threading.Thread(target=self._run, name="latentext-vllm", daemon=True)
        self._thread.start()

    def engine(self) -> Any:
        """The started engine, to read its settings from.

        Raises:
            EngineError: it did not start, or has died.
        """
        self._started.wait()
        with self._lock:
            if self._error is not None:
                raise self._error
        return self._engine

    def submit(self, orders: Sequence[VllmOrder], under_way: Callable[[int], None] | None = None) -> Ticket:
        """Hand in texts. `drop` the ticket when its texts are no longer wanted.

        Args:
            under_way: told how many tokens the texts have that are not finished; from the loop's thread.
        """
        ticket = Ticket(orders, under_way)
        with self._lock:
            if self._error is not None:
                ticket.finished.put(self._error)
                return ticket
            self._tickets.add(ticket)
        self._inbox.put(ticket)
        return ticket

    def drop(self, ticket: Ticket) -> None:
        """Write no more of this ticket's texts; nothing happens if all are finished."""
        ticket.dropped = True
        with self._lock:
            waiting = ticket in self._tickets
        if waiting:
            self._inbox.put(ticket)

    def close(self) -> None:
        """Shut vLLM down and end all waiting; returns when its memory is given back."""
        starting = not self._started.is_set()
        self._fail(EngineError("vLLM was closed", remedy=RESUME))
        self._inbox.put(None)
        # A start cannot be interrupted; what it makes is shut down when it is done, or ends with the process.
        if not starting:
            self._thread.join()

    # --- in the loop's thread -----------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            self._engine = self._start()
        except LatentextError as error:
            self._fail(error)
        except BaseException as error:
            self._fail(EngineError(f"vLLM did not start: {last_line(error)}", where="model.engine", heading="vLLM"))
        finally:
            self._started.set()
        if self._engine is None:
            return
        try:
            self._serve(self._engine)
        except BaseException as error:
            self._fail(EngineError(f"vLLM died: {last_line(error)}", remedy=RESUME, heading="vLLM"))
        finally:
            engine, self._engine = self._engine, None
            self._stop(engine)

    def _serve(self, engine: Any) -> None:
        while True:
            # Without anything to write the loop sleeps; otherwise it takes in what is there and steps on.
            while not self._texts or not self._inbox.empty():
                if (ticket := self._inbox.get()) is None:
                    return
                self._take_in(engine, ticket)
            self.steps += 1
            for output in engine.step():
                self._take_out(engine, output)
            if not self._texts:
                finish_saving(engine)

    def _take_in(self, engine: Any, ticket: Ticket) -> None:
        if ticket.dropped:
            self._abort(engine, [name for name, text in self._texts.items() if text.ticket is ticket])
            self._leave(ticket)
            return
        for number, order in enumerate(ticket.orders):
            name = next(self._names)
            text = _Text(ticket, order, Written(number))
            try:
                engine.add_request(name, token_prompt(list(order.prompt_token_ids)), order.params)
            except ValueError as error:  # vLLM's way to refuse one request; the others go on.
                text.written.problem = last_line(error)
                ticket.finished.put(text.written)
            else:
                self._texts[name] = text

    def _take_out(self, engine: Any, output: Any) -> None:
        if (text := self._texts.get(output.request_id)) is None:
            return
        piece, written = output.outputs[0], text.written
        seen = len(written.token_ids)
        written.token_ids.extend(piece.token_ids)
        text.ticket.wrote(len(piece.token_ids))
        if piece.logprobs:
            written.logprobs.extend(
                chosen[token].logprob for chosen, token in zip(piece.logprobs, piece.token_ids, strict=True)
            )
        if end := _end_at(text.order, written.token_ids, seen):
            del written.token_ids[end:], written.logprobs[end:]
            written.finish_reason = STOP
            if not output.finished:
                engine.abort_request([output.request_id])
        elif output.finished:
            written.finish_reason = finish_reason(piece.finish_reason)
            if written.finish_reason not in (STOP, LENGTH, UNKNOWN):
                written.problem = f"vLLM ended the text: {piece.finish_reason}"
        else:
            return
        if output.finished and output.kv_transfer_params:
            written.states_path = output.kv_transfer_params.get("hidden_states_path")
        del self._texts[output.request_id]
        text.ticket.wrote(-(seen + len(piece.token_ids)))
        text.ticket.finished.put(written)

    def _abort(self, engine: Any, names: list[str]) -> None:
        if names:
            engine.abort_request(names)
        for name in names:
            del self._texts[name]

    def _leave(self, ticket: Ticket) -> None:
        with self._lock:
            self._tickets.discard(ticket)

    def _fail(self, error: LatentextError) -> None:
        with self._lock:
            if self._error is None:
                self._error = error
            tickets, self._tickets = self._tickets, set()
        self._started.set()
        for ticket in tickets:
            ticket.finished.put(self._error)


def _end_at(order: VllmOrder, token_ids: list[int], seen: int) -> int:
    """The number of tokens after which a stop string stands, looked for after the first `seen`; 0: none does."""
    if (stops := order.stop_strings) is None:
        return 0
    ends = range(seen + 1, len(token_ids) + 1)
    return next((end for end in ends if stops.reached(order.prompt_token_ids, token_ids[:end])), 0)


def finish_saving(engine: Any) -> None:
    """Step on until hidden states of finished texts are saved too.

    In this process vLLM's scheduler tells the connector of a finished text at the step after, which nobody would ask
    for when it was the last one. (In a process of its own vLLM goes on by itself.)
    """
    while has_requests(engine):
        engine.step()


def last_line(error: BaseException) -> str:
    """What an exception says, in one line: vLLM's own have tracebacks and configurations in them."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[-1]}" if lines else type(error).__name__
