"""Train many configurations on real N-MNIST once, so that search strategies can be compared on real results.

    nice python benchmarks/nmnist_table.py > benchmarks/results/nmnist-table.md

Configurations are drawn at random from SPACE. Each is trained on every fold with every seed, as a search would do it:
the code of a trial, less Ray, on one thread. The data are 1,000 samples of N-MNIST in nmnist-small.zip, which lies in
$SLTUNE_TEST_DATA or in shared/data beside the repository. The network is small and sees each sample with half the
pixels a side, so that a training takes about two seconds of one core. This is far from the best that is known on
N-MNIST, but real: real events, real folds, real learning curves.

Each training that ends is a line of the file --lines. A second start goes on after the last line, so that a kill loses
at most the training that was running. At the end the complete configurations become the Parquet file --out: a row a
training with its searched values, the metrics of its record, and the learning curve as lists over the epochs. Of a
training that diverged, metrics are missing. Validation accuracy and synaptic operations are those of the epoch with
the lowest validation loss, as in any record. ``seconds`` are of processor time. To write what is there before all are
trained, start again with fewer --configurations.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from scipy import stats
from smoke import parse_arguments, processor

from sltune.events.dataset import Dataset, open_dataset
from sltune.events.importing import import_source
from sltune.events.sources.tonic.source import open_nmnist_folder
from sltune.runs.record import TrialKey
from sltune.settings.configuration import Configuration
from sltune.settings.space import Space, parse_space
from sltune.settings.types import Value
from sltune.tuning.campaign.proposals import draw
from sltune.tuning.trial.job import Job
from sltune.tuning.trial.trainer import run_job

FOLDER = Path(__file__).parent
TEST_DATA = Path(os.environ.get("SLTUNE_TEST_DATA", FOLDER.resolve().parents[1] / "shared" / "data"))
SPACE = """
# All samples last 290 ms at least, and each of the three movements of the sensor about 100 ms.
[sampling]
time_bin_ms = 30
train_crop = "start"
train_crop_ms = { low = 60, high = 300, step = 30 }
eval_crop_ms = "train"
downsample = 2

[neuron]
v_threshold = { low = 0.1, high = 1.0, log = true }
decay = { low = 0.05, high = 0.95 }

[network]
name = "nmnist-mlp2"

[training]
epochs = 9
batch_size = { choices = [16, 32] }
eval_batch_size = 128
loss = { choices = ["mse", "cross-entropy"] }
learning_rate = { low = 3e-5, high = 3e-3, log = true }
shuffle = true

