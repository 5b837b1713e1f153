"""What the network of a trial said of each sample is kept, and foreign files are refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sltune.errors import DataError
from sltune.system import files
from sltune.training.predictions import predictions_to_bytes, rates_of_classes, read_predictions

LABELS = np.array([1, 0, 1])
RATES = np.array([[0.25, 0.75], [0.5, 0.5], [1.0, 0.0]], np.float32)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "predictions.parquet"
    file.write_bytes(predictions_to_bytes(["a", "a", "b"], ["a_1", "a_2", "b_1"], LABELS, RATES))
    return file


def test_what_is_written_is_read_back(file: Path) -> None:
    table = read_predictions(file)
    assert table.column_names == ["part", "recording", "sample_id", "label", "rate_0", "rate_1"]
    assert table.select(["part", "recording", "sample_id", "label"]).to_pylist()[2] == {
        "part": "test", "recording": "b", "sample_id": "b_1", "label": 1
    }  # fmt: skip
    assert (rates_of_classes(table) == RATES).all()


def test_a_sample_costs_little(tmp_path: Path) -> None:
    """A fold of SL-Animals-DVS tests 280 samples of 19 classes, whose rates are multiples of 1/145."""
    rng = np.random.default_rng(0)
    rates = (rng.integers(0, 146, (280, 19)) / 145).astype(np.float32)
    names = [f"user{number // 19:02d}_indoor_{number % 19:02d}" for number in range(280)]
    content = predictions_to_bytes([name[:13] for name in names], names, rng.integers(0, 19, 280), rates)
    assert len(content) < 25_000


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda table: table.drop_columns(["label"]), "has other columns"),
        (lambda table: table.drop_columns(["rate_0", "rate_1"]), "has other columns"),
        (lambda table: table.append_column("rate_3", pa.array([0.0] * 3, pa.float32())), "has other columns"),
        (lambda table: table.set_column(4, "rate_0", pa.array([0.0] * 3)), "has other columns"),
        (lambda table: table.set_column(4, "rate_0", pa.array([0.0, None, 0.0], pa.float32())), "without a value"),
        (lambda table: table.set_column(3, "label", pa.array([0, 1, 2], pa.uint8())), "labels beyond its 2 classes"),
    ],
)
def test_a_table_that_is_none_of_predictions_is_refused(file: Path, change: object, said: str) -> None:
    pq.write_table(change(pq.read_table(file)), file)  # type: ignore[operator]
    with pytest.raises(DataError, match=rf"predictions\.parquet: is damaged: .*{said}"):
        read_predictions(file)


def test_a_missing_file_and_one_that_claims_too_much_are_named(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(DataError, match=r"x\.parquet: cannot be read: No such file"):
        read_predictions(tmp_path / "x.parquet")
    with pytest.raises(DataError, match="is a folder"):
        read_predictions(tmp_path)
    # Of any file, and not only of a large one.
    monkeypatch.setattr(files, "ALWAYS_ALLOWED_BYTES", 0)
    table = pa.concat_tables([pq.read_table(file)] * 30_000).combine_chunks()
    pq.write_table(table, file, compression="zstd")
    with pytest.raises(DataError, match="bytes claim to be"):
        read_predictions(file)
