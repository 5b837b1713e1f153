"""The verb ``submit``: hands a run to Slurm or Kubernetes, once the desk has checked what it can."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import click

from sltune.cli.options.only_checked import CHECKED
from sltune.errors import UsageError
from sltune.submission.commands import VERBS, RunCommands, commands_of
from sltune.wording import printable_lines


@click.command(context_settings={"allow_interspersed_args": False})
@click.option("--slurm", "place", flag_value="slurm", help="Write a script of sbatch, and submit it.")
@click.option("--kubernetes", "place", flag_value="kubernetes", help="Print a RayJob of KubeRay, for kubectl.")
@click.option("--dry-run", is_flag=True, help="Print what would be submitted.")
@click.option("--nodes", type=click.IntRange(min=1), default=1, show_default=True, help="Ray runs on all of them.")
@click.option("--gpus-per-node", metavar="G", help="A number; on Slurm also with a type: a100:4.")
@click.option("--cpus-per-task", type=click.IntRange(min=1), help="CPUs of each node.")
@click.option("--mem", metavar="SIZE", help="Memory of each node: 64G on Slurm, 64Gi on Kubernetes.")
@click.option("--time", metavar="T", help="Slurm: the time limit; the run is requeued and resumed until it is over.")
@click.option("--partition", help="Slurm: the partition.")
@click.option("--account", help="Slurm: the account.")
@click.option(
    "--notice", type=int, default=120, show_default=True, help="Slurm: stop the run so many seconds before the limit."
)
@click.option(
    "--sbatch", "options", multiple=True, metavar="OPTION", help="Slurm: more of sbatch: --sbatch=--qos=high."
)
@click.option("--namespace", help="Kubernetes: where the job goes.")
@click.option("--image", help="Kubernetes: an image that has sltune.")
@click.option("--claim", help="Kubernetes: the persistent volume claim with data and results.")
@click.option("--mount", metavar="FOLDER", help="Kubernetes: where the volume is seen, here and in the pods.")
@click.argument("command", metavar="-- VERB ...", nargs=-1, type=click.UNPROCESSED)
@click.pass_context
def submit(ctx: click.Context, /, command: tuple[str, ...], place: str | None, dry_run: bool, **wanted: Any) -> None:
    """Hand evaluate, tune or resume to a cluster, which goes on with the run until it is over.

    What the verb itself would refuse is refused here. Defaults, and how the job finds sltune, are in the tables [slurm]
    and [kubernetes] of ~/.config/sltune/config.toml.

    \b
    sltune submit --slurm --time 12:00:00 --gpus-per-node 4 -- tune search_spaces/full.toml --data DATA
    sltune submit --slurm --dry-run -- evaluate search_spaces/paper.toml --data DATA
    sltune submit --kubernetes --image IMAGE --claim lab --mount /lab -- resume results/RUN > job.yaml
    """
    # What the verb sets for a Ray of its own is not for the job.
    environment = dict(os.environ)
    if place is None:
        raise UsageError("name where the job goes: --slurm or --kubernetes")
    _refuse_foreign(ctx, place)
    commands = _commands(ctx, command)
    if place == "slurm":
        _to_slurm(commands, wanted, dry_run, environment)
    else:
        _to_kubernetes(commands, wanted)


FOREIGN = {
    "slurm": ("namespace", "image", "claim", "mount"),
    "kubernetes": ("time", "partition", "account", "notice", "options"),
}
"""Options that mean nothing at a place."""


def _refuse_foreign(ctx: click.Context, place: str) -> None:
    given = [
        f"--{'sbatch' if name == 'options' else name}"
        for name in FOREIGN[place]
        if ctx.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE
    ]
    if given:
        raise UsageError(f"{', '.join(given)}: with --{place}, there is no such thing; leave it out")


def _commands(ctx: click.Context, command: Sequence[str]) -> RunCommands:
    verb = cast(click.Group, ctx.find_root().command).get_command(ctx, command[0]) if command else None
    if verb is None or verb.name not in VERBS:
        found = f"but got {command[0]!r}" if command else "but there is nothing"
        raise UsageError(f"after -- must stand one of {', '.join(VERBS)} and its arguments, {found}")

    def check(arguments: Sequence[str]) -> Path:
        ctx.meta[CHECKED] = None
        with verb.make_context(verb.name, list(arguments), parent=ctx) as inner:
            verb.invoke(inner)
        return cast(Path, ctx.meta[CHECKED])

    return commands_of(verb, command[1:], check)


def _to_slurm(commands: RunCommands, wanted: dict[str, Any], dry_run: bool, environment: dict[str, str]) -> None:
    from sltune.submission.slurm import SCRIPT, SlurmRequest, script_of
    from sltune.submission.slurm import submit as submit_script
    from sltune.submission.user_config import read_config

    given = {name: value for name, value in wanted.items() if name not in FOREIGN["slurm"]}
    given["notice_s"] = given.pop("notice")
    script = script_of(commands, SlurmRequest(**given), read_config().slurm, Path.cwd())
    if dry_run:
        click.echo(script, nl=False)
        return
    said = submit_script(script, commands.folder, environment)
    click.echo(printable_lines(said))
    script_file = commands.folder / SCRIPT
    for line in (
        f"script: {script_file}; output: {commands.folder / 'slurm-JOB.log'}",
        f"to see how it goes: sltune report --watch {commands.folder}",
    ):
        click.echo(printable_lines(line), err=True)


def _to_kubernetes(commands: RunCommands, wanted: dict[str, Any]) -> None:
    from sltune.submission.kubernetes import KubernetesRequest, manifest_of
    from sltune.submission.user_config import read_config

    given = {name: wanted[name] for name in ("nodes", "mem", *FOREIGN["slurm"])}
    request = KubernetesRequest(**given, gpus=wanted["gpus_per_node"], cpus=wanted["cpus_per_task"])
    click.echo(manifest_of(commands, request, read_config().kubernetes, Path.cwd()), nl=False)
