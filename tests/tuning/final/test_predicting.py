"""What networks say of samples, tagged parts and windows, and that all three ways agree."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from numpy.typing import NDArray

from sltune.cli.main import main
from sltune.errors import DataError, UsageError
from sltune.events.dataset import open_dataset
from sltune.events.formats.aedat import SENSOR_SIZE, encode_address, write_aedat
from sltune.events.formats.event_file import needs_time_unit
from sltune.events.frames import FrameFormat
from sltune.events.importing import import_source
from sltune.events.source import Finding, SourceFile
from sltune.events.sources.slanimals.source import GESTURES, open_slanimals
from sltune.events.store import Sample
from sltune.extensions.code import Code
from sltune.runs.folder import RunFolder
from sltune.runs.record import DatasetInfo, TrialKey
from sltune.settings.configuration import Configuration
from sltune.settings.space import Space
from sltune.training.predictions import rates_of_classes, read_predictions
from sltune.training.weights import weights_to_bytes
from sltune.tuning.evaluate import Evaluate
from sltune.tuning.final.inputs import samples_of_dataset, samples_of_tags, windows_of
from sltune.tuning.final.loading import Predictor, load_predictor
from sltune.tuning.final.model import FittedNetwork, ModelFolder, ModelInfo, write_model
from sltune.tuning.final.predicting import Row, Tally, predict
from sltune.tuning.preparation import start
from sltune.tuning.trial.job import Job
from tests.events.formats.writers import WRITERS, random_events
from tests.small import quick
from tests.tuning.in_process import QUIET, REQUEST, train_in_process

CPU = torch.device("cpu")
NAME = "user05_indoor"
SIGN_MS = 600
DVS = (SENSOR_SIZE, SENSOR_SIZE)


def configuration(**settings: object) -> Configuration:
    return quick(**{"sampling__downsample": 4, "sampling__eval_crop_ms": 200, "neuron__v_threshold": 0.02, **settings})


@pytest.fixture
def recordings(tmp_path: Path) -> Path:
    """A recording of 19 signs, each of 300 events in 600 ms, and its tags."""
    rng = np.random.default_rng(0)
    count = 300 * len(GESTURES)
    address = encode_address(rng.integers(0, 128, count), rng.integers(0, 128, count), rng.integers(0, 2, count))
    time_us = np.sort(rng.integers(0, 1000 * SIGN_MS * len(GESTURES), count)) + 7_654_321
    for folder in ("recordings", "tags"):
        (tmp_path / "source" / folder).mkdir(parents=True)
    write_aedat(tmp_path / "source" / "recordings" / f"{NAME}.aedat", address, time_us)
    rows = "".join(f"{row},{300 * (row - 1)},{300 * row}\n" for row in range(1, len(GESTURES) + 1))
    (tmp_path / "source" / "tags" / f"{NAME}.csv").write_text(f"class,startTime_ev,endTime_ev\n{rows}")
    return tmp_path / "source"


@pytest.fixture
def model(tmp_path: Path) -> ModelFolder:
    """A model of two networks that nobody has trained, for recordings of a DVS128."""
    folder = ModelFolder(tmp_path / "model")
    dataset = DatasetInfo(name="SL-Animals-DVS", synthetic=True, fingerprint="f", classes=GESTURES)
    config = configuration(evaluation__seeds=(0, 1))
    networks = tuple(FittedNetwork(seed=seed, epoch=1, epochs=1) for seed in (0, 1))
    info = ModelInfo(config=config, sensor=DVS, dataset=dataset, validation=False, networks=networks)
    for seed in (0, 1):
        folder.weights(seed).parent.mkdir(parents=True)
        folder.weights(seed).write_bytes(weights_to_bytes(info.job(seed, Code()).network()))
    write_model(folder, info)
    return folder


def one(seed: int = 0, **settings: object) -> Predictor:
    """A network that nobody has trained."""
    job = Job(TrialKey("c0000", seed, 0), configuration(**settings), DVS, len(GESTURES))
    return Predictor([job.network()], job.configuration, DVS, GESTURES, "SL-Animals-DVS")


def said(predictor: Predictor, inputs: object) -> list[Row]:
    batches = inputs if isinstance(inputs, Iterator) else [inputs]
    return [row for samples in batches for row in predict(predictor, samples, CPU, Tally())]  # type: ignore[arg-type]


@pytest.mark.parametrize("crops", [1, 3])
def test_a_trial_says_of_its_test_part_what_its_record_says(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, crops: int
) -> None:
    train_in_process(monkeypatch)
    folder = RunFolder(tmp_path / "run")
    settings = {"sampling__eval_crops": crops, "sampling__eval_crop_ms": 100, "training__learning_rate": 0.01}
    start(Evaluate(Space.of(quick(evaluation__folds=2, **settings))), dataset, folder, REQUEST, QUIET)
    for record in folder.records():
        path = folder.trials / record.key.name
        predictor, tally = load_predictor(path, CPU), Tally()
        rows = list(predict(predictor, samples_of_dataset(predictor, dataset, "test"), CPU, tally))
        assert tally.correct / tally.judged == record.metrics.test_accuracy
        assert tally.judged == tally.samples == 24
        table = read_predictions(path / "predictions.parquet")
        assert [row["sample"] for row in rows] == table["sample_id"].to_pylist()
        rates = np.array([[row["rate_left"], row["rate_right"]] for row in rows], np.float32)
        assert (rates == rates_of_classes(table)).all()
    arguments = ["predict", str(path), "--data", str(dataset), "--part", "test", "--device", "cpu", "--threads", "1"]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    assert len(result.stdout.splitlines()) == 25
    assert f"accuracy {100 * record.metrics.test_accuracy:.2f} % (" in result.stderr
    assert "samples/s, " in result.stderr


def test_tags_cut_what_an_import_cuts(recordings: Path, tmp_path: Path) -> None:
    import_source(open_slanimals(recordings), tmp_path / "data")
    predictor = one(sampling__eval_crops=2)
    imported = said(predictor, samples_of_dataset(predictor, tmp_path / "data"))
    file, said_by = recordings / "recordings" / f"{NAME}.aedat", list[str]()
    for tags in (recordings / "tags" / f"{NAME}.csv", recordings / "tags"):
        assert said(predictor, samples_of_tags(predictor, file, tags, said_by.append)) == imported
    assert [row["true"] for row in imported] == list(GESTURES)
    assert not said_by
    assert len({row["rate"] for row in imported}) > 1


def test_windows_slide_over_the_whole_recording(recordings: Path) -> None:
    file, predictor = recordings / "recordings" / f"{NAME}.aedat", one()
    last_us = 1000 * SIGN_MS * len(GESTURES)
    for window_ms, step_ms, length_us, step_us in (
        (None, None, 200_000, 200_000),
        (1019, 333, 1_000_000, 333_000),
        (99_999, 10, 99_980_000, 10_000),
    ):
        rows = said(predictor, windows_of(predictor, file, window_ms, step_ms))
        first = int(rows[0]["start_us"])
        assert [int(row["start_us"]) - first for row in rows] == [step_us * number for number in range(len(rows))]
        assert {row["duration_us"] for row in rows} == {length_us}
        # The next window would end after the last event, which comes at most a few ms before the end.
        end_us = int(rows[-1]["start_us"]) - first + length_us
        assert end_us <= last_us or len(rows) == 1
        assert end_us + step_us > last_us - 10_000
        assert {row["true"] for row in rows} == {""}


def test_a_window_is_seen_as_a_sample_with_the_same_events_is(recordings: Path, tmp_path: Path) -> None:
    """The window of a whole recording against a tag of all its events, which begins with the first one as well."""
    file, tags = recordings / "recordings" / f"{NAME}.aedat", tmp_path / "all.csv"
    tags.write_text(f"class,startTime_ev,endTime_ev\n7,0,{300 * len(GESTURES)}\n")
    predictor = one()
    (window,) = said(predictor, windows_of(predictor, file, 11_000, 11_000))
    (tagged,) = said(
        one(sampling__eval_crop_ms=11_000), samples_of_tags(one(sampling__eval_crop_ms=11_000), file, tags, print)
    )
    rates = [name for name in window if name.startswith("rate")]
    assert [window[name] for name in rates] == [tagged[name] for name in rates]
    assert (window["start_us"], tagged["true"]) == (tagged["start_us"], GESTURES[6])


def test_windows_without_events_and_special_events_are_no_trouble(tmp_path: Path) -> None:
    special = 1 << 15
    write_aedat(tmp_path / "x.aedat", [special, 2, 5, 8], [0, 1_000_000, 1_000_500, 3_000_000])
    rows = said(one(), windows_of(one(), tmp_path / "x.aedat", 500, None))
    assert [row["start_us"] for row in rows] == [1_000_000, 1_500_000, 2_000_000, 2_500_000]
    write_aedat(tmp_path / "y.aedat", [special], [0])
    with pytest.raises(DataError, match=r"y\.aedat: holds no events"):
        next(windows_of(one(), tmp_path / "y.aedat", 500, None))


def test_windows_of_every_format_are_those_of_the_cameras_own(tmp_path: Path) -> None:
    """SL-Animals-DVS is stored by the addresses of the camera, and other datasets upright, with 1 for ON."""
    events = random_events(np.random.default_rng(0), 9000, 100)
    for name, write in WRITERS.items():
        (tmp_path / f"x.{name}").write_bytes(write(events))
    files = [tmp_path / f"x.{name}" for name in WRITERS if "davis" not in name]
    for dataset in ("SL-Animals-DVS", "signs"):
        predictor = replace(one(), dataset=dataset)
        said_of = [said(predictor, windows_of(predictor, file, 200, None, time_unit=unit_of(file))) for file in files]
        rates = [[row[name] for row in rows for name in row if name.startswith("rate_")] for rows in said_of]
        assert any(rates[0])
        assert rates == [rates[0]] * len(files)
    with pytest.raises(DataError, match="has a sensor of 240×180 pixels"):
        next(windows_of(one(), tmp_path / "x.davis240.aedat", 200, None))
    wide = replace(one(), sensor=(128, 64), dataset="signs")
    with pytest.raises(DataError, match=r"x\.npy: pixel .* lies outside the 64×128 sensor of MODEL"):
        next(windows_of(wide, tmp_path / "x.npy", 200, None, time_unit="us"))


def unit_of(file: Path) -> str | None:
    return "us" if needs_time_unit(file) else None


def test_the_rates_of_several_seeds_are_averaged(model: ModelFolder, recordings: Path) -> None:
    file, predictor = recordings / "recordings" / f"{NAME}.aedat", load_predictor(model.root, CPU)
    both = said(predictor, windows_of(predictor, file, None, None))
    singly = [said(one(seed), windows_of(one(seed), file, None, None)) for seed in (0, 1)]
    for row, first, second in zip(both, *singly, strict=True):
        assert row["rate_cat"] == np.mean([first["rate_cat"], second["rate_cat"]], dtype=np.float32)
    assert any(row["rate"] for row in both)


def test_classes_are_compared_by_their_names(recordings: Path, tmp_path: Path) -> None:
    """The networks may know them in another order, or may not know all of the dataset's."""
    import_source(open_slanimals(recordings), tmp_path / "data")
    known = (*GESTURES[:0:-1], "unicorn")
    predictor = one()
    renamed = replace(predictor, classes=known)
    tally = Tally()
    rows = list(predict(renamed, samples_of_dataset(renamed, tmp_path / "data"), CPU, tally))
    assert [row["true"] for row in rows] == list(GESTURES)
    assert tally.correct == sum(row["true"] == row["class"] for row in rows)


