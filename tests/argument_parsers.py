"""Argument parsers of foreign scripts as data: read from their source, and built again.

Nothing of a script is run: its `add_argument` calls are read from the syntax tree.
"""

import argparse
import ast
from collections.abc import Iterator
from typing import Any

Description = list[dict[str, Any]]
"""One entry per argument: flags, and type, default, choices, required, nargs, switch if given."""

TYPES = {"str": str, "int": int, "float": float, "str2bool": str, "bool": str}


def describe(source: str) -> Description:
    """The arguments that a script's parser takes, in the order of the source."""
    tree = ast.parse(source)
    constants = {
        target.id: node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    return [_argument(call, constants) for call in _calls(tree)]


def _calls(tree: ast.Module) -> Iterator[ast.Call]:
    calls = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "add_argument"
    ]
    return iter(sorted(calls, key=lambda call: call.lineno))


def _argument(call: ast.Call, constants: dict[str, ast.expr]) -> dict[str, Any]:
    entry: dict[str, Any] = {"flags": [ast.literal_eval(flag) for flag in call.args]}
    for keyword in call.keywords:
        if keyword.arg == "type":
            entry["type"] = ast.unparse(keyword.value)
        elif keyword.arg == "action" and ast.literal_eval(keyword.value) == "store_true":
            entry["switch"] = True
        elif keyword.arg in ("default", "choices", "required", "nargs"):
            value = _literal(keyword.value, constants)
            # A long default is a prompt of the authors': that there is one is all we keep.
            entry[keyword.arg] = "(text)" if isinstance(value, str) and len(value) > 60 else value
    return entry


def _literal(node: ast.expr, constants: dict[str, ast.expr]) -> Any:
    if isinstance(node, ast.Name) and node.id in constants:
        return _literal(constants[node.id], constants)
    try:
        return ast.literal_eval(node)
    except ValueError:
        return "(computed)"


class Refusal(Exception):
    """What the script's own parser would say."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> Any:
        raise Refusal(message)


def parser_of(description: Description) -> argparse.ArgumentParser:
    """A parser that takes and refuses what the script's own does."""
    parser = _Parser(add_help=False, allow_abbrev=False)
    for entry in description:
        options = {key: entry[key] for key in ("default", "choices", "required") if key in entry}
        if entry.get("switch"):
            parser.add_argument(*entry["flags"], action="store_true")
            continue
        if "nargs" in entry:
            options["nargs"] = entry["nargs"]
        parser.add_argument(*entry["flags"], type=TYPES[entry.get("type", "str")], **options)
    return parser
