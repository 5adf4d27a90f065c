"""Dialogues of two speakers as lines ``A: …`` and ``B: …``, as the files of the original comparison have them.

Raw rows mark the ends of turns by ``[EOT]``. Speakers take turns and A begins; so the label of the completion, which is
the next turn, follows from the number of turns before. Rows that have their labels already stay as they are.
"""

from __future__ import annotations

END_OF_TURN = "[EOT]"
SPEAKERS = "AB"


def clean_dialogue(source: str, completion: str) -> tuple[str, str]:
    """Label the turns of a dialogue and of the turn that completes it, all in lower case.

    A turn keeps the space before its ``[EOT]``, so a line but the last ends in one.

    Example:
        >>> clean_dialogue("Hi! [EOT] hello. who's there?", "it's me.")
        ("A: hi! \\nB: hello. who's there?", "A: it's me.")
        >>> clean_dialogue("A: hi!", "B: hello.")
        ('A: hi!', 'B: hello.')
    """
    if END_OF_TURN not in source and source.startswith(f"{SPEAKERS[0]}: "):
        return source, completion
    turns = [turn.removeprefix(" ").lower() for turn in source.split(END_OF_TURN)]
    lines = [f"{_speaker(number)}: {turn}" for number, turn in enumerate(turns)]
    return "\n".join(lines), f"{_speaker(len(turns))}: {completion.lower()}"


def _speaker(turn: int) -> str:
    return SPEAKERS[turn % len(SPEAKERS)]
