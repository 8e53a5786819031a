"""Searching on the page: letters, filters, reasons, and what a hostile title can do (nothing)."""

import re

import pytest

pytest.importorskip("playwright")
from playwright.sync_api import expect

from itemspace.space import Space

HITS = ".hits:not(.waiting) > .hit"


def titles(page):
    return page.locator(f"{HITS} .hit-title").all_inner_texts()


def told(page, text):
    expect(page.locator(".told")).to_have_text(re.compile(text))


def test_hits_change_as_one_types(visit):
    page = visit()
    told(page, "301 items")
    before = titles(page)
    page.get_by_role("combobox", name="Search").press_sequentially("lantern", delay=10)
    expect(page.locator(HITS).first.locator(".hit-title")).to_contain_text(re.compile("lantern", re.I))
    assert titles(page) != before
    told(page, r"^\d+ items? · [\d.]+ ms")
    expect(page).to_have_url(re.compile("q=lantern"))  # the address follows the last letter a moment later


def test_a_slow_answer_to_older_letters_is_never_shown(visit):
    page = visit()
    told(page, "301 items")
    held = []

    def hold(route):
        if '"query":"boots"' in (route.request.post_data or ""):
            held.append(route)
        else:
            route.continue_()

    page.route("**/search", hold)
    box = page.get_by_role("combobox", name="Search")
    box.fill("boots")
    for _ in range(500):
        if held:
            break
        page.wait_for_timeout(20)
    box.fill("lantern")
    expect(page.locator(HITS).first.locator(".hit-title")).to_contain_text(re.compile("lantern", re.I))
    assert held
    for route in held:
        route.abort()
    assert "lantern" in titles(page)[0].lower()


def test_a_checked_value_keeps_only_what_matches_and_writes_the_filter(visit, built):
    page = visit()
    told(page, "301 items")
    facet = page.locator("details.facet", has=page.locator("summary", has_text="category"))
    first, second = (facet.locator(".check-label").nth(i).inner_text() for i in (0, 1))
    facet.get_by_role("checkbox").nth(0).check()
    where = page.get_by_role("textbox", name="Filter")
    expect(where).to_have_value(f"category = '{first}'")
    size = int(facet.locator("li", has_text=first).locator(".check-count").inner_text().replace(",", ""))
    told(page, rf"^{size} items?")
    with Space.open(built) as space:
        expected = space.search("", k=20, where=f"category = '{first}'").items()
    assert page.locator(HITS).evaluate_all("rows => rows.map((row) => row.dataset.item)") == expected
    # The other values keep their counts: choosing a second one widens.
    facet.locator("li", has_text=second).get_by_role("checkbox").check()
    expect(where).to_have_value(f"category in ('{first}', '{second}')")
    more = int(facet.locator("li", has_text=second).locator(".check-count").inner_text().replace(",", ""))
    told(page, rf"^{size + more} items?")


def test_the_filter_text_moves_the_lists_and_keeps_what_they_do_not_know(visit):
    page = visit("#/search?where=in_stock+and+title+contains+%27a%27")
    where = page.get_by_role("textbox", name="Filter")
    expect(where).to_have_value("in_stock and title contains 'a'")
    stock = page.get_by_role("radiogroup", name="in stock")
    expect(stock.get_by_role("radio", name="yes")).to_be_checked()
    stock.get_by_role("radio", name="no").check()
    expect(where).to_have_value("not in_stock and title contains 'a'")
    page.get_by_label("price: at most").fill("60")
    expect(where).to_have_value("not in_stock and title contains 'a' and price <= 60")
    expect(page.locator(".hits")).to_be_visible()
    where.fill("price <= 60")
    where.press("Enter")
    expect(stock.get_by_role("radio", name="any")).to_be_checked()
    expect(page.get_by_label("price: at most")).to_have_value("60")


def test_a_filter_that_cannot_be_read_says_why_and_keeps_the_answers(visit):
    page = visit(expect=["422"])
    told(page, "301 items")
    where = page.get_by_role("textbox", name="Filter")
    where.fill("prise < 80")
    where.press("Enter")
    expect(page.locator("#where-problem")).to_contain_text("price")
    expect(where).to_have_attribute("aria-invalid", "true")
    assert page.locator(HITS).count() == 20
    page.get_by_role("button", name="Clear", exact=True).click()
    expect(page.locator("#where-problem")).to_be_empty()


def test_why_tells_ranks_and_words(visit):
    page = visit("#/search?q=lantern")
    why = page.locator(HITS).first.get_by_role("button", name=re.compile("^Why"))
    why.click()
    panel = page.locator(HITS).first.locator(".panel")
    expect(panel).to_contain_text("lexical")
    expect(panel).to_contain_text("#1")
    expect(panel.get_by_role("row", name=re.compile("lantern"))).to_be_visible()
    expect(why).to_have_attribute("aria-expanded", "true")


