"""Building a history on the page: every answer follows it and says which chosen item spoke for it."""

import re

import pytest

pytest.importorskip("playwright")
from playwright.sync_api import expect

HITS = ".hits:not(.waiting) > .hit"


def settled(page):
    expect(page.locator(".results")).to_have_attribute("aria-busy", "false")


def items(page):
    settled(page)
    return page.locator(HITS).evaluate_all("rows => rows.map((row) => row.dataset.item)")


def choose(page, at):
    """Add the hit at a place, and return its title."""
    row = page.locator(HITS).nth(at)
    title = row.locator(".hit-title").inner_text()
    size = page.locator(".chip").count()
    row.get_by_role("button", name=re.compile("^Add to history")).click()
    expect(page.locator(".chip")).to_have_count(size + 1)
    settled(page)
    return title


def test_choosing_changes_the_answers_and_each_says_why(visit):
    page = visit("#/recommend")
    expect(page.locator(".told")).to_contain_text("Popular with everyone")
    popular = items(page)
    first = choose(page, 0)
    expect(page.locator(".told")).to_contain_text("1 chosen item")
    after_one = items(page)
    assert after_one != popular
    assert popular[0] not in after_one
    expect(page.locator(f"{HITS} .because").first).to_contain_text(f"because you chose {first}")
    second = choose(page, 4)
    assert items(page) != after_one
    told = " ".join(page.locator(f"{HITS} .because").all_inner_texts())
    assert first in told
    assert second in told


def test_the_history_is_moved_removed_cleared_and_kept(visit):
    page = visit("#/recommend")
    expect(page.locator(".told")).to_contain_text("Popular")
    names = [choose(page, 0), choose(page, 1)]
    chips = page.locator(".chip-title")
    assert chips.all_inner_texts() == names
    page.get_by_role("button", name=f"Move later: {names[0]}").click()
    expect(chips.first).to_have_text(names[1])
    page.reload()
    expect(chips).to_have_text(names[::-1])
    expect(page).to_have_url(re.compile("history="))
    page.get_by_role("button", name=f"Remove: {names[1]}").click()
    expect(chips).to_have_text([names[0]])
    page.get_by_role("button", name="Clear all").click()
    expect(page.locator(".told")).to_contain_text("Popular with everyone")
    assert page.evaluate("JSON.parse(localStorage['itemspace.history.shop']).items") == []


def test_a_link_brings_its_history(visit, built):
    from itemspace.space import Space

    with Space.open(built) as space:
        chosen = space.search("lantern", k=2).items()
        expected = space.recommend(history=chosen, k=20).items()
        name = space.fields([int(space.catalog.ids.find(chosen)[0])], ["title"])[0]["title"]
    page = visit(f"#/recommend?history={','.join(chosen)}")
    expect(page.locator(".chip-title").first).to_have_text(name)
    assert items(page) == expected


def test_known_and_unknown_users(visit, built):
    from itemspace.space import Space

    with Space.open(built) as space:
        user = str(space.users.decode([0])[0])
        expected = space.recommend(user=user, k=20).items()
    page = visit("#/recommend")
    expect(page.locator(".told")).to_contain_text("Popular")
    page.get_by_label("Known user").fill(user)
    page.get_by_role("button", name="Show", exact=True).click()
    expect(page.locator(".told")).to_contain_text(f"For user {user}")
    assert items(page) == expected
    page.get_by_label("Known user").fill("nobody at all")
    page.get_by_role("button", name="Show", exact=True).click()
    expect(page.locator(".notes")).to_contain_text("unknown")


def test_similar_by_words_or_behavior(visit, built):
    from itemspace.space import Space

    with Space.open(built) as space:
        item = space.search("lantern", k=1).items()[0]
        expected = {by: space.similar(item, by=by, k=20).items() for by in ("text", "behavior")}
    page = visit(f"#/recommend?history={item}")
    expect(page.locator(".told")).to_contain_text("1 chosen item")
    source = page.get_by_role("radiogroup", name="Recommend from")
    source.get_by_role("radio", name="words of the last").click()
    expect(page.locator(".told")).to_contain_text("Like ")
    assert items(page) == expected["text"]
    page.keyboard.press("ArrowRight")
    expect(source.get_by_role("radio", name="behavior around the last")).to_be_checked()
    assert items(page) == expected["behavior"]
