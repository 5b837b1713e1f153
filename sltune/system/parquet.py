"""Parquet files that may come from a stranger."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from sltune.system.files import max_unpacked_bytes

BYTES_PER_VALUE = 4
"""What most values take in memory: times of events, addresses on large sensors, firing rates."""


def read_parquet(source: Any, size: int, columns: Sequence[str] | None = None) -> pa.Table:
    """Read a Parquet file whose checksums are right, and that does not claim to hold implausibly much.

    Args:
        source: an open file, or an Arrow reader of its bytes. size: its number of bytes.
        columns: None for all.

    Raises:
        ValueError, MemoryError, OSError, pa.ArrowException: the file is damaged, or is no Parquet file.
    """
    # Of a file that lies elsewhere, what is wanted is then asked for at once.
    is_far = isinstance(source, pa.NativeFile) and not isinstance(source, pa.BufferReader)
    parquet = pq.ParquetFile(source, page_checksum_verification=True, pre_buffer=is_far)
    _refuse_claims(parquet.metadata, size)
    return parquet.read(columns=None if columns is None else list(columns))


def _refuse_claims(metadata: pq.FileMetaData, size: int) -> None:
    """Raise a ValueError before memory is allocated for a file that claims to hold implausibly much."""
    groups = (metadata.row_group(index) for index in range(metadata.num_row_groups))
    chunks = [group.column(index) for group in groups for index in range(group.num_columns)]
    claimed = sum(max(chunk.total_uncompressed_size, BYTES_PER_VALUE * chunk.num_values) for chunk in chunks)
    if claimed > max_unpacked_bytes(size):
        raise ValueError(f"its {size:,} bytes claim to be {claimed:,}")
