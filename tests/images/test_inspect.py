"""The inspector: real pictures pass with their real measures; everything else is refused by one named error."""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from io import BytesIO
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some
from PIL import Image, ImageCms
from PIL.ExifTags import GPS, IFD, Base

from app.images.inspect import MAX_SCANS, THUMBNAIL_SIDE, Picture, Unusable, UnusablePictureError, inspect

FORMATS = {"PNG": "image/png", "JPEG": "image/jpeg", "WEBP": "image/webp"}
SIZES = ["1024*1024", "1024*1536", "1536*1024", "768*1024", "1024*768"]
SCRIPT = b"<script>alert(document.domain)</script>"
RED, BLUE = (255, 0, 0), (0, 0, 255)


@cache
def scene(width: int = 40, height: int = 30, mode: str = "RGB") -> Image.Image:
    """Something with detail, so that its code has some length."""
    return Image.radial_gradient("L").resize((width, height)).convert("RGB").convert(mode)


def encoded(image: Image.Image, format_: str, **options: Any) -> bytes:
    buffer = BytesIO()
    image.save(buffer, format_, **options)
    return buffer.getvalue()


@cache
def small(format_: str) -> bytes:
    return encoded(scene(), format_)


def reason(data: bytes, **limits: Any) -> Unusable:
    with pytest.raises(UnusablePictureError) as raised:
        inspect(data, **limits)
    assert str(raised.value)
    return raised.value.reason


def thumbnail(picture: Picture) -> Image.Image:
    image = Image.open(BytesIO(picture.thumbnail), formats=["WEBP"])
    image.load()
    return image


def png_chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def png_of(width: int, height: int, *chunks: bytes) -> bytes:
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0))
    pixels = png_chunk(b"IDAT", zlib.compress(bytes(1000)))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(chunks) + pixels + png_chunk(b"IEND", b"")


# Pictures.


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("format_", FORMATS)
def test_a_picture_is_told_as_it_is(format_: str, size: str) -> None:
    width, height = (int(side) for side in size.split("*"))
    data = encoded(scene(width, height), format_)
    picture = inspect(data, expected_size=size)
    assert (picture.media_type, picture.width, picture.height) == (FORMATS[format_], width, height)
    assert picture.size_matches
    assert (picture.byte_count, picture.sha256) == (len(data), hashlib.sha256(data).hexdigest())
    assert thumbnail(picture).size == (round(width * 320 / max(width, height)), round(height * 320 / max(width, height)))


def test_the_extension_follows_the_bytes() -> None:
    assert [inspect(small(format_)).extension for format_ in FORMATS] == ["png", "jpg", "webp"]


def test_a_picture_of_another_size_is_kept_and_flagged() -> None:
    assert inspect(small("PNG"), expected_size="1024*1024").size_matches is False
    assert inspect(small("PNG"), expected_size="30*40").size_matches is False
    assert inspect(small("PNG"), expected_size="40*30").size_matches is True
    assert inspect(small("PNG")).size_matches is None


def test_a_small_picture_is_not_blown_up() -> None:
    assert thumbnail(inspect(small("PNG"))).size == (40, 30)


def test_a_thin_picture_keeps_a_pixel_of_width() -> None:
    assert thumbnail(inspect(encoded(scene(3000, 2), "PNG"))).size == (THUMBNAIL_SIDE, 1)


@pytest.mark.parametrize("format_", FORMATS)
def test_what_follows_the_picture_is_kept_with_it(format_: str) -> None:
    data = small(format_) + SCRIPT
    picture = inspect(data)
    assert (picture.media_type, picture.sha256) == (FORMATS[format_], hashlib.sha256(data).hexdigest())
    assert SCRIPT not in picture.thumbnail


@pytest.mark.parametrize(
    ("format_", "mode"),
    [("PNG", mode) for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")]
    + [("JPEG", mode) for mode in ("L", "RGB", "CMYK")]
    + [("WEBP", mode) for mode in ("RGB", "RGBA")],
)
def test_every_kind_of_pixel_makes_a_thumbnail(format_: str, mode: str) -> None:
    picture = inspect(encoded(scene(400, 300, mode), format_))
    assert thumbnail(picture).size == (320, 240)


@pytest.mark.parametrize("mode", ["P", "RGBA", "LA"])
def test_what_is_transparent_stays_so_in_the_thumbnail(mode: str) -> None:
    clear = Image.new("RGBA", (40, 30), (0, 0, 0, 0)).convert(mode)
    data = encoded(clear, "PNG", **({"transparency": clear.getpixel((0, 0))} if mode == "P" else {}))
    assert thumbnail(inspect(data)).convert("RGBA").getpixel((20, 15))[3] == 0  # type: ignore[index]


@pytest.mark.parametrize("format_", ["PNG", "WEBP"])
def test_an_animation_is_kept_and_its_thumbnail_is_a_still(format_: str) -> None:
    frames = [Image.new("RGB", (40, 30), colour) for colour in (RED, BLUE)]
    picture = inspect(encoded(frames[0], format_, save_all=True, append_images=frames[1:]))
    assert picture.media_type == FORMATS[format_]
    assert getattr(thumbnail(picture), "n_frames", 1) == 1


def test_a_jpeg_of_several_pictures_is_a_jpeg() -> None:
    picture = inspect(encoded(scene(), "MPO", save_all=True, append_images=[scene(50, 50)]))
    assert (picture.media_type, picture.width) == ("image/jpeg", 40)


def test_threads_do_not_disturb_each_other() -> None:
    files = [encoded(scene(200 + 10 * n, 100), format_) for n in range(4) for format_ in FORMATS]
    alone = [inspect(data) for data in files]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(inspect, files * 3)) == alone * 3


