"""Compile the kernels for a GPU that need not be there, and print what arithmetic is in their machine code, as JSON."""

from __future__ import annotations

import collections
import json
from typing import Any

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from sltune.snn.cuda import kernels
from sltune.snn.cuda.layer import BLOCK, CELLS, COMPILATION
from sltune.snn.neurons.surrogate import WINDOWS

HOPPER = GPUTarget("cuda", 90, 32)
NUMBERS = {"decay": "fp32", "v_threshold": "fp32", "a": "fp32", "b": "fp32", "counts": "*i32"}
SIZES = ("steps", "step_size", "output_size", "values", "channels", "height", "width", "decay_count", "channel_size")
FIXED: dict[str, Any] = {"decays": None, "decay_count": 1, "channel_size": 1, "norms": None}


def count(kernel: Any, options: dict[str, Any], **constants: Any) -> dict[str, int]:
    """Return how many instructions of each name a kernel has, with all arrays in float32."""
    names = {**NUMBERS, **dict.fromkeys(SIZES, "i32"), **dict.fromkeys(constants, "constexpr")}
    signature = {name: names.get(name, "*fp32") for name in kernel.arg_names}
    compiled = triton.compile(ASTSource(kernel, signature, constants), target=HOPPER, options=options)
    found = collections.Counter(word.split(".")[0] for word in compiled.asm["sass"].split())
    return {name: found[name] for name in ("FFMA", "FMUL", "FADD")}


def main() -> None:
    layouts = {
        "plain": {"POOL": False, "CHANNELS_LAST": False, "BLOCK": BLOCK},
        "pooled": {"POOL": True, "CHANNELS_LAST": False, "BLOCK": CELLS},
        "pooled, channels last": {"POOL": True, "CHANNELS_LAST": True, "BLOCK": CELLS},
    }
    backward = {**FIXED, "decay_gradient": None, "norm_gradient": None}
    plain = layouts["plain"]
    counts = {}
    for name, layout in layouts.items():
        counts[f"forward, {name}"] = count(kernels.lif_forward, COMPILATION, **FIXED, **layout)
        counts[f"backward, {name}"] = count(
            kernels.lif_backward, COMPILATION, WINDOW="rectangular", **backward, **layout
        )
    # Without FIXED, decays and norms are pointers.
    counts["forward, normed, learned decay"] = count(kernels.lif_forward, COMPILATION, **plain)
    counts["backward, normed, learned decay"] = count(kernels.lif_backward, COMPILATION, WINDOW="gaussian", **plain)
    counts["through statistics"] = count(kernels.through_statistics, COMPILATION, BLOCK=BLOCK)
    for window in WINDOWS:
        counts[f"backward, plain, {window}"] = count(
            kernels.lif_backward, COMPILATION, WINDOW=window, **backward, **plain
        )
    fused = {**COMPILATION, "enable_fp_fusion": True}
    counts["forward, plain, fused on purpose"] = count(kernels.lif_forward, fused, **FIXED, **plain)
    print(json.dumps(counts))


if __name__ == "__main__":
    main()
