"""An engine before a stand-in server, with waits so short that faults cost no time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.contract.raw_server import RawServer

from latentext.engines.engine import Generated
from latentext.engines.server.engine import OpenAIEngine
from latentext.engines.server.standin import Fault, StandIn
from latentext.models.resolve import resolve_model
from latentext.request import Completion, Failure, Request
from latentext.spec import ApiOptions, Decoding, ModelSpec
from latentext.spec.limits import Limits

DECODING = Decoding(max_new_tokens=8)


def requests(count: int, first: int = 0) -> list[Request]:
    """So many requests; each has its number for a prompt."""
    return [
        Request(i, f"key{i}", {}, [{"role": "user", "content": f"Prompt {i}"}], f"Prompt {i}", ())
        for i in range(first, first + count)
    ]


@contextmanager
def opened(
    server: StandIn | RawServer, journal: Path, limits: Limits | None = None, **api: Any
) -> Iterator[OpenAIEngine]:
    """An engine that asks this server; it is closed in the end."""
    options = ApiOptions(**{"base_url": server.url, "max_tries": 3, "prices": "openai", **api})
    model = ModelSpec(name="gpt-4o", engine="openai", api=options)
    engine = OpenAIEngine(model, journal=journal, limits=limits or Limits(), first_wait=0.001)
    try:
        yield engine
    finally:
        engine.close()


def made(engine: OpenAIEngine, wanted: Sequence[Request], samples: int = 1) -> list[Completion | Failure]:
    """All that the engine gives for these requests, in their order."""
    results = engine.generate(wanted, range(samples), DECODING, 0)
    outcomes = [r.completion if isinstance(r, Generated) else r for r in results]
    return sorted(outcomes, key=lambda outcome: (outcome.index, outcome.sample))


def only(faults: Sequence[Fault | None], journal: Path, **api: Any) -> tuple[Completion | Failure, StandIn, Any]:
    """What becomes of one request when these faults come first; also the server, and what was spent."""
    with StandIn(faults=faults) as server, opened(server, journal, **api) as engine:
        (outcome,) = made(engine, requests(1))
        return outcome, server, engine.spent


def prompt_tokens_of(model: str) -> Callable[[Mapping[str, Any]], int]:
    """How a server of this model counts the prompt of a request body: by transformers' own rendering."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(resolve_model(model).path_or_id)

    def count(body: Mapping[str, Any]) -> int:
        variables = body.get("chat_template_kwargs") or {}
        made = tokenizer.apply_chat_template(
            body["messages"], add_generation_prompt=True, return_dict=False, **variables
        )
        return len(made)

    return count
