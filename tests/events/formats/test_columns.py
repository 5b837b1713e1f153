"""Arrays and tables of events: their layouts, units of time and polarities, and what is wrong in them."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.lib.recfunctions import repack_fields

from sltune.errors import DataError
from sltune.events.formats.event_file import open_event_file
from tests.events.conftest import refused
from tests.events.formats.writers import Events

X, Y, T, P = [3, 65535, 0], [0, 7, 9], [10, 10, 25], [1, 0, 1]
EVENTS = Events(X, Y, T, [True, False, True])
ROWS = np.array([X, Y, T, P]).T


def save(file: Path, array: Any) -> Path:
    np.save(file, array)
    return file


def read(file: Path, unit: str = "us") -> Events:
    (block,) = open_event_file(file, unit).blocks()
    return Events(block.x.tolist(), block.y.tolist(), block.t_us.tolist(), block.on.tolist())


def structured(names: tuple[str, ...] = ("x", "y", "t", "p"), kinds: str = "HHq?") -> Any:
    array = np.zeros(3, [*zip(names, kinds, strict=True)])
    for name, values in zip(names, (X, Y, T, P), strict=True):
        array[name] = values
    return array


@pytest.mark.parametrize(
    "array",
    [
        structured(),
        structured(("xs", "ys", "timestamps", "polarity"), "iiQb"),
        structured(("X", "Y", "Time", "Pol"), "fddd"),
        repack_fields(structured()[["p", "t", "y", "x"]]),
        structured(kinds=[">H", ">H", ">i8", ">f4"]),
        ROWS,
        np.ascontiguousarray(ROWS),
        ROWS.astype(float),
        np.asfortranarray(ROWS.astype(">i4")),
    ],
    ids=["fields", "other names", "numbers with a point", "other order", "big", "columns", "rows", "float", "Fortran"],
)
def test_every_layout_of_an_array_gives_the_same_events(tmp_path: Path, array: Any) -> None:
    assert read(save(tmp_path / "one.npy", array)) == EVENTS


def test_an_archive_holds_one_array_or_one_of_each_column(tmp_path: Path) -> None:
    np.savez(tmp_path / "one.npz", events=structured())
    np.savez_compressed(tmp_path / "four.npz", t=np.array(T), p=np.array(P), x=np.array(X), y=np.array(Y))
    np.savez(tmp_path / "uneven.npz", t=np.array(T), p=np.array(P), x=np.array(X), y=np.array(Y[:2]))
    assert read(tmp_path / "one.npz") == read(tmp_path / "four.npz") == EVENTS
    with refused(DataError, "uneven.npz", "'y' has the shape (2,)"):
        read(tmp_path / "uneven.npz")


@pytest.mark.parametrize(
    "text",
    [
        "x,y,t,p\n3,0,10,1\n65535,7,10,0\n0,9,25,1\n",
        "\ufeffp;t;y;x\r\n1;10;0;3\r\n0;10;7;65535\r\n1;25;9;0",
        '"t"\t"x"\t"y"\t"polarity"\tnote\n10\t3\t0\t1\ta\n10\t65535\t7\t0\t\n25\t0\t9\t1\tb\n',
        "# x y t p\n3.0 0 1e1 1\n65535 7 10 -1\n0 9 25 1\n",
        "X, Y, Timestamp, Pol\n3,0,10,true\n65535,7,10,false\n\n0,9,25,true\n",
    ],
    ids=["commas", "semicolons", "tabs", "blanks", "words"],
)
def test_every_dialect_of_a_table_gives_the_same_events(tmp_path: Path, text: str) -> None:
    (tmp_path / "one.csv").write_bytes(text.encode())
    assert read(tmp_path / "one.csv") == EVENTS


def test_a_column_whose_first_points_come_late_is_refused_with_what_to_do(tmp_path: Path) -> None:
    whole = "1,1,1000000,1\n" * 80_000
    (tmp_path / "one.csv").write_text(f"x,y,t,p\n{whole}1,1,1000000.5,1\n")
    with refused(DataError, "one.csv", "Row #80002", "'1000000.5'", "write all numbers of a column with a point"):
        list(open_event_file(tmp_path / "one.csv", "ms").blocks())


@pytest.mark.parametrize(
    ("unit", "times", "micros"),
    [
        ("s", [0.000123, 1.0, 1e6 + 1e-6], [123, 10**6, 10**12 + 1]),
        ("s", np.array([0, -1, 5]), [0, -(10**6), 5 * 10**6]),
        ("ms", [0.0005, 0.0015, 7.25], [0, 2, 7250]),
        ("us", np.array([2**53 + 1, 0, 1]), [2**53 + 1, 0, 1]),
        ("ns", np.array([1499, 1500, -1]), [1, 2, 0]),
        ("ns", [1499.0, 1501.0, 1.7e18], [1, 2, 1.7e15]),
    ],
)
def test_times_in_any_unit_become_whole_microseconds(tmp_path: Path, unit: str, times: Any, micros: list[int]) -> None:
    np.savez(tmp_path / "one.npz", x=X, y=Y, t=times, p=P)
    assert read(tmp_path / "one.npz", unit).t == micros


@pytest.mark.parametrize(
    ("column", "values", "parts"),
    [
        ("x", [1, -1, 2], ("x of event 1 is -1", "0 to 65535")),
        ("y", [1, 2, 70000], ("y of event 2 is 70000", "0 to 65535")),
        ("x", [1.5, 1, 1], ("x of event 0 is 1.5", "whole number")),
        ("t", [0, 1, np.nan], ("t of event 2 is nan", "a time")),
        ("t", [0, np.inf, 1], ("t of event 1 is inf", "a time")),
        ("t", np.array([0, 2**63 - 1, 1]), ("t of event 1 is 9223372036854775807", "2⁶² µs")),
        ("p", [1, 2, 0], ("p of event 1 is 2", "0 or 1, or else -1 or 1")),
        ("p", [0, 1, -1], ("p of event 2 is -1", "0 or 1, or else -1 or 1")),
        ("p", ["1", "0", "1"], ("p holds values of type <U1",)),
        ("p", np.array([1, 0, 1j]), ("p holds values of type complex128",)),
    ],
)
def test_a_value_that_is_none_is_refused_with_its_event(
    tmp_path: Path, column: str, values: Any, parts: tuple[str, ...]
) -> None:
    np.savez(tmp_path / "one.npz", **{"x": X, "y": Y, "t": T, "p": P, column: values})
    with refused(DataError, tmp_path / "one.npz", *parts):
        read(tmp_path / "one.npz")


@pytest.mark.parametrize(
    ("name", "content", "parts"),
    [
        ("one.csv", b"1,2,3,4\n", ("starts with '1,2,3,4'", "write a line such as x,y,t,p above")),
        ("one.csv", b"x,y,t\n1,2,3\n", ("no column 'p'", "x, y, t")),
        ("one.csv", b"x,y,t,p,ts\n", ("more than one column 't'",)),
        ("one.csv", b"x,y,t,p\n1,2,3\n", ("is no table of events", "Expected 4 columns, got 3")),
        ("one.csv", b"x,y,t,p\n1,2,3,1\n1,2,,1\n", ("t of event 1", "is empty")),
        ("one.csv", b"x,y,t,p\n1,2,soon,1\n", ("t holds values of type",)),
        ("one.csv", b"", ("no column 'x'",)),
        ("one.npy", b"PK\3\4", ("is no file of numpy's",)),
        ("one.npy", b"\x93NUMPY\1\0\x10\0{'descr': '<f8'}\n", ("is no file of numpy's", "shape")),
    ],
)
def test_a_file_that_is_no_table_is_refused(tmp_path: Path, name: str, content: bytes, parts: tuple[str, ...]) -> None:
    (tmp_path / name).write_bytes(content)
    with refused(DataError, tmp_path / name, *parts):
        read(tmp_path / name)


@pytest.mark.parametrize(
    "array", [np.zeros((3, 3)), np.zeros(3), np.zeros((3, 4, 1)), np.array([{}] * 3), np.zeros(())]
)
def test_an_array_of_another_shape_or_of_objects_is_refused(tmp_path: Path, array: Any) -> None:
    """An array of objects is a pickle, which could run anything."""
    file = BytesIO()
    np.save(file, array, allow_pickle=True)
    (tmp_path / "one.npy").write_bytes(file.getvalue())
    with refused(DataError, tmp_path / "one.npy", "no events"):
        read(tmp_path / "one.npy")
