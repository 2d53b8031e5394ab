"""What an enqueue costs nginx, and what a worker inside nginx costs its requests.

    python tests/bench/nginx_bench.py [--build DIR] [--seconds N] [--rounds N] [--redis-lua DIR]
        [--costs FILE]

One nginx worker, one redis-server and wrk on loopback. CPU is utime + stime of
the nginx worker from /proc divided by wrk's requests: it repeats where rates,
on shared cores, do not. Rounds are interleaved; medians are printed. --redis-lua is a folder with
resty/redis.lua or nginx/redis.lua for the row of lua-resty-redis. --costs measures only what an
enqueue costs, and writes each round's figures there.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "support"))

TICKS = os.sysconf("SC_CLK_TCK")
ROWS = {
    "none": (1, "Lua that prints, no socket"),
    "floor": (1, "constant bytes, answer not read"),
    "stored": (1, "constant bytes but for the id"),
    "raw": (1, "resty.reeve enqueue, a string"),
    "reeve": (1, "resty.reeve enqueue, a table of 240 B"),
    "resty": (1, "lua-resty-redis, the same commands"),
    "floor20": (20, "constant bytes of 20"),
    "stored20": (20, "constant bytes but for 20 ids"),
    "raw20": (20, "resty.reeve enqueue_many of 20 strings"),
    "reeve20": (20, "resty.reeve enqueue_many of 20 tables"),
}
WORKER = """
    local busy = function() ngx.sleep(0.05) end
    assert(require("resty.reeve.worker").start {{
        url = "{url}", queues = {{ "load" }}, concurrency = 64,
        handlers = {{ busy = busy, none = function() end }} }})
"""


def cpu_s(pid: int) -> float:
    """utime + stime of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def wrk(url: str, seconds: int, connections: int = 32) -> tuple[int, dict[str, str]]:
    """Requests done, and the latencies by percentile."""
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", url]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    if "Non-2xx" in text:
        sys.exit(f"bench: {url} failed:\n{text}")
    found = re.search(r"(\d+) requests in", text)
    assert found
    return int(found[1]), dict(re.findall(r"^ +(\d+)% +(\S+)$", text, re.M))


def location(name: str) -> str:
    return f"location /{name} {{ content_by_lua_block {{ require('nginx_bench').{name}() }} }}\n"


def measure_cost(args: argparse.Namespace, folder: Path) -> None:
    from nginx import Nginx
    from servers import RedisServer

    names = [name for name in ROWS if name != "resty" or args.redis_lua]
    costs: dict[str, list[float]] = {name: [] for name in names}
    rates: dict[str, list[float]] = {name: [] for name in names}
    with RedisServer(folder / "redis") as redis:
        nginx = Nginx(
            folder / "cost",
            http=f'init_worker_by_lua_block {{ require("nginx_bench").init("{redis.url}") }}',
            server="".join(location(name) for name in names),
            level="error",
            lua_path=f"{ROOT}/tests/bench/?.lua;{args.redis_lua or folder}/?.lua",
        )
        with nginx:
            pid = nginx.workers()[0]
            for _ in range(args.rounds):
                for name in names:
                    redis.command("FLUSHDB")
                    before = cpu_s(pid)
                    count, _ = wrk(f"http://127.0.0.1:{nginx.port}/{name}", args.seconds)
                    costs[name].append((cpu_s(pid) - before) / count * 1e6)
                    rates[name].append(count / args.seconds)
    if args.costs:
        found = {
            name: {"tasks": ROWS[name][0], "cpu_us": costs[name], "per_s": rates[name]}
            for name in names
        }
        args.costs.write_text(json.dumps(found))
    floors = {1: statistics.median(costs["floor"]), 20: statistics.median(costs["floor20"])}
    print(f"nginx CPU, {args.rounds} rounds of {args.seconds} s, wrk -t1 -c32")
    print(f"{'':40}{'us/request':>12}{'spread':>14}{'us/task':>9}{'/floor':>8}{'req/s':>9}")
    for name in names:
        count, words = ROWS[name]
        cost = statistics.median(costs[name])
        spread = f"{min(costs[name]):.1f}-{max(costs[name]):.1f}"
        ratio = cost / floors[count]
        rate = statistics.median(rates[name])
        task = f"{cost / count:.2f}" if name != "none" else "-"
        print(f"{words:40}{cost:12.1f}{spread:>14}{task:>9}{ratio:8.2f}{rate:9.0f}")


