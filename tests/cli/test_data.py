"""The verbs that look at data: inspect and show."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from PIL import Image

from sltune.cli.data import inspect
from sltune.cli.main import main


def sltune(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, which is the current one."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def test_inspect_says_what_is_in_a_dataset(dataset: Path) -> None:
    result = sltune("inspect", dataset)
    assert result.exit_code == 0, result.stderr
    assert result.stderr == ""
    assert result.stdout.startswith("two sides, SYNTHETIC data\n")
    # 8 signers with 6 samples of 400 events, half of them of each class.
    for line in ("recordings   8", "samples      48, 0 with", "events       19,200", "left        24       400"):
        assert line in result.stdout
    assert "verified" not in result.stdout


def test_inspect_prints_json_alone_on_stdout(dataset: Path) -> None:
    result = sltune("inspect", dataset, "--json", "--verify")
    values = json.loads(result.stdout)
    assert values["total"]["samples"] == 48
    assert values["verified"] == {"files": 8, "samples": 48}
    assert "read recordings/user00_indoor.parquet" in result.stderr


def test_inspect_lists_the_samples_one_a_line(dataset: Path) -> None:
    lines = sltune("inspect", dataset, "--samples").stdout.splitlines()
    assert len(lines) == 48
    assert lines[1].split()[:2] == ["user00_indoor_02", "right"]
    assert len(json.loads(sltune("inspect", dataset, "--samples", "--json").stdout)) == 48


def test_inspect_verifies_and_ends_with_exit_code_3_where_a_file_is_bad(dataset: Path) -> None:
    result = sltune("inspect", dataset, "--verify")
    assert result.exit_code == 0, result.stderr
    assert result.stdout.endswith("verified: 8 files, 48 samples\n")
    file = dataset / "recordings" / "user05_indoor.parquet"
    content = bytearray(file.read_bytes())
    content[100] ^= 4
    file.write_bytes(content)
    bad = sltune("inspect", dataset, "--verify")
    assert bad.exit_code == 3
    assert f"sltune: {file}: is damaged" in bad.stderr
    assert bad.stdout == ""


@pytest.mark.parametrize("verb", [["inspect"], ["inspect", "--verify"], ["show", "--all"]])
def test_a_folder_that_is_no_dataset_is_exit_code_3(tmp_path: Path, verb: list[str]) -> None:
    result = sltune(*verb, tmp_path)
    assert result.exit_code == 3
    assert f"{tmp_path}: is not a dataset" in result.stderr


def test_show_writes_sample_png_in_the_current_folder_and_never_over_a_file(dataset: Path, here: Path) -> None:
    result = sltune("show", dataset, "user03_indoor_02")
    assert (result.exit_code, result.stdout) == (0, "user03_indoor_02.png\n"), result.stderr
    file = here / "user03_indoor_02.png"
    with Image.open(file) as image:
        # Three frames of 16 × 4 pixels a side, and between and around them four gaps of 18 for letters of 12.
        assert image.format == "PNG"
        assert image.size[0] >= 3 * 64 + 4 * 18
    file.write_bytes(b"mine")
    again = sltune("show", dataset, "user03_indoor_02")
    assert again.exit_code == 2
    assert "user03_indoor_02.png: exists; choose another --out, or overwrite it with --force" in again.stderr
    assert file.read_bytes() == b"mine"
    assert sltune("show", dataset, "user03_indoor_02", "--force").exit_code == 0
    assert file.read_bytes() != b"mine"


def test_show_writes_an_animation_where_the_file_is_a_gif(dataset: Path, here: Path) -> None:
    flags = ("--out", "a.gif", "--bin-ms", 20, "--start-ms", 40, "--length-ms", 100)
    assert sltune("show", dataset, "user03_indoor_02", *flags).exit_code == 0
    with Image.open(here / "a.gif") as image:
        assert (image.format, image.n_frames, image.info["duration"]) == ("GIF", 5, 20)


def test_show_all_writes_a_sheet_named_after_the_recording_or_the_dataset(dataset: Path, here: Path) -> None:
    assert sltune("show", dataset, "--all").stdout == "data.png\n"
    assert sltune("show", dataset, "--all", "--recording", "user02_indoor").stdout == "user02_indoor.png\n"
    assert sorted(file.name for file in here.iterdir()) == ["data.png", "user02_indoor.png"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["user3_indoor_02"], "has no sample 'user3_indoor_02'; did you mean \"user03_indoor_02"),
        (["--all", "--recording", "user9_indoor"], "has no recording 'user9_indoor'; did you mean \"user0"),
        ([], "name one SAMPLE, or ask for a frame of every class with --all"),
        (["user03_indoor_02", "--all"], "name one SAMPLE, or ask for"),
        (["user03_indoor_02", "--recording", "user03_indoor"], "--all [--recording NAME]"),
        (["user03_indoor_02", "--out", "a.jpg"], "a.jpg: must end in .png or .gif"),
        (["--all", "--out", "a.gif"], "a.gif: must end in .png"),
        (["user03_indoor_02", "--start-ms", "5000"], "--start-ms must be less, but is 5000"),
        (["user03_indoor_02", "--out", "a.gif", "--bin-ms", "5"], "20 ms are the least"),
        (["user03_indoor_02", "--out", "a.gif", "--bin-ms", "655351"], "655350 ms the most"),
        (["user03_indoor_02", "--bin-ms", "0"], "x>=1"),
    ],
)
def test_show_refuses_what_cannot_be_drawn_with_exit_code_2(
    dataset: Path, here: Path, arguments: list[str], said: str
) -> None:
    result = sltune("show", dataset, *arguments)
    assert result.exit_code == 2
    assert said in result.stderr
    assert list(here.iterdir()) == []


def test_a_place_that_cannot_be_written_is_exit_code_2(dataset: Path, here: Path) -> None:
    (here / "file").touch()
    result = sltune("show", dataset, "user03_indoor_02", "--out", here / "file" / "a.png")
    assert result.exit_code == 2
    assert "a.png: cannot be written" in result.stderr


def test_inspect_may_have_no_stdout_at_all(dataset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout", None)
    inspect.callback(dataset, False, False, False)


@pytest.mark.parametrize("arguments", [["inspect"], ["import", "src", "--out"], ["show", "--all"]])
def test_a_path_that_is_not_utf_8_is_refused_before_anything_is_done(here: Path, arguments: list[str]) -> None:
    result = sltune(*arguments, "da\udcffta")
    assert result.exit_code == 2
    assert r"'da\udcffta' is not UTF-8; rename it" in result.stderr
    assert list(here.iterdir()) == []


@pytest.mark.parametrize("classes", [[], ["left"]])
@pytest.mark.parametrize("verb", [["inspect"], ["inspect", "--samples"], ["show", "--all"]])
def test_a_manifest_that_names_too_few_classes_is_refused(dataset: Path, verb: list[str], classes: list[str]) -> None:
    manifest = dataset / "manifest.json"
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "classes": classes}))
    result = sltune(*verb, dataset)
    assert result.exit_code == 3
    assert f"sltune: {dataset / 'recordings/user00_indoor.parquet'}: sample user00_indoor_0" in result.stderr
    assert f"label {len(classes)} is not '{['left', 'right'][len(classes)]}' in manifest.json" in result.stderr
