"""A small real model, specs for it, and datasets made once and copied: runs are the slow part of these tests."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.run.made import small_spec

from latentext.engines.opening import open_transformers
from latentext.engines.transformers.engine import TransformersEngine
from latentext.run.runner import make_dataset
from latentext.spec import Spec

os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session")
def spec(stories260k: Path) -> Spec:
    """Eight texts in four shards, two sites in flight."""
    return small_spec(stories260k)


@pytest.fixture(scope="session")
def engine(spec: Spec) -> TransformersEngine:
    """The model in memory, shared by all runs in this process."""
    return open_transformers(spec.model)


@pytest.fixture(scope="session")
def finished(spec: Spec, engine: TransformersEngine, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The dataset of `spec`, made without a disturbance; not to be changed."""
    root = tmp_path_factory.mktemp("finished") / "data"
    make_dataset(spec, root, engine=engine)
    return root


@pytest.fixture
def copied(finished: Path, tmp_path: Path) -> Callable[[str], Path]:
    """Copies of the finished dataset to spoil or extend."""

    def copy(name: str = "data") -> Path:
        return Path(shutil.copytree(finished, tmp_path / name))

    return copy
