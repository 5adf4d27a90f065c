"""What all peers are asked for: the models, the prompts, and the blocks whose states are kept."""

from __future__ import annotations

import json
import os
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from latentext.models.resolve import resolve_model
from latentext.prompts.tokenizer import load_tokenizer

RANDOM = ("8x256", "12x768")
MODELS = ("tiny", "stories260k", *RANDOM)


@dataclass(frozen=True)
class Model:
    """A model folder, and what of it a job needs."""

    name: str
    folder: Path
    vocab_size: int
    ends: list[int]
    pad: int
    blocks: list[int]


def open_model(name: str, home: Path) -> Model:
    """One of `MODELS`, or a folder; random weights are made and saved on first use."""
    if name in RANDOM:
        from shapes import save_random_model

        folder = save_random_model(name, load_tokenizer(resolve_model("tiny")), home / "models" / name)
    elif name == "stories260k":
        materials = os.environ.get("LATENTEXT_MATERIALS", Path(__file__).parents[3] / "shared" / "materials")
        folder = Path(materials) / "models" / name
    else:
        folder = Path(resolve_model(name).path_or_id)
    if not (folder / "config.json").exists():
        raise SystemExit(f"peers: {folder} holds no model; name one of {', '.join(MODELS)} or a folder")
    config = json.loads((folder / "config.json").read_text())
    generation = folder / "generation_config.json"
    told = json.loads(generation.read_text()) if generation.exists() else {}
    ends = told.get("eos_token_id", config.get("eos_token_id"))
    ends = ends if isinstance(ends, list) else [ends]
    pad = told.get("pad_token_id", config.get("pad_token_id"))
    count = config["num_hidden_layers"]
    # Blocks whose output every peer can give: transformers' last hidden state is after the norm, vLLM's before it.
    return Model(name, folder, config["vocab_size"], ends, ends[0] if pad is None else pad, [count // 2 - 1, count - 2])


def random_prompts(model: Model, count: int, seed: int = 0) -> list[list[int]]:
    """20 to 40 random tokens each."""
    rng = random.Random(seed)
    return [[rng.randrange(3, model.vocab_size) for _ in range(rng.randrange(20, 41))] for _ in range(count)]


def demo_prompts(count: int) -> list[list[int]]:
    """Prompts of the demo for `tiny`, whose texts have 6 to 50 tokens, from the whole range of lengths."""
    tokenizer = load_tokenizer(resolve_model("tiny"))
    words = ["hello", "world", "cat", "dog", "python", "test", "apple", "blue", "sun", "code"]
    texts = [f'Print exactly {n} repetitions of "{word}".' for n in range(5, 51) for word in words]
    random.Random(0).shuffle(texts)
    turns = [[{"role": "user", "content": text}] for text in texts[:count]]
    return [list(tokenizer.apply_chat_template(turn, add_generation_prompt=True)["input_ids"]) for turn in turns]


def jobs(model: Model, prompts: int, tokens: int) -> dict[str, dict[str, Any]]:
    """The sets by name: forced lengths, texts that end by themselves, and given texts of forced lengths."""
    rng = random.Random(1)
    common = {"tokens": tokens, "ends": model.ends, "pad": model.pad, "blocks": model.blocks, "given": []}
    shared = random_prompts(model, prompts)
    ragged = demo_prompts(prompts) if model.name == "tiny" else random_prompts(model, prompts, seed=2)
    given = [[rng.randrange(3, model.vocab_size) for _ in range(tokens)] for _ in shared]
    return {
        "forced": {**common, "prompts": shared, "forced": True},
        "ragged": {**common, "prompts": ragged, "forced": False},
        "given": {**common, "prompts": shared, "forced": True, "given": given},
    }


def first(job: dict[str, Any], count: int) -> dict[str, Any]:
    """The same job on its first prompts."""
    return {**job, "prompts": job["prompts"][:count], "given": job["given"][:count]}
