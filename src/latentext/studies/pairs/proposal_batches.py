"""Pairs proposed by a model through the Batch API: the requests that are written, and what is made of the answers.

The batches themselves are the business of `latentext.engines.batch`, which knows nothing of pairs; how a pair
is asked for and judged is that of `latentext.studies.pairs.proposing`, which knows nothing of batches. Here they meet.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from latentext.dataset.outputs import begins, refuse_in_dataset
from latentext.engines.batch.joining import BatchAnswer, Outputs, read_outputs
from latentext.engines.batch.ledger import Ledger, Step, next_number, read_ledger
from latentext.engines.batch.limits import BatchLimits
from latentext.engines.batch.request_files import read_requests, write_requests
from latentext.engines.batch.workspace import BatchWorkspace
from latentext.engines.server.answer import read_text
from latentext.engines.server.request_body import chat_body
from latentext.errors import SpecError
from latentext.request import Message
from latentext.spec import ApiOptions, ModelSpec
from latentext.storage import filesystem
from latentext.storage.atomic import temporary_folder
from latentext.studies.pairs.checkpoint import NOT_A_FAILURE
from latentext.studies.pairs.proposing import (
    PROPOSAL_DECODING,
    Harvest,
    ResponseFormat,
    Yield,
    proposal_messages,
    response_format,
)
from latentext.studies.pairs.proposing import ProposalAnswer as Reply
from latentext.studies.pairs.rounds import Round, needed_requests, round_chats
from latentext.studies.pairs.task import PairTask
from latentext.studies.pairs.tokenizer import PairTokenizer

REQUESTS_A_FILE = 50
_is_requests = begins(r'\{"custom_id": ')
_NUMBERS = re.compile(r"(\d+)")


@dataclass(frozen=True)
class BatchProposals:
    """What is asked for.

    Attributes:
        num_batches, requests_per_batch: files, and requests in each.
        scenarios_per_request: pairs asked for in one request.
        seed: decides topics and words of every request.
    """

    task: PairTask
    model: str = "gpt-4o"
    num_batches: int = 10
    requests_per_batch: int = REQUESTS_A_FILE
    scenarios_per_request: int = 10
    seed: int = 0
    form: ResponseFormat = "json_schema"

    @property
    def requests_a_round(self) -> int:
        """Requests of the first round, and the most that a later one has."""
        return self.num_batches * self.requests_per_batch

    def limits(self, enqueued_tokens: int | None) -> BatchLimits:
        """What one file may hold."""
        return BatchLimits(requests=self.requests_per_batch, enqueued_tokens=enqueued_tokens)

    def bodies(self, first: int = 0) -> Iterator[dict[str, Any]]:
        """The request bodies, from the one with number `first` on.

        Example:
            >>> from latentext.studies.pairs import load_task
            >>> body = next(BatchProposals(load_task("refusal")).bodies())
            >>> body["model"], body["temperature"], body["max_tokens"], body["response_format"]["type"]
            ('gpt-4o', 0.8, 2048, 'json_schema')
        """
        for number in range(first, first + self.requests_a_round):
            yield self.body(proposal_messages(self.task, number, seed=self.seed, pairs=self.scenarios_per_request))

    def body(self, messages: Sequence[Message]) -> dict[str, Any]:
        """The request body of one chat."""
        fields = {"response_format": shape} if (shape := response_format(self.task, self.form)) else {}
        model = ModelSpec(name=self.model, engine="openai-batch", api=ApiOptions(request=fields))
        return chat_body(model, messages, PROPOSAL_DECODING)


def create_batches(
    place: BatchWorkspace, proposals: BatchProposals, limits: BatchLimits, *, add: bool = False, force: bool = False
) -> Ledger:
    """Write request files and the ledger that says that none of them was sent.

    Args:
        add: put them behind the batches that are there.
        force: replace batches of which none was sent.

    Raises:
        SpecError: there are batches already, or requests or answers of batches of which nothing is known here.
        DatasetError: a folder lies in a dataset.
    """
    for folder in (place.requests, place.outputs):
        refuse_in_dataset(folder)
    old = read_ledger(place.requests)
    if old is None:
        _refuse_unknown_requests(place, proposals, limits, force)
    if old is None and any(place.outputs.glob("*.jsonl")):
        raise SpecError(
            "holds answers of other batches, which would be taken for those of the new ones",
            where=str(place.outputs),
            remedy="move them away, or name another folder",
        )
    if old is not None and not add:
        _refuse_or_clear(place, old, force)
        old = None
    return _append(place, proposals, old, proposals.bodies(requests_of(old)), limits)


def add_round(place: BatchWorkspace, proposals: BatchProposals, found: Harvest, limits: BatchLimits) -> Ledger:
    """Write the requests of a further round behind the others: as many as what is missing takes at the yield so far.

    Follows from the answers alone, so a killed command writes the same again.

    Args:
        found: all that came of the rounds before; what was wrong with its pairs is told to the model.
    """
    ledger, each = place.ledger(), proposals.scenarios_per_request
    asked = requests_of(ledger)
    so_far = Round(asked, each, Yield(found.proposed, found.tally.pairs, found.valid))
    count = min(needed_requests([so_far], len(found.scenarios), found.target, each), proposals.requests_a_round)
    chats = round_chats(proposals.task, found, range(asked, asked + count), seed=proposals.seed, pairs_each=each)
    return _append(place, proposals, ledger, map(proposals.body, chats), limits)


def requests_of(ledger: Ledger | None) -> int:
    """How many requests were written so far, those that are asked again not counted."""
    return 0 if ledger is None else int(ledger.about.get("requests", 0))


def rounds_of(ledger: Ledger) -> int:
    """How often requests were added, the first time included."""
    return int(ledger.about.get("rounds", 1))


def _append(
    place: BatchWorkspace,
    proposals: BatchProposals,
    old: Ledger | None,
    bodies: Iterable[dict[str, Any]],
    limits: BatchLimits,
) -> Ledger:
    parts = old.parts if old else ()
    new = tuple(write_requests(place, bodies, limits, first=next_number(parts)))
    about = {
        "model": proposals.model,
        "scenarios_per_request": proposals.scenarios_per_request,
        "requests": requests_of(old) + sum(part.requests for part in new),
        "rounds": rounds_of(old) + 1 if old else 1,
        "seed": proposals.seed,
    }
    base_url = old.base_url if old else None
    ledger = Ledger(name=proposals.task.task_name, base_url=base_url, about=about, parts=(*parts, *new))
    return place.save(ledger)


def _refuse_unknown_requests(
    place: BatchWorkspace, proposals: BatchProposals, limits: BatchLimits, force: bool
) -> None:
    """Refuse request files without a ledger, unless they are what is about to be written: a command was killed."""
    if not (there := sorted(place.requests.glob("request_batch*.jsonl"))):
        return
    with temporary_folder("requests") as folder:
        again = BatchWorkspace(folder, folder)
        ours = {again.request_file(part.number).name for part in write_requests(again, proposals.bodies(), limits)}
        if all(path.name in ours and path.read_bytes() == (folder / path.name).read_bytes() for path in there):
            return
    if not force or not all(_is_requests(path) for path in there):
        raise SpecError(
            f"holds {there[0].name} and no ledger that says whether it was sent",
            where=str(place.requests),
            remedy="move it away, pass --force to replace it, or name another folder",
        )
    for path in there:
        filesystem.remove(path)


def _refuse_or_clear(place: BatchWorkspace, old: Ledger, force: bool) -> None:
    """Make room for new batches, if none of the old ones was ever sent."""
    if len(old.at(Step.PLANNED)) < len(old.parts):
        raise SpecError(
            "holds batches that were sent",
            where=str(place.requests),
            remedy="pass --add to ask for more, or another --output-dir",
        )
    if not force:
        raise SpecError("holds batches already", where=str(place.requests), remedy="pass --add, or --force to replace")
    for part in old.parts:
        filesystem.remove(place.request_file(part.number))


@dataclass(frozen=True)
class Replies:
    """The answers that are here, joined to what was asked.

    Attributes:
        custom_ids: of all requests whose batch has ended, in the order in which they were written.
        outputs: where their answers stand.
        pending: requests whose batch has not ended or not been fetched.
    """

    custom_ids: Sequence[str]
    outputs: Outputs
    pending: int = 0

    def __iter__(self) -> Iterator[Reply]:
        """Every request's reply in order; one without an answer is a failed one."""
        found = self.outputs.answers(self.custom_ids)
        for custom_id in self.custom_ids:
            yield _reply(next(found)) if custom_id in self.outputs else Reply(None, "missing", failed=True)

    def tally(self) -> Counter[str]:
        """How many requests were answered, failed (by kind) or are missing."""
        return self.outputs.tally(self.custom_ids)


