"""Exports are written from the small datasets that readers are tested on."""

from tests.dataset.conftest import make_dataset as make_dataset
