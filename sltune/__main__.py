"""``python -m sltune``."""

from sltune.cli.main import run

run()
