"""Tokenizers from folders, files, caches and a hub that refuses; no test reaches the network."""

from __future__ import annotations

import json
import logging
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
from latentext.studies.pairs import PairTokenizer, load_tokenizer, load_tokenizers
from latentext.studies.pairs.hub import PROJECT_CACHE, writable_cache
from latentext.studies.pairs.qwen2_files import read_qwen2
from latentext.studies.pairs.tokenizer import one_core_a_call


def test_a_name_stands_before_the_place_or_is_its_last_part(materials: Path) -> None:
    folder = materials / "tokenizers" / "mistral-v1"
    assert load_tokenizer(f"solar={folder}").name == "solar"
    assert load_tokenizer(str(folder)).name == "mistral-v1"
    assert load_tokenizer(str(folder / "tokenizer.json")).name == "mistral-v1"


def test_a_folder_without_tokenizer_json_gives_the_ids_of_transformers(materials: Path) -> None:
    from transformers import AutoTokenizer

    folder = materials / "tokenizers" / "qwen2"
    reviews = (materials / "prompts" / "imdb-paired-dev.tsv").read_text(encoding="utf-8").splitlines()
    texts = [
        "Help me make a cake.\nAnswer: café 12 345", "cafe\u0301 \u212b \ufb01", " \t\n\r\n  don't WE'LL",
        "\u4e2d\uff0c\u732b",
        "<|im_start|>user\nx<|im_end|> <|endoftext|>y", *reviews,
    ]  # fmt: skip
    ours, theirs = load_tokenizer(str(folder)), AutoTokenizer.from_pretrained(folder)
    assert ours.encode(texts) == theirs(texts, add_special_tokens=False)["input_ids"]
    assert ours.backend.get_vocab() == theirs.get_vocab()
    assert [ours.token_text(token_id) for token_id in (264, 19145)] == [" a", " cake"]


def test_a_folder_of_another_kind_without_tokenizer_json_is_converted(materials: Path, tmp_path: Path) -> None:
    for name in ("vocab.json", "merges.txt"):
        (tmp_path / name).symlink_to(materials / "tokenizers" / "qwen2" / name)
    (tmp_path / "tokenizer_config.json").write_text('{"tokenizer_class": "GPT2Tokenizer"}')
    assert read_qwen2(tmp_path) is None
    assert load_tokenizer(str(tmp_path)).encode(["make a cake"]) == [[6927, 264, 19145]]


def test_no_special_tokens_are_added_and_nothing_is_cut_or_padded(materials: Path, tmp_path: Path) -> None:
    from tokenizers import Tokenizer

    source = Tokenizer.from_file(str(materials / "tokenizers" / "mistral-v1" / "tokenizer.json"))
    source.enable_truncation(4)
    source.enable_padding()
    source.save(str(tmp_path / "tokenizer.json"))
    short, long = load_tokenizer(str(tmp_path)).encode(["a cake", "a cake and a bomb and a cake"])
    assert (len(short), len(long)) == (2, 8)
    assert source.token_to_id("<s>") not in long


def test_a_token_is_shown_with_its_leading_space(tokenizers: tuple[PairTokenizer, ...]) -> None:
    for tokenizer in tokenizers:
        [ids] = tokenizer.encode(["make a cake"])
        assert [tokenizer.token_text(token_id) for token_id in ids[1:]] == [" a", " cake"]


def test_two_tokenizers_of_one_name_are_refused(materials: Path) -> None:
    folder = materials / "tokenizers" / "mistral-v1"
    with pytest.raises(SpecError, match="two tokenizers are named 'mistral-v1'"):
        load_tokenizers([str(folder), str(folder / "tokenizer.json")])
    with pytest.raises(SpecError, match="no tokenizer is given"):
        load_tokenizers([])


def test_unusable_places_are_refused_in_one_line(tmp_path: Path) -> None:
    bare = tmp_path / "sentencepiece"
    bare.mkdir()
    (bare / "tokenizer.model").write_bytes(b"\x0a\x05")
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "tokenizer.json").write_text("version https://git-lfs.github.com/spec/v1")
    messages = []
    for source in (str(bare), str(broken), str(tmp_path), str(tmp_path / "missing" / "folder")):
        with pytest.raises(SpecError) as raised:
            load_tokenizer(source)
        messages.append(str(raised.value))
    assert "only tokenizer.model, which cannot be read faithfully" in messages[0]
    assert "tokenizer.json is a Git LFS pointer" in messages[1]
    assert "holds no tokenizer; it needs tokenizer.json" in messages[2]
    assert "no tokenizer at" in messages[3]
    assert not any("\n" in message for message in messages)


