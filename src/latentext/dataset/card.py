"""The dataset card: a README.md that tells whoever finds the directory what it is and how to read it.

Everything in it comes from the spec and the receipts. The licence of the data is its maker's to name: a model's terms
and the source of the prompts decide it, and neither is ours to guess.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from latentext.spec import PromptSpec, Spec

_READS = {
    "chat": "its own chat template: the prompt as the user's turns, the text as the answer",
    "full_text": "prompt and text as one raw text",
    "continuation": "the text alone, raw",
    "pair": "prompt and text as two raw texts",
}
"""By a reward's `input`."""


def render_card(metadata: Mapping[str, Any], spec: Spec, *, begun_by_first: bool = False) -> str:
    """The card in Markdown, from what metadata.json says and from the spec.

    Args:
        begun_by_first: version 0.1.0 began the dataset. Its cards do not say that reward models read raw text, and
            `verify` compares cards byte by byte.
    """
    sections = [
        f"# {_plain(spec.name)}",
        _plain(spec.description) or "A dataset of generated text.",
        _facts(metadata, spec),
        _states(metadata["states"]),
        _scores(metadata["scores"], begun_by_first),
        '## Reading it\n\n```python\nimport latentext\n\ndata = latentext.open(".")\n'
        f"data.records()  # Arrow; data.to_pandas() for pandas{_states_line(metadata['states'])}\n```",
        f"## Licence\n\n{_plain(metadata['licence'] or 'not stated')}",
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _facts(metadata: Mapping[str, Any], spec: Spec) -> str:
    counts, tokens, decoding = metadata["counts"], metadata["tokens"], spec.decoding
    endings = ", ".join(f"{reason}: {count:,}" for reason, count in metadata["finish_reasons"].items())
    failures = ", ".join(f"{reason}: {count:,}" for reason, count in metadata["failure_reasons"].items())
    rows = {
        "model": f"`{_plain(metadata['model_name'])}`",
        "prompts": _prompts(spec.prompts),
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


def _states(captures: Mapping[str, Any]) -> str:
    if not captures:
        return ""
    rows = [
        (
            f"`{name}`",
            ", ".join(c["sites"]),
            f"{c['positions']}, pool {', '.join(c['pool'])}",
            c["dtype"],
            f"{c['rows']:,}",
        )
        for name, c in captures.items()
    ]
    return "## Hidden states\n\n" + _table(("capture", "sites", "positions", "dtype", "rows"), rows)


def _states_line(captures: Mapping[str, Any]) -> str:
    site = next((capture["sites"][0] for capture in captures.values()), None)
    return "" if site is None else f'\ndata.states("{site}")  # [rows, width], read from the disk as it is sliced'


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
