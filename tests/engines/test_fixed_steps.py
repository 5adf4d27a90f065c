"""Steps of rounded shapes write what steps of their own shape write: what a GPU replays is checked here on the CPU."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import pytest
import torch
from tests.engines.families import loaded_family, loaded_model, ragged_ends, ragged_requests, random_model, request

from latentext.engines.engine import Capture, Generated
from latentext.engines.transformers import fixed_steps
from latentext.engines.transformers.engine import TransformersEngine
from latentext.engines.transformers.fixed_steps import can_be_fixed
from latentext.engines.transformers.loaded import LoadedModel
from latentext.errors import EngineError
from latentext.request import Failure, Request
from latentext.spec import Decoding, StatesSpec

DECODING = Decoding(max_new_tokens=40)
SAMPLED = Decoding(max_new_tokens=40, temperature=1.0, entropy=True, logprobs=True)
SITES = ("embed", "resid_post.1", "final_norm")


def _texts(
    engine: TransformersEngine,
    requests: Sequence[Request],
    decoding: Decoding,
    states: StatesSpec | None = None,
    slots: int = 5,
) -> dict[int, Generated]:
    capture = Capture(states, SITES) if states else None
    results = list(engine.generate(requests, range(1), decoding, 0, capture=capture, slots=slots))
    return {r.completion.index: r for r in results if isinstance(r, Generated)}


@pytest.fixture
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that texts cross from one number of rows and columns to the next."""
    monkeypatch.setattr(fixed_steps, "_COLUMNS", 16)
    monkeypatch.setattr(fixed_steps, "_SMALL_ROWS", (2, 4))


@pytest.mark.usefixtures("small_steps")
@pytest.mark.parametrize("decoding", [DECODING, SAMPLED], ids=["greedy", "sampled"])
@pytest.mark.parametrize(
    ("family", "pool"),
    [
        ("llama", "none"),
        ("llama", "mean"),
        ("qwen3", "none"),
        ("gemma", "none"),
        ("gpt-neox", "none"),
        ("gpt2", "none"),
    ],
)
def test_texts_and_states_are_those_of_ordinary_steps(family: str, pool: str, decoding: Decoding) -> None:
    loaded = loaded_family(family)
    states = StatesSpec(sites=SITES, pool=(pool,))
    engines = TransformersEngine(loaded, fixed_shapes=False), TransformersEngine(loaded, fixed_shapes=True)
    # Of one shard after the other, the second has more rows and longer prompts, the third fewer.
    for count, longest, slots in ((11, 6, 3), (28, 20, 6), (9, 9, 2)):
        requests = ragged_requests(count, longest=longest)
        expected, found = (_texts(engine, requests, decoding, states, slots) for engine in engines)
        assert found.keys() == expected.keys() and len(found) == count
        assert len({len(text.completion.token_ids) for text in found.values()}) > 2, "the texts must be ragged"
        for index, text in found.items():
            assert text.completion.token_ids == expected[index].completion.token_ids
            other = expected[index].states
            assert text.states is not None and other is not None
            for name, tensor in text.states.tensors.items():
                # Of a row: a single number near zero loses digits to its neighbours, on some processors more.
                difference = (tensor - other.tensors[name]).norm(dim=-1)
                assert (difference <= 5e-5 * tensor.norm(dim=-1)).all()


@pytest.mark.usefixtures("small_steps")
def test_the_shapes_are_few(monkeypatch: pytest.MonkeyPatch) -> None:
    shapes: set[tuple[int, int]] = set()
    ordinary = fixed_steps.FixedSteps._pass

    def noted(self: fixed_steps.FixedSteps, rows: int, columns: int) -> None:
        shapes.add((rows, columns))
        ordinary(self, rows, columns)

    monkeypatch.setattr(fixed_steps.FixedSteps, "_pass", noted)
    _texts(TransformersEngine(loaded_family("llama"), fixed_shapes=True), ragged_requests(28), DECODING)
    assert shapes and {rows for rows, _ in shapes} <= {2, 4, 64}
    assert {columns for _, columns in shapes} <= {16, 32, 48, 64, 80, 96, 112, 128}


