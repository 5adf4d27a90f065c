"""The tests of this folder run in the environment that has vLLM (`make test-vllm`), and say so anywhere else."""

from __future__ import annotations

from importlib.util import find_spec

import pytest


def need_vllm() -> None:
    """Skip the calling module where vLLM is not installed."""
    if find_spec("vllm") is None:
        pytest.skip("vLLM is not installed here; `make test-vllm` runs these tests", allow_module_level=True)
