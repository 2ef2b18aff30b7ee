"""Artifacts: folders that are complete or absent, and know what they were made from.

An artifact is written into a hidden sibling folder, gets its `manifest.json` last, and is renamed into place. Its
`key` is a hash of what it was asked for (kind, settings, parents' content hashes); its `content` is a hash of what it
holds. Asking again with the same key returns the finished folder at once; any other key makes it anew.

    with create(run / "corpus", kind="corpus", config=settings, parents={"source": digest}) as folder:
        (folder / "documents.jsonl").write_text(...)
"""

import contextlib
import errno
import glob
import hashlib
import importlib.metadata
import json
import os
import platform
import shutil
import stat
import time
import uuid
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import IO, Any

from pydantic import Field

from shoptalk.errors import AbsentError, ArtifactError, StorageError, errno_of
from shoptalk.holding import held, hold
from shoptalk.readback import MANIFEST, damaged, read_record
from shoptalk.records import Frozen

# Raised when an artifact's meaning changes, so that folders of an older version are made anew.
LAYOUT = 1
_digests: dict[tuple[int, ...], str] = {}
"""What `file_digest` remembers."""
_SETTLED = 2_000_000_000
_MOST_DIGESTS = 65_536
_MOST_SHOWN = 200  # characters of a file's name in a message
_PACKAGES = ("shoptalk", "torch", "transformers", "numpy", "scikit-learn", "faiss-cpu")


class Artifact(Frozen):
    """The manifest of a finished folder."""

    kind: str
    key: str
    content: str
    files: dict[str, str]
    """Each file's path inside the folder, and the SHA-256 of its bytes."""
    sizes: dict[str, int] = Field(default_factory=dict)
    """Each file's size in bytes; empty where an earlier version wrote the manifest."""
    parents: dict[str, str]
    config: dict[str, Any]
    versions: dict[str, str]
    hardware: dict[str, Any]
    created: str
    seconds: float
    readings: dict[str, float] = Field(default_factory=dict)