[evaluation]
folds = 4
val_fraction = 0.15
seeds = [0, 1]
"""
METRICS = ("val_accuracy", "test_accuracy", "val_loss", "synaptic_ops", "best_epoch")
CURVES = ("val_accuracy", "val_loss")
RUNGS = (1 / 9, 1 / 3, 2 / 3)
"""Shares of the epochs after which a search might stop a training."""
TOP = 1 / 3
"""A search has to tell good configurations from each other; that bad ones are bad is seen at once."""
BEST = 1 / 20
"""Whoever keeps one of so many loses little."""
PERCENTILES = (100, 95, 90, 75, 50, 25, 10)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--archive", type=Path, default=TEST_DATA / "nmnist-small.zip", help="NMNIST/Train/<digit>/")
    parser.add_argument("--configurations", type=int, default=150)
    parser.add_argument("--epochs", type=int, default=9, help="of each training")
    parser.add_argument("--lines", type=Path, default=FOLDER / "data" / "nmnist-searches.jsonl")
    parser.add_argument("--out", type=Path, default=FOLDER / "data" / "nmnist-searches.parquet")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        smallest = {"lines": folder / "smoke.jsonl", "out": folder / "smoke.parquet"}
        arguments = parse_arguments(parser, configurations=2, epochs=1, **smallest)
        if not arguments.archive.is_file():
            parser.error(f"{arguments.archive} is absent; set SLTUNE_TEST_DATA to the folder that holds it")
        space = parse_space(SPACE, "SPACE", [f"training.epochs={arguments.epochs}"])
        with zipfile.ZipFile(arguments.archive) as files:
            files.extractall(folder / "source")
        import_source(open_nmnist_folder(folder / "source"), folder / "data")
        benchmark = Benchmark(space, open_dataset(folder / "data"), arguments.lines)
        benchmark.train(arguments.configurations)
        table = benchmark.table(arguments.configurations)
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table, arguments.out, compression="zstd")
        for line in report(table):
            print(line, flush=True)


@dataclass(frozen=True)
class Benchmark:
    """The trainings of a space on a dataset, kept as lines of a file, the first of which says what they belong to."""

    space: Space
    dataset: Dataset
    lines: Path

    def train(self, configurations: int) -> None:
        """Do the trainings that the file of lines does not hold yet, configuration after configuration."""
        torch.set_num_threads(1)
        done = {(row["configuration"], row["fold"], row["seed"]) for row in self.rows()}
        evaluation = self.space.evaluation
        drawn = draw_values(self.space, configurations)
        steps = product(range(configurations), evaluation.seeds, range(evaluation.folds))
        with self.lines.open("a", encoding="utf-8") as file:
            for number, seed, fold in steps:
                if (number, fold, seed) in done:
                    continue
                row = {"configuration": number, **drawn[number], "fold": fold, "seed": seed}
                row |= self.trained(self.space.configuration(drawn[number]), TrialKey(f"c{number:04}", seed, fold))
                file.write(f"{json.dumps(row)}\n")
                file.flush()
                print(f"{number} of {configurations}, {row['val_accuracy']}", end="\r", file=sys.stderr)

    def trained(self, configuration: Configuration, key: TrialKey) -> dict[str, Any]:
        manifest = self.dataset.manifest
        job = Job(key, configuration, manifest.sensor, len(manifest.classes))
        began = time.process_time()
        reports = list(run_job(job, self.dataset.samples, torch.device("cpu")))
        seconds = time.process_time() - began
        *epochs, last = reports
        curves = {f"{name}_by_epoch": [row[name] for epoch in epochs for row in epoch.rows] for name in CURVES}
        metrics = {name: last.metrics.get(name) for name in METRICS}
        return {"status": last.status, **metrics, "epochs": len(epochs), "seconds": round(seconds, 3), **curves}

    def rows(self) -> list[dict[str, Any]]:
        """Return the trainings that are done; a line that a kill has cut short is taken away.

        Raises:
            SystemExit: the lines belong to another space or dataset.
        """
        head = {"space": self.space.to_toml(), "dataset": self.dataset.manifest.fingerprint}
        if not self.lines.exists():
            self.lines.parent.mkdir(parents=True, exist_ok=True)
            self.lines.write_text(f"{json.dumps(head)}\n", encoding="utf-8")
        whole = self.lines.read_bytes().rpartition(b"\n")
        os.truncate(self.lines, len(whole[0]) + len(whole[1]))
        first, *rows = map(json.loads, whole[0].splitlines())
        if first != head:
            raise SystemExit(f"{self.lines}: holds trainings of another space or dataset; move it away")
        return rows

    def table(self, configurations: int) -> pa.Table:
        """Return a row a training, with what describes them all as the metadata of the file."""
        rows = sorted(self.rows(), key=lambda row: (row["configuration"], row["seed"], row["fold"]))
        table = pa.Table.from_pylist([row for row in rows if row["configuration"] < configurations])
        single, curve = pa.float32(), pa.list_(pa.float32())
        for name in (*METRICS, "seconds", *(f"{name}_by_epoch" for name in CURVES)):
            place = table.schema.get_field_index(name)
            kind = pa.int16() if name == "best_epoch" else curve if name.endswith("_by_epoch") else single
            table = table.set_column(place, name, table[name].cast(kind))
        return table.replace_schema_metadata(self.facts())

    def facts(self) -> Mapping[str, str]:
        names = ("sltune", "numpy", "numba", "torch")
        return {
            "command": " ".join(["python", *sys.argv]),
            "date": time.strftime("%Y-%m-%d"),
            "versions": f"Python {platform.python_version()}, "
            + ", ".join(f"{name} {version(name)}" for name in names),
            "processor": f"{processor()}, one thread",
            "dataset": f"{self.dataset.manifest.name}, {self.dataset.manifest.samples} samples",
            "fingerprint": self.dataset.manifest.fingerprint,
            "space": self.space.to_toml(),
            "seconds": "of processor time of one thread",
        }


def draw_values(space: Space, configurations: int) -> list[dict[str, Value]]:
    """Return the searched values of so many configurations, drawn at random; fewer are the first of more."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    return [draw(study.ask(), space) for _ in range(configurations)]


