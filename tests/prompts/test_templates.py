"""Templates: what is a gap, what is text, and that no template reaches into an object."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latentext.prompts.templates import fields, fill


@pytest.mark.parametrize(
    ("template", "names", "filled"),
    [
        ('Print {count} times "{word}".', ("count", "word"), 'Print 3 times "sun".'),
        ("{word}{word}", ("word",), "sunsun"),
        ("{{word}}", (), "{word}"),
        ("{{{word}}}", ("word",), "{sun}"),
        ('{"a": 1} and { word }', (), '{"a": 1} and { word }'),
        ("int main() { return {count}; }", ("count",), "int main() { return 3; }"),
        ("{} {0} {word.upper} {word[0]} {word!r} {word:>9}", (), "{} {0} {word.upper} {word[0]} {word!r} {word:>9}"),
        ("{word.__class__.__mro__}", (), "{word.__class__.__mro__}"),
    ],
)
def test_only_a_plain_name_in_braces_is_a_gap(template: str, names: tuple[str, ...], filled: str) -> None:
    assert fields(template) == names
    assert fill(template, {"count": 3, "word": "sun"}) == filled


def test_a_value_is_never_taken_for_a_template() -> None:
    assert fill("{a} {b}", {"a": "{b}", "b": "{{x}}"}) == "{b} {{x}}"


@given(st.text())
def test_a_text_with_doubled_braces_stands_for_itself(text: str) -> None:
    assert fill(text.replace("{", "{{").replace("}", "}}"), {}) == text
