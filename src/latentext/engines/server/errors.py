"""What a server can answer instead of a text: a small closed set, decided once, at the edge.

Whether something is tried again, stops the run or fails one request follows from the kind alone, so nobody behind this
file looks at status codes. The same rule serves an exception of the official client, a bare HTTP answer and a line of a
batch's error file.
"""

from __future__ import annotations

import email.utils
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from latentext.engines.server.answer_size import TooLargeError
from latentext.engines.server.http_errors import RedirectError
from latentext.engines.server.reaching import broken, place_of, reason_of, unsent
from latentext.engines.server.server_text import one_line, words_of_page
from latentext.errors import BudgetError, CredentialsError, EngineError, LatentextError, SpecError


class ApiErrorKind(StrEnum):
    """Every way in which a request can go wrong."""

    AUTH = "auth"
    QUOTA = "quota"
    NOT_FOUND = "not-found"
    RATE = "rate"
    CONTEXT = "context"
    CONTENT = "content"
    TOO_LARGE = "too-large"
    REDIRECT = "redirect"
    SERVER = "server"
    NETWORK = "network"
    BAD_REQUEST = "bad-request"


RETRIED = frozenset({ApiErrorKind.RATE, ApiErrorKind.SERVER, ApiErrorKind.NETWORK})
"""Kinds that may pass by themselves."""

_NOT_YET = (409, 425, 429)
_TIMED_OUT = 408
_UNTRIED_CODES = {"batch_expired", "batch_cancelled"}
"""Of requests that a batch never tried."""
_QUOTA_CODES = {"insufficient_quota", "billing_hard_limit_reached", "billing_not_active", "quota_exceeded"}
_RATE_CODES = {"rate_limit_exceeded", "rate_limit_error", "too_many_requests", "overloaded_error"}
_CONTEXT_CODES = {"context_length_exceeded", "string_above_max_length"}
_CONTENT_CODES = {"content_policy_violation", "content_filter", "invalid_prompt"}
_AUTH_CODES = {"invalid_api_key", "account_deactivated", "invalid_organization", "incorrect_api_key"}
_MODEL_CODES = {"model_not_found", "DeploymentNotFound"}
_SAYING = ("message", "msg", "detail", "error", "errors", "title", "reason")
"""Fields in which servers put the words of an error, the most telling first."""
_DEEPEST = 5
_PARAMETER_CODES = {"unsupported_parameter", "unsupported_value", "unknown_parameter", "unrecognized_parameter"}


@dataclass(frozen=True)
class ApiError:
    """One error, as the rest of the package knows it.

    Attributes:
        message: the server's own words in one line, without keys.
        status: of the HTTP answer; None where there was none.
        code: the server's word for it, if it gave one.
        retry_after: seconds that the server asks to wait; None if it does not say.
        may_have_cost: the request reached the server and nobody knows whether its answer was billed.
        unsent: no connection came about, so there was no request.
    """

    kind: ApiErrorKind
    message: str
    status: int | None = None
    code: str | None = None
    retry_after: float | None = None
    may_have_cost: bool = False
    unsent: bool = False

    @property
    def in_words(self) -> str:
        """What happened, as a person says it.

        Example:
            >>> ApiError(ApiErrorKind.SERVER, "oops", 500).in_words
            'the server answered with error 500 ("oops")'
        """
        if self.status is None:
            return self.message
        if self.status < 400:
            return f"the server's answer cannot be used ({self.message})"
        said = "" if self.message == no_words(self.status) else f' ("{self.message}")'
        return f"the server answered with error {self.status}{said}"

    @property
    def answered(self) -> bool:
        """Whether the server gave its answer to the request: if it is sent again, as another attempt.

        Not if it asks to come back (too fast, or the first of two equal requests still works), and not if it is silent.
        """
        return self.status is not None and self.status not in _NOT_YET

    @property
    def retried(self) -> bool:
        """Whether it is worth asking again."""
        return self.kind in RETRIED

    @property
    def stops(self) -> bool:
        """Whether every other request would meet it too."""
        if self.kind is ApiErrorKind.BAD_REQUEST:
            return self.code in _PARAMETER_CODES
        return self.kind in (ApiErrorKind.AUTH, ApiErrorKind.QUOTA, ApiErrorKind.NOT_FOUND, ApiErrorKind.REDIRECT)


def of_status(
    status: int, body: object, headers: Mapping[str, str] | None = None, *, now: float | None = None
) -> ApiError:
    """The error that an HTTP answer is.

    Args:
        body: the decoded JSON of the answer, or its text where it is no JSON.
        headers: of the answer, names in lower case; for how long to wait.
        now: seconds since the epoch, for a date in ``Retry-After``.

    Example:
        >>> error = of_status(429, {"error": {"message": "Slow down"}}, {"retry-after": "2"})
        >>> error.kind.value, error.retry_after, error.retried
        ('rate', 2.0, True)
    """
    message, code, kind_word = _words(body)
    kind = _kind(status, message.lower(), {word for word in (code, kind_word) if word})
    wait = _wait(headers or {}, time.time() if now is None else now)
    # Nobody knows how far a server came that failed at a request; one that refuses it did not begin.
    may_have_cost = status >= 500 or status == _TIMED_OUT
    return ApiError(kind, message or no_words(status), status, code, wait, may_have_cost)


