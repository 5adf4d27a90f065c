"""States of a server's texts: read for the prompt that the server's model read, or refused.

The stand-in counts prompts as a server with the same model does: by transformers' own ``apply_chat_template``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.contract.asking import prompt_tokens_of
from tests.contract.test_runs import run
from tests.contract.test_runs import spec_file as any_spec_file
from transformers import AutoTokenizer

import latentext
from latentext.cli.app import exit_code
from latentext.engines.server.standin import Fault, StandIn
from latentext.models.resolve import resolve_model

Count = Callable[[Mapping[str, Any]], int]
STATES = {"sites": ["final_norm"]}
AS_SERVED = {"template": "Say {n}.", "grid": {"n": {"range": [0, 400]}}, "remove_date_lines": False}
"""No server leaves the sentences about dates out."""


@pytest.fixture(scope="module")
def counted() -> Count:
    """Counts the prompt of a request body as a server of `tiny` does."""
    return prompt_tokens_of("tiny")


def spec_file(folder: Path, server: StandIn, count: int, **changes: Any) -> str:
    return any_spec_file(folder, server, prompts={**AS_SERVED, "limit": count}, **changes)


def local(server: StandIn, name: str = "tiny", **api: Any) -> dict[str, Any]:
    return {"name": "gpt-4o", "engine": "openai", "local": name, "api": {"base_url": server.url, **api}}


def test_a_server_that_reads_the_same_prompt_gets_its_states(tmp_path: Path, counted: Count) -> None:
    with StandIn(prompt_tokens=counted) as server:
        spec = spec_file(tmp_path, server, count=4, states=STATES, model=local(server))
        assert run(spec, "-o", str(tmp_path / "data")) == 0
    assert len(latentext.open_dataset(tmp_path / "data").states("final_norm")) > 4


@pytest.mark.parametrize(
    ("more", "reason"), [(21, "adds a system text"), (1, "a second BOS"), (-1, "no BOS"), (-3, "another template")]
)
def test_another_prompt_at_the_server_stops_the_run_at_the_first_answers_and_keeps_them(
    tmp_path: Path, counted: Count, capsys: pytest.CaptureFixture[str], more: int, reason: str
) -> None:
    root = tmp_path / "data"

    def here(number: int) -> int:
        return counted({"messages": [{"role": "user", "content": f"Say {number}."}]})

    with StandIn(prompt_tokens=lambda body: counted(body) + more, delay=0.01) as server:
        spec = spec_file(tmp_path, server, count=60, shard_size=30, states=STATES, model=local(server))
        one_by_one = ("--set", "model.api.concurrency=1")
        assert run(spec, "-o", str(root), *one_by_one) == 2
        said = capsys.readouterr().err
        numbers = re.search(r"model.local: the server counted (\d+) tokens in the prompt of request (\d+)", said)
        assert numbers is not None and int(numbers[1]) == here(int(numbers[2])) + more
        assert f", and tiny has {here(int(numbers[2]))}: the states would belong to another prompt" in said
        assert reason in said and "--set states=null" in said
        assert "in the journal" in said
        paid = len(server.asked)
        assert paid < 20
        # What was paid is used by a run without states.
        assert run(spec, "-o", str(root), *one_by_one, "--set", "states=null") == 0
        assert len(server.asked) == 60
    assert set(server.billed().values()) == {1}


def test_a_date_that_only_the_server_writes_is_named_as_the_reason(
    tmp_path: Path, counted: Count, capsys: pytest.CaptureFixture[str]
) -> None:
    with StandIn(prompt_tokens=counted) as server:
        spec = any_spec_file(tmp_path, server, count=2, states=STATES, model=local(server))
        assert run(spec, "-o", str(tmp_path / "data")) == 2
        assert "or the date, which prompts.remove_date_lines: false keeps here too" in capsys.readouterr().err
        same = ("--set", "prompts.remove_date_lines=false")
        assert run(spec, "-o", str(tmp_path / "other"), *same) == 0
        # A fixed date, for both: then the prompts are the same on every day.
        fixed = ("--set", "model.api.request={chat_template_kwargs: {date_string: 1 Jan 2025}}")
        assert run(spec, "-o", str(tmp_path / "fixed"), *same, *fixed) == 0
    assert "1 Jan 2025" in latentext.open_dataset(tmp_path / "fixed").records().to_pylist()[0]["prompt"]


def test_states_that_are_added_later_are_compared_too_and_the_texts_stay(
    tmp_path: Path, counted: Count, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "data"
    with StandIn(prompt_tokens=lambda body: counted(body) + 7) as server:
        assert run(spec_file(tmp_path, server, count=4, model=local(server)), "-o", str(root)) == 0
    before = (root / "records/s0000-0000/00000.parquet").read_bytes()
    assert exit_code(["capture", str(root), "--sites", "final_norm"]) == 2
    assert "the server counted" in capsys.readouterr().err
    assert (root / "records/s0000-0000/00000.parquet").read_bytes() == before
    assert not (root / "states").exists() or not list((root / "states").rglob("*.receipt.json"))
    assert latentext.open_dataset(root).records().num_rows == 4


def test_a_server_that_counts_in_a_way_of_its_own_can_be_believed_otherwise(
    tmp_path: Path, counted: Count, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "data"
    with StandIn(prompt_tokens=lambda body: counted(body) + 7) as server:
        model = local(server, compare_prompt_tokens=False)
        assert run(spec_file(tmp_path, server, count=4, states=STATES, model=model), "-o", str(root)) == 0
    assert "are not compared with model.local" in capsys.readouterr().err
    assert len(latentext.open_dataset(root).states("final_norm")) > 4


def test_texts_whose_tokens_the_server_does_not_count_are_named(
    tmp_path: Path, counted: Count, capsys: pytest.CaptureFixture[str]
) -> None:
    def uncounted(number: int, body: Any) -> Fault | None:
        return Fault.no_usage() if number % 2 else None

    with StandIn(prompt_tokens=counted, faults=uncounted) as server:
        spec = spec_file(tmp_path, server, count=4, shard_size=4, states=STATES, model=local(server))
        assert run(spec, "-o", str(tmp_path / "data")) == 0
    said = capsys.readouterr().err
    assert "the server did not count the tokens of 2 of 4 texts: for them it cannot be checked that tiny reads" in said


THINKING = """{{ bos_token }}{%- for m in messages -%}<|start_header_id|>{{ m.role }}<|end_header_id|>
{{ m.content }}<|eot_id|>{%- endfor -%}<|start_header_id|>assistant<|end_header_id|>
{%- if enable_thinking is defined and not enable_thinking %}<think></think>{% endif %}"""


@pytest.fixture
def thinker(tmp_path: Path) -> Path:
    """`tiny` with a template that reads a variable."""
    import shutil

    folder = Path(shutil.copytree(resolve_model("tiny").path_or_id, tmp_path / "thinker"))
    (folder / "chat_template.jinja").write_text(THINKING)
    return folder


@pytest.mark.parametrize("thinking", [True, False])
def test_variables_of_the_chat_template_reach_the_local_prompt_as_they_reach_the_server(
    tmp_path: Path, thinker: Path, thinking: bool
) -> None:
    root, variables = tmp_path / "data", {"enable_thinking": thinking}
    tokenizer = AutoTokenizer.from_pretrained(thinker)

    def ids(body: Mapping[str, Any]) -> list[int]:
        found = tokenizer.apply_chat_template(
            body["messages"], add_generation_prompt=True, return_dict=False, **body["chat_template_kwargs"]
        )
        return list(found)

    with StandIn(prompt_tokens=lambda body: len(ids(body))) as server:
        model = local(server, str(thinker), request={"chat_template_kwargs": variables})
        assert run(spec_file(tmp_path, server, count=3, states=STATES, model=model), "-o", str(root)) == 0
    rows = latentext.open_dataset(root).records().to_pylist()
    for row in rows:
        body = {"messages": json.loads(row["messages"]), "chat_template_kwargs": variables}
        assert row["prompt_token_ids"] == ids(body)
        assert ("<think></think>" in row["prompt"]) is not thinking
    assert exit_code(["verify", str(root)]) == 0


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("reasoning_effort", "low"),
        ("chat_template", "{{ messages[0].content }}"),
        ("continue_final_message", True),
        ("add_generation_prompt", False),
        ("tools", [{"type": "function", "function": {"name": "f"}}]),
        ("chat_template_kwargs", {"add_generation_prompt": False}),
    ],
)
def test_fields_that_change_the_prompt_at_the_server_alone_are_refused_with_states(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], field: str, value: Any
) -> None:
    with StandIn() as server:
        spec = spec_file(tmp_path, server, count=2, states=STATES, model=local(server, request={field: value}))
        for arguments in (["--dry-run"], ["-o", str(tmp_path / "data")]):
            assert run(spec, *arguments) == 2
            assert f"model.api.request.{field}" in capsys.readouterr().err
        assert not server.asked
    assert not (tmp_path / "data").exists()
