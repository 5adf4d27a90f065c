"""Request files of the Batch API, answered by an engine on this machine; the output files are those of the API.

Their requests become one ordinary dataset, so an interrupted run goes on, and any engine will do. What an engine has no
means for, such as a JSON schema, is left to the model.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from latentext.dataset.outputs import OutputKind, begins, checked_file, output_file
from latentext.engines.batch.request_files import read_requests
from latentext.engines.batch.workspace import BatchWorkspace
from latentext.errors import SpecError
from latentext.run.progress import Progress
from latentext.run.runner import make_dataset
from latentext.spec import Decoding, ModelSpec, Spec
from latentext.studies.pairs.checkpoint import Checkpoint
from latentext.studies.pairs.proposing import ProposalAnswer

_FOLDER = "local"
_ANSWERS = OutputKind("answers of this machine", begins(r'\{"id": "local-'))
_LIMITS = ("max_completion_tokens", "max_tokens")


def answer_locally(
    place: BatchWorkspace, model: ModelSpec, *, max_tokens: int | None = None, progress: Progress | None = None
) -> int:
    """Answer all request files of a folder; returns the number of requests.

    Args:
        place: its output files are written, and a folder ``local`` beside them from which a killed run continues.
        max_tokens: of an answer at most, in place of what the requests say.

    Raises:
        SpecError: there are no request files, or their requests are decoded in different ways.
        DatasetError: an output file holds answers of a server.
    """
    files = sorted(place.requests.glob("request_batch*.jsonl"), key=_number)
    requests = {path: _requests(path) for path in files}
    bodies = [body for found in requests.values() for _, body in found]
    if not bodies:
        raise SpecError("holds no request files", where=str(place.requests), remedy="run latentext batch create first")
    for path in files:  # Answers that a server was paid for are not replaced, and that is said before work is done.
        checked_file(place.output_file(_number(path)), _ANSWERS, overwrite=True, option=None)
    checkpoint = Checkpoint(place.outputs / _FOLDER)
    checkpoint.begin({"requests": hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()})
    if not checkpoint.rounds():
        checkpoint.add_round(0, [body["messages"] for body in bodies])
    make_dataset(_spec(checkpoint, model, bodies, max_tokens), checkpoint.answers, progress=progress)
    answers = iter(checkpoint.read_answers(range(len(bodies))))
    for path, found in requests.items():
        with output_file(place.output_file(_number(path)), _ANSWERS, overwrite=True) as file:
            for (custom_id, _), answer in zip(found, islice(answers, len(found)), strict=True):
                file.write(json.dumps(_output(custom_id, model.name, answer), ensure_ascii=False).encode() + b"\n")
    return len(bodies)


def _requests(path: Path) -> list[tuple[str, dict[str, Any]]]:
    """The custom_id and body of each request of a file."""
    text = path.read_bytes()
    lines = list(read_requests(path))
    return [(line.custom_id, json.loads(text[line.offset : line.offset + line.length])["body"]) for line in lines]


def _spec(checkpoint: Checkpoint, model: ModelSpec, bodies: Sequence[Mapping[str, Any]], most: int | None) -> Spec:
    decoding = _decoding(bodies)
    if most is not None:
        decoding = {**decoding, "max_new_tokens": most}
    return Spec.model_validate(
        {
            "name": "local-batch",
            "description": "Requests of batch files, answered on this machine",
            "model": model.model_dump(),
            "prompts": {"file": str(checkpoint.requests.resolve())},
            "decoding": decoding,
        }
    )


def _decoding(bodies: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """How the requests are to be decoded, which is one way for all."""
    ways = list({json.dumps(way, sort_keys=True): way for way in map(_way, bodies)}.values())
    if len(ways) > 1:
        what = f"the requests are decoded in {len(ways)} ways, such as {ways[0]} and {ways[1]}"
        raise SpecError(what, remedy="give files whose requests have the same temperature and limits")
    return ways[0]


def _way(body: Mapping[str, Any]) -> dict[str, Any]:
    limit = next((body[name] for name in _LIMITS if body.get(name)), Decoding().max_new_tokens)
    # What the protocol means where a request does not say it.
    way = {"max_new_tokens": limit, "temperature": body.get("temperature", 1.0), "top_p": body.get("top_p", 1.0)}
    stop = body.get("stop") or ()
    return {**way, "stop": [stop] if isinstance(stop, str) else list(stop)}


def _output(custom_id: str, model: str, answer: ProposalAnswer) -> dict[str, Any]:
    """One line of an output file."""
    line: dict[str, Any] = {"id": f"local-{custom_id}", "custom_id": custom_id, "response": None, "error": None}
    if answer.failed:
        return {**line, "error": {"code": answer.finish_reason, "message": "the request failed on this machine"}}
    message = {"role": "assistant", "content": answer.text}
    choice = {"index": 0, "message": message, "finish_reason": answer.finish_reason}
    body = {"object": "chat.completion", "model": model, "choices": [choice]}
    return {**line, "response": {"status_code": 200, "request_id": line["id"], "body": body}}


def _number(path: Path) -> int:
    digits = "".join(character for character in path.stem if character.isdigit())
    return int(digits or 0)
