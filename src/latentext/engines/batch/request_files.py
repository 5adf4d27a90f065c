"""Files of requests, one JSON object a line: cut to the limits when written, checked when read.

A line holds custom_id, method, url and body. The custom_id is what answers are joined by, so it may occur once only
among all requests; the server asks also that one file names one model and one endpoint.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from latentext.engines.batch.ledger import BatchPart, new_tag
from latentext.engines.batch.limits import BatchLimits, estimated_prompt_tokens
from latentext.engines.batch.workspace import BatchWorkspace
from latentext.engines.server.answer_size import most_bytes
from latentext.errors import SpecError
from latentext.storage.atomic import atomic_file

ENDPOINT = "/v1/chat/completions"
Body = Mapping[str, Any]

_REMEDY = "give lines as docs/batch.md shows them"


def seed_name(batch: int, place: int) -> str:
    """The custom_id of a request by where it stands.

    Example:
        >>> seed_name(3, 17)
        'request-3-17'
    """
    return f"request-{batch}-{place}"


def request_line(custom_id: str, body: Body, endpoint: str = ENDPOINT) -> bytes:
    """One line of a request file.

    Example:
        >>> request_line("request-0-0", {"model": "m"})
        b'{"custom_id": "request-0-0", "method": "POST", "url": "/v1/chat/completions", "body": {"model": "m"}}\\n'
    """
    line = {"custom_id": custom_id, "method": "POST", "url": endpoint, "body": body}
    return json.dumps(line, ensure_ascii=False).encode("utf-8", "backslashreplace") + b"\n"


def write_requests(
    place: BatchWorkspace, bodies: Iterable[Body], limits: BatchLimits, *, first: int = 0
) -> Iterator[BatchPart]:
    """Write request files as full as the limits allow, custom_ids by `seed_name`; one part for each file.

    Raises:
        SpecError: a single request is beyond the limits.
    """
    return _cut(place, ((None, body) for body in bodies), limits, first)


def write_named_requests(
    place: BatchWorkspace, requests: Iterable[tuple[str, Body]], limits: BatchLimits
) -> Iterator[BatchPart]:
    """The same with custom_ids of the caller's."""
    return _cut(place, requests, limits, 0)


def _cut(
    place: BatchWorkspace, requests: Iterable[tuple[str | None, Body]], limits: BatchLimits, number: int
) -> Iterator[BatchPart]:
    lines, size, tokens, model = list[bytes](), 0, 0, ""
    for custom_id, body in requests:
        added = estimated_prompt_tokens(body)
        line = request_line(custom_id or seed_name(number, len(lines)), body)
        full = not limits.allows(requests=len(lines) + 1, size=size + len(line), tokens=tokens + added)
        if lines and (full or str(body.get("model", "")) != model):
            yield _write(place, number, lines, tokens, model)
            number, lines, size, tokens = number + 1, [], 0, 0
            line = request_line(custom_id or seed_name(number, 0), body)
        if not lines and not limits.allows(requests=1, size=len(line), tokens=added):
            raise SpecError(
                f"one request of {len(line):,} bytes and about {added:,} tokens is beyond the limits of a batch",
                remedy="make it shorter, or raise --enqueued-tokens to what your account allows",
            )
        model = str(body.get("model", ""))
        lines.append(line)
        size, tokens = size + len(line), tokens + added
    if lines:
        yield _write(place, number, lines, tokens, model)


def _write(place: BatchWorkspace, number: int, lines: Sequence[bytes], tokens: int, model: str) -> BatchPart:
    with atomic_file(place.request_file(number)) as file:
        for line in lines:
            file.write(line)
    return BatchPart(
        number=number, tag=new_tag(number), requests=len(lines), size=file.size, prompt_tokens=tokens, model=model
    )


@dataclass(frozen=True, slots=True)
class RequestLine:
    """A request as it stands in a file: what it is called, whom it asks, and where its line is; without its text.

    `most_bytes` is what its answer may have.
    """

    custom_id: str
    model: str
    endpoint: str
    prompt_tokens: int
    offset: int
    length: int
    most_bytes: int


def read_requests(path: Path) -> Iterator[RequestLine]:
    """The requests of one file, in order; blank lines are passed over.

    Raises:
        SpecError: unreadable, a line is no request, or a custom_id stands twice; the line is named.
    """
    seen: set[str] = set()
    try:
        with path.open("rb") as file:
            offset = 0
            for number, line in enumerate(file, start=1):
                if line.strip():
                    request = _request(line, offset, f"{path}, line {number}")
                    if request.custom_id in seen:
                        raise SpecError(
                            f"custom_id {request.custom_id!r} stands here a second time",
                            where=f"{path}, line {number}",
                            remedy="answers are joined by it: give each request its own",
                        )
                    seen.add(request.custom_id)
                    yield request
                offset += len(line)
    except OSError as error:
        raise SpecError(f"cannot be read ({error.strerror})", where=str(path), remedy="check the path") from error


def read_bodies(path: Path) -> Iterator[Body]:
    """The bodies of a file's requests, in order.

    Raises:
        SpecError: see `read_requests`.
    """
    with path.open("rb") as file:
        for line in read_requests(path):
            file.seek(line.offset)
            yield json.loads(file.read(line.length))["body"]


def describe_file(path: Path, part: BatchPart) -> BatchPart:
    """The part with counts of the file as it now is: a user may have edited it before it is sent.

    Raises:
        SpecError: the file is not fit to be sent.
    """
    requests, tokens, models, endpoints = 0, 0, set[str](), set[str]()
    for line in read_requests(path):
        requests, tokens = requests + 1, tokens + line.prompt_tokens
        models.add(line.model)
        endpoints.add(line.endpoint)
    for what, found in (("models", models), ("endpoints", endpoints)):
        if len(found) > 1:
            raise SpecError(f"names several {what}: {', '.join(sorted(found))}", where=str(path), remedy="one a file")
    if not requests:
        raise SpecError("holds no requests", where=str(path), remedy=_REMEDY)
    size = path.stat().st_size
    if not BatchLimits().allows(requests=requests, size=size, tokens=0):
        raise SpecError(f"{requests:,} requests in {size:,} bytes are beyond the limits of a batch", where=str(path))
    update = {"requests": requests, "size": size, "prompt_tokens": tokens, "model": models.pop()}
    return part.model_copy(update=update | {"endpoint": endpoints.pop()})


def _request(line: bytes, offset: int, where: str) -> RequestLine:
    try:
        document = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise SpecError(f"is not JSON ({error})", where=where, remedy=_REMEDY) from error
    if not isinstance(document, dict):
        raise SpecError("is no JSON object", where=where, remedy=_REMEDY)
    custom_id, body = document.get("custom_id"), document.get("body")
    if not isinstance(custom_id, str) or not isinstance(body, dict):
        lacks = "custom_id" if not isinstance(custom_id, str) else "body"
        raise SpecError(f"has no usable {lacks!r}", where=where, remedy=_REMEDY)
    endpoint = str(document.get("url", ENDPOINT))
    model, tokens = str(body.get("model", "")), estimated_prompt_tokens(body)
    return RequestLine(custom_id, model, endpoint, tokens, offset, len(line), most_bytes(body))
