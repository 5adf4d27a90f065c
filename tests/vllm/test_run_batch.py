"""Our request files through vLLM's own batch runner, and its answers through ``latentext batch process``."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.vllm.needed import need_vllm

need_vllm()


@pytest.mark.slow
def test_request_files_run_through_vllm_and_its_answers_are_joined(stories260k: Path, tmp_path: Path) -> None:
    from latentext.engines.batch.limits import BatchLimits
    from latentext.engines.batch.request_files import read_requests, write_requests
    from latentext.engines.batch.workspace import BatchWorkspace
    from latentext.engines.server.answer import read_text
    from latentext.engines.vllm.wider_heads import write_widened
    from latentext.studies.pairs.proposal_batches import read_replies

    model = tmp_path / "model"
    write_widened(stories260k, model, 4)  # Heads of 32, which vLLM computes on a CPU too.
    template = tmp_path / "chat.jinja"
    template.write_text("{% for message in messages %}{{ message['content'] }}{% endfor %}")
    place = BatchWorkspace(tmp_path / "requests", tmp_path / "outputs")
    place.requests.mkdir()
    place.outputs.mkdir()
    bodies = [
        {"model": "stories", "messages": [{"role": "user", "content": start}], "max_tokens": 8, "temperature": 0}
        for start in ("Once upon a time", "One day", "There was a")
    ]
    [part] = write_requests(place, bodies, BatchLimits())
    runner = [sys.executable, "-m", "vllm.entrypoints.openai.run_batch"]
    files = ["-i", str(place.request_file(0)), "-o", str(place.outputs / "results.jsonl")]
    options = ["--model", str(model), "--served-model-name", "stories", "--chat-template", str(template)]
    options += ["--max-model-len", "64", "--enforce-eager", "--dtype", "float32"]
    run = subprocess.run([*runner, *files, *options], capture_output=True, text=True, env=dict(os.environ))
    assert run.returncode == 0, run.stderr[-3000:]
    replies = read_replies(place.outputs, place.requests)
    asked = [line.custom_id for line in read_requests(place.request_file(0))]
    assert list(replies.custom_ids) == asked
    assert dict(replies.tally()) == {"answered": part.requests}
    texts = [read_text(answer.body or {}) for answer in replies.outputs.answers(asked)]
    assert all(text.text for text in texts)
    assert [text.usage.completion_tokens for text in texts if text.usage] == [8, 8, 8]
