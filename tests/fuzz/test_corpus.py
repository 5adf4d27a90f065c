"""The kept seeds of the fuzzing go through their parsers in every run, and so do small changes of them."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.fuzz.targets import TARGETS

CORPUS = Path(__file__).with_name("corpus")
SEEDS = {name: sorted(path for path in (CORPUS / name).iterdir()) for name in TARGETS}


@pytest.mark.parametrize("name", TARGETS)
def test_a_kept_seed_raises_nothing_but_what_its_parser_promises(name: str, tmp_path: Path) -> None:
    assert len(SEEDS[name]) >= 4
    for number, seed in enumerate(SEEDS[name]):
        folder = tmp_path / str(number)
        folder.mkdir()
        try:
            TARGETS[name](seed.read_bytes(), folder)
        except Exception as error:
            raise AssertionError(f"{name}/{seed.name}") from error


@pytest.mark.parametrize("name", [name for name in TARGETS if name != "dataset"])  # That one is slow, and fuzzed.
@given(data=st.data())
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_a_cut_and_a_changed_byte_do_not_either(
    name: str, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    content = bytearray(data.draw(st.sampled_from(SEEDS[name])).read_bytes() or b"\0")
    content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    TARGETS[name](bytes(content[: data.draw(st.integers(0, len(content)))]), tmp_path_factory.mktemp("once"))
