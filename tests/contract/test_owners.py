"""To whom answers belong: one request of one dataset, also in a shared journal and at a server that remembers."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

import latentext
from latentext.cli.app import exit_code
from latentext.engines.server.journal import read_spend, read_waiting
from latentext.engines.server.standin import Fault, StandIn
from latentext.engines.server.standin.http import HttpReply, HttpRequest
from latentext.run.verification import verify
from latentext.spec.yaml_text import dump_yaml

OLD = Path(__file__).parents[1] / "data" / "made_by_0.1.0"


class Honouring(StandIn):
    """Answers a key that it knows with what it said before, and refuses one that comes with another body."""

    def __init__(self, faults: Any = ()):
        super().__init__(faults=faults)
        self.kept: dict[str, tuple[Mapping[str, Any], Any]] = {}
        self.mixed_up = 0

    def _chat(self, request: HttpRequest) -> Any:
        key, body = request.headers["idempotency-key"], json.loads(request.body)
        if key in self.kept:
            before, reply = self.kept[key]
            self.mixed_up += before != body
            return reply
        reply = super()._chat(request)
        if isinstance(reply, HttpReply):
            self.kept[key] = (body, reply)
            return reply
        return self._when_made(key, body, reply)

    async def _when_made(self, key: str, body: Mapping[str, Any], later: Any) -> HttpReply | None:
        reply = await later
        whole = reply or HttpReply(body=json.dumps(self.answer(body, 0)).encode())  # What a lost connection carried.
        self.kept[key] = (body, whole)
        return reply


@pytest.fixture
def server() -> Iterator[Honouring]:
    with Honouring() as server:
        yield server


def spec_file(folder: Path, server: StandIn, seed: int = 0, **api: Any) -> str:
    """Twelve requests at temperature 1, in one shard."""
    options = {"base_url": server.url, "prices": "openai", "max_tries": 3, "concurrency": 2, **api}
    spec = {
        "name": "asked",
        "seed": seed,
        "model": {"name": "gpt-4o", "engine": "openai", "api": options},
        "prompts": {"template": "Say {n}.", "grid": {"n": {"range": [0, 12]}}},
        "decoding": {"temperature": 1.0, "max_new_tokens": 12},
        "shard_size": 12,
    }
    path = folder / f"spec{seed}.yaml"
    path.write_text(dump_yaml(spec))
    return str(path)


def run(spec: str, root: Path, *options: str) -> int:
    return exit_code(["run", spec, "-o", str(root), *options])


def texts(root: Path) -> list[str]:
    return [row["text"] for row in latentext.open_dataset(root).records().to_pylist()]


def test_datasets_of_other_seeds_that_share_a_journal_get_their_own_texts(server: Honouring, tmp_path: Path) -> None:
    shared = ("--journal", str(tmp_path / "shared.sqlite"))
    assert run(spec_file(tmp_path, server), tmp_path / "a", "--max-tokens-total", "120", *shared) == 3
    assert read_waiting(tmp_path / "shared.sqlite") > 0
    assert run(spec_file(tmp_path, server, seed=7), tmp_path / "b", *shared) == 0
    assert run(spec_file(tmp_path, server), tmp_path / "a", *shared) == 0
    assert not set(texts(tmp_path / "a")) & set(texts(tmp_path / "b"))
    assert (len(server.asked), server.mixed_up) == (24, 0)
    assert run(spec_file(tmp_path, server), tmp_path / "alone") == 0
    assert texts(tmp_path / "alone") == texts(tmp_path / "a")
    assert verify(tmp_path / "a") == verify(tmp_path / "b") == []


def test_a_fresh_start_asks_for_its_own_answers(server: Honouring, tmp_path: Path) -> None:
    shared = ("--journal", str(tmp_path / "shared.sqlite"))
    assert run(spec_file(tmp_path, server), tmp_path / "a", "--max-tokens-total", "120", *shared) == 3
    before = len(server.asked)
    assert run(spec_file(tmp_path, server, seed=7), tmp_path / "a", "--fresh", *shared) == 0
    assert len(server.asked) == before + 12 and server.mixed_up == 0
    before = len(server.asked)
    assert run(spec_file(tmp_path, server, seed=7), tmp_path / "a", "--fresh", *shared) == 0
    assert len(server.asked) == before + 12


@pytest.mark.parametrize("shared", [True, False])
def test_a_dataset_that_is_moved_finds_its_answers(server: Honouring, tmp_path: Path, shared: bool) -> None:
    options = ("--journal", str(tmp_path / "shared.sqlite")) if shared else ()
    spec = spec_file(tmp_path, server)
    assert run(spec, tmp_path / "a", "--max-tokens-total", "120", *options) == 3
    assert 0 < len(server.asked) < 12
    (tmp_path / "a").rename(tmp_path / "moved")
    assert run(spec, tmp_path / "moved", *options) == 0
    assert len(server.asked) == 12


def test_a_copy_leaves_the_answers_in_a_shared_journal_to_the_first(server: Honouring, tmp_path: Path) -> None:
    options = ("--journal", str(tmp_path / "shared.sqlite"))
    spec = spec_file(tmp_path, server)
    assert run(spec, tmp_path / "a", "--max-tokens-total", "120", *options) == 3
    waiting, before = read_waiting(tmp_path / "shared.sqlite"), len(server.asked)
    assert waiting > 0
    written = before - waiting
    shutil.copytree(tmp_path / "a", tmp_path / "copy")
    assert run(spec, tmp_path / "copy", *options) == 0
    assert len(server.asked) == before + 12 - written
    assert run(spec, tmp_path / "a", *options) == 0
    assert len(server.asked) == before + 12 - written + 12 - before
    assert len({(tmp_path / name / "dataset.id").read_text() for name in ("a", "copy")}) == 2


def test_a_copy_with_its_journal_finds_its_answers(server: Honouring, tmp_path: Path) -> None:
    spec = spec_file(tmp_path, server)
    assert run(spec, tmp_path / "a", "--max-tokens-total", "120") == 3
    shutil.copytree(tmp_path / "a", tmp_path / "copy")
    (tmp_path / "copy" / "dataset.id").unlink()  # The journal knows the name too.
    assert run(spec, tmp_path / "copy") == 0
    assert len(server.asked) == 12


def test_what_was_refused_is_asked_again_as_another_attempt(tmp_path: Path) -> None:
    """A server that remembers would repeat its refusal for ever."""

    def refused(number: int, body: Any) -> Fault | None:
        return Fault.refusal() if body["messages"][0]["content"] == "Say 3." and number < 12 else None

    with Honouring(refused) as server:
        spec = spec_file(tmp_path, server)
        assert run(spec, tmp_path / "a") == 4
        assert run(spec, tmp_path / "a", "--retry-failed") == 0
    keys = [one.headers["idempotency-key"] for one in server.asked if one.prompt == "Say 3."]
    assert [key.rsplit("-")[1] for key in keys] == ["1", "2"] and len({key.rsplit("-")[0] for key in keys}) == 1


@pytest.mark.parametrize("fault", [Fault.too_long(), Fault.failing(500), Fault.malformed()], ids=lambda f: f.name)
def test_an_error_that_was_answered_is_not_repeated_for_ever(tmp_path: Path, fault: Fault) -> None:
    def failing(number: int, body: Any) -> Fault | None:
        return fault if number < 12 and body["messages"][0]["content"] == "Say 3." else None

    with Honouring(failing) as server:
        spec = spec_file(tmp_path, server, max_tries=1)
        assert run(spec, tmp_path / "a") == 4
        assert run(spec, tmp_path / "a", "--retry-failed") == 0


def test_a_request_whose_answer_was_lost_keeps_its_key_and_is_billed_once(tmp_path: Path) -> None:
    with Honouring([Fault.dropped(), Fault.dropped()]) as server:
        assert run(spec_file(tmp_path, server), tmp_path / "a") == 0
        assert len(server.kept) == len(server.asked) == 12  # Each was made once, and the two were said again.
        assert server.mixed_up == 0


def test_requests_without_a_seed_are_told_apart_all_the_same(server: Honouring, tmp_path: Path) -> None:
    spec = spec_file(tmp_path, server, request={"seed": None})
    assert run(spec, tmp_path / "a", "--set", "decoding.n=2") == 0
    assert len({one.headers["idempotency-key"] for one in server.asked}) == 24


def old(tmp_path: Path, name: str, server: StandIn) -> tuple[str, Path]:
    """A copy of what 0.1.0 made, whose spec asks this server."""
    root = Path(shutil.copytree(OLD / name, tmp_path / name))
    spec = tmp_path / f"{name}.yaml"
    lines = (OLD / f"{name}.yaml").read_text().replace("http://127.0.0.1:9/v1", server.url)
    spec.write_text("\n".join(line if "base_url" not in line else _asking(line, server) for line in lines.splitlines()))
    return str(spec), root


def _asking(line: str, server: StandIn) -> str:
    return line[: line.index('"') + 1] + server.url + line[line.index('"', line.index('"') + 1) :]


def test_answers_that_0_1_0_left_in_the_directory_are_not_paid_again(server: Honouring, tmp_path: Path) -> None:
    spec, root = old(tmp_path, "asked", server)
    assert read_waiting(root / "journal.sqlite") == 14
    assert run(spec, root) == 0
    assert len(server.asked) == 2
    assert len(texts(root)) == 16 and verify(root) == []
    assert read_waiting(root / "journal.sqlite") == 0
    spend = read_spend(root / "journal.sqlite")
    assert spend is not None and spend.answers == 16


def test_answers_that_0_1_0_left_elsewhere_are_not_used_and_it_is_said(
    server: Honouring, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec, root = old(tmp_path, "asked", server)
    elsewhere = (root / "journal.sqlite").rename(tmp_path / "elsewhere.sqlite")
    assert run(spec, root, "--journal", str(elsewhere)) == 0
    assert len(server.asked) == 16
    assert "14 answers of version 0.1.0, which did not note whose they are, are not used" in capsys.readouterr().err


def test_what_0_1_0_counted_for_a_server_that_was_not_there_counts_no_more(
    server: Honouring, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec, root = old(tmp_path, "nobody", server)
    spend = read_spend(root / "journal.sqlite")
    assert spend is not None and spend.answers == 0 and 200 < spend.uncertain_tokens <= 260
    assert run(spec, root, "--max-tokens-total", "300", "--set", "decoding.n=1") == 0
    assert "no request was ever answered: they count no more" in capsys.readouterr().err
