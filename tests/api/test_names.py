"""The names that `import sltune` offers, and what they cost."""

from __future__ import annotations

import subprocess
import sys

import pytest

import sltune

CHEAP = """
import sys, sltune
dir(sltune)
assert not {"torch", "ray", "numpy", "pandas", "pyarrow", "optuna", "rich"} & set(sys.modules), "import sltune"
for name in sltune.__all__:
    getattr(sltune, name)
# Ray reads its environment when it is imported, which a first call prepares.
assert not {"ray", "optuna", "click"} & set(sys.modules), "names"
"""


def test_import_brings_no_library_and_the_names_bring_no_ray() -> None:
    subprocess.run([sys.executable, "-c", CHEAP], check=True)


def test_every_name_is_there_and_no_other() -> None:
    assert set(sltune.__all__) <= set(dir(sltune))
    with pytest.raises(AttributeError, match="module 'sltune' has no attribute 'evalute'"):
        _ = sltune.evalute
