"""A request with a picture and a text: PNG decoding, the encoder contract, and finding by either or both."""

import io
import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from itemspace.core.catalog import Catalog
from itemspace.core.errors import DataError, RequestError
from itemspace.core.requests import Requests
from itemspace.encode.cache import CachedEncoder
from itemspace.encode.picture_text import PICTURE_DIMENSION, PictureTextEncoder, picture_features
from itemspace.encode.pixels import read_picture
from itemspace.testing.encoder import EncoderContract

image = pytest.importorskip("PIL.Image")
COLORS = {"red": (200, 30, 30), "blue": (30, 40, 200), "green": (20, 160, 40)}
SHAPES = ("disc", "stripes", "bar")


def drawn(color, shape, size=24):
    """A colored shape on white, uint8 [size, size, 3]."""
    y, x = np.mgrid[:size, :size]
    inside = {
        "disc": (y - size / 2) ** 2 + (x - size / 2) ** 2 < (size / 3) ** 2,
        "stripes": (x // 3) % 2 == 0,
        "bar": abs(y - size / 2) < size / 8,
    }[shape]
    return np.where(inside[:, :, None], np.array(COLORS[color]), 255).astype(np.uint8)


def png(pixels, mode=None, **options):
    file = io.BytesIO()
    picture = image.fromarray(pixels)
    (picture.convert(mode) if mode else picture).save(file, "PNG", **options)
    return file.getvalue()


def shop(folder, names=("lamp", "rug", "vase")):
    rows = [(color, shape, thing) for color in COLORS for shape in SHAPES for thing in names]
    for color, shape, _ in rows:
        (folder / f"{color}-{shape}.png").write_bytes(png(drawn(color, shape)))
    table = pa.table(
        {
            "id": [f"{c}-{s}-{t}" for c, s, t in rows],
            "title": [f"{thing} number {i}" for i, (_, _, thing) in enumerate(rows)],
            "image": [str(folder / f"{color}-{shape}.png") for color, shape, _ in rows],
        }
    )
    return Catalog.from_table(table, overrides={"id": "id", "title": "text", "image": "image"})


class TestPictureText(EncoderContract):
    @pytest.fixture(autouse=True)
    def folder(self, tmp_path_factory):
        self.pictures = tmp_path_factory.mktemp("pictures")

    def make(self):
        return PictureTextEncoder(dimension=16)

    def catalog(self):
        return shop(self.pictures)

    def other_catalog(self):
        return shop(self.pictures, names=("drum", "flute"))

    def requests(self):
        pictures = (drawn("red", "disc"), png(drawn("blue", "bar")), None, self.pictures / "red-disc.png")
        return Requests.texts(["lamp", "", "rug", "vase"], image=pictures)


class TestCachedPictureText(TestPictureText):
    def make(self):
        return CachedEncoder(PictureTextEncoder(dimension=16), self.pictures / "cache")


def test_a_redrawn_picture_is_encoded_again(tmp_path):
    catalog = shop(tmp_path)
    plain = PictureTextEncoder(dimension=16, columns=("title",)).fit(catalog)
    cached = CachedEncoder(plain, tmp_path / "cache")
    before = cached.encode(catalog, role="item").values
    (tmp_path / "red-disc.png").write_bytes(png(drawn("green", "stripes", 30)))
    after = cached.encode(catalog, role="item").values
    changed = np.array([str(name).startswith("red-disc") for name in catalog.ids.values])
    np.testing.assert_array_equal((before != after).any(1), changed)
    np.testing.assert_array_equal(after, plain.encode(catalog, role="item").values)


def find(encoder, catalog, **columns):
    vectors = encoder.encode(catalog, role="item").values
    query = encoder.encode(Requests(**columns), role="query").values
    return [str(catalog.ids[int(row)]) for row in (query @ vectors.T).argmax(1)]


def test_text_picture_or_both_find_what_they_say(tmp_path):
    catalog = shop(tmp_path)
    encoder = PictureTextEncoder(dimension=16).fit(catalog)
    assert find(encoder, catalog, text=("rug",))[0].endswith("rug")
    # A darker, larger drawing of the same color and shape: no file of the catalogue.
    pictures = tuple(np.clip(drawn(c, s, 40).astype(int) - 9, 0, 255).astype(np.uint8) for c in COLORS for s in SHAPES)
    names = [f"{c}-{s}" for c in COLORS for s in SHAPES]
    assert [hit.rsplit("-", 1)[0] for hit in find(encoder, catalog, image=pictures)] == names
    both = find(encoder, catalog, image=pictures, text=("vase",) * 9)
    assert both == [f"{name}-vase" for name in names]


def test_neither_text_nor_picture_is_refused(tmp_path):
    encoder = PictureTextEncoder(dimension=16).fit(shop(tmp_path))
    with pytest.raises(RequestError, match="text or image"):
        encoder.encode(Requests(user=np.array([0])), role="query")


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P"])
@pytest.mark.parametrize("texture", ["flat", "noise", "slope"])
def test_png_decoding_agrees_with_pillow(mode, texture):
    rng = np.random.default_rng(0)
    pixels = drawn("red", "disc", 19)
    if texture == "noise":
        pixels = rng.integers(0, 256, (17, 23, 3), np.uint8)
    if texture == "slope":  # smooth, so that encoders choose the averaging and Paeth filters
        y, x = np.mgrid[:31, :29]
        pixels = np.stack([y * 5 + x, x * 7, 255 - y * 3 - x * 2], 2).clip(0, 255).astype(np.uint8)
        pixels ^= rng.integers(0, 3, pixels.shape, np.uint8)
    data = png(pixels, mode)
    expected = np.asarray(image.open(io.BytesIO(data)).convert("RGB"))
    np.testing.assert_array_equal(read_picture(data), expected)


def test_transparent_pixels_are_white():
    pixels = np.zeros((4, 4, 4), np.uint8)
    pixels[:2, :, 3] = 255
    assert read_picture(png(pixels))[:, 0, 0].tolist() == [0, 0, 255, 255]


@pytest.mark.parametrize(
    ("source", "told"), [("no/such.png", "such.png"), (b"not a picture", "not a picture"), (None, "damaged PNG")]
)
def test_what_is_no_picture_is_refused(source, told):
    source = png(drawn("red", "bar"))[:60] if source is None else source
    with pytest.raises(DataError, match=told):
        read_picture(source)
    with pytest.raises(DataError, match="uint8"):
        read_picture(np.zeros((3, 3, 3)))


def test_features_do_not_depend_on_size():
    small, large = (picture_features(drawn("blue", "disc", size)) for size in (24, 96))
    other = picture_features(drawn("red", "stripes", 24))
    assert small.shape == (PICTURE_DIMENSION,)
    assert small @ large > 0.9 > small @ other


@pytest.mark.skipif("ITEMSPACE_DATA" not in os.environ, reason="set ITEMSPACE_DATA to the folder of real data")
def test_grocery_photos_find_their_class_better_than_chance():
    """Photos of 15 classes of fruit; every other photo is an item, the rest ask for their class by picture alone."""
    root = Path(os.environ["ITEMSPACE_DATA"]) / "grocerystore"
    files = sorted((root / "test").rglob("*.jpg"))
    assert files
    classes = sorted({file.parent for file in files})[:15]
    files = [file for folder in classes for file in sorted(folder.glob("*.jpg"))[:20]]
    items, asked = files[::2], files[1::2]
    table = pa.table({"id": [str(i) for i in range(len(items))], "title": [f.parent.name for f in items]})
    table = table.append_column("image", [[str(f) for f in items]])
    catalog = Catalog.from_table(table, overrides={"id": "id", "title": "text", "image": "image"})
    encoder = PictureTextEncoder(dimension=16).fit(catalog)
    found = find(encoder, catalog, image=tuple(asked))
    right = np.mean([items[int(hit)].parent == photo.parent for hit, photo in zip(found, asked, strict=True)])
    assert right > 5 / len(classes)
