"""A dry run refuses by the configuration alone what a run refuses when it tries the model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import transformers
from tests.run.made import small_spec

from latentext.errors import EngineError
from latentext.models import resolve_model
from latentext.prompts.tokenizer import load_tokenizer
from latentext.run.estimate import estimate

_SMALL: dict[str, Any] = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}


def _folder(folder: Path, kind: str, saved_as: str, **changes: Any) -> Path:
    """config.json and a tokenizer, and no weights: nothing is loaded."""
    tokenizer = load_tokenizer(resolve_model("tiny"))
    config = getattr(transformers, f"{kind}Config")(vocab_size=len(tokenizer), **changes)
    config.architectures = [saved_as]
    config.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.mark.parametrize(
    ("kind", "saved_as", "changes", "said"),
    [
        ("Bert", "BertForMaskedLM", _SMALL, "attends to later tokens"),
        ("Roberta", "RobertaForMaskedLM", _SMALL, "attends to later tokens"),
        ("Electra", "ElectraForMaskedLM", _SMALL, "attends to later tokens"),
        ("Gemma3Text", "Gemma3ForCausalLM", {**_SMALL, "use_bidirectional_attention": True}, "attends to later tokens"),
        ("DistilBert", "DistilBertForMaskedLM", {}, "is no causal language model"),
        ("T5", "T5ForConditionalGeneration", {}, "is an encoder-decoder"),
        ("Bart", "BartForConditionalGeneration", {}, "is an encoder-decoder"),
        ("Marian", "MarianForCausalLM", {"is_encoder_decoder": False}, "counts padding as positions"),
        ("Llama", "LlamaForSequenceClassification", _SMALL, "the files are of a LlamaForSequenceClassification"),
        ("Llama", "LlamaModel", _SMALL, "they hold no output embeddings"),
        ("Mamba", "MambaForCausalLM", {"num_hidden_layers": 2}, "keeps more than keys and values"),
    ],
)
def test_a_model_that_could_write_no_text_is_refused_without_its_weights(
    tmp_path: Path, kind: str, saved_as: str, changes: dict[str, Any], said: str
) -> None:
    spec = small_spec(_folder(tmp_path, kind, saved_as, **changes))
    with pytest.raises(EngineError, match=said) as refused:
        estimate(spec)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("kind", "saved_as", "changes"),
    [
        ("Llama", "LlamaForCausalLM", _SMALL),
        ("Bert", "BertLMHeadModel", {**_SMALL, "is_decoder": True}),
        ("GPT2", "GPT2LMHeadModel", {"n_embd": 32, "n_layer": 2, "n_head": 2}),
        ("Llama", "LlamaModel", {**_SMALL, "tie_word_embeddings": True}),
        ("Gemma3Text", "Gemma3ForCausalLM", _SMALL),
    ],
)
def test_a_model_that_a_run_takes_is_not_refused(
    tmp_path: Path, kind: str, saved_as: str, changes: dict[str, Any]
) -> None:
    assert estimate(small_spec(_folder(tmp_path, kind, saved_as, **changes))).requests == 8