def test_rates_that_are_no_numbers_are_an_error_of_the_data(recordings: Path) -> None:
    class Broken(torch.nn.Module):
        def forward(self, frames: torch.Tensor) -> torch.Tensor:
            return torch.full((frames.shape[1], len(GESTURES)), torch.nan)

    sound = one()
    broken = Predictor([Broken()], sound.configuration, DVS, GESTURES, "signs")
    with pytest.raises(DataError, match="no finite numbers"):
        said(broken, windows_of(broken, recordings / "recordings" / f"{NAME}.aedat", None, None))


def command(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["predict", *map(str, arguments), "--device", "cpu", "--threads", "1"])


def test_the_command_writes_csv(model: ModelFolder, recordings: Path, tmp_path: Path) -> None:
    file = recordings / "recordings" / f"{NAME}.aedat"
    result = command(model.root, file, "--step-ms", 1000)
    assert result.exit_code == 0, result.output
    lines = list(csv.DictReader(io.StringIO(result.stdout)))
    assert list(lines[0]) == ["recording", "sample", "start_us", "duration_us", "true", "class", "rate"]
    assert [line["sample"] for line in lines[:2]] == [f"{NAME}_0000", f"{NAME}_0001"]
    out = tmp_path / "said.csv"
    result = command(model.root, file, "--tags", recordings / "tags", "--rates", "--out", out, "-q")
    assert (result.exit_code, result.output) == (0, "")
    lines = list(csv.DictReader(out.open()))
    assert len(lines) == len(GESTURES)
    for line in lines:
        rates = [float(line[f"rate_{name}"]) for name in GESTURES]
        assert (GESTURES[int(np.argmax(rates))], max(rates)) == (line["class"], float(line["rate"]))


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["{model}"], 2, "name either recordings or --data DATA"),
        (["{model}", "{file}", "--data", "."], 2, "name either recordings or --data DATA"),
        (["{model}", "{file}", "--part", "test"], 2, "--part test: is for --data DATA"),
        (["{model}", "--data", ".", "--tags", "x"], 2, "a dataset has samples already"),
        (["{model}", "{file}", "--tags", "x", "--step-ms", "5"], 2, "samples are as long as the tags say"),
        (["{model}", "{file}", "{file}", "--tags", "x"], 2, "--tags x: name the folder of the tag files"),
        (["{model}", "{file}", "--window-ms", "5"], 2, "--window-ms 5: is shorter than a time bin of 20 ms"),
        (["{model}", "{file}", "--tags", "x"], 3, "x"),
        (["{model}", "x.aedat"], 3, "x.aedat"),
        ([".", "{file}"], 3, "is neither a model that sltune fit made, nor a trial of a run, such as"),
        (["{model}", "--data", "{data}", "--part", "test"], 3, "has a sensor of 16×16 pixels; MODEL takes 128×128"),
    ],
)  # fmt: skip
def test_what_does_not_go_together_is_told(
    model: ModelFolder, recordings: Path, dataset: Path, arguments: list[str], code: int, said: str
) -> None:
    file = recordings / "recordings" / f"{NAME}.aedat"
    result = command(*(part.format(model=model.root, file=file, data=dataset) for part in arguments))
    assert (result.exit_code, said in result.stderr) == (code, True), result.output


