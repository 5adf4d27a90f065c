"""Making a plan in one pass over the rows, opening it in milliseconds, letting it grow.

The pass notes two digests of every request: of its prompt, and of what is stored with it (the row's columns and the
messages). The first say later how many equal prompts stand before a request. Both say whether changed input still
begins with the requests that were planned: then the new ones are added behind as a segment of their own, and everything
finished stays finished; otherwise the change is refused. The same digests are compared when a shard's requests are
made, so rows that changed under a running run are found before anything is written.

Folder: `digests.u64` and `rows.u64` (little-endian, one a request), `occurrences.u64` (see `occurrences`), and, written
last, `plan.json`. No time, host or path is in them. Plans of 0.1.0 have no `rows.u64`: it is made when they are opened,
held to the rows that the finished records have.
"""

from __future__ import annotations

import hashlib
import shutil
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from transformers import PreTrainedTokenizerBase

from latentext.errors import SpecError
from latentext.phases import phase
from latentext.plan.comparing import (
    DIGEST,
    PROMPTS,
    ROWS,
    changed,
    digests_of_all,
    digests_sha256,
    read_digests,
    refuse_changed,
    refuse_changed_records,
)
from latentext.plan.encoding import Prompt, PromptEncoder
from latentext.plan.keys import canonical_json, decoding_identity, request_key
from latentext.plan.note import PlanNote
from latentext.plan.occurrences import occurrences_sha256, read_occurrences, write_occurrences
from latentext.plan.refusals import refuse_idle_options
from latentext.plan.shards import Shard, Shards
from latentext.plan.stored import StoredRows
from latentext.plan.sweep import AtTemperatures, Chats
from latentext.prompts.before import until_accepted
from latentext.prompts.chat import ChatFormat
from latentext.prompts.conversations import open_conversations
from latentext.prompts.rows import BadRow
from latentext.prompts.tokenizer import tokenizer_fingerprint
from latentext.request import Failure, Request
from latentext.spec import Decoding, Spec
from latentext.storage.atomic import atomic_file
from latentext.storage.filesystem import make_folder, open_regular

Reached = Callable[[int, int], None]
"""Called with (requests read, requests to read)."""

_ENCODING = threading.Lock()
"""Fast tokenizers refuse to be used from two threads at once, and shards may be generated side by side."""

_OCCURRENCES = "occurrences.u64"
_CHUNK = 8192


@dataclass(frozen=True, slots=True)
class Plan:
    """All requests of a spec, in order, cut into shards.

    Attributes:
        count: requests in `shards`.
        planned: requests that were ever planned here; more than `count` under a lower limit than before.
        shards: in order; any of them can be asked for without those before.
        prompt_tokens: tokens of all prompts (without a tokenizer bytes, which bound them).
        longest_prompt: the same of the longest one.
        removed_dates: sentences of the chat template about dates that all prompts are made without.
        left_out: columns of the input that the requests' variables lack, since JSON has no form for their values.
    """

    count: int
    planned: int
    shards: Shards
    prompt_tokens: int
    longest_prompt: int
    left_out: tuple[str, ...]
    _directory: Path
    _encoder: PromptEncoder
    _stored: StoredRows | None
    _model_id: str
    _decoding: Decoding
    removed_dates: tuple[str, ...] = ()

    def requests(self, shard: Shard) -> tuple[list[Request], list[Failure]]:
        """The requests of a shard, and for rows that gave none the reason (as sample 0).

        Raises:
            SpecError: the rows are not those that were planned: an input changed since.
        """
        with _ENCODING:
            prompts = list(self._encoder.prompts(shard.start, shard.stop))
        refuse_changed(self._encoder, prompts, self._directory, shard.start, self._stored)
        occurrences = read_occurrences(self._directory / _OCCURRENCES, shard.start, shard.stop)
        decoding = {t: decoding_identity(self._decoding.at(t)) for t in (None, *self._decoding.temperatures)}
        requests, failures = [], []
        for index, prompt, occurrence in zip(range(shard.start, shard.stop), prompts, occurrences, strict=True):
            if isinstance(prompt, BadRow):
                failures.append(Failure(index, 0, prompt.reason, prompt.message))
                continue
            temperature = prompt.temperature
            key = request_key(prompt.identity, self._model_id, decoding[temperature], int(occurrence))
            chat = (prompt.variables, prompt.messages, prompt.text, prompt.token_ids)
            requests.append(Request(index, key, *chat, temperature))
        return requests, failures


