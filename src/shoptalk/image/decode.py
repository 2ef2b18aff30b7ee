"""A picture's file to an RGB image, within limits.

    image = open_picture(picture_bytes("photographs.zip/cat/0001.jpg"))

Whatever the bytes are, the outcome is an image or `RefusedPicture` with a reason. The first frame of an animation is
read; a picture is turned as its EXIF says; what is transparent becomes white; 16-bit grey is divided by 257.
"""

import contextlib
import io
import logging
import os
import threading
import warnings
import zipfile
from collections import OrderedDict
from pathlib import Path

from PIL import Image, ImageOps

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff")
"""Of files that are read as pictures. What a file is, its first bytes say, not its name."""
_OTHER_SUFFIXES = (".heic", ".heif", ".avif", ".jxl", ".jp2", ".svg", ".psd", ".dng", ".cr2", ".nef", ".arw")
"""Of pictures that nothing here decodes."""
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")
"""The decoders that may be used: Pillow has more, of formats that nobody sends and few have tested."""
MOST_BYTES = 50_000_000
"""Of a picture's file, where nobody says otherwise."""
MOST_PIXELS = 50_000_000
"""Of a picture, where nobody says otherwise. While it is decoded it takes up to 14 bytes a pixel."""
LARGEST_BYTES = 2_000_000_000
"""Of any picture's file, whatever the settings say."""
LARGEST_PIXELS = 170_000_000
"""Of any picture, whatever the settings say: Pillow itself refuses a little more than that."""
MOST_SCANS = 100
"""Passes over all pixels that a progressive JPEG may take: programs write ten, and each costs as much as any, though a
file says it in ten bytes. The limit is libtiff's.
"""
MOST_DIRECTORY = 64_000_000
"""Bytes of a zip's directory, all of which Python's library reads at once: a million names. In memory it takes ten
times that.
"""
_OPEN_ARCHIVES = 8
_BOUNDED = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""Of the others Python unpacks all that it has read at once, however much that becomes: 2,000 bytes of bzip2 may be
3 GB in memory, whatever the zip says of their size.
"""
# What Pillow logs of damaged files is in the reason that they are refused with; without a handler it would be printed.
logging.getLogger("PIL").addHandler(logging.NullHandler())
_WHITE = (255, 255, 255)


class RefusedPicture(Exception):  # noqa: N818 (as `files.RefusedFile`: an outcome that is counted, not an error)
    """A file that cannot be used as a picture: `reason` is short and stable, `detail` is for people. `limit` says which
    of the caller's limits it exceeds, "bytes" or "pixels", where it is one of them.
    """

    def __init__(self, reason: str, detail: str, *, limit: str = "") -> None:
        super().__init__(detail)
        self.reason, self.detail, self.limit = reason, detail, limit


def unread_picture(name: str) -> str | None:
    """What to do with a file whose name says that it is a picture of a format that is not read; None of others."""
    if not name.lower().endswith(_OTHER_SUFFIXES):
        return None
    return f"a picture in a format that is not read (of these it is: {', '.join(SUFFIXES)}); save it as JPEG or PNG"


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
        with file.open("rb") as opened:
            data = opened.read(most + 1)
        if len(data) > most:  # it grows, or is one that says that it is empty
            raise _too_large(len(data), most)
        return data
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


class _BoundedFile(io.BufferedReader):
    """A zip's file that, until `opened`, refuses to be read in larger pieces than a directory may be.

    What a zip says of its directory's size stands in several places, some of which anyone may forge; what the library
    asks for is what will be in memory.
    """

    opened = False

    def read(self, size: int | None = -1, /) -> bytes:
        """The next bytes.

        Raises:
            RefusedPicture: "too-large", where a directory would be.
        """
        if not self.opened and (size is None or not 0 <= size <= MOST_DIRECTORY):
            left = os.fstat(self.fileno()).st_size - self.tell()
            asked = left if size is None or size < 0 else min(size, left)
            if asked > MOST_DIRECTORY:
                limit = f"{MOST_DIRECTORY / 1e6:,.0f} MB are read"
                detail = f"its zip's directory has {asked / 1e6:,.0f} MB, and {limit}; split the zip"
                raise RefusedPicture("too-large", detail)
        return super().read(size)


class _BoundedZip(zipfile.ZipFile):
    """A zip whose directory is read within limits."""

    _bounded: _BoundedFile | None = None

    def __init__(self, outer: str) -> None:
        bounded = self._bounded = _BoundedFile(io.FileIO(outer))
        try:
            super().__init__(bounded)
        except BaseException:
            bounded.close()
            raise
        bounded.opened = True

    def close(self) -> None:
        """Close its file too."""
        super().close()
        if self._bounded is not None:  # it is, where the file could not be opened, and the library closes all the same
            self._bounded.close()


class _Archives:
    """Zips that are open, for reading thousands of their files opens each once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: OrderedDict[tuple[str, int, int, int], zipfile.ZipFile] = OrderedDict()

    def infos(self, outer: str) -> list[zipfile.ZipInfo]:
        """What its directory says of each file."""
        with self._lock:
            return self._opened(outer).infolist()

    def holds(self, outer: str, name: str) -> bool:
        """Whether there is a file of that name."""
        with self._lock:
            return name in self._opened(outer).NameToInfo

    def _opened(self, outer: str) -> zipfile.ZipFile:
        """For whoever holds the lock.

        Raises:
            RefusedPicture: "too-large", of its directory.
        """
        stat = os.stat(outer)  # noqa: PTH116
        key = (
            outer,
            stat.st_mtime_ns,
            stat.st_size,
            os.getpid(),
        )  # a forked process has file positions of its own to keep
        if key not in self._open:
            self._open[key] = _BoundedZip(outer)
            if len(self._open) > _OPEN_ARCHIVES:
                self._open.popitem(last=False)[1].close()
        self._open.move_to_end(key)
        return self._open[key]

    def read(self, outer: str, name: str, most: int) -> bytes:
        """A file's bytes."""
        with self._lock:
            archive = self._opened(outer)
            info = archive.getinfo(name)
            if info.file_size > most:
                raise _too_large(info.file_size, most)
            if info.compress_type not in _BOUNDED:
                raise RefusedPicture("unreadable", "it is packed by neither deflate nor nothing; make the zip again")
            with archive.open(name) as file:
                data = file.read(most + 1)
        if len(data) > most:  # it said less than it holds
            raise _too_large(len(data), most)
        return data


