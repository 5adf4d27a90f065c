"""The YAML of specs: what is a word, what is a number, and what is refused."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from latentext.spec.yaml_text import YamlError, dump_yaml, parse_yaml


@pytest.mark.parametrize(
    ("text", "value"),
    # The expected values follow the core schema of YAML 1.2 (section 10.3 of its specification).
    [
        ("yes", "yes"),
        ("No", "No"),
        ("on", "on"),
        ("12:30", "12:30"),
        ("2024-01-01", "2024-01-01"),
        ("1_000", "1_000"),
        ("010", 10),
        ("0o17", 15),
        ("0x1F", 31),
        ("1e-4", 0.0001),
        ("-.5", -0.5),
        (".inf", float("inf")),
        ("true", True),
        ("null", None),
        ("~", None),
        ("", None),
        ("'true'", "true"),
    ],
)
def test_scalars_are_those_of_yaml_1_2(text: str, value: object) -> None:
    parsed = parse_yaml(text)
    assert parsed == value
    assert type(parsed) is type(value)


_plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=12,
)


@given(_plain)
def test_what_is_written_is_read_back_equal(value: object) -> None:
    assert parse_yaml(dump_yaml(value)) == value


@given(st.sampled_from(["yes", "no", "off", "1e5", "12:30", "2024-01-01", "010", "null", "0x1F", "=", "<<", "", " a "]))
def test_readers_of_yaml_1_1_read_the_same_texts(word: str) -> None:
    assert yaml.safe_load(dump_yaml({"word": [word]})) == {"word": [word]}


@pytest.mark.parametrize(
    ("text", "finding"),
    [
        ("a: 1\nb: 2\na: 3", "line 3: 'a' is given twice"),
        ("1: a\n0x1: b", "line 2: '0x1' is given twice"),
        ("x: {1: a, true: b}", "line 1: 'true' is given twice"),
        ("null: a\n~: b", "line 2: '~' is given twice"),
        ("a: [1, 2", "line 1"),
        ("a: !!python/object/apply:os.system ['true']", "line 1: a tag .*is not read"),
        ("? [a, b]\n: 1", "line 1: a name must be one word"),
        ("&a [*a]", "an alias stands inside of what it names"),
        ("a: 1\n---\nb: 2", "line 2"),
        ("[" * 3000, "recursion"),
    ],
)
def test_unsafe_or_doubtful_text_is_refused_with_its_line(text: str, finding: str) -> None:
    with pytest.raises(YamlError, match=finding):
        parse_yaml(text)


def test_a_file_of_aliases_that_unfolds_to_a_billion_values_is_refused() -> None:
    bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 10)
    )
    with pytest.raises(YamlError, match="more than 200,000 values"):
        parse_yaml(bomb)
    assert parse_yaml("a: &a [1]\nb: *a") == {"a": [1], "b": [1]}


def test_unusual_line_breaks_survive() -> None:
    value = {"\x85": "a\u2028b"}
    assert parse_yaml(dump_yaml(value)) == value
