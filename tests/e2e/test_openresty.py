"""The client inside nginx: each case of tests/lua/nginx/cases.lua is one request to a private
nginx, against private servers. The worker has a file of its own."""

from __future__ import annotations

import random
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "support"))

from nginx import Nginx  # noqa: E402
from proxy import DOWN, Fault, Proxy  # noqa: E402
from servers import RedisServer, free_port  # noqa: E402

pytestmark = pytest.mark.timeout(120)

SERVER = "location /case { content_by_lua_block { require('run')() } }"
PLAIN = [
    "enqueue",
    "raw",
    "delayed",
    "same_id_is_refused",
    "idempotency",
    "many",
    "many_is_one_round_trip",
    "bad_input",
    "markers",
    "keepalive",
    "pools_by_database",
    "script_flush",
    "lost_connection",
    "aborted_request_leaves_clean_pool",
    "wrong_type_of_key",
    "version_skew",
]


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An authority and a server's certificate for localhost."""
    folder = tmp_path_factory.mktemp("tls")

    def openssl(*words: str) -> None:
        subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True)

    new = ["req", "-newkey", "rsa:2048", "-nodes"]
    openssl(*new, "-x509", "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=test ca")
    openssl(*new, "-keyout", "server.key", "-out", "server.csr", "-subj", "/CN=localhost")
    (folder / "names").write_text("subjectAltName=DNS:localhost,DNS:redis.test\n")
    openssl(
        *["x509", "-req", "-in", "server.csr", "-CA", "ca.pem", "-CAkey", "ca.key"],
        *["-CAcreateserial", "-extfile", "names", "-out", "server.pem"],
    )
    return folder


@pytest.fixture(scope="module")
def nginx(tmp_path_factory: pytest.TempPathFactory, certificates: Path) -> Iterator[Nginx]:
    trust = f"lua_ssl_trusted_certificate {certificates}/ca.pem; lua_ssl_verify_depth 2;"
    with Nginx(tmp_path_factory.mktemp("nginx"), http=trust, server=SERVER) as server:
        yield server
        assert "[alert]" not in server.log()


def run_case(nginx: Nginx, name: str, **env: str) -> None:
    status, text = nginx.get("/case?" + urlencode({"case": name, **env}))
    assert (status, text) == (200, "ok\n"), f"{text}\n{nginx.log()[-2000:]}"


@pytest.mark.parametrize("name", PLAIN)
def test_client(nginx: Nginx, redis: RedisServer, name: str) -> None:
    redis.command("FLUSHALL")
    run_case(nginx, name, url=redis.url)


def test_redis_down(nginx: Nginx) -> None:
    run_case(nginx, "redis_down", url=f"redis://127.0.0.1:{free_port()}")
    assert nginx.get("/case?case=markers")[0] == 200  # nginx is up


def test_redis_hangs(nginx: Nginx) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        run_case(nginx, "redis_hangs", url=f"redis://127.0.0.1:{silent.getsockname()[1]}")


def test_password(nginx: Nginx, tmp_path: Path) -> None:
    with RedisServer(tmp_path, requirepass="secret") as server:
        right = f"redis://:secret@127.0.0.1:{server.port}"
        wrong = f"redis://:wrong@127.0.0.1:{server.port}"
        run_case(nginx, "wrong_password", url=wrong)
        run_case(nginx, "wrong_password", url=f"redis://127.0.0.1:{server.port}")
        run_case(nginx, "right_password", url=right, wrong_url=wrong)
    log = nginx.log()
    assert "secret" not in log
    assert "wrong@" not in log


def test_lost_answers(nginx: Nginx, redis: RedisServer) -> None:
    """Answers that never come: every task is there once, with the id of the first try."""
    redis.command("FLUSHALL")
    draw = random.Random(7)
    with Proxy(redis.port) as proxy:
        proxy.choose = lambda: Fault("cut", DOWN, draw.randrange(500, 3500))
        run_case(nginx, "lost_answers", url=proxy.url, direct=redis.url)
        assert proxy.fired >= 5, proxy.fired


def test_unix_socket(nginx: Nginx, tmp_path: Path) -> None:
    path = tmp_path / "r.sock"
    with RedisServer(tmp_path, unixsocket=str(path)):
        run_case(nginx, "unix_socket", url=f"redis+unix://{path}")


@pytest.fixture(scope="module")
def tls_port(certificates: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    port = free_port()
    options = {
        "tls_port": str(port),
        "tls_cert_file": str(certificates / "server.pem"),
        "tls_key_file": str(certificates / "server.key"),
        "tls_ca_cert_file": str(certificates / "ca.pem"),
        "tls_auth_clients": "no",
    }
    with RedisServer(tmp_path_factory.mktemp("redis-tls"), **options):
        yield port


def test_tls(nginx: Nginx, tls_port: int) -> None:
    url = f"rediss://127.0.0.1:{tls_port}/0"
    run_case(nginx, "tls", url=f"{url}?tls_server_name=localhost")
    # A certificate for another name, in its own pool: not the connection from above.
    run_case(nginx, "tls_refused", url=url, why="certificate")
    run_case(nginx, "tls_refused", url=f"{url}?tls_server_name=other.test", why="certificate")
    run_case(nginx, "tls", url=f"{url}?tls_verify=no")


def test_tls_needs_the_authority(tmp_path: Path, tls_port: int) -> None:
    with Nginx(tmp_path, server=SERVER) as server:
        url = f"rediss://127.0.0.1:{tls_port}/0?tls_server_name=localhost"
        run_case(server, "tls_refused", url=url, why="certificate")


def test_phase_without_cosockets(tmp_path: Path, redis: RedisServer) -> None:
    """Where nginx has no cosockets the answer is an error, not a crash."""
    http = f"""init_worker_by_lua_block {{
        local client = assert(require("resty.reeve").new {{ url = "{redis.url}" }})
        local info, err, code = client:enqueue("t", {{}})
        ngx.log(ngx.WARN, "answer: ", tostring(info), " ", code, " ", err)
    }}"""
    with Nginx(tmp_path, http=http) as server:
        server.wait_log("answer: nil usage there are no cosockets")


def test_code_cache_off(tmp_path: Path, redis: RedisServer) -> None:
    """A new Lua state for each request: nothing is left behind that crashes."""
    redis.command("FLUSHALL")
    with Nginx(tmp_path, http="lua_code_cache off;", server=SERVER) as server:
        for _ in range(30):
            run_case(server, "idempotency", url=redis.url)
            redis.command("DEL", "reeve:{once}:once:order 1")
        assert "signal" not in server.log()
