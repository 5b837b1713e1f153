"""Triton on the CPU: its interpreter, switched on before Triton is imported. Import this before sltune.snn.cuda.layer.

Where there is a GPU the kernels run on that, since one process cannot do both.
"""

from __future__ import annotations

import os
import sys
from typing import Any

import pytest
import torch

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
VARIABLE = "TRITON_INTERPRET"

if DEVICE == "cpu":
    # Test modules are imported before any test runs, so that only an import at the top of one can come too early.
    assert "triton" not in sys.modules or os.environ.get(VARIABLE) == "1", (
        f"triton was imported before {VARIABLE} was set"
    )
    os.environ[VARIABLE] = "1"

pytest.importorskip("triton", reason="Triton is not installed")


def _mend() -> None:
    """Let loops end at a number that is an argument; Triton 3.6 fails at it with NumPy 2.4 (triton issue 9171)."""
    from triton.runtime import interpreter

    patch_tensor = interpreter._patch_lang_tensor

    def patch(tensor: Any, scope: Any) -> None:
        patch_tensor(tensor, scope)
        scope.set_attr(tensor, "__index__", lambda self: self.handle.data.item())

    interpreter._patch_lang_tensor = patch


def _hurry() -> None:
    """Patch Triton's language once a launch, not again at each call of a function, which takes a third of the time."""
    from triton.runtime import interpreter

    launch, patch_lang = interpreter.GridExecutor.__call__, interpreter._patch_lang
    patched: dict[frozenset[int], Any] = {}

    def patch_once(function: Any) -> Any:
        languages = (interpreter.tl, interpreter.tl.core)
        seen = frozenset(id(value) for value in function.__globals__.values() if any(value is one for one in languages))
        if seen not in patched:
            patched[seen] = patch_lang(function)
        return patched[seen]

    def launch_anew(self: Any, *arguments: Any, **options: Any) -> None:
        patched.clear()
        launch(self, *arguments, **options)

    interpreter._patch_lang, interpreter.GridExecutor.__call__ = patch_once, launch_anew


if DEVICE == "cpu":
    _mend()
    _hurry()
