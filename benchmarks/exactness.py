"""How exact states are: in flight, replayed and of plain transformers, beside a float64 pass over the same token ids.

    python benchmarks/exactness.py --model tiny                    per site, relative to several sizes of a row
    python benchmarks/exactness.py --model PATH --without packing  with packed weights or own attention switched off
    python benchmarks/exactness.py --model PATH --pieces 192       with the sums of packed layers made in pieces
    python benchmarks/exactness.py --model PATH --replay --texts 1000 --tokens 32   as `verify` compares them
    python benchmarks/exactness.py --model massive                 random weights, one component of several hundred

The float64 pass takes the rotary tables as the model makes them, in float32, and does all else in float64.
"""

from __future__ import annotations

import argparse
import copy
import random
import statistics
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any
from unittest.mock import patch

import torch
from torch.overrides import TorchFunctionMode

from latentext.engines.engine import Capture, Generated
from latentext.engines.transformers import decode, packed_weights
from latentext.engines.transformers import engine as engine_module
from latentext.engines.transformers.engine import TransformersEngine
from latentext.engines.transformers.loading import LoadedModel, load_model, loaded_from
from latentext.libraries.torch import pack, packed_linear
from latentext.libraries.transformers.models import cache_argument
from latentext.models.resolve import resolve_model
from latentext.request import Request
from latentext.spec import Decoding, ModelSpec, StatesSpec
from latentext.states.layout import ModelLayout, find_layout, reading
from latentext.states.replay import WrittenText, replay_with_scales
from latentext.states.rounding import ROW_SHARE, TOLERANCE, parts_of_scale, rows_beyond_rounding
from latentext.states.sites import sites_up_to
from shapes import massive_model

EVERY_ROW = StatesSpec(sites=("all",), positions="all")
QUESTIONS = (
    "Write a short story about a {}.",
    "Explain to a child what a {} is.",
    'Print exactly 5 repetitions of "{}".',
    "List four facts about the {}.",
    'Translate "the {} is old" into French.',
    "Write a Python function named {}.",
    "The {} was",
    "{}",
)
WORDS = ("river", "piano", "glacier", "tax", "kitchen", "robot", "whale", "treaty", "desert", "atom", "comet", "bread")

States = dict[str, torch.Tensor]
"""By site, [tokens, width], from position 0 on."""


def main() -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="tiny", help="name, folder, or 'massive'")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--tokens", type=int, default=40, help="per text; from 32 on weights are packed")
    parser.add_argument("--without", choices=("packing", "attention"), help="what to switch off")
    parser.add_argument("--pieces", type=int, metavar="TERMS", help="most terms that a packed layer adds up at once")
    parser.add_argument("--texts", type=int, default=16)
    parser.add_argument("--replay", action="store_true", help="compare in flight with replay only, as verify does")
    options = parser.parse_args()
    torch.set_num_threads(1)
    loaded = open_model(options.model, options.dtype)
    with switched_off(options.without), sums_in_pieces(options.pieces):
        if options.replay:
            against_replay(loaded, options.texts, options.tokens)
        else:
            against_float64(loaded, options.texts, options.tokens)


def open_model(name: str, dtype: str) -> LoadedModel:
    """A model by name, or random weights with a massive component and the tokenizer of `tiny`."""
    if name != "massive":
        return load_model(ModelSpec(name=name, dtype=dtype, device="cpu"))
    tokenizer = load_model(ModelSpec(name="tiny", device="cpu")).tokenizer
    return loaded_from(massive_model(len(tokenizer)).to(getattr(torch, dtype)), tokenizer, resolve_model("tiny"))


@contextmanager
def switched_off(what: str | None) -> Iterator[None]:
    """Leave one part of the decode path to torch and transformers."""
    ways: dict[str, Any] = {
        "packing": patch.object(engine_module, "packed_weights", lambda _: nullcontext()),
        "attention": patch.object(decode, "decoding_attention", lambda _: nullcontext()),
    }
    with ways[what] if what else nullcontext():
        yield


