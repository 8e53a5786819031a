"""Malformed input is refused by file, row, column and value, and what can be set aside is, whole."""

import pyarrow.parquet as pq
import pytest

from itemspace.core.errors import DataError, ItemspaceError
from itemspace.data.tables import read_tables
from tests.data.malformed import MALFORMED


@pytest.mark.parametrize("case", MALFORMED, ids=lambda case: case.name)
def test_the_message_says_where_and_what(case, tmp_path):
    with pytest.raises(ItemspaceError) as caught:
        case.provoke(tmp_path)
    first = str(caught.value).split("\n")[0].replace(f"{tmp_path}/", "")
    if case.expected.endswith((".", "?")):
        assert first == case.expected
    else:
        assert case.expected in first
    if isinstance(caught.value, DataError):
        assert str(caught.value).endswith("Nothing was written.")


def test_setting_aside_keeps_the_good_rows_and_every_problem(tmp_path):
    """A file with one of everything: what is left is exactly the good rows, what is set aside exactly the others."""
    good = b"".join(b"i%d,Thing,%d.5\n" % (n, n) for n in range(60))
    bad = b"bad1,Thing,12;9\n,Thing,1.5\ni3,Again,1.5\nbad2,Thing\nbad3,Caf\xe9,1.5\nbad4,Thing,inf\n"
    (tmp_path / "items.csv").write_bytes(b"id,title,price\n" + good + bad)
    (tmp_path / "log.csv").write_text(
        "user,item,time\nu,i1,1600000000\nu,nope,1600000000\n,i1,1600000000\nu,i2,-1\nv,i2,soon\nv,i2,1600000009\n"
    )
    rejects = tmp_path / "rejects.parquet"
    data = read_tables(tmp_path / "items.csv", interactions=tmp_path / "log.csv", rejects=rejects)
    log = data.interactions
    assert sorted(data.catalog.ids.values.to_pylist()) == sorted(f"i{n}" for n in range(60))
    assert sorted(zip(log.users.decode(log.user), log.items.decode(log.item), log.time.tolist(), strict=True)) == [
        ("u", "i1", 1600000000),
        ("v", "i2", 1600000009),
    ]
    found = [(r["file"], r["row"], r["column"], r["value"]) for r in pq.read_table(rejects).to_pylist()]
    assert sorted(found) == [
        ("items.csv", 61, "price", "12;9"),
        ("items.csv", 62, "id", ""),
        ("items.csv", 63, "id", "i3"),
        ("items.csv", 64, "", "bad2,Thing"),
        ("items.csv", 65, "title", "Caf\xe9"),
        ("items.csv", 66, "price", "inf"),
        ("log.csv", 2, "item", "nope"),
        ("log.csv", 3, "user", ""),
        ("log.csv", 4, "time", "-1"),
        ("log.csv", 5, "time", "soon"),
    ]
    assert data.source["rejected"] == 10


def test_like_rows_are_counted_and_the_way_out_is_named(tmp_path):
    good = "".join(f"i{n},{n}.5\n" for n in range(200))
    (tmp_path / "items.csv").write_text("id,price\n" + good + "".join(f'x{n},"{n},99"\n' for n in range(17)))
    with pytest.raises(DataError) as caught:
        read_tables(tmp_path / "items.csv")
    assert str(caught.value).split("\n") == [
        'items.csv, row 201, column "price": "0,99" is not a number.',
        '  17 rows look like this. Pass decimal="," (--decimal ,), or set them aside with --rejects rejects.parquet.',
        "  Nothing was written.",
    ]
    assert not list(tmp_path.glob("rejects*"))


def test_decimal_commas_are_read_when_said(tmp_path):
    (tmp_path / "items.csv").write_text('id,price\na,"12,99"\nb,"3,5"\nc,\n')
    data = read_tables(tmp_path / "items.csv", decimal=",")
    prices = dict(zip(data.catalog.ids.values.to_pylist(), data.catalog.column("price").to_pylist(), strict=True))
    assert prices == {"a": 12.99, "b": 3.5, "c": None}


def test_a_rejects_file_is_written_even_when_nothing_was_wrong(tmp_path):
    (tmp_path / "items.csv").write_text("id,title\na,Boot\nb,Tent\n")
    read_tables(tmp_path / "items.csv", rejects=tmp_path / "rejects.csv")
    assert (tmp_path / "rejects.csv").read_text().strip() == '"file","row","column","value","problem"'


def test_at_least_forty_cases_are_published():
    assert len({case.name for case in MALFORMED}) == len(MALFORMED) >= 40
