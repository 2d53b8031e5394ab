"""The client inside an nginx of an unusual configuration. What it does in a usual one is in
tests/lua/nginx/*_spec.lua, which busted runs inside nginx; the worker has a file of its own."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "support"))

from certificates import make_certificates  # noqa: E402
from nginx import Nginx  # noqa: E402
from servers import RedisServer, free_port  # noqa: E402

pytestmark = pytest.mark.timeout(120)


def location(url: str) -> str:
    """Answers with what an enqueue says; the query gives its idempotency key."""
    return f"""location /enqueue {{ content_by_lua_block {{
        local client = assert(require("resty.reeve").new {{ url = "{url}", timeout = 2 }})
        local info, err, code = client:enqueue("t", {{}}, {{ idempotency_key = ngx.var.arg_key }})
        ngx.say(info and "existing: " .. tostring(info.existing) or code .. ": " .. err)
    }} }}"""


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server


def test_nginx_outlives_redis(tmp_path: Path) -> None:
    """Redis dies under a kept connection, is missed, and comes again."""
    server = RedisServer(tmp_path / "redis")
    with server, Nginx(tmp_path / "nginx", server=location(server.url)) as nginx:
        before = nginx.workers()
        assert nginx.get("/enqueue") == (200, "existing: false\n")
        server.kill()
        status, text = nginx.get("/enqueue")
        assert (status, text.split(":")[0]) == (200, "network"), text
        server.start()
        assert nginx.get("/enqueue") == (200, "existing: false\n")
        assert nginx.workers() == before


def test_tls_needs_the_authority(tmp_path: Path) -> None:
    """Without lua_ssl_trusted_certificate no certificate is good."""
    folder, port = make_certificates(tmp_path / "tls"), free_port()
    options = {
        "tls_port": str(port),
        "tls_cert_file": str(folder / "server.pem"),
        "tls_key_file": str(folder / "server.key"),
        "tls_ca_cert_file": str(folder / "ca.pem"),
        "tls_auth_clients": "no",
    }
    place = location(f"rediss://127.0.0.1:{port}/0?tls_server_name=localhost")
    with RedisServer(tmp_path / "redis", **options):
        with Nginx(tmp_path / "nginx", server=place) as nginx:
            text = nginx.get("/enqueue")[1]
        assert text.startswith("tls: "), text
        assert "certificate" in text
        # It was the authority alone that was missing.
        trust = f"lua_ssl_trusted_certificate {folder}/ca.pem; lua_ssl_verify_depth 2;"
        with Nginx(tmp_path / "trusting", http=trust, server=place) as nginx:
            assert nginx.get("/enqueue")[1] == "existing: false\n"


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
    http = "lua_code_cache off;"
    with Nginx(tmp_path, http=http, server=location(redis.url)) as server:
        for i in range(30):
            path = f"/enqueue?key=order-{i}"
            assert server.get(path) == (200, "existing: false\n")
            assert server.get(path) == (200, "existing: true\n")
        assert "signal" not in server.log()
