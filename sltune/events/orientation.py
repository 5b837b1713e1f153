"""Which way is up in the frames of a dataset, and how they become upright pictures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal, TypeVar, get_args

if TYPE_CHECKING:
    from typing import Any

    import numpy as np
    from numpy.typing import NDArray

    Scalar = TypeVar("Scalar", bound=np.generic)

Orientation = Literal[
    "upright", "upside-down", "mirrored", "flipped", "rotated-90", "rotated-270", "transposed", "anti-transposed"
]
"""How a frame lies as it is stored: upright, turned by 180°, with left and right or top and bottom exchanged, turned
clockwise by 90° or 270°, or mirrored at its main diagonal (rows are columns) or at the other one."""
ORIENTATIONS: tuple[Orientation, ...] = get_args(Orientation)

SLANIMALS = "SL-Animals-DVS"
"""The dataset that is stored with the address bits of the DVS128: frames are upside down, and 0 is ON."""

_STEPS: Mapping[Orientation, tuple[bool, int, int]] = {
    "upright": (False, 1, 1),
    "upside-down": (False, -1, -1),
    "mirrored": (False, 1, -1),
    "flipped": (False, -1, 1),
    "rotated-90": (True, -1, 1),
    "rotated-270": (True, 1, -1),
    "transposed": (True, 1, 1),
    "anti-transposed": (True, -1, -1),
}
"""What makes a frame upright: whether rows and columns are exchanged first, and the steps of rows and columns then."""


def upright(frames: NDArray[Scalar], orientation: Orientation) -> NDArray[Scalar]:
    """Return frames of shape (…, rows, columns), as they are stored, as upright pictures; a view."""
    is_exchanged, rows, columns = _STEPS[orientation]
    turned: NDArray[Any] = frames.swapaxes(-1, -2) if is_exchanged else frames
    return turned[..., ::rows, ::columns]


def upright_size(sensor: tuple[int, int], orientation: Orientation) -> tuple[int, int]:
    """Return (height, width) of the upright pictures of a sensor of (height, width) pixels."""
    height, width = sensor
    return (width, height) if _STEPS[orientation][0] else (height, width)


def on_polarity(dataset_name: str) -> int:
    """Return which polarity means that brightness rose, in the frames of a dataset of that name."""
    return 0 if dataset_name == SLANIMALS else 1