def make_plan(
    spec: Spec,
    *,
    tokenizer: PreTrainedTokenizerBase | None,
    model_id: str,
    directory: Path,
    shard_size: int,
    root: Path | None = None,
    begun_by: str | None = None,
) -> Plan:
    """Make the plan of a spec in `directory`, or open or extend the one that is there.

    Args:
        spec: relative input paths are taken from the working directory (see `latentext.spec.files.resolve_inputs`).
        tokenizer: None where the engine is remote: then messages take the place of token ids.
        model_id: see `latentext.models.model_identity`.
        directory: made if absent.
        shard_size: requests a shard; a plan that exists keeps its own.
        root: the dataset that the plan is of: its records say what a changed row held before.
        begun_by: the version of latentext that began the dataset, None for a new one.

    Raises:
        SpecError: the prompts cannot be made, or are not those of the plan that is there.
        DatasetError: the plan that is there is damaged or of a newer version.
        DiskFullError: no room for the plan; what was there is as before.
    """
    make_folder(directory)
    with until_accepted(directory), phase("reading the prompts") as reading:
        conversations, requests_a_row = _chats(spec, directory, begun_by)
        note = _open_note(directory)
        if note is None:  # What an earlier version took goes on as it was begun.
            refuse_idle_options(spec, conversations, tokenizer)
        form = ChatFormat.of_run(spec, begun_by)
        encoder = PromptEncoder(conversations, form, tokenizer)
        source = _source_fingerprint(form, conversations, tokenizer)
        limit = spec.prompts.limit
        wanted = len(conversations) if limit is None else min(limit * requests_a_row, len(conversations))
        note = note or PlanNote(source, shard_size)
        stored = StoredRows(root) if root is not None else None
        if note.planned > len(conversations):
            raise changed(f"{note.planned} requests were planned, and now there are {len(conversations)}")
        if note.source != source and note.rows_sha256:
            _check_prefix(encoder, directory, min(wanted, note.count), stored, reading.reached)
        whole = bool(note.rows_sha256) or not note.count
        if max(wanted, note.planned) > note.count or note.source != source or not whole:
            note = _extend(
                encoder, replace(note, source=source), directory, max(wanted, note.planned), stored, reading.reached
            )
    shards = Shards(note.segments, note.shard_size, wanted)
    count = shards[-1].stop if shards else 0
    return Plan(
        count,
        note.planned,
        shards,
        note.prompt_tokens,
        note.longest_prompt,
        conversations.left_out,
        directory,
        encoder,
        stored,
        model_id,
        spec.decoding,
        () if tokenizer is None else tuple(form.removed_dates(tokenizer)),
    )


def _chats(spec: Spec, directory: Path, begun_by: str | None) -> tuple[Chats, int]:
    """The chats of a spec, at every temperature where it has several; and how many each row makes of them."""
    chats = open_conversations(spec.prompts, spec.seed, directory, begun_by)
    if not (several := spec.decoding.temperatures):
        return chats, 1
    return AtTemperatures(chats, several), len(several)


def _open_note(directory: Path) -> PlanNote | None:
    """The note of the plan that is there. Lost or damaged digests are made again: segments, and so finished shards,
    stay. Without the digests of what is stored, as in plans of 0.1.0, `rows_sha256` is empty."""
    note = PlanNote.read(directory)
    if note is None or not note.count:
        return note
    occurrences = directory / _OCCURRENCES
    if (prompts := digests_sha256(directory / PROMPTS, note.count)) is not None and occurrences.is_file():
        hashes = prompts, occurrences_sha256(occurrences, note.count)
        if note.digests_sha256 in ("", hashes[0]) and note.occurrences_sha256 in ("", hashes[1]):
            rows = digests_sha256(directory / ROWS, note.count)
            return note if rows == note.rows_sha256 else replace(note, rows_sha256="")
    return replace(note, count=0, failed=0, prompt_tokens=0, longest_prompt=0, rows_sha256="")


