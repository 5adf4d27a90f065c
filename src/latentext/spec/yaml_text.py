"""YAML as specs use it: the scalars of YAML 1.2, nothing that runs code, nothing that unfolds.

PyYAML follows YAML 1.1, which reads ``[yes, no]`` as two truth values, ``1e-4`` as text and ``12:30`` as 750. Words
like these are prompts here, so only ``true``, ``false``, ``null`` and numbers as JSON writes them (and hexadecimal,
octal, ``.inf``, ``.nan``) are more than text. A key given twice is refused, and so is text whose aliases stand for more
than 200,000 values.
"""

from __future__ import annotations

import re
from typing import Any

import yaml

_MAX_NODES = 200_000
_TAG = "tag:yaml.org,2002:"
_SCALARS = (
    ("null", r"~|null|Null|NULL|", ["", *"~nN"]),
    ("bool", r"true|True|TRUE|false|False|FALSE", [*"tTfF"]),
    ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", [*"-+0123456789"]),
    (
        "float",
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        [*"-+.0123456789"],
    ),
)
"""Kind of value, its form, and the characters it begins with, by which PyYAML looks forms up."""


class YamlError(ValueError):
    """Text that is not YAML, or not safe to read; the message says on which line."""


def parse_yaml(text: str) -> Any:
    """Read one YAML document.

    Raises:
        YamlError: not YAML, a key given twice, a tag, or too many values behind aliases.

    Example:
        >>> parse_yaml("word: [yes, no]\\nrate: 1e-4")
        {'word': ['yes', 'no'], 'rate': 0.0001}
    """
    try:
        loader = _Loader(text)  # A control character is refused here already.
    except yaml.YAMLError as error:
        raise YamlError(" ".join(str(error).split())) from None
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        _unfolded_size(node, {})
        return loader.construct_document(node)
    except yaml.MarkedYAMLError as error:
        line = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        raise YamlError(f"{line}{error.problem or error.context}") from None
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise YamlError(" ".join(str(error).split())) from None
    finally:
        loader.dispose()


def dump_yaml(value: Any) -> str:
    """Write YAML that both this module and readers of YAML 1.1 read back to the same value; order is kept."""
    return yaml.dump(
        _with_lists(value), Dumper=_Dumper, sort_keys=False, default_flow_style=None, allow_unicode=True, width=120
    )


class _Loader(yaml.SafeLoader):
    """Reads scalars by the table above alone, and no tags: what a value is, it says by its form."""

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        if (tag := getattr(event, "tag", None)) not in (None, "!"):
            raise yaml.composer.ComposerError(None, None, f"a tag ({tag}) is not read here", event.start_mark)
        node: yaml.Node | None = super().compose_node(parent, index)
        return node


_Loader.yaml_implicit_resolvers = {}  # Those of YAML 1.1 are not inherited.


class _Dumper(yaml.SafeDumper):
    """Quotes what either YAML would take for something else than text, and never writes aliases."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


_UNUSUAL_BREAK = re.compile("[\x85\u2028\u2029]")


def _represent_text(dumper: _Dumper, text: str) -> yaml.Node:
    # Line breaks that PyYAML writes as they are and reads back folded survive only as escapes.
    style = '"' if _UNUSUAL_BREAK.search(text) else None
    return dumper.represent_scalar(_TAG + "str", text, style=style)


_Dumper.add_representer(str, _represent_text)


for _name, _pattern, _first_characters in _SCALARS:
    for _class in (_Loader, _Dumper):
        _class.add_implicit_resolver(_TAG + _name, re.compile(rf"(?:{_pattern})\Z"), _first_characters)


def _construct_int(loader: _Loader, node: yaml.ScalarNode) -> int:
    text = node.value
    return int(text, 0) if text[:2] in ("0o", "0x") else int(text)


def _construct_mapping(loader: _Loader, node: yaml.MappingNode) -> dict[Any, Any]:
    seen: set[str] = set()
    for key, _ in node.value:
        if not isinstance(key, yaml.ScalarNode) or key.value in seen:
            problem = f"{key.value!r} is given twice" if isinstance(key, yaml.ScalarNode) else "a name must be one word"
            raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
        seen.add(key.value)
    found: dict[Any, Any] = {}
    for key, item in node.value:
        # ``1`` and ``0x1`` are one number, and to Python ``true`` is the same key as they are.
        if (name := loader.construct_object(key)) in found:
            raise yaml.constructor.ConstructorError(None, None, f"{key.value!r} is given twice", key.start_mark)
        found[name] = loader.construct_object(item, deep=True)
    return found


_Loader.add_constructor(_TAG + "int", _construct_int)
_Loader.add_constructor(_TAG + "map", _construct_mapping)


def _unfolded_size(node: yaml.Node, sizes: dict[int, int]) -> int:
    """Count the values of a document with every alias written out, without writing them out."""
    if id(node) in sizes:
        if sizes[id(node)] == 0:
            raise YamlError(f"line {node.start_mark.line + 1}: an alias stands inside of what it names")
        return sizes[id(node)]
    sizes[id(node)] = 0
    children: list[yaml.Node] = []
    if isinstance(node, yaml.SequenceNode):
        children = node.value
    elif isinstance(node, yaml.MappingNode):
        children = [child for pair in node.value for child in pair]
    size = 1 + sum(_unfolded_size(child, sizes) for child in children)
    if size > _MAX_NODES:
        raise YamlError("more than 200,000 values")
    sizes[id(node)] = size
    return size


def _with_lists(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _with_lists(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_with_lists(item) for item in value]
    return value
