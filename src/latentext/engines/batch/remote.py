"""The server's side of a batch: files and batches, seen through the official client.

Two kinds of calls. What only reads, deletes or cancels may be repeated, and is, with growing waits, while the error is
one that may pass. What makes something (a file, a batch) is sent once, without the client's own retries: a reply that
was lost may stand for a batch that was made, and sending again would pay twice. `ReplyLost` says so to the caller, who
then looks instead of sending.

Answers are read as JSON here and not through the client's typed objects, which take anything: an answer without a list,
taken for an empty one, would say that a batch was never made.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from latentext.engines.batch.clock import Clock, backing_off
from latentext.engines.batch.http_client import guarded_client
from latentext.engines.batch.ledger import BatchStatus, Counts
from latentext.engines.server.addresses import base_and_query
from latentext.engines.server.client import refuse_unsendable_headers
from latentext.engines.server.errors import ApiError, ApiErrorKind, of_exception, stopping_error, words_of
from latentext.engines.server.http_errors import is_of_the_network
from latentext.engines.server.reaching import CONNECT_SECONDS, TIMED_OUT
from latentext.engines.server.redaction import Redaction
from latentext.engines.server.server_text import one_line, well_formed
from latentext.errors import LatentextError
from latentext.libraries.openai import content_of, request_headers, require

TAG = "latentext"
"""The key under which a batch's metadata hold our tag."""

_TRIES = 6
_TRIES_TO_REACH = 4
"""Of a server that is not there: a few seconds."""
_PAGE = 100
_LARGEST_COUNT = 1 << 53
_Result = TypeVar("_Result")


class ReplyLost(Exception):  # noqa: N818 - a state of knowledge, not a fault
    """A file or a batch may have been made, and nobody knows."""

    def __init__(self, error: ApiError):
        self.error = error
        super().__init__(error.message)


class RefusedError(LatentextError):
    """The server answered that it did not do what was asked; `error` says of which kind that is."""

    def __init__(self, error: ApiError, where: str):
        self.error = error
        told = stopping_error(error, where=where)
        super().__init__(told.what, where=told.where, remedy=told.remedy, heading=told.heading)
        self.exit_code = told.exit_code


@dataclass(frozen=True)
class RemoteFile:
    """A file at the server."""

    id: str
    name: str
    size: int | None


@dataclass(frozen=True)
class RemoteBatch:
    """A batch as the server tells of it; `problem` and `problem_code` are the first of its errors."""

    id: str
    status: BatchStatus
    tag: str | None
    created_at: int
    input_file_id: str
    counts: Counts
    output_file_id: str | None
    error_file_id: str | None
    problem: str | None
    problem_code: str | None


