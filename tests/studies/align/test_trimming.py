"""Continuations cut back to their last full sentence."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from latentext.studies.align.text_rows import trim_to_sentence


@pytest.mark.parametrize(
    ("prompt", "generated", "trimmed"),
    [
        ("Hello", "Hello there. How are", "Hello there."),
        ("A", "A,", "A."),
        ("What is", "What is", "What is"),
        ("Say it", "Say it without an end", "Say it"),
        ("Ask? Then", "Ask? Then some", "Ask? Then"),
        ("He said", 'He said "stop!" and', 'He said "stop!"'),
        ("It costs", "It costs 3.50 dollars. Or 4.2", "It costs 3.50 dollars."),
        ("One", "One.\nTwo!\nThree", "One.\nTwo!"),
        ("So", "So... and then", "So..."),
        ("List", "List one, two,", "List one, two."),
        ("Well", "Well (yes). No \n", "Well (yes)."),
        ("", "", ""),
    ],
)
def test_text_ends_with_its_last_full_sentence(prompt: str, generated: str, trimmed: str) -> None:
    assert trim_to_sentence(prompt, generated) == trimmed


def test_published_texts_keep_their_prompt_and_lose_only_their_end(materials: Path) -> None:
    rows = json.loads((materials / "rewards" / "opt1.3b-Anthropic-harmless.json").read_text())
    shortened = 0
    for row in rows:
        prompt, generated = row["prompt"], row["generated"]
        if not generated.startswith(prompt):  # Five published texts do not.
            continue
        trimmed = trim_to_sentence(prompt, generated)
        assert trimmed.startswith(prompt)
        assert generated.startswith(trimmed) or generated.rstrip().startswith(trimmed[:-1])
        assert trim_to_sentence(prompt, trimmed) == trimmed
        shortened += len(trimmed) < len(generated)
    assert shortened > 1000
