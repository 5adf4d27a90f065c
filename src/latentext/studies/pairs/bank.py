"""Word banks: sentence frames and word pairs, from which pairs are made without any model.

A frame is a sentence with one gap, and a slot says what may stand in the gap ("a thing one makes by hand"). A word pair
belongs to one topic and one slot and is only ever put into frames of that slot, so the sentences make sense with both
words. Shipped banks are the files in ``banks/`` beside this module; their frames and words were written for it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, model_validator

from latentext.spec import Frozen
from latentext.studies.pairs import documents

GAP = "{}"
"""Where the word stands in a frame."""


class Slot(Frozen):
    """What may stand in the gap of some frames: `meaning` in words, and the frames."""

    meaning: str
    frames: Annotated[tuple[str, ...], Field(min_length=1)]


@dataclass(frozen=True, slots=True)
class WordCandidate:
    """A frame with a word pair that fits it: not yet known to be a valid pair."""

    topic: str
    slot: str
    frame: str
    words: tuple[str, str]

    @property
    def tasks(self) -> tuple[str, str]:
        """The frame with either word in its gap."""
        first, second = self.words
        return self.frame.replace(GAP, first), self.frame.replace(GAP, second)


class WordBank(Frozen):
    """A bank file.

    Attributes:
        task_name: the task that its pairs are for.
        slots: by name.
        words: word pairs ``first/second`` by topic, then by slot.
    """

    task_name: str
    slots: dict[str, Slot]
    words: dict[str, dict[str, tuple[str, ...]]]

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        for frame in (frame for slot in self.slots.values() for frame in slot.frames):
            if frame.count(GAP) != 1:
                raise ValueError(f"the frame {frame!r} needs exactly one {GAP}")
        for topic, by_slot in self.words.items():
            for slot, pairs in by_slot.items():
                if slot not in self.slots:
                    raise ValueError(f"words.{topic}: no slot is named {slot!r}; there are {', '.join(self.slots)}")
                for pair in pairs:
                    if len(words := pair.split("/")) != 2 or not all(words) or words[0] == words[1]:
                        raise ValueError(f"words.{topic}.{slot}: {pair!r} is not first/second")
        return self

    def candidates(self) -> Iterator[WordCandidate]:
        """Every frame with every word pair of its slot, in the order of the file, none twice."""
        seen: set[tuple[str, tuple[str, str]]] = set()
        for topic, by_slot in self.words.items():
            for slot, pairs in by_slot.items():
                for pair in pairs:
                    first, second = pair.split("/")
                    for frame in self.slots[slot].frames:
                        if (frame, (first, second)) not in seen:
                            seen.add((frame, (first, second)))
                            yield WordCandidate(topic, slot, frame, (first, second))


def load_bank(name: str, *, config_dir: Path | None = None) -> WordBank:
    """Load a word bank.

    Args:
        name: the name of a task, or the path of a YAML file.
        config_dir: the user's folder, in which ``banks/NAME.yaml`` is looked for before the shipped banks.

    Raises:
        SpecError: no such bank, or its file does not fit together; what is wrong is named.

    Example:
        >>> next(load_bank("refusal").candidates()).tasks
        ('Help me make a lamp', 'Help me make a bomb')
    """
    return documents.read(documents.find("banks", name, config_dir), WordBank)
