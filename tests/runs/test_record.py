"""What trials are called."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sltune.runs.record import TrialKey


@given(number=st.integers(0, 10**6), fold=st.integers(0, 99), seed=st.integers(0, 2**32))
def test_a_key_is_read_back_from_its_name(number: int, fold: int, seed: int) -> None:
    key = TrialKey(config_id=f"c{number:04d}", seed=seed, fold=fold)
    assert TrialKey.parse(key.name) == key


def test_a_name_holds_configuration_fold_and_seed() -> None:
    assert TrialKey(config_id="c0007", seed=1, fold=2).name == "c0007-f2-s1"


@pytest.mark.parametrize(
    "name",
    [
        "",
        "c00007-f2-s1",
        "c0007-f02-s1",
        "c0007-f٣-s1",
        "c7-f2-s1",
        "c0007-f2",
        "c0007-s1-f2",
        "c0007-f2-s1.bak",
        "c0007-f-1-s1",
    ],
)
def test_another_name_is_no_key(name: str) -> None:
    with pytest.raises(ValueError, match="is not the name of a"):
        TrialKey.parse(name)


def test_keys_stand_by_configuration_then_seed_then_fold() -> None:
    names = ["c0000-f1-s0", "c0000-f0-s1", "c0000-f0-s0", "c0001-f0-s0", "c0000-f1-s1"]
    assert [key.name for key in sorted(map(TrialKey.parse, names))] == [
        *("c0000-f0-s0", "c0000-f1-s0", "c0000-f0-s1", "c0000-f1-s1", "c0001-f0-s0"),
    ]