def digest(value: Any) -> str:
    """SHA-256 of a JSON value in canonical form, as 64 hexadecimal digits."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def file_digest(path: Path, *, fresh: bool = False) -> str:
    """SHA-256 of a file's bytes, read once a process as long as the file stays the same; `fresh` reads it again.

    Size, both times and inode tell whether it is the same. A file that was written in the last two seconds is not
    remembered: where clocks are coarse, it could change again without its times changing.
    """
    with path.open("rb") as file:
        known = os.fstat(file.fileno())
        identity = (known.st_dev, known.st_ino, known.st_size, known.st_mtime_ns, known.st_ctime_ns)
        if not fresh and identity in _digests:
            return _digests[identity]
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if time.time_ns() - known.st_mtime_ns > _SETTLED:
        if len(_digests) >= _MOST_DIGESTS:
            _digests.clear()
        _digests[identity] = found
    return found


def key_of(*, kind: str, config: Mapping[str, Any], parents: Mapping[str, str]) -> str:
    """What an artifact is asked for, as one hash."""
    return digest({"layout": LAYOUT, "kind": kind, "config": config, "parents": parents})


def open_artifact(path: Path, *, key: str | None = None) -> Artifact | None:
    """The finished artifact at `path`, or None where there is none (or none with this key).

    Every file is looked at, not read: `damages` compares contents.

    Raises:
        ArtifactError: a manifest is there but damaged, or names a file that is missing, has another size, or lies
            outside the folder.
    """
    artifact = open_manifest(path)
    if artifact is None or (key is not None and artifact.key != key):
        return None
    for name in artifact.files:
        if (problem := _seen_problem(path, artifact, name)) is not None:
            raise ArtifactError(f"{path} {problem}. Delete {path} and run again.")
    return artifact


def open_manifest(path: Path) -> Artifact | None:
    """What the manifest at `path` says, whatever has become of the files that it names; None where there is none.

    Raises:
        ArtifactError: it is damaged.
    """
    try:
        artifact = read_record(path / MANIFEST, Artifact)
    except AbsentError:
        return None
    if artifact.content != digest(artifact.files):
        raise damaged(path / MANIFEST, "its content hash is not that of the files that it names")
    return artifact


def damages(path: Path, artifact: Artifact, *, fresh: bool = False) -> Iterator[tuple[str, str | None]]:
    """Each file of an artifact, once it has been read, with what is wrong with it; None where its hash is right.

    `fresh` reads files again that this process has read before.
    """
    for name, expected in artifact.files.items():
        problem = _seen_problem(path, artifact, name)
        if problem is None:
            try:
                found = file_digest(path / name, fresh=fresh)
            except OSError as error:
                problem = f"has {name!r}, which cannot be read ({error.strerror})"
            else:
                problem = None if found == expected else f"has a changed {name!r}: its hash is not the manifest's"
        yield name, problem


def sound(path: Path, *, key: str | None = None) -> Artifact | None:
    """As `open_artifact`, of what is to be handed out: None also where a file is not what the manifest says, so that it
    is made anew.
    """
    try:
        artifact = open_artifact(path, key=key)
    except ArtifactError:
        return None
    if artifact is None or any(problem for _, problem in damages(path, artifact)):
        return None
    return artifact


def handed_out(path: Path) -> Artifact:
    """The artifact at `path`, which must be there and whole: every file has been compared with its hash.

    Raises:
        ArtifactError: it is missing or damaged.
    """
    artifact = open_artifact(path)
    if artifact is None:
        raise ArtifactError(f"{path} is not there. Run the command that makes it again.")
    for _, problem in damages(path, artifact):
        if problem is not None:
            raise ArtifactError(f"{path} {problem}. Delete {path} and run the command that made it again.")
    return artifact


def _seen_problem(path: Path, artifact: Artifact, name: str) -> str | None:
    """What is wrong with a file that a manifest names, as far as can be told without reading it."""
    # A manifest may come from anywhere: no path in it is followed out of the folder.
    if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
        return f"has a manifest that names {name[:_MOST_SHOWN]!r}, which lies outside the folder"
    file, size, shown = path / name, artifact.sizes.get(name), repr(name[:_MOST_SHOWN])
    if not os.path.isfile(file):  # noqa: PTH113 (of a name that no file system allows, Path's raises)
        return f"lacks {shown}, which its manifest names"
    if not file.resolve().is_relative_to(path.resolve()):
        return f"has {shown} as a link that leaves the folder"
    if size is not None and (there := file.stat().st_size) != size:
        return f"has a damaged {shown}: {there:,} bytes, where its manifest says {size:,}"
    return None


@contextlib.contextmanager
def create(
    path: Path,
    *,
    kind: str,
    config: Mapping[str, Any],
    parents: Mapping[str, str],
    readings: dict[str, float] | None = None,
) -> Iterator[Path]:
    """Yields an empty folder to fill; on leaving without an error it becomes the artifact at `path`.

    `readings` may be filled while inside. An artifact that stood at `path` before is replaced only then.

    Raises:
        StorageError: the disk is full, the folder cannot be written, or what is there is not an artifact to replace.
    """
    begun = time.monotonic()
    with storage_errors(path):
        _make_folder(path.parent, path)
        _refuse_to_replace(path)
        for stale in path.parent.glob(f".{glob.escape(path.name)}.making-*"):
            with contextlib.suppress(FileNotFoundError), held(stale, path):  # refused where somebody is filling it
                shutil.rmtree(stale, ignore_errors=True)
        folder = path.parent / f".{path.name}.making-{uuid.uuid4().hex[:8]}"
        _make_folder(folder, path)
    with storage_errors(path), held(folder, path):
        try:
            yield folder
            usual_modes(folder)
            files = {
                file.relative_to(folder).as_posix(): file_digest(file)
                for file in sorted(folder.rglob("*"))
                if file.is_file()
            }
            sizes = {name: (folder / name).stat().st_size for name in files}
            manifest = Artifact(
                kind=kind,
                key=key_of(kind=kind, config=config, parents=parents),
                content=digest(files),
                files=files,
                sizes=sizes,
                parents=dict(parents),
                config=json.loads(json.dumps(config, default=str)),
                versions=_versions(),
                hardware={"machine": platform.machine(), "system": platform.system(), "cores": os.cpu_count()},
                created=datetime.now(UTC).isoformat(timespec="seconds"),
                seconds=round(time.monotonic() - begun, 3),
                readings=dict(readings or {}),
            )
            write_text(folder / MANIFEST, manifest.model_dump_json(indent=1))
            replaced = folder.with_name(f"{folder.name}-replaced")
            if path.exists():
                # Moved aside first: a crash halfway through deleting it would leave half an artifact in its place.
                path.rename(replaced)
            folder.rename(path)
            _sync_folder(path.parent)
            shutil.rmtree(replaced, ignore_errors=True)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise


def discard(path: Path) -> None:
    """Delete an artifact. It is renamed first, so that a crash halfway leaves none rather than half of one."""
    with storage_errors(path):
        aside = path.with_name(f".{path.name}.making-{uuid.uuid4().hex[:8]}")
        path.rename(aside)
        shutil.rmtree(aside, ignore_errors=True)


def write_text(path: Path, text: str) -> None:
    """Write a file so that it holds the old or the new text, never half of it, even after a power cut."""
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
        try:
            with temporary.open("w", encoding="utf-8", errors="surrogatepass") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
        _sync_folder(path.parent)


def usual_modes(folder: Path) -> None:
    """Give every file in a folder the permissions that this process's umask asks for.

    safetensors makes its files readable to their owner alone, whatever the umask says: another user could open all of
    an encoder but its weights.
    """
    pattern = folder / f".mode-{uuid.uuid4().hex[:8]}"
    with storage_errors(folder):
        try:
            pattern.touch()  # a process can only learn its umask by setting it, which other threads would notice
            mode = stat.S_IMODE(pattern.stat().st_mode)
        finally:
            pattern.unlink(missing_ok=True)
        for path in folder.rglob("*"):
            if path.is_file() and not path.is_symlink() and stat.S_IMODE(path.stat().st_mode) != mode:
                path.chmod(mode)


def append_json(path: Path, row: Mapping[str, Any]) -> None:
    """Add one line to a JSONL file and flush it."""
    with storage_errors(path), path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(row, ensure_ascii=False) + "\n")


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a run folder for this process; a second process gets a StorageError instead of mixing its files in.

    The lock goes with the process, however it ends. Where an error ends it before anything else was made, nothing stays
    behind: such a folder may be one of the user's own, named by mistake.
    """
    with storage_errors(folder):
        missing = [path for path in (folder, *folder.parents) if not path.exists()]
        _make_folder(folder, folder)
        before = set(os.listdir(folder))  # noqa: PTH208 - names are what is compared
        handle = _opened_lock(folder / ".lock")
    with handle:  # outside storage_errors: what fails while the lock is held is not about this folder
        hold(handle.fileno(), folder)
        try:
            yield
        except BaseException:
            with contextlib.suppress(OSError):
                if set(os.listdir(folder)) - before == {".lock"}:  # noqa: PTH208
                    (folder / ".lock").unlink()
                for path in missing:
                    path.rmdir()
            raise


