"""How much one file may hold: a few megabytes on the disk can unpack to more than anyone wants to wait for.

    refuse_oversized(Path("chats.jsonl.gz"), CurateConfig())        # RefusedFile, or nothing

A gzip file says nowhere reliably what it unpacks to, so it is unpacked once before its rows are read, and no further
than to what would be refused. That costs a tenth of what reading the rows does.
"""

import gzip
import zlib
from pathlib import Path

from shoptalk.config import CurateConfig
from shoptalk.curate.files import RefusedFile

MEGABYTE = 1_000_000
HARMLESS = 100 * MEGABYTE
"""What a gzip file may unpack to however small it is."""
_DENSEST = 1_040
"""Deflate packs nothing denser than this: 258 bytes into 2 bits."""
_CHUNK = 1 << 20


def refuse_oversized(path: Path, config: CurateConfig, *, labels: bool = False) -> None:
    """Refuse a file that holds more than the settings allow. What cannot be opened is left to those who read it.

    Args:
        path: the file, gzip or not.
        config: the limits.
        labels: whether it is a file of labels, all of which are held in memory.

    Raises:
        RefusedFile: "too-large".
    """
    setting = "label_megabytes" if labels else "file_megabytes"
    limit = config.label_megabytes if labels else config.file_megabytes
    try:
        if not path.is_file():
            return
        size = path.stat().st_size
        if size > limit * MEGABYTE:
            raise _too_large(f"it has {size / MEGABYTE:,.0f} MB", setting, limit)
        most = min(limit * MEGABYTE, max(HARMLESS, config.unpack_ratio * size))
        if path.suffix.lower() != ".gz" or size * _DENSEST <= most or _unpacks_within(path, most):
            return
    except OSError:
        return
    if most < limit * MEGABYTE:
        raise RefusedFile(
            "too-large",
            f"its {size / MEGABYTE:,.2f} MB unpack to more than {most / MEGABYTE:,.0f} MB, over "
            f"{config.unpack_ratio:g} times as much, which text hardly ever does; if it is text all the same, raise "
            "curate.unpack_ratio",
        )
    raise _too_large(f"its {size / MEGABYTE:,.0f} MB unpack to more", setting, limit)


def _too_large(what: str, setting: str, limit: float) -> RefusedFile:
    return RefusedFile(
        "too-large", f"{what}, and curate.{setting} allows {limit:,.0f} MB; split the file, or raise that setting"
    )


def _unpacks_within(path: Path, most: float) -> bool:
    """Whether a gzip file holds at most so many bytes. Of a damaged one, what comes before the damage counts."""
    total = 0
    try:
        with gzip.open(path) as file:
            while part := len(file.read(_CHUNK)):
                total += part
                if total > most:
                    return False
    except (EOFError, zlib.error, OSError):
        return True
    return True
