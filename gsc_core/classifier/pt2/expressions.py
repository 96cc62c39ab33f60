"""The grammar of sizes in a `.pt2` file: sums, products and quotients of integers and the batch.

torch gives these strings to sympy, which evaluates them as Python; here they are only parsed. Nor
may they be such as sympy does not finish: it multiplies out products of sums, and compares with
each other what a maximum is of. What torch 2.15 prints is small: for images of any size, some
twenty operators, factors that share no symbol, and a maximum of one thing and a number.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass

_EXPRESSIONS = {"Add", "Mul", "FloorDiv", "Mod", "Min", "Max"}
_OF_TWO = {"FloorDiv", "Mod", "Min", "Max"}
SYMBOL = r"s[0-9]{1,9}"


@dataclass(frozen=True)
class Sizes:
    """How intricate a size may be.

    Attributes:
        characters: of its text.
        operators: in all.
        bounds: of them, minima and maxima.
        of_sums: whether factors may share a symbol, as in the rounding of a resize.
    """

    characters: int
    operators: int
    bounds: int
    of_sums: bool


OF_CLASSIFIER = Sizes(characters=2_000, operators=40, bounds=4, of_sums=False)
OF_DETECTOR = Sizes(characters=4_000, operators=120, bounds=20, of_sums=True)
_MOST_SYMBOLS = 3  # the batch, height and width


def check_expression(text: str, sizes: Sizes = OF_CLASSIFIER) -> str:
    """Only sums, products and quotients of integers and symbols, and few of them.

    Raises ValueError for anything else.
    """
    try:
        honest = len(text) <= sizes.characters and _is_honest(
            ast.parse(text, mode="eval").body, sizes
        )
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        honest = False
    if not honest:
        raise ValueError(f"holds the expression {text[:60]!r}, which no image classifier needs")
    return text


def _is_honest(expression: ast.expr, sizes: Sizes) -> bool:
    if not _is_expression(expression):
        return False
    calls = list(_operators(expression))
    bounds = sum(name in ("Min", "Max") for name, _ in calls)
    products = [call for name, call in calls if name == "Mul"]
    return (
        len(calls) <= sizes.operators
        and bounds <= sizes.bounds
        and len(_symbols(expression)) <= _MOST_SYMBOLS
        and (sizes.of_sums or all(map(_shares_no_symbol, products)))
    )


def _is_expression(node: ast.expr) -> bool:
    match node:
        case ast.Call(func=ast.Name(id="Symbol"), args=[ast.Constant(value=str(name))]):
            return re.fullmatch(SYMBOL, name) is not None and _has_plain_assumptions(node)
        case ast.Call(func=ast.Name(id="Integer"), args=[argument], keywords=[]):
            return _is_integer(argument)
        case ast.Call(func=ast.Name(id=name), keywords=[]) if name in _EXPRESSIONS:
            count = len(node.args)
            fits = count == 2 if name in _OF_TWO else 2 <= count <= 8
            return fits and all(_is_expression(argument) for argument in node.args)
    return False


def _operators(expression: ast.expr) -> Iterator[tuple[str, ast.Call]]:
    for node in ast.walk(expression):
        match node:
            case ast.Call(func=ast.Name(id=name)) if name in _EXPRESSIONS:
                yield name, node


def _symbols(expression: ast.expr) -> set[str]:
    constants = (node.value for node in ast.walk(expression) if isinstance(node, ast.Constant))
    return {value for value in constants if isinstance(value, str)}


def _shares_no_symbol(product: ast.Call) -> bool:
    """Whether each symbol is in one factor at most: multiplied out, it stays as long as it is."""
    factors = [_symbols(factor) for factor in product.args]
    return sum(map(len, factors)) == len(set().union(*factors))


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
