"""The grammar of sizes in a `.pt2` file: sums, products and quotients of integers and the batch.

torch gives these strings to sympy, which evaluates them as Python; here they are only parsed.
"""

from __future__ import annotations

import ast
import re

_EXPRESSIONS = {"Add", "Mul", "FloorDiv", "Mod", "Min", "Max"}
SYMBOL = r"s[0-9]{1,9}"


def check_expression(text: str) -> str:
    """Only sums, products and quotients of integers and symbols, as torch 2.15 prints them."""
    try:
        honest = _is_expression(ast.parse(text, mode="eval").body)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        honest = False
    if not honest:
        raise ValueError(f"holds the expression {text[:60]!r}, which no image classifier needs")
    return text


def _is_expression(node: ast.expr) -> bool:
    match node:
        case ast.Call(func=ast.Name(id="Symbol"), args=[ast.Constant(value=str(name))]):
            return re.fullmatch(SYMBOL, name) is not None and _has_plain_assumptions(node)
        case ast.Call(func=ast.Name(id="Integer"), args=[argument], keywords=[]):
            return _is_integer(argument)
        case ast.Call(func=ast.Name(id=name), keywords=[]) if name in _EXPRESSIONS:
            return all(_is_expression(argument) for argument in node.args)
    return False


def _is_integer(node: ast.expr) -> bool:
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        node = node.operand
    return isinstance(node, ast.Constant) and type(node.value) is int and node.value < 2**63


def _has_plain_assumptions(node: ast.Call) -> bool:
    return all(
        keyword.arg in {"positive", "nonnegative", "integer"}
        and isinstance(keyword.value, ast.Constant)
        and isinstance(keyword.value.value, bool)
        for keyword in node.keywords
    )
