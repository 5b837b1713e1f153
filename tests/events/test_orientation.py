"""Which way is up: what the source says, or the user, who may know better."""

from __future__ import annotations

import json
from pathlib import Path

from click.testing import CliRunner

import sltune
from sltune.cli.main import main
from sltune.errors import DataError, UsageError
from sltune.events.importing import import_source
from sltune.events.manifest import read_manifest
from sltune.events.sources.slanimals.source import open_slanimals
from tests.events.conftest import TinyFolder, refused


def test_the_user_may_know_which_way_is_up(tiny_folder: TinyFolder, tmp_path: Path) -> None:
    folder, out = tiny_folder(names=["user35_dc"]), tmp_path / "data"
    assert sltune.import_recordings(folder, out, progress=False).manifest.orientation == "upside-down"
    arguments = ["import", str(folder), "--out", str(out), "-q", "--orientation", "rotated-90"]
    assert CliRunner().invoke(main, arguments).exit_code == 0
    assert read_manifest(out).orientation == "rotated-90"
    with refused(UsageError, "orientation must be one of upright, upside-down, mirrored,", "but got 'left'"):
        sltune.import_recordings(folder, out, orientation="left")  # type: ignore[arg-type]


def test_of_format_2_recordings_of_sl_animals_are_upside_down(tiny_folder: TinyFolder, tmp_path: Path) -> None:
    out = tmp_path / "data"
    import_source(open_slanimals(tiny_folder(names=["user35_dc"])), out)
    values = json.loads((out / "manifest.json").read_text())
    for name, orientation in (("SL-Animals-DVS", "upside-down"), ("N-MNIST", "upright")):
        older = {key: value for key, value in values.items() if key not in ("orientation", "downsample")}
        (out / "manifest.json").write_text(json.dumps({**older, "format": 2, "name": name}))
        assert read_manifest(out).orientation == orientation
    (out / "manifest.json").write_text(json.dumps({**values, "orientation": "left"}))
    with refused(DataError, "is damaged (orientation"):
        read_manifest(out)
