"""Ray: join or start it, check that what is asked for exists, and put the data into its object store."""

from __future__ import annotations

import math
import socket
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from importlib import import_module
from pathlib import Path
from threading import Thread
from typing import Any

import ray
from ray.job_config import JobConfig

from sltune.errors import UsageError
from sltune.events.importing import Encoded, Spread, Task
from sltune.events.manifest import Manifest, read_manifest
from sltune.events.sample_file import read_samples
from sltune.events.store import TIME_TYPE, address_type
from sltune.tuning.cluster.errors import in_our_words, reason_of
from sltune.tuning.cluster.joining import described, joined
from sltune.tuning.cluster.local import local_ray
from sltune.tuning.cluster.nodes import Node, Nodes
from sltune.tuning.cluster.signals import orderly_end
from sltune.tuning.trial.checkpoints import MINUTES, Checkpoints

# So many trials share a GPU unless the user says otherwise, and so many at the very most.
AUTO_SHARERS, MOST_SHARERS = 4, 100


@dataclass(frozen=True)
class Share:
    """What one trial gets of a node: CPUs, and GPUs as 1/k or a whole number."""

    cpus: float
    gpus: float


@dataclass(frozen=True)
class Request:
    """What the command line asks for.

    gpus_per_trial: None means auto. checkpoints: their place, None for the run folder. hang_minutes: after so long
    without an epoch a trial is started again; 0 waits for ever. details: whether trained networks are looked at.
    """

    device: str = "auto"
    address: str | None = None
    cpus_per_trial: float = 1
    gpus_per_trial: float | None = None
    max_concurrent: int | None = None
    checkpoints: str | None = None
    checkpoint_minutes: float = MINUTES
    hang_minutes: float = 60.0
    details: bool = False

    def checkpoints_of(self, run: str) -> Checkpoints:
        """Return where and how often the trials of a run save their state."""
        place = self.checkpoints
        # Workers have other working folders, and a run may go on from another.
        absolute = str(Path(place).absolute()) if place is not None and "://" not in place else place
        return Checkpoints(self.checkpoint_minutes, absolute, run)


@contextmanager
def connected(request: Request, store_bytes: int) -> Iterator[None]:
    """Connect to the cluster at an address, or start a local one that ends with the block.

    A Ray that the process has already started is used as it is and left running.

    Raises:
        UsageError: nothing answers at the address, or Ray failed within the block.
    """
    if ray.is_initialized():
        with in_our_words():
            yield
        return
    options: dict[str, Any] = {"logging_level": "error", "log_to_driver": False, "job_config": _OwnPaths()}
    place = joined(request.address, options) if request.address else local_ray(store_bytes, options)
    with in_our_words(), place, orderly_end():
        yield


class _OwnPaths(JobConfig):
    """Has workers find modules where their own Python finds them, and sltune where this command found it.

    Ray would put the folders of the command and of its script first, where a file ``profile.py`` of the user's, or a
    checkout of another version, hides what the command itself has imported.
    """

    def __init__(self) -> None:
        root = Path(__file__).parents[3]
        # As under `python -m` in a checkout, where workers would not find it, or another one.
        is_beside = bool(sys.path) and Path(sys.path[0]).absolute() == root
        super().__init__(_py_driver_sys_path=[str(root)] if is_beside else [])

    def _runtime_env_has_working_dir(self) -> bool:
        # With one, Ray adds no folders.
        return True


@contextmanager
def begun(request: Request, data: Path, importing: str) -> Iterator[None]:
    """Connect to Ray, or start it for a dataset, and import a module meanwhile, as Ray mostly waits.

    Raises:
        UsageError, DataError: as connected and read_manifest do.
    """
    manifest = read_manifest(data)
    check_fraction(request.gpus_per_trial or 0)
    Thread(target=_import, args=(importing,), daemon=True).start()
    with connected(request, data_bytes(manifest)):
        yield


def _import(name: str) -> None:
    # The caller gets the same error when it imports the module itself.
    with suppress(Exception):
        import_module(name)


@contextmanager
def import_spread(address: str, say: Callable[[str], None]) -> Iterator[Spread]:
    """Give what reads and encodes files of a source on the nodes of a cluster; the driver writes what comes back.

    Args:
        say: is told which cluster it is, and of nodes that are left aside.

    Raises:
        UsageError: nothing answers at the address, or no node can be used.
    """
    with connected(Request(address=address), store_bytes=0):
        say(described())
        nodes = Nodes(say)
        nodes.first()
        yield partial(_on_nodes, nodes)


