"""make demo-openresty: this folder's nginx with a private Redis and a Python worker on loopback.

    python docs/examples/openresty/demo.py [--build DIR]

Tasks go in over HTTP and are run by nginx's own workers and by Python. All that is started here
listens on 127.0.0.1, keeps its files in a temporary folder, and is ended at the end.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from reeve import App

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
MAILS = 200


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


@contextlib.contextmanager
def running(name: str, command: list[str], log: Path, **options: Any) -> Iterator[None]:
    """A process of ours, ended by its own pid."""
    print(f"start  {name}: {' '.join(command)}")
    with open(log, "ab") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, **options)
    try:
        yield
        if process.poll() is not None:
            sys.exit(f"{name} ended by itself:\n{log.read_text(errors='replace')[-2000:]}")
    finally:
        process.terminate()
        process.wait()
        print(f"stop   {name}")


def until(what: Callable[[], object], why: str, timeout_s: float = 30) -> None:
    end = time.monotonic() + timeout_s
    while not what():
        if time.monotonic() > end:
            sys.exit(f"demo: {why}")
        time.sleep(0.02)


def answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


def write_files(folder: Path, build: Path, redis: int, http: int) -> None:
    """The example's files, with our ports and the build instead of what is installed."""
    for name in ("nginx.conf", "app.lua", "primes.lua", "tasks.py"):
        shutil.copy(HERE / name, folder)
    (folder / "logs").mkdir()
    conf = (folder / "nginx.conf").read_text()
    conf = conf.replace("127.0.0.1:8080", f"127.0.0.1:{http}")
    conf = conf.replace(
        'lua_package_path "$prefix/?.lua;;";',
        f'lua_package_path "{folder}/?.lua;{ROOT}/lua/?.lua;;";\n'
        f'    lua_package_cpath "{build}/lua/5.1/?.so;;";',
    )
    if os.geteuid() == 0:  # workers become nobody, who may not read the folder
        conf = f"user root;\n{conf}"
    if not Path("/usr/lib/nginx/modules/ngx_http_lua_module.so").exists():
        conf = "\n".join(line for line in conf.splitlines() if "load_module" not in line)
    (folder / "nginx.conf").write_text(conf)
    app = (folder / "app.lua").read_text()
    (folder / "app.lua").write_text(app.replace("127.0.0.1:6379", f"127.0.0.1:{redis}"))


def post(port: int, path: str, body: dict[str, object]) -> dict[str, str]:
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}{path}", json.dumps(body).encode(), method="POST"
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        found: dict[str, str] = json.load(answer)
    return found


def show(app: App, http: int, log: Path) -> None:
    """Enqueues over HTTP and waits for what comes of it."""
    print(f"\nPOST   {MAILS} mails to http://127.0.0.1:{http}/mail")
    began = time.monotonic()
    for number in range(MAILS):
        post(http, "/mail", {"to": f"{'flaky' if number == 0 else 'user'}{number}@example.org"})
    print(f"       done in {time.monotonic() - began:.2f} s, one connection each")
    primes = post(http, "/primes", {"below": 300000})
    print(f"POST   /primes: {primes}")
    report = post(http, "/report", {"month": "November", "rows": 7})
    print(f"POST   /report: {report}")

    def sent() -> int:
        return log.read_text(errors="replace").count("sent at attempt")

    until(lambda: sent() == MAILS, "nginx did not send all mails")
    print(f"\nnginx  sent {sent()} mails, one of them at its second attempt")
    done = ("completed", "archived")
    until(lambda: app.job(primes["id"]).state in done, "nginx did not count the primes")
    print(f"nginx  counted primes in a thread: {app.job(primes['id']).result()}")
    until(lambda: app.job(report["id"], "reports").state in done, "Python built no report")
    print(f"python built the report: {app.job(report['id'], 'reports').result()!r}")
    ended = MAILS + 2  # workers report every two seconds
    until(lambda: sum(w.done for w in app.workers()) == ended, "the workers report too little")
    print("\nworkers:")
    for worker in app.workers():
        kind = "nginx" if worker.concurrency == 16 else "python"
        print(f"       {kind:7} pid {worker.pid}, {worker.done} done, {worker.failed} failed runs")
    print()


def main() -> None:
    parser = argparse.ArgumentParser(description="Shows reeve inside nginx.")
    parser.add_argument("--build", default=ROOT / "build-dev", type=Path)
    args = parser.parse_args()
    nginx = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    if nginx is None:
        sys.exit("demo: nginx is not installed; make demo-openresty does that")
    redis, http = free_port(), free_port()
    with tempfile.TemporaryDirectory(prefix="reeve-openresty-") as scratch:
        folder = Path(scratch)
        log = folder / "logs" / "error.log"
        write_files(folder, args.build.resolve(), redis, http)
        server = ["redis-server", "--port", str(redis), "--bind", "127.0.0.1", "--save", ""]
        url = f"redis://127.0.0.1:{redis}/0"
        python = [sys.executable, "-m", "reeve", "worker", "tasks:app", "--url", url]
        web = [nginx, "-p", scratch, "-c", "nginx.conf", "-e", str(log), "-g", "daemon off;"]
        with running("redis", [*server, "--dir", scratch], folder / "redis.log"):
            until(lambda: answers(redis), "Redis does not answer")
            with (
                running("nginx", web, folder / "nginx.log"),
                running("python", python, folder / "python.log", cwd=folder),
                App(url) as app,
            ):
                until(lambda: answers(http), f"nginx does not answer; see {log}")
                show(app, http, log)
    print("all that was started here is ended")


if __name__ == "__main__":
    main()
