"""The example of docs/networks.md, as it stands there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch

from sltune.snn import running
from sltune.training.batches import Batch, Clip
from sltune.training.fit import Learner, evaluate, train_epoch

PAGE = Path(__file__).parents[2] / "docs" / "networks.md"


def test_the_network_of_the_page_on_networks_learns_and_is_run_in_stretches(monkeypatch: pytest.MonkeyPatch) -> None:
    """A class for each pixel that is lit; they are told apart."""
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    names: dict[str, Any] = {}
    exec(code, names)
    torch.manual_seed(0)
    network = names["Tiny"](frame_shape=(2, 8, 9), classes=3, width=4)
    frames = torch.zeros(6, 3, 2, 8, 9)
    for label in range(3):
        frames[:, label, 0, :, 3 * label : 3 * label + 3] = 1

    def batches() -> list[Batch]:
        return [Batch(torch.arange(3), iter([Clip.of(frames)]))]

    learner = Learner(network, torch.optim.Adam(network.parameters(), 0.02))
    for _ in range(40):
        train_epoch(learner, batches())
    whole = evaluate(network, batches())
    assert whole.accuracy == 1
    assert list(whole.spikes) == ["input", "conv1", "conv2", "classify.3"]
    monkeypatch.setattr(running, "MAX_STRETCH_VALUES", frames[:4].numel())
    assert evaluate(network, batches()) == whole
