"""Picture files as nobody should send them: cut off, bent, lying about their size, named as something else.

    expected = write_hostile(folder, 2000, seed=0)   # how many pictures, readable or not, lie below the folder

A function of the seed alone.
"""

import io
import random
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, PngImagePlugin

SUFFIX_OF = {"PNG": "png", "JPEG": "jpg", "WEBP": "webp", "GIF": "gif", "BMP": "bmp", "TIFF": "tif"}
MODES = {
    "PNG": ("RGB", "RGBA", "L", "LA", "P", "1", "I;16"),
    "JPEG": ("RGB", "L", "CMYK"),
    "WEBP": ("RGB", "RGBA"),
    "GIF": ("RGB", "L", "P"),
    "BMP": ("RGB", "L", "P", "1"),
    "TIFF": ("RGB", "RGBA", "L", "CMYK", "I;16", "F", "1"),
}
SHARE_IN_ZIPS = 0.25


def data_of(image: Image.Image, kind: str = "PNG", **settings: object) -> bytes:
    """An image as the bytes of a file."""
    file = io.BytesIO()
    image.save(file, kind, **settings)
    return file.getvalue()


def drawn(rng: random.Random, mode: str = "RGB", largest: int = 60) -> Image.Image:
    """An image of random colours in any mode."""
    width, height = rng.randint(1, largest), rng.randint(1, largest)
    values = np.random.default_rng(rng.getrandbits(32))
    if mode == "I;16":
        return Image.fromarray(values.integers(0, 65_536, (height, width), dtype=np.uint16))
    if mode == "F":
        grey = values.normal(size=(height, width)).astype(np.float32)
        grey[0, 0] = rng.choice([np.nan, np.inf, 0.0, 1e30])
        return Image.fromarray(grey)
    return Image.fromarray(values.integers(0, 256, (height, width, 3), dtype=np.uint8)).convert(mode)


def sound(rng: random.Random) -> tuple[str, bytes]:
    """A file with nothing wrong: its suffix and its bytes."""
    kind = rng.choice(list(MODES))
    settings: dict[str, object] = {}
    if kind == "JPEG" and rng.random() < 0.5:
        settings["progressive"] = True
    if kind in ("GIF", "WEBP", "PNG", "TIFF") and rng.random() < 0.3:
        frames = [drawn(rng).resize((20, 20)) for _ in range(3)]
        return SUFFIX_OF[kind], data_of(frames[0], kind, save_all=True, append_images=frames[1:])
    return SUFFIX_OF[kind], data_of(drawn(rng, rng.choice(MODES[kind])), kind, **settings)


def cut(rng: random.Random) -> tuple[str, bytes]:
    """Cut off somewhere."""
    suffix, data = sound(rng)
    return suffix, data[: rng.randrange(len(data))]


def bent(rng: random.Random) -> tuple[str, bytes]:
    """Some bytes are others, more often near the beginning, where sizes and offsets stand."""
    suffix, data = sound(rng)
    bytes_of = bytearray(data)
    for _ in range(rng.choice([1, 2, 5, 30])):
        reach = len(bytes_of) if rng.random() < 0.5 else min(len(bytes_of), 120)
        bytes_of[rng.randrange(reach)] = rng.choice([0, 0x7F, 0xFF, rng.randrange(256)])
    return suffix, bytes(bytes_of)


