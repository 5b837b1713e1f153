"""Write animations frame by frame, so that memory does not grow with their length; Pillow would keep all frames."""

from __future__ import annotations

from collections.abc import Iterable
from typing import BinaryIO

import numpy as np
from PIL import Image
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
            header, _ = getheader(image, info={"loop": 0})
            out.writelines(header)
        before = _write_frame(out, image, before, duration_ms)
    out.write(END)


def _write_frame(out: BinaryIO, image: Image.Image, before: Image.Image | None, duration_ms: int) -> Image.Image:
    """Write what differs from the image before; return the image."""
    left, top, right, bottom = (0, 0, *image.size) if before is None else _changed(before, image)
    part = image.crop((left, top, right, bottom))
    out.writelines(getdata(part, (left, top), duration=duration_ms, disposal=KEEP))
    return image


def _changed(before: Image.Image, after: Image.Image) -> tuple[int, int, int, int]:
    """Return the box that contains all pixels that differ; at least one pixel, as a frame cannot be empty."""
    differs = np.asarray(before) != np.asarray(after)
    lines, columns = (np.flatnonzero(differs.any(axis=axis)) for axis in (1, 0))
    if not len(lines):
        return 0, 0, 1, 1
    return int(columns[0]), int(lines[0]), int(columns[-1]) + 1, int(lines[-1]) + 1
