"""The predictions of a trial for each sample that it was tested on: ``predictions.parquet``."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from sltune.errors import DataError
from sltune.system.files import open_plain
from sltune.system.parquet import read_parquet
from sltune.wording import excerpt, printable

MAX_BYTES = 1 << 30
"""A million samples of a hundred classes take less."""
TEXTS = ("part", "recording", "sample_id")
RATE = "rate_"
"""The columns of rates are ``rate_0``, ``rate_1`` … for the classes in the order of the dataset."""


def predictions_to_bytes(
    recordings: Sequence[str], sample_ids: Sequence[str], labels: NDArray[np.int64], rates: NDArray[np.float32]
) -> bytes:
    """Return the content of a file of predictions of the test part.

    Args:
        recordings, sample_ids: of each sample. labels: the true classes, of shape (samples,). rates: of shape
            (samples, classes).
    """
    columns: dict[str, pa.Array] = {
        "part": pa.array(["test"] * len(labels), pa.string()),
        "recording": pa.array(recordings, pa.string()),
        "sample_id": pa.array(sample_ids, pa.string()),
        "label": pa.array(labels, pa.uint8()),
        **{f"{RATE}{number}": pa.array(column, pa.float32()) for number, column in enumerate(rates.T)},
    }
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(columns), sink, compression="zstd", write_page_checksum=True)
    content: bytes = sink.getvalue().to_pybytes()
    return content


def read_predictions(file: Path) -> pa.Table:
    """Return a file of predictions: part, recording, sample_id, label (from 0), and the rate of every class.

    Raises:
        DataError: it cannot be read, is damaged, or is no such file.
    """
    try:
        with open_plain(file, MAX_BYTES) as handle:
            table = read_parquet(handle, os.fstat(handle.fileno()).st_size).combine_chunks()
        table.validate(full=True)
        _check(table)
    except OSError as error:
        raise DataError(f"{file}: cannot be read: {printable(error.strerror or str(error))}") from error
    except (ValueError, MemoryError, pa.ArrowException) as error:
        raise DataError(f"{file}: is damaged: {excerpt(str(error))}") from error
    return table


def rates_of_classes(table: pa.Table) -> NDArray[np.float32]:
    """Return the rates of predictions as an array of shape (samples, classes)."""
    return np.stack([table[name].to_numpy() for name in table.column_names if name.startswith(RATE)], axis=1)


def _check(table: pa.Table) -> None:
    """Raise a ValueError unless a table has the columns of predictions, with a value in every row."""
    classes = table.num_columns - len(TEXTS) - 1
    rates = {f"{RATE}{number}": pa.float32() for number in range(classes)}
    wanted = pa.schema([*((name, pa.string()) for name in TEXTS), ("label", pa.uint8()), *rates.items()])
    if classes < 1 or not table.schema.equals(wanted):
        raise ValueError("not a file of predictions: has other columns")
    if any(column.null_count for column in table.columns):
        raise ValueError("has rows without a value")
    if table.num_rows and table["label"].to_numpy().max() >= classes:
        raise ValueError(f"has labels beyond its {classes} classes")
