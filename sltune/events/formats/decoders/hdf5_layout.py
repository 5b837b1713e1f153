"""Prints where the events of an HDF5 file lie, as JSON: python hdf5_layout.py FILE.

The HDF5 library runs in a process of its own, as damaged files can make it loop for ever. It finds the pieces of the
dataset; their bytes are read and decoded elsewhere. Imports nothing of sltune, to start soon.
"""

from __future__ import annotations

import json
import resource
import sys
from contextlib import suppress
from typing import Any

import h5py

DATASET, TRIGGERS = "CD/events", "EXT_TRIGGER/events"
MAX_MEMORY_BYTES, MAX_CPU_S = 4 << 30, 10
"""A hundred times what the list of the pieces of the largest recordings takes."""


def layout(file: Any) -> dict[str, Any]:
    """Return the layout of the events in an open file; pieces are pairs of first event, byte, size and filter mask."""
    if DATASET not in file or not isinstance(events := file[DATASET], h5py.Dataset):
        return {"error": f"has no dataset {DATASET!r}, which Prophesee's programs write"}
    pieces: list[tuple[int, int, int, int]] = []
    if events.chunks is None:
        pieces.append((0, events.id.get_offset() or 0, events.id.get_storage_size(), 0))
    elif events.id.get_num_chunks():
        events.id.chunk_iter(lambda i: pieces.append((i.chunk_offset[0], i.byte_offset, i.size, i.filter_mask)))
    creation, fields = events.id.get_create_plist(), events.dtype.fields or {}
    geometry = file.attrs.get("geometry", "")
    return {
        "fields": {name: (field[0].str, field[1]) for name, field in fields.items()},
        "item_bytes": events.dtype.itemsize,
        "shape": events.shape,
        "piece_events": events.chunks[0] if events.chunks else 0,
        "filters": [creation.get_filter(number)[0] for number in range(creation.get_nfilters())],
        "pieces": pieces,
        "geometry": geometry.decode() if isinstance(geometry, bytes) else str(geometry),
        "triggers": len(file[TRIGGERS]) if TRIGGERS in file else 0,
    }


def limit(kind: int, most: int) -> None:
    """Limit what this process may take, where the system can."""
    allowed = resource.getrlimit(kind)[1]
    with suppress(OSError, ValueError):
        resource.setrlimit(kind, (most if allowed == resource.RLIM_INFINITY else min(most, allowed), allowed))


def main() -> None:
    limit(resource.RLIMIT_AS, MAX_MEMORY_BYTES)
    limit(resource.RLIMIT_CPU, MAX_CPU_S)
    try:
        # Some file servers have no locks.
        with h5py.File(sys.argv[1], "r", locking=False) as file:
            found = layout(file)
    # A damaged file fails in any way, and the reader reports each as damage.
    except Exception as error:
        found = {"error": f"is no HDF5 file, or is damaged: {error}"}
    print(json.dumps(found))


if __name__ == "__main__":
    main()
