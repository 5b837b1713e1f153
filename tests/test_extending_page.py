"""Every example of the page on one's own code runs, from files outside the package, and does what the page says."""

from __future__ import annotations

import csv
import json
import math
import re
import traceback
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
import torch
from torch.nn import functional

from sltune.errors import CodeError
from sltune.events.augmentations.augmenter import Augmenter
from sltune.events.augmentations.events import Events
from sltune.events.dataset import open_dataset
from sltune.events.importing import import_source
from sltune.events.sources.registry import ImportOptions, open_source
from sltune.events.splits.split import split_of
from sltune.report.analysis.runs import load_runs
from sltune.report.analysis.summary import table
from sltune.report.records import load_records
from sltune.report.tables.text import render
from sltune.runs.record import TrialKey
from sltune.settings.search import completed_search
from sltune.settings.space import Space, parse_space
from sltune.snn.layers import LIF
from sltune.training.losses import summed_loss
from sltune.tuning.campaign.pruning import OptunaScores, epoch_scores
from sltune.tuning.campaign.study import SearchStudy
from sltune.tuning.own_code import refuse_unusable
from sltune.tuning.trial.job import Job
from sltune.tuning.trial.report import Report
from sltune.tuning.trial.trainer import Trainer, run_job
from tests.small import CLASSES, SENSOR

PAGE = (Path(__file__).parents[1] / "docs" / "extending.md").read_text()
CODE = {match[1]: match[0] for match in re.finditer(r"(?<=```python\n)# (\w+\.py)\n.*?(?=```)", PAGE, re.DOTALL)}
SETTINGS = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
QUICK = (
    "sampling.time_bin_ms=20",
    "sampling.train_crop=start",
    "sampling.train_crop_ms=200",
    "sampling.eval_crop_ms=train",
    "network.name=nmnist-mlp2",
    "training.epochs=2",
)


def space_of(folder: Path, *parts: str) -> Space:
    """Return the space of the page's settings that name these files, beside which the page's code lies."""
    for name, text in CODE.items():
        (folder / name).write_text(text)
    chosen = [text for text in SETTINGS if any(part in text for part in parts)]
    assert len(chosen) == len(parts)
    return parse_space("\n".join(chosen), "space.toml", QUICK, folder)


def job_of(space: Space) -> Job:
    return Job(TrialKey("c0000", 0, 0), space.configuration(), SENSOR, len(CLASSES), code=space.code)


def trainer_of(space: Space, dataset: Path) -> Trainer:
    samples, job = open_dataset(dataset).samples, job_of(space)
    return Trainer(job, samples, split_of(job.configuration, samples.recordings(), 0, 0), torch.device("cpu"))


def trained(space: Space, dataset: Path) -> Report:
    *_, last = run_job(job_of(space), open_dataset(dataset).samples, torch.device("cpu"))
    return last


def test_an_augmentation_changes_training_crops_alone(tmp_path: Path, dataset: Path) -> None:
    space = space_of(tmp_path, "augment.py")
    assert space.code.files == {"augment.py": CODE["augment.py"]}
    trainer, plain = trainer_of(space, dataset), trainer_of(space_of(tmp_path), dataset)

    def frames(of: Trainer) -> list[torch.Tensor]:
        return [view.clone() for batch in of.train_batches(1) for view in batch.views]

    assert all(torch.equal(*pair) for pair in zip(frames(trainer), frames(trainer), strict=True))
    assert not torch.equal(frames(trainer)[0], frames(plain)[0])
    noise = trainer._augmentations[1]
    events = Events(np.arange(4000), np.full(4000, 3, np.uint16), (100, 100), 4000)
    noisy = noise(events, np.random.default_rng(0))
    assert noise.rate == 0.2
    assert len(noisy) == 4000
    # Of 4000 events, 800 ± 25 are moved; 0.01 % of these fall on their old pixel.
    assert abs(int((noisy.address != 3).sum()) - 800) < 5 * math.sqrt(4000 * 0.2 * 0.8) + 1


