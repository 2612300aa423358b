"""What a downloaded file really is: decoded in full, measured, hashed, and made small. Pure, and safe in threads.

Names, endings and declared types are never looked at. The bytes are kept as they came, whatever follows the picture's own
end included: they are harmless when served as the type found here, with nosniff and a sandbox. Source: Pillow's SECURITY.md;
OWASP File Upload Cheat Sheet.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import StrEnum
from io import BytesIO
from typing import Literal, NoReturn

from PIL import Image, ImageOps, UnidentifiedImageError

from app.errors import GatewayError

MAX_BYTES = 32 * 1024 * 1024  #: of a file
MAX_PIXELS = 50_000_000  #: of a picture; Pillow holds four bytes for each
MAX_SCANS = 64  #: of a JPEG; every scan is a pass over all pixels, and encoders write about ten
THUMBNAIL_SIDE = 320  #: the longest side of a thumbnail in pixels
THUMBNAIL_TYPE = "image/webp"

_MEDIA_TYPES = {"PNG": "image/png", "JPEG": "image/jpeg", "MPO": "image/jpeg", "WEBP": "image/webp"}
EXTENSIONS = {"image/png": "png", "image/jpeg": "jpg", "image/webp": "webp"}  #: of objects, by their media type
_PNG_END = b"IEND\xaeB`\x82"
_START_OF_SCAN = b"\xff\xda"


class Unusable(StrEnum):
    """Why a file is not kept as a picture."""

    NOT_A_PICTURE = "not_a_picture"  #: neither PNG nor JPEG nor WebP
    TRUNCATED = "truncated"  #: ends before the picture does; a new download may bring all of it
    CORRUPT = "corrupt"  #: starts like a picture, and cannot be decoded
    TOO_LARGE = "too_large"  #: more bytes than allowed
    TOO_MANY_PIXELS = "too_many_pixels"  #: declares more pixels than allowed; nothing was decoded
    TOO_MANY_SCANS = "too_many_scans"  #: a JPEG that would keep the decoder busy; nothing was decoded


class UnusablePictureError(GatewayError):
    """The file is not a picture that can be kept."""

    def __init__(self, reason: Unusable, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Picture:
    """What is known of a picture that was decoded from its first row to its last."""

    media_type: Literal["image/png", "image/jpeg", "image/webp"]  #: as found in the bytes
    width: int  #: in pixels, as the file says, before any EXIF orientation
    height: int
    size_matches: bool | None  #: None when no size was asked for. A paid picture of another size is kept, and flagged
    byte_count: int
    sha256: str  #: of the bytes as they came, 64 lower-case hex digits
    thumbnail: bytes  #: WebP, turned upright, without any metadata

    @property
    def extension(self) -> str:
        return EXTENSIONS[self.media_type]


def inspect(
    data: bytes, *, expected_size: str | None = None, max_bytes: int = MAX_BYTES, max_pixels: int = MAX_PIXELS
) -> Picture:
    """Decodes the file and tells what it is.

    It blocks: some 30 ms for an ordinary picture, seconds for the largest one allowed, which also takes up to 800 MB. Call
    it in a thread, few at a time: Pillow's decoders let other threads run, and the limits here bound each of them.

    Args:
        expected_size: as a job writes it, `1024*1536`.

    Raises:
        UnusablePictureError: its `reason` says why. The same bytes have the same answer for ever.
        MemoryError: this machine has too little just now; the picture may be good.
    """
    if len(data) > max_bytes:
        raise UnusablePictureError(Unusable.TOO_LARGE, f"{len(data)} bytes are more than {max_bytes}")
    with _opened(data) as image:
        _check_cost(image, data, max_pixels)
        _decode(image, data)
        width, height = image.size
        return Picture(
            media_type=_MEDIA_TYPES[image.format or ""],  # type: ignore[arg-type]  # the table holds just these
            width=width,
            height=height,
            size_matches=None if expected_size is None else expected_size == f"{width}*{height}",
            byte_count=len(data),
            sha256=hashlib.sha256(data).hexdigest(),
            thumbnail=_thumbnail(image),
        )


def _opened(data: bytes) -> Image.Image:
    """Reads the headers only."""
    try:
        return Image.open(BytesIO(data), formats=("PNG", "JPEG", "WEBP"))
    except MemoryError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise UnusablePictureError(Unusable.TOO_MANY_PIXELS, str(error)) from None
    except UnidentifiedImageError:
        raise UnusablePictureError(Unusable.NOT_A_PICTURE, "neither PNG nor JPEG nor WebP") from None
    except Exception as error:  # noqa: BLE001  # a stranger's bytes make a decoder raise anything
        _refuse(error, data)


def _check_cost(image: Image.Image, data: bytes, max_pixels: int) -> None:
    """Pillow only warns of bombs below twice its own limit; ours is lower, and looked at before a pixel is decoded."""
    width, height = image.size
    if width * height > max_pixels:
        raise UnusablePictureError(Unusable.TOO_MANY_PIXELS, f"{width}*{height} pixels are more than {max_pixels}")
    if _MEDIA_TYPES[image.format or ""] == "image/jpeg" and data.count(_START_OF_SCAN) > MAX_SCANS:
        raise UnusablePictureError(Unusable.TOO_MANY_SCANS, f"more than {MAX_SCANS} scans")


def _decode(image: Image.Image, data: bytes) -> None:
    """`load`, as `verify` passes what is cut off. A PNG cut after its last pixel even loads, so its end is looked for."""
    try:
        image.load()
    except MemoryError:
        raise
    except Exception as error:  # noqa: BLE001  # a stranger's bytes make a decoder raise anything
        _refuse(error, data)
    if image.format == "PNG" and _PNG_END not in data:
        raise UnusablePictureError(Unusable.TRUNCATED, "the end of the PNG is missing")


def _refuse(error: Exception, data: bytes) -> NoReturn:
    cut_off = "truncated" in str(error).lower() or _webp_is_short(data)
    reason = Unusable.TRUNCATED if cut_off else Unusable.CORRUPT
    raise UnusablePictureError(reason, f"cannot be decoded: {error}"[:200]) from error


def _webp_is_short(data: bytes) -> bool:
    """A WebP file says its own length; the decoder only says that it failed."""
    return data[:4] == b"RIFF" and len(data) < 8 + int.from_bytes(data[4:8], "little")


def _thumbnail(image: Image.Image) -> bytes:
    """Drawn onto an empty picture in the end, so that nothing but pixels comes along."""
    small = image if image.mode in {"RGB", "RGBA"} else image.convert("RGBA" if image.has_transparency_data else "RGB")
    small.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE), reducing_gap=2.0)
    upright = _upright(small)
    bare = Image.new(upright.mode, upright.size)
    bare.paste(upright)
    encoded = BytesIO()
    bare.save(encoded, "WEBP", quality=80)
    return encoded.getvalue()


def _upright(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # noqa: BLE001  # EXIF that cannot be read spoils no picture
        return image
