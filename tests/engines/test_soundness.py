"""Models that the decode loop would get wrong are refused when they are loaded, in one line that says why."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from tests.engines.families import (
    BYTES,
    CONTEXT,
    EOS,
    FAMILIES,
    VOCABULARY,
    byte_tokenizer,
    loaded_family,
    loaded_model,
    ragged_requests,
    random_model,
    request,
)
from tests.engines.reference import plain_forward, plain_generate
from tests.states.comparing import assert_same_states

from latentext.cli.app import exit_code
from latentext.engines.engine import Capture, Generated
from latentext.engines.transformers.engine import TransformersEngine
from latentext.engines.transformers.loaded import LoadedModel
from latentext.engines.transformers.soundness import check_soundness
from latentext.errors import EngineError
from latentext.request import Failure
from latentext.spec import Decoding, StatesSpec
from latentext.states.replay import WrittenText, replay

_ENCODER = {
    "vocab_size": VOCABULARY, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
    "intermediate_size": 64, "max_position_embeddings": CONTEXT,
}  # fmt: skip
_DECODER = {
    "vocab_size": VOCABULARY, "d_model": 32, "decoder_layers": 2, "encoder_layers": 2, "decoder_attention_heads": 2,
    "encoder_attention_heads": 2, "decoder_ffn_dim": 48, "encoder_ffn_dim": 48, "max_position_embeddings": CONTEXT,
    "pad_token_id": 1, "bos_token_id": 0, "eos_token_id": EOS, "is_decoder": True, "is_encoder_decoder": False,
}  # fmt: skip
_GEMMA3 = {
    "vocab_size": VOCABULARY, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3,
    "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8,
}  # fmt: skip
BIDIRECTIONAL: dict[str, Callable[[], Any]] = {
    "bert": lambda: transformers.BertConfig(**_ENCODER),
    "roberta": lambda: transformers.RobertaConfig(**_ENCODER, pad_token_id=1),
    "electra": lambda: transformers.ElectraConfig(**_ENCODER, embedding_size=32),
    "gemma3": lambda: transformers.Gemma3TextConfig(**_GEMMA3, use_bidirectional_attention=True),
}
COUNTS_PADDING: dict[str, Callable[[], Any]] = {
    **{
        name: lambda name=name: getattr(transformers, f"{name}Config")(**_DECODER)  # type: ignore[misc]
        for name in ("Bart", "MBart", "Marian", "Pegasus", "Blenderbot", "TrOCR")
    },
    "Whisper": lambda: transformers.WhisperConfig(
        **_DECODER, max_target_positions=CONTEXT, num_mel_bins=8, max_source_positions=20
    ),
}


def built(config: Any, *, dtype: torch.dtype = torch.float32) -> Any:
    """A model as published ones are before training: its weights are small, so what is wrong shows least."""
    torch.manual_seed(3)
    return transformers.AutoModelForCausalLM.from_config(config).to(dtype)


@pytest.mark.parametrize("kind", BIDIRECTIONAL)
def test_a_model_that_attends_to_later_tokens_is_refused(kind: str) -> None:
    with pytest.raises(EngineError, match=r"attends to later tokens \(it is bidirectional\)") as refused:
        loaded_model(built(BIDIRECTIONAL[kind]()))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("kind", BIDIRECTIONAL)
def test_a_bidirectional_model_is_refused_in_half_precision_too(kind: str, dtype: torch.dtype) -> None:
    config = BIDIRECTIONAL[kind]()
    config.initializer_range = 0.4  # As wide as training makes weights: half precision rounds small effects away.
    with pytest.raises(EngineError, match="attends to later tokens"):
        loaded_model(built(config, dtype=dtype))


@pytest.mark.parametrize("kind", COUNTS_PADDING)
def test_a_decoder_that_counts_padding_as_positions_is_refused(kind: str) -> None:
    with pytest.raises(EngineError, match="other logits beside prompts of other lengths") as refused:
        loaded_model(built(COUNTS_PADDING[kind]()))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_that_is_decoded_right_is_taken_in_every_dtype(family: str, dtype: torch.dtype) -> None:
    check_soundness(loaded_model(random_model(family, dtype=dtype)))


def test_a_cache_that_forgets_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    from latentext.engines.transformers.cache import SlabLayer

    real = SlabLayer.update

    def forgetful(self: SlabLayer, keys: torch.Tensor, values: torch.Tensor, *more: Any, **named: Any) -> Any:
        return real(self, keys, torch.zeros_like(values) if keys.shape[2] > 1 else values, *more, **named)

    loaded = loaded_family("llama")
    monkeypatch.setattr(SlabLayer, "update", forgetful)
    with pytest.raises(EngineError, match="other logits beside"):
        check_soundness(loaded)


def test_a_bidirectional_model_on_disk_ends_a_run_with_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    transformers.BertForMaskedLM(BIDIRECTIONAL["bert"]()).save_pretrained(tmp_path / "m")
    byte_tokenizer().save_pretrained(tmp_path / "m")
    (tmp_path / "s.yaml").write_text("model: m\nprompts: {list: [Hi], use_chat_template: false}\noutput: d\n")
    assert exit_code(["run", str(tmp_path / "s.yaml")]) == 1
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert "BertLMHeadModel attends to later tokens" in said and "causal (decoder-only)" in said


@pytest.mark.parametrize("kind", ["LongcatFlash", "CpmAnt"])
def test_a_model_that_cannot_be_read_as_a_language_model_is_refused(kind: str) -> None:
    configs = {
        "LongcatFlash": {"hidden_size": 32, "num_layers": 2},
        "CpmAnt": {"hidden_size": 32, "num_attention_heads": 2, "dim_head": 16, "dim_ff": 48, "num_hidden_layers": 2},
    }
    config = getattr(transformers, f"{kind}Config")(vocab_size=VOCABULARY, **configs[kind])
    with pytest.raises(EngineError, match="use a decoder-only language model") as refused:
        loaded_model(built(config))
    assert "\n" not in str(refused.value)


def test_states_of_several_streams_are_refused_and_texts_are_written() -> None:
    """Gemma 3n hands four streams from block to block."""
    loaded = loaded_model(built(transformers.Gemma3nTextConfig(
        vocab_size=VOCABULARY, hidden_size=32, intermediate_size=48, num_hidden_layers=4, num_attention_heads=4,
        num_key_value_heads=2, head_dim=8, vocab_size_per_layer_input=VOCABULARY, hidden_size_per_layer_input=8,
        num_kv_shared_layers=0, laurel_rank=4, layer_types=["sliding_attention", "full_attention"] * 2,
        sliding_window=7, activation_sparsity_pattern=[0.0] * 4,
    )))  # fmt: skip
    requests = ragged_requests(3)
    engine = TransformersEngine(loaded)
    for r in engine.generate(requests, range(1), Decoding(max_new_tokens=6), 0):
        assert isinstance(r, Generated)
        assert r.completion.token_ids == plain_generate(loaded, requests[r.completion.index], 6)
    with pytest.raises(EngineError, match=r"states at embed have the shape \[4, 3, \d+, 32\]"):
        list(
            engine.generate(
                requests, range(1), Decoding(max_new_tokens=6), 0, capture=Capture(StatesSpec(), ("embed",))
            )
        )
    texts = [WrittenText(0, 0, [1, 2, 3], [4, 5])]
    with pytest.raises(EngineError, match=r"states at resid_post\.0 have the shape \[4, 1, 5, 32\]"):
        list(replay(loaded.layout, texts, StatesSpec(), ("resid_post.0",), dtype=torch.float32))


# LongRoPE: one long text makes the model rotate every text of its batch by other factors.

SHORT = 24
SITES = ("resid_post.1", "final_norm")


@pytest.fixture(scope="module")
def longrope() -> LoadedModel:
    """A Phi-3 whose texts of more than 24 tokens are rotated by other factors."""
    rotation = {
        "rope_type": "longrope", "rope_theta": 10000.0, "short_factor": [1.0] * 4, "long_factor": [4.0, 5.0, 6.0, 8.0],
        "original_max_position_embeddings": SHORT,
    }  # fmt: skip
    config = transformers.Phi3Config(
        vocab_size=VOCABULARY, hidden_size=32, intermediate_size=48, num_hidden_layers=3, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=CONTEXT, original_max_position_embeddings=SHORT,
        initializer_range=0.4, tie_word_embeddings=False, pad_token_id=None, bos_token_id=None, eos_token_id=EOS,
        rope_parameters=rotation,
    )  # fmt: skip
    return loaded_model(built(config))


def written(loaded: LoadedModel, lengths: list[int], max_new_tokens: int = 12) -> dict[int, Generated | Failure]:
    """Prompts of these lengths in one call; each prompt depends on its own length alone."""
    requests = [request(n, [(7 * n + 11 * k) % BYTES for k in range(n)]) for n in lengths]
    capture = Capture(StatesSpec(positions="all"), SITES)
    results = TransformersEngine(loaded).generate(
        requests, range(1), Decoding(max_new_tokens=max_new_tokens), 0, capture=capture, slots=4
    )
    return {r.index if isinstance(r, Failure) else r.completion.index: r for r in results}


def test_a_long_prompt_changes_no_short_text_and_no_state_of_one(longrope: LoadedModel) -> None:
    alone, beside = written(longrope, [3, 5, 9]), written(longrope, [3, 5, 9, 40])
    for n in (3, 5, 9):
        one, other = alone[n], beside[n]
        assert isinstance(one, Generated) and isinstance(other, Generated)
        assert one.completion == other.completion
        assert one.states is not None and other.states is not None
        for site in SITES:
            assert torch.equal(one.states.tensors[site], other.states.tensors[site])


def test_short_and_long_texts_and_states_are_those_of_transformers_alone(longrope: LoadedModel) -> None:
    results = written(longrope, [3, 9, 40, 30, 5], max_new_tokens=14)
    texts = []
    for n, result in results.items():
        assert isinstance(result, Generated) and result.states is not None
        prompt, ids = [(7 * n + 11 * k) % BYTES for k in range(n)], list(result.completion.token_ids)
        assert ids == plain_generate(longrope, request(n, prompt), 14)
        plain = plain_forward(longrope, [*prompt, *ids]).hidden_states
        assert_same_states(result.states.tensors["final_norm"], plain[-1][0, :-1], f"prompt of {n}")
        texts.append(WrittenText(n, 0, prompt, ids))
    for rows in replay(longrope.layout, texts, StatesSpec(positions="all"), SITES, dtype=torch.float32):
        given = results[rows.index]
        assert isinstance(given, Generated) and given.states is not None
        for site in SITES:
            assert_same_states(rows.tensors[site], given.states.tensors[site], f"{site} replayed")


def test_a_short_text_ends_where_its_rotations_would_change_and_the_run_says_so(
    longrope: LoadedModel, caplog: pytest.LogCaptureFixture
) -> None:
    results = written(longrope, [SHORT - 4, SHORT, SHORT + 1], max_new_tokens=10)
    cut, unfit, long = (results[n] for n in (SHORT - 4, SHORT, SHORT + 1))
    assert isinstance(cut, Generated) and isinstance(long, Generated)
    assert (len(cut.completion.token_ids), cut.completion.finish_reason) == (4, "length")
    assert len(long.completion.token_ids) == 10
    assert isinstance(unfit, Failure) and unfit.reason == "prompt-too-long"
    assert "treats texts above 24 tokens differently (LongRoPE): texts with shorter prompts end there" in caplog.text
