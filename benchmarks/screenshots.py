"""Screenshots of the page for the README: `python benchmarks/screenshots.py [--quick]`.

Builds a demo shop (kept under the benchmarks' workspace), serves it on a free port of this machine, opens every view in a
headless Chromium and writes docs/screenshots/NAME.png, each below 150 KB. Needs the extras serve, image and dev, and a browser.
"""

from __future__ import annotations

import argparse
import io
import shutil
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))

from harness import HOME, workspace

FOLDER = HOME / "docs" / "screenshots"
MOST_BYTES = 150_000
COLORS = (256, 128, 64, 32)
LARGE, PHONE = (1280, 860), (390, 844)
RECIPE = {"encoder": {"name": "lsa", "dimension": 128}, "recommender": {"name": "item-knn"}}
QUERY = "waterproof hiking boots"


@dataclass(frozen=True)
class Shot:
    """One picture. ready: what must be visible first. clicks: what is pressed then, in order; hover: where the pointer rests."""

    name: str
    address: str
    ready: str
    clicks: tuple[str, ...] = ()
    size: tuple[int, int] = LARGE
    theme: str = "light"
    wait: str = ""


def shots(liked: list[str]) -> list[Shot]:
    """What the README shows. liked: items of a history."""
    history = ",".join(liked)
    where = "in_stock+and+price+%3C%3D+120"
    asked = QUERY.replace(" ", "+")
    return [
        Shot(
            "search",
            f"#/search?q={asked}&where={where}&per=variant_of",
            ".hit .adder",
            (".hit:nth-child(1) .hit-actions button",),
            wait=".why-terms",
        ),
        Shot("recommend", f"#/recommend?history={history}", ".hit .because"),
        Shot("compare", f"#/compare?q={asked}&left=lexical&right=dense", ".wires path"),
        Shot("map", "#/map?color=category", ".legend-item"),
        Shot("report", "#/report", ".whiskers"),
        Shot("gallery", "#/gallery", ".system", ("details.system-details, .system details > summary",), wait=".claims"),
        Shot("map-dark", "#/map?color=category", ".legend-item", theme="dark"),
        Shot("search-phone", f"#/search?q={asked}&per=variant_of", ".hit .adder", size=PHONE),
    ]


def built(items: int) -> Path:
    """The demo shop as a Space with its reports and its map; made once."""
    from itemspace.data.worlds.shop import demo_shop
    from itemspace.space import Space

    path = workspace("screenshots", str(items)) / "shop.space"
    if not (path / "reports").is_dir():
        print(f"building {path}")
        shutil.rmtree(path, ignore_errors=True)
        with Space.build(demo_shop(items, items, rng=0), path=path, recipe=RECIPE) as space:
            space.map()
            space.evaluate(keep=True)
    return path


@contextmanager
def serving(path: Path) -> Iterator[str]:
    """The address of a server over the Space while the block runs."""
    import uvicorn

    from itemspace.cli.serve import gallery
    from itemspace.serve.app import Application
    from itemspace.serve.config import ServeConfig

    config = ServeConfig.parse({"spaces": {"shop": path}, "logs": {"format": "off"}})
    server = uvicorn.Server(uvicorn.Config(Application(config, systems=gallery), port=0, log_level="warning"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        if not thread.is_alive():
            raise SystemExit("the server did not start.")
        time.sleep(0.02)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/"
    finally:
        server.should_exit = True
        thread.join(10)


def liked_items(path: Path) -> list[str]:
    """A short history that hangs together: boots, a tent, a backpack, where the shop has them."""
    from itemspace.space import Space

    with Space.open(path) as space:
        found = space.search(["hiking boots", "tent for two", "backpack"], k=1)
        return list(dict.fromkeys(found.items(request)[0] for request in range(len(found))))


def take(browser: Any, home: str, shot: Shot, scale: float) -> bytes:
    """One picture as PNG, of at most MOST_BYTES: with as many colors as fit."""
    width, height = shot.size
    context = browser.new_context(
        viewport={"width": width, "height": height},
        device_scale_factor=scale,
        color_scheme=shot.theme,
        reduced_motion="reduce",
        is_mobile=shot.size == PHONE,
        has_touch=shot.size == PHONE,
    )
    page = context.new_page()
    for _ in range(2):  # the second time nothing is cold
        page.goto("about:blank")
        page.goto(home + shot.address)
        page.locator(shot.ready).first.wait_for()
    for target in shot.clicks:
        page.locator(target).first.click()
    if shot.wait:
        page.locator(shot.wait).first.wait_for()
    page.locator("#progress").wait_for(state="hidden")
    page.evaluate("document.activeElement?.blur()")
    page.mouse.move(width - 2, height - 2)
    page.wait_for_timeout(400)
    taken = page.screenshot()
    context.close()
    for colors in COLORS:
        made = compressed(taken, colors)
        if len(made) <= MOST_BYTES:
            return made
    raise SystemExit(f"{shot.name}: {len(made):,} bytes with {COLORS[-1]} colors; at most {MOST_BYTES:,} are wanted.")


def compressed(png: bytes, colors: int) -> bytes:
    """The picture in few colors: half of them the most frequent as they are (the flat colors of the page), the others those
    that were farthest from all kept so far (small marks in a color of their own). Every pixel takes the nearest."""
    from PIL import Image

    rgb = np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))
    packed = rgb.astype(np.int64) @ np.array([65_536, 256, 1])
    found, place, count = np.unique(packed, return_inverse=True, return_counts=True)
    parts = found[:, None] // np.array([65_536, 256, 1]) % 256
    chosen = np.argsort(-count, kind="stable")[: colors // 2].tolist()
    far = np.full(len(parts), np.inf)
    nearest = np.zeros(len(parts), np.int64)
    for at in range(min(colors, len(parts))):
        if at >= len(chosen):
            chosen.append(int((far * np.sqrt(count)).argmax()))
        off = ((parts - parts[chosen[at]]) ** 2).sum(1)
        nearest, far = np.where(off < far, at, nearest), np.minimum(off, far)
    picture = Image.fromarray(nearest[place].reshape(packed.shape).astype(np.uint8), "P")
    picture.putpalette(parts[chosen].astype(np.uint8).tobytes())
    out = io.BytesIO()
    picture.save(out, "PNG", optimize=True)
    return out.getvalue()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a small shop, pictures into the workspace")
    parser.add_argument("--only", help="one picture by name")
    options = parser.parse_args()
    from playwright.sync_api import sync_playwright

    path = built(400 if options.quick else 4_000)
    folder = workspace("screenshots", "quick") if options.quick else FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    browser_path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    with serving(path) as home, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_path, args=["--no-sandbox"])
        for shot in shots(liked_items(path)):
            if options.only in (None, shot.name):
                data = take(browser, home, shot, 1.0 if options.quick else 1.5)
                (folder / f"{shot.name}.png").write_bytes(data)
                print(f"{folder / shot.name}.png: {len(data):,} bytes")
        browser.close()


if __name__ == "__main__":
    main()
