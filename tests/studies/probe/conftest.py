"""Probing runs are tested on the dataset that probes are tested on."""

from tests.probes.conftest import repeating as repeating
