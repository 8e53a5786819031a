"""The user's own tables: guesses, overrides, joins, and the same catalogue from every format."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from itemspace.core.dataset import Dataset
from itemspace.core.errors import DataError, RecipeError
from itemspace.data.files import load_lines
from itemspace.data.read import matching, read
from itemspace.data.reader import Reader
from itemspace.data.tables import read_tables

ROWS = [
    {
        "sku": "007",
        "title": "Hiking boot",
        "price": 12.5,
        "stock": 3,
        "brand": "Acme",
        "released": "2020-01-05",
        "tags": ["a", "b"],
    },
    {
        "sku": "8",
        "title": "Tent for two",
        "price": 99.0,
        "stock": 0,
        "brand": "Acme",
        "released": "2021-03-01",
        "tags": [],
    },
    {"sku": "9", "title": "Rope", "price": None, "stock": 12, "brand": "Zed", "released": None, "tags": ["c"]},
]


def csv_text(rows, delimiter=","):
    names = [n for n in rows[0] if n != "tags"]
    lines = [delimiter.join("" if r[n] is None else str(r[n]) for n in names) for r in rows]
    return delimiter.join(names) + "\n" + "\n".join(lines) + "\n"


@pytest.fixture
def written(tmp_path):
    pq.write_table(pa.Table.from_pylist(ROWS), tmp_path / "p.parquet")
    (tmp_path / "c.csv").write_text(csv_text(ROWS))
    (tmp_path / "t.tsv").write_text(csv_text(ROWS, "\t"))
    (tmp_path / "l.jsonl").write_text("".join(json.dumps(r) + "\n" for r in ROWS))
    (tmp_path / "j.json").write_text(json.dumps(ROWS))
    (tmp_path / "m.json").write_text(json.dumps({r["sku"]: {k: v for k, v in r.items() if k != "sku"} for r in ROWS}))
    (tmp_path / "bom.csv").write_bytes(b"\xef\xbb\xbf" + csv_text(ROWS).replace("\n", "\r\n").encode())
    return tmp_path


@pytest.mark.parametrize("name", ["p.parquet", "c.csv", "t.tsv", "l.jsonl", "j.json", "m.json", "bom.csv"])
def test_every_format_gives_the_same_items(written, name):
    catalog = read(written / name).catalog
    assert sorted(catalog.ids.values.to_pylist()) == ["007", "8", "9"]
    boot, rope = catalog.item("007"), catalog.item("9")
    assert (boot["title"], boot["price"], boot["stock"], rope["price"], rope["released"]) == (
        "Hiking boot",
        12.5,
        3,
        None,
        None,
    )
    kinds = {n: catalog.schema[n] for n in ("title", "price", "stock", "brand")}
    assert kinds == {"title": "text", "price": "number", "stock": "number", "brand": "category"}
    if name != "p.parquet":
        assert catalog.schema["released"] == "time"


def test_kinds_are_as_the_user_says(written):
    catalog = read(written / "c.csv", kinds={"title": "id", "sku": "category", "stock": "category"}).catalog
    assert catalog.schema.id == "title"
    assert catalog.item("Rope")["stock"] == "12"
    assert catalog.schema.reasons["stock"] == "as you said"


def test_a_folder_of_parts_is_joined_by_id(tmp_path):
    (tmp_path / "products.csv").write_text(csv_text(ROWS))
    (tmp_path / "events.jsonl").write_text(
        "".join(json.dumps({"visitor_id": u, "sku": i, "ts": t, "event": e}) + "\n" for u, i, t, e in [
            ("x", "9", 1_600_000_100_000, "view"), ("x", "007", 1_600_000_000_000, "buy"), ("y", "8", 1_600_000_200_000, "view"),
        ])
    )  # fmt: skip
    (tmp_path / "queries.csv").write_text("query_id,text\nq1,boots\nq2,rope\n")
    (tmp_path / "judgments.csv").write_text("query_id,sku,grade\nq1,007,3\nq1,9,0\nq2,9,2\n")
    (tmp_path / "impressions.csv").write_text(
        "session_id,query,sku,rank,clicked\ns1,boots,007,1,true\ns1,boots,8,2,false\ns1,rope,9,1,true\n"
    )
    data = Dataset.read(tmp_path)
    log, shown = data.interactions, data.impressions
    x = int(log.users.rows(["x"])[0])
    assert data.catalog.ids.decode(log.histories[x]) == ["007", "9"]
    assert log.history_times[x].tolist() == [1_600_000_000, 1_600_000_100]
    assert sorted(log.events) == ["buy", "view"]
    assert any("milliseconds" in note for note in data.source["notes"])
    graded = zip(data.catalog.ids.decode(data.judgments.items.values), data.judgments.grades.tolist(), strict=True)
    assert sorted(graded) == [("007", 3.0), ("9", 0.0), ("9", 2.0)]
    assert sorted(data.catalog.ids.decode(data.judgments.items[0])) == ["007", "9"]
    assert (shown.position.tolist(), shown.request.tolist(), shown.outcome.tolist()) == (
        [0, 1, 0],
        [0, 0, 1],
        [1, 0, 1],
    )


def test_a_log_alone_makes_a_catalog_of_its_items(tmp_path):
    (tmp_path / "interactions.csv").write_text("user,item\nu,a\nu,b\nv,a\n")
    data = Dataset.read(tmp_path / "interactions.csv")
    assert sorted(data.catalog.ids.values.to_pylist()) == ["a", "b"]
    assert data.order == "file"


def test_unknown_items_can_be_added(tmp_path):
    (tmp_path / "items.csv").write_text("id,title\na,Boot\n")
    (tmp_path / "log.csv").write_text("user,item\nu,a\nu,zz\n")
    data = read_tables(tmp_path / "items.csv", interactions=tmp_path / "log.csv", unknown="add")
    assert data.catalog.item("zz") == {"id": "zz", "title": None}
    assert data.catalog.ids.decode(data.interactions.item) == ["a", "zz"]


def test_items_added_by_a_later_log_keep_every_row_right(tmp_path):
    """Interactions, impressions and judgments each bring items of their own; all must speak of the same rows."""
    (tmp_path / "items.csv").write_text("id,title\n" + "".join(f"i{n},Thing\n" for n in range(30)))
    (tmp_path / "log.csv").write_text("user,item\nu,i1\nu,new1\n")
    (tmp_path / "judged.csv").write_text("query,item,grade\nboots,i2,1\nboots,new2,3\n")
    (tmp_path / "shown.csv").write_text("session_id,item,rank,clicked\ns,i3,1,true\ns,new3,2,false\n")
    data = read_tables(
        tmp_path / "items.csv", interactions=tmp_path / "log.csv", judgments=tmp_path / "judged.csv",
        impressions=tmp_path / "shown.csv", unknown="add",
    )  # fmt: skip
    assert len(data.catalog) == 33
    decode = data.catalog.ids.decode
    assert decode(data.interactions.item) == ["i1", "new1"]
    assert decode(data.impressions.item) == ["i3", "new3"]
    judged = dict(zip(decode(data.judgments.items.values), data.judgments.grades.tolist(), strict=True))
    assert judged == {"i2": 1.0, "new2": 3.0}


@pytest.mark.parametrize(("policy", "title"), [("first", "Boot"), ("last", "Boots")])
def test_repeated_ids_are_settled_as_said_and_counted(tmp_path, policy, title):
    (tmp_path / "items.csv").write_text("id,title\na,Boot\nb,Tent\na,Boots\n")
    data = read(tmp_path / "items.csv", duplicates=policy)
    assert data.catalog.item("a")["title"] == title
    assert data.source["notes"] == [f"items.csv: 1 row repeats an ID; the {policy} row of each was kept"]


def test_columns_are_as_the_user_says(tmp_path):
    (tmp_path / "items.csv").write_text("id,title\na,Boot\nb,Tent\n")
    (tmp_path / "log.csv").write_text("who,what,when\nu,a,2020-01-01T00:00:00Z\nu,b,2020-01-01T01:00:00+01:00\n")
    data = read_tables(
        tmp_path / "items.csv",
        interactions=tmp_path / "log.csv",
        columns={"user": "who", "item": "what", "time": "when"},
    )
    assert data.interactions.time.tolist() == [1_577_836_800, 1_577_836_800]


def test_codes_with_leading_zeros_are_not_numbers(tmp_path):
    (tmp_path / "items.csv").write_text("id,zip\na,01234\nb,56789\n")
    assert read(tmp_path / "items.csv").catalog.item("a")["zip"] == "01234"


def test_times_of_every_unit_are_the_same_moments(tmp_path):
    (tmp_path / "items.csv").write_text("id,title\na,Boot\nb,Tent\n")
    expected = [1_600_000_000, 1_600_000_001]
    for scale in (1, 10**3, 10**6, 10**9):
        pq.write_table(
            pa.table({"user": ["u", "u"], "item": ["a", "b"], "time": np.array(expected) * scale}),
            tmp_path / "log.parquet",
        )
        data = read_tables(tmp_path / "items.csv", interactions=tmp_path / "log.parquet")
        assert data.interactions.time.tolist() == expected


def test_options_are_checked_against_the_reader(written):
    with pytest.raises(RecipeError, match="unknown key `delimter`"):
        read(written / "c.csv", delimter=";")
    assert matching(written / "c.csv") == ["tables"]


def test_a_folder_whose_folders_can_be_read_says_so(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "items.csv").write_text("id,title\na,Boot\n")
    with pytest.raises(DataError, match="its folders can be read: mine"):
        read(tmp_path)


def test_an_option_of_no_reader_is_refused_with_the_nearest(tmp_path):
    (tmp_path / "items.csv").write_text("id,title\na,Boot\n")
    with pytest.raises(RecipeError, match=r"unknown option `decimals`\. Did you mean `decimal`"):
        read_tables(tmp_path / "items.csv", decimals=",")


class PipeReader(Reader):
    """A format of someone else's: `id|title` lines."""

    name = "pipes"
    looks_for = "*.pipe"

    @classmethod
    def matches(cls, path):
        return path.suffix == ".pipe"

    def read(self, path, reading):
        frame = load_lines(path, reading.rejects, separator="|", names=["id", "title"])
        return reading.dataset(path, self.name, reading.catalog(frame))