class Remote:
    """Calls to one server.

    Args:
        client: an ``openai.OpenAI``; its own retries are not used.
        clock: what waits between tries.
        redaction: takes the key out of what the server sends.
    """

    def __init__(self, client: Any, clock: Clock, redaction: Redaction | None = None):
        self.redaction = redaction or Redaction(None)
        self._client = client.with_options(max_retries=0)
        self._files, self._batches = self._client.files.with_raw_response, self._client.batches.with_raw_response
        self._clock = clock

    def upload(self, path: Path, name: str) -> str:
        """Send a request file under a name of our choice; returns its id.

        Raises:
            ReplyLost, RefusedError.
        """
        with path.open("rb") as file:
            return self._once(
                lambda: _file(_read(self._files.create(file=(name, file), purpose="batch"))),
            ).id

    def create(self, file_id: str, endpoint: str, tag: str) -> RemoteBatch:
        """Make a batch of a file that is there. This is what costs money.

        Raises:
            ReplyLost, RefusedError.
        """
        asked = {"input_file_id": file_id, "endpoint": endpoint, "completion_window": "24h", "metadata": {TAG: tag}}
        return self._once(lambda: _batch(_read(self._batches.create(**asked))))

    def batch(self, batch_id: str) -> RemoteBatch:
        """How a batch stands."""
        return self._again(lambda: _batch(_read(self._batches.retrieve(batch_id))), f"batch {batch_id}")

    def batches(self) -> list[RemoteBatch]:
        """Every batch of the account that the server lists."""
        listed = _pages(lambda **after: _read(self._batches.list(limit=_PAGE, **after)))
        return self._again(lambda: [_batch(found) for found in listed()], "the list of batches")

    def cancel(self, batch_id: str) -> RemoteBatch:
        """Ask for a batch to end; what it has answered by then is kept and paid."""
        return self._again(lambda: _batch(_read(self._batches.cancel(batch_id))), f"batch {batch_id}")

    def files(self) -> list[RemoteFile]:
        """Every request file of the account that the server lists."""
        listed = _pages(lambda **after: _read(self._files.list(purpose="batch", **after)))
        return self._again(lambda: [_file(found) for found in listed()], "the list of files")

    def delete_file(self, file_id: str) -> None:
        """Delete a file; one that is gone already is no error."""
        try:
            self._again(lambda: self._files.delete(file_id), f"file {file_id}")
        except RefusedError as error:
            if error.error.status != 404:
                raise

    def size_of(self, file_id: str) -> int | None:
        """How long the server says that a file is, in bytes; None if it does not say."""
        return self._again(lambda: _file(_read(self._files.retrieve(file_id))), f"file {file_id}").size

    def content(self, file_id: str, take: Callable[[bytes], object]) -> int:
        """Hand the bytes of a file to `take`, piece by piece; returns how many came. One try only."""
        with _in_our_words(f"file {file_id}"), self._client.files.with_streaming_response.content(file_id) as reply:
            received = 0
            for piece in reply.iter_bytes():
                take(piece)
                received += len(piece)
        return received

    def _once(self, call: Callable[[], _Result]) -> _Result:
        try:
            return call()
        except Exception as error:
            found = _api_error(error)
            if found.may_have_cost or found.kind is ApiErrorKind.SERVER:
                raise ReplyLost(found) from error
            raise RefusedError(found, "the server") from error

    def _again(self, call: Callable[[], _Result], where: str) -> _Result:
        waits = backing_off(1.0, 30.0, factor=2)
        for tries in range(1, _TRIES + 1):
            try:
                with _in_our_words(where):
                    return call()
            except RefusedError as error:
                if not error.error.retried or tries >= _most_tries(error.error):
                    raise
                self._clock.sleep(error.error.retry_after or next(waits))
        raise AssertionError("unreachable: the last try returns or raises")


def _most_tries(error: ApiError) -> int:
    """How often something is tried at most; a host that swallows what it is sent takes long enough for each try."""
    if not error.unsent:
        return _TRIES
    return 2 if error.message.endswith(TIMED_OUT) else _TRIES_TO_REACH


class _in_our_words:  # noqa: N801 - used like a function
    """Turn what the client raises into `RefusedError`."""

    def __init__(self, where: str):
        self._where = where

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, Exception) and not isinstance(error, LatentextError):
            raise RefusedError(_api_error(error), self._where) from error


def _api_error(error: Exception) -> ApiError:
    if isinstance(error, _MalformedError):
        return ApiError(ApiErrorKind.SERVER, str(error), may_have_cost=True)
    if not is_of_the_network(error):
        raise error  # A fault of ours: it must not look like one of the server.
    return of_exception(error)


