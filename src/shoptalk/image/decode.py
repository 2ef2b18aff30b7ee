"""A picture's file to an RGB image."""

import io
import zipfile
from pathlib import Path

from PIL import Image, ImageOps

from shoptalk.errors import InputError


def picture_bytes(path: str) -> bytes:
    """The bytes of a picture: of a file, or of one inside a zip, whose path leads through it.

    Raises:
        InputError: there is no such file.
    """
    file = Path(path)
    for folder in file.parents:
        if folder.suffix.lower() == ".zip" and folder.is_file():
            with zipfile.ZipFile(folder) as archive:
                return archive.read(file.relative_to(folder).as_posix())
    try:
        return file.read_bytes()
    except OSError as error:
        raise InputError(f"The picture {path} cannot be read ({error.strerror}).") from None


def open_picture(data: bytes) -> Image.Image:
    """The first frame in RGB, turned as its EXIF says."""
    return ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB")
