"""Compare, map, report, gallery: what is drawn is what the server says."""

import json
import re

import pytest

pytest.importorskip("playwright")
from playwright.sync_api import expect

from itemspace.space import Space


def test_compare_marks_what_both_find_and_how_far_it_moves(visit, built):
    with Space.open(built) as space:
        left, right = (space.search("waterproof boots", k=15, by=by).items() for by in ("lexical", "dense"))
    shared = [item for item in left if item in right]
    page = visit("#/compare?q=waterproof+boots&left=lexical&right=dense")
    expect(page.locator(".told")).to_contain_text(f"{len(shared)} of 15 found by both")
    for place, mine, other in (("left", left, right), ("right", right, left)):
        rows = page.locator(f".side-{place} .side-hit")
        assert rows.evaluate_all("rows => rows.map((row) => row.dataset.item)") == mine
        for at, item in enumerate(mine[:6]):
            move = rows.nth(at).locator(".move").inner_text()
            assert (f"#{other.index(item) + 1}" in move) if item in other else move.startswith("not in")
    assert page.locator(".wires path").count() == len(shared)


def test_compare_around_an_item(visit, built):
    with Space.open(built) as space:
        item = space.search("lantern", k=1).items()[0]
        expected = [space.similar(item, by=by, k=15).items() for by in ("text", "behavior")]
    page = visit(f"#/compare?about=item&of={item}")
    expect(page.locator(".told")).to_contain_text("found by both")
    for place, mine in zip(("left", "right"), expected, strict=True):
        assert (
            page.locator(f".side-{place} .side-hit").evaluate_all("rows => rows.map((row) => row.dataset.item)") == mine
        )


@pytest.fixture
def drawn(visit):
    page = visit("#/map")
    expect(page.locator(".told")).to_have_text("301 items")
    expect(page.locator(".legend-item").first).to_be_visible()
    return page


def painted(page):
    """How many pixels of the canvas differ from its first, which is ground."""
    return page.evaluate(
        "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => { const c = document.querySelector('canvas');"
        "const d = new Uint32Array(c.getContext('2d').getImageData(0, 0, c.width, c.height).data.buffer); let n = 0; for (const v of d) n += v !== d[0]; done(n); })))"
    )


def test_a_point_of_the_map_opens_its_item(drawn):
    page = drawn
    box = page.locator("canvas").bounding_box()
    for step in range(400):  # a spiral from the middle, until the pointer is over a point
        radius, angle = 3 * step**0.7, 0.9 * step
        x = box["width"] / 2 + radius * __import__("math").cos(angle)
        y = box["height"] / 2 + radius * __import__("math").sin(angle)
        page.mouse.move(box["x"] + x, box["y"] + y)
        if page.locator(".tip").is_visible():
            break
    label = page.locator(".tip strong").inner_text().rstrip("…")
    page.mouse.down()
    page.mouse.up()
    expect(page.get_by_role("dialog").get_by_role("heading", level=2)).to_contain_text(label)
    expect(page.get_by_role("dialog").locator(".likes li")).to_have_count(8)
    page.get_by_role("dialog").get_by_role("radio", name="by behavior").click()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)


def test_the_legend_hides_and_zooming_moves(drawn):
    page = drawn
    every = painted(page)
    assert every > 500
    item = page.locator(".legend-item").first
    item.click()
    expect(page.locator(".legend-item").first).to_have_attribute("aria-pressed", "false")
    fewer = painted(page)
    assert 0 < fewer < every
    page.get_by_role("button", name="Hide all").click()
    assert painted(page) == 0
    page.get_by_role("button", name="Show all").click()
    assert painted(page) == every
    page.locator("canvas").focus()
    for _ in range(6):
        page.keyboard.press("+")
    assert painted(page) != every
    page.keyboard.press("0")
    page.locator("canvas").blur()
    assert painted(page) == every


def test_the_map_as_a_table(drawn):
    page = drawn
    page.get_by_role("radio", name="Table").click()
    expect(page.get_by_role("row")).to_have_count(51)
    page.get_by_role("searchbox", name="Only rows with").fill("harmless kettle")
    expect(page.get_by_role("row")).to_have_count(2)
    page.get_by_role("row").nth(1).get_by_role("link").click()
    expect(page.get_by_role("dialog").get_by_role("heading", level=2)).to_contain_text("harmless kettle")


def test_the_report_shows_its_numbers_and_gives_its_file(visit, built):
    with Space.open(built) as space:
        report = space.last_report()["search"]
    page = visit("#/report")
    metric, arm = report.metrics[0], report.arms[0]
    value = f"{report.value(metric, arm):.4f}".replace("0.", ".", 1)
    card = page.locator(".card", has=page.get_by_role("heading", name=metric, exact=True)).first
    expect(card.locator("li", has_text=arm).first.locator(".w-value")).to_contain_text(value)
    # An item was added after measuring, and the page says so.
    expect(page.locator(".notes")).to_contain_text("earlier state")
    page.get_by_role("radio", name="Table").click()
    expect(page.get_by_role("region", name="Every number").get_by_role("row")).to_have_count(len(report.measures) + 1)
    with page.expect_download() as download:
        page.get_by_role("button", name="Download JSON").click()
    saved = json.loads(download.value.path().read_text(encoding="utf-8"))
    assert saved == json.loads(report.to_json())


def test_the_gallery_filters_and_tells_three_places(visit, gallery):
    page = visit("#/gallery")
    expect(page.locator(".told")).to_have_text(f"{len(gallery)} systems")
    page.get_by_label("Family").select_option("product_search")
    mine = [row for row in gallery if row["family"] == "product_search"]
    expect(page.locator(".system")).to_have_count(len(mine))
    page.get_by_label("Family").select_option("")
    page.get_by_role("searchbox", name="Only systems with").fill("an old finding")
    expect(page.locator(".system")).to_have_count(1)
    expect(page.locator(".system .badge")).to_have_text("stale")
    page.locator(".system summary").click()
    expect(page.locator(".system .warned")).to_contain_text("changed since")
    claim = next(row for row in gallery if row["slug"] == "an-old-one")["finding"]["claims"][0]
    row = page.get_by_role("row", name=re.compile(re.escape(claim["text"])))
    told = row.get_by_role("cell").all_inner_texts()
    assert [text.split("\n")[0] for text in told] == [
        claim["places"][place]["verdict"] for place in ("positive", "null", "real")
    ]
    page.get_by_role("searchbox", name="Only systems with").fill("walmart_semantic_retrieval")
    expect(page.locator(".system .mono").first).to_have_text("walmart_semantic_retrieval")
    page.locator(".system summary").first.click()
    page.get_by_role("button", name="Source").first.click()
    expect(page.get_by_label("Source of walmart_semantic_retrieval")).to_contain_text("SYSTEM = System(")
    page.get_by_role("searchbox", name="Only systems with").fill("no such thing anywhere")
    page.get_by_role("button", name="Show all").click()
    expect(page.locator(".told")).to_have_text(f"{len(gallery)} systems")
    page.get_by_role("group", name="Only systems in this state").get_by_role(
        "button", name=re.compile("not built$")
    ).click()
    expect(page.locator(".system")).to_have_count(sum(row["state"] == "not built" for row in gallery))
