"""The plan's tables follow the figures: the arithmetic on figures made up for it, and the page as it stands."""

import json

import pytest
import scale_page


def figures(folder, **tables):
    """Published results: name -> {title: (columns, rows)}."""
    for name, found in tables.items():
        made = [{"title": title, "columns": columns, "rows": rows} for title, (columns, rows) in found.items()]
        (folder / f"{name}.json").write_text(json.dumps({"tables": made}))
    return scale_page.Figures(folder)


def test_a_cost_is_multiplied_and_grows_by_its_power(tmp_path):
    spent = (["items", "indexing vectors"], [[100_000, 10.0], [1_000_000, 200.0]])
    whole = (["items", "search p50"], [[250_000, 2.0], [1_000_000, 4.0]])
    builds = (
        ["index", "CPU s", "on disk MB"],
        [["lists", 100.0, 1_000_000 * 100 / 2**20], ["flat", 1.0, 1_000_000 * 1_000 / 2**20]],
    )
    asked = (["index", "queries per CPU-s, batch 1,000", "recall"], [["lists", 1_000.0, 0.96], ["flat", 100.0, 1.0]])
    found = figures(
        tmp_path,
        scale={"Where a build spends its seconds": spent, "Measured": whole},
        ann={
            "Builds with two threads, synthetic: few": builds,
            "Unfiltered search at recall .95, synthetic: few": asked,
        },
    )
    rows = {row[0]: row[1:] for row in scale_page.units(found)[1]}
    assert rows["indexing vectors (HNSW, 256 dimensions)"] == ["1,000,000 items", "200 µs", "2.3 days", "3.5 hours"]
    assert scale_page.power(found.table("scale", "Measured"), "search p50") == pytest.approx(0.5)
    held = {row[0]: row[1:] for row in scale_page.indexes(found)[1]}
    assert held["lists"][:2] == ["100", "100 GB"]
    cut = {row[0]: row[1:] for row in scale_page.shards(found)[1]}
    assert cut["lists"][0] == 2  # 76.8 GB of 100 bytes each
    assert cut["lists"][1] == "768 million"
    assert cut["lists"][3] == f"{768**0.5:,.2f} ms"
    assert cut["flat"][0] == 14
    assert cut["flat"][3] == f"{76.8 * 10:,.2f} ms"


def test_what_was_not_measured_has_no_row(tmp_path):
    empty = scale_page.Figures(tmp_path)
    for make in scale_page.TABLES.values():
        columns, rows = make(empty)
        assert columns
        assert rows == []


def test_every_table_of_the_page_is_known_and_filled():
    text = scale_page.PAGE.read_text(encoding="utf-8")
    again = scale_page.filled(text, scale_page.Figures())
    assert again.count("<!-- end -->") == len(scale_page.TABLES)
    assert scale_page.filled(again, scale_page.Figures()) == again
    with pytest.raises(KeyError):
        scale_page.filled("<!-- nothing -->\nx\n<!-- end -->", scale_page.Figures())
