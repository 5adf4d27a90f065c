"""A dataset that names or holds code: no command runs any of it, whatever the code lies in."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
import torch

from latentext.cli.app import exit_code
from latentext.dataset.documents import read_spec
from latentext.errors import SpecError
from latentext.models.resolve import TINY_FOLDER
from latentext.run.provenance import read_provenance
from latentext.run.runner import make_dataset, score_texts
from latentext.spec import Spec
from latentext.spec.files import dump_spec, load_spec

READERS = {
    "status": ["status", "{d}"],
    "show": ["show", "{d}"],
    "verify": ["verify", "{d}"],
    "export jsonl": ["export", "{d}", "{t}/e.jsonl", "--to", "jsonl"],
    "export parquet": ["export", "{d}", "{t}/e.parquet", "--to", "parquet"],
    "export npy": ["export", "{d}", "{t}/npy", "--to", "npy", "--keep-truncated"],
    "export tidy": ["export", "{d}", "{t}/tidy.parquet", "--to", "tidy"],
    "report": ["report", "{d}"],
    "probe": ["probe", "{d}", "--twins", "1", "--target", "total"],
    "probe again": ["probe", "{d}", "--probe", "{d}/probes/p/final_norm"],
    "align weigh": ["align", "weigh", "{d}", "--value_list=length,diversity", "--lam_list=0.1,0.1"],
    "align sweep": ["align", "sweep", "{d}", "--value_list=length,diversity", "--steps", "2", "--budget", "0.1"],
    "align draw": ["align", "draw", "{d}", "--value_list=length", "--lam_list=0.1", "-o", "{t}/drawn.json"],
    "align solve": ["align", "solve", "{d}", "--target", "length=+0.1sd"],
    "align report": ["align", "report", "{d}"],
    "merge": ["merge", "{d}", "-o", "{t}/merged"],
    "capture": ["capture", "{d}", "--sites", "embed"],
    "score": ["score", "{d}"],
    "score by another": ["score", "{d}", "--reward", "{{name: polite, words: [please]}}"],
    "score again": ["score", "{d}", "--retry-failed"],
    "run a spec without the code": ["run", "{t}/own.yaml", "--output", "{d}"],
}


@pytest.fixture(scope="module")
def own_spec() -> Spec:
    """Twelve prompts with four samples each, two rewards that need no code."""
    return load_spec(
        {
            "model": {"name": "tiny", "threads": 1},
            "prompts": {"template": "Say {w} {n}.", "grid": {"w": ["a", "b"], "n": {"range": [0, 6]}}},
            "decoding": {"temperature": 1, "max_new_tokens": 8, "n": 4},
            "states": {"sites": ["final_norm"]},
            "rewards": ["length", "diversity"],
            "shard_size": 6,
        }
    )


@pytest.fixture(scope="module")
def base(own_spec: Spec, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("base") / "d"
    make_dataset(own_spec, root)
    return root


def payload(ran: Path, rest: str = "") -> str:
    return f"with open({str(ran)!r}, 'a') as file:\n    file.write('x')\n{rest}"


REWARD = """
from latentext.rewards import reward
@reward("mine")
def f(candidate):
    return 1.0
