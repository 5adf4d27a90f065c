"""Pairs as JSON lines: four lines a scenario, one prompt a line.

The four lines of a scenario are, in this order, single_token_prompt, single_token_counterfactual, multi_token_prompt
and multi_token_counterfactual, with the fields scenario_id, type, task and text. With details a line also says where
its one differing token stands under each tokenizer, so that activations can be looked up without encoding again.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from latentext.dataset.outputs import OutputKind, begins
from latentext.errors import SpecError
from latentext.storage.atomic import PendingFile
from latentext.studies.pairs.checks import FormCheck
from latentext.studies.pairs.scenario import Scenario

FORMS = ("single_token", "multi_token")
TYPES = tuple(f"{form}_{side}" for form in FORMS for side in ("prompt", "counterfactual"))
"""What the four lines of a scenario are, in their order."""

JSONL = OutputKind("pairs", begins(r'\{"scenario_id": '), (".jsonl", ".ndjson", ".json"))
_FIELDS = ("scenario_id", "type", "task", "text")
_REMEDY = "see docs/pairs.md for the format, or pass --columns for other files"


def write_jsonl(file: PendingFile, scenarios: Iterable[Scenario], *, details: bool = False) -> int:
    """Write scenarios into an open file. Returns the number of scenarios.

    Args:
        scenarios: any number; they are not kept in memory.
        details: add topic and word, and for each tokenizer the token that differs: its position, id and text, and
            the length of the whole text in tokens.

    Example:
        ``{"scenario_id": 0, "type": "multi_token_prompt", "task": "refusal", "text": "Help me make a cake."}``
    """
    count = 0
    for scenario in scenarios:
        for line in _lines(scenario, details):
            # Half a surrogate pair, which JSON can spell, becomes such a spelling again.
            file.write(json.dumps(line, ensure_ascii=False).encode("utf-8", "backslashreplace") + b"\n")
        count += 1
    return count


def read_jsonl(path: Path) -> Iterator[Scenario]:
    """Read scenarios one by one, details included where they are there.

    Texts are given as they stand, even if they are no strings, so that a validator can say so.

    Raises:
        SpecError: the file is unreadable, or a line is missing, doubled, misplaced or lacks a field; the line is named.
    """
    lines: list[dict[str, Any]] = []
    for number, line in read_json_lines(path):
        if missing := [name for name in _FIELDS if name not in line]:
            raise SpecError(f"has no field {missing[0]!r}", where=f"{path}, line {number}", remedy=_REMEDY)
        expected = TYPES[len(lines)]
        same_scenario = not lines or line["scenario_id"] == lines[0]["scenario_id"]
        if line["type"] != expected or not same_scenario:
            scenario_id = (lines or [line])[0]["scenario_id"]
            raise SpecError(
                f"found {line['type']!r} of scenario {line['scenario_id']} where {expected!r} of scenario "
                f"{scenario_id} should stand",
                where=f"{path}, line {number}",
                remedy=_REMEDY,
            )
        lines.append(line)
        if len(lines) == len(TYPES):
            try:
                scenario = _scenario(lines)
            except (AttributeError, KeyError, TypeError) as error:
                raise SpecError(
                    f"its differing_token lacks {error}"
                    if isinstance(error, KeyError)
                    else "has no usable differing_token",
                    where=f"{path}, line {number}",
                    remedy=_REMEDY,
                ) from error
            yield scenario
            lines = []
    if lines:
        raise SpecError(
            f"ends within scenario {lines[0]['scenario_id']}: {len(lines)} of {len(TYPES)} lines",
            where=str(path),
            remedy="write the file again, or remove the last lines",
        )


def read_json_lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """The objects in a file of JSON lines with their line numbers, blank lines passed over.

    Raises:
        SpecError: the file is unreadable or a line is no JSON object; the line is named.
    """
    try:
        with path.open(encoding="utf-8-sig") as file:
            for number, text in enumerate(file, start=1):
                if text.strip():
                    yield number, _object(text, f"{path}, line {number}")
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(f"cannot be read ({error})", where=str(path), remedy="give a file of JSON lines") from error


def _object(text: str, where: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise SpecError(f"is not JSON ({error})", where=where, remedy="give one JSON object a line") from error
    if not isinstance(value, dict):
        raise SpecError("is no JSON object", where=where, remedy="give one JSON object a line")
    return value


def _lines(scenario: Scenario, details: bool) -> Iterator[dict[str, Any]]:
    for form in FORMS:
        checks = [check for check in scenario.checks if check.form == form] if details else []
        for side, kind in enumerate(("prompt", "counterfactual")):
            line: dict[str, Any] = {
                "scenario_id": scenario.scenario_id,
                "type": f"{form}_{kind}",
                "task": scenario.task,
                "text": scenario.texts[form][side],
            }
            if details:
                line |= {"topic": scenario.topic, "word": scenario.words[side]}
                line["differing_token"] = {check.tokenizer: _token(check, side) for check in checks}
            yield line


def _token(check: FormCheck, side: int) -> dict[str, Any]:
    [position], [ids], [texts] = check.positions, check.token_ids, check.tokens
    return {"position": position, "id": ids[side], "text": texts[side], "length": check.lengths[side]}


def _scenario(lines: list[dict[str, Any]]) -> Scenario:
    twins = dict(zip(FORMS, zip(lines[::2], lines[1::2], strict=True), strict=True))
    first = lines[0]
    return Scenario(
        first["scenario_id"],
        first["task"],
        {form: (prompt["text"], counterfactual["text"]) for form, (prompt, counterfactual) in twins.items()},
        first.get("topic"),
        tuple(
            _check(name, form, prompt["differing_token"][name], counterfactual["differing_token"][name])
            for name in first.get("differing_token", ())
            for form, (prompt, counterfactual) in twins.items()
        ),
    )


def _check(tokenizer: str, form: str, first: Mapping[str, Any], second: Mapping[str, Any]) -> FormCheck:
    return FormCheck(
        tokenizer,
        form,
        (first["length"], second["length"]),
        (first["position"],),
        ((first["id"], second["id"]),),
        ((first["text"], second["text"]),),
        None,
    )
