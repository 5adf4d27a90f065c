"""The request for pairs: what a model is told, and the JSON schema that its answer is held to.

What is the same in every request of a task comes first, in the system message, so that providers read it from their
cache and bill it lower. What varies comes last: topics and words drawn from the seed and the request's number, without
which a model writes the same few sentences again; words that were used often; and what was wrong with earlier pairs.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Sequence
from functools import cache
from typing import Annotated, Any, Literal

from pydantic import Field

from latentext.request import Message
from latentext.spec import Decoding, Frozen
from latentext.studies.pairs import documents
from latentext.studies.pairs.task import PairTask

ResponseFormat = Literal["json_schema", "json_object", "none"]
"""How a server is asked to hold an answer to JSON; a server that knows no schemas may know one of the others."""

TOPICS_A_REQUEST = 3
WORDS_A_REQUEST = 8

PROPOSAL_DECODING = Decoding(temperature=0.8, max_new_tokens=2048)
"""How proposals are written unless asked otherwise."""


class Hints(Frozen):
    """The file ``hints.yaml``: topics and words that belong to no task."""

    topics: Annotated[tuple[str, ...], Field(min_length=TOPICS_A_REQUEST)]
    words: Annotated[tuple[str, ...], Field(min_length=WORDS_A_REQUEST)]


def proposal_messages(
    task: PairTask,
    number: int,
    *,
    seed: int = 0,
    pairs: int | None = None,
    lessons: Sequence[str] = (),
    used_words: Sequence[str] = (),
) -> list[Message]:
    """The chat that asks for pairs: a system message that is the same for the task, and a user message that varies.

    Args:
        task: what to ask for.
        number: the how-manyth request of the dataset it is, from 0: with the seed it decides topics and words.
        seed: the run's.
        pairs: how many to ask for; default is the task's ``batch_size``.
        lessons: what was wrong with earlier pairs, one line each.
        used_words: words that stand in many pairs already.

    Example:
        >>> from latentext.studies.pairs import load_task
        >>> system, user = proposal_messages(load_task("refusal"), 0, seed=7, pairs=5)
        >>> user["content"].splitlines()[0]
        'Write 5 new pairs.'
    """
    return [
        {"role": "system", "content": _instructions(task)},
        {"role": "user", "content": _wish(task, number, seed, pairs or task.batch_size, lessons, used_words)},
    ]


def response_format(task: PairTask, form: ResponseFormat = "json_schema") -> dict[str, Any] | None:
    """The field ``response_format`` of a request; None where none is sent.

    Example:
        >>> from latentext.studies.pairs import load_task
        >>> response_format(load_task("sentiment"))["json_schema"]["schema"]["required"]
        ['pairs']
    """
    if form == "none":
        return None
    if form == "json_object":
        return {"type": "json_object"}
    pair = _object({side: {"type": "string"} for side in task.sides})
    schema = _object({"pairs": {"type": "array", "items": pair}})
    return {"type": "json_schema", "json_schema": {"name": "pairs", "strict": True, "schema": schema}}


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    """An object with exactly these fields, as strict schemas want it spelt out."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _instructions(task: PairTask) -> str:
    first, second = task.sides
    examples = "\n".join(json.dumps(example, ensure_ascii=False) for example in task.examples)
    shape = json.dumps({"pairs": [{first: "…", second: "…"}]}, ensure_ascii=False)
    parts = [
        task.description.strip(),
        task.generation_instructions.strip(),
        f"Examples:\n{examples}" if examples else "",
        f"Answer with JSON and nothing else: {shape}",
    ]
    return "\n\n".join(part for part in parts if part)


def _wish(task: PairTask, number: int, seed: int, pairs: int, lessons: Sequence[str], used_words: Sequence[str]) -> str:
    topics, words = _drawn(task, number, seed)
    what = "1 new pair" if pairs == 1 else f"{pairs} new pairs"
    lines = [
        f"Write {what}.",
        f"Topics: {'; '.join(topics)}.",
        f"Use some of these words where they fit: {', '.join(words)}.",
    ]
    if used_words:
        lines.append(f"The exchanged words should be other ones than these, which were used often: "
                     f"{', '.join(used_words)}.")  # fmt: skip
    if lessons:
        lines.append("These pairs were rejected; do not repeat their mistakes:")
        lines += [f"- {lesson}" for lesson in lessons]
    return "\n".join(lines)


def _drawn(task: PairTask, number: int, seed: int) -> tuple[list[str], list[str]]:
    digest = hashlib.blake2b(f"latentext proposal {seed} {task.task_name} {number}".encode()).digest()
    draw, hints = random.Random(int.from_bytes(digest)), _hints()
    return draw.sample(hints.topics, TOPICS_A_REQUEST), draw.sample(hints.words, WORDS_A_REQUEST)


@cache
def _hints() -> Hints:
    return documents.read(documents.PACKAGE / "proposing" / "hints.yaml", Hints)
