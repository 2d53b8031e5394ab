"""Runs a busted spec inside a private nginx, against private servers; prints what failed and
leaves the counts in a file, as report.lua does. Ends all that it started.

    python3 tests/support/busted_nginx.py SPEC REPORT [--phase request|timer]

Under AddressSanitizer and UBSan, with the modules of `make asan`; so do tests/e2e/test_openresty*:

    REEVE_BUILD_DIR=build-asan ASAN_OPTIONS=detect_leaks=0 REEVE_NGINX_PRELOAD="$(gcc
    -print-file-name=libasan.so) $(gcc -print-file-name=libubsan.so)" python3 tests/support/…
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import socket
import sys
import tempfile
from http.client import HTTPException
from pathlib import Path
from urllib.parse import urlencode

from certificates import make_certificates
from nginx import ROOT, Nginx
from proxy import DOWN, Fault, Proxy
from servers import RedisServer, free_port

TIMEOUT_S = 120
SERVER = "location /spec { content_by_lua_block { require('spec_runner')() } }"
OUTPUT = ROOT / "tests" / "lua" / "support" / "report.lua"
RIGHT, WRONG = "open-sesame", "open-barley"


def plain_servers(stack: contextlib.ExitStack, scratch: Path) -> dict[str, object]:
    """A server, also on a unix socket, and the ways in which it may not be reached."""
    path = scratch / "redis.sock"
    redis = stack.enter_context(RedisServer(scratch / "redis", unixsocket=str(path)))
    silent = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
    proxy = stack.enter_context(Proxy(redis.port))
    draw = random.Random(7)
    proxy.choose = lambda: Fault("cut", DOWN, draw.randrange(500, 3500))
    return {
        "url": redis.url,
        "server": f"127.0.0.1:{redis.port}",
        "unix_url": f"redis+unix://{path}",
        "down_url": f"redis://127.0.0.1:{free_port()}",
        "silent_url": f"redis://127.0.0.1:{silent.getsockname()[1]}",
        "cutting_url": proxy.url,
    }


def guarded_servers(
    stack: contextlib.ExitStack, scratch: Path, certificates: Path
) -> dict[str, object]:
    """A server with a password and one with TLS."""
    locked = stack.enter_context(RedisServer(scratch / "locked", requirepass=RIGHT))
    port = free_port()
    options = {
        "tls_port": str(port),
        "tls_cert_file": str(certificates / "server.pem"),
        "tls_key_file": str(certificates / "server.key"),
        "tls_ca_cert_file": str(certificates / "ca.pem"),
        "tls_auth_clients": "no",
    }
    stack.enter_context(RedisServer(scratch / "tls", **options))
    return {
        "locked": f"127.0.0.1:{locked.port}",
        "right_password": RIGHT,
        "wrong_password": WRONG,
        "tls_url": f"rediss://127.0.0.1:{port}/0",
    }


def run_spec(spec: Path, report: Path, phase: str, scratch: Path) -> int:
    certificates = make_certificates(scratch / "certificates")
    trust = f"lua_ssl_trusted_certificate {certificates}/ca.pem; lua_ssl_verify_depth 2;"
    lua = f"{ROOT}/tests/lua/?.lua"
    with contextlib.ExitStack() as stack:
        given = plain_servers(stack, scratch)
        given |= guarded_servers(stack, scratch, certificates)
        server = Nginx(scratch / "nginx", http=trust, server=SERVER, lua_path=lua)
        nginx = stack.enter_context(server)
        given |= {"tests": str(ROOT / "tests"), "log": str(nginx.prefix / "error.log")}
        given_path = scratch / "given.json"
        given_path.write_text(json.dumps(given))
        query: dict[str, object] = {"spec": spec, "output": OUTPUT, "report": report}
        query |= {"given": given_path, "phase": phase, "timeout": TIMEOUT_S}
        try:
            status, text = nginx.get("/spec?" + urlencode(query), timeout_s=TIMEOUT_S)
        except (OSError, HTTPException) as error:  # a crash or no end; its log says more
            status, text = 0, f"{error!r}\n"
        print(text, end="")
        log = nginx.log()
    # A worker that crashed is started anew, and says so in the log alone.
    good = status == 200 and "[alert]" not in log and "[emerg]" not in log
    if not good:
        print(f"nginx answered {status}; its log ends with:\n{log[-3000:]}")
    return 0 if good else 1


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("spec", type=Path)
    parser.add_argument("report", type=Path)
    parser.add_argument("--phase", choices=("request", "timer"), default="request")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        return run_spec(args.spec.resolve(), args.report.resolve(), args.phase, Path(scratch))


if __name__ == "__main__":
    sys.exit(main())
