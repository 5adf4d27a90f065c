"""Fixtures for all tests, no network, no keys, and a closing count of skips: a skip must not pass for a pass."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import settings
from tests.offline import sitecustomize as offline

# The same examples in every run: a suite that gates submissions must not fail by chance.
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.load_profile("repeatable")

# Hugging Face reads these when it is imported, so a fixture would come too late.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
# Idle threads must not spin: several test processes share few cores.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ["TOKENIZERS_PARALLELISM"] = "false"

_MATERIALS_VARIABLE = "LATENTEXT_MATERIALS"
_DEFAULT_MATERIALS = Path(__file__).resolve().parents[2] / "shared" / "materials"


@pytest.fixture(scope="session")
def materials() -> Path:
    """The folder of real models, tokenizers and prompts; absent where nobody promised it, the test is skipped."""
    promised = os.environ.get(_MATERIALS_VARIABLE)
    folder = Path(promised) if promised else _DEFAULT_MATERIALS
    if not folder.is_dir():
        if promised:
            pytest.fail(f"{_MATERIALS_VARIABLE} names no folder: {folder}", pytrace=False)
        pytest.skip(f"no test materials; set {_MATERIALS_VARIABLE}")
    return folder


@pytest.fixture(scope="session")
def stories260k(materials: Path) -> Path:
    """A real pretrained Llama of 260,032 parameters."""
    return materials / "models" / "stories260k"


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse every address but this machine's own, here and in the Python processes that a test starts."""
    offline.refuse_in_this_process(monkeypatch)
    monkeypatch.setenv("PYTHONPATH", offline.python_path(os.environ.get("PYTHONPATH")))


@pytest.fixture(autouse=True)
def _no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep a developer's own keys out of the tests: one that needs a key sets an invented one."""
    for name in ("HF_TOKEN", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print how many tests were skipped, and why."""
    reasons = Counter(_skip_reason(report) for report in terminalreporter.stats.get("skipped", []))
    terminalreporter.section("skipped tests")
    terminalreporter.write_line(f"{reasons.total()} skipped")
    for reason, count in sorted(reasons.items()):
        terminalreporter.write_line(f"{count:6d}  {reason}")


def _skip_reason(report: pytest.TestReport | pytest.CollectReport) -> str:
    """A skipped test's long representation is (file, line, "Skipped: reason"); an expected failure's is not."""
    if isinstance(report.longrepr, tuple):
        return str(report.longrepr[2]).removeprefix("Skipped: ")
    return str(getattr(report, "wasxfail", "") or report.longrepr)