def report(table: pa.Table) -> Iterator[str]:
    """Give the lines that describe a table, and what the first epochs of a training say of its configuration."""
    facts = {key.decode(): value.decode() for key, value in table.schema.metadata.items()}
    final, curves = accuracies(table)
    seconds = table["seconds"].to_numpy()
    yield "# Searches on real N-MNIST: the table of trainings\n"
    yield f"`{facts['command']}`, {facts['date']}, {facts['processor']}, {facts['versions']}."
    yield f"{facts['dataset']}, fingerprint {facts['fingerprint'][:12]}."
    yield f"{final.shape[0]} configurations × {final.shape[1]} trainings of {curves.shape[2]} epochs:"
    yield f"{seconds.sum() / 60:.0f} min of processor time, {seconds.mean():.2f} s a training;"
    yield f"{table['status'].to_pylist().count('diverged')} diverged.\n"
    yield "| configurations, by the mean of their trainings | validation accuracy, % |\n|---|--:|"
    for share in PERCENTILES:
        yield f"| {share} % are no better than | {100 * np.percentile(final.mean(1), share):.1f} |"
    yield from rung_lines(final, curves)


def accuracies(table: pa.Table) -> tuple[np.ndarray, np.ndarray]:
    """Return validation accuracies (configurations, trainings), also by epoch; one that diverged has the worst, 0."""
    final = np.nan_to_num(np.array(table["val_accuracy"].to_pylist(), dtype=float))
    curves = table["val_accuracy_by_epoch"].to_pylist()
    epochs = max(map(len, curves))
    padded = np.array([[*curve, *[0.0] * (epochs - len(curve))] for curve in curves])
    trainings = len(set(zip(table["seed"].to_pylist(), table["fold"].to_pylist(), strict=True)))
    return final.reshape(-1, trainings), padded.reshape(-1, trainings, epochs)


def rung_lines(final: np.ndarray, curves: np.ndarray) -> Iterator[str]:
    """Give a table of how well one training ranks configurations after some epochs, averaged over all that it may be.

    Args:
        final: validation accuracies, shape (configurations, trainings). curves: by epoch, too, the last axis.
    """
    means, trainings, epochs = final.mean(1), range(final.shape[1]), curves.shape[2]
    top = np.argsort(-means)[: max(2, round(TOP * len(means)))]
    best = np.argsort(-means)[: max(1, round(BEST * len(means)))]
    yield "\nWhat one training says after some epochs: Spearman's rank correlations among the best third of all"
    yield f"configurations ({len(top)}), and how many of the {len(best)} best this training alone puts into its best"
    yield "third. Means over the trainings that may be the first.\n"
    yield "| after | with its own end | with the mean of the other trainings | best kept, % |\n|---|--:|--:|--:|"
    rungs = dict.fromkeys(max(1, round(share * epochs)) for share in RUNGS)
    seen = {f"{rung} of {epochs} epochs": curves[:, :, rung - 1] for rung in rungs} | {"all, best epoch": final}
    for name, values in seen.items():
        own = np.mean([rank_correlation(values[top, i], final[top, i]) for i in trainings])
        others = np.mean([rank_correlation(values[top, i], np.delete(final[top], i, 1).mean(1)) for i in trainings])
        thirds = [np.argsort(-values[:, i], kind="stable")[: len(top)] for i in trainings]
        kept = np.mean([np.isin(best, third).mean() for third in thirds])
        yield f"| {name} | {own:.2f} | {others:.2f} | {100 * kept:.0f} |"


def rank_correlation(left: np.ndarray, right: np.ndarray) -> float:
    """Return Spearman's; 0 where one side has equal values only."""
    found = stats.spearmanr(left, right).statistic if np.ptp(left) and np.ptp(right) else 0.0
    return float(found)


if __name__ == "__main__":
    main()
