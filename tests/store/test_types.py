"""Types that few catalogues have come back from every database as they went in."""

import datetime
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest

from itemspace.core.plugins import find

T = datetime.datetime(2024, 2, 29, 12, 30, 1, 123456)
RARE = pa.table(
    {
        "id": ["a", "b", "c"],
        "unsigned": pa.array([2**64 - 1, None, 0], pa.uint64()),
        "byte": pa.array([255, 0, None], pa.uint8()),
        "half": pa.array(np.array([1.5, -0.0, 65504], np.float16)),
        "nan": pa.array([float("nan"), None, float("-inf")]),
        "money": pa.array([Decimal("12345678.90"), None, Decimal("-0.01")], pa.decimal128(12, 2)),
        "nano": pa.array([1_600_000_000_123_456_789, None, -1], pa.timestamp("ns")),
        "micro": pa.array([T, None, T], pa.timestamp("us", "Europe/Berlin")),
        "day64": pa.array([datetime.date(2020, 2, 29), None, datetime.date(1969, 12, 31)], pa.date64()),
        "place": pa.array([[1.5, -2.5], None, [0.0, float("inf")]], pa.list_(pa.float32(), 2)),
        "flags": pa.array([[True, None, False], None, []], pa.list_(pa.bool_())),
        "days": pa.array([[datetime.date(2020, 2, 29), None], [], None], pa.list_(pa.date32())),
        "times": pa.array([[T, None], [], None], pa.list_(pa.timestamp("us"))),
        "prices": pa.array([[Decimal("1.10"), None], [], None], pa.list_(pa.decimal128(5, 2))),
        "texts": pa.array(
            [["a,b", '{"\\}', "\x00\n\r\t", "NULL", "", None, "\U0010f8fe0"], [], None], pa.large_list(pa.string())
        ),
        "odd": ["\\.", "\\N", "\U0010f8fe1\x00"],
    }
)


@pytest.mark.parametrize("kind", ["lancedb", "postgres", "milvus"])
def test_rare_types_come_back(kind, tmp_path, request, monkeypatch):
    if kind == "postgres":
        monkeypatch.setenv("ITEMSPACE_POSTGRES", request.getfixturevalue("postgres"))
    if kind == "milvus":
        pytest.importorskip("pymilvus")
    with find("stores", kind).create(tmp_path / "s", items_schema=RARE.schema, id_column="id") as store:
        store.put_items(np.array([2, 0, 1]), RARE)
        wanted = RARE.take([1, 2, 0])
        store.update_items(np.array([1]), RARE.slice(2, 1).drop_columns(["id"]))
        found = store.items()[2]
        for name in RARE.column_names:
            assert repr(found.column(name).to_pylist()) == repr(wanted.column(name).to_pylist()), name
        assert found.schema.equals(store.items_schema)
