"""What the documentation site needs beyond its pages: the source files that the gallery links to are part of it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parent
SYSTEMS = ROOT / "src" / "itemspace" / "systems"


def on_files(files: Files, config: Any) -> Files:
    """Every system's file, under `source/`, as text a browser shows."""
    for path in sorted(SYSTEMS.glob("*/*.py")):
        name = f"source/{path.parent.name}/{path.stem}.txt"
        files.append(File.generated(config, name, content=path.read_text(encoding="utf-8")))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """In the repository the gallery links to the files themselves; in the site, to their copies."""
    return re.sub(r"\]\(\.\./src/itemspace/systems/([\w/]+)\.py\)", r"](source/\1.txt)", markdown)