def test_a_reader_of_someone_elses_is_used_by_its_import_path(tmp_path):
    (tmp_path / "x.pipe").write_text("a|Boot\nb|Tent\n")
    data = read(tmp_path / "x.pipe", reader=f"{PipeReader.__module__}:PipeReader")
    assert data.catalog.item("a") == {"id": "a", "title": "Boot"}
    (tmp_path / "x.pipe").write_text("a|Boot\na|Tent\n")
    with pytest.raises(DataError, match=r'x\.pipe, row 2, column "id": the ID "a" occurs a second time'):
        read(tmp_path / "x.pipe", reader=f"{PipeReader.__module__}:PipeReader")


@pytest.mark.parametrize("asked", [("q1", "q2"), ("boots", "rope"), ("q1", "boots")])
def test_queries_of_a_log_that_are_ids_are_read_by_their_texts(tmp_path, asked):
    (tmp_path / "items.csv").write_text(csv_text(ROWS))
    (tmp_path / "queries.csv").write_text("query_id,text\nq1,boots\nq2,rope\n")
    one, other = asked
    (tmp_path / "shown.csv").write_text(
        f"session_id,query,sku,rank,clicked\ns1,{one},007,1,true\ns1,{one},8,2,false\ns2,{other},9,1,true\n"
    )
    names = {name: tmp_path / f"{name}.csv" for name in ("items", "queries")}
    data = read_tables(names["items"], queries=names["queries"], impressions=tmp_path / "shown.csv")
    shown = data.impressions
    said = [shown.queries[row] for row in shown.query.tolist()]
    assert said == (["q1", "q1", "boots"] if one == "q1" and other == "boots" else ["boots", "boots", "rope"])