def open_remote(base_url: str | None, clock: Clock, *, timeout: float = 120.0, key: str | None = None) -> Remote:
    """A connection to OpenAI, or to a server of the same protocol.

    Args:
        key: in place of the one in the environment, for a server that needs none.

    Raises:
        CredentialsError: there is no key, or it cannot be sent.
        SpecError: the address is none. EngineError: openai is not installed.
    """
    from latentext.engines.server.credentials import api_key, server_address

    address = server_address(base_url)
    redaction = Redaction(None)
    if key is None:
        key, is_real = api_key(address)
        redaction = Redaction(key if is_real else None)
    require()
    import httpx2
    import openai

    patience = httpx2.Timeout(timeout, connect=min(timeout, CONNECT_SECONDS))
    http = guarded_client(redaction, timeout=patience)
    base, query = base_and_query(address)
    client = openai.OpenAI(
        api_key=key, base_url=base, default_query=query, timeout=patience, max_retries=0, http_client=http
    )
    refuse_unsendable_headers(dict(request_headers(client)))
    return Remote(client, clock, redaction)


class _MalformedError(Exception):
    """A good status, and an answer that says nothing."""


def _read(reply: Any) -> Mapping[str, Any]:
    """The JSON object of an answer."""
    try:
        document = json.loads(content_of(reply))
    except (ValueError, RecursionError) as error:
        raise _MalformedError("the answer is no JSON") from error
    if not isinstance(document, Mapping):
        raise _MalformedError("the answer is no JSON object")
    return document


def _pages(page: Callable[..., Mapping[str, Any]]) -> Callable[[], Iterator[Mapping[str, Any]]]:
    """All entries of a list, page by page."""

    def entries() -> Iterator[Mapping[str, Any]]:
        after: dict[str, str] = {}
        while True:
            document = page(**after)
            data = document.get("data")
            if not isinstance(data, list) or not all(isinstance(entry, Mapping) for entry in data):
                raise _MalformedError("the answer is no list")
            yield from data
            last = _word(data[-1].get("id")) if data else ""
            if not document.get("has_more") or not last or after == {"after": last}:
                return
            after = {"after": last}

    return entries


def _batch(found: Mapping[str, Any]) -> RemoteBatch:
    """A batch of an answer; what it has beside an id and a status may be of any form."""
    status, counts, metadata = _word(found.get("status")), _fields(found, "request_counts"), _fields(found, "metadata")
    if not (batch_id := _word(found.get("id"))) or status not in set(BatchStatus):
        raise _MalformedError(f"the answer is no batch with a status that is known: {status[:40]!r}")
    errors = _fields(found, "errors").get("data")
    errors = [entry for entry in errors if isinstance(entry, Mapping)] if isinstance(errors, list) else []
    return RemoteBatch(
        batch_id,
        BatchStatus(status),
        _word(metadata.get(TAG)) or None,
        _count(found.get("created_at")),
        _word(found.get("input_file_id")),
        Counts(**{name: _count(counts.get(name)) for name in Counts.model_fields}),
        _word(found.get("output_file_id")) or None,
        _word(found.get("error_file_id")) or None,
        _problem(errors) if errors else None,
        _word(errors[0].get("code")) or None if errors else None,
    )


def _problem(errors: Sequence[Mapping[str, Any]]) -> str:
    """The first of a batch's errors in one line, and how many more there are."""
    line = f"line {_count(errors[0]['line'])}: " if errors[0].get("line") is not None else ""
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    said = words_of(errors[0]) or one_line(_word(errors[0].get("code"))) or "no reason given"
    return f"{line}{said}{more}"


def _file(found: Mapping[str, Any]) -> RemoteFile:
    if not (file_id := _word(found.get("id"))):
        raise _MalformedError("the answer is no file")
    size = found.get("bytes")
    known = isinstance(size, int) and 0 <= size <= _LARGEST_COUNT
    return RemoteFile(file_id, _word(found.get("filename")), size if known else None)


def _fields(found: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    fields = found.get(name)
    return fields if isinstance(fields, Mapping) else {}


def _word(value: object) -> str:
    """An id or a name as it can go into an address and a file; empty if it is none."""
    return well_formed(value) if isinstance(value, str) else str(value) if isinstance(value, int) and value else ""


def _count(value: object) -> int:
    """A count or a time; 0 where the server gives none that can be one."""
    return int(value) if isinstance(value, (int, float)) and 0 <= value <= _LARGEST_COUNT else 0
