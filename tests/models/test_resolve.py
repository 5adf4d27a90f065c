"""What a model's name means, what identifies it, and what the hub's refusals look like to a user."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from latentext.errors import SpecError
from latentext.models import ModelSource, hub_token, model_fingerprint, model_identity, resolve_model
from latentext.models.resolve import TINY_FOLDER
from latentext.spec import ModelSpec


def test_a_name_is_the_packaged_model_a_folder_or_a_hub_id(
    stories260k: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert resolve_model("tiny") == ModelSource("tiny", str(TINY_FOLDER), None, local=True)
    assert resolve_model(str(stories260k), "main") == ModelSource(str(stories260k), str(stories260k), None, local=True)
    hub = ModelSource("meta-llama/Llama-3.2-1B", "meta-llama/Llama-3.2-1B", "v1", local=False)
    assert resolve_model("meta-llama/Llama-3.2-1B", "v1") == hub
    assert not resolve_model("gpt2").local
    shutil.copytree(stories260k, tmp_path / "meta-llama" / "Llama-3.2-1B")
    monkeypatch.chdir(tmp_path)
    assert resolve_model("meta-llama/Llama-3.2-1B").local


@pytest.mark.parametrize("name", ["./absent", "/absent/model", "~/absent", "a/b/c", "models\\tiny", "", "two words"])
def test_a_name_that_can_be_no_model_is_refused(name: str) -> None:
    with pytest.raises(SpecError, match="no such folder; give a folder, a Hugging Face id, or tiny"):
        resolve_model(name)


def test_a_folder_without_a_configuration_or_weights_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"holds no config\.json"):
        resolve_model(str(tmp_path))
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(SpecError, match="holds no weights"):
        model_fingerprint(resolve_model(str(tmp_path)))


def test_the_fingerprint_hangs_on_contents_alone(stories260k: Path, tmp_path: Path) -> None:
    copy = tmp_path / "elsewhere"
    shutil.copytree(stories260k, copy)
    original = model_fingerprint(resolve_model(str(stories260k)))
    assert model_fingerprint(resolve_model(str(copy))) == original
    (copy / "README.md").write_text("notes")
    assert model_fingerprint(resolve_model(str(copy))) == original
    weights = bytearray((copy / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (copy / "model.safetensors").write_bytes(weights)
    assert model_fingerprint(resolve_model(str(copy))) != original


def test_a_file_of_the_hub_cache_is_known_by_its_name_and_hashes_the_same(stories260k: Path, tmp_path: Path) -> None:
    snapshot, blobs = tmp_path / "snapshots" / "abc", tmp_path / "blobs"
    snapshot.mkdir(parents=True), blobs.mkdir()
    for name in ("config.json", "model.safetensors"):
        data = (stories260k / name).read_bytes()
        # The hub names large files by their sha256 and small ones by their git hash.
        blob = blobs / (hashlib.sha256(data).hexdigest() if name.endswith("safetensors") else "0" * 40)
        blob.write_bytes(data)
        (snapshot / name).symlink_to(blob)
    cached = ModelSource("x", str(snapshot), None, local=True)
    assert model_fingerprint(cached) == model_fingerprint(resolve_model(str(stories260k)))


def test_the_identity_of_a_spec_is_that_of_its_files(stories260k: Path) -> None:
    model = ModelSpec(name=str(stories260k), dtype="float32")
    assert model_identity(model) == model_fingerprint(resolve_model(str(stories260k)))


def test_the_token_comes_from_the_environment_or_from_a_dotenv_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HF_TOKEN", raising=False)
    (tmp_path / "below").mkdir()
    monkeypatch.chdir(tmp_path / "below")
    (tmp_path / ".env").write_text("HF_TOKEN=hf_from_file\n")
    assert hub_token() == "hf_from_file"
    assert "HF_TOKEN" not in os.environ
    monkeypatch.setenv("HF_TOKEN", "hf_from_environment")
    assert hub_token() == "hf_from_environment"


class _Hub(BaseHTTPRequestHandler):
    """Answers as the hub does: the kind of refusal is in the header X-Error-Code."""

    def do_GET(self) -> None:
        status, code = (403, "GatedRepo") if "gated" in self.path else (404, "RepoNotFound")
        self.send_response(status)
        self.send_header("X-Error-Code", code)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_HEAD = do_GET  # noqa: N815 (the name is http.server's)

    def log_message(self, *_: object) -> None:
        """Keep the test's output clean."""


@pytest.fixture(scope="module")
def hub() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Hub)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "offline", "line"),
    [
        (
            "nobody/gated",
            "0",
            "CredentialsError model nobody/gated: access is gated; accept its licence on huggingface.co and set "
            "HF_TOKEN in the environment or in .env (see docs/troubleshooting.md, 'Gated models')",
        ),
        (
            "nobody/absent",
            "0",
            "SpecError model nobody/absent: Hugging Face has no such model or revision, or HF_TOKEN may not see it; "
            "check the name",
        ),
        (
            "nobody/absent",
            "1",
            "SpecError model nobody/absent: not in the local cache, and Hugging Face cannot be reached; "
            "go online once, or use local files (see docs/troubleshooting.md, 'No network')",
        ),
    ],
)
@pytest.mark.parametrize("load", ["load_tokenizer(source)", "model_fingerprint(source)"])
def test_what_the_hub_refuses_is_one_line_without_the_token(
    hub: str, tmp_path: Path, name: str, offline: str, line: str, load: str
) -> None:
    code = (
        "from latentext.errors import LatentextError\n"
        "from latentext.models import model_fingerprint, resolve_model\n"
        "from latentext.prompts.tokenizer import load_tokenizer\n"
        f"source = resolve_model({name!r})\n"
        f"try:\n    {load}\nexcept LatentextError as error:\n    print(type(error).__name__, error)"
    )
    environment = os.environ | {"HF_ENDPOINT": hub, "HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": offline}
    environment |= {"HF_TOKEN": "hf_secret"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == line + "\n"
    assert "hf_secret" not in done.stderr
