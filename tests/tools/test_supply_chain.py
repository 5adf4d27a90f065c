"""The list of licences and the hashes are those of the versions that are pinned."""

from __future__ import annotations

import re
import urllib.error
import urllib.request

import pytest

from tools import supply_chain


def test_every_pinned_package_has_a_row_with_its_licence() -> None:
    rows = re.findall(r"^\| (\S+) \| (\S+) \| (.+) \|$", supply_chain.LICENCES.read_text(), re.MULTILINE)
    listed = {name: version for name, version, _ in rows if name != "package"}
    assert listed == supply_chain.pins(), "make licences"
    assert not [name for name, _, licence in rows if licence.startswith("not ")]


def test_the_hashes_are_of_pinned_versions_and_complete() -> None:
    lines = [line for line in supply_chain.HASHES.read_text().splitlines() if not line.startswith("#")]
    found = [re.fullmatch(r"([a-z0-9-]+)==(\S+) --hash=sha256:[0-9a-f]{64}", line) for line in lines]
    assert all(found), "make hashes"
    versions = {match[1]: match[2].split("+")[0] for match in found if match}
    pins = supply_chain.pins()
    assert {name: pins.get(name) for name in versions} == versions, "make hashes"
    assert {"torch", "transformers", "tokenizers", "safetensors", "pyarrow", "numpy", "pydantic", "typer"} <= set(
        versions
    )


def test_without_an_answer_the_check_says_that_it_was_none(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def unreachable(*_: object, **__: object) -> None:
        raise urllib.error.URLError("no route")

    monkeypatch.setattr(urllib.request, "urlopen", unreachable)
    assert supply_chain.main("advisories") == 3
    assert capsys.readouterr().out.startswith("not checked: ")
