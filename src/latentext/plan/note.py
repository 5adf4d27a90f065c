"""`plan.json`: what a plan records about itself, written after everything it speaks of."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field, TypeAdapter

from latentext.dataset.documents import unreadable
from latentext.dataset.sealed import fits_its_seal, write_sealed_for_people
from latentext.errors import DatasetError
from latentext.storage import filesystem

_VERSION = 2
"""Plans of version 1 (latentext 0.1.0) have no digests of what is stored with a prompt."""

_NAME = "plan.json"
_REMEDY = (
    "restore it from a copy; or, if the dataset never grew by more prompts, remove it and run the same command again"
)

_FAR = 1 << 62
_Count = Annotated[int, Field(ge=0, lt=_FAR)]


@dataclass(frozen=True, slots=True)
class PlanNote:
    """The facts of a plan; read back, each is a number that a plan can have.

    Attributes:
        source: hash of all that decides the prompts (wording, rows, tokenizer).
        shard_size: requests a shard, fixed when the run started.
        count: requests whose digests are there.
        segments: ``(start, stop)`` of what was planned at a time; no shard reaches over an end.
        failed: requests without a prompt.
        prompt_tokens: tokens of all prompts (without a tokenizer bytes, which bound them).
        longest_prompt: the same of the longest one.
        digests_sha256: hash of the first `count` digests; empty in plans of earlier versions, like the next.
        occurrences_sha256: hash of what is written of the occurrences of the first `count` requests.
        rows_sha256: hash of the first `count` digests of what is stored with a prompt; empty in plans of version 1.
    """

    source: str
    shard_size: Annotated[int, Field(ge=1, lt=_FAR)]
    count: _Count = 0
    segments: tuple[tuple[_Count, _Count], ...] = ()
    failed: _Count = 0
    prompt_tokens: _Count = 0
    longest_prompt: _Count = 0
    digests_sha256: str = ""
    occurrences_sha256: str = ""
    rows_sha256: str = ""

    @property
    def planned(self) -> int:
        """Where the last segment ends: `count`, unless digests were lost and are to be made again."""
        return self.segments[-1][1] if self.segments else 0

    def write(self, directory: Path) -> None:
        facts = {"version": _VERSION, **asdict(self)}
        write_sealed_for_people(directory / _NAME, facts)

    @classmethod
    def read(cls, directory: Path) -> PlanNote | None:
        """The note of the plan in `directory`, None if there is none.

        Raises:
            DatasetError: damaged, or of a newer version.
        """
        path = directory / _NAME
        try:
            facts = json.loads(filesystem.read_bytes(path))
            whole = fits_its_seal(facts)
            version = facts.pop("version")
            if version > _VERSION:
                raise DatasetError(
                    f"made by a newer latentext (plan version {version})", where=str(path), remedy="update latentext"
                )
            if not whole:
                raise ValueError("its content does not fit its own hash")
            facts.pop("sha256", None)
            facts["segments"] = tuple((start, stop) for start, stop in facts["segments"])
            return _NOTE.validate_python(facts)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise unreadable(path, error, _REMEDY) from error
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise DatasetError("the plan is damaged", where=str(path), remedy=_REMEDY) from error


_NOTE = TypeAdapter(PlanNote)