def no_words(status: int) -> str:
    """The message of an error whose answer says nothing."""
    return f"HTTP status {status}"


def of_exception(error: Exception) -> ApiError:
    """The error that an exception of the official client is, or of its HTTP client, or of the network beneath."""
    import httpx2
    import openai

    if isinstance(error, openai.APIStatusError):
        headers = {name.lower(): value for name, value in error.response.headers.items()}
        return of_status(
            error.status_code, {"error": error.body} if isinstance(error.body, dict) else error.body, headers
        )
    if unsent(error):
        return ApiError(ApiErrorKind.NETWORK, f"no connection{_whereto(error)}: {reason_of(error)}", unsent=True)
    # Over aiohttp a connection that the server dropped is a `ConnectTimeout`: what was sent may be billed.
    if (how := broken(error)) is not None:
        return ApiError(ApiErrorKind.NETWORK, how, may_have_cost=True)
    if isinstance(error, (openai.APITimeoutError, httpx2.TimeoutException, TimeoutError)):
        return ApiError(ApiErrorKind.NETWORK, "no answer in time (model.api.timeout)", may_have_cost=True)
    if isinstance(error, openai.APIConnectionError) and isinstance(error.__cause__, Exception):
        return of_exception(error.__cause__)
    if isinstance(error, TooLargeError):
        return ApiError(ApiErrorKind.TOO_LARGE, str(error), 200, may_have_cost=True)
    if isinstance(error, RedirectError):
        return ApiError(ApiErrorKind.REDIRECT, str(error))
    if isinstance(error, httpx2.TransportError):
        return _lost_connection(error)
    return ApiError(ApiErrorKind.NETWORK, one_line(str(error) or type(error).__name__), may_have_cost=True)


