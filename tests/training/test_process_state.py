"""What a user's code changes for its whole process is put back."""

from __future__ import annotations

import os
from operator import attrgetter
from pathlib import Path
from typing import NoReturn

import pytest
import torch

from sltune.training.process_state import SETTINGS, kept_state


def change_everything(folder: Path) -> NoReturn:
    os.chdir(folder)
    torch.set_default_dtype(torch.float64)
    torch.set_default_device("meta")
    torch.set_num_threads(torch.get_num_threads() + 1)
    torch.set_grad_enabled(False)
    torch.autograd.set_detect_anomaly(True)
    torch.use_deterministic_algorithms(True)
    torch.set_float32_matmul_precision("medium")
    torch.backends.cudnn.benchmark = not torch.backends.cudnn.benchmark
    raise ZeroDivisionError


def test_every_setting_is_put_back_even_after_an_error(tmp_path: Path) -> None:
    before = [get() for get, _ in SETTINGS]
    with pytest.raises(ZeroDivisionError), kept_state():
        change_everything(tmp_path)
    assert [get() for get, _ in SETTINGS] == before
    assert torch.zeros(1).device.type == "cpu"


def test_a_folder_that_is_gone_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with kept_state():
        pass


@pytest.mark.parametrize("setting", ["fp32_precision", "cuda.matmul.fp32_precision", "cudnn.fp32_precision"])
def test_a_precision_that_is_set_in_torchs_newer_way_is_put_back(setting: str) -> None:
    """Torch then refuses to read what is set in the older way."""
    place, _, name = f"torch.backends.{setting}".rpartition(".")
    with kept_state():
        setattr(attrgetter(place.removeprefix("torch."))(torch), name, "tf32")
    assert torch.get_float32_matmul_precision() == "highest"
    assert torch.backends.cudnn.allow_tf32
    assert not torch.backends.cuda.matmul.allow_tf32