def stitched(rng: random.Random) -> tuple[str, bytes]:
    """The beginning of one file and the end of another; or a piece left out or there twice."""
    (suffix, first), (_, second) = sound(rng), sound(rng)
    begin, end = sorted(rng.randrange(len(first)) for _ in range(2))
    return suffix, rng.choice(
        [first[:begin] + second[len(second) // 2 :], first[:begin] + first[end:], first[:end] + first[begin:]]
    )


def misnamed(rng: random.Random) -> tuple[str, bytes]:
    """Something else under a picture's name."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a.png", b"")
    other = [b"", b"\0" * rng.randrange(1, 500), b"text,label\nwhere is it,track\n", b"<html><img src=x></html>",
             b"<svg xmlns='http://www.w3.org/2000/svg'/>", file.getvalue(), rng.randbytes(rng.randrange(1, 400)),
             b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", b"P6 4 4 255\n" + bytes(48),
             sound(rng)[1]]  # fmt: skip
    magic = [b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0", b"GIF89a", b"RIFF\x10\0\0\0WEBP", b"BM", b"II*\0", b"MM\0*"]
    data = rng.choice(other)
    return rng.choice([*SUFFIX_OF.values()]), rng.choice(magic) + data if rng.random() < 0.3 else data


def png_of(width: int, height: int, packed: bytes, *, depth: int = 8, colour: int = 2, more: bytes = b"") -> bytes:
    """A PNG whose header says what it likes."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + more + chunk(b"IDAT", packed) + chunk(b"IEND", b"")


def chunk(name: bytes, data: bytes) -> bytes:
    """A piece of a PNG."""
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def bomb(rng: random.Random) -> tuple[str, bytes]:
    """Small files of large pictures, or of what says that it is one."""
    which = rng.randrange(7)
    if which == 0:
        side = rng.choice([60_000, 2**31 - 1, 1_000_000])
        return "png", png_of(side, side, zlib.compress(bytes(1000)))
    if which == 1:
        width, height = rng.choice([(60_000, 1), (1, 60_000), (3, 200_000), (1_000_000, 1)])
        return "png", data_of(Image.new("RGB", (width, height), "red"))
    if which == 2:
        text = chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(20_000_000)))
        return "png", png_of(4, 4, zlib.compress(bytes(52)), more=text)
    if which == 3:
        return "gif", b"GIF89a" + struct.pack("<HHBBB", 65_535, 65_535, 0xF0, 0, 0) + bytes(6) + sound(rng)[1]
    if which == 4:
        header = struct.pack(
            "<IiiHHIIiiII", 40, rng.choice([30_000, -5, 2**31 - 1]), rng.choice([30_000, -30_000]), 1, 24, *[0] * 6
        )
        return "bmp", b"BM" + struct.pack("<IHHI", 60, 0, 0, 54) + header + bytes(6)
    if which == 5:
        entries = [(256, 4, 1, 60_000), (257, 4, 1, 60_000), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1),
                   (273, 4, 1, 8), (278, 4, 1, 60_000), (279, 4, 1, 2**31 - 1)]  # fmt: skip
        return "tif", b"II*\0\x08\0\0\0" + struct.pack("<H", len(entries)) + b"".join(
            struct.pack("<HHII", *entry) for entry in entries
        ) + bytes(4)  # fmt: skip
    return "png", data_of(Image.new("L", (3_000, 3_000), 7), "PNG")


def odd_exif(rng: random.Random) -> tuple[str, bytes]:
    """EXIF that cannot be read, or says what no picture is turned by."""
    exif = Image.Exif()
    exif[0x0112] = rng.choice([0, 1, 3, 6, 8, 9, 255])
    exif[0x010E] = "x" * rng.randrange(40)
    data = bytearray(exif.tobytes())
    for _ in range(rng.choice([0, 1, 4, 20])):
        data[rng.randrange(len(data))] = rng.randrange(256)
    return "jpg", data_of(
        drawn(rng), "JPEG", exif=rng.choice([bytes(data), b"Exif\0\0" + rng.randbytes(60), b"Exif\0\0"])
    )


def odd_png(rng: random.Random) -> tuple[str, bytes]:
    """Transparency and palettes of the wrong kind, colours that there are none of, text that goes on."""
    if rng.random() < 0.4:
        image = drawn(rng, rng.choice(["P", "L", "I;16", "RGB"]))
        transparency = {"P": rng.randbytes(300), "L": 7, "I;16": 60_000, "RGB": (1, 2, 3)}[image.mode]
        return "png", data_of(image, "PNG", transparency=transparency)
    if rng.random() < 0.3:
        info = PngImagePlugin.PngInfo()
        info.add_text("Comment", "y" * 2_000_000, zip=True)
        return "png", data_of(drawn(rng), "PNG", pnginfo=info)
    more = chunk(rng.choice([b"PLTE", b"tRNS", b"acTL", b"fcTL", b"iCCP", b"gAMA"]), rng.randbytes(rng.randrange(40)))
    rows = zlib.compress(rng.randbytes(400))
    return "png", png_of(8, 8, rows, depth=rng.choice([1, 3, 8, 16]), colour=rng.choice([0, 2, 3, 4, 5, 6]), more=more)


