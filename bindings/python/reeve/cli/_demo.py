"""``reeve demo``."""

from __future__ import annotations

from pathlib import Path

import click


@click.command(
    epilog="Examples:  reeve demo  |  reeve demo ~/Documents --kill  |  "
    "reeve demo --url redis://localhost --kill unsupervised --lease 2s"
)
@click.argument(
    "folder",
    metavar="[DIR]",
    required=False,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
)
@click.option(
    "--files",
    type=click.IntRange(1, 1_000_000),
    default=3000,
    show_default=True,
    help="Take at most this many.",
)
@click.option(
    "--processes",
    type=click.IntRange(1, 64),
    default=1,
    show_default=True,
    help="Worker processes; at least 2 with --kill.",
)
@click.option(
    "-c",
    "--concurrency",
    type=click.IntRange(1, 1000),
    default=8,
    show_default=True,
    help="Jobs at a time in each process.",
)
@click.option(
    "--kill",
    is_flag=False,
    flag_value="supervised",
    type=click.Choice(["supervised", "unsupervised"]),
    help="Kill -9 a worker process half-way: its jobs come back by the supervisor (default) "
    "or only when their leases end.",
)
@click.option(
    "--lease",
    metavar="SPAN",
    default="30s",
    show_default=True,
    help="How long a job stays with a silent worker.",
)
@click.option(
    "--url", metavar="URL", help="Broker; default: an SQLite file that goes with the demo."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document at the end.")
def demo(
    folder: Path | None,
    files: int,
    processes: int,
    concurrency: int,
    kill: str | None,
    lease: str,
    url: str | None,
    as_json: bool,
) -> None:
    """Make a job of every file in DIR: hash, compress, count; some fail, on purpose.

    Without DIR it takes this machine's documentation.
    """
    from reeve.demo.run import Settings, check, run

    check(lease, url)
    run(Settings(folder, url, files, processes, concurrency, kill, lease, as_json))