@pytest.fixture
def hub_cache(materials: Path, tmp_path: Path) -> Path:
    """A cache as the hub's client leaves it, holding one tokenizer."""
    repository = tmp_path / "hub" / "models--someone--some-model"
    snapshot = repository / "snapshots" / "0123456789abcdef0123456789abcdef01234567"
    snapshot.mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(snapshot.name)
    shutil.copy(materials / "tokenizers" / "mistral-v1" / "tokenizer.json", snapshot)
    return tmp_path / "hub"


def test_a_hub_id_is_found_in_the_cache_without_a_network(hub_cache: Path) -> None:
    tokenizer = load_tokenizer("someone/some-model", cache_dir=hub_cache)
    assert tokenizer.name == "some-model"
    assert len(tokenizer.encode(["a cake"])[0]) == 2


def test_a_cache_that_only_its_owner_writes_to_is_read(hub_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert load_tokenizer("someone/some-model", cache_dir=hub_cache).name == "some-model"


def test_without_network_and_cache_one_line_says_how_to_pass_local_ones(tmp_path: Path) -> None:
    with pytest.raises(SpecError) as raised:
        load_tokenizer("Qwen/Qwen2-7B", cache_dir=tmp_path)
    assert str(raised.value) == (
        "tokenizer Qwen/Qwen2-7B: not in the local cache, and Hugging Face cannot be reached; go online once, or pass "
        "local ones: --tokenizer name=DIR (see docs/troubleshooting.md, 'No network')"
    )


def test_a_cache_that_cannot_be_written_to_is_replaced_and_the_log_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "file"
    file.write_text("")
    with caplog.at_level(logging.WARNING):
        assert writable_cache(file / "hub") == PROJECT_CACHE
    assert "cannot be written to; using .cache/huggingface instead" in caplog.text
    assert writable_cache(tmp_path / "new" / "hub") == tmp_path / "new" / "hub"


class _Gate(BaseHTTPRequestHandler):
    """Answers as the hub does for a gated repository when no token is sent."""

    def do_GET(self) -> None:
        self.send_response(401)
        self.send_header("X-Error-Code", "GatedRepo")
        self.send_header("X-Error-Message", "Access to model is restricted.")
        self.end_headers()

    do_HEAD = do_GET  # noqa: N815

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def gated_hub() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Gate)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_gated_tokenizer_says_how_to_get_access(gated_hub: str, tmp_path: Path) -> None:
    program = (
        "import sys; from latentext.errors import LatentextError; from latentext.studies.pairs import load_tokenizer\n"
        "try: load_tokenizer('meta-llama/Meta-Llama-3-8B')\n"
        "except LatentextError as error: print(error); sys.exit(error.exit_code)"
    )
    environment = {**os.environ, "HF_ENDPOINT": gated_hub, "HF_HUB_OFFLINE": "0", "HF_HOME": str(tmp_path)}
    environment["HF_TOKEN"] = "hf_invented_for_this_test"
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    assert "tokenizer meta-llama/Meta-Llama-3-8B: access is gated; accept its licence" in done.stdout
    assert "--tokenizer name=DIR (see docs/troubleshooting.md, 'Gated models')" in done.stdout
    assert "hf_invented" not in done.stdout + done.stderr


def test_importing_pairs_imports_neither_torch_nor_transformers() -> None:
    heavy = ["torch", "transformers", "pyarrow", "numpy"]
    imports = "import json, sys, latentext.studies.pairs"
    program = f"{imports}; print(json.dumps([name for name in {heavy} if name in sys.modules]))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []


def test_validating_with_tokenizer_json_needs_no_torch(materials: Path) -> None:
    folder = materials / "tokenizers" / "mistral-v1"
    program = (
        "import sys; from latentext.studies.pairs import load_tokenizers, validate_pairs\n"
        f"[check] = validate_pairs([('a cake', 'a bomb')], load_tokenizers([{str(folder)!r}]))\n"
        "print(check.valid, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "True False\n"


@pytest.mark.parametrize("before", [None, "true"])
def test_how_many_cores_a_call_takes_is_as_before_afterwards(
    before: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    if before is None:
        monkeypatch.delenv("TOKENIZERS_PARALLELISM", raising=False)
    else:
        monkeypatch.setenv("TOKENIZERS_PARALLELISM", before)
    with one_core_a_call():
        assert os.environ["TOKENIZERS_PARALLELISM"] == "false"
    assert os.environ.get("TOKENIZERS_PARALLELISM") == before