# Metadata.


def camera_exif(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[Base.Orientation] = orientation
    exif[Base.Make] = "SecretCamera"
    exif.get_ifd(IFD.GPSInfo)[GPS.GPSLatitudeRef] = "N"
    return exif


@pytest.mark.parametrize("format_", FORMATS)
def test_a_thumbnail_carries_no_metadata(format_: str) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    extra = {"comment": b"SecretComment"} if format_ == "JPEG" else {}
    data = encoded(scene(), format_, exif=camera_exif(1), icc_profile=profile, **extra)
    assert b"SecretCamera" in data
    small_picture = inspect(data).thumbnail
    assert not any(word in small_picture for word in (b"Secret", b"EXIF", b"Exif", b"ICCP", b"XMP "))
    assert not thumbnail(inspect(data)).getexif()


@pytest.mark.parametrize("format_", FORMATS)
@pytest.mark.parametrize(
    ("orientation", "size", "top_left"),
    [(1, (40, 20), RED), (2, (40, 20), BLUE), (3, (40, 20), BLUE), (6, (20, 40), RED), (8, (20, 40), BLUE)],
)
def test_a_thumbnail_stands_upright(format_: str, orientation: int, size: tuple[int, int], top_left: tuple[int, ...]) -> None:
    image = Image.new("RGB", (40, 20), RED)
    image.paste(BLUE, (20, 0, 40, 20))
    picture = inspect(encoded(image, format_, exif=camera_exif(orientation)))
    shown = thumbnail(picture).convert("RGB")
    assert shown.size == size
    assert all(abs(one - other) < 60 for one, other in zip(shown.getpixel((4, 4)), top_left, strict=True))  # type: ignore[arg-type]
    assert (picture.width, picture.height) == (40, 20), "the measures are those of the file"


@pytest.mark.parametrize("format_", FORMATS)
def test_metadata_that_cannot_be_read_spoils_no_picture(format_: str) -> None:
    data = encoded(scene(), format_, exif=b"Exif\0\0" + b"\xff" * 40)
    assert b"\xff" * 40 in data
    assert thumbnail(inspect(data)).size == (40, 30)


# No pictures, or not whole.


@pytest.mark.parametrize("format_", FORMATS)
def test_a_picture_cut_anywhere_is_refused(format_: str) -> None:
    whole = small(format_)
    reasons = [reason(whole[:length]) for length in range(len(whole))]
    assert reasons[0] == Unusable.NOT_A_PICTURE
    assert reasons[-1] == reasons[-10] == reasons[-20] == Unusable.TRUNCATED


@pytest.mark.parametrize("options", [{"format_": "PNG"}, {"format_": "JPEG"}, {"format_": "JPEG", "progressive": True},
                                     {"format_": "WEBP"}, {"format_": "WEBP", "lossless": True}])  # fmt: skip
def test_a_large_picture_cut_at_many_places_is_refused(options: dict[str, Any]) -> None:
    whole = encoded(scene(768, 1024), **options)
    for length in range(1, len(whole), len(whole) // 40):
        assert reason(whole[:length]) in {Unusable.TRUNCATED, Unusable.NOT_A_PICTURE, Unusable.CORRUPT}
    assert reason(whole[:-1]) == Unusable.TRUNCATED


def test_a_picture_with_broken_code_is_corrupt() -> None:
    whole = bytearray(small("PNG"))
    at = whole.index(b"IDAT") + 4
    whole[at : at + 20] = bytes(20)
    assert reason(bytes(whole)) == Unusable.CORRUPT


@pytest.mark.parametrize(
    "format_", ["GIF", "BMP", "TIFF", "EPS", "PDF", "ICO", "PPM", "TGA", "ICNS", "PCX", "JPEG2000", "AVIF"]
)
def test_pictures_of_other_kinds_are_refused(format_: str) -> None:
    assert reason(encoded(scene(), format_)) == Unusable.NOT_A_PICTURE


@pytest.mark.parametrize(
    "data",
    [b"", b"\0" * 1000, b"<html><body>404</body></html>", b'{"error": "expired"}', SCRIPT, b"%!PS-Adobe-3.0 EPSF-3.0\n",
     b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>', b"\x1f\x8b\0\0", b"PK\x03\x04"],
)  # fmt: skip
def test_what_is_no_picture_is_refused(data: bytes) -> None:
    assert reason(data) == Unusable.NOT_A_PICTURE
    assert reason(data + b"\n" + small("PNG")) == Unusable.NOT_A_PICTURE, "a picture further on does not help"


# Bombs.


def declaring_jpeg(width: int, height: int) -> bytes:
    data = bytearray(small("JPEG"))
    at = data.index(b"\xff\xc0")
    data[at + 5 : at + 9] = struct.pack(">HH", height, width)
    return bytes(data)


def declaring_webp(width: int, height: int) -> bytes:
    data = bytearray(encoded(scene(), "WEBP", exif=b"Exif\0\0MM"))
    assert data[12:16] == b"VP8X"
    data[24:27], data[27:30] = (width - 1).to_bytes(3, "little"), (height - 1).to_bytes(3, "little")
    return bytes(data)


BOMBS: dict[str, Callable[[], bytes]] = {
    "png": lambda: png_of(50_000, 50_000),
    "png as large as can be": lambda: png_of(2**31 - 1, 2**31 - 1),
    "png that Pillow only warns of": lambda: png_of(10_000, 9_000),
    "png that Pillow lets pass": lambda: png_of(10_000, 5_001),
    "jpeg": lambda: declaring_jpeg(65_500, 65_500),
    "jpeg that Pillow lets pass": lambda: declaring_jpeg(10_000, 5_001),
    "webp": lambda: declaring_webp(16_383, 16_383),
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_bomb_is_refused(bomb: str) -> None:
    data = BOMBS[bomb]()
    assert len(data) < 3000
    assert reason(data) == Unusable.TOO_MANY_PIXELS


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_a_bomb_is_refused_too_where_warnings_are_not_errors() -> None:
    assert reason(png_of(10_000, 9_000)) == Unusable.TOO_MANY_PIXELS


@pytest.mark.parametrize("format_", FORMATS)
def test_the_last_pixel_allowed_is_allowed(format_: str) -> None:
    assert inspect(small(format_), max_pixels=1200).width == 40
    assert reason(small(format_), max_pixels=1199) == Unusable.TOO_MANY_PIXELS


def test_the_last_byte_allowed_is_allowed() -> None:
    data = small("PNG")
    assert inspect(data, max_bytes=len(data)).width == 40
    assert reason(data, max_bytes=len(data) - 1) == Unusable.TOO_LARGE
    assert reason(data + bytes(32 * 1024 * 1024)) == Unusable.TOO_LARGE


def test_texts_that_unfold_without_end_are_refused() -> None:
    text = png_chunk(b"zTXt", b"name\0\0" + zlib.compress(bytes(80 * 1024 * 1024), 9))
    assert reason(png_of(8, 8, text)) == Unusable.CORRUPT


def test_a_jpeg_of_endless_scans_is_refused_and_an_ordinary_progressive_one_is_not() -> None:
    whole = encoded(scene(), "JPEG", progressive=True)
    last = whole[whole.rindex(b"\xff\xda") : whole.rindex(b"\xff\xd9")]
    assert inspect(whole).width == 40
    assert reason(whole[:-2] + last * MAX_SCANS + b"\xff\xd9") == Unusable.TOO_MANY_SCANS


# Anything.

PATIENT = settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.too_slow])
MAGICS = [
    b"",
    b"\x89PNG\r\n\x1a\n",
    b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR",
    b"\xff\xd8\xff",
    b"\xff\xd8\xff\xe1\x00\x20Exif\0\0",
    *(b"RIFF\x20\0\0\0WEBP" + kind for kind in (b"VP8 ", b"VP8L", b"VP8X")),
]


def inspect_or_refuse(data: bytes) -> None:
    try:
        picture = inspect(data, max_pixels=1_000_000)
    except UnusablePictureError:
        return
    assert picture.sha256 == hashlib.sha256(data).hexdigest()
    assert max(thumbnail(picture).size) <= THUMBNAIL_SIDE


@PATIENT
@given(magic=some.sampled_from(MAGICS), rest=some.binary(max_size=300))
def test_random_bytes_are_refused_by_name(magic: bytes, rest: bytes) -> None:
    inspect_or_refuse(magic + rest)


@PATIENT
@given(format_=some.sampled_from(sorted(FORMATS)), flips=some.lists(some.integers(0, 10**6), min_size=1, max_size=8))
def test_flipped_bits_give_a_picture_or_the_named_error(format_: str, flips: list[int]) -> None:
    data = bytearray(small(format_))
    for flip in flips:
        data[flip // 8 % len(data)] ^= 1 << flip % 8
    inspect_or_refuse(bytes(data))


@PATIENT
@given(
    format_=some.sampled_from(sorted(FORMATS)),
    at=some.integers(0, 400),
    piece=some.binary(max_size=40),
    cut=some.integers(0, 40),
)
def test_replaced_pieces_give_a_picture_or_the_named_error(format_: str, at: int, piece: bytes, cut: int) -> None:
    data = encoded(scene(), format_, exif=camera_exif(6))
    inspect_or_refuse(data[:at] + piece + data[at + cut :])