def test_a_loss_is_what_training_minimises_and_validation_averages(tmp_path: Path, dataset: Path) -> None:
    trainer = trainer_of(space_of(tmp_path, "losses.py"), dataset)
    rates, labels = torch.tensor([[0.0, 1.0], [1.0, 1.0]]), torch.tensor([1, 0])
    entropy = functional.cross_entropy(rates, labels, reduction="none")
    by_hand = ((1 - (-entropy).exp()) ** 1.5 * entropy).mean()
    assert torch.allclose(trainer.learner.loss(rates, labels), by_hand)
    assert torch.allclose(summed_loss(trainer.learner.loss, rates, labels), 2 * by_hand)
    (first, last) = list(trainer.epochs())
    assert last.train_loss < first.train_loss
    batches = list(trainer.val.evaluation(32))
    assert len(batches) == 1
    assert 0 < last.evaluation.loss < math.log(2)


def test_a_loss_that_takes_a_reduction_is_asked_for_the_sum() -> None:
    rates, labels = torch.tensor([[0.25, 1.0]]), torch.tensor([1])
    asked = list[str]()

    def loss(rates: torch.Tensor, labels: torch.Tensor, reduction: str = "mean") -> torch.Tensor:
        asked.append(reduction)
        return rates.sum()

    assert summed_loss(loss, rates, labels) == 1.25
    assert asked == ["sum"]
    # Its __call__ would take any argument, its forward takes no reduction.
    smoothed = torch.nn.CrossEntropyLoss(label_smoothing=0.1)
    assert summed_loss(smoothed, rates.repeat(2, 1), labels.repeat(2)) == 2 * smoothed(rates, labels)
    with pytest.raises(CodeError, match=r"must return a tensor of one number, but got shape \(1, 2\)"):
        summed_loss(lambda rates, labels: rates, rates, labels)


def test_an_error_in_a_loss_is_the_users_own_with_their_line(tmp_path: Path, dataset: Path) -> None:
    (tmp_path / "l.py").write_text("def loss(rates, labels):\n    return rates.nothing\n")
    space = parse_space("training.loss = 'l.py:loss'", "x", QUICK, tmp_path)
    with pytest.raises(AttributeError) as caught:
        trained(space, dataset)
    trace = "".join(traceback.format_exception(caught.value))
    assert f'File "{tmp_path}/l.py", line 2, in loss\n    return rates.nothing' in trace


def test_an_optimizer_takes_its_steps_and_goes_on_from_a_checkpoint(tmp_path: Path, dataset: Path) -> None:
    space = space_of(tmp_path, "optimizers.py")
    space = replace(space, settings={**space.settings, "training.schedule": "schedules.py:warm_up(share=0.5)"})
    trainer = trainer_of(space, dataset)
    assert type(trainer.learner.optimizer).__name__ == "SignSGD"
    before = trainer.network.state_dict()["fc2.bias"].clone()
    epochs = trainer.epochs()
    next(epochs)
    moved = trainer.network.state_dict()["fc2.bias"] - before
    # Each step is 0.002 · 0.5, either way, or nothing.
    assert torch.allclose(moved / 0.001, (moved / 0.001).round(), atol=1e-3)
    assert moved.abs().max() > 0
    saved = trainer.checkpoint()
    again = trainer_of(space, dataset)
    assert again.restore(saved)
    next(epochs)
    next(again.epochs())
    for one, other in zip(trainer.network.parameters(), again.network.parameters(), strict=True):
        assert torch.equal(one, other)


def test_a_schedule_is_stepped_once_an_epoch(tmp_path: Path, dataset: Path) -> None:
    space = space_of(tmp_path, "schedules.py")
    space = replace(space, settings={**space.settings, "training.epochs": 4})
    trainer, rates = trainer_of(space, dataset), list[float]()
    for _ in trainer.epochs():
        rates.append(trainer.learner.optimizer.param_groups[0]["lr"])
    # It rises over 2 of 4 epochs and falls over the others: 1/2, 1, 1, 1/2 and 0.
    assert trainer.learner.schedule is not None
    assert rates == pytest.approx([1e-3, 1e-3, 0.5e-3, 0])


