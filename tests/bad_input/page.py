"""`python -m tests.bad_input.page` writes docs/bad-input.md: every malformed input, and the message it gets."""

from __future__ import annotations

import itertools
import tempfile
import warnings
from pathlib import Path

from itemspace.data.worlds.shop import demo_shop
from itemspace.space import Space
from tests.bad_input.case import Case
from tests.bad_input.cases import CASES
from tests.bad_input.messages import refusal, told

PAGE = Path(__file__).parents[2] / "docs" / "bad-input.md"
LINES = 3
WIDTH = 260

HEAD = """# Malformed input

{count} inputs that something is wrong with, and the message each gets. All are errors of `itemspace.ItemspaceError`, printed on
the command line as one message with exit status 2; a refused input changes nothing on disk. The messages here are real:
`python -m tests.bad_input.page` provokes every case and writes this page, and a test compares the two. Messages are cut
after {lines} lines.
"""


def build_shop(path: Path) -> None:
    """The small shop that the cases ask and change."""
    Space.build(demo_shop(300, 150, rng=3), path=path, recipe={"encoder": {"name": "lsa", "dimension": 32}}).close()


def page(space: Space, work: Path) -> str:
    """The page's text; cases run in folders of their own under `work`."""
    parts = [HEAD.format(count=len(CASES), lines=LINES)]
    for area, cases in itertools.groupby(CASES, key=lambda case: case.area):
        parts += [f"\n## {area.capitalize()}\n", "| input | message |", "|---|---|"]
        parts += [_row(case, _message(case, work / f"{area}-{at}", space)) for at, case in enumerate(cases)]
    return "\n".join(parts) + "\n"


def _message(case: Case, folder: Path, space: Space) -> str:
    folder.mkdir(parents=True)
    if case.prepare is not None:
        case.prepare(folder, space)
    return told(case, refusal(case, folder, space), folder, space)


def _row(case: Case, message: str) -> str:
    lines = [line.strip() for line in message.split("\n")]
    lines = [line if len(line) <= WIDTH else line[:WIDTH] + "..." for line in lines if line.strip("^ ")][:LINES]
    return f"| {_escaped(case.wrong)} | {'<br>'.join(_code(line) for line in lines)} |"


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


def _code(line: str) -> str:
    line = "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in line).replace("|", "\\|")
    longest = max((len(list(run)) for mark, run in itertools.groupby(line) if mark == "`"), default=0)
    ticks = "`" * (longest + 1)
    return f"{ticks} {line} {ticks}" if longest else f"`{line}`"


def main() -> None:
    """Write the page."""
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as work:
        build_shop(Path(work) / "shop.space")
        with Space.open(Path(work) / "shop.space") as space:
            PAGE.write_text(page(space, Path(work) / "cases"), encoding="utf-8")
    print(f"Wrote {PAGE}: {len(CASES)} cases")


if __name__ == "__main__":
    main()
