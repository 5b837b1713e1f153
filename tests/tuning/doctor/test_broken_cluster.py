"""A cluster of which a node is broken in many ways; another one freezes.

The other version of torch stands in its metadata only, and the clock is off in the node's Python alone.
"""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import pytest
import tomlkit

from sltune.events.importing import import_source
from tests import small
from tests.tuning.clusters import Node
from tests.tuning.doctor.broken import AN_HOUR_AHEAD, found, python_path, sltune_on

pytestmark = [pytest.mark.processes, pytest.mark.slow]

TOKEN = "0123456789abcdef" * 4


def home_with(folder: Path, token: str) -> dict[str, str]:
    """Return the environment of a user who has this token."""
    (folder / ".ray").mkdir(parents=True)
    (folder / ".ray" / "auth_token").write_text(token)
    return {"HOME": str(folder), "RAY_AUTH_MODE": "token"}


def test_each_fault_of_a_cluster_is_named(tmp_path: Path) -> None:
    data = tmp_path / "data"
    # In memory 92 MB, more than the stores of 80 MB.
    import_source(small.source(events=320_000), data)
    own = home_with(tmp_path / "home", TOKEN)
    path = python_path(tmp_path / "startup", AN_HOUR_AHEAD)
    metadata = tmp_path / "startup" / "torch-9.9.0.dist-info" / "METADATA"
    metadata.parent.mkdir()
    metadata.write_text("Metadata-Version: 2.1\nName: torch\nVersion: 9.9.0\n")
    head = Node(["--num-cpus=1", "--node-name=head"], variables=own)
    try:
        strange = Node(["--num-cpus=1"], head.address, variables={**own, "PYTHONPATH": path})
        try:
            arguments = ("doctor", "--json", "--data", data, "--address", head.address, "--results", tmp_path)
            said = sltune_on(["true"], *arguments, variables=own)
            assert said.returncode == 8, said.stderr
            findings = json.loads(said.stdout)["findings"]
            named = {(one["subject"], one["state"]): one["text"] for one in findings}
            assert "has torch 9.9, and this command" in named["versions", "broken"]
            # One node has the right time, and both have small stores.
            assert "s ahead of this machine" in named["clock", "broken"]
            assert [one["state"] for one in findings if one["subject"] == "clock"].count("ok") == 1
            assert [one["state"] for one in findings if one["subject"] == "object store"] == ["warning", "warning"]
            other = home_with(tmp_path / "other", TOKEN[::-1])
            said = sltune_on(["true"], *arguments, variables=other)
            assert said.returncode == 8, said.stderr
            assert "refused the token" in found(said)["token"][1]
            space = tmp_path / "space.toml"
            space.write_text(tomlkit.dumps(small.quick().model_dump(mode="json")))
            said = sltune_on(["true"], "evaluate", space, *arguments[2:], variables=own)
            assert said.returncode == 0, said.stderr
            assert "has torch 9.9, and this command" in said.stderr
            assert "the data need 92 MB of Ray's object store" in said.stderr
            os.kill(strange.raylet(), signal.SIGSTOP)
            started = time.monotonic()
            said = sltune_on(["true"], *arguments, variables=own, is_patient=False)
            took = time.monotonic() - started
            os.kill(strange.raylet(), signal.SIGCONT)
            frozen = [one["text"] for one in json.loads(said.stdout)["findings"] if one["subject"] == "node"]
            assert "has not answered (clock); it may be frozen, or too busy" in frozen
            # With the start of Python, on a machine that does other things.
            assert took < 60
        finally:
            strange.close()
    finally:
        head.close()
