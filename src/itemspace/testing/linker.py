"""What every linker must do."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path

import numpy as np

from itemspace.core.catalog import Catalog
from itemspace.core.contracts import Linker, Persistent
from itemspace.core.ragged import Ragged
from itemspace.core.requests import Requests
from itemspace.testing.encoder import product_catalog


class LinkerContract(ABC):
    """Subclass it as `class TestMine(LinkerContract)` and say how to make one that knows `catalog()`.

    The default mentions are titles of the catalogue, and names that it does not hold.
    """

    @abstractmethod
    def ready(self) -> Linker: ...

    def catalog(self) -> Catalog:
        return product_catalog()

    def mentions(self) -> tuple[list[str], np.ndarray]:
        """Mentions and their rows, -1 for NIL."""
        rows = np.arange(0, len(self.catalog()), 23)
        texts = self.catalog().take(rows).texts(["title"])
        return [*texts, "grand piano", "xylophone lessons"], np.append(rows, [-1, -1]).astype(np.int32)

    def test_one_match_or_nil_per_mention(self) -> None:
        texts, rows = self.mentions()
        matches = self.ready().link(Requests.texts(texts))
        assert len(matches) == len(texts)
        assert matches.rows.dtype == np.int32
        assert np.isfinite(matches.scores).all()
        np.testing.assert_array_equal(matches.rows, rows)
        np.testing.assert_array_equal(matches.nil, rows < 0)

    def test_external_ids_come_back(self) -> None:
        texts, rows = self.mentions()
        assert self.ready().link(Requests.texts(texts)).items() == self.catalog().ids.decode(rows)

    def test_a_batch_equals_its_mentions(self) -> None:
        linker, (texts, _) = self.ready(), self.mentions()
        whole = linker.link(Requests.texts(texts))
        for at in (0, len(texts) - 1):
            one = linker.link(Requests.texts([texts[at]]))
            assert one.rows[0] == whole.rows[at]
            np.testing.assert_allclose(one.scores[0], whole.scores[at], atol=1e-5)

    def test_candidates_are_ranked_and_led_by_the_match(self) -> None:
        texts, rows = self.mentions()
        found = self.ready().link(Requests.texts(texts)).candidates
        if found is None:
            return
        assert (np.diff(found.scores, axis=1) <= 0).all()
        np.testing.assert_array_equal(found.rows[rows >= 0, 0], rows[rows >= 0])

    def test_what_a_mention_excludes_is_not_linked(self) -> None:
        texts, rows = self.mentions()
        texts, rows = texts[:3], rows[:3]
        exclude = Ragged.from_lists([[rows[0]], [], [rows[2]]])
        matches = self.ready().link(Requests.texts(texts, exclude=exclude))
        assert matches.rows[0] != rows[0]
        assert matches.rows[1] == rows[1]
        assert matches.rows[2] != rows[2]

    def test_empty_and_odd_mentions_are_nil(self) -> None:
        assert self.ready().link(Requests.texts(["", " ", "???", "\U0001f97e"])).nil.all()

    def test_saved_and_opened_it_links_the_same(self, tmp_path: Path) -> None:
        linker = self.ready()
        if not isinstance(linker, Persistent):
            return
        texts, _ = self.mentions()
        linker.save(tmp_path)
        opened = type(linker).open(tmp_path)
        assert isinstance(opened, Linker)
        expected, found = linker.link(Requests.texts(texts)), opened.link(Requests.texts(texts))
        np.testing.assert_array_equal(found.rows, expected.rows)
        np.testing.assert_array_equal(found.scores, expected.scores)
