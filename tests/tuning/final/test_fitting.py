"""A final network is trained on everybody, goes on after a kill, and is never mixed with another one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner, Result
from rich.console import Console

from sltune.cli.main import main
from sltune.errors import DataError, NothingRan, UsageError
from sltune.events.dataset import open_dataset
from sltune.events.splits.parts import everybody
from sltune.progress.display import Display
from sltune.runs import places
from sltune.runs.epochs import read_epochs
from sltune.runs.record import DatasetInfo
from sltune.settings.configuration import Configuration
from sltune.settings.space import Space, load_space
from sltune.training.weights import unpack
from sltune.tuning.final import fitting
from sltune.tuning.final.fitting import Fitting
from sltune.tuning.final.loading import load_predictor
from sltune.tuning.final.model import ModelFolder, ModelInfo, read_model, write_model
from tests.small import CLASSES, SENSOR, SIGNERS, quick
from tests.tuning.in_process import QUIET

CPU = torch.device("cpu")
ALONE = ["--device", "cpu", "--threads", "1"]


class Killed(Display):
    """Ends the training after an epoch, as a kill would."""

    at = 0

    def log(self, event: Mapping[str, Any], text: str) -> None:
        if event.get("epoch") == self.at:
            raise KeyboardInterrupt


@pytest.fixture
def folder(tmp_path: Path) -> ModelFolder:
    return ModelFolder(tmp_path / "model")


def fit(
    configuration: Configuration, data: Path, folder: ModelFolder, validation: bool = True, killed_at: int = 0
) -> ModelInfo:
    display = Killed(Console(stderr=True), "quiet")
    object.__setattr__(display, "at", killed_at)
    return Fitting(Space.of(configuration), validation, data, CPU, display).run(folder)


def weights(folder: ModelFolder, seed: int = 0) -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = unpack(folder.weights(seed).read_bytes())
    return state


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_the_epoch_is_chosen_by_signers_who_are_not_trained_on(dataset: Path, folder: ModelFolder) -> None:
    info = fit(quick(training__epochs=4, training__learning_rate=0.02, evaluation__val_fraction=0.25), dataset, folder)
    rows = read_epochs(folder.epochs_csv(0))
    losses = [row["val_loss"] for row in rows]
    (network,) = info.networks
    assert (network.epoch, network.epochs) == (losses.index(min(losses)) + 1, 4)
    assert (network.val_loss, network.val_accuracy) == (min(losses), rows[network.epoch - 1]["val_accuracy"])
    assert (len(network.splits["train"]), len(network.splits["val"])) == (6, 2)
    assert len({*network.splits["train"], *network.splits["val"]}) == SIGNERS
    assert info == read_model(folder)
    assert (info.sensor, info.dataset.classes, info.config.evaluation.sessions) == (SENSOR, CLASSES, ("S3",))
    assert not folder.checkpoint(0).exists()
    assert weights(folder).keys() == {"fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias"}


def test_without_validation_everybody_is_trained_on_for_all_epochs(dataset: Path, folder: ModelFolder) -> None:
    configuration = quick(training__epochs=3)
    (network,) = fit(configuration, dataset, folder, validation=False).networks
    assert (network.epoch, network.epochs, network.val_loss) == (3, 3, None)
    assert (len(network.splits["train"]), network.splits["val"]) == (SIGNERS, ())
    rows = read_epochs(folder.epochs_csv(0))
    assert [row["epoch"] for row in rows] == [1, 2, 3]
    assert {"train_loss", "samples_per_second"} <= rows[0].keys()
    assert not {name for name in rows[0] if name.startswith(("val_", "test_"))}
    # The last epoch's weights are those that two epochs and then one more give.
    longer = ModelFolder(folder.root.with_name("longer"))
    fit(quick(training__epochs=4), dataset, longer, validation=False)
    assert not same(weights(folder), weights(longer))


@pytest.mark.parametrize(("killed_at", "validation"), [(1, False), (3, True)])
def test_the_same_command_goes_on_after_a_kill_and_gives_the_same_weights(
    dataset: Path, folder: ModelFolder, monkeypatch: pytest.MonkeyPatch, killed_at: int, validation: bool
) -> None:
    monkeypatch.setattr(fitting, "MIN_SECONDS_BETWEEN_CHECKPOINTS", 0.0)
    configuration = quick(training__epochs=4, training__shuffle=True, evaluation__seeds=(0, 3))
    whole = ModelFolder(folder.root.with_name("whole"))
    undisturbed = fit(configuration, dataset, whole, validation)
    with pytest.raises(KeyboardInterrupt):
        fit(configuration, dataset, folder, validation, killed_at)
    assert read_model(folder).missing == [0, 3]
    with pytest.raises(
        DataError, match=r"model: is not ready: seeds 0, 3 are missing; finish it by the same sltune fit"
    ):
        load_predictor(folder.root, CPU)
    assert fit(configuration, dataset, folder, validation) == undisturbed
    for seed in (0, 3):
        assert same(weights(folder, seed), weights(whole, seed))
        assert [row["epoch"] for row in read_epochs(folder.epochs_csv(seed))] == [1, 2, 3, 4]
    assert not same(weights(folder, 0), weights(folder, 3))
    # Once it is ready, nothing is trained any more.
    before = folder.weights(0).stat().st_mtime_ns
    assert fit(configuration, dataset, folder, validation, killed_at=1) == undisturbed
    assert folder.weights(0).stat().st_mtime_ns == before


def test_a_model_that_another_process_has_begun_meanwhile_is_not_gone_on_with(
    dataset: Path, folder: ModelFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    locked = fitting.locked

    def locked_late(lock: Path) -> AbstractContextManager[None]:
        monkeypatch.setattr(fitting, "locked", locked)
        fit(quick(training__epochs=1), dataset, folder)
        return locked(lock)

    monkeypatch.setattr(fitting, "locked", locked_late)
    with pytest.raises(UsageError, match="holds another model"):
        fit(quick(training__epochs=2), dataset, folder)


def test_another_model_is_never_gone_on_with(dataset: Path, folder: ModelFolder, tmp_path: Path) -> None:
    fit(quick(training__epochs=1), dataset, folder)
    with pytest.raises(UsageError, match=r"model: holds another model, of which these differ: config; choose another"):
        fit(quick(training__epochs=2), dataset, folder)
    with pytest.raises(UsageError, match="these differ: validation"):
        fit(quick(training__epochs=1), dataset, folder, validation=False)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("x")
    with pytest.raises(UsageError, match="full: is not empty and no model; choose another --out"):
        fit(quick(training__epochs=1), dataset, ModelFolder(tmp_path / "full"))


NETS = """
import torch
from torch import nn