def _source_fingerprint(form: ChatFormat, conversations: Chats, tokenizer: PreTrainedTokenizerBase | None) -> str:
    """Hash of all that decides the prompts; the limit only decides how many of them are planned."""
    identity = {
        "conversations": conversations.identity,
        "use_chat_template": form.use_chat_template,
        "remove_date_lines": form.remove_date_lines,
        "add_generation_prompt": form.add_generation_prompt,
        **({"if_any": True} if form.if_any else {}),
        **({"date_sentences": True} if form.remove_date_lines and not form.whole_date_lines else {}),
        **({"template_variables": form.template_variables} if form.template_variables and tokenizer else {}),
        **({} if form.legacy is None else {"legacy": [form.legacy.text, form.legacy.system]}),
        "tokenizer": None if tokenizer is None else tokenizer_fingerprint(tokenizer),
    }
    return hashlib.sha256(canonical_json(identity)).hexdigest()


def _check_prefix(
    encoder: PromptEncoder, directory: Path, count: int, stored: StoredRows | None, report: Reached
) -> None:
    """See that changed input still begins with the `count` requests that were planned first."""
    for start, prompts in _chunks(encoder, 0, count):
        refuse_changed(encoder, prompts, directory, start, stored)
        report(start + len(prompts), count)


def _extend(
    encoder: PromptEncoder, note: PlanNote, directory: Path, wanted: int, stored: StoredRows | None, report: Reached
) -> PlanNote:
    """Add the requests from `note.count` to `wanted` as a new segment, and what an older plan lacks; the note is
    written last."""
    if wanted > note.count or not note.rows_sha256:
        if (needed := 2 * wanted * DIGEST.itemsize) > shutil.disk_usage(directory).free:
            what = f"a plan of {wanted:,} requests takes {needed / 1e9:,.0f} GB, more than the disk has free"
            raise SpecError(what, where="prompts", remedy="set prompts.limit")
        note = _add_digests(encoder, note, directory, wanted, stored, report)
        with open_regular(directory / PROMPTS) as file:
            digests = np.memmap(file, dtype=DIGEST, mode="r")
        note = replace(note, occurrences_sha256=write_occurrences(digests, directory / _OCCURRENCES))
    note.write(directory)
    return note


def _add_digests(
    encoder: PromptEncoder, note: PlanNote, directory: Path, wanted: int, stored: StoredRows | None, report: Reached
) -> PlanNote:
    """Write the digests of the first `wanted` requests: those that are there are kept, the others made.

    Rows without digests of what is stored with them are held to the finished records.
    """
    failed, tokens, longest, first_failure = note.failed, note.prompt_tokens, note.longest_prompt, None
    kept = note.count if note.rows_sha256 else 0
    with atomic_file(directory / ROWS) as rows, atomic_file(directory / PROMPTS) as file:
        for start in range(0, note.count, _CHUNK):
            stop = min(start + _CHUNK, note.count)
            file.write(read_digests(directory, PROMPTS, start, stop).tobytes())
            if kept:
                rows.write(read_digests(directory, ROWS, start, stop).tobytes())
        for start, prompts in _chunks(encoder, kept, wanted):
            if start < note.planned:
                refuse_changed_records(encoder, prompts, directory, start, note.count, stored)
            of_prompts, of_rows = digests_of_all(prompts)
            rows.write(of_rows.tobytes())
            file.write(of_prompts[max(0, note.count - start) :].tobytes())
            for prompt in prompts[max(0, note.count - start) :]:
                if isinstance(prompt, BadRow):
                    failed, first_failure = failed + 1, first_failure or prompt
                else:
                    tokens, longest = tokens + prompt.length, max(longest, prompt.length)
            report(start + len(prompts) - kept, wanted - kept)
        if first_failure is not None and failed == wanted:
            what = f"none of the {wanted} rows gives a prompt: {first_failure.message}"
            raise SpecError(what, where="prompts", remedy="check the rows")
    return replace(
        note,
        count=wanted,
        segments=note.segments if wanted == note.planned else (*note.segments, (note.planned, wanted)),
        failed=failed,
        prompt_tokens=tokens,
        longest_prompt=longest,
        digests_sha256=file.sha256,
        rows_sha256=rows.sha256,
    )


def _chunks(encoder: PromptEncoder, start: int, stop: int) -> Iterator[tuple[int, list[Prompt | BadRow]]]:
    for first in range(start, stop, _CHUNK):
        yield first, list(encoder.prompts(first, min(first + _CHUNK, stop)))
