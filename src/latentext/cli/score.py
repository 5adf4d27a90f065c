"""``latentext score``: give numbers to texts that exist, by rewards and by the dataset's check."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from latentext.cli.added import print_added
from latentext.cli.interruption import continued_by
from latentext.cli.options import TrustRemoteCode
from latentext.errors import SpecError


def score(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="The dataset directory.")],
    rewards: Annotated[
        list[str] | None,
        typer.Option(
            "--reward",
            metavar="REWARD",
            help="A name such as sentiment, file.py:function, or {name: polite, words: [please]}; may be repeated.",
        ),
    ] = None,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Score again where a text got no number.")
    ] = False,
    trust_remote_code: TrustRemoteCode = False,
) -> int:
    """Score the texts of a dataset by rewards.

    A reward that works becomes part of the dataset: texts that are added later are scored by it too. Without --reward,
    the rewards of the dataset are brought up to date. A Python function runs only if --reward names it, never because
    the dataset does.
    """
    from latentext.run.progress import progress_for
    from latentext.run.runner import score_texts

    with continued_by(sys.argv[1:]):
        summary = score_texts(
            directory,
            as_rewards(rewards or ()),
            retry_failed=retry_failed,
            trust_remote_code=trust_remote_code,
            progress=progress_for(sys.stderr),
        )
    print_added(summary, nothing="nothing to score: these scores are there")
    return summary.exit_code


def as_rewards(words: Sequence[str]) -> list[str | dict[str, Any]]:
    """Rewards as a spec takes them: what begins with a brace is a mapping in YAML, all else a name.

    Example:
        >>> as_rewards(["sentiment", "{name: polite, words: [please]}"])
        ['sentiment', {'name': 'polite', 'words': ['please']}]
    """
    return [_mapping(word) if word.lstrip().startswith("{") else word for word in words]


def _mapping(text: str) -> dict[str, Any]:
    from latentext.spec.yaml_text import YamlError, parse_yaml

    try:
        fields = parse_yaml(text)
    except YamlError as error:
        raise SpecError(str(error), where=f"--reward {text}", remedy="write it as in a spec") from None
    assert isinstance(fields, dict)  # Text that begins with a brace is a mapping, or no YAML.
    return fields
