"""``latentext schema``: every field of a spec, for editors and for people who write specs by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer


def schema(
    output: Annotated[Path | None, typer.Option("-o", "--output", help="File to write; otherwise printed.")] = None,
) -> None:
    """Print the JSON schema of a spec: all fields with types, defaults and descriptions.

    An editor with a YAML language server completes and checks a spec whose first line is

        # yaml-language-server: $schema=spec.schema.json
    """
    from latentext.errors import SpecError
    from latentext.spec import Spec

    text = json.dumps(Spec.model_json_schema(), indent=2, ensure_ascii=False) + "\n"
    if output is None:
        typer.echo(text, nl=False)
        return
    if output.exists():
        raise SpecError(f"{output} exists already", where="--output", remedy="name another file or remove it")
    output.write_text(text, encoding="utf-8")
