"""After a batch ended: which of its requests have no answer, and which of them are asked again, alone.

Asked again are requests that the server never tried (expired, missing) or failed at for a reason that may pass; not
those that it will refuse every time, and not those of a batch that somebody cancelled. They go, with their custom_ids,
into new request files; these are written first, and one replacement of the ledger then settles the old parts and adds
the new ones, so a kill in between only means that the same files are written once more.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby

from latentext.engines.batch.clock import Clock
from latentext.engines.batch.downloading import OUTPUT_TOO_LARGE
from latentext.engines.batch.joining import BatchAnswer, Outputs, read_outputs
from latentext.engines.batch.ledger import BatchPart, BatchStatus, Ledger, Step, new_tag, next_number
from latentext.engines.batch.limits import BatchLimits
from latentext.engines.batch.request_files import Body, RequestLine, read_bodies, read_requests
from latentext.engines.batch.submitting import LONGEST_HOLD_SECONDS, Notify
from latentext.engines.batch.workspace import BatchWorkspace
from latentext.engines.server.bounds import overrun
from latentext.engines.server.errors import ApiErrorKind, of_status, stopping_error
from latentext.engines.server.usage import read_usage
from latentext.errors import EngineError
from latentext.storage.atomic import atomic_file

QUEUE_FULL = "token_limit_exceeded"
_MOST_REFUSALS = 20
_FIRST_HOLD_SECONDS = 60.0


@dataclass
class _Unanswered:
    """What settling found in some parts."""

    again: list[tuple[int, RequestLine]] = field(default_factory=list)
    given_up: dict[int, Counter[str]] = field(default_factory=dict)
    quota: BatchAnswer | None = None
    overrun: EngineError | None = None


def settle(
    place: BatchWorkspace, ledger: Ledger, clock: Clock, notify: Notify, *, attempts: int, limits: BatchLimits
) -> Ledger:
    """Settle every part whose files are here; requests to be asked again become new parts at the end.

    Args:
        attempts: how often a request is asked at most.

    Raises:
        BudgetError: the account's quota is used up; the requests that met it are ready to be sent again.
        EngineError: the server refuses a batch for a full queue, again and again; or it wrote more than was allowed.
    """
    parts = ledger.at(Step.DOWNLOADED)
    refused = [part for part in parts if part.status is BatchStatus.FAILED and part.problem_code == QUEUE_FULL]
    if refused:
        ledger = place.save(_held(ledger, refused, clock, notify))
    broke = [part for part in parts if part.status is BatchStatus.FAILED and _is_quota(part.problem_code)]
    if broke:
        ledger = place.save(_planned_again(ledger, broke))
        raise _quota_error(broke[0].problem or "")
    parts = ledger.at(Step.DOWNLOADED)
    if not parts:
        return ledger
    found = _unanswered(place, parts, attempts, ledger.base_url)
    new = tuple(_write_again(place, ledger, found.again, limits))
    for part in parts:
        given_up = dict(sorted(found.given_up[part.number].items()))
        ledger = ledger.with_part(part.model_copy(update={"step": Step.SETTLED, "unanswered": given_up}))
    ledger = place.save(ledger.model_copy(update={"parts": (*ledger.parts, *new)}))
    for part in new:
        notify(
            f"batch {part.number}: {part.requests:,} requests without an answer are asked again (try {part.attempt})"
        )
    if found.overrun is not None:
        raise found.overrun
    if found.quota is not None and found.quota.error is not None:
        raise _quota_error(found.quota.error.message)
    return ledger


def reopen(place: BatchWorkspace, ledger: Ledger, notify: Notify, limits: BatchLimits) -> Ledger:
    """Put every request that was given up, or whose batch was refused or cancelled, into new parts."""
    settled, open_parts = ledger.at(Step.SETTLED), [part for part in ledger.parts if part.step is not Step.SETTLED]
    waiting = {line.custom_id for part in open_parts for line in read_requests(place.request_file(part.number))}
    outputs = outputs_of(place, ledger.parts)
    answered = {answer.custom_id for answer in outputs.answers(list(outputs.ids())) if answer.error is None}
    again: dict[str, tuple[int, RequestLine]] = {}
    for part in settled:
        for line in read_requests(place.request_file(part.number)):
            if line.custom_id not in waiting and line.custom_id not in answered:
                again[line.custom_id] = (part.number, line)
    new = [part.model_copy(update={"attempt": 1}) for part in _write_again(place, ledger, list(again.values()), limits)]
    for part in new:
        notify(f"batch {part.number}: {part.requests:,} requests without an answer are asked again")
    return place.save(ledger.model_copy(update={"parts": (*ledger.parts, *new)})) if new else ledger


def outputs_of(place: BatchWorkspace, parts: Iterable[BatchPart]) -> Outputs:
    """The output and error files of these parts, for the requests that were asked in them."""
    numbers = [part.number for part in parts]
    lines = (line for number in numbers for line in read_requests(place.request_file(number)))
    asked = {line.custom_id: line.most_bytes for line in lines}
    files = [path for number in numbers for path in (place.output_file(number), place.error_file(number))]
    return read_outputs([path for path in files if path.exists()], asked=asked)


def answered_lines(place: BatchWorkspace, part: BatchPart) -> Iterator[tuple[RequestLine, Body, BatchAnswer | None]]:
    """Each request of a part, its body, and what came back for it; None where nothing did."""
    file, outputs = place.request_file(part.number), outputs_of(place, [part])
    lines = list(read_requests(file))
    answers = outputs.answers(line.custom_id for line in lines)
    for line, body in zip(lines, read_bodies(file), strict=True):
        yield line, body, next(answers) if line.custom_id in outputs else None


def _unanswered(place: BatchWorkspace, parts: Sequence[BatchPart], attempts: int, server: str | None) -> _Unanswered:
    found = _Unanswered()
    for part in parts:
        given_up = found.given_up[part.number] = Counter[str]()
        for line, body, answer in answered_lines(place, part):
            if answer is not None and answer.body is not None:
                metered = read_usage(answer.body.get("usage"))
                wrote = None if metered is None else metered.usage.completion_tokens
                found.overrun = found.overrun or overrun(body, wrote, server)
                continue
            kind = _kind(part, answer)
            if kind == ApiErrorKind.QUOTA:
                found.quota = answer
                found.again.append((part.number, line))
            elif part.attempt < attempts and _may_pass(part, answer):
                found.again.append((part.number, line))
            else:
                given_up[kind] += 1
    return found


def _kind(part: BatchPart, answer: BatchAnswer | None) -> str:
    """A word for why a request has no answer."""
    if answer is None and part.problem_code == OUTPUT_TOO_LARGE:
        return str(ApiErrorKind.TOO_LARGE)
    if answer is None or answer.error is None:
        return {BatchStatus.FAILED: "refused", BatchStatus.CANCELLED: "cancelled", BatchStatus.EXPIRED: "expired"}.get(
            part.status or BatchStatus.COMPLETED, "missing"
        )
    return answer.outcome


def _may_pass(part: BatchPart, answer: BatchAnswer | None) -> bool:
    if part.status in (BatchStatus.CANCELLED, BatchStatus.FAILED):
        return False
    if answer is None and part.problem_code == OUTPUT_TOO_LARGE:
        return False  # It may have been answered, in the part of the file that was not read, and paid.
    return answer is None or answer.error is None or answer.error.retried


def _write_again(
    place: BatchWorkspace, ledger: Ledger, again: Iterable[tuple[int, RequestLine]], limits: BatchLimits
) -> Iterator[BatchPart]:
    """New request files with the lines of old ones, as few as the limits and the rule of one model a file allow."""
    number, group, size, tokens = next_number(ledger.parts), list[tuple[int, RequestLine]](), 0, 0
    for source, line in again:
        alike = not group or _alike(ledger.part(group[0][0]), ledger.part(source))
        fits = limits.allows(requests=len(group) + 1, size=size + line.length, tokens=tokens + line.prompt_tokens)
        if group and not (alike and fits):
            yield _copy(place, ledger, number, group)
            number, group, size, tokens = number + 1, [], 0, 0
        group.append((source, line))
        size, tokens = size + line.length, tokens + line.prompt_tokens
    if group:
        yield _copy(place, ledger, number, group)


def _alike(one: BatchPart, other: BatchPart) -> bool:
    return (one.model, one.endpoint, one.attempt) == (other.model, other.endpoint, other.attempt)


def _copy(place: BatchWorkspace, ledger: Ledger, number: int, group: Sequence[tuple[int, RequestLine]]) -> BatchPart:
    with atomic_file(place.request_file(number)) as file:
        for source, lines in groupby(group, key=lambda pair: pair[0]):
            with place.request_file(source).open("rb") as old_file:
                for _, line in lines:
                    old_file.seek(line.offset)
                    file.write(old_file.read(line.length).rstrip(b"\r\n") + b"\n")
    old = ledger.part(group[0][0])
    return BatchPart(
        number=number,
        tag=new_tag(number),
        requests=len(group),
        size=file.size,
        prompt_tokens=sum(line.prompt_tokens for _, line in group),
        model=old.model,
        endpoint=old.endpoint,
        attempt=old.attempt + 1,
        retry_of=tuple(sorted({source for source, _ in group})),
    )


def _planned_again(ledger: Ledger, parts: Iterable[BatchPart]) -> Ledger:
    """The ledger with batches that the server refused as a whole to be sent anew, under new tags."""
    for part in parts:
        fresh = {
            "tag": new_tag(part.number),
            "step": Step.PLANNED,
            "file_id": None,
            "batch_id": None,
            "asked": 0,
            "lost": False,
        }
        fresh |= {"status": None, "problem": None, "problem_code": None, "since": None}
        ledger = ledger.with_part(part.model_copy(update=fresh))
    return ledger


def _held(ledger: Ledger, parts: Iterable[BatchPart], clock: Clock, notify: Notify) -> Ledger:
    """The ledger with batches that found a full queue to be sent again after a while."""
    for part in parts:
        if part.refusals + 1 >= _MOST_REFUSALS:
            raise EngineError(
                f"batch {part.number} was refused {_MOST_REFUSALS} times: {part.problem}",
                remedy="see what your account allows, and pass --enqueued-tokens",
                heading="Batches",
            )
        hold = min(LONGEST_HOLD_SECONDS, _FIRST_HOLD_SECONDS * 2**part.refusals)
        notify(f"batch {part.number}: too many prompt tokens are enqueued; it is sent again in {hold:.0f} seconds")
        part = part.model_copy(update={"refusals": part.refusals + 1, "hold_until": clock.now() + hold})
        ledger = _planned_again(ledger, [part])
    return ledger


def _is_quota(code: str | None) -> bool:
    return code is not None and of_status(400, {"error": {"code": code}}).kind is ApiErrorKind.QUOTA


def _quota_error(message: str) -> Exception:
    return stopping_error(of_status(429, {"error": {"code": "insufficient_quota", "message": message}}))
