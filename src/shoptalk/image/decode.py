"""A picture's file to an RGB image, within limits.

    image = open_picture(picture_bytes("photographs.zip/cat/0001.jpg"))

Whatever the bytes are, the outcome is an image or `RefusedPicture` with a reason. The first frame of an animation is
read; a picture is turned as its EXIF says; what is transparent becomes white; 16-bit grey is scaled to 8 bits.
"""

import contextlib
import io
import os
import threading
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path

from PIL import Image, ImageOps

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff")
"""Of files that are read as pictures. What a file is, its first bytes say, not its name."""
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")
"""The decoders that may be used: Pillow has more, of formats that nobody sends and few have tested."""
MOST_BYTES = 50_000_000
"""Of a picture's file."""
MOST_PIXELS = 50_000_000
"""Of a picture: what it takes while it is decoded is at most four bytes each."""
_OPEN_ARCHIVES = 8
_WHITE = (255, 255, 255)


class RefusedPicture(Exception):  # noqa: N818 (as `files.RefusedFile`: an outcome that is counted, not an error)
    """A file that cannot be used as a picture: `reason` is short and stable, `detail` is for people."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason, self.detail = reason, detail


def picture_bytes(path: str, *, most: int = MOST_BYTES) -> bytes:
    """The bytes of a picture's file: of a file, or of one inside a zip, whose path leads through the zip.

    Raises:
        RefusedPicture: "missing", "unreadable" or "too-large".
    """
    archive = archive_of(path)
    if archive is not None:
        return _from_archive(*archive, most=most)
    try:
        file = Path(path)
        if not file.is_file():
            raise RefusedPicture("missing", f"there is no file {path}")
        if file.stat().st_size > most:
            raise _too_large(file.stat().st_size, most)
        return file.read_bytes()
    except (OSError, ValueError) as error:
        raise RefusedPicture("unreadable", getattr(error, "strerror", None) or str(error)) from error


def archive_of(path: str) -> tuple[str, str] | None:
    """The zip that a path leads through, and the name inside it; None for a path of a file by itself."""
    if ".zip/" not in path.lower():
        return None
    parts = path.split("/")
    for end in range(1, len(parts)):
        outer = "/".join(parts[:end])
        if outer.lower().endswith(".zip") and os.path.isfile(outer):  # noqa: PTH113 (paths may hold anything)
            return outer, "/".join(parts[end:])
    return None


class _Archives:
    """Zips that are open, for reading thousands of their files opens each once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: OrderedDict[tuple[str, int, int], zipfile.ZipFile] = OrderedDict()

    def read(self, outer: str, name: str, most: int) -> bytes:
        """A file's bytes."""
        stat = os.stat(outer)  # noqa: PTH116
        key = (outer, stat.st_mtime_ns, os.getpid())  # a forked process has file positions of its own to keep
        with self._lock:
            if key not in self._open:
                self._open[key] = zipfile.ZipFile(outer)
                if len(self._open) > _OPEN_ARCHIVES:
                    self._open.popitem(last=False)[1].close()
            self._open.move_to_end(key)
            archive = self._open[key]
            size = archive.getinfo(name).file_size
            if size > most:
                raise _too_large(size, most)
            with archive.open(name) as file:
                data = file.read(most + 1)
        if len(data) > most:  # it said less than it holds
            raise _too_large(len(data), most)
        return data


_archives = _Archives()


def _from_archive(outer: str, name: str, *, most: int) -> bytes:
    try:
        return _archives.read(outer, name, most)
    except KeyError:
        raise RefusedPicture("missing", f"{outer} holds no file {name}") from None
    except RefusedPicture:
        raise
    except Exception as error:  # a damaged zip can make the library raise anything at all
        raise RefusedPicture("unreadable", f"it cannot be unpacked ({_said(error)})") from error


def open_picture(data: bytes, *, most_pixels: int = MOST_PIXELS) -> Image.Image:
    """The picture as RGB.

    Raises:
        RefusedPicture: "empty", "not-a-picture", "too-many-pixels" or "damaged".
    """
    if not data:
        raise RefusedPicture("empty", "the file is empty")
    with _quiet():
        try:
            image = Image.open(io.BytesIO(data), formats=FORMATS)
        except Image.DecompressionBombError as error:
            raise RefusedPicture("too-many-pixels", _said(error)) from error
        except Exception as error:
            raise RefusedPicture(
                "not-a-picture", f"it is none of {', '.join(FORMATS)}; save it as PNG or JPEG"
            ) from error
        width, height = image.size
        if width * height > most_pixels:
            raise RefusedPicture(
                "too-many-pixels",
                f"it has {width:,} x {height:,} pixels, and {most_pixels:,} are allowed; make it smaller",
            )
        if not width or not height:
            raise RefusedPicture("empty", f"it has {width} x {height} pixels")
        try:
            image.load()
            return _in_rgb(_upright(image))
        except MemoryError as error:
            raise RefusedPicture("too-many-pixels", "memory does not suffice to decode it") from error
        except Exception as error:  # decoders raise anything for damaged files
            raise RefusedPicture("damaged", f"it cannot be decoded ({_said(error)}); save it again") from error


def _upright(image: Image.Image) -> Image.Image:
    """Turned as its EXIF says; as it is where that cannot be read."""
    try:
        return ImageOps.exif_transpose(image)
    except Exception:
        return image


def _in_rgb(image: Image.Image) -> Image.Image:
    """In 8 bits of red, green and blue, on white."""
    if image.mode in ("I;16", "I;16B", "I;16L", "I", "F"):
        low, high = image.getextrema()
        # 16 bits where the values need them, else what is there is 8 bits wide already.
        scale = 255.0 / 65_535.0 if max(abs(float(low)), abs(float(high))) > 255 else 1.0  # type: ignore[arg-type]
        image = image.convert("F").point(lambda value: value * scale).convert("L")
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        layered = image.convert("RGBA")
        background = Image.new("RGBA", layered.size, (*_WHITE, 255))
        background.alpha_composite(layered)
        image = background
    return image.convert("RGB")


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Pillow warns of damaged EXIF and of large pictures; both are judged here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _too_large(size: int, most: int) -> RefusedPicture:
    return RefusedPicture(
        "too-large", f"its file has {size / 1e6:,.0f} MB, and {most / 1e6:,.0f} MB are allowed; save it smaller"
    )


def _said(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