def fill(url: str, task: str, count: int) -> None:
    """Tasks for the worker, put there by the C core."""
    from reeve import App

    with App(url) as app:
        for _ in range(count):
            app.enqueue(task, {}, queue="load")


def done_total(url: str) -> int:
    from reeve import App

    with App(url) as app:
        return sum(queue.done_total for queue in app.queues())


def measure_latency(args: argparse.Namespace, folder: Path) -> None:
    """HTTP latency without a worker, with an idle one, with 64 light threads at work."""
    from nginx import Nginx
    from servers import RedisServer

    server = "location /plain { content_by_lua_block { ngx.print('plain') } }"
    print(f"\nHTTP latency of a Lua page, wrk -t1 -c8, {args.seconds} s")
    print(f"{'':40}{'p50':>10}{'p90':>10}{'p99':>10}{'req/s':>10}{'tasks/s':>10}")
    for words, task in (
        ("no worker", None),
        ("idle worker", ""),
        ("64 threads, 50 ms tasks", "busy"),
    ):
        with RedisServer(folder / f"redis-{task}") as redis:
            start = WORKER.format(url=redis.url)
            http = f"init_worker_by_lua_block {{ {start} }}" if task is not None else ""
            if task:
                fill(redis.url, task, 2000 * args.seconds)
            with Nginx(
                folder / f"latency-{task}", http=http, server=server, level="error"
            ) as nginx:
                time.sleep(0.5)  # until the worker is in full swing
                before, began = done_total(redis.url) if task else 0, time.monotonic()
                url = f"http://127.0.0.1:{nginx.port}/plain"
                count, spans = wrk(url, args.seconds, 8)
                rate = (done_total(redis.url) - before) / (time.monotonic() - began) if task else 0
                print(
                    f"{words:40}{spans['50']:>10}{spans['90']:>10}{spans['99']:>10}"
                    f"{count / args.seconds:10.0f}{rate:10.0f}"
                )


def measure_worker(args: argparse.Namespace, folder: Path) -> None:
    """No-op tasks of one nginx worker: how many, at what cost."""
    from nginx import Nginx
    from servers import RedisServer

    count = 20_000 * args.rounds
    with RedisServer(folder / "redis-noop") as redis:
        fill(redis.url, "none", count)
        http = f"init_worker_by_lua_block {{ {WORKER.format(url=redis.url)} }}"
        began = time.monotonic()
        with Nginx(folder / "noop", http=http, level="error") as nginx:
            pid = nginx.workers()[0]
            while done_total(redis.url) < count:
                time.sleep(0.05)
            took, used = time.monotonic() - began, cpu_s(pid)
    print(f"\nno-op tasks in one nginx worker, 64 light threads: {count / took:.0f} tasks/s,")
    print(f"{used / count * 1e6:.1f} us of nginx CPU a task ({count} tasks)")


def main() -> None:
    parser = argparse.ArgumentParser(description="Measures reeve inside nginx.")
    parser.add_argument("--build", default=ROOT / "build-bench", type=Path)
    parser.add_argument("--seconds", default=4, type=int)
    parser.add_argument("--rounds", default=3, type=int)
    parser.add_argument("--redis-lua", type=Path)
    parser.add_argument("--costs", metavar="FILE", type=Path)
    args = parser.parse_args()
    os.environ["REEVE_BUILD_DIR"] = str(args.build.resolve())
    with tempfile.TemporaryDirectory() as scratch:
        Path(scratch).chmod(0o755)
        measure_cost(args, Path(scratch))
        if args.costs:
            return
        measure_latency(args, Path(scratch))
        measure_worker(args, Path(scratch))


if __name__ == "__main__":
    main()