_archives = _Archives()


def archive_infos(outer: str) -> list[zipfile.ZipInfo]:
    """What a zip's directory says of each file.

    Raises:
        RefusedPicture: "too-large", of its directory.
        Exception: anything that the library raises of a zip that is damaged.
    """
    return _archives.infos(outer)


def is_packed(path: str) -> bool:
    """Whether a path leads through a zip that holds the rest of it."""
    archive = archive_of(path)
    try:
        return archive is not None and _archives.holds(*archive)
    except Exception:  # a damaged zip can make the library raise anything at all; who reads it says so
        return True


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
    if _scans(data) > MOST_SCANS:
        detail = f"it is decoded in more than {MOST_SCANS} passes, which no program needs; save it again"
        raise RefusedPicture("damaged", detail)
    with _quiet:
        try:
            image = Image.open(io.BytesIO(data), formats=FORMATS)
        except Image.DecompressionBombError as error:
            detail = f"it says that it has more pixels than any picture may ({LARGEST_PIXELS:,}); make it smaller"
            raise RefusedPicture("too-many-pixels", detail) from error
        except Exception as error:
            raise RefusedPicture(
                "not-a-picture", f"it is none of {', '.join(FORMATS)}; save it as PNG or JPEG"
            ) from error
        width, height = image.size
        if width * height > most_pixels:
            raise RefusedPicture(
                "too-many-pixels",
                f"it has {width:,} x {height:,} pixels, and {most_pixels:,} are allowed; make it smaller",
                limit="pixels",
            )
        if not width or not height:
            raise RefusedPicture("empty", f"it has {width} x {height} pixels")
        try:
            image.load()
            return _in_rgb(_upright(image))
        except MemoryError as error:
            raise RefusedPicture("too-many-pixels", "memory does not suffice to decode it; make it smaller") from error
        except Exception as error:  # decoders raise anything for damaged files
            raise RefusedPicture("damaged", f"it cannot be decoded ({_said(error)}); save it again") from error


