"""Write the model folder: bf16 weights, tokenizer, template, generation settings."""

import copy
import json
from pathlib import Path
from typing import Any

import torch
from transformers import GenerationConfig, LlamaForCausalLM, PreTrainedTokenizerFast


def export(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, folder: Path, training: dict[str, Any]) -> None:
    """A folder that ``AutoModelForCausalLM`` and ``AutoTokenizer`` load without further arguments.

    The weights are rounded once, here, and evaluated after the rounding: what is shipped is what is measured.
    ``training`` (settings and progress) is kept beside them: weights should say how they came to be.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rounded = copy.deepcopy(model).to(torch.bfloat16)
    rounded.generation_config = GenerationConfig(
        bos_token_id=model.config.bos_token_id,
        eos_token_id=model.config.eos_token_id,
        pad_token_id=model.config.pad_token_id,
        do_sample=False,
        max_new_tokens=400,
    )
    rounded.save_pretrained(folder)
    (folder / "model.safetensors").chmod(0o644)
    _save_tokenizer(tokenizer, folder)
    record = training | {"parameters": sum(parameter.numel() for parameter in model.parameters())}
    (folder / "training.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def _save_tokenizer(tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Save under the class name that every transformers release with fast tokenizers knows, without local traces."""
    tokenizer.save_pretrained(folder)
    path = folder / "tokenizer_config.json"
    config = json.loads(path.read_text(encoding="utf-8")) | {"tokenizer_class": "PreTrainedTokenizerFast"}
    kept = {name: value for name, value in config.items() if name not in ("is_local", "local_files_only", "backend")}
    path.write_text(json.dumps(kept, indent=2) + "\n", encoding="utf-8")
