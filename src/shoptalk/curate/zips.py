"""What a zip says that it holds, and which of it is used: pictures whose names lead nowhere else.

    for member in members(Path("photographs.zip")):
        member.name, member.refusal            # "cat/1.jpg", None

Nothing is written where a name says, and nothing but the pictures is unpacked.
"""

import stat
import zipfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from shoptalk.curate.files import RefusedFile
from shoptalk.image.decode import SUFFIXES, RefusedPicture, archive_infos, unread_picture


@dataclass(frozen=True)
class Member:
    """A file inside a zip; `refusal` is why it is not used and what to do, None where it is."""

    name: str
    refusal: tuple[str, str] | None = None


def members(path: Path) -> list[Member]:
    """The files inside a zip by their names.

    Raises:
        RefusedFile: "unreadable", "too-large" or "empty".
    """
    try:
        infos = [info for info in archive_infos(str(path)) if not info.is_dir()]
    except RefusedPicture as refusal:
        raise RefusedFile(refusal.reason, refusal.detail) from refusal
    except Exception as error:  # a damaged zip can make the library raise anything at all
        said = " ".join(str(error).split())[:200]
        raise RefusedFile("unreadable", f"it is no zip that can be read ({said}); make it again") from error
    if not infos:
        raise RefusedFile("empty", "the zip holds no files")
    counts = Counter(info.filename for info in infos)
    return sorted((Member(info.filename, _refusal(info, counts)) for info in infos), key=lambda member: member.name)


def used_name(name: str, *, what: str = "zip") -> tuple[str, str] | None:
    """Why a file of that name in a zip, or in a folder of labelled pictures, is not read as a picture, and what to do;
    None where it is.
    """
    parts = parts_of(name)
    if any(part.startswith((".", "__MACOSX")) for part in parts):
        return "hidden", "a name that begins with a dot, and what macOS adds to zips, is not read"
    if name.lower().endswith(".zip"):
        return "nested-zip", f"a zip inside a {what} is not read; unpack it, or give it as a source of its own"
    if not name.lower().endswith(SUFFIXES):
        if (advice := unread_picture(name)) is not None:
            return "unknown-format", advice
        rest = "unpack it for the rest" if what == "zip" else "give the rest as a source of its own"
        return "unknown-format", f"of a {what} only pictures are read ({', '.join(SUFFIXES)}); {rest}"
    return None


def parts_of(name: str) -> tuple[str, ...]:
    """The folders of a name and the file's own; some programs of Windows part them by backslashes."""
    return PurePosixPath(name.replace("\\", "/")).parts


def _refusal(info: zipfile.ZipInfo, counts: Counter[str]) -> tuple[str, str] | None:
    parts = parts_of(info.filename)
    outside = ".." in parts or parts[:1] == ("/",) or (bool(parts) and parts[0].endswith(":"))
    if outside or not parts or "\0" in info.orig_filename:
        return (
            "unsafe-name",
            "a name that leads out of the zip, or that no file can have, is not used; make the zip again",
        )
    if stat.S_ISLNK(info.external_attr >> 16):
        return "link", "a link inside a zip is not followed; put the picture itself there"
    if counts[info.filename] > 1:
        return "repeated-name", f"the zip holds {counts[info.filename]} files of this name; give each its own"
    return used_name(info.filename)
