"""Random-weight models of many families, small enough for a CPU, and a byte tokenizer to go with them.

Weights are drawn wide (0.3 to 0.5), so that attention and positions matter: with the usual 0.02 a model that lost its
cache would still give nearly the same logits, and a test could not see it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import torch
import transformers
from packaging.version import Version
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from latentext.engines.transformers.loaded import LoadedModel
from latentext.engines.transformers.loading import loaded_from
from latentext.models.resolve import ModelSource
from latentext.request import Request

BYTES = 256
EOS = BYTES
VOCABULARY = 260
CONTEXT = 96
CACHE = "cache" if Version(transformers.__version__) >= Version("5.24") else "past_key_values"
"""How transformers calls the cache that models take and give."""

_LLAMA_LIKE = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": CONTEXT,
    "initializer_range": 0.4,
    "tie_word_embeddings": False,
    "pad_token_id": None,
    "bos_token_id": None,
    "eos_token_id": EOS,
}
_GPT2_LIKE = {"vocab_size": VOCABULARY, "initializer_range": 0.4, "eos_token_id": EOS, "bos_token_id": EOS}


def _config(kind: str, **changes: Any) -> Any:
    return getattr(transformers, f"{kind}Config")(**{**_LLAMA_LIKE, **changes})


FAMILIES: dict[str, Callable[[], Any]] = {
    "llama": lambda: _config("Llama"),
    "mistral-sliding": lambda: _config("Mistral", sliding_window=7),
    "qwen2": lambda: _config("Qwen2"),
    "qwen3": lambda: _config("Qwen3", head_dim=8),
    "gemma": lambda: _config("Gemma", head_dim=8, hidden_activation="gelu_pytorch_tanh"),
    "gemma2-sliding-softcaps": lambda: _config(
        "Gemma2", head_dim=8, sliding_window=7, attn_logit_softcapping=2.0, final_logit_softcapping=5.0
    ),
    "gemma3-sliding": lambda: _config("Gemma3Text", head_dim=8, sliding_window=7, layer_types=[
        "sliding_attention", "full_attention", "sliding_attention"
    ]),
    "mixtral": lambda: _config("Mixtral", num_local_experts=4, num_experts_per_tok=2),
    "phi": lambda: _config("Phi", num_key_value_heads=4),
    "phi3": lambda: _config("Phi3", sliding_window=9),
    "gpt-neox": lambda: _config("GPTNeoX", num_key_value_heads=4, rotary_pct=0.5),
    "gpt2": lambda: transformers.GPT2Config(
        n_positions=CONTEXT, n_embd=32, n_layer=3, n_head=4, resid_pdrop=0, **_GPT2_LIKE
    ),
    "opt": lambda: transformers.OPTConfig(
        vocab_size=VOCABULARY, hidden_size=32, ffn_dim=48, num_hidden_layers=3, num_attention_heads=4,
        max_position_embeddings=CONTEXT, word_embed_proj_dim=32, init_std=0.4, pad_token_id=1, eos_token_id=EOS,
        bos_token_id=EOS,
    ),
    "opt-projected": lambda: transformers.OPTConfig(
        vocab_size=VOCABULARY, hidden_size=32, ffn_dim=48, num_hidden_layers=3, num_attention_heads=4,
        max_position_embeddings=CONTEXT, word_embed_proj_dim=16, do_layer_norm_before=False, init_std=0.4,
        pad_token_id=1, eos_token_id=EOS, bos_token_id=EOS,
    ),
    "bloom-alibi": lambda: transformers.BloomConfig(
        hidden_size=32, n_layer=3, n_head=4, **_GPT2_LIKE
    ),
    "gpt-neo-local": lambda: transformers.GPTNeoConfig(
        hidden_size=32, num_layers=3, num_heads=4, attention_types=[[["global", "local", "global"], 1]], window_size=6,
        max_position_embeddings=CONTEXT, intermediate_size=48, **_GPT2_LIKE
    ),
}  # fmt: skip


if hasattr(transformers, "Gemma4TextConfig"):  # Newer than the oldest transformers that latentext takes.
    _GEMMA4 = {
        "num_hidden_layers": 4, "layer_types": ["sliding_attention", "full_attention"] * 2, "sliding_window": 7,
        "head_dim": 8, "global_head_dim": 16,
    }  # fmt: skip
    FAMILIES["gemma4-two-head-sizes"] = lambda: _config("Gemma4Text", **_GEMMA4)
    FAMILIES["gemma4-shared-keys"] = lambda: _config("Gemma4Text", **_GEMMA4, num_kv_shared_layers=2)


@cache
def byte_tokenizer() -> PreTrainedTokenizerFast:
    """Ids 0 … 255 are bytes, 256 … 259 special tokens: every token id a random model can emit has a meaning."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({c: i for i, c in enumerate(alphabet)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    wrapped = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<end>")
    wrapped.add_special_tokens({"additional_special_tokens": ["<a>", "<b>", "<c>"]})
    return wrapped


def loaded_model(model: Any, tokenizer: Any = None, *, eos: Sequence[int] = (EOS,)) -> LoadedModel:
    """Make a model in memory ready for the engine, with the given end tokens."""
    model.generation_config.eos_token_id = list(eos)
    return loaded_from(model.eval(), tokenizer or byte_tokenizer(), ModelSource("random", "random", None, local=True))


def random_model(family: str, *, seed: int = 2, dtype: torch.dtype = torch.float32) -> Any:
    """A model of a family, its weights drawn from a seed."""
    torch.manual_seed(seed)
    return transformers.AutoModelForCausalLM.from_config(FAMILIES[family]()).to(dtype).eval()


@cache
def loaded_family(family: str) -> LoadedModel:
    """A random model of a family that ends a text with about one token in twenty, so that texts are ragged."""
    return loaded_model(random_model(family), eos=ragged_ends())


def ragged_ends() -> list[int]:
    """End tokens all over the vocabulary."""
    return [*range(5, BYTES, 20), EOS]


def request(index: int, prompt_token_ids: Sequence[int]) -> Request:
    """A request as a plan would make it; its key is its index."""
    return Request(index, f"key-{index}", {}, (), "", list(prompt_token_ids))


def ragged_requests(count: int, *, longest: int = 20, seed: int = 1, vocabulary: int = BYTES) -> list[Request]:
    """Prompts of random tokens and random lengths 1 … longest; every fifth repeats the one before."""
    generator = torch.Generator().manual_seed(seed)
    prompts: list[list[int]] = []
    for index in range(count):
        if index % 5 == 4:
            prompts.append(prompts[-1])
            continue
        length = int(torch.randint(1, longest + 1, (), generator=generator))
        prompts.append(torch.randint(0, vocabulary, (length,), generator=generator).tolist())
    return [request(i, p) for i, p in enumerate(prompts)]
