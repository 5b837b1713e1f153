"""The command line: exit codes, messages that name the place, and nothing heavy before it is needed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from sltune.cli.main import main
from sltune.events.formats.aedat import encode_address, write_aedat
from sltune.events.sources.slanimals.source import GESTURES

ROOT = Path(__file__).parents[2]
SPACES = ROOT / "search_spaces"


def sltune(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def write_folder(folder: Path, tags: str | None = None, name: str = "user05_indoor") -> Path:
    """Write an SL-Animals folder of one recording with 19 signs of 40 events."""
    (folder / "recordings").mkdir(parents=True)
    (folder / "tags").mkdir()
    events = range(40 * 19)
    address = encode_address([i % 128 for i in events], [0 for _ in events], [i % 2 for i in events])
    write_aedat(folder / "recordings" / f"{name}.aedat", address, [1000 * i for i in events])
    rows = "".join(f"{row},{40 * row - 40},{40 * row}\n" for row in range(1, 20))
    (folder / "tags" / f"{name}.csv").write_text(tags or f"class,startTime_ev,endTime_ev\n{rows}")
    return folder


def recording(folder: Path) -> Path:
    return next((folder / "recordings").iterdir())


def corrupt(content: bytes) -> Callable[[Path], object]:
    return lambda folder: recording(folder).write_bytes(content)


HEADER = b"#!AER-DAT2.0\r\n#End Of ASCII Header\r\n"


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (corrupt(b"#!AER-DAT1.0\r\n" + bytes(12)), ["AEDAT-1.0 is not supported", "jAER"]),
        (corrupt(b"#!AER-DAT3.1\r\n" + bytes(16)), ["AEDAT-3.1 is not supported"]),
        (corrupt(b"#!AER-DAT4.0\r\n" + bytes(16)), ["AEDAT-4.0 is not supported"]),
        (corrupt(HEADER + b"\x80\x40\x12\x34\0\0\0\1"), ["event 0", "0x80401234", "15 bits of a DVS128"]),
        (corrupt(HEADER + bytes(13)), ["truncated", "5 bytes follow the last whole event"]),
        (corrupt(b""), ["empty"]),
        (corrupt(HEADER), ["no events after the header"]),
        (lambda folder: recording(folder).unlink(), ["holds no .aedat file", "tags: 1 .csv"]),
    ],
)
def test_a_recording_that_cannot_be_read_ends_in_exit_code_3_and_its_name(
    tmp_path: Path, damage: Callable[[Path], object], said: list[str]
) -> None:
    folder = write_folder(tmp_path / "src")
    damage(folder)
    result = sltune("import", folder, "--out", tmp_path / "data")
    assert result.exit_code == 3
    assert str(folder) in result.stderr
    assert all(text in result.stderr for text in said), result.stderr
    assert "Traceback" not in result.stderr


def rows(changed: dict[int, str]) -> str:
    lines = [changed.get(row, f"{row},{40 * row - 40},{40 * row}") for row in range(1, 20)]
    return "\n".join(["class,startTime_ev,endTime_ev", *(line for line in lines if line)]) + "\n"


@pytest.mark.parametrize(
    ("tags", "said"),
    [
        (rows({19: "19,720,761"}), ["row 19", "endTime_ev=761", "out of range", "760 events"]),
        (rows({3: "3,100,100"}), ["row 3", "startTime_ev=100", "start must lie before end"]),
        (rows({2: "1,40,80"}), ["rows 1, 2", "class 1 (cat) is repeated", "class 2 (dog) is missing"]),
        (rows({7: ""}), ["class 7 (wolf) is missing"]),
        (rows({4: "20,120,160"}), ["row 4", "class=20", "1…19"]),
        (rows({5: "5,x,200"}), ["row 5", "startTime_ev='x'", "whole numbers"]),
        ("class,start,end\n1,0,40\n", ["has no column 'startTime_ev'"]),
    ],
)
def test_bad_tags_end_in_exit_code_3_and_name_file_row_and_value(tmp_path: Path, tags: str, said: list[str]) -> None:
    folder = write_folder(tmp_path / "src", tags)
    result = sltune("import", folder, "--out", tmp_path / "data")
    assert result.exit_code == 3
    assert str(folder / "tags" / "user05_indoor.csv") in result.stderr
    assert all(text in result.stderr for text in said), result.stderr
    assert not (tmp_path / "data" / "manifest.json").exists()


def test_a_good_folder_is_imported_and_counted(tmp_path: Path) -> None:
    result = sltune("import", write_folder(tmp_path / "src"), "--out", tmp_path / "data")
    assert result.exit_code == 0, result.stderr
    assert "1 recording, 19 samples, 760 events" in result.stdout
    manifest = json.loads((tmp_path / "data" / "manifest.json").read_text())
    assert tuple(manifest["classes"]) == GESTURES


def test_a_missing_folder_and_a_dataset_that_is_none_are_exit_code_3(tmp_path: Path) -> None:
    missing = tmp_path / "nowhere"
    assert f"{missing}: cannot be read: No such file" in sltune("import", missing, "--out", tmp_path / "x").stderr
    result = sltune("evaluate", SPACES / "paper.toml", "--data", missing)
    assert result.exit_code == 3
    assert f"{missing}: is not a dataset" in result.stderr


def test_every_mistake_in_a_space_file_is_told_at_once(tmp_path: Path) -> None:
    space = tmp_path / "bad.toml"
    space.write_text(
        '[training]\noptimizer = "adamm"\nepochs = 0\nbatchsize = 8\n[sampling]\ntime_bin_ms = 30\ntrain_crop_ms = 10\n'
    )
    result = sltune("evaluate", space, "--data", tmp_path)
    assert result.exit_code == 2
    for text in ("4 problems", '"adamm"', '"adam"', "training.epochs = 0", "batch_size", "sampling.train_crop_ms = 10"):
        assert text in result.stderr, result.stderr


def test_a_searched_value_cannot_be_evaluated_and_is_named(tmp_path: Path) -> None:
    space = tmp_path / "search.toml"
    space.write_text("[neuron]\ndecay = { low = 0.1, high = 0.9 }\n")
    result = sltune("evaluate", space, "--data", tmp_path)
    assert result.exit_code == 2
    assert "neuron.decay" in result.stderr


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--gpus-per-trial", "0.6"], "must be 0, 1/k"),
        (["--gpus-per-trial", "half"], "number or auto, but got 'half'"),
        (["--cpus-per-trial", "1e-9"], "must be at least 0.01, but got 1e-09"),
        (["--cpus-per-trial", "all"], "--cpus-per-trial must be a number or auto, but got 'all'"),
        (["--set", "sampling.train_crop_ms=4294968"], "must be a whole number from 1 to 4294967"),
        (["--set", "evaluation.folds=1000000000"], "must be a whole number from 2 to 1000"),
        (["--set", "training.optimizer=adamm"], "adam"),
    ],
)
def test_flags_that_cannot_be_met_are_exit_code_2(dataset: Path, tmp_path: Path, flags: list[str], said: str) -> None:
    result = sltune("evaluate", SPACES / "nmnist.toml", "--data", dataset, "--results", tmp_path, "-q", *flags)
    assert result.exit_code == 2, result.stderr
    assert said in result.stderr


def test_a_run_that_exists_is_refused_with_the_command_that_goes_on(dataset: Path, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.json").write_text('{"schema": 1}')
    result = sltune("evaluate", SPACES / "paper.toml", "--data", dataset, "--results", tmp_path, "--run", "run")
    assert result.exit_code == 2
    assert f"sltune resume {tmp_path}/run" in result.stderr


def test_a_run_folder_that_names_no_dataset_cannot_be_resumed(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text('{"schema": 1, "kind": "evaluate", "trials": []}')
    (tmp_path / "space.toml").write_text("")
    result = sltune("resume", tmp_path)
    assert result.exit_code == 3
    assert "run.json: not a description of a run: name: Field required" in result.stderr


def test_a_run_stopped_before_it_goes_on_is_told_what_to_paste(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "my runs"
    folder.mkdir()
    dataset = {"name": "x", "synthetic": False, "fingerprint": "f", "classes": ["a"]}
    facts = {"schema": 1, "name": "x", "kind": "evaluate", "trials": [], "dataset": dataset}
    (folder / "run.json").write_text(json.dumps(facts))
    (folder / "space.toml").write_text("")

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("sltune.tuning.preparation.resume", stop)
    result = sltune("resume", folder)
    assert (result.exit_code, result.stderr) == (130, f"sltune: interrupted; go on with: sltune resume '{folder}'\n")


def test_check_prints_the_resolved_space_and_what_would_run(dataset: Path) -> None:
    result = sltune("check", SPACES / "nmnist.toml", "--data", dataset, "--set", "training.epochs=3")
    assert result.exit_code == 0, result.stderr
    assert "epochs = 3" in result.stdout
    assert "4 trials (4 folds × 1 seeds) of up to 3 epochs" in result.stderr
    # 8 signers with 6 samples each: 6 train, of whom 1 (15 % of 6, rounded up) validates, and 2 test.
    assert "30 training, 6 validation and 12 test samples" in result.stderr


def test_convert_writes_a_space_that_check_accepts(tmp_path: Path) -> None:
    (tmp_path / "network.yaml").write_text("Simulation: {steps: 17}\nTraining: {optimizer: SGD, random_crop: True}\n")
    assert sltune("convert", tmp_path / "network.yaml", "--out", tmp_path / "space.toml").exit_code == 0
    assert 'optimizer = "sgd"' in sltune("check", tmp_path / "space.toml").stdout
    assert sltune("convert", tmp_path / "absent.yaml").exit_code == 2


def test_help_loads_none_of_the_heavy_libraries() -> None:
    script = (
        "import sys; from sltune.cli.main import main; main(['--help'], standalone_mode=False); print(*sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT)
    loaded = set(run.stdout.split())
    assert "Usage:" in run.stdout
    assert not loaded & {"torch", "ray", "optuna", "pandas", "pyarrow", "numpy", "pydantic", "tonic", "matplotlib"}


@pytest.mark.processes
def test_the_network_and_training_import_without_ray_optuna_tonic_and_pydantic() -> None:
    script = (
        "import sys\n"
        "for name in ('ray', 'optuna', 'tonic', 'pydantic'): sys.modules[name] = None\n"
        "import sltune.snn.network, sltune.training.fit, sltune.training.batches, sltune.training.checkpoint\n"
        "import sltune.training.optim, sltune.training.streams, sltune.events.samples\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)})


@pytest.mark.parametrize("name", ["", " ", ".", "..", "a/b", "/abs", "../esc", "new\nline", "r" * 256])
def test_a_run_cannot_lie_outside_the_results(dataset: Path, tmp_path: Path, name: str) -> None:
    before = sorted(tmp_path.rglob("*"))
    result = sltune(
        *("evaluate", SPACES / "nmnist.toml", "--data", dataset, "--results", tmp_path / "results", "--run", name)
    )
    assert result.exit_code == 2
    assert "--run must be the name of a folder below --results, without / and of at most 255 bytes" in result.stderr
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("verb", [["--help"], ["--version"], ["check", SPACES / "nmnist.toml"]])
def test_a_full_disk_behind_stdout_is_told_in_a_line(verb: list[object]) -> None:
    with open("/dev/full", "w") as full:
        run = in_a_process(verb, stdout=full, stderr=subprocess.PIPE)
    assert (run.returncode, run.stderr) == (2, "sltune: output: No space left on device\n")


def test_where_stderr_is_full_the_exit_code_still_says_what_happened(tmp_path: Path) -> None:
    with open("/dev/full", "w") as full:
        assert in_a_process(["inspect", tmp_path], stdout=subprocess.PIPE, stderr=full).returncode == 3


def test_nobody_reading_on_is_no_error_to_speak_of(dataset: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    run = in_a_process(["inspect", dataset], stdout=writer, stderr=subprocess.PIPE)
    os.close(writer)
    assert (run.returncode, run.stderr) == (1, "")


def test_names_too_long_for_the_file_system_are_told_in_a_line(tmp_path: Path) -> None:
    for verb in (["import", tmp_path / ("a" * 300)], ["import", write_folder(tmp_path / "src")]):
        result = sltune(*verb, "--out", tmp_path / ("b" * 300))
        assert result.exit_code == 2
        assert result.stderr.splitlines()[-1].endswith("File name too long")
        assert "Traceback" not in result.stderr


def in_a_process(arguments: list[Any], **streams: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from sltune.cli.main import main; main()", *map(str, arguments)]
    return subprocess.run(command, text=True, check=False, cwd=ROOT, **streams)


def test_a_command_for_machines_also_ends_with_a_line_of_json(tmp_path: Path) -> None:
    run = ("evaluate", SPACES / "demo.toml", "--data", tmp_path / "none", "--results", tmp_path)
    plain, machine = sltune(*run), sltune(*run, "--json")
    assert plain.exit_code == machine.exit_code == 3
    (line,) = machine.stderr.splitlines()
    told = json.loads(line)
    assert plain.stderr == f"sltune: {told['text']}\n"
    assert (told["event"], told["exit_code"]) == ("error", 3)