KINDS: tuple[tuple[Callable[[random.Random], tuple[str, bytes]], float], ...] = (
    (sound, 0.1), (cut, 0.25), (bent, 0.3), (stitched, 0.1), (misnamed, 0.1),
    (bomb, 0.03), (odd_exif, 0.06), (odd_png, 0.06),
)  # fmt: skip


def write_hostile(folder: Path, count: int, *, seed: int) -> int:
    """Write so many files into a folder, a quarter of them into zips there; how many pictures they are to be counted
    as: one each, and one for each zip that cannot be opened at all.
    """
    rng = random.Random(seed)
    makers, weights = zip(*KINDS, strict=True)
    folder.mkdir(parents=True)
    in_zips = int(SHARE_IN_ZIPS * count)
    for number in range(count - in_zips):
        suffix, data = rng.choices(makers, weights)[0](rng)
        (folder / _name(rng, number, suffix)).write_bytes(data)
    members = [(*rng.choices(makers, weights)[0](rng), number) for number in range(in_zips)]
    for place in range(5):
        _write_zip(folder / f"{place}.zip", members[place::5], rng)
    broken = bytearray((folder / "0.zip").read_bytes())
    (folder / "cut.zip").write_bytes(broken[: len(broken) // 2])
    (folder / "none.zip").write_bytes(b"no zip at all")
    return count + 2


def _name(rng: random.Random, number: int, suffix: str) -> str:
    """Names that file systems allow."""
    odd = rng.random()
    if odd < 0.02:
        return f"{number}{'n' * 200}.{suffix}"
    if odd < 0.04:
        return f"{number} a\nb\t“ü”.{suffix}"
    if odd < 0.06:
        return bytes(f"{number}", "ascii").decode() + "\udcff\udcfe." + suffix
    return f"{number}.{suffix.upper() if odd < 0.1 else suffix}"


def _write_zip(path: Path, members: list[tuple[str, bytes, int]], rng: random.Random) -> None:
    """With names that lead out of the zip or hold NULs, links, zips inside, wrong checksums and sizes."""
    spoilt = []
    with zipfile.ZipFile(path, "w") as archive:
        for suffix, data, number in members:
            name = rng.choice(
                ["a/{}.{}"] * 8 + ["../{}.{}", "/etc/{}.{}", "C:\\{}.{}", "a\\..\\{}.{}", "a/../../{}.{}"]
            )
            info = zipfile.ZipInfo(name.format(number, suffix))
            odd = rng.random()
            if odd < 0.05:
                info.external_attr = 0o120777 << 16
            elif odd < 0.1:
                info.filename = f"{number}.zip"
            elif odd < 0.15:
                spoilt.append(f"{number}".encode())
                info.filename = f"{number}@nul.{suffix}"
            packed = zipfile.ZIP_DEFLATED if rng.random() < 0.5 else zipfile.ZIP_STORED
            archive.writestr(info, bytes(80_000_000) if number % 100 == 0 else data, compress_type=packed)
    data = bytearray(path.read_bytes().replace(b"@nul", b"\0nul"))
    directory = data.rfind(b"PK\x05\x06")
    begin = struct.unpack_from("<I", data, directory + 16)[0]
    place = data.find(b"PK\x01\x02", begin)
    while 0 <= place < directory:
        if rng.random() < 0.1:  # checksum, sizes, kind of packing, flags
            field = rng.choice([16, 20, 24, 10, 8])
            data[place + field] ^= rng.randrange(1, 256)
        place = data.find(b"PK\x01\x02", place + 46)
    path.write_bytes(data)