def test_a_model_has_no_parts_and_whole_samples_have_no_window(recordings: Path, tmp_path: Path) -> None:
    import_source(open_slanimals(recordings), tmp_path / "data")
    with pytest.raises(UsageError, match="--part val: MODEL has none; name a trial"):
        samples_of_dataset(one(), tmp_path / "data", "val")
    whole = one(sampling__eval_crop_ms="whole")
    with pytest.raises(UsageError, match=r'sampling\.eval_crop_ms = "whole": a window needs a length'):
        next(windows_of(whole, recordings / "recordings" / f"{NAME}.aedat", None, None))
    assert samples_of_dataset(one(), tmp_path / "data").frames == FrameFormat(DVS, 20, "binary", 4)


def test_a_model_of_frames_of_one_size_takes_recordings_of_another_camera(recordings: Path, tmp_path: Path) -> None:
    """The same scene by a camera with twice the pixels in each direction gives the same rates."""
    source = open_slanimals(recordings)
    doubled = replace(source, sensor=(256, 256), files=tuple(map(_with_twice_the_pixels, source.files)))
    predictor, said_of, notes = one(sampling__downsample=1, sampling__size="32x32"), [], list[str]()
    for name, each in (("small", source), ("large", doubled)):
        import_source(each, tmp_path / name)
        said_of.append(said(predictor, samples_of_dataset(predictor, tmp_path / name, say=notes.append)))
    assert said_of[0] == said_of[1]
    assert any(row["rate"] for row in said_of[0])
    (note,) = notes
    assert "has a sensor of 256×256 pixels; MODEL was trained on 128×128, and takes frames of 32x32" in note


