"""Make the golden Space of the present format: `python -m tests.space.golden.make`. Done once per format, then kept.

A later version must open it and answer as `answers.json` says.
"""

from __future__ import annotations

import json
import tarfile
import tempfile
from pathlib import Path
from typing import Any

from itemspace.data.worlds.shop import demo_shop
from itemspace.space import Space
from itemspace.space.layout import FORMAT

HERE = Path(__file__).parent


def answers(space: Space) -> dict[str, Any]:
    """What the golden Space must answer."""
    users = space._live.histories.users
    return {
        "describe": space.describe(),
        "search": {
            by: space.search("waterproof boots", k=5, where="price < 200", by=by).items() for by in ("lexical", "dense")
        },
        "known user": space.recommend(user=users[3], k=5).items(),
        "history": space.recommend(history=[space.catalog.ids[4], space.catalog.ids[9]], k=5).items(),
        "added": space.search("quokka umbrella", k=1, by="lexical").items(),
        "price": space.catalog.item("GOLD-1")["price"],
        "items": space.catalog.count,
    }


def main() -> None:
    recipe = {"encoder": {"name": "lsa", "dimension": 8}, "recommender": {"name": "item-knn"}}
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "golden.space"
        with Space.build(demo_shop(60, 30, rng=7), path=path, recipe=recipe) as space:
            space.add([{"item_id": "GOLD-1", "title": "Quokka umbrella", "price": 12.5, "in_stock": True}])
            space.update([{"item_id": "GOLD-1", "price": 7.25}])
            space.remove([space.catalog.ids[0]])
            space.log([{"user": space._live.histories.users[3], "item": "GOLD-1", "time": 1_700_000_000}])
        with Space.open(path) as space:
            told = answers(space)
        (HERE / f"answers-{FORMAT}.json").write_text(json.dumps(told, indent=1) + "\n")
        with tarfile.open(HERE / f"space-{FORMAT}.tar.gz", "w:gz") as archive:
            archive.add(path, arcname="golden.space")


if __name__ == "__main__":
    main()
