"""Nothing that was handed on is ever unpickled: a pickle is planted wherever a library might look for one."""

from __future__ import annotations

import io
import pickle
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import optuna
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from optuna.storages import BaseStorage
from optuna.trial import TrialState

import sltune
from sltune.errors import DataError
from sltune.events.dataset import open_dataset
from sltune.system.places import Database
from sltune.training.checkpoint import learner_from_bytes
from sltune.training.fit import Learner
from sltune.training.weights import load_weights
from sltune.tuning.campaign.storage import open_storage
from tests.networks import NETWORKS
from tests.tuning.searches import run, search, space

LOADERS = (
    r"pickle\.loads?\(|pickle\.Unpickler|cloudpickle|joblib|shelve|marshal|read_pickle|allow_pickle=True"
    r"|weights_only=False|CmaEsSampler|yaml\.(unsafe_|full_)?load\("
)


class Bomb:
    """Unpickling it writes a file."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.mark,)


@pytest.fixture
def mark(tmp_path: Path) -> Iterator[Path]:
    """The file that a bomb writes; the test fails if one has."""
    mark = tmp_path / "unpickled"
    pickle.loads(pickle.dumps(Bomb(mark)))
    assert mark.exists()
    mark.unlink()
    yield mark
    assert not mark.exists()


@pytest.mark.parametrize(
    ("sampler", "kind"), [("cmaes", "journal"), ("cmaes", "database"), ("tpe", "journal"), ("gp", "journal")]
)
def test_pickles_in_a_study_are_left_alone_when_its_search_goes_on(
    tmp_path: Path, mark: Path, sampler: str, kind: str
) -> None:
    def storage() -> BaseStorage:
        return open_storage(
            tmp_path / "study.journal", Database(f"sqlite:///{tmp_path}/s.db") if kind == "database" else None
        )

    made = space(f"trials = 3\nsampler = '{sampler}'", folds=2)
    run(search(tmp_path, made, storage()))
    bomb = pickle.dumps(Bomb(mark)).hex()
    study = optuna.load_study(study_name="hills", storage=storage())
    # Only Optuna's own writing makes a trial that has ended with such attributes.
    trial = study.ask({"neuron.decay": optuna.distributions.FloatDistribution(0.0, 1.0)})
    trial.suggest_float("neuron.v_threshold", 0.1, 0.9, step=0.1)
    for key in ("cma:optimizer:0", "sepcma:optimizer:0", "cmawm:optimizer:0", "nsga2:generation", "x"):
        trial.set_user_attr(key, bomb)
        study.set_user_attr(key, bomb)
    # Those that Optuna's own sampler has left in searches of earlier versions.
    study._storage.set_trial_system_attr(trial._trial_id, "cma:optimizer:0", bomb)
    study._storage.set_study_system_attr(study._study_id, "cma:optimizer:0", bomb)
    study.tell(trial, 0.5, TrialState.COMPLETE)
    longer = space(f"trials = 7\nsampler = '{sampler}'", folds=2)
    run(search(tmp_path, longer, storage()))
    study = optuna.load_study(study_name="hills", storage=storage())
    assert len(study.trials) == 7
    study._storage.set_trial_system_attr(study.ask()._trial_id, "nsga2:generation", bomb)
    with pytest.raises(DataError, match=r"trial 7: the attribute nsga2:generation = .* was not written by"):
        search(tmp_path, longer, storage())


@pytest.mark.parametrize("protocol", [2, 5])
@pytest.mark.filterwarnings("ignore:Detected pickle protocol 5")
def test_pickles_as_weights_and_checkpoints_are_refused(mark: Path, protocol: int) -> None:
    network = NETWORKS["nmnist-mlp2"]((2, 4, 4), 2)
    learner = Learner(network, torch.optim.SGD(network.parameters()))
    saved = io.BytesIO()
    torch.save({"network": Bomb(mark)}, saved)
    for data in (pickle.dumps(Bomb(mark), protocol), saved.getvalue()):
        with pytest.raises(DataError):
            load_weights(network, data, "best.pt")
        with pytest.raises(ValueError, match=r"torch\.save|objects that could run code"):
            learner_from_bytes(learner, data)


def test_a_pickled_extension_type_of_arrow_in_a_recording_is_no_more_than_its_storage(
    dataset: Path, mark: Path
) -> None:
    # What pyarrow before 14.0.1 unpickled when a schema was read (CVE-2023-47248).
    file = next((dataset / "recordings").glob("*.parquet"))
    table = pq.read_table(file)
    bomb = {b"ARROW:extension:name": b"arrow.py_extension_type", b"ARROW:extension:metadata": pickle.dumps(Bomb(mark))}
    fields = [field.with_metadata(bomb) for field in table.schema]
    pandas = {b"pandas": pickle.dumps(Bomb(mark))}
    schema = pa.schema(fields, metadata={**(table.schema.metadata or {}), **pandas})
    pq.write_table(pa.Table.from_arrays(table.columns, schema=schema), file)
    pq.read_table(file)
    with suppress(DataError):
        samples = open_dataset(dataset).samples
        for index in range(len(samples)):
            samples.events(index)


def test_no_module_asks_a_library_to_unpickle() -> None:
    sources = [(file, file.read_text()) for file in Path(sltune.__file__).parent.rglob("*.py")]
    found = [(file.name, match[0]) for file, text in sources for match in re.finditer(LOADERS, text)]
    assert found == []
