"""Which files are sources: all below the given folders but those that must not be read.

    files, drops = list_files([Path("conversations"), Path("faq.md")], out=Path("runs/acme"))

What is found and left out is a drop:

| reason             | what it is                                                                                  |
|--------------------|---------------------------------------------------------------------------------------------|
| `hidden`           | a file or folder whose name begins with a dot                                               |
| `made-by-shoptalk` | a run folder, an artifact, the folder of `--out`, or the rows that `embed` left             |
| `link-outside`     | a link to something outside of the given folders                                            |
| `linked-folder`    | a link to a folder that is not read in its own place, or that the link itself lies in       |
| `unknown-format`   | a file whose name says none of the formats that are read                                    |
| `unreadable`       | a folder that cannot be listed                                                              |

A link to a file of the same sources is fine, and the file is read once. What the user names is read whatever it is
called and wherever a link leads; but a run folder is never a source.
"""

import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from shoptalk.curate.clean import printable
from shoptalk.curate.files import SourceFile
from shoptalk.curate.readers import READERS, format_of
from shoptalk.errors import SourceError
from shoptalk.image.decode import SUFFIXES, unread_picture
from shoptalk.readback import MANIFEST, walk
from shoptalk.records import Drop

KNOWN = f"{', '.join(READERS)} (each also with .gz), pictures ({', '.join(SUFFIXES)}), .zip of pictures"
HIDDEN, OURS, OUTSIDE, LINKED = "hidden", "made-by-shoptalk", "link-outside", "linked-folder"
UNTOLD = (HIDDEN, OURS, OUTSIDE)
"""Reasons of drops that a fingerprint leaves out: what was never read may come and go without another result. An editor
leaves hidden files behind, and the run itself makes its folder."""
_MANIFEST_KEYS = {"kind", "key", "content", "files", "parents"}
_CARD_KEYS = {"key", "model", "dtype", "texts", "sources"}
_RUN_FILES = {".lock", "verdict.json"}
_LARGEST_MANIFEST = 64_000_000


def list_files(paths: Sequence[Path], *, out: Path | None = None) -> tuple[list[SourceFile], list[Drop]]:
    """The files to read, each once, in a fixed order and under distinct names; and what was found and left out.

    Args:
        paths: files and folders.
        out: the folder that the results go to, which is never a source.

    Raises:
        SourceError: a path does not exist, has an unknown extension or is a run folder; a folder is empty; or no file
            is left to read.
    """
    if not paths:
        raise SourceError(f"No source was given. Give at least one folder or file: {KNOWN}.")
    listing = _Listing([Path(os.path.realpath(path)) for path in paths], out and Path(os.path.realpath(out)))
    for path in paths:
        if path.is_dir():
            _refuse_run(path, listing.out)
            before = listing.seen
            listing.add_folder(path)
            if listing.seen == before:
                raise SourceError(f"{path} is an empty folder. Give a folder with files in it: {KNOWN}.")
        else:
            listing.add_file(_existing(path))
    return listing.settled(paths)


def _what_to_do(path: Path) -> str:
    """With a file whose format is none that is read."""
    if (advice := unread_picture(path.name)) is not None:
        return advice
    unnamed = "" if path.suffix else "its name has no ending that says what it is; give it one if it is "
    return f"{unnamed or 'not '}one of {KNOWN}"


def counted(counts: Counter[str]) -> str:
    """Such as "3 left out (2 bad-json, 1 empty)"."""
    reasons = ", ".join(f"{count:,} {reason}" for reason, count in counts.most_common())
    return f"{counts.total():,} left out ({reasons})" if counts else "no text was found"


