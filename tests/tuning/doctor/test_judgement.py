"""What facts of GPUs mean, which no test machine has: drivers, builds of torch, MIG, and others' processes."""

from __future__ import annotations

from typing import Any

import pytest

from sltune.tuning.doctor.findings import Finding
from sltune.tuning.doctor.judgement import fits, judged

H200 = {
    "uuid": "GPU-1", "name": "NVIDIA H200", "driver": "550.54", "capability": "9.0",
    "total_bytes": 143_771 << 20, "used_bytes": 0, "is_divided": False,
}  # fmt: skip
SEEN = {"name": "NVIDIA H200", "capability": "9.0", "total_bytes": 143_771 << 20}
TORCH = {
    "version": "2.11.0+cu130", "cuda": "13.0", "architectures": ["sm_80", "sm_90"],
    "gpus": [SEEN], "error": "", "visible": None,
}  # fmt: skip


def found(gpus: list[dict[str, Any]], torch: dict[str, Any], processes: Any = (), error: str = "") -> list[Finding]:
    facts = {"gpus": {"gpus": gpus, "processes": list(processes), "error": error}, "torch": torch}
    return list(judged(facts, 0, has_store=True))


def state_of(findings: list[Finding], subject: str) -> tuple[str, str]:
    (finding,) = [one for one in findings if one.subject == subject]
    return finding.state, f"{finding.text} {finding.advice}"


def test_a_gpu_for_which_torch_has_code_is_in_order() -> None:
    assert [one.state for one in found([H200], TORCH)] == ["ok", "ok"]


@pytest.mark.parametrize(
    ("capability", "architectures", "expected"),
    [
        ("9.0", ["sm_80", "sm_90"], True),
        ("8.6", ["sm_80"], True),
        ("8.0", ["sm_86"], False),
        ("9.0", ["sm_80"], False),
        ("12.0", ["sm_90", "compute_90"], True),
        ("7.0", ["sm_75", "compute_75"], False),
        ("9.0", ["sm_90a"], True),
        ("10.3", ["sm_100a"], False),
    ],
)
def test_machine_code_runs_on_its_generation_and_intermediate_code_on_all_later_ones(
    capability: str, architectures: list[str], expected: bool
) -> None:
    assert fits(capability, architectures) is expected


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"gpus": [], "cuda": "", "version": "2.11.0+cpu"}, "is a build for the CPU"),
        ({"gpus": [], "error": "The NVIDIA driver on your system is too old"}, "or torch for that of driver 550.54"),
        ({"gpus": [], "visible": ""}, "CUDA_VISIBLE_DEVICES is ''"),
        ({"architectures": ["sm_70"]}, "has no code for NVIDIA H200 (9.0), only sm_70"),
    ],
)
def test_a_gpu_that_torch_cannot_use_is_broken_and_the_reason_named(changes: dict[str, Any], part: str) -> None:
    state, text = state_of(found([H200], {**TORCH, **changes}), "torch")
    assert state == "broken"
    assert part in text


def test_a_gpu_that_others_use_is_doubtful() -> None:
    process = {"uuid": "GPU-1", "pid": 7, "used_bytes": 2 << 30, "user": "somebody"}
    state, text = state_of(found([H200], TORCH, [process]), "GPU 0")
    assert state == "warning"
    assert "2.15 GB are held by processes of others (somebody)" in text
    assert state_of(found([H200], TORCH, [{**process, "user": ""}]), "GPU 0")[0] == "ok"


def test_a_divided_gpu_is_doubtful() -> None:
    findings = found([{**H200, "is_divided": True}], TORCH)
    assert ["MIG" in one.text for one in findings if one.state == "warning"] == [True]


def test_a_driver_that_fails_is_broken() -> None:
    assert state_of(found([], {**TORCH, "gpus": []}, error="nvidia-smi fails: x"), "GPU driver")[0] == "broken"


@pytest.mark.parametrize(("free", "state"), [(10**9, "ok"), (10**8, "warning")])
def test_shared_memory_must_hold_the_object_store(free: int, state: str) -> None:
    (finding,) = judged({"shm": {"total_bytes": 2 * 10**9, "free_bytes": free}}, 10**8, has_store=False)
    assert finding.state == state