def test_what_networks_of_a_dataset_with_merged_pixels_see_is_merged_as_well(recordings: Path, tmp_path: Path) -> None:
    """128 pixels are 42 times 3 and a rest, in which some of the 300 events of each sign lie."""
    import_source(replace(open_slanimals(recordings), downsample=3), tmp_path / "data")
    info = DatasetInfo.of(open_dataset(tmp_path / "data").manifest)
    assert DatasetInfo.model_validate_json(info.model_dump_json()).downsample == 3
    assert "downsample" not in info.model_copy(update={"downsample": 1}).model_dump()
    settings = configuration(sampling__downsample=1, sampling__size="21x21")
    job = Job(TrialKey("c0000", 0, 0), settings, (42, 42), len(GESTURES))
    predictor = Predictor([job.network()], settings, (42, 42), GESTURES, "SL-Animals-DVS", downsample=3)
    file = recordings / "recordings" / f"{NAME}.aedat"
    cut = said(predictor, samples_of_tags(predictor, file, recordings / "tags", print))
    assert cut == said(predictor, samples_of_dataset(predictor, tmp_path / "data"))
    assert any(row["rate"] for row in cut)
    # A window that begins with the first sample sees what the sample begins with.
    window = next(windows_of(predictor, file, 200, None))
    address, time_us = window.samples.events(0)
    first, since_us = open_dataset(tmp_path / "data").samples.events(0)
    assert address.tolist() == first[: len(address)].tolist()
    assert time_us.tolist() == since_us[: len(address)].tolist()