@dataclass
class _Listing:
    """What was found so far."""

    roots: Sequence[Path]
    """The given files and folders, links followed."""
    out: Path | None
    found: dict[str, tuple[Path, str, bool]] = field(default_factory=dict)
    """By the file's own path, links followed: path, name, and whether the user named it."""
    drops: list[Drop] = field(default_factory=list)
    skipped: list[Path] = field(default_factory=list)
    """Folders of Shoptalk's own that were not looked into, links followed."""
    links: list[tuple[Path, str]] = field(default_factory=list)
    """To files and folders, which are judged when all folders are known: path and name."""
    walked: set[Path] = field(default_factory=set)
    """Folders that were looked into, links followed."""

    seen: int = 0
    """How many things were met."""

    def add_file(self, path: Path) -> None:
        self.found.setdefault(os.path.realpath(path), (path, path.name, True))

    def add_folder(self, folder: Path) -> None:
        """All that lies below a folder, in sorted order."""

        def refuse(error: OSError) -> None:
            self.seen += 1
            self._drop(_name_inside(folder, Path(error.filename)), "unreadable", error.strerror or str(error))

        for root, folders, names in walk(folder, refuse):
            if root != folder and self._is_ours(root, folders, names):
                self._skip(folder, root, "a run folder or an artifact of Shoptalk is never a source")
                folders[:] = []
                continue
            self.walked.add(Path(os.path.realpath(root)))
            folders[:] = list(self._folders_to_enter(folder, root, folders))
            for name in names:
                self._add_found(folder, root / name)

    def settled(self, paths: Sequence[Path]) -> tuple[list[SourceFile], list[Drop]]:
        """The files that are to be read, now that all folders are known, and every drop."""
        for path, name in self.links:
            if os.path.isdir(path):  # noqa: PTH112
                self._judge_linked_folder(path, name)
            else:
                self._judge_linked_file(path, name)
        files = _distinctly_named(list(self.found.values()))
        for file in files:
            if format_of(file.path) is None:
                self._drop(file.name, "unknown-format", _what_to_do(file.path))
        files = [file for file in files if format_of(file.path) is not None]
        if not files:
            reasons = counted(Counter(drop.reason for drop in self.drops))
            listed = ", ".join(map(str, paths))
            raise SourceError(
                f"No usable text in {listed}: {reasons}.{_example_of(self.drops)} "
                f"Give files with text in one of these formats: {KNOWN}."
            )
        return files, self.drops

    def _is_ours(self, root: Path, folders: Iterable[str], names: Iterable[str]) -> bool:
        real = Path(os.path.realpath(root))
        return real == self.out or is_artifact(root) or _is_run(root, folders, names)

    def _folders_to_enter(self, folder: Path, root: Path, names: Iterable[str]) -> Iterator[str]:
        for name in names:
            self.seen += 1
            path = root / name
            if name.startswith("."):
                self._drop(_name_inside(folder, path), HIDDEN, "a folder whose name begins with a dot is not read")
            elif os.path.islink(path):  # noqa: PTH114 (of a path that is too long, Path's raises)
                self.links.append((path, _name_inside(folder, path)))
            else:
                yield name

    def _add_found(self, folder: Path, path: Path) -> None:
        self.seen += 1
        name = _name_inside(folder, path)
        if path.name.startswith("."):
            self._drop(name, HIDDEN, "a file whose name begins with a dot is not read")
        elif _left_by_embed(path):
            self._drop(name, OURS, "these rows are a result of `shoptalk embed`, and no source")
        elif os.path.islink(path):  # noqa: PTH114
            self.links.append((path, name))
        else:
            self.found.setdefault(os.path.realpath(path), (path, name, False))

    def _judge_linked_folder(self, path: Path, name: str) -> None:
        target = Path(os.path.realpath(path))
        if any(ours == target or ours in target.parents for ours in self.skipped):
            self._drop(name, OURS, "a link to a run folder or an artifact of Shoptalk, which is never a source")
        elif not self._inside(target):
            advice = "outside of the source; give that folder as a source of its own"
            self._drop(name, OUTSIDE, f"a link to {target}, {advice}")
        elif target in Path(os.path.realpath(path.parent)).parents or target == Path(os.path.realpath(path.parent)):
            self._drop(name, LINKED, f"a link to {target}, the folder that it lies in itself")
        elif target not in self.walked:
            self._drop(name, LINKED, "a link to a folder is not followed; give that folder as a source of its own")
        # Else the files of that folder are read in their own place.

    def _judge_linked_file(self, path: Path, name: str) -> None:
        target = Path(os.path.realpath(path))
        if not path.exists():
            self.found[str(path.absolute())] = (path, name, False)  # reading says what is wrong with it
        elif any(ours in target.parents for ours in self.skipped):
            self._drop(name, OURS, "a link into a run folder or an artifact of Shoptalk, which is never a source")
        elif not self._inside(target):
            advice = "outside of the source; give that file as a source of its own"
            self._drop(name, OUTSIDE, f"a link to {target}, {advice}")
        else:
            self.found.setdefault(str(target), (path, name, False))

    def _inside(self, target: Path) -> bool:
        return any(root == target or root in target.parents for root in self.roots)

    def _skip(self, folder: Path, path: Path, detail: str) -> None:
        self.skipped.append(Path(os.path.realpath(path)))
        self._drop(_name_inside(folder, path), OURS, detail)

    def _drop(self, name: str, reason: str, detail: str) -> None:
        self.drops.append(Drop(id=name, source=name, reason=reason, detail=printable(detail)))


