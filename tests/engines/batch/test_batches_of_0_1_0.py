"""Batches that version 0.1.0 sent and did not fetch: they are found, fetched and counted, and not sent again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.engines.batch.made import PatientClock

import latentext
from latentext.engines.batch.engine import BatchEngine
from latentext.engines.batch.ledger import Ledger
from latentext.engines.batch.limits import BatchLimits
from latentext.engines.batch.remote import open_remote
from latentext.engines.batch.request_files import write_named_requests
from latentext.engines.batch.submitting import submit
from latentext.engines.batch.workspace import BatchWorkspace
from latentext.engines.opening import model_facts
from latentext.engines.server.journal import read_spend
from latentext.engines.server.request_body import chat_body, draw_seed
from latentext.engines.server.standin import StandIn
from latentext.engines.server.standin.batches import BatchDesk
from latentext.plan.making import make_plan
from latentext.run.runner import make_dataset
from latentext.spec import Spec
from latentext.spec.files import load_spec
from latentext.spec.limits import Limits


@pytest.fixture
def server() -> Iterator[StandIn]:
    with StandIn() as server:
        yield server


def spec_for(server: StandIn) -> Spec:
    return load_spec(
        {
            "model": {
                "name": "gpt-4o",
                "engine": "openai-batch",
                "api": {"base_url": server.url, "prices": "openai"},
            },
            "prompts": {"template": "Say {word}.", "grid": {"word": ["a", "b", "c"]}},
            "decoding": {"temperature": 1.0, "max_new_tokens": 8, "n": 2},
            "shard_size": 3,
        }
    )


def sent_by_0_1_0(spec: Spec, journal: Path, folder: Path, url: str) -> None:
    """What that version left: a folder named by keys and samples, lines named by both, no row in the journal."""
    facts = model_facts(spec.model)
    plan = make_plan(spec, tokenizer=None, model_id=facts.identity, directory=folder, shard_size=3)
    (shard,) = plan.shards
    asked = [(request, sample) for request in plan.requests(shard)[0] for sample in range(2)]
    name = hashlib.sha256(json.dumps(sorted((r.key, s) for r, s in asked)).encode()).hexdigest()[:32]
    root = journal.with_name(journal.name + ".batches") / name
    place, clock = BatchWorkspace(root / "requests", root / "outputs"), PatientClock().clock
    bodies = (
        (
            f"{r.key}-{s}",
            chat_body(spec.model, r.messages, spec.decoding, seed=draw_seed(spec.seed, r.key, s)),
        )
        for r, s in asked
    )
    with place.alone():
        ledger = place.save(
            Ledger(name="gpt-4o", base_url=url, parts=tuple(write_named_requests(place, bodies, BatchLimits())))
        )
        submit(place, ledger, open_remote(url, clock), clock, print)


@pytest.mark.parametrize("own", [True, False])
def test_a_batch_that_is_under_way_is_taken_over_in_the_own_directory_and_counted_everywhere(
    server: StandIn, tmp_path: Path, own: bool
) -> None:
    spec, root, desk = spec_for(server), tmp_path / "data", BatchDesk(server)
    journal = (root if own else tmp_path / "elsewhere") / "journal.sqlite"
    journal.parent.mkdir()
    (root / "plan").mkdir(parents=True)  # So that the directory is known for one of ours.
    sent_by_0_1_0(spec, journal, tmp_path / "keys", server.url)
    assert desk.created == 1
    engine = BatchEngine(
        spec.model, journal=journal, limits=Limits(max_tokens_total=600), dataset=root, clock=PatientClock().clock
    )
    assert engine.spent.uncertain_tokens == 6 * (len("Say a.") + 32 + 8)
    try:
        assert make_dataset(spec, root, engine=engine).accepted == 6
    finally:
        engine.close()
    assert desk.created == (1 if own else 2)
    assert set(desk.billed.values()) == {1}
    assert len(set(latentext.open_dataset(root).to_pandas()["text"])) == 6
    spend = read_spend(journal)
    assert spend is not None and spend.answers == 6
    assert spend.uncertain_tokens == (0 if own else 276)
