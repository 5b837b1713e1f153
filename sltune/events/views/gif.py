"""Write animations frame by frame, so that memory does not grow with their length; Pillow would keep all frames."""

from __future__ import annotations

from collections.abc import Iterable
from typing import BinaryIO

from PIL import Image, ImageChops
from PIL.GifImagePlugin import getdata, getheader

END = b";"
# How a frame is disposed of: it stays, and the next one is drawn over it.
KEEP = 1


def write_gif(out: BinaryIO, frames: Iterable[tuple[Image.Image, int]]) -> None:
    """Write images of one size and palette, each with how many ms it is seen, as a repeating animation.

    Only the rectangle in which a frame differs from the one before is written.
    """
    before = None
    for image, duration_ms in frames:
        if before is None:
            out.writelines(getheader(image, info={"loop": 0})[0])
            box = (0, 0, *image.size)
        else:
            # A frame cannot be empty.
            box = ImageChops.difference(before, image).getbbox() or (0, 0, 1, 1)
        out.writelines(getdata(image.crop(box), box[:2], duration=duration_ms, disposal=KEEP))
        before = image
    out.write(END)
