"""Each choice of positions gives those rows of the states of all positions, in flight and replayed."""

from __future__ import annotations

import pytest
import torch
from tests.engines.families import loaded_family, loaded_model, ragged_requests, random_model, request
from tests.engines.reference import plain_forward
from tests.states.captured import replay_states, write_with_states
from tests.states.comparing import assert_same_states

from latentext.engines.transformers.loaded import LoadedModel
from latentext.request import Request
from latentext.spec import Decoding, Positions, StatesSpec


def _cases() -> list[tuple[LoadedModel, list[Request], Decoding]]:
    one_token = loaded_model(random_model("llama"), eos=range(256))
    short = [request(i, [i + 3]) for i in range(5)]
    return [
        (loaded_family("llama"), ragged_requests(9), Decoding(max_new_tokens=14)),
        (loaded_family("gpt2"), short, Decoding(max_new_tokens=5)),
        (one_token, ragged_requests(6), Decoding(max_new_tokens=14)),
        (one_token, short, Decoding(max_new_tokens=1)),
    ]


@pytest.mark.parametrize("positions", ["generated", "prompt", "all", "first", "last"])
@pytest.mark.parametrize("case", range(4), ids=["ragged", "one-token-prompts", "one-token-texts", "one-and-one"])
def test_rows_in_flight_and_replayed_are_those_of_a_plain_pass(positions: Positions, case: int) -> None:
    loaded, requests, decoding = _cases()[case]
    states = StatesSpec(positions=positions)
    completions, rows = write_with_states(loaded, requests, states, decoding=decoding)
    replayed = replay_states(loaded, requests, completions, states)
    for r in requests:
        text = [*r.prompt_token_ids, *completions[r.index].token_ids]
        hidden = plain_forward(loaded, text).hidden_states
        where = _positions_by_definition(positions, len(r.prompt_token_ids), len(completions[r.index].token_ids))
        for name, captured in (("in flight", rows[r.index]), ("replayed", replayed[r.index])):
            assert captured.position.tolist() == where
            assert captured.token_id.tolist() == [text[p + 1] for p in where]
            assert_same_states(captured.tensors["final_norm"], hidden[-1][0, where], f"final_norm {name}")
            assert_same_states(captured.tensors["embed"], hidden[0][0, where], f"embed {name}")


def _positions_by_definition(positions: Positions, p: int, t: int) -> list[int]:
    """DESIGN: generated P-1 … P+T-2, prompt 0 … P-2, all both, first P-1, last P+T-2."""
    return {
        "generated": list(range(p - 1, p + t - 1)),
        "prompt": list(range(p - 1)),
        "all": list(range(p + t - 1)),
        "first": [p - 1],
        "last": [p + t - 2],
    }[positions]


def test_every_position_of_a_given_text_is_replayed() -> None:
    loaded, requests = loaded_family("opt"), ragged_requests(5)
    states = StatesSpec(positions="text")
    completions, _ = write_with_states(loaded, requests, StatesSpec())
    for index, rows in replay_states(loaded, requests, completions, states).items():
        text = [*requests[index].prompt_token_ids, *completions[index].token_ids]
        assert rows.position.tolist() == list(range(len(text)))
        assert_same_states(rows.tensors["final_norm"], plain_forward(loaded, text).hidden_states[-1][0], "final_norm")


def test_states_handed_out_stay_as_they_are_while_their_slot_is_used_again() -> None:
    loaded, requests = loaded_family("llama"), ragged_requests(12)
    completions, rows = write_with_states(loaded, requests, StatesSpec(), slots=2)
    alone: dict[int, torch.Tensor] = {}
    for r in requests:
        alone |= {i: s.tensors["final_norm"] for i, s in write_with_states(loaded, [r], StatesSpec())[1].items()}
    for index in completions:
        assert_same_states(rows[index].tensors["final_norm"], alone[index], f"request {index}")
