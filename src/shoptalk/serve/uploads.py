"""Pictures that visitors send: read within limits and written anew, so that what is kept is a plain small JPEG file.

    picture = await service.in_thread(lambda: upload_of("data:image/png;base64,..."))

Writing anew leaves out all that a file may carry beside its pixels: where it was taken, scripts, other files.
"""

import base64
import hashlib
import io
import re
import threading
from dataclasses import dataclass

from PIL import Image

from shoptalk.image.decode import RefusedPicture, open_picture
from shoptalk.serve.refusals import Refused

MOST_PIXELS = 12_000_000
"""Of a picture as it is sent. Decoding takes up to 14 bytes a pixel, so one is decoded at a time."""
LONGEST_SIDE = 1024
"""Pixels of a picture as it is kept."""
QUALITY = 85
_decoding = threading.Lock()
_ADDRESS = re.compile(r"data:image/[a-z0-9.+-]{1,40};base64,", re.IGNORECASE)
PICTURE_PATTERN = r"^data:image/[A-Za-z0-9.+\-]{1,40};base64,[A-Za-z0-9+/]+={0,2}$"
"""How a request holds a picture: as an address that holds its data."""


@dataclass(frozen=True)
class Upload:
    """A picture as it is kept."""

    data: bytes
    """A JPEG file."""
    digest: str
    """SHA-256 of what was sent."""


def upload_of(address: str) -> Upload:
    """The picture that a data address holds.

    Raises:
        Refused: it holds none that can be read.
    """
    start = _ADDRESS.match(address)
    if start is None:
        raise Refused(422, "no_picture", "A picture is given as data:image/...;base64,... with its data.")
    try:
        sent = base64.b64decode(address[start.end() :], validate=True)
        with _decoding:
            image = open_picture(sent, most_pixels=MOST_PIXELS)
    except ValueError:  # binascii's, and that of signs beyond ASCII
        raise Refused(422, "no_picture", "The picture's data is no base64.") from None
    except RefusedPicture as refusal:
        raise Refused(422, "no_picture", f"The picture cannot be read: {refusal}. Send a JPEG or PNG file.") from None
    image.info = {}  # or Pillow writes the comment that it read
    image.thumbnail((LONGEST_SIDE, LONGEST_SIDE), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    image.save(file, "JPEG", quality=QUALITY)
    return Upload(file.getvalue(), hashlib.sha256(sent).hexdigest())
