"""A vLLM that moved something is named with what it lacks. The stand-in is a package with the old places empty."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from latentext.errors import EngineError
from latentext.libraries import vllm as used


@pytest.fixture
def emptied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package vllm in which every module is there and every name is gone."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "vllm"]:
        monkeypatch.delitem(sys.modules, name)
    for folder in ("", "v1/engine", "v1/attention/backends", "config", "distributed/kv_transfer/kv_connector/v1"):
        for made in [tmp_path / "vllm" / folder, *(tmp_path / "vllm" / folder).parents]:
            if made.is_relative_to(tmp_path / "vllm"):
                made.mkdir(parents=True, exist_ok=True)
                (made / "__init__.py").touch()
    monkeypatch.syspath_prepend(str(tmp_path))


@pytest.mark.usefixtures("emptied")
@pytest.mark.parametrize(
    ("use", "told"),
    [
        (lambda: used.start_engine({}), "vllm.v1.engine.llm_engine"),
        (used.give_back_memory, "cleanup_dist_env_and_memory"),
        (lambda: used.token_prompt([1]), "vllm.inputs"),
        (lambda: used.sampling_params(stream=True), "vllm.sampling_params"),
        (used.cpu_head_sizes, "vllm.v1.attention.backends.cpu_attn"),
        (used.transfer_config, "vllm.config.kv_transfer"),
        (used.extraction_example, "example_hidden_states_connector"),
        (lambda: used.shut_down(SimpleNamespace()), "has no attribute 'engine_core'"),
        (
            lambda: used.has_requests(SimpleNamespace(engine_core=SimpleNamespace(engine_core=SimpleNamespace()))),
            "has no attribute 'scheduler'",
        ),
    ],
)
def test_what_vllm_no_longer_has_is_named_in_one_line(use: Callable[[], Any], told: str) -> None:
    with pytest.raises(EngineError, match=r"^vllm \S+ does not fit this version of latentext: ") as refused:
        use()
    assert told in str(refused.value) and "\n" not in str(refused.value)


def test_an_engine_in_a_process_of_its_own_has_nothing_left_to_tell() -> None:
    assert not used.has_requests(SimpleNamespace(engine_core=SimpleNamespace()))