def read_replies(folder: Path, requests: Path | None) -> Replies:
    """What is in a folder of output files, whoever wrote them: the Batch API or a local runner of the same format.

    Args:
        folder: files of JSON lines, or one such file.
        requests: the folder of the request files; None, or one without such files, takes what the outputs name, in the
            order of the numbers in their custom_ids.

    Raises:
        SpecError: there is nothing to read.
    """
    files = sorted(folder.glob("*.jsonl"), key=lambda path: _by_numbers(path.name)) if folder.is_dir() else [folder]
    if not files or not all(path.is_file() for path in files):
        raise SpecError("holds no .jsonl files", where=str(folder), remedy="run latentext batch download first")
    ledger = read_ledger(requests) if requests is not None else None
    asked = list(dict.fromkeys(_asked(requests, ledger)))
    outputs = read_outputs(files, asked=set(asked) if asked else None)
    if not asked:
        return Replies(sorted(outputs.ids(), key=_by_numbers), outputs)
    waiting = set(_waiting(requests, ledger)) if ledger is not None and requests is not None else set()
    ended = [custom_id for custom_id in asked if custom_id in outputs or custom_id not in waiting]
    return Replies(ended, outputs, len(asked) - len(ended))


def harvest(replies: Iterable[Reply], task: PairTask, tokenizers: Sequence[PairTokenizer], target: int) -> Harvest:
    """Judge the proposals, in the order of the requests, until there are as many scenarios as wanted."""
    found = Harvest(task, tokenizers, target=target)
    found.take(replies)
    return found


