"""`SpectralCodes`: items that the same users met share a prefix; a tree by repeated spectral clustering."""

from __future__ import annotations

from pathlib import Path
from typing import Self

import numpy as np
import scipy.sparse as sp
from pydantic import Field
from scipy.sparse.linalg import eigsh

from itemspace.core.codes import Codes
from itemspace.core.config import Config
from itemspace.core.contracts import ItemTokenizer
from itemspace.core.errors import ContractError
from itemspace.core.files import load_arrays, read_json, save_arrays, write_json_atomic
from itemspace.core.hashing import fingerprint
from itemspace.core.seeding import RNG, derive
from itemspace.core.vectors import Sparse, Vectors, VectorSpace, normalize
from itemspace.identify.code_rows import PAD, from_padded
from itemspace.identify.collisions import resolved
from itemspace.identify.kmeans import kmeans, nearest


class SpectralCodesConfig(Config):
    branches: int = Field(20, ge=2, le=1024, description="clusters of a node")
    leaf: int = Field(500, ge=1, description="a cluster of at most so many items is not split further")
    max_levels: int = Field(4, ge=1)


class SpectralCodes(ItemTokenizer):
    """Collaborative IDs: the path to an item's cluster, then its number there.

    Reads affinities, such as `cooccurrence.affinity(split)` counts them: a `Sparse` matrix [n, n] to fit, and [m, n] (new
    items by fitted items) to assign. An item goes, from the root on, where most of its affinity lies, by the clusters'
    sizes; so new items get codes from whom they were met with, and a code depends on nothing but the item's own row.
    Items without any affinity stand under a first symbol of their own.

    Source: Hua et al. 2023, section 4.2 (20 clusters, 500 items to a leaf there); spectral clustering: Ng et al. 2001.
    """

    config: SpectralCodesConfig
    _paths: np.ndarray | None = None
    _space: VectorSpace

    def fit(self, representations: Vectors, *, rng: RNG = 0) -> Self:
        """Grow the tree.

        Raises:
            ContractError: the affinities are not a square `Sparse` matrix.
        """
        matrix = _sparse(representations)
        if matrix.shape[0] != matrix.shape[1] or matrix.shape[0] == 0:
            raise ContractError(f"SpectralCodes fits the affinities of items to each other; got {matrix.shape}.")
        self._space = representations.space  # type: ignore[union-attr]
        paths = np.full((matrix.shape[0], self.config.max_levels), PAD, np.int32)
        known = np.flatnonzero(np.diff(matrix.indptr) > 0)
        paths[np.diff(matrix.indptr) == 0, 0] = self.config.branches
        waiting = [(known, 0)]
        draw = derive(rng, "spectral")
        while waiting:  # nodes of the tree
            members, level = waiting.pop(0)
            if level == self.config.max_levels or (level > 0 and len(members) <= self.config.leaf) or not len(members):
                continue
            label = spectral_clusters(matrix[members][:, members], self.config.branches, draw)
            paths[members, level] = label
            children = [members[label == child] for child in range(int(label.max()) + 1)]
            if len(children) > 1:
                waiting += [(child, level + 1) for child in children]
        self._paths = paths
        return self

    def assign(self, representations: Vectors, *, taken: Codes | None = None) -> Codes:
        """Codes of items by their affinities [m, n] to the items fitted.

        Raises:
            SpaceMismatchError: the affinities are not to the items fitted.
        """
        paths = self._fitted()
        self._space.check(representations.space, what="item")  # type: ignore[union-attr]
        matrix = _sparse(representations)
        out = np.full((matrix.shape[0], paths.shape[1]), PAD, np.int64)
        here = np.zeros(matrix.shape[0], np.int64)  # the node of every item, by its position among the level's nodes
        of = np.zeros(len(paths), np.int64)  # the node of every fitted item
        going = np.ones(matrix.shape[0], bool)
        for level in range(paths.shape[1]):
            known = paths[:, level] != PAD
            width = self.config.branches + 1
            key = np.where(known, of * width + paths[:, level], -1)
            nodes, sizes = np.unique(key[known], return_counts=True)
            if len(nodes) == 0:
                break
            child = np.searchsorted(nodes, key)
            towards = sp.csr_matrix(
                ((sizes[child[known]] ** -0.5).astype(np.float64), (np.flatnonzero(known), child[known])),
                shape=(len(paths), len(nodes)),
            )
            mass = (matrix.astype(np.float64) @ towards).tocsr()
            best, found = _best_below(mass, nodes // width, here, going)
            going &= found
            out[going, level] = nodes[best[going]] % width
            here = np.where(going, best, -1)
            of = np.where(known, child, -1)
        lost = out[:, 0] == PAD
        out[lost, 0] = self.config.branches
        sizes_ = (self.config.branches + 1, *(self.config.branches,) * (paths.shape[1] - 1))
        codes = from_padded(out, np.arange(len(out), dtype=np.int32), sizes_, self.version)
        return resolved(codes, "extra_token", taken=taken)

    @property
    def version(self) -> str:
        return fingerprint(self.path(), self.config.model_dump(), self._fitted(), self._space.to_json())

    def save(self, folder: Path) -> None:
        save_arrays(folder, paths=self._fitted())
        told = {"config": self.config.model_dump(mode="json"), "space": self._space.to_json()}
        write_json_atomic(folder / "tokenizer.json", told)

    @classmethod
    def open(cls, folder: Path) -> Self:
        told = read_json(folder / "tokenizer.json")
        tokenizer = cls(cls.config_class().parse(told["config"]))
        tokenizer._paths = load_arrays(folder, mmap=False)["paths"]
        tokenizer._space = VectorSpace(**told["space"])
        return tokenizer

    def _fitted(self) -> np.ndarray:
        if self._paths is None:
            raise ContractError("this SpectralCodes has no tree yet: call fit(affinities) first.")
        return self._paths


def spectral_clusters(matrix: sp.csr_matrix, count: int, rng: np.random.Generator) -> np.ndarray:
    """Clusters int64 [n], from 0 without gaps, of a symmetric affinity matrix [n, n].

    The leading eigenvectors of D^-1/2 A D^-1/2, rows scaled to length 1, then k-means (Ng et al. 2001). Where there is no
    affinity at all, one cluster.
    """
    n = matrix.shape[0]
    if n <= 2 or matrix.nnz == 0:
        return np.zeros(n, np.int64)
    count = min(count, n - 1)
    degree = np.asarray(matrix.sum(1)).ravel()
    scale = sp.diags(np.where(degree > 0, np.maximum(degree, 1e-12) ** -0.5, 0.0))
    normal = (scale @ matrix @ scale).astype(np.float64)
    if n <= 4 * count or n < 400:
        _, vectors = np.linalg.eigh(normal.toarray())
        vectors = vectors[:, -count:]
    else:
        start = rng.standard_normal(n)
        # Shifted by one, so that the largest in size are the largest.
        _, vectors = eigsh(normal + sp.identity(n), k=count, which="LM", v0=start, tol=1e-4)
    embedded = normalize(vectors)
    centers = kmeans(embedded, count, iterations=25, rng=rng, engine="numpy")
    label, _ = nearest(embedded, centers)
    _, label = np.unique(label, return_inverse=True)
    return np.asarray(label.reshape(-1))


def _best_below(
    mass: sp.csr_matrix, parent: np.ndarray, here: np.ndarray, going: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The child of its own node in which each item has the most mass: position [m], and whether there is one [m]."""
    entries = mass.tocoo()
    mine = going[entries.row] & (parent[entries.col] == here[entries.row]) & (entries.data > 0)
    row, col, value = entries.row[mine], entries.col[mine], entries.data[mine]
    order = np.lexsort((col, -value, row))
    row, col = row[order], col[order]
    first = np.concatenate(([True], row[1:] != row[:-1])) if len(row) else np.zeros(0, bool)
    best, found = np.full(mass.shape[0], -1, np.int64), np.zeros(mass.shape[0], bool)
    best[row[first]], found[row[first]] = col[first], True
    return best, found


def _sparse(vectors: Vectors) -> sp.csr_matrix:
    if not isinstance(vectors, Sparse):
        raise ContractError(f"SpectralCodes reads Sparse affinities, not {type(vectors).__name__}.")
    return vectors.values
