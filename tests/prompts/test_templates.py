"""Templates: what is a gap, what is text, and that no template reaches into an object."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latentext.prompts.templates import fields, fill, meant_as_gap


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


@pytest.mark.parametrize(
    ("template", "found"),
    [
        ("Say { q }.", "{ q }"),
        ("Say {q }.", "{q }"),
        ("Say {q:10}.", "{q:10}"),
        ("Say {q:02d} or {q}.", "{q:02d}"),
        ("Say {q.name}.", "{q.name}"),
        ("Say {q.upper()}.", "{q.upper()}"),
        ("Say {q[0]}.", "{q[0]}"),
        ("Say {q!r}.", "{q!r}"),
        ("Say {{q}}.", "{{q}}"),
        ("Say {{ q }} and {q}.", "{{ q }}"),
        ("Say {{ q | upper }}.", "{{ q | upper }}"),
        ("{{{ q }}}", "{ q }"),
        ("Say {q}.", None),
        ("{{{q}}}", None),
        ("{{{{q}}}}", None),
        ('{{"q": {q}}}', None),
        ("{{ q: 1 }} {q}", None),
        ("int main() { return {q}; } {} {0} { other } {other.name} {qq:3}", None),
        ("{'q': {q}}", None),
    ],
)
def test_what_looks_like_a_gap_of_a_column_and_is_none_is_found(template: str, found: str | None) -> None:
    assert (meant_as_gap(template, ["q", "label"]) or (None,))[0] == found


@given(st.text("{}q :.!|", max_size=12))
def test_what_is_found_is_text_that_filling_leaves_in_the_prompt(template: str) -> None:
    if (found := meant_as_gap(template, ["q"])) is not None:
        form, name = found
        assert name == "q"
        assert form in template
        assert "q" in fill(template, {"q": "value"}), "a word in braces is left where the value should be"


def test_a_value_is_never_taken_for_a_template() -> None:
    assert fill("{a} {b}", {"a": "{b}", "b": "{{x}}"}) == "{b} {{x}}"


@given(st.text())
def test_a_text_with_doubled_braces_stands_for_itself(text: str) -> None:
    assert fill(text.replace("{", "{{").replace("}", "}}"), {}) == text
