"""Which encoding a text file is in, told from its bytes, and its lines decoded by it.

UTF-8 is tried first. A file with a byte order mark, or with a NUL beside nearly every character, is UTF-16 or UTF-32.
What is left is an older code page, which chardet guesses from the lines that are not UTF-8.
"""

import codecs
from collections import Counter
from collections.abc import Sequence

UTF8 = "utf-8"
_MARKS = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
"""UTF-32's little-endian mark begins with UTF-16's, so it comes first."""
_NAMES = {
    "utf-16": "UTF-16",
    "utf-16-le": "UTF-16 without a byte order mark",
    "utf-16-be": "UTF-16 without a byte order mark",
    "utf-32": "UTF-32",
    "cp1250": "Windows-1250 (Central European)",
    "cp1251": "Windows-1251 (Cyrillic)",
    "cp1252": "Windows-1252 (Western European)",
    "cp1253": "Windows-1253 (Greek)",
    "cp1254": "Windows-1254 (Turkish)",
    "cp1255": "Windows-1255 (Hebrew)",
    "cp1256": "Windows-1256 (Arabic)",
    "cp1257": "Windows-1257 (Baltic)",
    "cp1258": "Windows-1258 (Vietnamese)",
    "latin-1": "ISO-8859-1 (Western European)",
    "koi8-r": "KOI8-R (Cyrillic)",
    "cp874": "Windows-874 (Thai)",
    "cp932": "Shift JIS (Japanese)",
    "shift_jis_2004": "Shift JIS (Japanese)",
    "euc_jis_2004": "EUC-JP (Japanese)",
    "gb18030": "GB18030 (Chinese)",
    "big5hkscs": "Big5 (Chinese)",
    "cp949": "EUC-KR (Korean)",
}
_CODE_PAGES = [name for name in _NAMES if not name.startswith(("utf", "latin"))]
_WIDE_CHARACTERS = frozenset(("cp932", "shift_jis_2004", "euc_jis_2004", "gb18030", "big5hkscs", "cp949"))
"""Encodings of one to four bytes a character, in which a short line may be valid UTF-8 by accident."""
# chardet's confidence is small for a few accented letters, and then says little: Windows-1252 is by far the commonest.
_CLEARLY, _AT_LEAST = 1.2, 0.12
_SHARE_OF_DAMAGE = 0.1
_SLICES = 4
UNDECODABLE = "\udc80"
"""Stands for what could not be decoded: a lone surrogate, which no decoder gives for sound bytes."""


def _mark_undecodable(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeDecodeError)
    return UNDECODABLE, error.end


MARKED = "shoptalk-undecodable"
"""How decoders treat bytes that they cannot decode: a lone surrogate stands for them."""
codecs.register_error(MARKED, _mark_undecodable)


def wide_encoding(head: bytes) -> str | None:
    """UTF-16 or UTF-32, by the mark at the beginning of a file or by its NULs; None for every other encoding."""
    for mark, name in _MARKS.items():
        if head.startswith(mark):
            return name
    pairs = len(head) // 2
    first, second = head[: 2 * pairs : 2], head[1 : 2 * pairs : 2]
    for name, nuls, letters in (("utf-16-le", second, first), ("utf-16-be", first, second)):
        # Spaces, digits, line ends and separators have a NUL in every language; in English nearly all characters do.
        if pairs > 1 and nuls.count(0) > 0.5 * pairs and not letters.count(0):
            return name
    return None


def narrow_encoding(lines: Sequence[bytes]) -> str:
    """The encoding in which ASCII characters are single bytes, told from lines that are not ASCII.

    UTF-8 where at most a tenth of the lines is not UTF-8: those are damaged. Else the code page of those that are not.
    """
    others = [line for line in lines if not _decodes(line, UTF8)]
    if len(others) <= _SHARE_OF_DAMAGE * len(lines):
        return UTF8
    page = None
    if len(others) >= 4 * _SLICES:
        # One damaged line rules an encoding out for the whole, but not for the slices that are without it.
        votes = Counter(_clear_code_page(others[i::_SLICES]) for i in range(_SLICES))
        choice, votes_for = votes.most_common(1)[0]
        page = choice if votes_for > _SLICES // 2 else None
    if page is None:
        page = _clear_code_page(others)
    if page is not None:
        return page
    # Python's cp1252 has five undefined bytes. A line with one of them among many without is damaged.
    undefined = sum(not _decodes(line, "cp1252") for line in others)
    return "cp1252" if undefined <= _SHARE_OF_DAMAGE * len(others) else "latin-1"


def _clear_code_page(lines: Sequence[bytes]) -> str | None:
    """The code page that fits the lines clearly better than Windows-1252 does, or None."""
    import chardet  # its models are needed for few files only

    sample = b"\n".join(lines)
    guesses = chardet.detect_all(sample, ignore_threshold=True, compat_names=False, include_encodings=_CODE_PAGES)
    confidence = {str(guess["encoding"]): guess["confidence"] for guess in guesses if guess["encoding"]}
    best = max(confidence, key=lambda name: confidence[name], default="cp1252")
    clear = confidence.get(best, 0.0) >= max(_AT_LEAST, _CLEARLY * confidence.get("cp1252", 0.0))
    return best if clear and _decodes(sample, best) else None


def is_utf8(head: bytes) -> bool:
    """Whether the beginning of a file is UTF-8; its last character may be cut."""
    try:
        codecs.getincrementaldecoder(UTF8)().decode(head)
    except UnicodeDecodeError:
        return False
    return True


def decode_line(data: bytes, encoding: str) -> str:
    """A line in text, undecodable bytes marked. In a file of single-byte letters, a line of UTF-8 is read as UTF-8."""
    if encoding != UTF8 and encoding not in _WIDE_CHARACTERS:
        try:
            return data.decode(UTF8)
        except UnicodeDecodeError:
            pass
    return data.decode(encoding, MARKED)


def undecodable(text: str) -> bool:
    """Whether a decoded text holds the mark of bytes that could not be decoded."""
    return not text.isascii() and UNDECODABLE in text


def spoken(encoding: str) -> str:
    """The encoding's name for people."""
    return "UTF-8" if encoding == UTF8 else _NAMES.get(encoding, encoding)


def _decodes(data: bytes, encoding: str) -> bool:
    try:
        data.decode(encoding)
    except (UnicodeDecodeError, LookupError):
        return False
    return True