def test_sorting_and_more(visit):
    page = visit()
    told(page, "301 items")
    page.get_by_label("Sort").select_option("price")
    expect(page.locator(HITS).first).to_contain_text("price")
    expect(page.locator(".results")).to_have_attribute("aria-busy", "false")
    page.get_by_role("button", name=re.compile("^Show 20 more")).click()
    expect(page.locator(HITS)).to_have_count(40)
    prices = [float(re.search(r"price ([\d.]+)", text)[1]) for text in page.locator(f"{HITS} .facts").all_inner_texts()]
    assert prices == sorted(prices)
    assert page.locator(f"{HITS} .hit-rank").last.inner_text() == "40"


def test_nothing_found_says_what_to_do(visit):
    page = visit("#/search?where=price+%3C+0")
    page.get_by_role("button", name="Clear the filter").click()
    told(page, "301 items")


def test_markup_in_a_title_stays_text(visit):
    page = visit("#/search?q=harmless+kettle&where=brand+%3D+%27O%27%27Neil+%26+%3Cb%3ESons%3C%2Fb%3E%27")
    expect(page.locator(HITS)).to_have_count(1)
    expect(page.locator(f"{HITS} .hit-title")).to_contain_text("<img src=x onerror=")
    expect(page.get_by_role("checkbox", name=re.compile("O'Neil"))).to_be_checked()
    page.locator(f"{HITS} .hit-title a").click()
    expect(page.get_by_role("dialog").get_by_role("heading", level=2)).to_contain_text("<script>")
    page.keyboard.press("Escape")
    page.get_by_role("button", name=re.compile("^Add to history")).click()
    page.get_by_role("link", name="Recommend").click()
    expect(page.locator(".chip-title")).to_contain_text("<img src=x")
    assert page.locator("main img, dialog img, main script").count() == 0
    assert page.evaluate("window.hacked") is None


def test_suggestions_by_keyboard(visit):
    page = visit()
    told(page, "301 items")
    box = page.get_by_role("combobox", name="Search")
    box.press_sequentially("wat", delay=10)
    options = page.get_by_role("listbox").get_by_role("option")
    expect(options.first).to_be_visible()
    expect(box).to_have_attribute("aria-expanded", "true")
    box.press("ArrowDown")
    expect(options.first).to_have_attribute("aria-selected", "true")
    assert box.get_attribute("aria-activedescendant") == options.first.get_attribute("id")
    text = options.first.locator(".option-text").inner_text()
    box.press("Enter")
    expect(box).to_have_value(text)
    expect(box).to_have_attribute("aria-expanded", "false")


WHERE = [
    "price < 80 and in_stock",
    "brand = 'O''Neil' and not in_stock",
    "category in ('a', 'b') and price >= 10 and price < 20",
    "('red' in colors or 'blue' in colors) and price <= 5",
    "a = 1 or b = 2",
    "(a = 1 or b = 2) and price > 3",
    "`list price` < 5",
    "title contains 'x and y' and x is not null",
    "not (a and b) and c starts with 'd'",
]


def test_filter_texts_are_read_and_written_without_loss(visit, site):
    """What the lists write means to the server's reader what was typed; where nothing is touched, not a letter changes."""
    from itemspace.core.where import parse_where

    page = visit("#/gallery")
    read = "async (texts) => { const w = await import('./static/where.js'); return texts.map((t) => w.write(w.parse(t))); }"
    for text, back in zip(WHERE, page.evaluate(read, WHERE), strict=True):
        assert str(parse_where(back)) == str(parse_where(text)), back
    added = "async (text) => { const w = await import('./static/where.js'); return w.write(w.withClause(w.parse(text), 'n', {kind: 'in', column: 'n', values: [\"it's\", 'b']})); }"
    assert page.evaluate(added, "a = 1 or b = 2") == "(a = 1 or b = 2) and n in ('it''s', 'b')"


def test_a_rule_says_what_it_did(visit, serve, built, tmp_path):
    from itemspace.serve.app import Application
    from itemspace.serve.config import ServeConfig

    rules = tmp_path / "rules.toml"
    rules.write_text('[[rules]]\nname = "kettle of the week"\naction = "pin"\nitems = ["X1"]\ncontains = "lantern"\n')
    config = ServeConfig.parse({"spaces": {"shop": built}, "rules": {"shop": str(rules)}, "logs": {"format": "off"}})
    page = visit("#/search?q=lantern", at=serve(Application(config)))
    expect(page.locator(HITS).first.locator(".hit-title")).to_contain_text("harmless kettle")
    expect(page.locator(HITS).first.locator(".ruled")).to_contain_text("kettle of the week")
    expect(page.locator(".notes")).to_contain_text("kettle of the week")
    assert page.locator(".ruled").count() == 1