@pytest.mark.usefixtures("small_steps")
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_nan_stays_with_the_texts_that_meet_it(value: float) -> None:
    """Token 0 is what rows hold before any text: a NaN there must not reach a text either."""
    model = random_model("llama")
    bad = 200
    requests = [request(i, [i + 1, *([bad] if i % 3 == 1 else []), *range(2, 2 + i)]) for i in range(15)]
    with torch.no_grad():
        model.model.embed_tokens.weight[[0, bad]] = value
    loaded = loaded_model(model, eos=ragged_ends())
    both = []
    for fixed in (False, True):
        engine = TransformersEngine(loaded, fixed_shapes=fixed)
        both.append(_texts(engine, requests, DECODING, slots=3))
        both[-1] |= {100 + i: t for i, t in _texts(engine, requests[:4], DECODING, slots=3).items()}
    assert 5 < len(both[0]) < 19
    assert {i: t.completion.token_ids for i, t in both[1].items()} == {
        i: t.completion.token_ids for i, t in both[0].items()
    }


@pytest.mark.parametrize("slots", [1, 2])
def test_closing_the_engine_in_another_thread_ends_the_work(slots: int) -> None:
    engine = TransformersEngine(loaded_family("llama"), fixed_shapes=True)
    results = engine.generate(ragged_requests(28), range(1), DECODING, 0, slots=slots)
    next(results)
    closer = threading.Thread(target=engine.close)
    closer.start()
    while engine._closings == 0:
        pass
    with pytest.raises(EngineError, match="closed"):
        list(results)
    closer.join(timeout=10)
    assert not closer.is_alive()
    assert len(_texts(engine, ragged_requests(3), DECODING)) == 3, "a later call takes the work up again"


@pytest.mark.parametrize("states", [None, StatesSpec()], ids=["texts", "states"])
def test_the_next_call_writes_while_the_last_texts_of_one_are_handed_out(states: StatesSpec | None) -> None:
    loaded, requests = loaded_family("llama"), ragged_requests(20)
    engine, capture = TransformersEngine(loaded), Capture(states, SITES) if states else None
    expected = list(engine.generate(requests, range(1), DECODING, 0, capture=capture, slots=5))
    results = engine.generate(requests, range(1), DECODING, 0, capture=capture, slots=5)
    found = [next(results) for _ in requests]
    other: list[dict[int, Generated]] = []
    thread = threading.Thread(target=lambda: other.append(_texts(engine, requests, DECODING, states)))
    thread.start()
    thread.join(60)
    assert other and len(other[0]) == 20, "it waited for somebody to ask whether there are more texts"
    assert [r.completion.token_ids for r in found] == [r.completion.token_ids for r in expected]
    assert list(results) == []


def test_a_call_from_another_thread_waits_its_turn() -> None:
    """Two shards at a time: hooks of one must never see the passes of the other."""
    loaded = loaded_family("llama")
    alone = [_texts(TransformersEngine(loaded), ragged_requests(20, seed=s), DECODING, StatesSpec()) for s in (1, 2)]
    engine = TransformersEngine(loaded)
    found: dict[int, dict[int, Generated]] = {}

    def write(seed: int) -> None:
        found[seed] = _texts(engine, ragged_requests(20, seed=seed), DECODING, StatesSpec())

    threads = [threading.Thread(target=write, args=(seed,)) for seed in (1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for seed, expected in zip((1, 2), alone, strict=True):
        for index, text in expected.items():
            same = found[seed][index]
            assert same.completion == text.completion
            assert text.states is not None and same.states is not None
            assert all(torch.equal(t, same.states.tensors[name]) for name, t in text.states.tensors.items())


def test_a_cpu_takes_ordinary_steps() -> None:
    assert not can_be_fixed(loaded_family("llama"))


def test_memory_that_is_short_gives_the_buffers_back(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = TransformersEngine(loaded_family("llama"), fixed_shapes=True)
    assert engine._fixed is not None
    _texts(engine, ragged_requests(9), DECODING)
    assert engine._fixed._buffers is not None

    def short(*_: object) -> LoadedModel:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    monkeypatch.setattr(fixed_steps, "last_logits", short)
    results = list(engine.generate([request(0, [1, 2])], range(1), DECODING, 0))
    assert isinstance(results[0], Failure) and results[0].reason == "out-of-memory"
    assert engine._fixed._buffers is None
