"""One definition of a model's input: odd pictures become RGB, hostile ones a clear refusal."""

import hashlib
import io
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from affect_contract.errors import AffectError, InvalidImage, TooLarge
from affect_contract.preprocess import MAX_IMAGE_BYTES, SHAPE, preprocess
from affect_testbed.pictures import animated, encoded, patches, png_header, webp_header

GOLDEN = Path(__file__).parent.parent / "golden" / "preprocess.json"


def exif(orientation: int) -> Image.Exif:
    data = Image.Exif()
    data[0x0112] = orientation
    return data


def odd_pictures() -> dict[str, bytes]:
    """Lossless files only: a golden value must not hang on one decoder's rounding."""
    transparent = patches(60, 40)
    transparent.putalpha(Image.linear_gradient("L").resize((60, 40)))
    deep = Image.fromarray((np.arange(60 * 40).reshape(40, 60) * 27).astype(np.uint16))
    palette = patches(60, 40).quantize(16)
    return {
        "rgb": encoded(patches(60, 40), "PNG"),
        "grey": encoded(patches(60, 40, mode="L"), "PNG"),
        "one bit": encoded(patches(60, 40, mode="1"), "PNG"),
        "palette": encoded(palette, "PNG"),
        "palette with a transparent colour": encoded(palette, "PNG", transparency=3),
        "grey with a transparent level": encoded(patches(60, 40, mode="L"), "PNG", transparency=128),
        "alpha": encoded(transparent, "PNG"),
        "grey with alpha": encoded(transparent.convert("LA"), "PNG"),
        "16-bit grey": encoded(deep, "PNG"),
        "webp lossless": encoded(patches(60, 40), "WEBP", lossless=True),
        "webp with alpha": encoded(transparent, "WEBP", lossless=True, exact=True),
        "one pixel": encoded(patches(1, 1), "PNG"),
        "very wide": encoded(patches(900, 3), "PNG"),
        "larger": encoded(patches(641, 427), "PNG"),
        "rotated": encoded(patches(60, 40), "PNG", exif=exif(6)),
    }


def fingerprint(picture: np.ndarray) -> dict[str, object]:
    coarse = picture.reshape(4, 56, 4, 56, 3).mean(axis=(1, 3)).round(1)
    return {"sha256": hashlib.sha256(picture.tobytes()).hexdigest(), "coarse": coarse.tolist()}


@pytest.mark.parametrize("name", odd_pictures())
def test_odd_pictures_give_the_same_input_for_ever(name):
    # After a change that is meant (and a new PREPROCESS_VERSION): python -m tests.unit.test_preprocess
    golden = json.loads(GOLDEN.read_text())[name]
    found = fingerprint(preprocess(odd_pictures()[name]))
    np.testing.assert_allclose(found["coarse"], golden["coarse"], atol=0.1)
    assert found["sha256"] == golden["sha256"]


@pytest.mark.parametrize("file_format", ["PNG", "JPEG", "WEBP"])
def test_a_picture_of_the_right_size_passes_through_untouched_to_the_bit(file_format):
    file = encoded(patches(), file_format)
    with Image.open(io.BytesIO(file)) as image:
        expected = np.asarray(image.convert("RGB"))
    np.testing.assert_array_equal(preprocess(file), expected)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_exif_orientation_comes_out_upright(orientation):
    tagged = encoded(patches(50, 30), "PNG", exif=exif(orientation))
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(tagged)))
    np.testing.assert_array_equal(preprocess(tagged), preprocess(encoded(upright.convert("RGB"), "PNG")))


@pytest.mark.parametrize("data", [b"Exif\x00\x00broken", b"Exif\x00\x00MM\x00*\xff\xff\xff\xff", b"\x00"])
def test_broken_exif_data_counts_as_none(data):
    plain = encoded(patches(50, 30), "JPEG", quality=95)
    np.testing.assert_array_equal(
        preprocess(encoded(patches(50, 30), "JPEG", quality=95, exif=data)), preprocess(plain)
    )


def test_transparency_is_laid_on_white():
    clear = Image.new("RGBA", (10, 10), (255, 0, 0, 0))
    half = Image.new("RGBA", (10, 10), (255, 0, 0, 128))
    assert (preprocess(encoded(clear, "PNG")) == 255).all()
    np.testing.assert_array_equal(preprocess(encoded(half, "PNG"))[0, 0], [255, 127, 127])


def test_sixteen_bit_grey_keeps_its_high_byte():
    deep = Image.fromarray(np.full((5, 5), 0xABCD, np.uint16))
    assert (preprocess(encoded(deep, "PNG")) == 0xAB).all()


def test_cmyk_jpegs_keep_their_colours():
    red = Image.new("RGB", (64, 64), (220, 30, 40))
    difference = preprocess(encoded(red.convert("CMYK"), "JPEG", quality=95)).astype(int) - (220, 30, 40)
    assert np.abs(difference).max() < 8


