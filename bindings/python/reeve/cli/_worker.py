"""``reeve worker module:app``."""

from __future__ import annotations

import importlib
import logging
import os.path
import signal
import sys
import traceback
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any

import click

from reeve import App
from reeve._context import find_current
from reeve._durations import to_ms
from reeve._supervisor import Supervisor, child_command, die_with_parent
from reeve.cli._common import refuse_memory
from reeve.worker import Worker, WorkerOptions, check_worker

_log = logging.getLogger("reeve.worker")

_LEVELS = ["debug", "info", "warning", "error"]


class JobFormatter(logging.Formatter):
    """Lines that handlers write, with whatever logger, end with their job's id and attempt."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        """One line, without a traceback."""
        line = super().formatMessage(record)
        # the core's and the worker's lines can be written in a handler's thread, too
        if record.name.startswith("reeve.") and not record.name.startswith("reeve.task."):
            return line
        job = find_current()
        return line if job is None else f"{line} [{job.id} attempt {job.attempt}]"


def _log_to_stderr(level: str) -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(JobFormatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s"))
    logging.basicConfig(level=level.upper(), handlers=[handler])


def _module_name(text: str) -> str:
    """``shop.tasks``, also written as its file below this directory."""
    if text.endswith(".py"):
        text = os.path.relpath(text[:-3]).replace("/", ".")
    if not all(part.isidentifier() for part in text.split(".")):
        raise click.UsageError(
            f"{text!r} is no module; write its name from here, as shop.tasks:app"
        )
    return text


def _import(name: str) -> ModuleType:
    """The module. If it raises, the traceback begins with its own lines."""
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        return importlib.import_module(name)
    except Exception as error:
        if isinstance(error, ModuleNotFoundError) and f"{name}.".startswith(f"{error.name}."):
            raise click.UsageError(f"there is no module {name} in {here} or on the path") from None
        frame = error.__traceback__
        while frame is not None and _is_machinery(frame.tb_frame.f_code.co_filename):
            frame = frame.tb_next
        text = "".join(traceback.format_exception(error.with_traceback(frame)))
        raise click.ClickException(f"importing {name} failed\n{text.rstrip()}") from None


def _is_machinery(file: str) -> bool:
    return file in (__file__, importlib.__file__) or file.startswith("<frozen importlib")


def load_app(target: str) -> App:
    """The App that ``module`` or ``module:name`` names."""
    written, _, name = target.partition(":")
    module_name = _module_name(written)
    module = _import(module_name)
    if name:
        found = getattr(module, name, None)
        if not isinstance(found, App):
            raise click.UsageError(f"{module_name} has no App called {name}")
        return found
    apps = [value for value in vars(module).values() if isinstance(value, App)]
    if len(set(map(id, apps))) != 1:
        raise click.UsageError(
            f"{module_name} has {len(apps)} Apps; name one, as {module_name}:app"
        )
    return apps[0]


def parse_queues(text: str | None) -> dict[str, int] | None:
    """``mail=6,default=3`` → weights; a queue without one has 1."""
    if text is None:
        return None
    weights: dict[str, int] = {}
    for part in text.split(","):
        name, equals, weight = part.strip().partition("=")
        if not name or (equals and not weight.isdecimal()):
            raise click.BadParameter(
                f"{part!r}; write name=weight, as mail=6,default=3", param_hint="--queues"
            )
        if name in weights:
            raise click.BadParameter(f"{name} is there twice", param_hint="--queues")
        weights[name] = int(weight) if equals else 1
    return weights


def parse_prefetch(text: str) -> int | str:
    """``auto``, ``none`` or a number; which numbers, the worker knows."""
    if text.isascii() and text.isdecimal():
        return int(text)
    if text not in ("auto", "none"):
        raise click.BadParameter(
            f"{text!r}; write auto, none or a number, as --prefetch 20", param_hint="--prefetch"
        )
    return text


@click.command(
    epilog="Examples:  reeve worker shop.tasks:app -c 50  |  "
    "reeve worker app --processes 4 --queues mail=6,default=3  |  "
    "reeve worker reports:app -c 2 --prefetch none"
)
@click.argument("app", metavar="MODULE[:APP]")
@click.option(
    "-c",
    "--concurrency",
    type=int,
    default=10,
    show_default=True,
    help="Jobs at a time in each process.",
)
@click.option(
    "--processes",
    type=click.IntRange(1, 256),
    default=1,
    show_default=True,
    help="Worker processes; with more than one, a supervisor keeps them alive.",
)
@click.option(
    "--prefetch",
    metavar="auto|none|N",
    default="auto",
    show_default=True,
    help="Claim ahead of free places: as many as pay, none, or N (1 to 1000) at most.",
)
@click.option("--queues", metavar="LIST", help="mail=6,default=3; default: the tasks' queues.")
@click.option(
    "--order",
    type=click.Choice(["weighted", "strict"]),
    default="weighted",
    show_default=True,
    help="By weight, or the first queue first.",
)
@click.option(
    "--lease", metavar="SPAN", help="A dead worker's jobs run elsewhere after this; default 30s."
)
@click.option(
    "--grace",
    metavar="SPAN",
    default="25s",
    show_default=True,
    help="A stop waits this long for running jobs.",
)
@click.option(
    "--ageing",
    metavar="SPAN",
    help="Strict order: a queue that is passed over is served once in this; default 1s.",
)
@click.option("--archive", metavar="SPAN", help="Dead letters are kept so long; default 90d.")
@click.option(
    "--archive-count", type=int, metavar="N", help="And so many a queue at most; default 100000."
)
@click.option(
    "--settle-delay",
    metavar="SPAN",
    help="Outcomes wait so long for others to be stored with; 0: not at all; default 5ms.",
)
@click.option(
    "--url", metavar="URL", envvar="REEVE_WORKER_URL", help="Broker, instead of the app's."
)
@click.option("--prefix", metavar="NAME", help="Prefix of every key in Redis.")
@click.option("--log-level", type=click.Choice(_LEVELS), default="info", show_default=True)
@click.option("--supervise", is_flag=True, help="A supervisor also for one process.")
@click.option("--worker-id", metavar="ID", hidden=True)
def worker(
    app: str,
    concurrency: int,
    processes: int,
    prefetch: str,
    queues: str | None,
    order: str,
    lease: str | None,
    grace: str,
    ageing: str | None,
    archive: str | None,
    archive_count: int | None,
    settle_delay: str | None,
    url: str | None,
    log_level: str,
    supervise: bool,
    worker_id: str | None,
    prefix: str | None,
) -> None:
    """Work on the tasks of an app until SIGTERM or Ctrl-C (twice: at once)."""
    die_with_parent()
    _log_to_stderr(log_level)
    loaded = load_app(app)
    if url is not None or prefix is not None:
        loaded.rebase(url or loaded.url, prefix=prefix)
    refuse_memory(loaded.url, "nobody could enqueue to this worker")
    options: dict[str, Any] = {"concurrency": concurrency, "queues": queues, "order": order}
    options |= {"lease": lease, "grace": grace, "prefetch": parse_prefetch(prefetch)}
    options |= {"ageing": ageing, "archive": archive, "archive_count": archive_count}
    options |= {"settle_delay": settle_delay}
    settings: WorkerOptions = {**options, "queues": parse_queues(queues), "id": worker_id}  # type: ignore[typeddict-item]
    if worker_id is None and (processes > 1 or supervise):
        check_worker(
            loaded, settings
        )  # or each child would end with the same error, again and again
        options |= {"log-level": log_level, "prefix": prefix}
        _supervise(loaded, app, options, processes, to_ms(grace, "grace") / 1000)
        return
    if not loaded.tasks:
        _log.warning("%s has no tasks; does it import the modules that define them?", app)
    Worker(loaded, **settings).run()


def _supervise(
    app: App, target: str, options: dict[str, Any], processes: int, grace: float
) -> None:
    supervisor = Supervisor(
        app,
        lambda worker_id: child_command(target, options, worker_id),
        processes,
        grace=grace,
        # not on the command line: others can read that, and a URL may hold a password
        env={"REEVE_WORKER_URL": app.url},
    )

    def on_signal(number: int, frame: FrameType | None) -> None:
        supervisor.stop()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, on_signal)
    supervisor.run()