def test_a_surrogate_is_the_gradient_of_a_spike(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job = job_of(space_of(tmp_path, "surrogates.py"))
    network, note = job.network_and_note()
    assert note == (
        "neuron.surrogate = surrogates.py:triangle(height=2): neurons run step by step in plain torch, as compiled "
        "kernels know only what is built in"
    )
    neurons: Any = network.get_submodule("fc1_lif")
    assert isinstance(neurons, LIF)
    current = torch.tensor([[[0.5, 0.25, 0.9]]], requires_grad=True)
    neurons(current).sum().backward()
    # The threshold is 0.3: 2 · (1 − 0.2 / 0.4), 2 · (1 − 0.05 / 0.4), and nothing at a distance of 0.6.
    assert current.grad is not None
    assert torch.allclose(current.grad, torch.tensor([[[1.0, 1.75, 0.0]]]))


def test_metrics_are_in_records_and_reports(
    tmp_path: Path, dataset: Path, record: Callable[..., Any], run_folder: Callable[..., Path]
) -> None:
    space = space_of(tmp_path, "metrics.py")
    metrics = trained(space, dataset).metrics
    assert metrics["own"] == {"top(k=1)": pytest.approx(metrics["test_accuracy"]), "top(k=2)": 1.0}
    records = [record(fold, 0.5, own={"top(k=1)": value, "odd": None}) for fold, value in ((0, 0.25), (1, 0.75))]
    folder = run_folder(records)
    frame = load_records(folder)
    assert list(frame["own_top(k=1)"]) == [0.25, 0.75]
    assert frame["own_odd"].isna().all()
    summary = table(load_runs([folder]))
    (own,) = json.loads(render(summary, "json"))["own"]
    assert (own["metric"], own["mean"], own["n"]) == ("top(k=1)", 0.5, 2)
    assert own["std"] == pytest.approx(math.sqrt(0.125))
    (line,) = [line for line in csv.DictReader(render(summary, "csv").splitlines()) if line["kind"] == "own"]
    assert (line["metric"], line["mean"], line["values"]) == ("top(k=1)", "0.5", "f0-s0:0.25;f1-s0:0.75")


@pytest.mark.parametrize(
    ("body", "said"), [("return 'much'", "must return a number, but got str"), ("return rates", "but got Tensor")]
)
def test_a_metric_that_is_no_number_fails_after_the_first_epoch(
    tmp_path: Path, dataset: Path, body: str, said: str
) -> None:
    (tmp_path / "m.py").write_text(f"def odd(rates, labels):\n    {body}\n")
    space = parse_space("evaluation.metrics = ['m.py:odd']", "x", QUICK, tmp_path)
    reports = run_job(job_of(space), open_dataset(dataset).samples, torch.device("cpu"))
    with pytest.raises(CodeError, match=said):
        next(reports)


def test_a_sampler_proposes_and_a_search_goes_on_with_it(tmp_path: Path) -> None:
    space = space_of(tmp_path, "samplers.py")
    search, storage = space.required_search(), optuna.storages.InMemoryStorage()
    study = SearchStudy(storage, "s", space, search, new=True)
    first = study.ask()
    again = SearchStudy(storage, "s", space, search)
    list(again.adopt())
    drawn = [first, again.ask(), again.ask()]
    # Numbers 1, 2 and 3 in base 3, read backwards behind the point: 1/3, 2/3 and 1/9 of the way from 0.1 to 0.9.
    values = [proposal.values["neuron.decay"] for proposal in drawn if proposal]
    assert values == pytest.approx([0.1 + 0.8 * part for part in (1 / 3, 2 / 3, 1 / 9)])


def test_optunas_own_samplers_may_keep_their_state_in_the_study(tmp_path: Path) -> None:
    tables = "[neuron]\ndecay = { low = 0.1, high = 0.9 }\n[search]\nsampler = 'optuna.samplers:QMCSampler'"
    space = parse_space(tables, "x", (), tmp_path)
    storage, search = optuna.storages.InMemoryStorage(), space.required_search()
    for number in range(3):
        assert SearchStudy(storage, "s", space, search, new=number == 0).ask() is not None


def test_an_error_of_a_sampler_names_the_users_line(tmp_path: Path) -> None:
    source = CODE["samplers.py"].replace("place = 0.0", "place = 1 / 0").replace("place, part", "place = 1 / 0; part")
    space = space_of(tmp_path, "samplers.py")
    (tmp_path / "samplers.py").write_text(source)
    study = SearchStudy(optuna.storages.InMemoryStorage(), "s", space, space.required_search(), new=True)
    with pytest.raises(CodeError, match=r"samplers.py:Halton\(base=3\): failed: line \d+ of .*samplers.py, in sample_"):
        study.ask()


def test_a_pruner_sees_the_epochs_of_each_fold(tmp_path: Path) -> None:
    space = parse_space("search.epoch_pruner = 'pruners.py:Below(bound=0.1, epochs=3)'", "x", (), tmp_path)
    (tmp_path / "pruners.py").write_text(CODE["pruners.py"])
    scores = epoch_scores(space.search.epoch_pruner if space.search else "", 9, frozenset(), space.code)
    given_up = []
    for epoch in (1, 2, 3):
        for name, accuracy in (("c0000", 0.05), ("c0001", 0.5)):
            scores.add((0, 0), name, epoch, 1 / epoch, accuracy)
            given_up.append(scores.gives_up((0, 0), name))
    assert given_up == [False, False, False, False, True, False]


def test_a_pruner_of_optunas_compares_with_trials_that_are_complete(tmp_path: Path, record: Callable[..., Any]) -> None:
    name = "optuna.pruners:MedianPruner(n_startup_trials=1, n_warmup_steps=0)"
    space = parse_space(f"search.epoch_pruner = '{name}'", "x", (), tmp_path)
    scores = epoch_scores(name, 9, frozenset(), space.code)
    assert isinstance(scores, OptunaScores)
    scores.add((0, 0), "c0000", 1, 1.0, 0.8)
    scores.add((0, 0), "c0001", 1, 1.0, 0.5)
    assert not scores.gives_up((0, 0), "c0001")
    scores.end(_Ended("c0000"))  # type: ignore[arg-type]
    scores.add((0, 0), "c0001", 2, 0.9, 0.5)
    scores.add((0, 1), "c0001", 1, 0.9, 0.5)
    scores.add((0, 0), "c0002", 1, 0.9, 0.5)
    assert scores.gives_up((0, 0), "c0002")
    assert not scores.gives_up((0, 1), "c0001")


class _Ended:
    seed = fold = 0
    status = "done"

    def __init__(self, config_id: str) -> None:
        self.config_id = config_id


def test_a_reader_is_imported_and_read_again_when_its_code_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recordings = tmp_path / "recordings"
    recordings.mkdir()
    (tmp_path / "reader.py").write_text(CODE["reader.py"])
    (recordings / "ada-left.csv").write_text("10,3,1,0\n25,4,2,1\n")
    (recordings / "bob-right.csv").write_text("7,15,0,1\n")
    monkeypatch.chdir(tmp_path)
    text = 'reader.py:open_source(session="S2")'
    assert text in PAGE
    done: list[bool] = []

    def imported() -> None:
        import_source(
            open_source(ImportOptions(text), recordings), tmp_path / "data", done=lambda one: done.append(one.reused)
        )

    imported()
    imported()
    dataset = open_dataset(tmp_path / "data")
    assert [(one.subject, one.session) for one in dataset.samples.recordings()] == [("ada", "S2"), ("bob", "S2")]
    address, time_us = dataset.samples.events(0)
    assert (address.tolist(), time_us.tolist()) == ([(16 + 3) * 2, (2 * 16 + 4) * 2 + 1], [0, 15])
    (tmp_path / "reader.py").write_text(CODE["reader.py"].replace("One recording", "A recording"))
    imported()
    assert done == [False, False, True, True, False, False]


def test_everything_on_the_page_can_be_made(tmp_path: Path) -> None:
    for text in SETTINGS:
        refuse_unusable(space_of(tmp_path, text))


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_everything_installed_that_the_page_names_can_be_made(tmp_path: Path) -> None:
    keys = {
        "torch.optim": "training.optimizer",
        "torch.nn": "training.loss",
        "torch.optim.lr_scheduler": "training.schedule",
        "optuna.samplers": "search.sampler",
        "optuna.pruners": "search.epoch_pruner",
    }
    named = re.findall(r'"((?:torch|optuna)[\w.]*:[^"]*)"', PAGE)
    assert {text.partition(":")[0] for text in named} == keys.keys()
    for text in named:
        refuse_unusable(parse_space(f"{keys[text.partition(':')[0]]} = '{text}'", "x", (), tmp_path))


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        (
            "training.loss = 'losses.py:Focall'",
            "training.loss: losses.py:Focall: losses.py has no Focall; did you mean",
        ),
        ("training.loss = 'losses.py:Focal(gama=2)'", 'Focal takes no gama; it takes gamma; did you mean "gamma"?'),
        ("training.optimizer = 'optimizers.py:SignSGD(lr=1)'", "lr is given by sltune; leave it out"),
        (
            "training.optimizer = 'losses.py:Focal'",
            "training.optimizer: losses.py:Focal: makes Focal, which is no torch.optim.Optimizer",
        ),
        ("training.schedule = 'schedules.py:LambdaLR'", "schedules.py:LambdaLR: failed: TypeError: "),
        ("training.optimizer = 'builtins:dict'", "training.optimizer: builtins:dict: failed: ValueError: dictionary"),
        ("search.sampler = 'builtins:dict'", "search.sampler: builtins:dict: makes dict, which is no optuna.samplers"),
        ("search.epoch_pruner = 'builtins:dict'", "builtins:dict: makes dict, which is no optuna.pruners.BasePruner"),
        ("sampling.augment = ['optimizers.py:torch']", "is module, which cannot be called as an augmentation"),
        ("sampling.augment = ['pruners.py:Below']", "is a class without __call__(self, events, rng), which an augment"),
    ],
)
def test_what_cannot_be_made_is_refused_before_anything_runs(tmp_path: Path, setting: str, said: str) -> None:
    space_of(tmp_path)
    with pytest.raises(CodeError) as caught:
        refuse_unusable(parse_space(setting, "x", (), tmp_path))
    assert said in str(caught.value)


