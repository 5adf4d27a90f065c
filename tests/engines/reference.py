"""What plain transformers says: generation one by one, and hidden states by its own index."""

from __future__ import annotations

from typing import Any

import torch
from tests.engines.families import CACHE

from latentext.engines.transformers.loaded import LoadedModel
from latentext.request import Request


@torch.inference_mode()
def plain_generate(loaded: LoadedModel, request: Request, max_new_tokens: int, **options: Any) -> list[int]:
    """The generated ids of ``model.generate``, alone in its batch, greedy unless `options` say otherwise."""
    prompt = torch.tensor([list(request.prompt_token_ids)])
    output = loaded.model.generate(
        prompt,
        attention_mask=torch.ones_like(prompt),
        max_new_tokens=min(max_new_tokens, loaded.context_length - prompt.shape[1]),
        eos_token_id=sorted(loaded.eos_token_ids),
        pad_token_id=0,
        **{"do_sample": False, **options},
    )
    return output[0, prompt.shape[1] :].tolist()


@torch.inference_mode()
def plain_forward(loaded: LoadedModel, token_ids: list[int]) -> Any:
    """Logits and hidden_states of one text alone, from one pass without a cache."""
    return loaded.model(input_ids=torch.tensor([token_ids]), output_hidden_states=True, use_cache=False)


@torch.inference_mode()
def stepwise_hidden_states(loaded: LoadedModel, prompt: list[int], generated: list[int]) -> list[torch.Tensor]:
    """hidden_states [T, width] by Hugging Face index, decoded one token at a time with the model's own cache."""
    output = loaded.model(input_ids=torch.tensor([prompt]), output_hidden_states=True, use_cache=True)
    steps = [[h[0, -1] for h in output.hidden_states]]
    for token in generated[:-1]:
        output = loaded.model(
            input_ids=torch.tensor([[token]]),
            **{CACHE: output[CACHE]},
            output_hidden_states=True,
            use_cache=True,
        )
        steps.append([h[0, -1] for h in output.hidden_states])
    return [torch.stack(column) for column in zip(*steps, strict=True)]
