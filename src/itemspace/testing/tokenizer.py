"""What every item tokenizer of ours does beyond the contract: one code per item, whatever comes, and over time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from itemspace.core.codes import Codes
from itemspace.core.contracts import ItemTokenizer
from itemspace.core.errors import ContractError, SpaceMismatchError
from itemspace.core.vectors import Dense, Vectors
from itemspace.identify.code_rows import padded
from itemspace.testing.codes import ItemTokenizerContract, clustered_vectors


class TokenizerContract(ItemTokenizerContract):
    """Subclass it as `class TestMine(TokenizerContract)` and say how to make one that resolves collisions by a last token.

    items, others: what is fitted, and what comes later (of the same space). stranger: what is of another space, or None
    for tokenizers that read any. follows: whether first symbols follow the planted clusters of `items`.
    """

    follows: bool = True

    def items(self) -> Vectors:
        return clustered_vectors()[0]

    def others(self) -> Vectors:
        """Items that come later; some are the same as before, which is the hard case."""
        items = clustered_vectors()[0]
        moved = np.concatenate([items.values[:20], items.values[20:60] + np.float32(0.01)])
        return Dense(moved.astype(np.float32), items.space)

    def stranger(self) -> Vectors | None:
        return clustered_vectors(seed=1)[0]

    def fitted(self) -> ItemTokenizer:
        return self.make().fit(self.items())

    def codes(self) -> Codes:
        return self.fitted().assign(self.items())

    # What the plain contract asks, where codes end with a number among the items of one code

    def test_every_item_has_its_codes_within_the_level_sizes(self) -> None:
        codes, n = self.codes(), len(self.items())
        np.testing.assert_array_equal(np.bincount(codes.item, minlength=n), 1)
        assert codes.version
        assert (padded(codes) < np.array(codes.level_sizes)).all()

    def test_a_batch_equals_its_items(self) -> None:
        tokenizer, items = self.fitted(), self.items()
        whole = tokenizer.assign(items)
        for row in (0, 7, len(items) - 1):
            alone = tokenizer.assign(items.take(np.array([row])))
            assert alone[0][:-1] == whole[row][:-1]
            assert alone[0][-1] <= whole[row][-1]

    def test_another_fit_is_another_version(self) -> None:
        other = self.stranger()
        if other is None:
            pytest.skip("reads anything")
        assert self.make().fit(other).assign(other).version != self.codes().version

    def test_vectors_of_another_space_are_refused(self) -> None:
        other = self.stranger()
        if other is None:
            pytest.skip("reads anything")
        tokenizer = self.fitted()
        with pytest.raises(SpaceMismatchError):
            tokenizer.assign(other)

    def test_saved_and_opened_it_assigns_the_same(self, tmp_path: Path) -> None:
        tokenizer = self.fitted()
        tokenizer.save(tmp_path)
        opened = type(tokenizer).open(tmp_path)
        assert opened.assign(self.items()).fingerprint == self.codes().fingerprint
        assert opened.config == tokenizer.config

    def test_first_symbols_follow_the_planted_clusters(self) -> None:
        if self.follows:
            super().test_first_symbols_follow_the_planted_clusters()

    def test_new_vectors_get_codes(self) -> None:
        assert len(self.fitted().assign(self.others())) == len(self.others())

    # What is asked beyond it

    def test_not_fitted_it_says_so(self) -> None:
        with pytest.raises(ContractError, match="fit"):
            self.make().assign(self.items())

    def test_no_two_items_share_a_code(self) -> None:
        codes = self.codes()
        assert codes.collisions == 0
        assert len(np.unique(padded(codes), axis=0)) == len(codes)

    def test_the_seed_decides(self) -> None:
        one, same = (self.make().fit(self.items(), rng=3).assign(self.items()) for _ in range(2))
        assert one.fingerprint == same.fingerprint

    def test_new_items_get_codes_that_nobody_has(self) -> None:
        tokenizer, old = self.fitted(), self.codes()
        new = tokenizer.assign(self.others(), taken=old)  # type: ignore[call-arg]
        assert new.version == old.version
        before = {old[i] for i in range(len(old))}
        after = [new[i] for i in range(len(new))]
        assert len(set(after)) == len(after)
        assert not before & set(after)

    def test_in_pieces_as_in_one(self) -> None:
        """Codes in chunks, each told what is taken, are the codes of the whole."""
        tokenizer, items = self.fitted(), self.items()
        whole = tokenizer.assign(items)
        first = tokenizer.assign(items.take(np.arange(100)))
        rest = tokenizer.assign(items.take(np.arange(100, len(items))), taken=first)  # type: ignore[call-arg]
        found = [first[i] for i in range(len(first))] + [rest[i] for i in range(len(rest))]
        assert found == [whole[i] for i in range(len(whole))]

    def test_what_is_fitted_and_assigned_is_left_as_it_was(self) -> None:
        items = self.items()
        before = items.values.copy() if isinstance(items, Dense) else None
        self.make().fit(items).assign(items)
        if before is not None and isinstance(items, Dense):
            np.testing.assert_array_equal(items.values, before)

    def test_no_items_no_codes(self) -> None:
        assert len(self.fitted().assign(self.items().take(np.arange(0)))) == 0
