"""The verb export: a trained network for other simulators and chips."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sltune.cli.options.data import DataArgument
from sltune.cli.options.shared import FileArgument, FolderArgument, bundle
from sltune.errors import BrokenNetwork, UsageError
from sltune.system.remote import AnyPath

if TYPE_CHECKING:
    import torch

    from sltune.export.graph import Exported
    from sltune.tuning.final.loading import Predictor

LACKS_NIR = "the package nir is not installed; pip install 'sltune[nir]'"


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
    try:
        import nir
    except ImportError as error:
        raise UsageError(LACKS_NIR) from error
    import torch

    from sltune.export.graph import Options, as_graph
    from sltune.system.files import named_by_user, write_whole
    from sltune.tuning.final.loading import load_predictor
    from sltune.tuning.trial.job import frame_format

    if out.exists() and not written.force:
        raise UsageError(f"{out}: exists already; --force replaces it")
    predictor = load_predictor(model, torch.device("cpu"))
    network = _chosen(predictor, written.seed)
    height, width = frame_format(predictor.sensor, predictor.configuration.sampling).size
    exported = as_graph(network, (2, height, width), Options(written.dt_ms / 1000, written.fold_resistance))
    content = io.BytesIO()
    nir.write(content, exported.graph)
    write_whole(named_by_user(out), content.getbuffer())
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
