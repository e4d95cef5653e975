"""Which small changes are made to a module: each must be noticed by some test.

Texts of messages are left alone (f-strings' literal parts, what is given to an exception), and so are annotations and
decorators.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, replace
from types import CodeType
from typing import Any

COMPARISONS: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
}
OPERATORS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
    ast.Pow: ast.Mult,
    ast.BitOr: ast.BitAnd,
    ast.BitAnd: ast.BitOr,
}
FUNCTIONS = {"min": "max", "max": "min", "any": "all", "all": "any"}
TYPE_FIELDS = {"annotation", "returns", "decorator_list", "type_params"}
TYPE_CALLS = {"TypeVar", "cast", "ConfigDict"}  # not called for what they do at run time, or once for the whole package

Change = tuple[ast.AST, str]


@dataclass(frozen=True)
class Mutant:
    """A module with one change.

    Attributes:
        name: The function that was changed, with its class; empty for the module itself.
        line: Where it stands.
        lines: A test that runs none of them cannot notice; empty for what runs once, at import.
        change: What was changed, in Python.
    """

    module: str
    name: str
    line: int
    lines: range
    change: str
    code: CodeType

    def __str__(self) -> str:
        return f"{self.module}:{self.line} {self.name}: {self.change}"


@dataclass(frozen=True)
class _Place:
    name: str = ""
    start: int = 0  # the line of the statement
    in_function: bool = False
    in_message: bool = False


def mutants(module: str, source: str, filename: str) -> Iterator[Mutant]:
    """Every mutant of *module*."""
    tree = ast.parse(source)
    for parent, field, index, node, place in _nodes(tree, _Place()):
        for new, text in _changes(node, field, place):
            _put(parent, field, index, ast.copy_location(new, node))
            code = compile(ast.fix_missing_locations(tree), filename, "exec")
            _put(parent, field, index, node)
            yield Mutant(module, place.name, place.start, _lines(node, place), text, code)


def _lines(node: Any, place: _Place) -> range:
    if not place.in_function:
        return range(0)
    return range(place.start, (place.start if isinstance(node, ast.ExceptHandler) else node.end_lineno) + 1)


def _put(parent: Any, field: str, index: int | None, node: ast.AST) -> None:
    if index is None:
        setattr(parent, field, node)
    else:
        getattr(parent, field)[index] = node


def _nodes(parent: Any, place: _Place) -> Iterator[tuple[Any, str, int | None, Any, _Place]]:
    """Everything below *parent* that may be changed: whose it is, as what, and where."""
    for field, value in ast.iter_fields(parent):
        if field in TYPE_FIELDS or _is_type_checking(parent):
            continue
        inner = _inside(parent, field, place)
        for index, node in enumerate(value) if isinstance(value, list) else [(None, value)]:
            if isinstance(node, ast.AST) and not _is_docstring(node):
                at = replace(inner, start=node.lineno) if isinstance(node, ast.stmt | ast.ExceptHandler) else inner
                yield parent, field, index, node, at
                yield from _nodes(node, at)


def _inside(parent: Any, field: str, place: _Place) -> _Place:
    if isinstance(parent, ast.ClassDef):
        return replace(place, name=f"{place.name}.{parent.name}".strip("."))
    if isinstance(parent, ast.FunctionDef | ast.AsyncFunctionDef):
        name = f"{place.name}.{parent.name}".strip(".")
        return replace(place, name=name, in_function=place.in_function or field == "body")
    if isinstance(parent, ast.Raise | ast.JoinedStr) or (
        isinstance(parent, ast.Call) and _called(parent).endswith(("Error", "add_note"))
    ):
        return replace(place, in_message=True)
    return place


def _is_type_checking(node: Any) -> bool:
    return (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING") or (
        isinstance(node, ast.Call) and _called(node) in TYPE_CALLS
    )


def _is_docstring(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _called(call: ast.Call) -> str:
    return ast.unparse(call.func).rpartition(".")[2]


def _changes(node: Any, field: str, place: _Place) -> Iterator[Change]:
    yield from _of_statement(node, place)
    yield from _of_expression(node, place)
    if field in {"test", "ifs", "guard"} and not isinstance(node, ast.Compare) and not _is_type_checking(ast.If(node)):
        yield ast.UnaryOp(ast.Not(), node), f"not ({ast.unparse(node)})"


def _of_statement(node: Any, place: _Place) -> Iterator[Change]:
    match node:
        case ast.Return(value=ast.expr() as value) if not _is_none(value):
            yield ast.Return(ast.Constant(None)), f"return None instead of {_short(value)}"
        case ast.Assign(targets, value) if place.in_function and not _is_none(value):
            yield ast.Assign(targets, ast.Constant(None)), f"{ast.unparse(targets[0])} = None instead of {_short(value)}"
        case ast.AugAssign(target, op, value) if type(op) in OPERATORS:
            new = ast.AugAssign(target, OPERATORS[type(op)](), value)
            yield new, f"{ast.unparse(new)} instead of {_short(node)}"
        case ast.Expr() | ast.Raise():
            yield ast.Pass(), f"without {_short(node)}"
            if isinstance(node, ast.Raise) and node.cause:
                yield ast.Raise(node.exc), f"raise without from {ast.unparse(node.cause)}"
        case ast.Break():
            yield ast.Continue(), "continue instead of break"
        case ast.Continue():
            yield ast.Break(), "break instead of continue"
        case ast.ExceptHandler(type=ast.expr() as caught, name=name, body=body):
            yield ast.ExceptHandler(ast.Tuple([], ast.Load()), name, body), f"nothing caught instead of {_short(caught)}"


def _of_expression(node: Any, place: _Place) -> Iterator[Change]:
    match node:
        case ast.Compare(left, ops, values):
            for index, op in enumerate(ops):
                for other in COMPARISONS[type(op)]:
                    yield _told(ast.Compare(left, [*ops[:index], other(), *ops[index + 1 :]], values), node)
        case ast.BoolOp(op, values):
            yield _told(ast.BoolOp(ast.Or() if isinstance(op, ast.And) else ast.And(), values), node)
            for index in range(len(values)):
                rest = [*values[:index], *values[index + 1 :]]
                yield _told(rest[0] if len(rest) == 1 else ast.BoolOp(op, rest), node)
        case ast.Call() if _called(node) not in TYPE_CALLS:
            yield from _of_call(node)
        case ast.Constant(value) if not (place.in_message and isinstance(value, str)):
            yield from ((ast.Constant(new), f"{new!r} instead of {value!r}") for new in _others(value))
        case _:
            yield from _of_small_expression(node)


def _of_small_expression(node: Any) -> Iterator[Change]:
    match node:
        case ast.UnaryOp(ast.Not() | ast.USub(), operand):
            yield _told(operand, node)
        case ast.BinOp(left, op, right) if type(op) in OPERATORS:
            yield _told(ast.BinOp(left, OPERATORS[type(op)](), right), node)
        case ast.Slice(lower, upper, step):
            if lower:
                yield _told(ast.Slice(None, upper, step), node)
            if upper:
                yield _told(ast.Slice(lower, None, step), node)
        case ast.Lambda(args):
            yield _told(ast.Lambda(args, ast.Constant(None)), node)


def _of_call(node: ast.Call) -> Iterator[Change]:
    if isinstance(node.func, ast.Name) and node.func.id in FUNCTIONS:
        yield _told(ast.Call(ast.Name(FUNCTIONS[node.func.id], ast.Load()), node.args, node.keywords), node)
    elif len(node.args) > 1 and not any(isinstance(argument, ast.Starred) for argument in node.args[:2]):
        first, second, *others = node.args
        yield _told(ast.Call(node.func, [second, first, *others], node.keywords), node)
    for keyword in node.keywords:
        others = [other for other in node.keywords if other is not keyword]
        yield ast.Call(node.func, node.args, others), f"{ast.unparse(node.func)}(...) without {keyword.arg}="


def _others(value: object) -> Iterator[object]:
    match value:
        case bool():
            yield not value
        case int() | float():
            yield value + 1
        case str():
            yield value + "~"
        case bytes():
            yield value + b"~"


def _told(new: ast.AST, old: ast.AST) -> Change:
    return new, f"{_short(new)} instead of {_short(old)}"


def _short(node: ast.AST) -> str:
    text = " ".join(ast.unparse(node).split())
    return text if len(text) <= 120 else f"{text[:120]}..."


def _is_none(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and node.value is None
