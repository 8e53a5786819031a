"""What holds in every view: keyboard, names, contrast, phones, keys, prefixes, lost connections."""

import re

import pytest

pytest.importorskip("playwright")
from playwright.sync_api import expect

VIEWS = {
    "search": ("#/search?q=lantern", ".view-search .hits:not(.waiting)"),
    "recommend": ("#/recommend", ".view-recommend .hits:not(.waiting)"),
    "compare": ("#/compare?q=lantern", ".sides"),
    "map": ("#/map", ".legend-item"),
    "report": ("#/report", ".whiskers"),
    "gallery": ("#/gallery?q=walmart", ".system"),
}

CONTRAST = """() => {
  const parse = (text) => { const m = text.match(/[\\d.]+/g).map(Number); return [m[0], m[1], m[2], m.length > 3 ? m[3] : 1]; };
  const over = (top, under) => [0, 1, 2].map((i) => top[i] * top[3] + under[i] * (1 - top[3])).concat(1);
  const light = (c) => { const f = (v) => { v /= 255; return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; };
    return 0.2126 * f(c[0]) + 0.7152 * f(c[1]) + 0.0722 * f(c[2]); };
  const ground = (element) => { const layers = []; for (let e = element; e; e = e.parentElement) { const c = parse(getComputedStyle(e).backgroundColor);
    if (c[3] > 0) { layers.push(c); if (c[3] === 1) break; } } return layers.reverse().reduce((under, top) => over(top, under), [255, 255, 255, 1]); };
  const poor = new Set(); let seen = 0;
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const element = node.parentElement; const box = element.getBoundingClientRect();
    if (!node.data.trim() || !element.checkVisibility() || box.width <= 1 || element.closest('.sr-only, .skip, :disabled, option, svg, noscript')) continue;
    const style = getComputedStyle(element); const under = ground(element);
    let faded = 1; for (let e = element; e; e = e.parentElement) faded *= Number(getComputedStyle(e).opacity);
    const ink = parse(style.color); ink[3] *= faded;
    const [a, b] = [light(over(ink, under)), light(under)].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05); seen += 1;
    const large = parseFloat(style.fontSize) >= 24 || (parseFloat(style.fontSize) >= 18.66 && Number(style.fontWeight) >= 700);
    if (ratio < (large ? 3 : 4.5)) poor.add(`${ratio.toFixed(2)} ${style.color} on ${under.slice(0, 3)}: ${node.data.trim().slice(0, 40)}`);
  }
  return [seen, [...poor]];
}"""

NAMELESS = """() => [...document.querySelectorAll('button, a[href], input, select, summary, [role=application]')].filter((e) => e.checkVisibility()).filter((e) =>
  !(e.getAttribute('aria-label') || e.innerText?.trim() || [...(e.labels ?? [])].some((l) => l.innerText.trim()))).map((e) => e.outerHTML)"""


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_stands_out_and_controls_have_names(visit, theme):
    page = visit(color_scheme=theme)
    for name, (address, settled) in VIEWS.items():
        page.evaluate("(to) => { location.hash = to; }", address)
        expect(page.locator(settled).first).to_be_visible()
        if name == "search":
            page.get_by_role("button", name=re.compile("^Why")).first.click()
            expect(page.locator(".why-ranks").first).to_be_visible()
        if name == "gallery":
            page.locator(".system summary").first.click()
        expect(page.locator("#progress")).to_be_hidden()
        seen, poor = page.evaluate(CONTRAST)
        assert seen > 20, name
        assert poor == [], name
        assert page.evaluate(NAMELESS) == [], name
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", dark)[:3])) < 150) == (theme == "dark")


def test_the_switch_wins_over_the_system_and_is_kept(visit):
    page = visit(color_scheme="light")
    page.get_by_role("button", name="Theme: system").click()
    page.get_by_role("button", name="Theme: light").click()
    page.get_by_role("button", name="Theme: dark").wait_for()
    page.reload()
    assert page.evaluate("getComputedStyle(document.documentElement).colorScheme") == "dark"


def test_a_phone_scrolls_in_one_direction(visit):
    page = visit(viewport={"width": 360, "height": 740}, has_touch=True)
    for name, (address, settled) in VIEWS.items():
        page.evaluate("(to) => { location.hash = to; }", address)
        expect(page.locator(settled).first).to_be_visible()
        wide = page.evaluate("document.documentElement.scrollWidth")
        assert wide <= 360, (name, wide)
    page.evaluate("() => { location.hash = '#/search?q=lantern'; }")
    page.locator(".hit-title a").first.click()
    expect(page.locator(".likes li").first).to_be_visible()
    assert page.evaluate("document.getElementById('item').scrollWidth") <= 360


def test_everything_by_keyboard(visit):
    """Skip link, search, filter, reason, item and back, without a pointer."""
    page = visit("#/search?q=boots")
    expect(page.locator(".hits:not(.waiting) .hit").first).to_be_visible()
    focused = "document.activeElement"
    page.keyboard.press("Tab")
    assert page.evaluate(f"{focused}.id") == "skip"
    page.keyboard.press("Enter")
    assert page.evaluate(f"{focused}.id") == "main"
    page.keyboard.press("Tab")
    assert page.evaluate(f"{focused}.id") == "q"
    assert page.evaluate(f"getComputedStyle({focused}).outlineStyle") == "solid"
    page.keyboard.press("Tab")
    assert page.evaluate(f"{focused}.id") == "where"
    page.keyboard.type("in_stock")
    page.keyboard.press("Enter")
    expect(page.get_by_role("radiogroup", name="in stock").get_by_role("radio", name="yes")).to_be_checked()
    for _ in range(80):
        page.keyboard.press("Tab")
        if page.evaluate(f"{focused}.matches('.hit-title a')"):
            break
    item = page.evaluate(f"{focused}.closest('.hit').dataset.item")
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text(item)
    assert page.evaluate(f"document.getElementById('item').contains({focused})")
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    assert page.evaluate(f"{focused}.closest('.hit')?.dataset.item") == item
    assert "item=" not in page.url
    page.keyboard.press("/")
    assert page.evaluate(f"{focused}.id") == "q"