def _on_nodes(nodes: Nodes, work: Callable[[Task], Encoded], tasks: Sequence[Task]) -> Iterator[Encoded]:
    remote = ray.remote(num_cpus=1, label_selector=nodes.selector())(_on_this_node)
    cores = int(sum(node["Resources"].get("CPU", 0) for node in nodes.usable()))
    waiting, running = deque(tasks), list[Any]()
    while waiting or running:
        # As in threads of one process: one more than can run.
        while waiting and len(running) <= cores:
            running.append(remote.remote(work, waiting.popleft()))
        (finished,), running = ray.wait(running)
        try:
            yield ray.get(finished)
        except ray.exceptions.RayError as error:
            raise UsageError(f"the cluster lost a file: {reason_of(error)}; import again") from error


def _on_this_node(work: Callable[[Task], Encoded], task: Task) -> Encoded:
    """Do the work; where it fails, say on which node, since not every node may see the source."""
    encoded = work(task)
    if encoded.content is not None or encoded.is_known:
        return encoded
    here = f"(on node {socket.gethostname()})"
    findings = tuple(replace(finding, text=f"{finding.text} {here}") for finding in encoded.findings)
    return replace(encoded, findings=findings)


def share_for(request: Request, trials: int, there: Sequence[Node]) -> Share:
    """Return what each trial gets, checked against the nodes: a request that never fits would wait for ever.

    Raises:
        UsageError: no node could run such a trial; says what there is.
    """
    nodes = [node["Resources"] for node in there]
    gpus = request.gpus_per_trial
    if gpus is None:
        gpus = 0.0 if request.device == "cpu" else _automatic_share(sum(node.get("GPU", 0) for node in nodes), trials)
    share = Share(request.cpus_per_trial, check_fraction(gpus))
    if request.device == "cuda" and not share.gpus:
        raise UsageError("--device cuda: no node has a GPU, or --gpus-per-trial is 0")
    if not any(node.get("CPU", 0) >= share.cpus and node.get("GPU", 0) >= share.gpus for node in nodes):
        have = "; ".join(f"{node.get('CPU', 0):g} CPUs and {node.get('GPU', 0):g} GPUs" for node in nodes)
        wanted = f"{share.cpus:g} CPUs and {share.gpus:g} GPUs"
        raise UsageError(f"a trial asks for {wanted}, and no node has them; the nodes have {have}")
    return share


def check_fraction(gpus: float) -> float:
    """Return the share of GPUs if Ray can place it: 0, 1/k or a whole number.

    Raises:
        UsageError: it is none of these; 0.6 and 0.4 on nodes of two GPUs hang Ray.
    """
    if math.isfinite(gpus) and gpus >= 0:
        if gpus == round(gpus):
            return gpus
        # 0.33 and 0.3333 mean a third.
        sharers = round(1 / gpus) if gpus >= 1 / MOST_SHARERS else 1
        if abs(gpus * sharers - 1) < 0.02:
            return 1 / sharers
    raise UsageError(f"--gpus-per-trial must be 0, 1/k (1, 0.5, 0.25, …) or a whole number, but got {gpus:g}")


def slots(share: Share, request: Request, nodes: Sequence[Node]) -> int:
    """Return how many trials can run at once."""
    free = 0
    for node in nodes:
        has = node["Resources"]
        fits = [has.get("CPU", 0) / share.cpus] if share.cpus else []
        fits += [has.get("GPU", 0) / share.gpus] if share.gpus else []
        free += int(min(fits) + 1e-6) if fits else 1
    return max(1, min(free, request.max_concurrent or free))


def data_bytes(manifest: Manifest) -> int:
    """Return about how much memory the dataset takes in the object store."""
    bits_per_event: int = address_type(manifest.sensor).bit_width + TIME_TYPE.bit_width
    return bits_per_event // 8 * manifest.events


def put_dataset(root: Path, manifest: Manifest, nodes: Sequence[Node]) -> list[Any]:
    """Put each file into the object store, once, and return the references in the manifest's order.

    The driver puts them, because what a task puts dies with its node.

    Raises:
        UsageError: a node's object store could not hold the data; Ray would spill to disk without a word.
        DataError: a file cannot be read or is not the one that was imported.
    """
    need = data_bytes(manifest)
    for node in nodes:
        store = node["Resources"].get("object_store_memory", 0)
        if need > store:
            raise UsageError(
                f"the data need {need / 1e6:.0f} MB of Ray's object store, but node {node['NodeManagerHostname']} has "
                f"{store / 1e6:.0f} MB; start Ray there with a larger --object-store-memory"
            )
    references = []
    for file in manifest.files:
        references.append(ray.put(read_samples(root, file, manifest)))
    return references


def _automatic_share(gpus: float, trials: int) -> float:
    """Give each trial a whole GPU while there are enough, then pack up to four on one."""
    if not gpus:
        return 0.0
    return 1 / min(AUTO_SHARERS, max(1, math.ceil(trials / gpus)))
