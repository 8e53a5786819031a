"""One seeding rule (SPEC 7 `rng`): every random choice takes `rng`, a seed, a generator or None."""

from __future__ import annotations

import numpy as np

from itemspace.core.hashing import hash_strings

RNG = int | np.random.Generator | np.random.SeedSequence | None
"""What a parameter named `rng` accepts. `None` asks for fresh entropy: never the default of a build."""


def generator(rng: RNG = 0) -> np.random.Generator:
    """A NumPy generator for `rng` (SPEC 7: ints and seed sequences are seeds, generators are used as they are)."""
    return rng if isinstance(rng, np.random.Generator) else np.random.default_rng(rng)


def derive(rng: RNG, *names: str) -> np.random.Generator:
    """An independent generator for one named use (`derive(seed, "split")`), stable under the order of other uses.

    A generator is advanced by one draw; a seed is combined with the hash of the names.
    """
    if isinstance(rng, np.random.Generator):
        base = int(rng.integers(0, 2**63))
    elif isinstance(rng, np.random.SeedSequence):
        base = int(rng.generate_state(1, np.uint64)[0])
    elif rng is None:
        base = int(np.random.SeedSequence().generate_state(1, np.uint64)[0])
    else:
        base = int(rng)
    words = hash_strings(list(names)).tolist() if names else []
    return np.random.default_rng([base, *words])


def as_seed(rng: RNG) -> int:
    """A 31-bit integer seed, for libraries that take only integers (torch, faiss, usearch)."""
    if isinstance(rng, int):
        return rng & 0x7FFFFFFF
    return int(generator(rng).integers(0, 2**31 - 1))
