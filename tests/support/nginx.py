"""nginx processes of a test's own: private prefix and port, ended by their own pid alone."""

from __future__ import annotations

import http.client
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

from servers import free_port

ROOT = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("REEVE_BUILD_DIR", ROOT / "build-dev"))
NGINX = shutil.which("nginx") or "/usr/sbin/nginx"
MODULES = Path(os.environ.get("REEVE_NGINX_MODULES", "/usr/lib/nginx/modules"))
# A library for nginx alone to load first, such as AddressSanitizer's.
PRELOAD = os.environ.get("REEVE_NGINX_PRELOAD", "")
LUA_MODULES = ("ndk_http_module.so", "ngx_http_lua_module.so")

TEMPLATE = """\
{modules}
{user}
daemon off;
worker_processes {workers};
pid {prefix}/nginx.pid;
error_log {prefix}/error.log {level};
{main}
events {{ worker_connections 1024; }}
http {{
    access_log off;
    client_body_temp_path {prefix}/body;
    proxy_temp_path {prefix}/proxy;
    fastcgi_temp_path {prefix}/fastcgi;
    uwsgi_temp_path {prefix}/uwsgi;
    scgi_temp_path {prefix}/scgi;
    lua_package_path "{lua_path};;";
    lua_package_cpath "{build}/lua/5.1/?.so;;";
    lua_socket_log_errors off;
    {http}
    server {{
        listen 127.0.0.1:{port};
        {server}
    }}
}}
"""


def load_modules() -> str:
    """The lines that load Lua, for an nginx that has it as a module."""
    paths = [MODULES / name for name in LUA_MODULES]
    return "\n".join(f"load_module {path};" for path in paths if path.exists())


class Nginx:
    """One nginx, master and workers. `http` and `server` are pieces of its configuration."""

    def __init__(
        self,
        prefix: Path,
        *,
        http: str = "",
        server: str = "",
        main: str = "",
        workers: int = 1,
        level: str = "info",
        lua_path: str = "",
    ) -> None:
        self.prefix = prefix
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None
        self.count = workers
        prefix.mkdir(parents=True, exist_ok=True)
        own = f"{ROOT}/lua/?.lua;{ROOT}/tests/lua/nginx/?.lua"
        self.fields = {
            "modules": load_modules(),
            # Else workers of root become nobody, who may not enter a test's folder.
            "user": "user root;" if os.geteuid() == 0 else "",
            "workers": workers,
            "prefix": prefix,
            "level": level,
            "main": main,
            "lua_path": f"{lua_path};{own}" if lua_path else own,
            "build": BUILD,
            "http": http,
            "port": self.port,
            "server": server,
        }
        self.write()

    def write(self, **fields: str) -> None:
        """Writes the configuration; a reload or a start reads it."""
        self.fields.update(fields)
        (self.prefix / "nginx.conf").write_text(TEMPLATE.format(**self.fields))

    def start(self) -> Nginx:
        command = [NGINX, "-p", str(self.prefix), "-c", "nginx.conf", "-e", "error.log"]
        env = {**os.environ, "LD_PRELOAD": PRELOAD} if PRELOAD else None
        with open(self.prefix / "out.log", "ab") as out:
            self.process = subprocess.Popen(command, stdout=out, stderr=out, env=env)
        self.wait()
        return self

    def wait(self, timeout_s: float = 20.0) -> None:
        """Returns when all its workers are there and it accepts connections."""
        end = time.monotonic() + timeout_s
        while time.monotonic() < end:
            if self.process is None or self.process.poll() is not None:
                raise RuntimeError(f"nginx ended: {self.log()[-3000:]}")
            try:
                self.connect(1.0).close()
                if len(self.workers()) >= self.count:
                    return
            except OSError:
                pass
            time.sleep(0.01)
        raise TimeoutError("nginx does not answer")

    def connect(self, timeout_s: float = 30.0) -> http.client.HTTPConnection:
        conn = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout_s)
        conn.connect()
        return conn

    def get(self, path: str, body: str | None = None, timeout_s: float = 30.0) -> tuple[int, str]:
        """Status and text of one request."""
        conn = self.connect(timeout_s)
        try:
            conn.request("POST" if body is not None else "GET", path, body)
            answer = conn.getresponse()
            return answer.status, answer.read().decode()
        finally:
            conn.close()

    def log(self) -> str:
        parts = [self.prefix / name for name in ("error.log", "out.log")]
        return "".join(p.read_text(errors="replace") for p in parts if p.exists())

    def wait_log(self, text: str, timeout_s: float = 20.0) -> None:
        """Returns when the log has text."""
        end = time.monotonic() + timeout_s
        while text not in self.log():
            assert time.monotonic() < end, f"no '{text}' in {self.log()[-3000:]}"
            time.sleep(0.01)

    def workers(self) -> list[int]:
        """Pids of the worker processes, those that are leaving too."""
        assert self.process is not None
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return [int(pid) for pid in children.read_text().split()]

    def send(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def reload(self) -> None:
        """HUP; returns when all new workers are there: two signals too close become one."""
        before = set(self.workers())
        self.send(signal.SIGHUP)
        end = time.monotonic() + 20
        while len(set(self.workers()) - before) < self.count:
            assert time.monotonic() < end, "no new workers after HUP"
            time.sleep(0.005)

    def stop(self, number: signal.Signals = signal.SIGTERM, timeout_s: float = 60.0) -> float:
        """Ends it; returns how many seconds that took."""
        if self.process is None:
            return 0.0
        start = time.monotonic()
        self.send(number)
        try:
            self.process.wait(timeout_s)
        finally:
            if self.process.poll() is None:
                self.process.kill()
                self.process.wait()
            self.process = None
        return time.monotonic() - start

    def __enter__(self) -> Nginx:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()
