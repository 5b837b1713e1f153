"""What verbs say on stderr, beside their results."""

from __future__ import annotations

import click

from sltune.wording import printable_lines


def say(text: str) -> None:
    """Print a text on stderr, with what a terminal would obey made visible."""
    click.echo(printable_lines(text), err=True)
