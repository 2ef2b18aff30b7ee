"""A copy of what a server keeps, while it serves; and putting one back while none does."""

import contextlib
import fcntl
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from sqlalchemy import make_url

from shoptalk.artifact import open_artifact, storage_errors
from shoptalk.assistant.assistant_settings import FILE, settings_section
from shoptalk.errors import ConfigError, InputError, StorageError
from shoptalk.readback import refuse_no_folder
from shoptalk.serve.sqlite import copy_sqlite

DATABASE = "serve.db"
_LOCK = ".serving"
_NAMED = ("rules", "logo")
"""Settings that name a file."""
_KINDS = (".toml", ".svg", ".png", ".jpg", ".jpeg", ".webp", ".gif")
"""Ends of the names of such files: nothing else of a run is ever put in another's place."""
_ARTIFACTS = ("knowledge", "calibration")
_TRIES = 5


def database_file(run: Path, url: str | None) -> Path:
    """The file of a run's database.

    Raises:
        InputError: it is another database, which has means of its own.
    """
    if url is None:
        return run / DATABASE
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite" or not parsed.database:
        raise InputError(f"{url} is no SQLite file. Copy it with its own tool, such as pg_dump.")
    return Path(parsed.database)


@contextlib.contextmanager
def serving(run: Path) -> Iterator[None]:
    """Held by every server of a run, so that nothing is put back under it."""
    with storage_errors(run / _LOCK), (run / _LOCK).open("a") as handle:
        fcntl.flock(handle, fcntl.LOCK_SH)
        yield


def back_up(run: Path, out: Path, *, url: str | None = None) -> dict[str, Any]:
    """The database, the knowledge, the calibration and `assistant.toml` of a run, with the rules and the logo that it
    names inside the run, in one zip file, also while a server writes. `left_out` are the files that it names elsewhere.

    Raises:
        InputError: there is no database, or `out` is there already.
    """
    database = database_file(run, url)
    if not database.is_file():
        raise InputError(
            f"{database} is not there: nothing was served from {run} yet. Give the run, and --db if it has one."
        )
    if out.exists():
        raise InputError(f"{out} exists already and is left as it is. Give another file.")
    with storage_errors(out):
        out.parent.mkdir(parents=True, exist_ok=True)
    with storage_errors(out), tempfile.TemporaryDirectory(dir=out.parent or Path(), prefix=".backup-") as scratch:
        copy = Path(scratch) / DATABASE
        copy_sqlite(database, copy)
        for name in _ARTIFACTS:
            _copy_artifact(run / name, Path(scratch) / name)
        named, left_out = _settings_files(run)
        for name in named:
            if (run / name).is_file():
                (Path(scratch) / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(run / name, Path(scratch) / name)
        whole = Path(scratch) / "whole.zip"
        names = [path for path in sorted(Path(scratch).rglob("*")) if path.is_file() and path != whole]
        with zipfile.ZipFile(whole, "w", zipfile.ZIP_DEFLATED) as archive:
            for path in names:
                archive.write(path, path.relative_to(scratch).as_posix())
        whole.rename(out)
    return {"files": len(names), "bytes": out.stat().st_size, "left_out": left_out}


def _settings_files(folder: Path) -> tuple[list[str], list[str]]:
    """`assistant.toml` and the files inside the same folder that it names; and those that it names elsewhere."""
    if not (folder / FILE).is_file():
        return [], []
    inside, elsewhere = [FILE], list[str]()
    with contextlib.suppress(ConfigError):  # one that cannot be read is copied as it is
        section = settings_section(folder / FILE, "assistant", strict=False)
        for name in (section[key] for key in _NAMED if isinstance(section.get(key), str) and section[key]):
            (inside if _may_be_named(name) else elsewhere).append(name)
    return inside, elsewhere


def _may_be_named(name: str) -> bool:
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts and path.suffix.lower() in _KINDS


def _copy_artifact(artifact: Path, copy: Path) -> None:
    """An artifact as of one moment, if it is there: where it was swapped while being copied, once more."""
    for _ in range(_TRIES):
        shutil.rmtree(copy, ignore_errors=True)
        with contextlib.suppress(FileNotFoundError, shutil.Error):
            before = open_artifact(artifact)
            if before is None:
                return
            shutil.copytree(artifact, copy)
            copied = open_artifact(copy)
            if copied is not None and copied.content == before.content:
                return
    raise StorageError(f"{artifact} changes faster than it can be copied. Try again later.")


def put_back(run: Path, backup: Path, *, url: str | None = None) -> dict[str, int]:
    """What a backup holds becomes what the run has. What was there before is kept beside it, as `*.before-restore`.

    Raises:
        InputError: it is no backup, or the run is no folder.
        StorageError: a server is running.
    """
    refuse_no_folder(run)
    database = database_file(run, url)
    with storage_errors(run), (run / _LOCK).open("a") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StorageError(f"A server is running on {run}. Stop it, restore, and start it again.") from None
        with tempfile.TemporaryDirectory(dir=run, prefix=".restore-") as scratch:
            _unpack(backup, Path(scratch))
            moved = 0
            files, _ = _settings_files(Path(scratch))
            places = [(DATABASE, database), *((name, run / name) for name in (*_ARTIFACTS, *files))]
            for name, target in places:
                if (Path(scratch) / name).exists():
                    target.parent.mkdir(parents=True, exist_ok=True)
                    _set_aside(target, database=name == DATABASE)
                    (Path(scratch) / name).replace(target)
                    moved += 1
    return {"restored": moved}


def _set_aside(path: Path, *, database: bool) -> None:
    if not path.exists():
        return
    aside = path.with_name(f"{path.name}.before-restore")
    if aside.is_dir():
        shutil.rmtree(aside)
    if database:  # it stays until the other takes its place: at no moment is there none
        copy_sqlite(path, aside)
        for left in ("-wal", "-shm"):  # all that they held is in the copy; beside another database they would spoil it
            Path(f"{path}{left}").unlink(missing_ok=True)
    else:
        path.rename(aside)


def _unpack(backup: Path, folder: Path) -> None:
    try:
        with zipfile.ZipFile(backup) as archive:
            names = archive.namelist()
            if DATABASE not in names or any(not _ours(name) for name in names):
                raise InputError(
                    f"{backup} is no backup of `shoptalk backup`: it must hold {DATABASE}, and nothing else's files."
                )
            archive.extractall(folder)
    except (OSError, zipfile.BadZipFile) as error:
        raise InputError(
            f"{backup} cannot be read as a backup ({error}). Give a file that `shoptalk backup` wrote."
        ) from None


def _ours(name: str) -> bool:
    parts = name.split("/")
    if ".." in parts or name.startswith("/"):
        return False
    return name == DATABASE or parts[0] in _ARTIFACTS or _may_be_named(name)