def error_inside(body: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> ApiError | None:
    """The error in an answer of status 200 that has no choice, as some proxies send it; None if there is none.

    It is treated like an answer of the status that its code names, or else like the server's own fault. Some servers
    do not call it an error: then a body without a choice and without usage, but with words, is one.

    Example:
        >>> error_inside({"choices": None, "error": {"code": 429, "message": "busy"}}).kind.value
        'rate'
        >>> error_inside({"object": "error", "message": "no such model", "code": 404}).kind.value
        'not-found'
    """
    error = body.get("error")
    if not error and not body.get("usage") and words_of(body):
        error = body
    if body.get("choices") or not error or not isinstance(error, (Mapping, str)):
        return None
    code = str(error.get("code") or error.get("status") or "") if isinstance(error, Mapping) else ""
    status = int(code) if code.isascii() and code.isdigit() and len(code) == 3 else 0
    if not 400 <= status < 600:
        _, *names = _words(body)
        status = 429 if _RATE_CODES & set(names) else 500
    return of_status(status, body, headers)


def of_batch_line(line: Mapping[str, Any]) -> ApiError | None:
    """The error that a line of a batch's output or error file is; None if it is an answer."""
    response, error = line.get("response"), line.get("error")
    if isinstance(error, Mapping) and error:
        code = str(error.get("code") or "")
        message = one_line(str(error.get("message") or code or "the batch gives no reason"))
        kind = ApiErrorKind.QUOTA if code in _QUOTA_CODES else ApiErrorKind.SERVER
        refused = code in _UNTRIED_CODES or kind is ApiErrorKind.QUOTA
        return ApiError(kind, message, code=code or None, may_have_cost=not refused)
    if not isinstance(response, Mapping):
        return ApiError(ApiErrorKind.SERVER, "the line holds neither an answer nor an error", may_have_cost=True)
    status = response.get("status_code")
    if not isinstance(status, int) or isinstance(status, bool):
        return ApiError(ApiErrorKind.SERVER, "the line has no status code", may_have_cost=True)
    body = response.get("body")
    if not 200 <= status < 300:
        return of_status(status, body)
    return error_inside(body) if isinstance(body, Mapping) else None


def stopping_error(error: ApiError, *, where: str | None = None) -> LatentextError:
    """The error that ends a run: with exit code 2 for a key, a model or an option, 3 for a quota, else 1."""
    if error.kind is ApiErrorKind.AUTH:
        remedy = "check OPENAI_API_KEY" if error.status != 403 else "this key may not do that"
        return CredentialsError(
            f"the server refused the key: {error.message}", where=where, remedy=remedy, heading="OpenAI keys"
        )
    if error.kind is ApiErrorKind.QUOTA:
        return BudgetError(
            f"the account's quota is used up: {error.message}",
            where=where,
            remedy="add credit, then give the same command again",
            heading="Quota and budgets",
        )
    if error.kind is ApiErrorKind.NOT_FOUND:
        if error.code in _MODEL_CODES or "model" in error.message.lower():
            return SpecError(f"the server has no such model: {error.message}", where=where or "model.name")
        what = f"the server answers no chats at this address: {error.message}"
        return SpecError(what, where=where or "model.api.base_url", remedy="many addresses end in /v1")
    if error.kind is ApiErrorKind.BAD_REQUEST:
        return SpecError(
            f"the server does not take this request: {error.message}",
            where=where or "model.api.request",
            remedy="a field set to null there is left out of every request",
        )
    if error.kind is ApiErrorKind.REDIRECT:
        remedy = "if you trust that address, set base_url to it"
        return SpecError(error.message, where=where or "model.api.base_url", remedy=remedy)
    if error.unsent:
        return unreachable(error.message)
    return EngineError(error.in_words, where=where)


def unreachable(problem: str) -> EngineError:
    """The error of a server that is not there."""
    remedy = "see that it runs and that the address is right, then give the same command again"
    return EngineError(problem, remedy=remedy, heading="A server that cannot be reached")


def _kind(status: int, message: str, words: set[str]) -> ApiErrorKind:
    if words & _QUOTA_CODES or status == 402:
        return ApiErrorKind.QUOTA
    if words & _MODEL_CODES:
        return ApiErrorKind.NOT_FOUND
    if status in (401, 403) or words & _AUTH_CODES:
        return ApiErrorKind.AUTH
    if status == 404:
        return ApiErrorKind.NOT_FOUND
    if status == 429:
        return ApiErrorKind.RATE
    if status in (408, 409, 425) or status >= 500:
        return ApiErrorKind.SERVER
    if words & _CONTEXT_CODES or "maximum context length" in message or "context size" in message:
        return ApiErrorKind.CONTEXT
    if words & _CONTENT_CODES:
        return ApiErrorKind.CONTENT
    return ApiErrorKind.BAD_REQUEST


def _words(body: object) -> tuple[str, str | None, str | None]:
    """Message, code and type of an error body; servers nest them, or do not, or send plain text."""
    if isinstance(body, (str, bytes)):
        text = body.decode(errors="replace") if isinstance(body, bytes) else body
        try:
            body = json.loads(text)
        except (ValueError, RecursionError):
            return one_line(words_of_page(text)), None, None
    if not isinstance(body, Mapping):
        return "", None, None
    inner = body.get("error") or body
    if not isinstance(inner, Mapping):
        return words_of(inner), None, None
    if _is_about_a_field(inner.get("detail")):
        return words_of(inner), "unsupported_value", None
    code, kind = inner.get("code"), inner.get("type")
    return words_of(inner), str(code) if code is not None else None, str(kind) if kind is not None else None


def words_of(error: object, depth: int = 0) -> str:
    """What an error says, in one line, in whichever field the server says it; empty if it says nothing.

    Example:
        >>> words_of({"detail": [{"loc": ["body", "top_p"], "msg": "must be at most 1"}]})
        'top_p: must be at most 1'
    """
    if depth > _DEEPEST:
        return ""
    if isinstance(error, Mapping):
        where = error.get("loc")
        field = ".".join(str(step) for step in where if step != "body") if isinstance(where, list) else ""
        said = next((words for name in _SAYING if (words := words_of(error.get(name), depth + 1))), "")
        return one_line(f"{field}: {said}" if field and said else field or said)
    if isinstance(error, list):
        return one_line("; ".join(words for entry in error[:10] if (words := words_of(entry, depth + 1))))
    return one_line(str(error)) if isinstance(error, (str, int, float)) else ""


def _is_about_a_field(detail: object) -> bool:
    """Whether a server of FastAPI refuses a field of the body that every request has."""
    fields = [entry.get("loc") for entry in detail if isinstance(entry, Mapping)] if isinstance(detail, list) else []
    return any(
        isinstance(loc, list) and loc[:1] == ["body"] and len(loc) > 1 and loc[1] != "messages" for loc in fields
    )


def _wait(headers: Mapping[str, str], now: float) -> float | None:
    """Seconds to wait, from ``retry-after-ms`` or ``retry-after`` (seconds or a date)."""
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        try:
            return max(0.0, float(headers[name]) * unit)
        except (KeyError, ValueError):
            continue
    if (date := headers.get("retry-after")) is None or (parsed := email.utils.parsedate_tz(date)) is None:
        return None
    try:
        return max(0.0, email.utils.mktime_tz(parsed) - now)
    except (ValueError, OverflowError):  # A date that no calendar has.
        return None


def _lost_connection(cause: BaseException) -> ApiError:
    """A connection that broke while or after the request was sent."""
    reason = one_line(str(cause)) or type(cause).__name__
    return ApiError(ApiErrorKind.NETWORK, f"connection failed: {reason}", may_have_cost=True)


def _whereto(error: BaseException) -> str:
    """Such as `` to 127.0.0.1:8799``, where the error knows it."""
    try:
        return f" to {place_of(str(error.request.url))}"  # type: ignore[attr-defined]
    except (AttributeError, RuntimeError):
        return ""
