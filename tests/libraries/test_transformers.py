"""latentext works on both sides of the changes of transformers, and says so in one line where it cannot."""

from __future__ import annotations

import inspect
import logging
import subprocess
import sys
from typing import Any

import pytest
import torch
import transformers
from tests.engines.families import FAMILIES, loaded_family, loaded_model, ragged_requests, random_model

from latentext.engines.transformers import attention
from latentext.engines.transformers.engine import TransformersEngine
from latentext.errors import EngineError
from latentext.libraries.transformers import models
from latentext.libraries.transformers.models import render_chat
from latentext.spec import Decoding

DECODING = Decoding(max_new_tokens=12)


class TakesItByTheOldName(transformers.LlamaForCausalLM):
    """As custom code of a model that was written before transformers 5.24."""

    def forward(self, input_ids: Any, attention_mask: Any = None, past_key_values: Any = None, **rest: Any) -> Any:
        return super().forward(input_ids, attention_mask, **{_installed_name(): past_key_values}, **rest)


class TakesItByTheNewName(transformers.LlamaForCausalLM):
    """As a model of transformers 5.24."""

    def forward(self, input_ids: Any, attention_mask: Any = None, cache: Any = None, **rest: Any) -> Any:
        return super().forward(input_ids, attention_mask, **{_installed_name(): cache}, **rest)


class TakesNone(transformers.LlamaForCausalLM):
    def forward(self, input_ids: Any, attention_mask: Any = None, use_cache: bool = False, **rest: Any) -> Any:
        return super().forward(input_ids, attention_mask, use_cache=use_cache, **rest)


def _installed_name() -> str:
    """As the installed library's Llama has it."""
    taken = inspect.signature(transformers.LlamaForCausalLM.forward).parameters
    return "cache" if "cache" in taken else "past_key_values"


def _texts(model: Any) -> list[list[int]]:
    results = TransformersEngine(loaded_model(model)).generate(ragged_requests(5), range(1), DECODING, 0, slots=3)
    return [list(token_ids) for _, token_ids in sorted((r.completion.index, r.completion.token_ids) for r in results)]


@pytest.mark.parametrize("kind", [TakesItByTheOldName, TakesItByTheNewName])
def test_a_model_gets_its_cache_by_the_name_that_its_own_code_has(kind: type[Any]) -> None:
    plain = random_model("llama")
    model = kind(plain.config).eval()
    model.load_state_dict(plain.state_dict())
    assert _texts(model) == _texts(plain)


def test_a_model_that_takes_no_cache_is_refused_in_one_line() -> None:
    model = TakesNone(FAMILIES["llama"]()).eval()
    with pytest.raises(EngineError, match=r"TakesNone\.forward takes no cache .* \(no argument cache or past_key_"):
        loaded_model(model)


@pytest.mark.parametrize("family", ["llama", "qwen3", "gemma3-sliding", "gpt-neox", "gpt2", "opt", "mixtral"])
def test_no_step_of_a_family_is_handed_on_to_the_slower_attention(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    tokens = set[int]()

    def handed_on(module: Any, query: torch.Tensor, *rest: Any, **options: Any) -> Any:
        tokens.add(query.shape[2])
        return models.sdpa_attention_forward(module, query, *rest, **options)

    monkeypatch.setattr(attention, "sdpa_attention_forward", handed_on)
    request = ragged_requests(3)[2]
    assert len(request.prompt_token_ids) > 1
    list(TransformersEngine(loaded_family(family)).generate([request], range(1), DECODING, 0))
    assert 1 not in tokens


def test_where_the_registry_of_attention_is_closed_texts_are_the_same_and_a_warning_says_why(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    expected = _texts(random_model("llama"))
    models._registry_can_be_changed.cache_clear()
    monkeypatch.setattr(models, "ALL_ATTENTION_FUNCTIONS", {})
    with caplog.at_level(logging.WARNING):
        assert _texts(random_model("llama")) == expected
    models._registry_can_be_changed.cache_clear()
    assert [record.getMessage().split(" of transformers ")[0] for record in caplog.records] == [
        "the attention registry"
    ]


def test_a_flag_that_is_gone_is_named() -> None:
    with pytest.raises(EngineError, match=r"transformers .* does not fit .* object has no _is_stateful; pip install"):
        models.is_stateful(object())


def test_a_method_that_cache_layers_need_is_named() -> None:
    class Layer(models.CacheLayerMixin):  # type: ignore[misc]
        """Without any of its methods."""

    with pytest.raises(EngineError, match=r"its cache layers need a method \w+; pip install"):
        models.check_layer_class(Layer)


def test_another_result_of_rendering_is_no_prompt(monkeypatch: pytest.MonkeyPatch) -> None:
    from latentext.libraries.transformers import models as chat

    monkeypatch.setattr(chat, "render_jinja_template", lambda *_, **__: "<s>one text")
    with pytest.raises(EngineError, match="render_jinja_template returns no text per conversation"):
        render_chat("{{ messages }}", [{"role": "user", "content": "a"}], add_generation_prompt=True, variables={})


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("transformers.cache_utils", "CacheLayerMixin"),
        ("transformers.integrations.sdpa_attention", "sdpa_attention_forward"),
    ],
)
def test_a_library_that_lost_a_name_ends_the_command_in_one_line(module: str, name: str, tmp_path: Any) -> None:
    program = f"""
import sys, {module}
del sys.modules["{module}"].{name}
from latentext.cli.app import main
main(["demo", {str(tmp_path / "demo")!r}])
"""
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert run.returncode == 1
    (line,) = run.stderr.splitlines()
    assert line.startswith(f"latentext: transformers {transformers.__version__} does not fit this version of latentext")
    assert f"'{name}'" in line and "pip install 'transformers==" in line