"""


def rewards_file(root: Path, ran: Path) -> None:
    """The spec of the dataset names a file beside it, one inside it, a module, and a mapping of each kind."""
    for place in (root.parent / "r.py", root / "inner.py", root / "evil_module.py"):
        place.write_text(payload(ran, REWARD))
    change_spec(
        root,
        rewards=[
            "length",
            "../r.py:f",
            "inner.py:f",
            "evil_module:f",
            {"name": "a", "function": "../r.py:f"},
            {"name": "b", "function": "evil_module:f"},
            "diversity",
        ],
    )


def custom_model(root: Path, ran: Path) -> None:
    """The spec trusts a model whose files bring code, for the tokenizer, the configuration and the weights."""
    folder = root.parent / "model"
    shutil.copytree(TINY_FOLDER, folder)
    (folder / "code.py").write_text(payload(ran, "class A: pass\n"))
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "evil", "auto_map": {"AutoConfig": "code.A", "AutoModelForCausalLM": "code.A"}}
    (folder / "config.json").write_text(json.dumps(config))
    tokenizer = json.loads((folder / "tokenizer_config.json").read_text())
    tokenizer |= {"tokenizer_class": "Evil", "auto_map": {"AutoTokenizer": ["code.A", "code.A"]}}
    (folder / "tokenizer_config.json").write_text(json.dumps(tokenizer))
    change_spec(root, model={"name": "../model", "threads": 1, "trust_remote_code": True})


def pickled_weights(root: Path, ran: Path) -> None:
    """The spec names a model, and a classifier, whose weights are pickles."""
    folder = root.parent / "pickled"
    shutil.copytree(TINY_FOLDER, folder)
    for weights in folder.glob("*.safetensors"):
        weights.unlink()
    write_pickle(folder / "pytorch_model.bin", ran)
    change_spec(
        root,
        model={"name": "../pickled", "threads": 1},
        rewards=["length", "diversity", {"name": "c", "classifier": "../pickled"}],
    )


def pickles(root: Path, ran: Path) -> None:
    """Pickles stand where a probe, states, records and a cache of the plan are looked for."""
    (root / "probes/p").mkdir(parents=True)
    for name in ("probes/p/final_norm.safetensors", "probes/p/final_norm.json", "probes/p/results.json"):
        write_pickle(root / name, ran)
    for path in [*root.glob("states/*/*.safetensors"), *root.glob("records/*/*.parquet"), *root.glob("plan/*")]:
        size = path.stat().st_size
        write_pickle(path, ran)
        path.write_bytes(path.read_bytes().ljust(size, b"\0")[: max(size, 200)])
        os.utime(path, (0, 0))


def template(root: Path, ran: Path) -> None:
    """A chat template and a prompt template reach for what Python's objects can do."""
    folder = root.parent / "templated"
    shutil.copytree(TINY_FOLDER, folder)
    escape = "{{ cycler.__init__.__globals__.os.system('echo x >> " + str(ran) + "') }}"
    for old in folder.glob("chat_template*"):
        old.write_text(escape)
    tokenizer = json.loads((folder / "tokenizer_config.json").read_text()) | {"chat_template": escape}
    (folder / "tokenizer_config.json").write_text(json.dumps(tokenizer))
    change_spec(root, model={"name": "../templated", "threads": 1})


def tags(root: Path, ran: Path) -> None:
    """The spec itself has a tag of YAML that calls a function."""
    text = (root / "spec.yaml").read_text()
    (root / "spec.yaml").write_text(text + f"description: !!python/object/apply:os.system ['echo x >> {ran}']\n")


def surroundings(root: Path, ran: Path) -> None:
    """The dataset holds what Python and its libraries look for in a working directory."""
    for name in ("sitecustomize.py", "usercustomize.py", "torch.py", "numpy.py", "evil_backend.py", "conftest.py"):
        (root / name).write_text(payload(ran))
    (root / "matplotlibrc").write_text("backend: module://evil_backend\n")
    (root / ".env").write_text(f"PYTHONPATH={root}\nMPLBACKEND=module://evil_backend\nPYTHONSTARTUP={root}/torch.py\n")
    (root / "latentext.yaml").write_text(f"models: !!python/object/apply:os.system ['echo x >> {ran}']\n")


POISONS = (rewards_file, custom_model, pickled_weights, pickles, template, tags, surroundings)


def change_spec(root: Path, **changes: object) -> None:
    from latentext.spec.yaml_text import dump_yaml, parse_yaml

    fields = parse_yaml((root / "spec.yaml").read_text()) | changes
    (root / "spec.yaml").write_text(dump_yaml(fields))


def write_pickle(path: Path, ran: Path) -> None:
    class Boom:
        def __reduce__(self) -> tuple[object, ...]:
            return os.system, (f"echo x >> {ran}",)

    path.write_bytes(pickle.dumps(Boom()))