def test_an_address_opens_the_same_thing(visit, built):
    from itemspace.space import Space

    with Space.open(built) as space:
        item = space.search("lantern", k=1).items()[0]
    page = visit(f"#/search?q=lantern&where=in_stock&sort=-price&item={item}")
    expect(page.get_by_role("dialog")).to_contain_text(item)
    expect(page.locator("#q")).to_have_value("lantern")
    page.go_back() if page.evaluate("history.length") > 2 else page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)


def test_nothing_moves_when_answers_come(visit):
    page = visit()
    expect(page.locator(".told")).to_contain_text("301 items")
    page.evaluate(
        "() => { window.moved = 0; new PerformanceObserver((list) => { for (const e of list.getEntries()) window.moved += e.value; }).observe({ type: 'layout-shift', buffered: true }); }"
    )
    assert page.evaluate("window.moved") < 0.1
    at = "JSON.stringify(['.told', '.facet:nth-child(3)', '.facet:nth-child(6)'].map((s) => document.querySelector(s).getBoundingClientRect().top))"
    before = page.evaluate(at)
    page.locator("#q").fill("lantern")
    expect(page.locator(".hits:not(.waiting) .hit-title").first).to_contain_text(re.compile("lantern", re.I))
    assert page.evaluate(at) == before


def test_behind_a_prefix(visit, serve, application):
    async def prefixed(scope, receive, send):
        if scope["type"] == "http":
            assert scope["path"].startswith("/behind/proxy/"), scope["path"]
            short = {
                "path": scope["path"].removeprefix("/behind/proxy"),
                "raw_path": scope["raw_path"].removeprefix(b"/behind/proxy"),
            }
            return await application({**scope, **short}, receive, send)
        return await _alive(receive, send)

    page = visit("#/search?q=lantern", at=serve(prefixed) + "behind/proxy/")
    expect(page.locator(".hits:not(.waiting) .hit").first).to_be_visible()
    page.get_by_role("link", name="Map", exact=True).click()
    expect(page.locator(".legend-item").first).to_be_visible()


async def _alive(receive, send):
    await receive()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await send({"type": "lifespan.shutdown.complete"})


def test_a_key_is_asked_for_and_stays_in_the_tab(visit, serve, built, tmp_path, gallery):
    from itemspace.serve.app import Application
    from itemspace.serve.config import ServeConfig
    from itemspace.serve.keys import Keys, new_key

    secret, line = new_key("visitor", ["read"])
    file = tmp_path / "keys.txt"
    file.write_text(line + "\n")
    file.chmod(0o600)
    config = ServeConfig.parse({"spaces": {"shop": built}, "key_file": str(file), "logs": {"format": "off"}})
    page = visit("#/search?q=lantern", at=serve(Application(config, keys=Keys.of(config))), expect=["401"])
    page.get_by_role("button", name="Give a key").click()
    page.get_by_label("Key", exact=True).fill("not the one")
    page.get_by_role("button", name="Use it").click()
    expect(page.locator("#state")).to_have_text("key needed")
    page.get_by_role("button", name="Give a key").click()
    page.get_by_label("Key", exact=True).fill(secret)
    page.keyboard.press("Enter")
    expect(page.locator(".hits:not(.waiting) .hit").first).to_be_visible()
    expect(page.locator("#state")).to_have_text("connected")
    assert page.evaluate("sessionStorage['itemspace.key']") == secret
    assert secret not in page.evaluate("JSON.stringify(localStorage) + location.href + document.cookie")


def test_a_lost_connection_says_so_and_comes_back(visit):
    page = visit(expect=["ERR_", "Failed to load"])
    expect(page.locator(".told")).to_contain_text("301 items")
    page.route("**/v1/**", lambda route: route.abort())
    page.locator("#q").fill("lantern")
    expect(page.get_by_role("alert").filter(has_text="No connection")).to_be_visible()
    expect(page.locator("#state")).to_have_text("no connection")
    page.unroute("**/v1/**")
    page.get_by_role("button", name="Try again").click()
    expect(page.locator(".hits:not(.waiting) .hit").first).to_be_visible()
    expect(page.locator("#state")).to_have_text("connected")


def test_spaces_are_switched_and_keep_their_own_history(visit, serve, built):
    from itemspace.serve.app import Application
    from itemspace.serve.config import ServeConfig

    config = ServeConfig.parse({"spaces": {"shop": built, "twin": built}, "logs": {"format": "off"}})
    page = visit("#/recommend", at=serve(Application(config)))
    expect(page.locator(".told")).to_contain_text("Popular")
    page.get_by_role("button", name=re.compile("^Add to history")).first.click()
    expect(page.locator(".chip")).to_have_count(1)
    page.get_by_label("Space").select_option("twin")
    expect(page.locator(".chip")).to_have_count(0)
    expect(page).to_have_url(re.compile("space=twin"))
    page.reload()
    expect(page.get_by_label("Space")).to_have_value("twin")
    page.get_by_label("Space").select_option("shop")
    expect(page.locator(".chip")).to_have_count(1)
