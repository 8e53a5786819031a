"""A mention linker with NIL: the contract, typing errors, calibration, and real product names."""

import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from itemspace.core.catalog import Catalog
from itemspace.core.requests import Requests
from itemspace.link.mentions import MentionLinker
from itemspace.testing.encoder import product_catalog
from itemspace.testing.linker import LinkerContract


class TestMentionLinker(LinkerContract):
    def ready(self):
        return MentionLinker().fit(self.catalog())


def misspelled(texts, rng):
    """Each text with two neighboring letters swapped."""
    at = rng.integers(1, 8, len(texts))
    return [t[:i] + t[i + 1] + t[i] + t[i + 2 :] for t, i in zip(texts, at.tolist(), strict=True)]


def test_typing_errors_are_linked():
    catalog = product_catalog()
    texts = misspelled(catalog.texts(["title"]), np.random.default_rng(0))
    linked = MentionLinker().fit(catalog).link(Requests.texts(texts)).rows
    assert (linked == np.arange(len(catalog))).mean() > 0.9


def test_calibration_finds_the_cut_between_links_and_nil():
    catalog = product_catalog()
    other = product_catalog(
        things=("violin", "trumpet", "drum", "cello", "harp", "flute", "oboe", "piano", "lute", "organ")
    )
    rng = np.random.default_rng(0)
    texts = misspelled([*catalog.texts(["title"]), *other.texts(["title"])], rng)
    rows = np.concatenate([np.arange(len(catalog)), np.full(len(other), -1)])
    assert (rows < 0).mean() == 0.5
    linker = MentionLinker(threshold=0.05).fit(catalog)
    before = (linker.link(Requests.texts(texts)).rows == rows).mean()
    order = rng.permutation(len(texts))
    seen_texts, seen_rows = [texts[i] for i in order[:400]], rows[order[:400]]
    linker.calibrate(Requests.texts(seen_texts), seen_rows)
    after = (linker.link(Requests.texts([texts[i] for i in order[400:]])).rows == rows[order[400:]]).mean()
    assert before < 0.55
    assert after > 0.8
    # The threshold it found is the best of a fine grid on what it saw.
    seen = linker.link(Requests.texts(seen_texts))
    top = seen.candidates.rows[:, 0]
    grid = [np.where(seen.scores >= t, top, -1) for t in np.linspace(0, 1, 501)]
    assert (seen.rows == seen_rows).mean() >= max((g == seen_rows).mean() for g in grid)


@pytest.mark.parametrize("nil", [True, False])
def test_calibration_on_one_kind_only(nil):
    catalog = product_catalog()
    texts = Requests.texts(catalog.texts(["title"]))
    linker = MentionLinker().fit(catalog)
    linker.calibrate(texts, np.full(len(catalog), -1) if nil else np.arange(len(catalog)))
    assert linker.link(texts).nil.all() == nil
    assert linker.link(texts).nil.any() == nil


def test_removed_items_are_never_linked():
    catalog = product_catalog()
    live = np.ones(len(catalog), bool)
    live[7] = False
    linker = MentionLinker(threshold=0).fit(Catalog(catalog.table, catalog.schema, catalog.ids, live))
    assert linker.link(Requests.texts(catalog.texts(["title"])[7:8])).rows[0] not in (7, -1)


@pytest.mark.skipif("ITEMSPACE_DATA" not in os.environ, reason="set ITEMSPACE_DATA to the folder of real data")
def test_product_names_of_two_shops():
    """Abt's names against Buy's: half the matching items are taken out of the catalogue, so half the mentions are NIL."""
    lines = []
    for part in ("train", "valid", "test"):
        path = Path(os.environ["ITEMSPACE_DATA"]) / "matching" / "abt-buy" / f"{part}.txt"
        lines += [line.rstrip("\n").split("\t") for line in path.open()]
    name = lambda record: record.split("COL description")[0].removeprefix("COL name VAL ").strip()  # noqa: E731
    true = {name(left): name(right) for left, right, label in lines if label == "1"}
    held = sorted(true.values())[::2]
    names = sorted({name(right) for _, right, _ in lines} - (set(true.values()) - set(held)))
    catalog = Catalog.from_table(pa.table({"id": names, "title": names}), overrides={"id": "id", "title": "text"})
    mentions = sorted(true)
    rows = catalog.ids.find([true[m] for m in mentions])
    linker = MentionLinker().fit(catalog).calibrate(Requests.texts(mentions[::2]), rows[::2])
    matches = linker.link(Requests.texts(mentions[1::2]))
    real = rows[1::2]
    assert len(real) > 300
    assert 0.35 < (real < 0).mean() < 0.65
    linked_right = (matches.candidates.rows[real >= 0, 0] == real[real >= 0]).mean()
    right = (matches.rows == real).mean()
    always_nil = (real < 0).mean()
    assert linked_right > 0.75
    assert right > always_nil + 0.2