@contextmanager
def sums_in_pieces(most: int | None) -> Iterator[None]:
    """Let packed layers make their sums in equal pieces of at most so many terms."""

    def cut(states: torch.Tensor) -> tuple[torch.Tensor, ...]:
        inputs = states.shape[-1]
        return torch.split(states, -(-inputs // -(-inputs // (most or inputs))), dim=-1)

    def pack_pieces(weight: torch.Tensor) -> list[torch.Tensor]:
        return [pack(piece.contiguous()) for piece in cut(weight)]

    def linear(pieces: list[torch.Tensor], bias: torch.Tensor | None, states: torch.Tensor) -> torch.Tensor:
        parts = cut(states)
        outputs = packed_linear(pieces[0], bias, parts[0])
        for piece, part in zip(pieces[1:], parts[1:], strict=True):
            outputs += packed_linear(piece, None, part)
        return outputs

    with patch.multiple(packed_weights, pack=pack_pieces, packed_linear=linear) if most else nullcontext():
        yield


# --- texts and the ways to their states ---------------------------------------------------------------------------


def prompts(loaded: LoadedModel, count: int) -> list[list[int]]:
    """Short questions, a third of them as plain text."""
    rng, tokenizer = random.Random(0), loaded.tokenizer
    found = []
    for number in range(count):
        question = rng.choice(QUESTIONS).format(rng.choice(WORDS))
        if number % 3 and tokenizer.chat_template:
            turns = [{"role": "user", "content": question}]
            ids = tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_dict=False)
        else:
            ids = tokenizer(question).input_ids
        found.append(list(ids))
    return found


def in_flight(
    loaded: LoadedModel, asked: Sequence[list[int]], tokens: int, sites: tuple[str, ...], seed: int = 0
) -> list[tuple[WrittenText, States]]:
    """Sampled texts with their states, in the order of the prompts."""
    requests = [Request(i, f"{i:032x}", {}, [], "", prompt) for i, prompt in enumerate(asked)]
    results = TransformersEngine(loaded).generate(
        requests,
        range(1),
        Decoding(temperature=1.0, min_new_tokens=tokens, max_new_tokens=tokens),
        seed,
        capture=Capture(EVERY_ROW, sites),
    )
    written = {}
    for result in results:
        assert isinstance(result, Generated) and result.states is not None
        index = result.completion.index
        text = WrittenText(index, 0, asked[index], list(result.completion.token_ids))
        written[index] = text, dict(result.states.tensors)
    return [written[index] for index in sorted(written)]


@torch.inference_mode()
def one_pass(model: Any, layout: ModelLayout, sites: tuple[str, ...], ids: Sequence[int]) -> States:
    """The states of one plain pass without a cache."""
    seen: States = {}
    with reading(layout, sites, lambda site, hidden: seen.update({site: hidden[0].clone()})):
        model(input_ids=torch.tensor([ids]), use_cache=False)
    return {site: seen[site] for site in sites}


@torch.inference_mode()
def step_by_step(loaded: LoadedModel, sites: tuple[str, ...], text: WrittenText) -> States:
    """The states of transformers' own cached steps, one token at a time."""
    rows: dict[str, list[torch.Tensor]] = {site: [] for site in sites}
    name, cache = cache_argument(type(loaded.model).forward) or "", None
    with reading(loaded.layout, sites, lambda site, hidden: rows[site].append(hidden[0].clone())):
        for ids in (text.prompt_token_ids, *([token] for token in text.token_ids[:-1])):
            output = loaded.model(
                input_ids=torch.tensor([list(ids)]), use_cache=True, **({name: cache} if cache else {})
            )
            cache = output[name]
    return {site: torch.cat(found) for site, found in rows.items()}


class _InFloat64(TorchFunctionMode):
    """What a model does in float32 on purpose, its norms for example, is done in float64, unless `paused`."""

    paused = False

    def __torch_function__(self, func: Any, _types: Any, args: Any = (), kwargs: Any = None) -> Any:
        def wider(value: Any) -> Any:
            return torch.float64 if value is torch.float32 and not self.paused else value

        if not self.paused and func is torch.Tensor.float:
            func = torch.Tensor.double
        return func(*map(wider, args), **{name: wider(value) for name, value in (kwargs or {}).items()})


class Float64Pass:
    """A copy of a model in float64, with the rotary tables of the original."""

    def __init__(self, loaded: LoadedModel):
        self._mode = _InFloat64()
        self._model = copy.deepcopy(loaded.model).double()
        for ours, theirs in zip(loaded.model.modules(), self._model.modules(), strict=True):
            if type(ours).__name__.endswith("RotaryEmbedding"):
                theirs.forward = partial(self._tables, ours)
        with self._mode:
            self._layout = find_layout(self._model, loaded.vocab_size)

    def states(self, sites: tuple[str, ...], ids: Sequence[int]) -> States:
        """The states [tokens, width] of these token ids, float64."""
        with self._mode:
            return one_pass(self._model, self._layout, sites, ids)

    def _tables(self, original: Any, _states: torch.Tensor, *positions: Any, **named: Any) -> Any:
        self._mode.paused = True
        tables = original(torch.empty(1), *positions, **named)
        self._mode.paused = False
        return tuple(table.double() for table in tables)


# --- what is printed -------------------------------------------------------------------------------------------------


def against_float64(loaded: LoadedModel, count: int, tokens: int) -> None:
    """Errors of four ways per site, largest over all rows of the texts."""
    sites = sites_up_to(["final_norm"], loaded.layout.num_blocks, unnormed=True)
    written = in_flight(loaded, prompts(loaded, count), tokens, sites)
    texts = [text for text, _ in written]
    replayed = {
        r.index: (r, s) for r, s in replay_with_scales(loaded.layout, texts, EVERY_ROW, sites, dtype=loaded.dtype)
    }
    exact = Float64Pass(loaded)
    errors: dict[str, dict[str, list[torch.Tensor]]] = {}
    for text, states in written:
        ids = [*text.prompt_token_ids, *text.token_ids[:-1]]
        truth = exact.states(sites, ids)
        rows, scales = replayed[text.index]
        ways = {
            "in flight": states,
            "replay": rows.tensors,
            "transformers, cached steps": step_by_step(loaded, sites, text),
            "transformers, one pass": one_pass(loaded.model, loaded.layout, sites, ids),
        }
        for way, found in ways.items():
            for site in sites:
                measured = errors_of(found[site], truth[site], scales[site])
                errors.setdefault(site, {}).setdefault(way, []).append(measured)
    print(f"{count} texts of {tokens} tokens; largest error of a row, relative to: its rms, its largest component,")
    print("the component's scale; and the root mean square over the row, relative to the scale")
    for site, ways_of_site in errors.items():
        for way, found_errors in ways_of_site.items():
            worst = torch.cat(found_errors).amax(0).tolist()
            print(f"{site:16} {way:28}", *(f"{value:8.1e}" for value in worst), flush=True)


def errors_of(found: torch.Tensor, truth: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """The four errors of each row, [rows, 4]."""
    off, size = (found.double() - truth.double()).abs(), truth.double().abs()
    part = off / scale.double().clamp(min=1e-30)
    rms, largest = size.square().mean(-1).sqrt(), size.amax(-1)
    return torch.stack(
        [off.amax(-1) / rms, off.amax(-1) / largest, part.amax(-1), part.square().mean(-1).sqrt()], dim=-1
    )


def against_replay(loaded: LoadedModel, count: int, tokens: int) -> None:
    """How much of the tolerance honest texts use up, and how many `verify` would accuse."""
    sites = sites_up_to(["final_norm"], loaded.layout.num_blocks, unnormed=True)
    tolerance = TOLERANCE[loaded.dtype]
    of_component: dict[str, float] = dict.fromkeys(sites, 0.0)
    of_row, accused, largest = dict.fromkeys(sites, 0.0), 0, []
    asked = prompts(loaded, count)
    for start in range(0, count, 50):
        written = in_flight(loaded, asked[start : start + 50], tokens, sites, seed=start)
        stored = {text.index: states for text, states in written}
        again = replay_with_scales(loaded.layout, [text for text, _ in written], EVERY_ROW, sites, dtype=loaded.dtype)
        for rows, scales in again:
            wrong, most = False, 0.0
            for site in sites:
                parts = parts_of_scale(stored[rows.index][site], rows.tensors[site], scales[site])
                wrong |= bool(rows_beyond_rounding(parts, loaded.dtype, loaded.dtype).any())
                most = max(most, float(parts.max()) / tolerance)
                of_component[site] = max(of_component[site], float(parts.max()) / tolerance)
                over_row = float(parts.square().mean(-1).sqrt().max())
                of_row[site] = max(of_row[site], over_row / (ROW_SHARE * tolerance))
            accused += wrong
            largest.append(most)
        print(
            f"{len(largest)} texts, {accused} accused; share of the tolerance used by a text: "
            f"median {statistics.median(largest):.2f}, largest {max(largest):.2f}",
            flush=True,
        )
    for site in sites:
        print(f"{site:16} components {of_component[site]:.2f}, rows {of_row[site]:.2f}")


if __name__ == "__main__":
    main()
