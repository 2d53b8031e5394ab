"""The app of the supervised proof: a task that holds its first worker until it is killed."""

from __future__ import annotations

import os
import time

from reeve import App, Context

app = App(os.environ["REEVE_PROVE_URL"])


@app.task(name="hold")
def hold(ctx: Context) -> None:
    line = f"S {ctx.id} {ctx.token} {os.getpid()} {ctx.attempt} {time.monotonic_ns()} 0 {ctx.queue}"
    journal = os.environ["REEVE_PROVE_JOURNAL"]
    with open(journal) as stream:
        first = f" {ctx.id} " not in stream.read()
    with open(journal, "a") as stream:
        stream.write(line + "\n")
    if first:
        time.sleep(600)