@pytest.mark.slow
@pytest.mark.parametrize("poison", POISONS, ids=lambda poison: poison.__name__)
def test_no_command_runs_what_a_dataset_names_or_holds(
    poison: Callable[[Path, Path], None],
    base: Path,
    own_spec: Spec,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    ran = tmp_path / "ran"
    for number, (command, words) in enumerate(READERS.items()):
        place = tmp_path / str(number)
        root = place / "d"
        shutil.copytree(base, root)
        (place / "own.yaml").write_text(dump_spec(own_spec))
        poison(root, ran)
        monkeypatch.syspath_prepend(str(root))  # A user whose path leads there: even so.
        monkeypatch.chdir(root)
        code = exit_code([word.format(d=root, t=place) for word in words])
        said = capsys.readouterr()
        assert not ran.exists(), f"run by: {command}"
        assert code in (0, 1, 2, 4), said.err
        assert not {"evil_module", "evil_backend"} & set(sys.modules)


@pytest.mark.parametrize(
    "command", ["status", "show", "align weigh", "align sweep", "align draw", "align report", "score", "merge"]
)
def test_commands_work_on_a_dataset_whose_rewards_name_code(
    command: str, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root, ran = tmp_path / "d", tmp_path / "ran"
    shutil.copytree(base, root)
    rewards_file(root, ran)
    monkeypatch.chdir(tmp_path)
    assert exit_code([word.format(d=root, t=tmp_path) for word in READERS[command]]) == 0, capsys.readouterr().err
    assert not ran.exists()


def test_a_reward_that_a_person_names_is_run_and_one_inside_the_dataset_is_not(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, ran = tmp_path / "d", tmp_path / "ran"
    shutil.copytree(base, root)
    (tmp_path / "r.py").write_text(payload(ran, REWARD))
    (root / "inner.py").write_text(payload(ran, REWARD))
    (root / "link.py").symlink_to(tmp_path / "r.py")
    (root / "evil_package").mkdir()
    (root / "evil_package" / "__init__.py").write_text(payload(ran, REWARD))
    monkeypatch.syspath_prepend(str(root))
    monkeypatch.chdir(tmp_path)
    for entry in ("d/inner.py:f", "d/link.py:f", "evil_package:f", {"name": "a", "function": "d/inner.py:f"}):
        with pytest.raises(SpecError, match="lies inside the dataset d, of which nothing is run; keep it elsewhere"):
            score_texts("d", [entry])
    assert not ran.exists()
    score_texts("d", ["r.py:f"])
    assert ran.exists()
    assert read_spec(root).rewards[-1] == f"{tmp_path / 'r.py'}:f"


def test_a_models_own_code_needs_a_word_on_the_command_line(
    base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root, ran = tmp_path / "d", tmp_path / "ran"
    shutil.copytree(base, root)
    custom_model(root, ran)
    for command in ("show", "verify", "capture"):
        assert exit_code([word.format(d=root, t=tmp_path) for word in READERS[command]]) == 2
        said = capsys.readouterr().err
        assert said.count("\n") == 1 and "needs Python code of its own, which was not run; where you trust it" in said
    assert not ran.exists()
    with suppress(AttributeError):  # What runs is no tokenizer.
        exit_code(["show", str(root), "--trust-remote-code"])
    assert ran.exists()


def test_a_model_inside_a_dataset_is_never_trusted(
    base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root, ran = tmp_path / "outer" / "d", tmp_path / "ran"
    shutil.copytree(base, root)
    custom_model(root, ran)
    shutil.move(tmp_path / "outer" / "model", root / "model")
    change_spec(root, model={"name": "model", "threads": 1, "trust_remote_code": True})
    for command in ("show", "verify", "capture", "score"):
        words = [word.format(d=root, t=tmp_path) for word in READERS[command]]
        assert exit_code([*words, "--trust-remote-code"]) == 2
        assert "lies inside the dataset" in capsys.readouterr().err
    assert not ran.exists()


def test_what_a_dataset_trusts_stays_written_when_something_is_added(base: Path, tmp_path: Path) -> None:
    root = tmp_path / "d"
    shutil.copytree(base, root)
    change_spec(root, model={"name": "tiny", "threads": 1, "trust_remote_code": True})
    score_texts(root, [{"name": "polite", "words": ["please"]}])
    assert read_spec(root).model.trust_remote_code
    assert read_provenance(root) is not None


@pytest.mark.slow
def test_workers_run_only_what_the_users_spec_names(base: Path, own_spec: Spec, tmp_path: Path) -> None:
    root, ran = tmp_path / "d", tmp_path / "ran"
    shutil.copytree(base, root)
    shutil.rmtree(root / "scores")
    rewards_file(root, ran)
    (tmp_path / "own.yaml").write_text(dump_spec(own_spec))
    command = [sys.executable, "-m", "latentext", "run", "own.yaml", "--output", "d", "--workers", "2"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "not scored by" in done.stderr and "only d/spec.yaml names this code" in done.stderr
    assert not ran.exists()


def test_torch_refuses_pickles_by_itself() -> None:
    """What `pickled_weights` relies on: a change of torch's default must be noticed."""
    import inspect

    assert inspect.signature(torch.load).parameters["weights_only"].default in (None, True)
