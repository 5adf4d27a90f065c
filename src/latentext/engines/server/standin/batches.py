"""Files and batches of the stand-in server, in memory: the same words and steps as the service's.

A batch goes one step further each time it is looked at: validating, in_progress, finalizing, then its end. Its requests
are answered by the function that answers chat completions, and counted: `billed` says how often each was paid for,
which is what the tests of kills look at.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from latentext.engines.server.standin.batch_faults import BatchFaults, Ending
from latentext.engines.server.standin.faults import edited
from latentext.engines.server.standin.files import FileStore, StoredFile
from latentext.engines.server.standin.http import HttpReply, HttpRequest
from latentext.engines.server.standin.server import StandIn, billed_usage
from latentext.request import Usage

_STEPS = ("validating", "in_progress", "finalizing")
_ENDED = ("completed", "failed", "expired", "cancelled")


@dataclass
class _Batch:
    id: str
    endpoint: str
    input_file_id: str
    metadata: Mapping[str, str]
    created_at: int
    ending: Ending
    hidden: int
    status: str = "validating"
    errors: list[dict[str, Any]] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=lambda: {"total": 0, "completed": 0, "failed": 0})
    output_file_id: str | None = None
    error_file_id: str | None = None

    def described(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "object": "batch",
            "endpoint": self.endpoint,
            "errors": {"object": "list", "data": self.errors} if self.errors else None,
            "input_file_id": self.input_file_id,
            "completion_window": "24h",
            "status": self.status,
            "output_file_id": self.output_file_id,
            "error_file_id": self.error_file_id,
            "created_at": self.created_at,
            "request_counts": self.counts,
            "metadata": dict(self.metadata),
        }


class BatchDesk:
    """Everything below ``/v1/files`` and ``/v1/batches`` of a stand-in.

    Args:
        server: where it is put up; its chat completions answer the requests of batches too.
        faults: what goes wrong; may be replaced at any time.

    Attributes:
        created: how many batches were made.
        billed: custom_id → how often it was answered, and so paid.
        bill: what was paid for each time, whatever the answer says of it.

    Example:
        >>> import urllib.request
        >>> with StandIn() as server:
        ...     desk = BatchDesk(server)
        ...     listed = json.loads(urllib.request.urlopen(server.url + "/batches").read())
        >>> listed["data"], desk.created
        ([], 0)
    """

    def __init__(self, server: StandIn, faults: BatchFaults | None = None):
        self.files = FileStore()
        self.created = 0
        self.billed: Counter[str] = Counter()
        self.bill: list[Usage] = []
        self._server, self.faults = server, faults or BatchFaults()
        self._batches: dict[str, _Batch] = {}
        self._failed: Counter[str] = Counter()
        self._used: Counter[str] = Counter()
        for room in ("/v1/files", "/v1/batches"):
            for method in ("GET", "POST", "DELETE"):
                server.route(method, room, self._handle)

    def reveal(self) -> None:
        """Let lists show every batch from now on."""
        for batch in self._batches.values():
            batch.hidden = 0

    def _handle(self, request: HttpRequest) -> HttpReply | None:
        room, *rest = request.path.strip("/").split("/")[1:]
        try:
            if room == "files":
                return self._files(request, rest)
            return self._batches_room(request, rest)
        except KeyError as error:
            return _error(404, f"No such object: {error.args[0]}", "not_found")
        except ValueError as error:
            return _error(400, str(error), "invalid_request")

    def _files(self, request: HttpRequest, rest: Sequence[str]) -> HttpReply | None:
        match request.method, rest:
            case "POST", []:
                if self._once("rate_limited"):
                    return _error(429, "Slow down", "rate_limit_exceeded")
                stored = self.files.upload(request.headers.get("content-type", ""), request.body)
                return None if self._once("lost_uploads") else self._described(stored)
            case "GET", []:
                purpose = request.query.get("purpose")
                files = [file for file in self.files.files.values() if purpose in (None, file.purpose)]
                return _listed([file.described() for file in reversed(files)], request.query, 10_000)
            case "GET", [file_id]:
                return self._described(self.files.files[file_id])
            case "GET", [file_id, "content"]:
                return self._content(self.files.files[file_id])
            case "DELETE", [file_id]:
                self.files.delete(file_id)
                return _json({"id": file_id, "object": "file", "deleted": True})
        return _error(405, f"{request.method} is not known here", "method_not_allowed")

    def _described(self, stored: StoredFile) -> HttpReply:
        described = stored.described()
        if not self.faults.sizes:
            described["bytes"] = -1
        return _json(described)

    def _content(self, stored: StoredFile) -> HttpReply:
        half = len(stored.content) // 2 if self._once("short_downloads") else None
        if half is not None and self.faults.silently_short:
            return HttpReply(body=stored.content[:half], content_type="application/octet-stream")
        return HttpReply(body=stored.content, content_type="application/octet-stream", cut=half)

    def _batches_room(self, request: HttpRequest, rest: Sequence[str]) -> HttpReply | None:
        match request.method, rest:
            case "POST", []:
                return self._create(json.loads(request.body))
            case "GET", []:
                seen = [batch for batch in reversed(self._batches.values()) if batch.hidden <= 0]
                for batch in self._batches.values():
                    batch.hidden -= 1
                return _listed([batch.described() for batch in seen], request.query, 20)
            case "GET", [batch_id]:
                self._advance(self._batches[batch_id])
                return _json(self._batches[batch_id].described())
            case "POST", [batch_id, "cancel"]:
                batch = self._batches[batch_id]
                if batch.status in _ENDED:
                    return _error(409, f"Cannot cancel a batch with status '{batch.status}'.", "conflict")
                batch.status = "cancelling"
                return _json(batch.described())
        return _error(405, f"{request.method} is not known here", "method_not_allowed")

    def _create(self, asked: Mapping[str, Any]) -> HttpReply | None:
        if self._once("rate_limited"):
            return _error(429, "Slow down", "rate_limit_exceeded")
        self.files.files[asked["input_file_id"]]
        ending = self.faults.endings[self.created] if self.created < len(self.faults.endings) else Ending()
        self.created += 1
        batch = _Batch(
            f"batch_{self.created:06d}",
            asked["endpoint"],
            asked["input_file_id"],
            asked.get("metadata") or {},
            int(time.time()),
            ending,
            self.faults.hidden_lists,
        )
        self._batches[batch.id] = batch
        if self._once("failed_creations"):
            return _error(503, "The server is overloaded", "overloaded")
        return None if self._once("lost_creations") else _json(batch.described())

    def _advance(self, batch: _Batch) -> None:
        """One step further."""
        if batch.status in _ENDED:
            return
        if batch.status == "validating" and (errors := self._faulty_lines(batch)):
            batch.status, batch.errors = "failed", errors
        elif batch.status == "validating" and batch.ending.status == "failed":
            batch.status = "failed"
            batch.errors = [{"code": batch.ending.code, "message": batch.ending.message, "line": None, "param": None}]
        elif batch.status == "cancelling":
            self._finish(batch, Ending("cancelled", batch.ending.answered or 0))
        elif batch.status == _STEPS[-1]:
            self._finish(batch, batch.ending)
        else:
            batch.status = _STEPS[_STEPS.index(batch.status) + 1]
            batch.counts["total"] = len(self._lines(batch))

    def _lines(self, batch: _Batch) -> list[dict[str, Any]]:
        content = self.files.files[batch.input_file_id].content
        return [json.loads(line) for line in content.splitlines() if line.strip()]

    def _faulty_lines(self, batch: _Batch) -> list[dict[str, Any]]:
        """What the service says of an input file that it does not take."""
        seen: set[str] = set()
        for number, line in enumerate(self.files.files[batch.input_file_id].content.splitlines(), start=1):
            try:
                custom_id, url = (document := json.loads(line))["custom_id"], document["url"]
            except (ValueError, KeyError, TypeError):
                return [_line_error("invalid_json_line", "This line is not parseable as valid JSON.", number)]
            if custom_id in seen:
                return [_line_error("duplicate_custom_id", f"custom_id '{custom_id}' was used before.", number)]
            if url != batch.endpoint:
                return [_line_error("mismatched_url", f"The url '{url}' is not the batch's endpoint.", number)]
            seen.add(custom_id)
        return []

    def _finish(self, batch: _Batch, ending: Ending) -> None:
        """Answer the requests, as many as this ending allows, and leave the files."""
        lines = self._lines(batch)
        answered = len(lines) if ending.answered is None else ending.answered
        output, errors = list[dict[str, Any]](), list[dict[str, Any]]()
        for line in lines[:answered]:
            status, body = self._result(line)
            kept = {"id": f"batch_req_{batch.id}_{len(output)}", "custom_id": line["custom_id"]}
            kept |= {"response": {"status_code": status, "request_id": "stand-in", "body": body}, "error": None}
            (output if status == 200 else errors).append(kept)
        code = {"expired": "batch_expired", "cancelled": "batch_cancelled"}.get(ending.status)
        for line in lines[answered:]:
            error = {"code": code, "message": f"The batch was {ending.status} before this request was tried."}
            errors.append({"id": "", "custom_id": line["custom_id"], "response": None, "error": error})
        batch.counts = {"total": len(lines), "completed": len(output), "failed": len(errors)}
        if output:
            name = f"{batch.id}_output.jsonl"
            batch.output_file_id = self.files.add(name, "batch_output", self._spoiled(output)).id
        if errors:
            name = f"{batch.id}_error.jsonl"
            batch.error_file_id = self.files.add(name, "batch_output", _json_lines(errors)).id
        batch.status = ending.status

    def _result(self, line: Mapping[str, Any]) -> tuple[int, Mapping[str, Any]]:
        custom_id = line["custom_id"]
        for name in (custom_id, line["body"]["messages"][-1]["content"]):
            fault = self.faults.requests.get(name)
            if fault is not None and self._failed[name] < fault.times:
                self._failed[name] += 1
                return fault.status, {"error": fault.error}
        self.billed[custom_id] += 1
        answer = self._server.answer(line["body"], self.billed.total())
        self.bill.append(billed_usage(answer))
        if self.faults.spoiled == "500":
            return 500, {"error": {"message": "The server had an error"}}
        return 200, edited(answer, self.faults.edit)

    def _spoiled(self, lines: list[dict[str, Any]]) -> bytes:
        """An output file as the faults want it."""
        kept = []
        for line in lines:
            if line["custom_id"] in self.faults.missing and not self._used[f"missing {line['custom_id']}"]:
                self._used[f"missing {line['custom_id']}"] += 1
                continue
            if self.faults.spoiled == "missing":
                continue
            if self.faults.spoiled == "no body":
                line = line | {"response": {"status_code": 200, "body": None}}
            kept += [line, line] if self.faults.doubled else [line]
        if self.faults.unknown and lines:
            kept.append(lines[0] | {"custom_id": "nobody-asked-for-this"})
        if self.faults.shuffled:
            kept.reverse()
        content = _json_lines(kept)
        if self.faults.spoiled == "broken":
            content = b"".join(line[: len(line) // 2] + b"\n" for line in content.splitlines())
        return content + b'{"id": "batch_req_half", "custom_id": "requ' if self.faults.half_line else content

    def _once(self, fault: str) -> bool:
        """Whether this fault happens now: it does as often as it was asked for."""
        self._used[fault] += 1
        return self._used[fault] <= int(getattr(self.faults, fault))


def _json(document: Mapping[str, Any], *, status: int = 200) -> HttpReply:
    return HttpReply(status, json.dumps(document).encode())


def _error(status: int, message: str, code: str) -> HttpReply:
    kind = "invalid_request_error" if status < 500 else "server_error"
    return _json({"error": {"message": message, "type": kind, "param": None, "code": code}}, status=status)


def _line_error(code: str, message: str, line: int) -> dict[str, Any]:
    return {"code": code, "message": message, "line": line, "param": None}


def _json_lines(lines: Sequence[Mapping[str, Any]]) -> bytes:
    return b"".join(json.dumps(line).encode() + b"\n" for line in lines)


def _listed(objects: Sequence[Mapping[str, Any]], query: Mapping[str, str], page: int) -> HttpReply:
    """One page of a list, as ``after`` and ``limit`` ask."""
    limit = int(query.get("limit", page))
    after = query.get("after")
    start = next((place + 1 for place, found in enumerate(objects) if found["id"] == after), 0)
    data = objects[start : start + limit]
    ends = {"first_id": data[0]["id"], "last_id": data[-1]["id"]} if data else {"first_id": None, "last_id": None}
    return _json({"object": "list", "data": list(data), "has_more": start + limit < len(objects), **ends})
