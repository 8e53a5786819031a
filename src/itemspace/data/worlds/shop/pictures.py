"""Small drawn pictures: a shape per product type, in the item's color, as PNG bytes written with zlib alone."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from functools import cache

import numpy as np

from itemspace.data.worlds.shop import words
from itemspace.data.worlds.shop.items import Items

SIZE = 40
"""Width and height in pixels."""


def png(pixels: np.ndarray) -> bytes:
    """A PNG file of uint8 RGB pixels [height, width, 3]."""
    height, width, _ = pixels.shape
    # Every line starts with its filter type, 0 (none).
    lines = np.zeros((height, 1 + width * 3), np.uint8)
    lines[:, 1:] = pixels.reshape(height, width * 3)

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = zlib.compress(lines.tobytes(), 6)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def pictures(items: Items) -> Iterator[bytes]:
    """One PNG per item, in order."""
    for start in range(0, len(items), 256):
        batch = draw(items.take(np.arange(start, min(start + 256, len(items)))))
        yield from (png(one) for one in batch)


def draw(items: Items) -> np.ndarray:
    """uint8 RGB [n, 40, 40, 3]: a pale ground by department, the shape in the item's color, a mark by brand.

    A band across the shape tells product types of one shape apart; its height follows the type, its tone the material.
    """
    kinds = words.kinds()
    departments = sorted({kind.department for kind in kinds})
    ground = np.array([[226, 234, 240], [240, 236, 226], [228, 240, 228]])
    of_kind = ground[[departments.index(kind.department) for kind in kinds]]
    color = np.array(list(words.COLORS.values()))[items.color]
    n = len(items)
    canvas = np.broadcast_to(of_kind[items.kind][:, None, None, :], (n, SIZE, SIZE, 3)).copy()
    shape = np.stack([shapes()[kind.shape] for kind in kinds])[items.kind]
    canvas = np.where(shape[..., None], color[:, None, None, :], canvas)
    line = np.arange(SIZE)
    height = 10 + (items.kind * 7) % 20
    band = (np.abs(line[None, :] - height[:, None]) <= 1)[:, :, None] & shape
    tone = 0.55 + 0.3 * (items.material % 4) / 3
    canvas = np.where(band[..., None], (color * tone[:, None])[:, None, None, :], canvas)
    mark = (line[None, None, :] < 5) & (line[None, :, None] < 5)
    brand = np.stack([(items.brand * 53) % 200, (items.brand * 97) % 200, (items.brand * 151) % 200], axis=1)
    return np.where(mark[..., None], brand[:, None, None, :], canvas).astype(np.uint8)


@cache
def shapes() -> dict[str, np.ndarray]:
    """Masks bool [40, 40] by name, made of a few half-planes and discs on the unit square (y downward)."""
    y, x = (np.mgrid[0:SIZE, 0:SIZE] + 0.5) / SIZE

    def box(left: float, top: float, right: float, bottom: float) -> np.ndarray:
        return (x >= left) & (x <= right) & (y >= top) & (y <= bottom)

    def disc(cx: float, cy: float, radius: float) -> np.ndarray:
        return np.square(x - cx) + np.square(y - cy) <= radius**2

    roof = (y >= 0.2) & (y <= 0.85) & (np.abs(x - 0.5) <= (y - 0.2) * 0.65)
    leg = box(0.25, 0.15, 0.47, 0.88) | box(0.53, 0.15, 0.75, 0.88) | box(0.25, 0.15, 0.75, 0.35)
    return {
        "boot": box(0.3, 0.15, 0.55, 0.8) | (box(0.3, 0.6, 0.85, 0.8) & ~disc(0.95, 0.5, 0.2)) | box(0.27, 0.78, 0.87, 0.86),
        "shoe": (box(0.12, 0.5, 0.88, 0.72) & ~disc(0.8, 0.38, 0.24)) | box(0.1, 0.7, 0.9, 0.78),
        "jacket": box(0.3, 0.2, 0.7, 0.85) | box(0.1, 0.22, 0.3, 0.65) | box(0.7, 0.22, 0.9, 0.65) | disc(0.5, 0.2, 0.1),
        "trousers": leg,
        "shirt": box(0.3, 0.22, 0.7, 0.85) | box(0.12, 0.22, 0.88, 0.42),
        "sock": box(0.35, 0.12, 0.6, 0.7) | box(0.35, 0.55, 0.8, 0.75) | disc(0.8, 0.65, 0.1),
        "glove": box(0.3, 0.4, 0.7, 0.85) | box(0.3, 0.15, 0.38, 0.45) | box(0.46, 0.1, 0.54, 0.45) | box(0.62, 0.15, 0.7, 0.45),
        "hat": (disc(0.5, 0.6, 0.3) & (y <= 0.6)) | box(0.12, 0.58, 0.88, 0.68),
        "tent": roof & ~((y >= 0.5) & (np.abs(x - 0.5) <= (y - 0.5) * 0.3)),
        "roll": box(0.2, 0.38, 0.8, 0.68) | disc(0.2, 0.53, 0.15) | disc(0.8, 0.53, 0.15),
        "pot": box(0.22, 0.4, 0.78, 0.82) | box(0.1, 0.45, 0.9, 0.52) | box(0.45, 0.28, 0.55, 0.4),
        "pan": disc(0.36, 0.56, 0.26) | box(0.55, 0.5, 0.95, 0.6),
        "lamp": ((y >= 0.12) & (y <= 0.45) & (np.abs(x - 0.5) <= 0.1 + (y - 0.12) * 0.6)) | box(0.47, 0.45, 0.53, 0.82) | box(0.3, 0.8, 0.7, 0.87),
        "chair": box(0.25, 0.15, 0.35, 0.88) | box(0.25, 0.5, 0.75, 0.6) | box(0.65, 0.5, 0.75, 0.88),
        "box": box(0.15, 0.25, 0.85, 0.8),
        "bottle": box(0.38, 0.3, 0.62, 0.88) | box(0.44, 0.12, 0.56, 0.3),
        "bag": box(0.25, 0.3, 0.75, 0.88) | (disc(0.5, 0.3, 0.2) & ~disc(0.5, 0.3, 0.12)),
        "pole": np.abs((x - 0.5) + (y - 0.5) * 0.5) <= 0.06,
        "mug": box(0.25, 0.3, 0.65, 0.82) | (disc(0.68, 0.55, 0.18) & ~disc(0.68, 0.55, 0.1)),
        "drill": box(0.15, 0.25, 0.75, 0.48) | box(0.3, 0.45, 0.48, 0.88) | box(0.75, 0.33, 0.95, 0.4),
    }  # fmt: skip
