"""Pictures to arrays: PNG decoded here, other formats by Pillow where it is installed."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from itemspace.core.errors import DataError
from itemspace.core.extras import require

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}


def read_picture(source: Any) -> np.ndarray:
    """RGB uint8 [height, width, 3] of a path, the bytes of a file, or an array ([h, w] gray, [h, w, 3] or [h, w, 4]).

    Transparent pixels are laid on white.

    Raises:
        DataError: the file is missing, damaged, or not a picture.
        MissingExtraError: it is not an 8-bit PNG and Pillow is not installed.
    """
    if isinstance(source, np.ndarray):
        return _rgb(source, "the array")
    name = "the picture" if isinstance(source, (bytes, bytearray)) else str(source)
    try:
        data = bytes(source) if isinstance(source, (bytes, bytearray)) else Path(source).read_bytes()
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror}", file=name) from error
    if data.startswith(_SIGNATURE) and data[24:25] == b"\x08" and data[28:29] == b"\0":
        return _rgb(_decode_png(data, name), name)
    pillow = require("PIL.Image", extra="image", needed_for="reading pictures other than plain 8-bit PNG")
    try:
        with pillow.open(io.BytesIO(data)) as picture:
            return _rgb(np.asarray(picture.convert("RGBA")), name)
    except (OSError, ValueError, SyntaxError) as error:
        raise DataError(f"not a picture: {error}", file=name) from error


def _rgb(pixels: np.ndarray, name: str) -> np.ndarray:
    if pixels.ndim == 2:
        pixels = np.repeat(pixels[:, :, None], 3, axis=2)
    if pixels.ndim != 3 or pixels.shape[2] not in (3, 4) or pixels.dtype != np.uint8 or 0 in pixels.shape:
        raise DataError(f"{name} has shape {pixels.shape} of {pixels.dtype}; a picture is uint8 [height, width, 3]")
    if pixels.shape[2] == 4:
        alpha = pixels[:, :, 3:].astype(np.uint16)
        pixels = ((pixels[:, :, :3] * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)
    return np.ascontiguousarray(pixels)


def _decode_png(data: bytes, name: str) -> np.ndarray:
    """An 8-bit, non-interlaced PNG as [h, w, 1 to 4] turned to gray, RGB or RGBA. Source: PNG specification, 2nd edition."""
    try:
        chunks = list(_chunks(data))
        width, height = struct.unpack(">II", data[16:24])
        channels = _CHANNELS[data[25]]
        raw = zlib.decompress(b"".join(body for kind, body in chunks if kind == b"IDAT"))
        lines = np.frombuffer(raw, np.uint8).reshape(height, 1 + width * channels)
    except (zlib.error, struct.error, ValueError, KeyError) as error:
        raise DataError(f"damaged PNG: {error}", file=name) from error
    pixels = _unfilter(lines, channels).reshape(height, width, channels)
    if data[25] == 3:
        palette = np.zeros((256, 4), np.uint8)
        palette[:, 3] = 255
        colors = np.frombuffer(next((body for kind, body in chunks if kind == b"PLTE"), b""), np.uint8).reshape(-1, 3)
        alpha = np.frombuffer(next((body for kind, body in chunks if kind == b"tRNS"), b""), np.uint8)
        palette[: len(colors), :3], palette[: len(alpha), 3] = colors, alpha
        return palette[pixels[:, :, 0]]
    if channels == 1:
        return pixels[:, :, 0]
    return np.concatenate([np.repeat(pixels[:, :, :1], 3, 2), pixels[:, :, 1:]], 2) if channels == 2 else pixels


def _chunks(data: bytes) -> Any:
    at = len(_SIGNATURE)
    while at + 8 <= len(data):
        size, kind = struct.unpack(">I4s", data[at : at + 8])
        yield kind, data[at + 8 : at + 8 + size]
        at += 12 + size


def _unfilter(lines: np.ndarray, step: int) -> np.ndarray:
    """Undo the line filters of `lines` [h, 1 + bytes] whose pixels are `step` bytes."""
    height, width = len(lines), lines.shape[1] - 1
    out = np.zeros((height + 1, width + step), np.int32)  # a line above and a pixel to the left, both 0
    for y, line in enumerate(lines, start=1):
        kind, values, above = int(line[0]), line[1:].astype(np.int32), out[y - 1]
        if kind == 0:
            out[y, step:] = values
        elif kind == 1:
            out[y, step:] = values.reshape(-1, step).cumsum(0).reshape(-1) & 255
        elif kind == 2:
            out[y, step:] = (values + above[step:]) & 255
        else:
            for x in range(0, width, step):  # each pixel needs the one before it
                left, up, corner = out[y, x : x + step], above[x + step : x + 2 * step], above[x : x + step]
                guess = (left + up) >> 1 if kind == 3 else _paeth(left, up, corner)
                out[y, x + step : x + 2 * step] = (values[x : x + step] + guess) & 255
    return out[1:, step:].astype(np.uint8)


def _paeth(left: np.ndarray, up: np.ndarray, corner: np.ndarray) -> np.ndarray:
    estimate = left + up - corner
    a, b, c = abs(estimate - left), abs(estimate - up), abs(estimate - corner)
    return np.where((a <= b) & (a <= c), left, np.where(b <= c, up, corner))
