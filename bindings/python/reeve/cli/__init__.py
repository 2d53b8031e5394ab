"""The command ``reeve``. Errors are one line that says what to do; exit codes are 0 (done), 1 (it
failed) and 2 (wrong call)."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable

import click

from reeve import Error, StateError, UsageError, __version__
from reeve.cli._dead import dead
from reeve.cli._demo import demo
from reeve.cli._enqueue import enqueue
from reeve.cli._jobs import jobs
from reeve.cli._queues import pause, queues, resume, weight
from reeve.cli._worker import worker
from reeve.cli._workers import workers


@click.group(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="The broker is --url, else the variable REEVE_URL, else an SQLite file in your state "
    "directory.",
)
@click.version_option(__version__, prog_name="reeve", message="%(prog)s %(version)s")
def cli() -> None:
    """reeve: a distributed task queue."""


@cli.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def version(as_json: bool) -> None:
    """Show the version."""
    if as_json:
        click.echo(f'{{"version": "{__version__}"}}')
    else:
        click.echo(f"reeve {__version__}")


for command in (worker, demo, queues, workers, jobs, dead, pause, resume, weight, enqueue):
    cli.add_command(command)


def _hint(error: Error) -> str:
    hints = {
        "network": "is the server running, and is the URL right?",
        "timeout": "is the server overloaded, or out of reach?",
        "auth": "check the user and password in the URL",
        "tls": "check the certificate; rediss:// verifies it",
        "not-found": "see `reeve queues` and `reeve jobs QUEUE`",
    }
    hint = hints.get(error.slug)
    return f" ({hint})" if hint else ""


def _abandon_output() -> None:
    """What stdout still holds goes nowhere: its flush at exit would fail once more."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def run(call: Callable[[], object]) -> int:
    """Calls and turns errors into an exit code."""
    try:
        call()
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.exceptions.Exit as error:
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("stopped", err=True)
        return 1
    except UsageError as error:
        click.echo(f"reeve: {error}", err=True)
        # the call was right, what it found was not
        return 1 if isinstance(error, StateError) else 2
    except Error as error:
        click.echo(f"reeve: {error}{_hint(error)}", err=True)
        return 1
    except BrokenPipeError:
        _abandon_output()  # the reader has gone; nothing to say to it
        return 1
    except OSError as error:  # as when the disk is full that the output goes to
        click.echo(f"reeve: {error}", err=True)
        _abandon_output()
        return 1
    return 0


def main() -> None:
    """Entry point of the console script."""
    sys.exit(run(lambda: cli.main(standalone_mode=False)))
