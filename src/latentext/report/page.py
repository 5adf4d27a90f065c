"""The page: one HTML file with the pictures inside, which opens anywhere and loads and runs nothing.

Texts of a dataset come from models and from prompts, so all text is escaped; and a content policy in the page forbids
the browser every script and every address but the pictures within, should anything ever slip through.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

from latentext.report.picture import Picture, Skipped

_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
_STYLE = """
:root { color-scheme: light; }
body { font: 16px/1.5 system-ui, sans-serif; color: #1d2330; background: #fff; max-width: 62rem; margin: 2rem auto;
  padding: 0 1.2rem; }
h1 { font-size: 1.7rem; margin-bottom: .2rem; overflow-wrap: anywhere; }
h2 { font-size: 1.2rem; margin: 2.6rem 0 .4rem; }
p { margin: .3rem 0; }
.described, figcaption { color: #555d6b; }
figure { margin: 0; }
img { max-width: 100%; height: auto; }
table { border-collapse: collapse; margin: .6rem 0; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .15rem 1.2rem .15rem 0; border-bottom: 1px solid #e4e6ea; font-weight: normal;
  overflow-wrap: anywhere; }
th { color: #555d6b; }
.numbers { overflow-x: auto; font-size: .85rem; }
.numbers th, .numbers td { overflow-wrap: break-word; padding-right: .8rem; vertical-align: top; }
.numbers td { white-space: nowrap; }
.wide td { vertical-align: top; font-size: .85rem; white-space: pre-wrap; padding: .4rem 1rem .4rem 0;
  min-width: 9rem; }
"""


@dataclass(frozen=True)
class Table:
    """A table of texts with a title of its own; `wide` ones hold prose and are set small."""

    name: str
    title: str
    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    wide: bool = False


def render_page(
    title: str,
    description: str,
    facts: Mapping[str, str],
    pictures: Sequence[Picture],
    skipped: Sequence[Skipped],
    tables: Sequence[Table] = (),
) -> str:
    """The whole page; every argument is plain text, whatever characters it has.

    Example:
        >>> "<script>" in render_page("<script>", "", {}, [], [])
        False
    """
    absent = {f"{picture.title}": picture.reason for picture in skipped}
    parts = [
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{escape(_POLICY)}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>",
        f'<h1>{escape(title)}</h1>\n<p class="described">{escape(description)}</p>',
        _table(facts),
        *map(_titled_table, tables),
        *map(_figure, pictures),
        f"<h2>Not drawn</h2>\n{_table(absent)}" if absent else "",
        "</body>\n</html>\n",
    ]
    return "\n".join(part for part in parts if part)


def _figure(picture: Picture) -> str:
    data = base64.b64encode(picture.png).decode("ascii")
    return (
        f'<h2 id="{escape(picture.name)}">{escape(picture.title)}</h2>\n<figure>\n'
        f'<img alt="{escape(picture.title)}" src="data:image/png;base64,{data}">\n'
        f"<figcaption>{escape(picture.caption)}</figcaption>\n</figure>\n{_table(picture.numbers)}"
    )


def _titled_table(table: Table) -> str:
    head = "".join(f'<th scope="col">{escape(column)}</th>' for column in table.columns)
    body = "\n".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in table.rows)
    # A table of numbers keeps its words whole, and is scrolled by itself where it is wider than the page.
    kind = "wide" if table.wide else "numbers"
    return (
        f'<h2 id="{escape(table.name)}">{escape(table.title)}</h2>\n<p class="described">{escape(table.caption)}</p>\n'
        f'<div class="{kind}"><table>\n<tr>{head}</tr>\n{body}\n</table></div>'
    )


def _table(rows: Mapping[str, str]) -> str:
    if not rows:
        return ""
    lines = (f'<tr><th scope="row">{escape(name)}</th><td>{escape(value)}</td></tr>' for name, value in rows.items())
    return "<table>\n" + "\n".join(lines) + "\n</table>"
