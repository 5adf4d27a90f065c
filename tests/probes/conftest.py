"""A dataset in which one site knows the remaining tokens, one the step, and one nothing."""

from __future__ import annotations

import os

import pytest
from tests.probes.made import repeating_texts, write_dataset

from latentext.dataset.reader import Dataset

os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session")
def repeating(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Sixty texts that are about as long as was asked; not to be changed."""
    return write_dataset(tmp_path_factory.mktemp("repeating") / "data", repeating_texts())
