"""Plans: keys, shards, growth, and what is refused. Real tokenizers, real files."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from latentext.errors import DatasetError, SpecError
from latentext.phases import Phase, watched_by
from latentext.plan import Plan, Shard, Shards, make_plan, making, request_key
from latentext.plan.keys import NO_PROMPT, prompt_digest
from latentext.plan.occurrences import read_occurrences, write_occurrences
from latentext.request import Failure, Request
from latentext.spec import Decoding, Spec
from latentext.spec.files import load_spec


@pytest.fixture(scope="module")
def stories(stories260k: Path) -> PreTrainedTokenizerBase:
    return AutoTokenizer.from_pretrained(stories260k)


def _plan(directory: Path, tokenizer: PreTrainedTokenizerBase | None, *, shard_size: int = 4, **fields: object) -> Plan:
    prompts = {"use_chat_template": False, **fields.pop("prompts")}
    spec = Spec(prompts=prompts, **fields)
    return make_plan(spec, tokenizer=tokenizer, model_id="model", directory=directory / "plan", shard_size=shard_size)


def _requests(plan: Plan) -> list[Request]:
    return [request for shard in plan.shards for request in plan.requests(shard)[0]]


def _bytes(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (directory / "plan").iterdir()}


# Keys.


def test_a_key_is_what_the_documented_hash_gives() -> None:
    # Written out here once more; a change of this value would orphan every dataset that exists.
    decoding = {
        "frequency_penalty": 0.0, "max_new_tokens": 200, "min_new_tokens": 0, "min_p": 0.0, "no_repeat_ngram_size": 0,
        "presence_penalty": 0.0, "repetition_penalty": 1.0, "stop": [], "temperature": 0.0, "top_k": None, "top_p": 1.0,
    }  # fmt: skip
    identity = {
        "decoding": json.dumps(decoding, separators=(",", ":")),
        "model": "tiny",
        "occurrence": 0,
        "prompt": [1, 2, 3],
        "version": 1,
    }
    text = json.dumps(identity, separators=(",", ":"))
    assert request_key([1, 2, 3], "tiny", Decoding(), 0) == hashlib.sha256(text.encode()).hexdigest()[:32]
    assert request_key(np.array([1, 2, 3]), "tiny", Decoding(), 0) == request_key([1, 2, 3], "tiny", Decoding(), 0)


def test_a_key_changes_with_what_decides_a_text_and_with_nothing_else() -> None:
    base = request_key([1, 2], "m", Decoding(), 0)
    same = [Decoding(n=32), Decoding(logprobs=True), Decoding(entropy=True), Decoding(temperature=0)]
    same.append(Decoding(expect="text"))  # It only says what will probably be written.
    assert {request_key([1, 2], "m", decoding, 0) for decoding in same} == {base}
    others = [
        request_key([1, 3], "m", Decoding(), 0),
        request_key([1, 2], "n", Decoding(), 0),
        request_key([1, 2], "m", Decoding(), 1),
        request_key([{"role": "user", "content": "12"}], "m", Decoding(), 0),
    ]
    options = {"temperature": 0.5, "top_k": 5, "top_p": 0.5, "min_p": 0.5, "repetition_penalty": 1.1, "stop": "a"}
    options |= {"presence_penalty": 0.1, "frequency_penalty": 0.1, "no_repeat_ngram_size": 2}
    options |= {"min_new_tokens": 1, "max_new_tokens": 7}
    others += [request_key([1, 2], "m", Decoding(**{name: value}), 0) for name, value in options.items()]
    assert set(options) == set(Decoding.model_fields) - {"n", "logprobs", "entropy", "expect", "temperatures"}
    assert len({base, *others}) == 1 + len(others)


def test_sites_rewards_samples_and_device_do_not_change_keys(tmp_path: Path, stories) -> None:
    prompts = {"list": ["Once", "Twice"]}
    keys = [request.key for request in _requests(_plan(tmp_path, stories, prompts=prompts))]
    changed = {"states": {"sites": "all"}, "rewards": ["length"], "model": {"dtype": "bfloat16", "device": "cuda"}}
    assert [r.key for r in _requests(_plan(tmp_path / "b", stories, prompts=prompts, **changed))] == keys


# Shards.

_segment_lengths = st.lists(st.integers(1, 9), max_size=4)


def _segments(lengths: list[int]) -> list[tuple[int, int]]:
    return [(sum(lengths[:place]), sum(lengths[: place + 1])) for place in range(len(lengths))]


@given(_segment_lengths, st.integers(1, 5))
def test_shards_partition_the_plan_in_order_and_respect_segments(lengths: list[int], size: int) -> None:
    segments = _segments(lengths)
    shards = list(Shards(segments, size))
    assert [shard.number for shard in shards] == list(range(len(shards)))
    assert [index for shard in shards for index in range(shard.start, shard.stop)] == list(range(sum(lengths)))
    for shard in shards:
        assert 0 < len(shard) <= size
        assert any(start <= shard.start and shard.stop <= stop for start, stop in segments)


@given(_segment_lengths, st.integers(1, 5), st.integers(0, 40))
def test_a_limit_keeps_whole_the_shards_that_it_needs(lengths: list[int], size: int, limit: int) -> None:
    every = list(Shards(_segments(lengths), size))
    assert list(Shards(_segments(lengths), size, limit)) == [shard for shard in every if shard.start < limit]


def test_shards_of_a_million_million_requests_are_found_by_arithmetic() -> None:
    shards = Shards([(0, 10**12)], 128)
    assert shards[-1] == Shard(7812499999, 999999999872, 10**12)
    assert shards[1:3] == [Shard(1, 128, 256), Shard(2, 256, 384)]
    with pytest.raises(IndexError):
        shards[len(shards)]


# Occurrences.


@given(
    st.lists(st.integers(0, 5), max_size=60),
    st.integers(1, 4),
    st.integers(1, 9),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_occurrences_count_earlier_equal_prompts(tmp_path: Path, digests: list[int], bucket: int, chunk: int) -> None:
    target = tmp_path / "occurrences.u64"
    write_occurrences(np.array(digests, dtype="<u8"), target, bucket=bucket, chunk=chunk)
    met: Counter[int] = Counter()
    expected = []
    for digest in digests:
        expected.append(0 if digest == NO_PROMPT else met[digest])
        met[digest] += 1
    for start in range(0, len(digests) + 1, 7):
        assert read_occurrences(target, start, len(digests)).tolist() == expected[start:]
    assert target.stat().st_size == 16 * sum(occurrence > 0 for occurrence in expected)
    assert [path.name for path in tmp_path.iterdir()] == [target.name]


def test_equal_prompts_get_their_own_keys(tmp_path: Path, stories) -> None:
    requests = _requests(_plan(tmp_path, stories, prompts={"list": ["a", "b", "a", "a"]}, shard_size=2))
    assert len({request.key for request in requests}) == 4
    occurrences = [("a", 0), ("b", 0), ("a", 1), ("a", 2)]
    expected = [request_key(stories(text)["input_ids"], "model", Decoding(), number) for text, number in occurrences]
    assert [request.key for request in requests] == expected


# Plans.


def test_requests_carry_their_row_their_messages_and_the_ids_of_the_tokenizer(tmp_path: Path, stories) -> None:
    prompts = {"template": "Say {word}.", "grid": {"count": [1, 2], "word": ["yes", "no"]}, "system": "Obey."}
    plan = _plan(tmp_path, stories, prompts=prompts, shard_size=3)
    request = plan.requests(plan.shards[1])[0][0]
    assert (request.index, request.variables) == (3, {"count": 2, "word": "no"})
    assert request.messages == [{"role": "system", "content": "Obey."}, {"role": "user", "content": "Say no."}]
    assert request.prompt == "Obey.\n\nSay no."
    assert request.prompt_token_ids == stories("Obey.\n\nSay no.")["input_ids"]
    lengths = [len(request.prompt_token_ids) for request in _requests(plan)]
    assert (plan.count, plan.prompt_tokens, plan.longest_prompt) == (4, sum(lengths), max(lengths))


def test_without_a_tokenizer_messages_take_the_place_of_ids(tmp_path: Path) -> None:
    plan = _plan(tmp_path, None, prompts={"list": ["héllo", "héllo"]})
    first, second = _requests(plan)
    assert first.prompt_token_ids == ()
    assert first.key == request_key([{"role": "user", "content": "héllo"}], "model", Decoding(), 0)
    assert second.key == request_key([{"role": "user", "content": "héllo"}], "model", Decoding(), 1)
    assert (plan.prompt_tokens, plan.longest_prompt) == (12, 6)


def test_any_shard_can_be_asked_for_alone(tmp_path: Path, stories, materials: Path) -> None:
    file = str(materials / "prompts" / "dailydialog-500.ndjson")
    prompts = {"file": file, "columns": {"prompt": "source"}}
    plan = _plan(tmp_path, stories, prompts=prompts, shard_size=64)
    assert (plan.count, len(plan.shards)) == (500, 8)
    every = _requests(plan)
    again = _plan(tmp_path, stories, prompts=prompts)
    assert again.requests(again.shards[7])[0] == every[448:]
    assert again.requests(again.shards[2])[0] == every[128:192]
    rows = [json.loads(line) for line in Path(file).read_text(encoding="utf-8").split("\n") if line]
    assert [request.prompt for request in every] == [row["source"] for row in rows]
    assert every[7].variables["human_completions"] == rows[7]["human_completions"]


def test_a_bad_row_is_a_failure_of_that_request_alone(tmp_path: Path, stories) -> None:
    file = tmp_path / "prompts.jsonl"
    file.write_text('{"prompt": "a"}\n{"prompt": \n{"prompt": ""}\n{"prompt": 4}\n{"prompt": "a"}\n')
    plan = _plan(tmp_path, stories, prompts={"file": str(file)})
    requests, failures = plan.requests(plan.shards[0])
    assert [request.index for request in requests] == [0]
    assert [(f.index, f.sample, f.reason) for f in failures] == [
        (1, 0, "bad-row"),
        (2, 0, "empty-prompt"),
        (3, 0, "not-a-string"),
    ]
    assert isinstance(failures[0], Failure)
    assert failures[0].message.startswith("line 2 is not JSON")
    assert plan.requests(plan.shards[1])[0][0].key == request_key(stories("a")["input_ids"], "model", Decoding(), 1)


def test_a_chat_that_the_template_refuses_is_a_failure_too(tmp_path: Path, stories260k: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(stories260k)
    tokenizer.chat_template = (
        "{% if messages | length > 1 %}{{ raise_exception('too long') }}{% endif %}{{ messages[0]['content'] }}"
    )
    user = {"role": "user", "content": "a"}
    rows = [{"messages": [user]}, {"messages": [user, user]}]
    plan = _plan(tmp_path, tokenizer, prompts={"list": rows, "use_chat_template": True})
    requests, failures = plan.requests(plan.shards[0])
    assert [request.prompt for request in requests] == ["a"]
    (failure,) = failures
    assert (failure.index, failure.sample, failure.reason) == (1, 0, "chat-template")
    assert failure.message.startswith("the chat template refuses the conversation: too long; ")


def test_rows_of_which_none_gives_a_prompt_are_refused(tmp_path: Path, stories) -> None:
    with pytest.raises(SpecError, match="none of the 2 rows gives a prompt: the prompt is empty"):
        _plan(tmp_path, stories, prompts={"list": ["", " "]})
    assert _bytes(tmp_path) == {}


def test_a_plan_folder_holds_the_same_bytes_wherever_and_whenever_it_is_made(tmp_path: Path, stories) -> None:
    made = []
    for place in ("here", "there"):
        (tmp_path / place).mkdir()
        file = tmp_path / place / "prompts.txt"
        file.write_text("a\nb\na\n")
        _plan(tmp_path / place, stories, prompts={"file": str(file)})
        made.append(_bytes(tmp_path / place))
    assert made[0] == made[1]
    assert set(made[0]) == {"digests.u64", "rows.u64", "occurrences.u64", "plan.json", "input.index", "input.json"}
    stored = [[{"prompt": text}, [{"role": "user", "content": text}]] for text in "aba"]
    texts = [json.dumps(row, sort_keys=True, separators=(",", ":")).encode() for row in stored]
    rows = [int.from_bytes(hashlib.sha256(text).digest()[:8], "little") for text in texts]
    assert np.frombuffer(made[0]["rows.u64"], dtype="<u8").tolist() == rows
    expected = [prompt_digest(stories(text)["input_ids"]) for text in "aba"]
    assert np.frombuffer(made[0]["digests.u64"], dtype="<u8").tolist() == expected


def test_an_existing_plan_is_opened_without_another_pass_and_keeps_its_shard_size(tmp_path: Path, stories) -> None:
    prompts = {"template": "{n}", "grid": {"n": {"range": [0, 100]}}, "use_chat_template": False}
    told: list[str] = []

    class Heard:
        def phase_begins(self, phase: Phase) -> None:
            pass

        def phase_moves(self, phase: Phase) -> None:
            told.append(str(phase))

        def phase_ends(self, phase: Phase) -> None:
            pass

    def plan(**more: object) -> Plan:
        with watched_by(Heard):
            return make_plan(
                Spec(prompts={**prompts, **more}),
                tokenizer=stories,
                model_id="m",
                directory=tmp_path / "plan",
                shard_size=7 if not told else 99,
            )

    first = plan()
    assert told == ["reading the prompts: 100 of 100"]
    before = _bytes(tmp_path)
    assert list(plan().shards) == list(first.shards)
    assert told == ["reading the prompts: 100 of 100"]
    assert _bytes(tmp_path) == before


# Growth.


@given(old=st.lists(st.sampled_from("abc"), min_size=1, max_size=9), new=st.lists(st.sampled_from("abc"), max_size=9))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30, deadline=None)
def test_growth_keeps_earlier_requests_keys_and_shards(
    tmp_path_factory: pytest.TempPathFactory, stories, old: list[str], new: list[str]
) -> None:
    directory = tmp_path_factory.mktemp("plan")
    before = _plan(directory, stories, prompts={"list": old}, shard_size=4)
    requests = _requests(before)
    grown = _plan(directory, stories, prompts={"list": old + new}, shard_size=4)
    assert list(grown.shards)[: len(before.shards)] == list(before.shards)
    assert _requests(grown)[: len(old)] == requests
    whole = _plan(tmp_path_factory.mktemp("plan"), stories, prompts={"list": old + new}, shard_size=4)
    assert _requests(grown) == _requests(whole)
    assert (grown.count, grown.prompt_tokens, grown.longest_prompt) == (
        whole.count,
        whole.prompt_tokens,
        whole.longest_prompt,
    )


def test_a_raised_limit_adds_a_segment_and_a_lowered_one_looks_only_at_the_first_shards(
    tmp_path: Path, stories
) -> None:
    def plan(limit: int | None) -> Plan:
        grid = {"n": {"range": [0, 20]}}
        return _plan(tmp_path, stories, prompts={"template": "{n}", "grid": grid, "limit": limit}, shard_size=4)

    assert [(shard.start, shard.stop) for shard in plan(6).shards] == [(0, 4), (4, 6)]
    every = [(0, 4), (4, 6), (6, 10), (10, 14), (14, 18), (18, 20)]
    assert [(shard.start, shard.stop) for shard in plan(None).shards] == every
    before = _bytes(tmp_path)
    lowered = plan(8)
    assert [(shard.start, shard.stop) for shard in lowered.shards] == every[:3]
    assert lowered.count == 10
    assert _bytes(tmp_path) == before
    assert plan(None).count == 20
    assert plan(0).count == 0


def test_a_file_that_grew_is_continued_and_one_that_changed_is_refused(tmp_path: Path, stories) -> None:
    file = tmp_path / "prompts.csv"
    prompts = {"file": str(file)}
    file.write_text("prompt\nalpha\nbeta\n")
    first = _requests(_plan(tmp_path, stories, prompts=prompts))
    file.write_text("prompt\nalpha\nbeta\ngamma\n")
    assert _requests(_plan(tmp_path, stories, prompts=prompts))[:2] == first
    file.write_text("prompt\nalpha\nBETA " + "x" * 200 + "\ngamma\n")
    kept = {name: data for name, data in _bytes(tmp_path).items() if not name.startswith("input")}
    with pytest.raises(SpecError) as caught:
        _plan(tmp_path, stories, prompts=prompts)
    assert str(caught.value) == (
        f"prompts: request 1 is not the one that was planned; it is now: BETA {'x' * 75}…; "
        "restore the input, or start again with --fresh"
    )
    file.write_text("prompt\nalpha\nbeta\n")
    with pytest.raises(SpecError, match="3 requests were planned, and now there are 2"):
        _plan(tmp_path, stories, prompts=prompts)
    assert {name: data for name, data in _bytes(tmp_path).items() if not name.startswith("input")} == kept
    file.write_text("prompt\nalpha\nbeta\ngamma\n")
    assert _plan(tmp_path, stories, prompts=prompts).count == 3


@pytest.mark.parametrize(
    "change",
    [
        {"prompts": {"template": "b {n}", "grid": {"n": [1, 2]}}},
        {"prompts": {"template": "a {n}", "grid": {"n": [1, 3]}}},
        {"prompts": {"template": "a {n}", "grid": {"n": [1, 2]}, "system": "s"}},
        {"prompts": {"templates": ["c {n}", "a {n}"], "grid": {"n": [1, 2]}}},
    ],
)
def test_other_wording_is_refused(tmp_path: Path, stories, change: dict[str, object]) -> None:
    _plan(tmp_path, stories, prompts={"template": "a {n}", "grid": {"n": [1, 2]}})
    with pytest.raises(SpecError, match="is not the one that was planned"):
        _plan(tmp_path, stories, **change)


def test_another_tokenizer_is_refused_and_a_spec_worded_otherwise_with_the_same_rows_is_not(
    tmp_path: Path, stories, materials: Path
) -> None:
    _plan(tmp_path, stories, prompts={"template": "a {n}", "grid": {"n": [1, 2]}})
    qwen = AutoTokenizer.from_pretrained(materials / "tokenizers" / "qwen2")
    with pytest.raises(SpecError, match="request 0 is not the one"):
        _plan(tmp_path, qwen, prompts={"template": "a {n}", "grid": {"n": [1, 2]}})
    rows = [{"n": 1}, {"n": 2}, {"n": 3}]
    assert _plan(tmp_path, stories, prompts={"templates": None, "template": "a {n}", "list": rows}).count == 3
    with pytest.raises(SpecError, match="row 0: its prompt is the one that was planned, another column is not"):
        _plan(tmp_path, stories, prompts={"list": ["a 1", "a 2", "a 3"]})


def test_random_templates_follow_the_seed(tmp_path: Path, stories) -> None:
    prompts = {"templates": ["a{n}", "b{n}"], "template_choice": "random", "grid": {"n": {"range": [0, 64]}}}
    _plan(tmp_path, stories, prompts=prompts, seed=1)
    with pytest.raises(SpecError, match="is not the one that was planned"):
        _plan(tmp_path, stories, prompts=prompts, seed=2)


def test_prompts_that_change_under_a_run_are_found_before_anything_is_written(tmp_path: Path, stories) -> None:
    file = tmp_path / "prompts.txt"
    lines = ["alpha " * 3000, "beta " * 3000, "gamma"]
    file.write_text("\n".join(lines))
    plan = _plan(tmp_path, stories, prompts={"file": str(file)}, shard_size=1)
    plan.requests(plan.shards[0])
    file.write_text("\n".join([*lines[:2], "GAMMA"]))
    plan.requests(plan.shards[1])
    with pytest.raises(SpecError, match="request 2 is not the one that was planned; it is now: GAMMA"):
        plan.requests(plan.shards[2])


_rows = st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from("xyz")), min_size=1, max_size=6)


@given(old=_rows, new=_rows, limit=st.integers(1, 6), grown=st.integers(1, 6), data=st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
def test_rows_are_taken_exactly_when_those_that_were_planned_have_all_their_columns(
    tmp_path_factory: pytest.TempPathFactory, stories, old, new, limit: int, grown: int, data
) -> None:
    if data.draw(st.booleans()):
        new = data.draw(st.permutations(old)) + new
    directory = tmp_path_factory.mktemp("plan")

    def plan(rows: list[tuple[str, str]], limit: int) -> Plan:
        prompts = {"template": "{q}", "list": [{"q": q, "label": label} for q, label in rows], "limit": limit}
        return _plan(directory, stories, prompts=prompts, shard_size=2)

    planned = plan(old, limit).count
    before = _bytes(directory)
    wanted = max(planned, min(grown, len(new)))
    if new[:planned] == old[:planned]:
        requests = _requests(plan(new, wanted))
        assert [tuple(request.variables.values()) for request in requests] == new[:wanted]
    else:
        with pytest.raises(SpecError):
            plan(new, wanted)
        assert _bytes(directory) == before


def test_a_column_that_changes_under_a_run_is_found_before_anything_is_written(tmp_path: Path, stories) -> None:
    file = tmp_path / "prompts.csv"
    filler = "x" * 20_000  # More than a reader holds ahead.
    file.write_text(f"q,more,label\na,{filler},X\na,{filler},Y\na,{filler},Z\n")
    plan = _plan(tmp_path, stories, prompts={"file": str(file), "template": "{q}"}, shard_size=1)
    plan.requests(plan.shards[0])
    file.write_text(f"q,more,label\na,{filler},X\na,{filler},Z\na,{filler},Y\n")
    plan.requests(plan.shards[0])
    with pytest.raises(
        SpecError, match=r"row 1: its prompt is the one that was planned, another column is not; .*restore"
    ):
        plan.requests(plan.shards[1])


# Damage, and death at any moment.


def test_lost_digests_are_made_again_and_finished_shards_stay(tmp_path: Path, stories) -> None:
    for limit in (3, 9):
        plan = _plan(tmp_path, stories, prompts={"list": list("abcdeabcd"), "limit": limit})
    before, keys = _bytes(tmp_path), [request.key for request in _requests(plan)]
    for name in ("digests.u64", "occurrences.u64", "rows.u64"):
        (tmp_path / "plan" / name).unlink()
        again = _plan(tmp_path, stories, prompts={"list": list("abcdeabcd"), "limit": 9})
        assert [request.key for request in _requests(again)] == keys
        assert _bytes(tmp_path) == before


def test_a_digest_or_count_that_changed_on_the_disk_is_made_again(tmp_path: Path, stories) -> None:
    for limit in (5, 9):
        plan = _plan(tmp_path, stories, prompts={"list": list("abcdeabcd"), "limit": limit})
    before, keys = _bytes(tmp_path), [request.key for request in _requests(plan)]
    for name, place in (("digests.u64", 60), ("occurrences.u64", 8), ("rows.u64", 71)):
        path = tmp_path / "plan" / name
        content = bytearray(path.read_bytes())
        content[place] ^= 1
        path.write_bytes(content)
        again = _plan(tmp_path, stories, prompts={"list": list("abcdeabcd"), "limit": 9})
        assert [request.key for request in _requests(again)] == keys
        assert _bytes(tmp_path) == before


def test_a_plan_killed_while_it_grew_is_not_made_from_the_beginning(tmp_path: Path, stories, monkeypatch) -> None:
    five = {"list": list("abcdeabcd"), "limit": 5}
    _plan(tmp_path, stories, prompts=five)
    note = (tmp_path / "plan" / "plan.json").read_bytes()
    grown = _plan(tmp_path, stories, prompts=five | {"limit": 9})
    keys = [request.key for request in _requests(grown)]
    (tmp_path / "plan" / "plan.json").write_bytes(note)
    added: list[int] = []
    extend = making._add_digests
    monkeypatch.setattr(making, "_add_digests", lambda *args: added.append(args[1].count) or extend(*args))
    assert [request.key for request in _requests(_plan(tmp_path, stories, prompts=five))] == keys[:5]
    assert added == []
    assert [request.key for request in _requests(_plan(tmp_path, stories, prompts=five | {"limit": 9}))] == keys
    assert added == [5]


@pytest.mark.parametrize("kept", [(), ("digests_sha256", "occurrences_sha256")])
def test_a_plan_of_an_earlier_version_is_opened_and_gets_what_it_lacks(tmp_path: Path, stories, kept) -> None:
    plan = _plan(tmp_path, stories, prompts={"list": ["a", "b", "a"]})
    before = _bytes(tmp_path)
    path = tmp_path / "plan" / "plan.json"
    facts = {
        name: value for name, value in json.loads(path.read_text()).items() if "sha256" not in name or name in kept
    }
    path.write_text(json.dumps({**facts, "version": 1}))
    (tmp_path / "plan" / "rows.u64").unlink()
    again = _plan(tmp_path, stories, prompts={"list": ["a", "b", "a"]})
    assert [request.key for request in _requests(again)] == [request.key for request in _requests(plan)]
    assert _bytes(tmp_path) == before


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b'{"version": 1}',
        b'{"version": 1, "x": 2, "segments": []}',
        b'{"version": 1, "sha256": "0", "segments": []}',
    ],
)
def test_a_damaged_plan_is_named(tmp_path: Path, stories, content: bytes) -> None:
    _plan(tmp_path, stories, prompts={"list": ["a"]})
    (tmp_path / "plan" / "plan.json").write_bytes(content)
    with pytest.raises(
        DatasetError, match=r"plan\.json: the plan is damaged; restore it from a copy; or, if the dataset never grew"
    ):
        _plan(tmp_path, stories, prompts={"list": ["a"]})


def test_a_plan_of_a_newer_version_is_left_alone(tmp_path: Path, stories) -> None:
    _plan(tmp_path, stories, prompts={"list": ["a"]})
    (tmp_path / "plan" / "plan.json").write_text('{"version": 3, "rings": 3}')
    with pytest.raises(DatasetError, match=r"made by a newer latentext \(plan version 3\); update latentext"):
        _plan(tmp_path, stories, prompts={"list": ["a"]})


def test_a_plan_larger_than_the_disk_is_refused_before_the_pass(tmp_path: Path, stories) -> None:
    grid = {name: {"range": [0, 10_000]} for name in "abcd"}
    with pytest.raises(SpecError, match=r"takes 160,000,000 GB, more than the disk has free; set prompts\.limit"):
        _plan(tmp_path, stories, prompts={"template": "{a}{b}{c}{d}", "grid": grid})
    assert _plan(tmp_path, stories, prompts={"template": "{a}{b}{c}{d}", "grid": grid, "limit": 3}).count == 3


@pytest.mark.slow
def test_a_plan_whose_making_was_killed_is_made_again_to_the_same_bytes(tmp_path: Path, stories, stories260k) -> None:
    prompts = {"template": "{a} of {b}", "grid": {"a": {"range": [0, 300]}, "b": {"range": [0, 100]}}}
    code = f"""
        import sys
        from pathlib import Path
        from transformers import AutoTokenizer
        from latentext.plan import make_plan
        from latentext.spec import Spec
        tokenizer = AutoTokenizer.from_pretrained({str(stories260k)!r})
        spec = Spec(prompts={{**{prompts!r}, "use_chat_template": False}})
        print("ready", flush=True)
        make_plan(spec, tokenizer=tokenizer, model_id="model", directory=Path(sys.argv[1]), shard_size=4)
    """
    for delay in (0.0, 0.5, 1.5):
        command = [sys.executable, "-c", textwrap.dedent(code), str(tmp_path / "killed" / "plan")]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(delay)
            os.kill(process.pid, signal.SIGKILL)
    _plan(tmp_path / "killed", stories, prompts=prompts)
    _plan(tmp_path / "calm", stories, prompts=prompts)
    killed = {name: data for name, data in _bytes(tmp_path / "killed").items() if not name.endswith(".tmp")}
    assert killed == _bytes(tmp_path / "calm")


@pytest.mark.slow
def test_memory_does_not_grow_with_the_number_of_requests(stories260k: Path, tmp_path: Path) -> None:
    code = f"""
        import resource, sys
        from pathlib import Path
        from transformers import AutoTokenizer
        from latentext.plan import make_plan
        from latentext.spec import Spec
        tokenizer = AutoTokenizer.from_pretrained({str(stories260k)!r})
        grid = {{"a": {{"range": [0, int(sys.argv[2])]}}, "b": {{"range": [0, 100]}}}}
        spec = Spec(prompts={{"template": "{{a}} of {{b}}", "grid": grid, "use_chat_template": False}})
        make_plan(spec, tokenizer=tokenizer, model_id="model", directory=Path(sys.argv[1]), shard_size=128)
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    """
    peaks = []
    for rows in (100, 1000):
        command = [sys.executable, "-c", textwrap.dedent(code), str(tmp_path / str(rows)), str(rows)]
        peaks.append(int(subprocess.run(command, capture_output=True, text=True, check=True).stdout))
    assert peaks[1] < 1.1 * peaks[0]


def test_the_plan_of_a_spec_file_is_made(tmp_path: Path, stories) -> None:
    file = tmp_path / "spec.yaml"
    file.write_text("prompts: {template: 'Once {n}', grid: {n: {range: [0, 3]}}, use_chat_template: false}\n")
    plan = make_plan(load_spec(file), tokenizer=stories, model_id="m", directory=tmp_path / "plan", shard_size=2)
    assert [request.prompt for request in _requests(plan)] == ["Once 0", "Once 1", "Once 2"]


def test_a_prompt_that_no_model_could_read_is_a_failure_and_is_not_encoded(tmp_path: Path, stories) -> None:
    plan = _plan(tmp_path, stories, prompts={"list": ["a", "word " * 1_700_000]})
    requests, failures = plan.requests(plan.shards[0])
    assert [request.prompt for request in requests] == ["a"]
    what = "the prompt has 8,500,000 characters; at most 8,388,608 are encoded"
    assert failures == [Failure(1, 0, "prompt-too-long", what)]
