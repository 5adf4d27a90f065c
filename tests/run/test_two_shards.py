"""Two shards at a time, as on a GPU: one goes to the disk while the model works on the next. The files are the same."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.run.made import contents, leftovers, small_spec

from latentext.engines.transformers.engine import TransformersEngine
from latentext.engines.transformers.loaded import LoadedModel
from latentext.engines.transformers.loading import load_model
from latentext.run.runner import make_dataset
from latentext.spec import ModelSpec


@pytest.mark.parametrize("how", ["in flight", "replay"])
def test_two_shards_at_a_time_give_the_files_of_one(how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = load_model(ModelSpec(name="tiny", threads=1))
    written = []
    for shards in (1, 2):
        monkeypatch.setattr(LoadedModel, "shards_in_flight", shards)
        engine = TransformersEngine(loaded)
        assert engine.shards_in_flight == shards
        root = tmp_path / str(shards)
        if how == "replay":
            make_dataset(small_spec("tiny", counts=3, states=None), root, engine=engine)
        make_dataset(small_spec("tiny", counts=3), root, engine=engine)
        assert leftovers(root) == []
        written.append(contents(root))
    first, second = ({name: sha for name, sha in files.items() if name != "provenance.json"} for files in written)
    assert first == second
    assert sum(name.endswith(".safetensors") for name in first) == 6