def _asked(requests: Path | None, ledger: Ledger | None) -> Iterator[str]:
    """The custom_ids of all requests, in the order in which they were first written."""
    if requests is None:
        return
    if ledger is not None:
        numbers = [part.number for part in ledger.parts]
        paths = [BatchWorkspace(requests, requests).request_file(number) for number in numbers]
    else:
        paths = sorted(requests.glob("request_batch*.jsonl"), key=lambda path: _by_numbers(path.name))
    for path in paths:
        yield from (line.custom_id for line in read_requests(path))


def _waiting(requests: Path, ledger: Ledger) -> Iterator[str]:
    """The custom_ids of requests in batches whose output is not here yet."""
    for part in ledger.parts:
        if part.step not in (Step.DOWNLOADED, Step.SETTLED):
            path = BatchWorkspace(requests, requests).request_file(part.number)
            yield from (line.custom_id for line in read_requests(path))


def _reply(answer: BatchAnswer) -> Reply:
    if answer.body is None:
        return Reply(None, answer.outcome, failed=True)
    text = read_text(answer.body)
    if text.text is not None:
        return Reply(text.text, text.finish_reason)
    refused = text.reason in NOT_A_FAILURE
    return Reply(None, "refusal" if refused else text.reason, failed=not refused)


def _by_numbers(name: str) -> list[tuple[int, str]]:
    """A key that sorts request-2-0 before request-10-0."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in _NUMBERS.split(name)]
