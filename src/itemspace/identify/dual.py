"""`DualAlignment`: codes of items and of users trained together with who met what, in one stage (DAS)."""

from __future__ import annotations

from typing import Any

import numpy as np
from pydantic import Field

from itemspace.core.config import Component, Config, load_object
from itemspace.core.contracts import FitReport
from itemspace.core.errors import ContractError
from itemspace.core.extras import require
from itemspace.core.seeding import RNG, as_seed, derive
from itemspace.core.vectors import Dense
from itemspace.identify.rq_vae import RQVAE, RQVAEConfig


class DualAlignmentConfig(Config):
    tokenizer: RQVAEConfig = Field(RQVAEConfig(), description="of both sides")
    user_item: float = Field(
        0.1, ge=0, description="weight: a user's code against the items met, an item's against users"
    )
    same: float = Field(0.1, ge=0, description="weight: a code against the behavior of the same item or user")
    together: float = Field(0.1, ge=0, description="weight: a code against another item of the user, user of the item")
    behavior: float = Field(1.0, ge=0, description="weight of the model of behavior itself")
    debias: bool = Field(True, description="popularity and conformity are taken out of the behavior codes align to")
    temperature: float = Field(0.1, gt=0)
    epochs: int = Field(20, ge=1, description="over the events")
    batch_size: int = Field(512, ge=2)
    learning_rate: float = Field(1e-3, gt=0)


class DualAlignment(Component):
    """Two `RQVAE` tokenizers, one of items and one of users, aligned with each other while they are trained.

    Use it where users need codes too, or where two stages (behavior first, `RQVAE(alignment=)` after) lose too much. A
    model of behavior, a vector for every user and item, is trained beside the tokenizers; with `debias` it has a bias per
    item (popularity) and per user (conformity) beside the vectors, and codes align to the vectors alone. Every alignment
    can be switched off by its weight.

    What comes back are ordinary tokenizers: new items and users get codes from their content. Hand in training events
    only. Source: Ye et al. 2025 (DAS), sections 3.2 to 3.4.
    """

    config: DualAlignmentConfig
    report: FitReport | None = None

    def fit(
        self, users: Dense, items: Dense, user_rows: np.ndarray, item_rows: np.ndarray, *, rng: RNG = 0
    ) -> tuple[RQVAE, RQVAE]:
        """The tokenizers of users and of items. user_rows, item_rows: int [events], rows of `users` and `items`.

        Raises:
            ContractError: the rows do not fit, or there are no events.
            MissingExtraError: torch is not installed.
        """
        require("torch", extra="train", needed_for="Training aligned codes")
        if len(user_rows) == 0 or len(user_rows) != len(item_rows):
            raise ContractError(f"{len(user_rows)} users and {len(item_rows)} items are not pairs of events.")
        if user_rows.max() >= len(users) or item_rows.max() >= len(items) or min(user_rows.min(), item_rows.min()) < 0:
            raise ContractError("an event names a row that there is no vector of.")
        sides = [RQVAE(self.config.tokenizer) for _ in range(2)]
        for side, vectors in zip(sides, (users, items), strict=True):
            side._dense(vectors)
            side._space = vectors.space
        train: Any = load_object("itemspace.identify.dual_training:train")
        arrays, self.report = train(
            side_values(sides[0], users),
            side_values(sides[1], items),
            np.asarray(user_rows, np.int64),
            np.asarray(item_rows, np.int64),
            self.config,
            as_seed(derive(rng, "dual")),
        )
        for side, found in zip(sides, arrays, strict=True):
            side._arrays = found
        return sides[0], sides[1]


def side_values(tokenizer: RQVAE, vectors: Dense) -> np.ndarray:
    """float32 values in memory, checked."""
    return tokenizer._read(vectors.values)