def _make_folder(folder: Path, path: Path) -> None:
    """Make a folder on the way to `path`. Where the kernel keeps the names, as in /proc, it says that none is there."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileNotFoundError as error:
        raise StorageError(f"Cannot write {path}. No folder can be made there: give another --out.") from error


def _opened_lock(path: Path) -> IO[bytes]:
    """The lock's file, which is never written. A link is not followed, and nobody waits for a pipe's other end."""
    strange = StorageError(f"{path} is a link, a pipe or a device, where a lock is expected. Delete it and run again.")
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o666)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise strange from error
        raise
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise strange
    return os.fdopen(handle, "rb")


@contextlib.contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Turns the operating system's refusals to write into a StorageError that says what to do."""
    try:
        yield
    except Exception as error:
        number = errno_of(error)
        advice = {
            errno.ENOSPC: "The disk is full: free some space and run the same command again; finished stages are kept.",
            errno.EFBIG: "It is larger than this process may write: raise the limit (`ulimit -f`) and run it again.",
            errno.EDQUOT: "The disk quota is used up: free some space and run the same command again.",
            errno.EROFS: "The file system is read-only: give another --out.",
            errno.EACCES: "No permission to write there: give another --out or change its permissions.",
            errno.EPERM: "Writing there is not permitted: give another --out or change its permissions.",
            errno.ENOTDIR: "A part of that path is a file: give another --out.",
            errno.EEXIST: "A file with that name is in the way: give another --out.",
            errno.EISDIR: "A folder with that name is in the way: give another --out.",
        }.get(number)
        if advice is None:
            raise
        raise StorageError(f"Cannot write {getattr(error, 'filename', None) or path}. {advice}") from error


def _refuse_to_replace(path: Path) -> None:
    """Only an artifact, or an empty folder, may be replaced by a new one: never somebody's own files."""
    if path.is_file():
        raise StorageError(f"Cannot write {path}. A file with that name is in the way: give another --out.")
    if path.is_dir() and not (path / MANIFEST).is_file() and any(path.iterdir()):
        raise StorageError(
            f"Cannot write {path}. It holds files that are not Shoptalk's, which would be lost: "
            "give another --out, or an empty folder."
        )


def _sync_folder(folder: Path) -> None:
    """Make a rename durable; a file system that cannot sync folders is left as it is."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found
