"""`PictureTextEncoder`: a picture, a text, or both, in one space."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

import numpy as np
from pydantic import Field

from itemspace.core.catalog import Catalog
from itemspace.core.config import Config
from itemspace.core.contracts import Encoder, Role
from itemspace.core.errors import ContractError, DataError
from itemspace.core.hashing import fingerprint
from itemspace.core.requests import Requests
from itemspace.core.seeding import RNG
from itemspace.core.vectors import Dense, VectorSpace, normalize
from itemspace.encode.lsa import LSAEncoder
from itemspace.encode.pixels import read_picture

_LEVELS, _CELLS, _DIRECTIONS = 4, 2, 8
PICTURE_DIMENSION = _LEVELS**3 + _CELLS * _CELLS * _DIRECTIONS


class PictureTextConfig(Config):
    dimension: int = Field(128, ge=2, description="length of the text part; the picture part adds 96")
    columns: tuple[str, ...] = Field((), description="catalogue columns of words to read; default: all")
    image: str | None = Field(None, description="catalogue column of pictures; default: the first")
    root: str | None = Field(None, description="folder that the catalogue's picture paths are relative to")
    picture_weight: float = Field(0.5, ge=0, le=1, description="share of the picture in the similarity of two items")


class PictureTextEncoder(Encoder):
    """The LSA vector of the text beside the colors and edges of the picture, one `Dense` space for items and requests.

    A request may have a text, a picture or both; what it lacks is zero, so a picture finds pictures and a text finds texts.
    Pictures are compared by color and coarse shape, not by what they show: for that, use an encoder with weights.
    """

    config: PictureTextConfig
    consumes = ("text", "image")
    _text: LSAEncoder | None = None
    _center: np.ndarray

    def fit(self, catalog: Catalog, *, rng: RNG = 0) -> Self:
        """Learn words and the mean picture from the catalogue.

        Raises:
            SchemaError: the catalogue has no picture column.
        """
        self._text = LSAEncoder(dimension=self.config.dimension, columns=self.config.columns).fit(catalog, rng=rng)
        pictures = self._pictures(catalog)
        present = pictures.any(1)
        # What all pictures share (a white ground) says nothing about any.
        self._center = pictures[present].mean(0) if present.any() else np.zeros(PICTURE_DIMENSION, np.float32)
        return self

    @property
    def text(self) -> LSAEncoder:
        """The encoder of the words."""
        if self._text is None:
            raise ContractError("this PictureTextEncoder has not learned anything yet: call fit(catalog) first.")
        return self._text

    @property
    def space(self) -> VectorSpace:
        words = self.text.space
        told = fingerprint(self.path(), self.config.picture_weight, words.encoder, self._center)
        return VectorSpace(f"picture-text-{told}", words.dimension + PICTURE_DIMENSION, "cosine", normalized=True)

    def encode(self, inputs: Catalog | Requests, *, role: Role) -> Dense:
        """Vectors float32 [n, d] of length 1 (0 where there is neither a known word nor a picture).

        Raises:
            RequestError: the requests have neither text nor image.
            DataError: a picture cannot be read.
        """
        if isinstance(inputs, Requests):
            inputs.require(*self.consumes, by=type(self).__name__)
        if isinstance(inputs, Requests) and inputs.text is None:
            words = np.zeros((len(inputs), self.text.space.dimension), np.float32)
        else:
            words = self.text.encode(inputs, role=role).values
        pictures = self._pictures(inputs)
        pictures = normalize(np.where(pictures.any(1, keepdims=True), pictures - self._center, 0))
        share = self.config.picture_weight
        return Dense(normalize(np.hstack([np.sqrt(1 - share) * words, np.sqrt(share) * pictures])), self.space)

    def save(self, folder: Path) -> None:
        (folder / "encoder.json").write_text(self.config.model_dump_json(indent=1))
        np.save(folder / "center.npy", self._center)
        (folder / "text").mkdir()
        self.text.save(folder / "text")

    @classmethod
    def open(cls, folder: Path) -> Self:
        encoder = cls(cls.config_class().model_validate_json((folder / "encoder.json").read_text()))
        encoder._center, encoder._text = np.load(folder / "center.npy"), LSAEncoder.open(folder / "text")
        return encoder

    def _pictures(self, inputs: Catalog | Requests) -> np.ndarray:
        """Picture features [n, 96]; zero where there is no picture."""
        out = np.zeros((len(inputs), PICTURE_DIMENSION), np.float32)
        for at, source in enumerate(self._sources(inputs)):  # each picture is its own file, of its own size
            if source is not None:
                out[at] = picture_features(read_picture(source))
        return out

    def _sources(self, inputs: Catalog | Requests) -> list[Any]:
        if isinstance(inputs, Requests):
            return list(inputs.image or [None] * len(inputs))
        name = self.config.image or next(iter(inputs.schema.columns("image")), None)
        if name is None:
            raise DataError("the catalogue has no column of pictures", hint="Name it: --kind COLUMN=image.")
        inputs.schema[name]
        root = Path(self.config.root) if self.config.root else None
        values = inputs.table.column(name).to_pylist()
        return [root / v if root and isinstance(v, str) and v else v or None for v in values]


def picture_features(pixels: np.ndarray) -> np.ndarray:
    """Colors and edges of RGB `pixels` [h, w, 3], float32 [96]: two unit-length halves, any size of picture.

    Square roots (Hellinger) of a 4 x 4 x 4 color histogram with linear shares between neighboring bins, and of edge strengths by 8 directions in 2 x 2 cells.
    """
    color = _color_histogram(pixels)
    gray = pixels.astype(np.float64).mean(2)
    down, across = np.zeros_like(gray), np.zeros_like(gray)
    down[1:-1], across[:, 1:-1] = gray[2:] - gray[:-2], gray[:, 2:] - gray[:, :-2]
    direction = np.floor((np.arctan2(down, across) / (2 * np.pi) + 0.5) * _DIRECTIONS).astype(np.int64) % _DIRECTIONS
    y = np.arange(gray.shape[0]) * _CELLS // gray.shape[0]
    x = np.arange(gray.shape[1]) * _CELLS // gray.shape[1]
    cell = y[:, None] * _CELLS + x[None, :]
    edges = np.bincount(
        (cell * _DIRECTIONS + direction).reshape(-1),
        np.hypot(down, across).reshape(-1),
        minlength=_CELLS * _CELLS * _DIRECTIONS,
    )
    halves = [np.sqrt(part / part.sum()) if part.sum() else part for part in (color, edges)]
    return (np.concatenate(halves) / np.sqrt(2)).astype(np.float32)


def _color_histogram(pixels: np.ndarray) -> np.ndarray:
    """Counts [64]; a color between two bins counts for both, so that a shade more never jumps a bin."""
    place = np.clip(pixels.reshape(-1, 3) * (_LEVELS / 256) - 0.5, 0, _LEVELS - 1)
    low = np.minimum(place.astype(np.int64), _LEVELS - 2)
    upper = place - low
    out = np.zeros(_LEVELS**3)
    for corner in np.ndindex(2, 2, 2):
        at = np.array(corner)
        weight = np.where(at == 1, upper, 1 - upper).prod(1)
        out += np.bincount((low + at) @ np.array([_LEVELS**2, _LEVELS, 1]), weight, minlength=len(out))
    return out