# What is Shoptalk's own


def is_artifact(folder: Path) -> bool:
    """Whether a folder holds a manifest of ours; other tools have files of that name too."""
    return _has_keys(folder / MANIFEST, _MANIFEST_KEYS)


def _is_run(folder: Path, folders: Iterable[str], names: Iterable[str]) -> bool:
    return bool(_RUN_FILES.intersection(names)) and any(is_artifact(folder / name) for name in folders)


def _left_by_embed(path: Path) -> bool:
    """Whether these are the rows that `embed` wrote beside its vectors: NAME.jsonl, with NAME.npy and NAME.json."""
    return (
        path.suffix == ".jsonl"
        and os.path.isfile(path.with_suffix(".npy"))  # noqa: PTH113 (of a path that is too long, Path's raises)
        and _has_keys(path.with_suffix(".json"), _CARD_KEYS)
    )


def _has_keys(path: Path, keys: set[str]) -> bool:
    try:
        if not path.is_file() or path.stat().st_size > _LARGEST_MANIFEST:
            return False
        value = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(value, dict) and keys <= value.keys()


def _refuse_run(folder: Path, out: Path | None) -> None:
    """A folder that the user names and that is Shoptalk's own: reading on without it would be no answer."""
    if Path(os.path.realpath(folder)) == out:
        raise SourceError(
            f"{folder} is given as a source and as --out: the results would be read as text the next time. "
            "Give another --out."
        )
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError:
        return  # listing says what is wrong with it
    folders = [entry.name for entry in entries if Path(entry.path).is_dir()]
    if is_artifact(folder) or _is_run(folder, folders, [entry.name for entry in entries]):
        raise SourceError(
            f"{folder} holds the results of an earlier Shoptalk command, which are never a source. Give the folder "
            "that your own text lies in; if they lie together, move your text to a folder of its own."
        )


# Names


def _existing(path: Path) -> Path:
    if not os.path.lexists(path):
        raise SourceError(f"{path} does not exist. Give an existing file or folder; check the spelling.")
    if format_of(path) is None:
        if (advice := unread_picture(path.name)) is not None:
            raise SourceError(f"{path} is {advice}.")
        raise SourceError(f"{path} has an unknown extension. Expected one of {KNOWN}, or a folder of such files.")
    return path


def _name_inside(folder: Path, file: Path) -> str:
    return printable((Path(folder.resolve().name) / file.relative_to(folder)).as_posix())


def _distinctly_named(found: Sequence[tuple[Path, str, bool]]) -> list[SourceFile]:
    """Files of one name get as many parent folders before it as it takes to tell them apart."""
    names = [name for _, name, _ in found]
    depth = 1
    while clashes := {name for name, count in Counter(names).items() if count > 1}:
        depth += 1
        for i, (path, _, _) in enumerate(found):
            if names[i] in clashes:
                names[i] = "/".join(path.absolute().parts[-depth:])
    return [SourceFile(path, printable(name), given) for (path, _, given), name in zip(found, names, strict=True)]


def _example_of(drops: Sequence[Drop]) -> str:
    """What happened to the first thing that was left out, as an example."""
    return f" For example {drops[0].id}: {drops[0].detail}." if drops else ""
