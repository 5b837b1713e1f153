"""Synthetic recordings of all four sessions, read by both implementations."""

from __future__ import annotations

import pytest

from tests.parity.support import Signs, read_signs, write_signs

NAMES = (
    "user00_indoor",
    "user01_indoor",
    "user18_sunlight",
    "user19_sunlight",
    "user25_imse",
    "user26_imse",
    "user35_dc",
    "user37_dc",
)


@pytest.fixture(scope="session")
def signs(tmp_path_factory: pytest.TempPathFactory) -> Signs:
    """Eight recordings of eight signers; five start above 2³¹ µs."""
    folder = tmp_path_factory.mktemp("signs")
    write_signs(folder, NAMES)
    return read_signs(folder, NAMES)
