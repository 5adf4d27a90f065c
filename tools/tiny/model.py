"""The architecture, and a fresh model of it."""

import torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from tiny.initialisation import lay_copying_circuit
from tiny.tokenizer import BOS, CONTEXT, END_OF_TEXT, EOT, PAD


def build_config(tokenizer: PreTrainedTokenizerFast) -> LlamaConfig:
    """About 2.8 M parameters. Four layers: to find a number, then a distance, takes two or three; prose uses all.

    Llama-3's rotary base leaves two thirds of a head's pairs turning slowly, which copying over hundreds of tokens
    needs; the fast ones are enough to tell the 50th repetition from the 51st.
    """
    return LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=192,
        intermediate_size=512,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=4,
        head_dim=48,
        max_position_embeddings=CONTEXT,
        rope_parameters={"rope_type": "default", "rope_theta": 500_000.0},
        tie_word_embeddings=True,
        bos_token_id=tokenizer.convert_tokens_to_ids(BOS),
        eos_token_id=[tokenizer.convert_tokens_to_ids(END_OF_TEXT), tokenizer.convert_tokens_to_ids(EOT)],
        pad_token_id=tokenizer.convert_tokens_to_ids(PAD),
    )


def build_model(tokenizer: PreTrainedTokenizerFast, seed: int) -> LlamaForCausalLM:
    """A fresh model with seeded weights."""
    torch.manual_seed(seed)
    model = LlamaForCausalLM(build_config(tokenizer))
    lay_copying_circuit(model, tokenizer)
    return model
