"""An expression tree, checked against the columns and evaluated over them with Arrow kernels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from itemspace.core.selection import Selection
from itemspace.core.taking import take_rows
from itemspace.core.where.check import Checked, check
from itemspace.core.where.columns import Bound, comparable, fit
from itemspace.core.where.parser import parse_where
from itemspace.core.where.tree import (
    And,
    Between,
    Column,
    Compare,
    Constant,
    Contains,
    Expression,
    In,
    IsNull,
    Not,
    Operator,
    Or,
    Scalar,
    StartsWith,
    Truth,
    columns_of,
)

if TYPE_CHECKING:
    from itemspace.core.catalog import Catalog

_KERNELS: dict[Operator, Callable[..., Any]] = {
    "=": pc.equal,
    "!=": pc.not_equal,
    "<": pc.less,
    "<=": pc.less_equal,
    ">": pc.greater,
    ">=": pc.greater_equal,
}


def compile_where(expression: str | Expression | None, catalog: Catalog) -> Selection:
    """The rows of `catalog` for which `expression` is true; removed items never match, unknown is not a match.

    Raises:
        FilterError: the text does not parse, a column does not exist, or a value does not fit its column.
    """
    if expression is None:
        return Selection.all(len(catalog)) if catalog.live is None else Selection.of_mask(catalog.live)
    mask = evaluate(expression, catalog.table, kinds=catalog.schema.kinds)
    return Selection.of_mask(mask if catalog.live is None else mask & catalog.live)


def recompiled(
    expression: str | Expression | None, catalog: Catalog, before: Selection, changed: np.ndarray
) -> Selection:
    """`compile_where`, where all rows but `changed` (ascending, all new ones among them) are as they were for `before`.

    `before` itself, or its rows, where none of these begins or ceases to match: what was derived of them stays good.

    Raises:
        FilterError: see `compile_where`.
    """
    tree = parse_where(expression) if isinstance(expression, str) else expression
    if tree is not None and not _row_by_row(tree, catalog):
        return compile_where(tree, catalog)
    now = np.ones(len(changed), bool)
    if tree is not None:
        part = take_rows(catalog.table.select(sorted(columns_of(tree))), changed)
        now = evaluate(tree, part, kinds=catalog.schema.kinds)
    if catalog.live is not None:
        now = now & catalog.live[changed]
    old = int(np.searchsorted(changed, before.size))
    then = np.zeros(len(changed), bool)
    then[:old] = True if before.rows is None else before.mask[changed[:old]]
    if np.array_equal(now, then) and (before.rows is not None or len(catalog) == before.size):
        return before.resized(len(catalog))
    mask = np.zeros(len(catalog), bool)
    mask[: before.size] = before.mask
    mask[changed] = now
    return Selection.of_mask(mask)


def _row_by_row(tree: Expression, catalog: Catalog) -> bool:
    """Whether it can be seen from a row alone if it matches. How whole-number times are read depends on all of them."""
    types = {field.name: field.type for field in catalog.table.schema}
    return all(
        name in types and not (catalog.schema.kinds.get(name) == "time" and pa.types.is_integer(types[name]))
        for name in columns_of(tree)
    )


def evaluate(expression: str | Expression, table: pa.Table, *, kinds: Any = None) -> np.ndarray:
    """bool [rows]: where `expression` is surely true of a row of `table`.

    kinds: column -> kind as in `Schema`; an integer column of kind "time" is compared with dates as Unix time.

    Raises:
        FilterError: see `compile_where`.
    """
    source = expression if isinstance(expression, str) else None
    tree = parse_where(expression) if isinstance(expression, str) else expression
    checked = check(tree, table, kinds=kinds, source=source)
    found = _evaluate(tree, table, checked)
    if isinstance(found, bool):
        return np.full(table.num_rows, found)
    return np.asarray(found.fill_null(False)).astype(bool, copy=False)


Kleene = pa.Array | pa.ChunkedArray | bool
"""Three-valued truth per row, or one truth for every row."""


def _evaluate(node: Expression, table: pa.Table, checked: Checked) -> Any:
    if isinstance(node, Constant):
        return node.value
    if isinstance(node, Not):
        inner = _evaluate(node.term, table, checked)
        return not inner if isinstance(inner, bool) else pc.invert(inner)
    if isinstance(node, (And, Or)):
        parts = [_evaluate(term, table, checked) for term in node.terms]
        return reduce(_and if isinstance(node, And) else _or, parts)
    assert isinstance(node, (Truth, Compare, In, Between, IsNull, Contains, StartsWith))
    column = table.column(node.column)
    if isinstance(node, IsNull):
        found = _per_value(column, lambda v: pc.is_null(v, nan_is_null=pa.types.is_floating(v.type)))
        return found.fill_null(True)  # a dictionary column's own nulls
    if isinstance(node, Compare) and isinstance(node.value, Column):
        other = table.column(node.value.name)
        return _KERNELS[node.operator](comparable(_decoded(column)), comparable(_decoded(other)))
    return _per_value(column, lambda values: _leaf(node, values, checked))


def _and(left: Any, right: Any) -> Any:
    if isinstance(left, bool):
        return right if left else False
    if isinstance(right, bool):
        return left if right else False
    return pc.and_kleene(left, right)


def _or(left: Any, right: Any) -> Any:
    if isinstance(left, bool):
        return True if left else right
    if isinstance(right, bool):
        return True if right else left
    return pc.or_kleene(left, right)


def _per_value(column: pa.ChunkedArray, test: Callable[[Any], Any]) -> Any:
    """Apply `test` to the values; a dictionary column is tested once per distinct value."""
    if not pa.types.is_dictionary(column.type):
        return test(column)
    chunks = [pc.take(test(chunk.dictionary), chunk.indices) for chunk in column.chunks]
    return pa.chunked_array(chunks, pa.bool_())


def _decoded(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column


def _leaf(node: Expression, values: Any, checked: Checked) -> Any:
    if isinstance(node, Truth):
        return values
    if isinstance(node, Compare):
        assert not isinstance(node.value, Column)
        return _compare(values, node.operator, checked.value(node.column, node.value))
    if isinstance(node, Between):
        low = _compare(values, ">=", checked.value(node.column, node.low))
        return pc.and_kleene(low, _compare(values, "<=", checked.value(node.column, node.high)))
    if isinstance(node, In):
        return _in(values, [checked.value(node.column, value) for value in node.values])
    if isinstance(node, StartsWith):
        return pc.starts_with(values, node.value)
    assert isinstance(node, Contains)
    if checked.types[node.column].family == "list":
        return _member(values, node.value)
    return pc.match_substring(values, str(node.value))


def _compare(values: Any, operator: Operator, value: Any) -> Any:
    values = comparable(values)
    if pa.types.is_integer(values.type):
        bound: Bound = fit(operator, value, values.type)
        if bound.always is not None:
            return _everywhere(values, bound.always)
        operator, value = bound.operator, bound.value
    if pa.types.is_floating(values.type):
        value = float(value)
    return _KERNELS[operator](values, pa.scalar(value, values.type))


def _in(values: Any, wanted: Sequence[Any]) -> Any:
    values = comparable(values)
    if pa.types.is_integer(values.type):
        fitting = [fit("=", value, values.type) for value in wanted]
        wanted = [bound.value for bound in fitting if bound.always is None]
    elif pa.types.is_floating(values.type):
        # Sets are of bits: without adding 0, -0.0 and 0.0 would be two values.
        wanted, values = [float(value) + 0.0 for value in wanted], pc.add(values, pa.scalar(0.0, values.type))
    found = pc.is_in(values, value_set=pa.array(wanted, values.type))
    # Whether a missing value is in a list is unknown, as every comparison with it is.
    return found if not values.null_count else pc.if_else(values.is_valid(), found, pa.scalar(None, pa.bool_()))


def _everywhere(values: Any, answer: bool) -> Any:
    """`answer` for every value that is there, unknown where none is."""
    return pc.if_else(values.is_valid(), pa.scalar(answer), pa.scalar(None, pa.bool_()))


def _member(lists: Any, value: Scalar) -> Any:
    """Whether each list holds `value`: false for an empty list, unknown for a missing one."""
    chunks = lists.chunks if isinstance(lists, pa.ChunkedArray) else [lists]
    out = [_member_of_chunk(chunk, value) for chunk in chunks]
    return pa.chunked_array(out, pa.bool_())


def _member_of_chunk(lists: Any, value: Scalar) -> Any:
    # `flatten` and the parents' indices skip missing lists, whatever lies under them, and honor slices.
    elements = lists.flatten()
    if pa.types.is_dictionary(elements.type):
        hits = pc.take(_compare(elements.dictionary, "=", value), elements.indices)
    else:
        hits = _compare(elements, "=", value)
    parents = np.asarray(pc.list_parent_indices(lists))
    mask = np.zeros(len(lists), bool)
    mask[parents[np.asarray(hits.fill_null(False)).astype(bool, copy=False)]] = True
    missing = np.asarray(lists.is_null()) if lists.null_count else None
    return pa.array(mask, mask=missing)