def _scans(data: bytes) -> int:
    """The passes that a JPEG file takes to decode; what is not surely fewer than allowed is counted marker by marker,
    as thumbnails inside and what follows the picture have some of their own.
    """
    start = b"\xff\xda"
    if not data.startswith(b"\xff\xd8") or (most := data.count(start)) <= MOST_SCANS:
        return 0
    scans, at = 0, 2
    while 0 <= (at := data.find(b"\xff", at)) < len(data) - 1 and scans < most:
        marker = data[at + 1]
        if marker == 0xD9:  # the end
            break
        if marker == 0xFF:  # padding
            at += 1
        elif marker <= 1 or 0xD0 <= marker <= 0xD8:  # without a length of its own
            at += 2
        else:
            scans += marker == 0xDA
            at += 2 + max(2, int.from_bytes(data[at + 2 : at + 4], "big"))
    return scans


def _upright(image: Image.Image) -> Image.Image:
    """Turned as its EXIF says; as it is where that cannot be read."""
    with contextlib.suppress(Exception):
        ImageOps.exif_transpose(image, in_place=True)
    return image


def _in_rgb(image: Image.Image) -> Image.Image:
    """In 8 bits of red, green and blue, on white."""
    if image.mode.startswith("I") or image.mode == "F":
        return _in_eight_bits(image).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        layered = image.convert("RGBA")
        background = Image.new("RGB", layered.size, _WHITE)
        background.paste(layered, mask=layered.getchannel("A"))
        return background
    return image if image.mode == "RGB" else image.convert("RGB")


def _in_eight_bits(image: Image.Image) -> Image.Image:
    """Grey of 16 or 32 bits or of fractions in 8 bits.

    Grey of 16 bits is divided by 257, whatever its largest value is. How wide 32 bits and fractions are meant to be, no
    file says, and it stays guessed by the largest value: fractions up to 1 are of 1, values up to 255 of 255, those up
    to 65,535 of that, and larger ones of the largest. So of two such pictures the darker one may come out brighter.
    """
    _, high = (float(end) for end in image.getextrema())  # type: ignore[arg-type]
    if image.mode.startswith("I;16") or 255 < high <= 65_535:
        scale = 1 / 257
    elif image.mode == "F" and high <= 1:
        scale = 255.0
    else:
        scale = 255 / high if 65_535 < high < float("inf") else 1.0
    return image.convert("F").point(lambda value: value * scale).convert("L")


class _Quiet:
    """Pillow warns of damaged EXIF and of large pictures, both of which are judged here.

    What the interpreter does about warnings is one for all threads: the first that decodes silences them, and the last
    that does restores them.
    """

    def __init__(self) -> None:
        self._lock, self._inside = threading.Lock(), 0
        self._caught = warnings.catch_warnings()

    def __enter__(self) -> None:
        with self._lock:
            if not self._inside:
                self._caught = warnings.catch_warnings()
                self._caught.__enter__()
                warnings.simplefilter("ignore")
            self._inside += 1

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                self._caught.__exit__(None, None, None)


_quiet = _Quiet()


def _too_large(size: int, most: int) -> RefusedPicture:
    detail = f"its file has {size / 1e6:,.1f} MB, and {most / 1e6:,.1f} MB are allowed; save it smaller"
    return RefusedPicture("too-large", detail, limit="bytes")


def _said(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
