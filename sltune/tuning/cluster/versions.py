"""Which software this process runs, to compare with what another machine has; imports nothing of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache

COMPARED = ("sltune", "python", "torch", "ray")
"""What must be equal on all machines of a run."""
NOTED = ("numpy", "pyarrow", "numba", "triton")
"""Packages whose other versions give other roundings, or other compiled kernels, but the same networks."""


@cache
def own_versions() -> Mapping[str, str]:
    """Return what this process runs: versions by name, the digest of sltune's code, and the place of that."""
    return version_reader()()


def difference(own: Mapping[str, str], other: Mapping[str, str]) -> str:
    """Say in which way a node's code is not that of this process; "" where they agree."""
    for name in COMPARED:
        if own[name] != other[name]:
            return f"has {name} {other[name]}, and this command {own[name]}" if other[name] else f"has no {name}"
    if own["code"] != other["code"]:
        codes = [f"{versions['code'][:8]} in {versions['place']}" for versions in (other, own)]
        return f"has other code of sltune {own['sltune']} ({codes[0]}) than this command ({codes[1]})"
    return ""


def version_reader() -> Callable[[], dict[str, str]]:
    """Return what reads the versions where it is called; as an inner function, Ray sends its code and not its name."""

    def read() -> dict[str, str]:
        # Nothing of sltune, which may be another there, or none.
        import hashlib
        import importlib.metadata
        import importlib.util
        import platform
        import re
        from pathlib import Path

        def version(package: str) -> str:
            try:
                return importlib.metadata.version(package)
            except importlib.metadata.PackageNotFoundError:
                return ""

        spec = importlib.util.find_spec("sltune")
        root = Path(spec.origin).parent if spec and spec.origin else None
        digest, text = hashlib.sha256(), ""
        if root is not None:
            text = (root / "__init__.py").read_text(encoding="utf-8")
            for file in sorted(root.rglob("*.py")):
                digest.update(f"{file.relative_to(root).as_posix()}\0".encode() + file.read_bytes() + b"\0")
        own = re.search(r'^__version__ = "(.*)"$', text, re.MULTILINE)
        return {
            "sltune": own.group(1) if own else "",
            "python": ".".join(platform.python_version_tuple()[:2]),
            "torch": ".".join(version("torch").split(".")[:2]),
            "ray": version("ray"),
            **{name: version(name) for name in ("numpy", "pyarrow", "numba", "triton")},
            "code": digest.hexdigest(),
            "place": str(root),
        }

    return read
