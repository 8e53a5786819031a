"""What behavior says of items, as values tokenizers read: affinities, vectors, numbers. Of training events only.

Everything here takes a `Split`, whose training part alone is read, or interactions that the caller answers for.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from itemspace.core.hashing import fingerprint
from itemspace.core.interactions import Interactions
from itemspace.core.seeding import RNG
from itemspace.core.vectors import Dense, Sparse, VectorSpace
from itemspace.data.splits import Split
from itemspace.data.splits.base import events_of
from itemspace.encode.svd import randomized_svd
from itemspace.identify.digits import first_numbers


def affinity(events: Split | Interactions, *, most_items: int = 500) -> Sparse:
    """How many users met both items: CSR float32 [n, n] with an empty diagonal.

    most_items: of a user's distinct items, so many of the last ones are counted, so that one user who met everything does
    not fill the matrix.
    """
    log = _training(events)
    users = _matrix(log, most_items)
    together = (users.T @ users).tocsr()
    together.setdiag(0)
    together.eliminate_zeros()
    together.sort_indices()
    space = VectorSpace(f"co-occurrence-{log.fingerprint}-{most_items}", together.shape[1], "dot")
    return Sparse(together.astype(np.float32), space)


def behavior_vectors(events: Split | Interactions, *, dimension: int = 32, rng: RNG = 0) -> Dense:
    """Unit vectors [n, dimension] that are near where the same users met both items; zeros for items nobody met.

    The leading singular vectors of the user-item matrix, every entry divided by the root of its user's and item's counts.
    """
    log = _training(events)
    users = _matrix(log, None)
    by_user = np.maximum(np.asarray(users.sum(1)).ravel(), 1)
    by_item = np.maximum(np.asarray(users.sum(0)).ravel(), 1)
    weighed = (sp.diags(by_user**-0.5) @ users @ sp.diags(by_item**-0.5)).tocsr().astype(np.float32)
    right, values = randomized_svd(weighed, dimension, iterations=4, rng=rng)
    vectors = right * values
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    known = log.counts()[:, None] > 0
    vectors = np.where(known & (lengths > 0), vectors / np.maximum(lengths, 1e-12), 0.0).astype(np.float32)
    if vectors.shape[1] < dimension:
        vectors = np.pad(vectors, ((0, 0), (0, dimension - vectors.shape[1])))
    space = VectorSpace(f"behavior-{fingerprint(vectors)}", dimension, "cosine", True)
    return Dense(vectors, space)


def sequence_numbers(events: Split | Interactions) -> Dense:
    """A number for every item, in the order in which users, one after the other, first met it; for `SequentialCodes`.

    Items that nobody met in training come last. float64 [n, 1].
    """
    log = _training(events)
    numbers = first_numbers(log.item, len(log.items)).astype(np.float64)[:, None]
    return Dense(numbers, VectorSpace(f"sequence-{log.fingerprint}", 1, "euclidean"))


def _training(events: Split | Interactions) -> Interactions:
    return events_of(events.train) if isinstance(events, Split) else events


def _matrix(log: Interactions, most_items: int | None) -> sp.csr_matrix:
    """Who met what: CSR float32 [users, items] of ones."""
    user, item = log.user, log.item
    if most_items is not None:
        counts = np.bincount(user, minlength=len(log.users))
        place = np.arange(len(user)) - np.repeat(np.cumsum(counts) - counts, counts)
        last = place >= counts[user] - most_items
        user, item = user[last], item[last]
    ones = np.ones(len(user), np.float32)
    made = sp.csr_matrix((ones, (user, item)), shape=(len(log.users), len(log.items)))
    made.data[:] = 1.0
    return made
