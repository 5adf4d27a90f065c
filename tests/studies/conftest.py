"""What tests of recipes share: the folder with published prompts, where recipes look for it."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def local_prompts(materials: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Corpora are read from the local copies."""
    monkeypatch.setenv("LATENTEXT_MATERIALS", str(materials))
    return materials / "prompts"
