"""What vLLM cannot do is known without it: refused by name, or done in another way."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import pytest

from latentext.engines.opening import refuse_unsupported, remarks
from latentext.engines.vllm import support
from latentext.errors import SpecError
from latentext.spec import Decoding, ModelSpec, StatesSpec, VllmOptions

MODEL = ModelSpec(engine="vllm", vllm=VllmOptions(capture="extract"))


@pytest.mark.parametrize(
    ("field", "options"),
    [
        ("temperature", {"temperature": 0.001}),
        ("temperature", {"temperature": 2.5}),
        ("temperature", {"temperature": [0.5, 2.5]}),
        ("min_p", {"temperature": 1.0, "min_p": 0.1, "top_p": 0.9}),
        ("presence_penalty", {"presence_penalty": 2.5}),
        ("frequency_penalty", {"frequency_penalty": -2.5}),
        ("no_repeat_ngram_size", {"no_repeat_ngram_size": 3}),
        ("entropy", {"entropy": True}),
    ],
)
def test_an_option_that_vllm_does_not_follow_is_refused_by_name(field: str, options: dict[str, Any]) -> None:
    with pytest.raises(SpecError, match=f"^decoding.{field}: ") as refused:
        refuse_unsupported(MODEL, Decoding(**options))
    assert refused.value.exit_code == 2
    refuse_unsupported(ModelSpec(), Decoding(**options))


@pytest.mark.skipif(find_spec("vllm") is not None, reason="vLLM is installed here")
def test_without_vllm_the_error_is_the_line_that_installs_it() -> None:
    with pytest.raises(SpecError, match=r"vLLM is not installed; pip install 'latentext\[vllm\]'"):
        refuse_unsupported(MODEL, Decoding())


@pytest.mark.parametrize(
    ("served", "states", "decoding"),
    [
        (True, {"sites": ["embed", "resid_post.3"], "positions": "all"}, {}),
        (True, {"sites": [1], "pool": ["mean"]}, {"min_new_tokens": 5}),
        (False, {"sites": ["resid_post.3", "final_norm"]}, {}),
        (False, {"sites": "all"}, {}),
        (False, {"sites": "embed", "pool": "entropy_mean"}, {}),
        (False, {"sites": "embed", "positions": "text"}, {}),
        (False, {"sites": "embed"}, {"temperature": 0.7}),
        (False, {"sites": "embed"}, {"temperature": [0, 0.7]}),
        (False, {"sites": "embed"}, {"stop": "."}),
        (False, {"sites": "embed"}, {"repetition_penalty": 1.1}),
    ],
)
def test_states_are_extracted_where_vllm_serves_them(
    served: bool, states: dict[str, Any], decoding: dict[str, Any]
) -> None:
    assert support.can_extract(MODEL, Decoding(**decoding), StatesSpec(**states), 4) is served
    replaying = ModelSpec(engine="vllm")
    assert not support.can_extract(replaying, Decoding(**decoding), StatesSpec(**states), 4)


def test_several_threads_on_a_cpu_are_told_not_to_spin(monkeypatch: pytest.MonkeyPatch) -> None:
    # Two OpenMP runtimes in one process: threads of one that spin keep those of the other from the cores.
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    monkeypatch.setattr("torch.get_num_threads", lambda: 2)
    assert "OMP_WAIT_POLICY=PASSIVE" in remarks(MODEL)[0]
    assert support.spinning_threads("cuda") == []
    monkeypatch.setenv("OMP_WAIT_POLICY", "PASSIVE")
    assert remarks(MODEL) == []