def test_a_dataset_that_is_stored_otherwise_than_that_of_the_networks_is_warned_of(
    recordings: Path, tmp_path: Path
) -> None:
    import_source(open_slanimals(recordings), tmp_path / "data")
    notes = list[str]()
    for dataset in ("SL-Animals-DVS", "signs"):
        samples_of_dataset(replace(one(), dataset=dataset), tmp_path / "data", say=notes.append)
    (note,) = notes
    assert "holds SL-Animals-DVS, and MODEL was trained on signs; SL-Animals-DVS alone is stored upside down" in note


def test_a_recording_that_does_not_state_its_sensor_is_merged_as_that_of_the_camera(tmp_path: Path) -> None:
    events, seen = random_events(np.random.default_rng(0), 9000, 100), []
    settings = configuration(sampling__downsample=1)
    predictor = Predictor([], settings, (32, 32), GESTURES, "SL-Animals-DVS", downsample=4)
    for name in ("dvs128.aedat", "npy"):
        file = tmp_path / f"x.{name}"
        file.write_bytes(WRITERS[name](events))
        window = next(windows_of(predictor, file, 200, None, time_unit=unit_of(file)))
        seen.append(window.samples.events(0)[0].tolist())
    assert seen[0] == seen[1]


def _with_twice_the_pixels(file: SourceFile) -> SourceFile:
    def load() -> tuple[list[Sample], list[Finding]]:
        samples, findings = file.load()
        return [replace(sample, address=_twice(sample.address)) for sample in samples], findings

    return replace(file, load=load)


def _twice(address: NDArray[np.unsignedinteger]) -> NDArray[np.uint32]:
    pixel, polarity = np.divmod(address.astype(np.uint32), 2)
    row, column = np.divmod(pixel, SENSOR_SIZE)
    return (2 * row * 2 * SENSOR_SIZE + 2 * column) * 2 + polarity


def test_recordings_of_a_sensor_smaller_than_the_frames_are_refused(dataset: Path) -> None:
    predictor = one(sampling__downsample=1, sampling__size="64x64")
    with pytest.raises(DataError, match=r"sampling\.size = 64x64: is larger than the sensor of 16x16 pixels"):
        samples_of_dataset(predictor, dataset)