def test_an_optimizer_without_weight_decay_is_refused_where_one_is_set(tmp_path: Path) -> None:
    (tmp_path / "o.py").write_text(
        "import torch\ndef make(parameters, lr):\n    return torch.optim.SGD(parameters, lr)\n"
    )
    text = "training.optimizer = 'o.py:make'"
    refuse_unusable(parse_space(text, "x", (), tmp_path))
    with pytest.raises(CodeError, match="takes no weight_decay; leave out"):
        refuse_unusable(parse_space(text, "x", ["training.weight_decay=0.1"], tmp_path))


def test_names_that_are_searched_are_copied_too(tmp_path: Path) -> None:
    text = """training.loss = { choices = ["mse", "losses.py:Focal(gamma=2)", "losses.py:Focal(gamma=3)"] }
        sampling.augment = { choices = [[], ["augment.py:Noise"]] }"""
    space_of(tmp_path)
    space = parse_space(text, "x", (), tmp_path)
    assert sorted(space.code.files) == ["augment.py", "losses.py"]
    assert parse_space(space.to_toml(), "x", (), tmp_path) == space
    assert completed_search({}).sampler == "tpe"


def test_what_augmentations_return_is_checked() -> None:
    rng = np.random.default_rng(0)
    events = Events(np.arange(3), np.array([0, 3, 10], np.uint16), (2, 4), 3)
    assert (events.x.tolist(), events.y.tolist(), events.p.tolist()) == ([0, 1, 1], [0, 0, 1], [0, 1, 0])
    moved = events.replace(x=events.x - 1, p=1 - events.p)
    assert (moved.address.tolist(), moved.t_us.tolist(), moved.address.dtype) == ([0, 9], [1, 2], np.uint16)
    more = events.replace(*(np.concatenate([values, [1]]) for values in (events.t_us, events.x, events.y, events.p)))
    assert len(more) == 4
    for wrong, said in (
        ({"t_us": events.t_us * 1.5}, "t_us must be a list of whole numbers, but is an array of float64"),
        ({"x": events.x[:2]}, "x has 2 values for 3 events"),
        ({"p": events.p + 1}, "p must be 0 or 1, but is from 1 to 2"),
    ):
        with pytest.raises(ValueError, match=said):
            events.replace(**wrong)
    with pytest.raises(ValueError, match="read-only"):
        events.x[0] = 3
    with pytest.raises(CodeError, match="returned list instead of Events"):
        Augmenter([lambda events, rng: []], rng)(events)  # type: ignore[list-item, return-value]
