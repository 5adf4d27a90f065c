"""Texts with named gaps: ``Print exactly {count} repetitions of "{word}".``

Only ``{name}`` is a gap; ``{{`` and ``}}`` write braces, and any other brace stands for itself, so that code and JSON
can be prompts. `str.format` is not used: its ``{name.attribute}`` and ``{name[key]}`` would let a file of prompts
reach into Python objects.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any

_NAME = r"[A-Za-z_][A-Za-z0-9_]*"
# A run of braces: pairs of them write braces, and one that is left opens a gap.
_MEANT_AS_GAP = re.compile(
    rf"(?<!\{{)(?:\{{\{{)*(?P<form>\{{(?!\{{)\s*(?P<name>{_NAME})\s*(?:[.\[!:][^{{}}]*)?\}})"
    rf"|(?<!\{{)(?P<doubled>\{{\{{(?!\{{)\s*(?P<inner>{_NAME})\s*(?:\|[^{{}}]*)?\}}\}})(?!\}})"
)
_PIECE = re.compile(r"\{\{|\}\}|\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)\}")


def fields(template: str) -> tuple[str, ...]:
    """The names that `template` needs, in order of appearance, each once.

    Example:
        >>> fields("{a} and {b} and {a}, but not {{c}}")
        ('a', 'b')
    """
    return tuple(dict.fromkeys(match["name"] for match in _PIECE.finditer(template) if match["name"]))


def meant_as_gap(template: str, names: Collection[str]) -> tuple[str, str] | None:
    """The first text in braces that looks as if one of `names` were to be put in, and stays as it is; and the name.

    ``{name:02d}``, ``{name.upper}``, ``{name!r}``, ``{ name }``, and ``{{name}}`` as Jinja writes it. Braces around
    anything else are code or JSON.

    Example:
        >>> meant_as_gap("{a}, {{b}} and { a }", ["a"])
        ('{ a }', 'a')
    """
    for match in _MEANT_AS_GAP.finditer(template):
        form, name = match["form"] or match["doubled"], match["name"] or match["inner"]
        if name in names and form != f"{{{name}}}":
            return form, name
    return None


def fill(template: str, variables: Mapping[str, Any]) -> str:
    """Put the variables' values, as `str` writes them, into the gaps.

    Raises:
        KeyError: a variable is missing.

    Example:
        >>> fill('{{"count": {count}}}', {"count": 3})
        '{"count": 3}'
    """

    def value(match: re.Match[str]) -> str:
        return str(variables[match["name"]]) if match["name"] else match.group()[0]

    return _PIECE.sub(value, template)
