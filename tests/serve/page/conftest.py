"""The page in a headless browser, before the real server over a small shop."""

import shutil
import threading
import time

import pytest

from itemspace.data.worlds.shop import demo_shop
from itemspace.space import Space

RECIPE = {"encoder": {"name": "lsa", "dimension": 32}, "recommender": {"name": "item-knn"}}
HOSTILE = '<img src=x onerror="window.hacked=1"><script>window.hacked=1</script> harmless kettle'
BRAND = "O'Neil & <b>Sons</b>"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def executable():
    """The browser of this machine, or None."""
    return next((path for name in BROWSERS if (path := shutil.which(name))), None)


@pytest.fixture(scope="session")
def built(tmp_path_factory):
    """A shop with a hostile title, a brand full of quotes, and its reports."""
    path = tmp_path_factory.mktemp("page") / "shop.space"
    with Space.build(demo_shop(300, 200, rng=3), path=path, recipe=RECIPE) as space:
        space.evaluate(keep=True)
        space.add(
            [{"item_id": "X1", "title": HOSTILE, "brand": BRAND, "category": "kitchen", "price": 7.0, "in_stock": True}]
        )
        space.map()
    return path


@pytest.fixture(scope="session")
def gallery():
    """The real listing, one of its measured systems marked stale."""
    from itemspace.systems import gallery_rows

    rows = gallery_rows()
    measured = next(row for row in rows if row.get("finding"))
    rows.append(measured | {"n": 9999, "slug": "an-old-one", "title": "An old finding", "state": "stale"})
    return rows


@pytest.fixture(scope="session")
def serve():
    """Start applications on free ports of this machine; each is stopped at the end."""
    import uvicorn

    running = []

    def start(app):
        server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning", lifespan="on"))
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        until = time.monotonic() + 30
        while not server.started:
            assert thread.is_alive(), "the server did not start"
            assert time.monotonic() < until, "the server did not start in time"
            time.sleep(0.02)
        running.append((server, thread))
        return f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/"

    yield start
    for server, thread in running:
        server.should_exit = True
        thread.join(10)


@pytest.fixture(scope="session")
def application(built, gallery):
    from itemspace.serve.app import Application
    from itemspace.serve.config import ServeConfig

    config = ServeConfig.parse({"spaces": {"shop": built}, "logs": {"format": "off"}})
    return Application(config, systems=lambda: gallery)


@pytest.fixture(scope="session")
def site(serve, application):
    """The address of a server over the shop."""
    return serve(application)


# Playwright's loop runs in this thread as long as it is open: it is closed before other folders' tests run loops of their own.
@pytest.fixture(scope="package")
def browser():
    found = executable()
    if found is None:
        pytest.skip("no browser on this machine")
    sync = pytest.importorskip("playwright.sync_api")
    sync.expect.set_options(timeout=15_000)  # slow machines; nothing here waits for a time
    with sync.sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield launched
        launched.close()


@pytest.fixture
def visit(browser, site):
    """Open a view in a fresh browser profile. Ends with: no error was told, and nothing was asked of another origin."""
    opened, errors, strangers, expected = [], [], [], []

    def go(address="#/search", *, at=None, expect=(), **options):
        home = at or site
        expected.extend(expect)
        context = browser.new_context(
            **{"viewport": {"width": 1180, "height": 860}, "reduced_motion": "reduce", **options}
        )
        opened.append(context)
        page = context.new_page()
        page.set_default_timeout(20_000)
        page.on(
            "console", lambda message: errors.append(message.text) if message.type in ("error", "warning") else None
        )
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on(
            "request",
            lambda request: None if request.url.startswith((home, "blob:")) else strangers.append(request.url),
        )
        page.goto(home + address)
        return page

    yield go
    for context in opened:
        context.close()
    assert [error for error in errors if not any(part in error for part in expected)] == []
    assert strangers == []
