"""The dataset card: a README.md that tells whoever finds the directory what it is and how to read it.

Everything in it comes from the spec and the receipts. The licence of the data is its maker's to name: a model's terms
and the source of the prompts decide it, and neither is ours to guess.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from latentext.dataset.captures import choose, labels
from latentext.dataset.front_matter import front_matter
from latentext.dataset.stages import StatesStage
from latentext.errors import DatasetError
from latentext.spec import PromptSpec, Spec

_READS = {
    "chat": "its own chat template: the prompt as the user's turns, the text as the answer",
    "full_text": "prompt and text as one raw text",
    "continuation": "the text alone, raw",
    "pair": "prompt and text as two raw texts",
}
"""By a reward's `input`."""


def render_card(
    metadata: Mapping[str, Any],
    spec: Spec,
    captures: Mapping[str, StatesStage],
    *,
    begun_by_first: bool = False,
) -> str:
    """The card in Markdown, from what metadata.json says, from the spec and from what was captured.

    Args:
        begun_by_first: version 0.1.0 began the dataset. Its cards have no head, call sites by their short names and do
            not say that reward models read raw text, and `verify` compares cards byte by byte.
    """
    sections = [
        "" if begun_by_first else front_matter(metadata, spec),
        f"# {_plain(spec.name)}",
        _plain(spec.description) or "A dataset of generated text.",
        _facts(metadata, spec, begun_by_first),
        _states(metadata["states"], captures, begun_by_first),
        _scores(metadata["scores"], begun_by_first),
        _reading(captures, begun_by_first),
        f"## Licence\n\n{_plain(metadata['licence'] or 'not stated')}",
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _facts(metadata: Mapping[str, Any], spec: Spec, begun_by_first: bool) -> str:
    counts, tokens, decoding = metadata["counts"], metadata["tokens"], spec.decoding
    endings = ", ".join(f"{reason}: {count:,}" for reason, count in metadata["finish_reasons"].items())
    failures = ", ".join(f"{reason}: {count:,}" for reason, count in metadata["failure_reasons"].items())
    rows = {
        "model": f"`{_plain(metadata['model_name'])}`",
        "prompts": _prompts(spec.prompts),
        "system message": "" if begun_by_first else f"`{_plain(system)}`" if (system := spec.prompts.system) else "",
        "decoding": _temperatures(decoding.temperatures or (decoding.temperature,)),
        "samples a prompt": str(decoding.n),
        "texts": f"{counts['accepted']:,} of {counts['planned']:,} planned",
        "rejected, failed, pending": f"{counts['rejected']:,}, {counts['failed']:,}, {counts['pending']:,}",
        "tokens of prompts, of texts": f"{tokens['prompt']:,}, {tokens['completion']:,}{_uncounted(tokens)}",
        "texts ended by": endings,
        "failures": failures,
        "seed": str(spec.seed),
    }
    return _table(("", ""), [(name, value) for name, value in rows.items() if value])


def _uncounted(tokens: Mapping[str, int]) -> str:
    return f" (the server did not count {tokens['uncounted']:,} texts)" if "uncounted" in tokens else ""


def _temperatures(temperatures: Sequence[float]) -> str:
    if temperatures == (0,):
        return "greedy"
    return f"sampled at temperature {', '.join(f'{temperature:g}' for temperature in temperatures)}"


def _prompts(prompts: PromptSpec) -> str:
    if prompts.template is not None:
        return f"`{_plain(prompts.template)}`"
    if prompts.templates is not None:
        return f"{len(prompts.templates)} wordings"
    source = next(
        (name for name in ("list", "file", "hub", "corpus", "grid") if getattr(prompts, name) is not None), ""
    )
    return f"from {source}" if source else ""


def _states(facts: Mapping[str, Any], captures: Mapping[str, StatesStage], begun_by_first: bool) -> str:
    if not facts:
        return ""
    called = dict[str, str]() if begun_by_first else labels(captures)
    rows = [
        (
            f"`{name}`",
            (", " if begun_by_first else "; ").join(called.get(site, site) for site in c["sites"]),
            f"{c['positions']}, pool {', '.join(c['pool'])}" if begun_by_first else _rows(c["positions"], c["pool"]),
            c["dtype"],
            f"{c['rows']:,}",
        )
        for name, c in facts.items()
    ]
    return "## Hidden states\n\n" + _table(("capture", "sites", "positions", "dtype", "rows"), rows)


def _rows(positions: str, pool: Sequence[str]) -> str:
    return positions if list(pool) == ["none"] else f"one row per text: {', '.join(pool)}"


def _reading(captures: Mapping[str, StatesStage], begun_by_first: bool) -> str:
    """How the dataset is read, with an example that runs as it is printed."""
    lines = ["data.records()  # Arrow; data.to_pandas() for pandas"]
    if captures:
        stage = next(iter(captures.values()))
        asked = f'"{stage.sites[0]}"' if begun_by_first else _asked_for(captures)
        rows = "texts" if stage.pooled and not begun_by_first else "rows"
        lines.append(f"data.states({asked})  # [{rows}, width], read from the disk as it is sliced")
    function = "open" if begun_by_first else "open_dataset"
    code = "\n".join(("import latentext", "", f'data = latentext.{function}(".")', *lines))
    return f"## Reading it\n\n```python\n{code}\n```"


def _asked_for(captures: Mapping[str, StatesStage]) -> str:
    """The arguments of `Dataset.states` that give the first states of a dataset: the fewest that name one kind."""
    name, stage = next(iter(captures.items()))
    site, pool = stage.sites[0], stage.pool[0]
    options: dict[str, Any] = {"pool": pool, "positions": stage.positions, "capture": name}
    ways: list[dict[str, Any]] = [
        {},
        {"pool": pool},
        {"positions": stage.positions},
        {"capture": name},
        {"pool": pool, "capture": name},
    ]
    for way in (*ways, options):
        try:
            found = choose(captures, site, **way)
        except DatasetError:
            continue
        if (found.positions, found.pool) == (stage.positions, pool):
            return ", ".join((f'"{site}"', *(f'{option}="{value}"' for option, value in way.items())))
    return f'"{site}", capture="{name}", pool="{pool}"'


def _scores(scores: Mapping[str, Any], begun_by_first: bool) -> str:
    if not scores:
        return ""
    titles = ["folder", "columns", "texts"]
    rows = [[f"`{name}`", ", ".join(stage["columns"]), f"{stage['rows']:,}"] for name, stage in scores.items()]
    forms = [_READS.get(str(stage["settings"].get("input")), "") for stage in scores.values()]
    if _READS["chat"] in forms or (any(forms) and not begun_by_first):
        titles.append("what the reward model reads")
        rows = [[*row, form] for row, form in zip(rows, forms, strict=True)]
    return "## Scores\n\n" + _table(titles, rows)


def _table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(line)} |" for line in (titles, ["---"] * len(titles), *rows))


def _plain(text: str) -> str:
    """Text of the user's on one line, unable to end a table cell, a code span or begin HTML."""
    return " ".join(text.split()).replace("|", "\\|").replace("`", "'").replace("<", "&lt;")