class Tiny(nn.Module):
    def __init__(self, frame_shape, classes, width):
        super().__init__()
        p, h, w = frame_shape
        self.layers = nn.Sequential(nn.Flatten(2), nn.Linear(p * h * w, width), nn.ReLU(), nn.Linear(width, classes))

    def forward(self, frames):
        return self.layers(frames)
"""


def test_a_network_of_ones_own_is_used_wherever_its_file_is_by_then(
    dataset: Path, folder: ModelFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "home").mkdir()
    nets, space_file = tmp_path / "home" / "nets.py", tmp_path / "home" / "space.toml"
    nets.write_text(NETS)
    settings = {"training__epochs": 1, "network__options": {"width": 5}, "network__name": "nets.py:Tiny"}
    space_file.write_text(Space.of(quick(**settings)).to_toml())
    write = places.write_whole

    def killed(file: Path, content: str | bytes, inside: Path) -> None:
        if file == folder.code / "nets.py":
            raise KeyboardInterrupt
        write(file, content, inside)

    with monkeypatch.context() as patch:
        patch.setattr(places, "write_whole", killed)
        with pytest.raises(KeyboardInterrupt):
            Fitting(load_space(space_file), True, dataset, CPU, QUIET).run(folder)
    Fitting(load_space(space_file), True, dataset, CPU, QUIET).run(folder)
    assert weights(folder)["layers.1.weight"].shape[0] == 5
    nets.write_text(NETS + "# changed\n")
    with pytest.raises(UsageError, match="holds another model, of which these differ: code"):
        Fitting(load_space(space_file), True, dataset, CPU, QUIET).run(folder)
    nets.unlink()
    (network,) = load_predictor(folder.root, CPU).networks
    assert same(dict(network.state_dict()), weights(folder))
    (folder.code / "nets.py").write_text(NETS + "# changed\n")
    with pytest.raises(DataError, match="is not the code that the run began with"):
        load_predictor(folder.root, CPU)


def test_a_training_that_diverges_is_told(dataset: Path, folder: ModelFolder) -> None:
    settings = {"training__learning_rate": 1e38, "training__optimizer": "sgd", "training__loss": "cross-entropy"}
    with pytest.raises(NothingRan, match="seed 0: the training diverged: "):
        fit(quick(**settings), dataset, folder)


def test_a_validation_part_is_drawn_as_within_a_fold(dataset: Path) -> None:
    """By scikit-learn, from the seed plus 1, over the signers in file order."""
    from sklearn.model_selection import train_test_split

    recordings = open_dataset(dataset).samples.recordings()
    train, val = train_test_split([one.name for one in recordings], test_size=0.15, random_state=8)
    split = everybody(recordings, 7, 0.15)
    assert (list(split.train), list(split.val), split.test) == (train, val, ())
    with pytest.raises(DataError, match=r"1 subjects cannot be split into training and 0\.15 of them for validation"):
        everybody(recordings[:1], 7, 0.15)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"sensor": [0, 16]}, r"sensor\.0 = 0"),
        ({"config": {"network": {"name": "x"}}}, r"config\.network\.name.* = 'x'"),
        ({"networks": [{"seed": 0, "epoch": "x", "epochs": 1}]}, r"networks\.0\.epoch = 'x'"),
        ({"schema": 9}, "schema 9 is newer"),
        ({"kind": "run"}, "kind = 'run'"),
    ],
)
def test_a_model_of_a_stranger_is_checked(folder: ModelFolder, change: Any, said: str) -> None:
    folder.root.mkdir()
    dataset = DatasetInfo(name="x", synthetic=True, fingerprint="f", classes=CLASSES)
    write_model(folder, ModelInfo(config=quick(), sensor=SENSOR, dataset=dataset, validation=True))
    assert read_model(folder).missing == [0]
    folder.model_json.write_text(json.dumps({**json.loads(folder.model_json.read_text()), **change}))
    with pytest.raises(DataError, match=rf"model\.json: .*{said}"):
        read_model(folder)


def command(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["fit", *map(str, arguments)])


def test_the_command_ends_with_what_it_did_and_how_to_go_on(
    dataset: Path, folder: ModelFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    space = tmp_path / "space.toml"
    space.write_text(Space.of(quick(training__epochs=2, training__patience=1)).to_toml())
    arguments = [space, "--data", dataset, "--out", folder.root, "--seeds", "4", "--no-validation", *ALONE]
    with monkeypatch.context() as patch:
        patch.setattr("sys.argv", ["sltune", "fit", *map(str, arguments)])
        patch.setattr(Fitting, "_train", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        result = command(*arguments)
        assert result.exit_code == 130
        assert f"go on with: sltune fit {space}" in result.stderr
    result = command(*arguments)
    assert result.exit_code == 0, result.output
    assert "seed 4  epoch 2/2  train loss" in result.stderr
    assert "seed 4: the last of 2 epochs, without validation" in result.stderr
    assert command(space, "--data", dataset, "--out", folder.root, "--set", "training.epochs=0", *ALONE).exit_code == 2
    assert command("--data", dataset, "--out", folder.root, *ALONE).exit_code == 2
    assert command(space, "--data", tmp_path, "--out", tmp_path / "new", *ALONE).exit_code == 3
    assert not (tmp_path / "new").exists()
