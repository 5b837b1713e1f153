"""The verbs that hand runs and networks on: ``archive``, ``publish`` and ``export``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sltune.cli.messages import say
from sltune.cli.options.data import DataArgument
from sltune.cli.options.shared import FileArgument, FolderArgument, bundle
from sltune.errors import BrokenNetwork, UsageError
from sltune.system.remote import AnyPath

if TYPE_CHECKING:
    import torch

    from sltune.export.graph import Exported
    from sltune.report.analysis.runs import Run
    from sltune.tuning.final.loading import Predictor


@click.command()
@click.argument("run", type=FolderArgument)
@click.argument("out", metavar="OUT.zip", type=FileArgument)
@click.option("--weights", is_flag=True, help="Also the weights of every trial.")
def archive(run: Path, out: Path, weights: bool) -> None:
    """Pack a run for reviewers, without anything private.

    The zip file has the records, epochs, space, splits, code, versions, baselines and tables of the run. Paths and the
    names of machines and users are taken out of every file. `sltune report OUT.zip` prints the tables of the run.
    """
    from sltune.report.publishing.archive import write_archive
    from sltune.report.publishing.unpacking import SUFFIX
    from sltune.runs.folder import RunFolder

    if out.suffix.lower() != SUFFIX:
        raise UsageError(f"{out}: must end in {SUFFIX}, by which sltune report knows an archive")
    if out.resolve().is_relative_to(run.resolve()):
        raise UsageError(f"{out}: lies among the files of the run; choose another place")
    done = write_archive(RunFolder(run), out, weights)
    _say_unfinished(done.run)
    for name in done.left_out:
        say(f"left out: {name}")
    if done.kept:
        say(f"warning: {', '.join(done.kept)}: not replaced outside of paths, since sltune's files use this word, too")
    say(f"written: {out}, {done.files} files, {out.stat().st_size / 1e6:.1f} MB")


@click.command()
@click.argument("run", type=FolderArgument)
@click.option("--to", "target", required=True, metavar="mlflow:URI|wandb:PROJECT", help="Where to.")
def publish(run: Path, target: str) -> None:
    """Send a run to MLflow or Weights & Biases, from its folder.

    Configurations are runs there, with their trials below them: settings, epochs, results, versions, and the report.
    The same command again, after more trials or after it was killed, ends in the same runs.

    \b
    sltune publish results/RUN --to mlflow:http://localhost:5000
    sltune publish results/RUN --to wandb:PROJECT             also offline, with WANDB_MODE=offline
    """
    from sltune.report.analysis.runs import load_runs
    from sltune.report.publishing.trackers import publish as send

    (loaded,) = load_runs([run])
    _say_unfinished(loaded)
    done = send(loaded, target)
    unchanged = f"; {done.unchanged} were there already" if done.unchanged else ""
    say(f"published: {loaded.name}, {done.sent} configurations and trials{unchanged}")


def _say_unfinished(run: Run) -> None:
    missing = len(run.left)
    if missing:
        state = "is still running" if run.alive else "is not finished"
        say(f"{run.name} {state}: {missing} of {len(run.planned)} trials have no result yet; what is there is taken")


@dataclass(frozen=True)
class GraphOptions:
    """How a graph is written. seed: which network of a model of several; None for its only one."""

    form: str
    seed: int | None
    dt_ms: float
    fold_resistance: bool
    force: bool


@dataclass(frozen=True)
class VerifyOptions:
    """What spikes are compared on. samples: how many."""

    verify: bool
    data: AnyPath | None
    samples: int

    def dataset(self) -> AnyPath | None:
        """Return the dataset to take samples from, None to compare nothing; raises a UsageError if one is missing."""
        if self.verify != (self.data is not None):
            raise UsageError("--verify and --data DATA go together: samples are what is compared on")
        return self.data


graph_options = bundle(
    GraphOptions,
    "written",
    click.option("--to", "form", type=click.Choice(["nir"]), default="nir", show_default=True, help="The format."),
    click.option("--seed", type=int, help="Which network of a MODEL that has several."),
    click.option(
        "--dt-ms",
        type=click.FloatRange(min=0, min_open=True),
        default=0.1,
        show_default=True,
        help="The length of a time step for simulators; snnTorch always takes 0.1.",
    ),
    click.option("--fold-resistance", is_flag=True, help="Write R = 1, and scale weights instead: Norse ignores R."),
    click.option("--force", is_flag=True, help="Replace OUT."),
)
verify_options = bundle(
    VerifyOptions,
    "verified",
    click.option("--verify", is_flag=True, help="Compare spikes with those in every simulator that is installed."),
    click.option("--data", type=DataArgument, help="For --verify: the dataset to take samples from."),
    click.option("--samples", type=click.IntRange(min=1), default=100, show_default=True, help="For --verify."),
)


@click.command()
@click.argument("model", metavar="MODEL", type=FolderArgument)
@click.argument("out", metavar="OUT", type=FileArgument)
@graph_options
@verify_options
def export(model: Path, out: Path, written: GraphOptions, verified: VerifyOptions) -> None:
    """Write a trained network as a NIR graph, which snnTorch, SpikingJelly, Norse and tools of chips read.

    MODEL is what fit has made, or a trial of a run. What NIR cannot say is refused, and the layer named. Exit code 6 if
    --verify finds spikes that differ by more than rounding.

    \b
    sltune export results/RUN/trials/c0000-f0-s0 network.nir
    sltune export MODEL network.nir --verify --data DATA
    """
    data = verified.dataset()
    import torch

    from sltune.api.exporting import write_nir
    from sltune.tuning.final.loading import load_predictor
    from sltune.tuning.trial.job import frame_format

    if out.exists() and not written.force:
        raise UsageError(f"{out}: exists already; --force replaces it")
    predictor = load_predictor(model, torch.device("cpu"))
    network = _chosen(predictor, written.seed)
    height, width = frame_format(predictor.sensor, predictor.configuration.sampling).size
    exported = write_nir(network, (2, height, width), out, written.dt_ms / 1000, written.fold_resistance)
    size = f"{len(exported.graph.nodes) - 2} nodes, {len(exported.layers)} layers of neurons"
    click.echo(f"{out}: {size}, frames of 2×{height}×{width}, time steps of {written.dt_ms:g} ms", err=True)
    if data is not None:
        frames = list(islice(_frames(predictor, data), verified.samples))
        _verify(network, exported, out, frames)


def _chosen(predictor: Predictor, seed: int | None) -> torch.nn.Module:
    seeds = predictor.configuration.evaluation.seeds
    if len(predictor.networks) == 1 and seed is None:
        return predictor.networks[0]
    if seed is None or seed not in seeds or len(predictor.networks) == 1:
        raise UsageError(f"--seed must be one of {', '.join(map(str, seeds))} for a model of several networks")
    return predictor.networks[seeds.index(seed)]


def _verify(
    network: torch.nn.Module, exported: Exported, out: Path, frames: Sequence[tuple[str, torch.Tensor]]
) -> None:
    """Print a line for each simulator; frames: names of samples, and frames of shape (T, 1, P, H, W)."""
    from sltune.export.targets import TARGETS
    from sltune.export.verify import compare

    differs, present = False, False
    for target in TARGETS:
        if not target.version:
            click.echo(f"{target.name}: not installed")
            continue
        found = compare(network, exported, out, target, frames)
        click.echo(found.words)
        present |= not found.failure
        differs |= bool(found.difference) and not found.is_rounding
    if not present:
        raise UsageError("no simulator could run the graph, so nothing was compared; pip install snntorch")
    if differs:
        raise BrokenNetwork(f"{out}: neurons fire otherwise in a simulator than in sltune")


def _frames(predictor: Predictor, data: AnyPath) -> Iterator[tuple[str, torch.Tensor]]:
    """Give the samples of a dataset one by one, as they are evaluated: names, and frames of shape (T, 1, P, H, W)."""
    import torch

    from sltune.training.batches import BatchSource
    from sltune.tuning.final.inputs import samples_of_dataset

    inputs = samples_of_dataset(predictor, data, say=lambda text: click.echo(text, err=True))
    source = BatchSource(inputs.samples, inputs.indices, inputs.frames, inputs.crop_bins, torch.device("cpu"))
    for index, batch in zip(inputs.indices, source.evaluation(1, 1), strict=True):
        yield inputs.samples.sample_id[index], next(batch.clips).frames().clone()
