"""A Space whose vectors are computed when a search needs them."""

from __future__ import annotations

import numpy as np

from itemspace.data.worlds.shop import demo_shop
from itemspace.space.front import Space

RECIPE = {
    "encoder": {"name": "lsa", "dimension": 32},
    "index": {"name": "recompute", "beam": 64, "promote": 0.5},
    "recommender": False,
    "exact_up_to": 0,
}


def test_a_space_without_stored_vectors_answers_as_one_with_them(tmp_path):
    shop = demo_shop(400, 30, rng=3)
    asked = ["waterproof boots", "blue jacket", "wool socks", "red shirt"]
    with (
        Space.build(shop, path=tmp_path / "free", recipe=RECIPE) as free,
        Space.build(shop, path=tmp_path / "flat", recipe={**RECIPE, "index": "flat"}) as flat,
    ):
        shared = []
        for query in asked:
            one, other = (space.search(query, k=5, by="dense").items() for space in (free, flat))
            shared.append(len(set(one) & set(other)) / 5)
            assert len(one) == 5
        assert np.mean(shared) >= 0.8
        row = shop.catalog.table.slice(0, 1).to_pylist()[0]
        new = {**row, shop.catalog.schema.id: "brand-new"}
        free.add([new])
        text = shop.catalog.take(np.array([0])).texts()[0]
        assert "brand-new" in free.search(text, k=3, by="dense").items()
    with Space.open(tmp_path / "free") as again:
        assert "brand-new" in again.search(text, k=3, by="dense").items()
        again.remove(["brand-new"])
        assert "brand-new" not in again.search(text, k=3, by="dense").items()