def test_the_first_picture_of_a_phones_double_jpeg_is_read():
    double = encoded(patches(60, 40), "MPO", save_all=True, append_images=[patches(60, 40, seed=1)])
    np.testing.assert_array_equal(preprocess(double), preprocess(encoded(patches(60, 40), "JPEG")))


def test_shrinking_averages_instead_of_skipping():
    stripes = np.zeros((448, 448, 3), np.uint8)
    stripes[:, ::2] = 255
    assert np.abs(preprocess(encoded(Image.fromarray(stripes), "PNG")).astype(int) - 127).max() <= 32


@pytest.mark.parametrize("file_format", ["WEBP", "PNG"])
def test_animated_pictures_are_refused(file_format):
    with pytest.raises(InvalidImage, match="animated: send one still picture"):
        preprocess(animated(file_format))


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "the picture is empty"),
        (b"hello, this is text", "no JPEG, PNG or WebP"),
        (animated("GIF"), "no JPEG, PNG or WebP"),
        (encoded(patches(), "BMP"), "no JPEG, PNG or WebP"),
        (encoded(patches(), "TIFF"), "no JPEG, PNG or WebP"),
    ],
    ids=["empty", "text", "gif", "bmp", "tiff"],
)
def test_what_is_no_picture_of_the_three_formats_is_refused(data, sentence):
    with pytest.raises(InvalidImage, match=sentence):
        preprocess(data)


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP"])
def test_a_truncated_picture_is_refused_wherever_it_ends(file_format):
    whole = encoded(patches(), file_format)
    for share in range(1, 10):
        with pytest.raises(InvalidImage):
            preprocess(whole[: len(whole) * share // 10])


@pytest.mark.parametrize(
    "data",
    [
        png_header(60_000, 60_000),
        png_header(10_000, 10_000),
        *(webp_header(kind, 16_383, 16_383) for kind in (b"VP8 ", b"VP8L", b"VP8X")),
    ],
    ids=["png of 3.6 gigapixels", "png of 100 megapixels", "webp lossy", "webp lossless", "webp extended"],
)
def test_too_many_pixels_are_refused_by_the_header_alone(data):
    with pytest.raises(TooLarge, match="more than the 40,000,000 pixels accepted"):
        preprocess(data)


def test_a_jpeg_may_be_gone_over_as_often_as_encoders_do_and_not_much_more():
    whole = encoded(patches(64, 48), "JPEG", progressive=True)
    last = whole[whole.rindex(b"\xff\xda") : -2]
    most = 30 - whole.count(b"\xff\xda")
    assert preprocess(whole[:-2] + last * most + whole[-2:]).shape == SHAPE
    with pytest.raises(InvalidImage, match="31 scans, more than the 30 accepted"):
        preprocess(whole[:-2] + last * (most + 1) + whole[-2:])


def test_the_pixel_limit_is_exact():
    file = encoded(patches(50, 30), "PNG")
    assert preprocess(file, max_pixels=1500).shape == SHAPE
    with pytest.raises(TooLarge):
        preprocess(file, max_pixels=1499)


def test_too_many_bytes_are_refused_before_anything_is_read():
    with pytest.raises(TooLarge, match="more than the 10,485,760 accepted"):
        preprocess(b"\x00" * (MAX_IMAGE_BYTES + 1))


def test_the_same_picture_gives_the_same_bytes_in_every_thread():
    file = encoded(patches(500, 300), "JPEG", exif=exif(8))
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(preprocess, [file] * 32))
    assert len({result.tobytes() for result in results}) == 1


def is_a_picture_or_a_refusal(data: bytes) -> None:
    try:
        picture = preprocess(data, max_pixels=10_000_000)
    except AffectError:
        return
    assert picture.shape == SHAPE
    assert picture.dtype == np.uint8
    assert picture.flags.c_contiguous


@given(st.binary(max_size=400))
def test_any_bytes_give_a_picture_or_a_refusal(data):
    is_a_picture_or_a_refusal(data)


SEEDS = [
    encoded(patches(24, 16), "JPEG", exif=exif(6)),
    encoded(patches(24, 16), "JPEG", progressive=True),
    encoded(patches(24, 16, mode="CMYK"), "JPEG"),
    *(encoded(patches(24, 16, mode=mode), "PNG") for mode in ("RGB", "P", "1", "I;16")),
    encoded(patches(24, 16), "PNG", exif=exif(3)),
    encoded(patches(24, 16), "WEBP"),
    encoded(patches(24, 16), "WEBP", lossless=True, exif=exif(3)),
    animated("WEBP"),
    animated("PNG"),
]


@settings(max_examples=600, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(
    st.sampled_from(SEEDS),
    st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=8),
    st.floats(0.2, 1),
)
def test_damaged_pictures_give_a_picture_or_a_refusal(seed, damage, kept):
    data = bytearray(seed)
    for place, value in damage:
        data[int(place * len(data))] = value
    is_a_picture_or_a_refusal(bytes(data[: int(kept * len(data))]))


if __name__ == "__main__":
    GOLDEN.write_text(json.dumps({name: fingerprint(preprocess(file)) for name, file in odd_pictures().items()}))
