#!/bin/sh
# Makes sure that what a make target needs is on this machine (Debian 12, Ubuntu
# 24.04 or like them). Each need is probed by what it gives, not by its package
# name, so tools that came another way count too. Installs only what is missing,
# with sudo only when not root.
#
#   tools/setup.sh SET…      sets: build, test, nginx, fuzz, valgrind, count, bench
set -eu

missing=""

# need PACKAGE COMMAND… : PACKAGE is missing when COMMAND fails.
need() {
    package=$1
    shift
    "$@" >/dev/null 2>&1 || missing="$missing $package"
}

has() { command -v "$1"; }
lib() { has pkg-config && pkg-config --exists "$1"; }
toolchain() { has gcc && has g++ && has make; }
python_header() {
    python3 -c 'import os, sysconfig, sys
sys.exit(not os.path.exists(sysconfig.get_path("include") + "/Python.h"))'
}

# The runtime of clang's sanitizers and of its fuzzer is a package of its own.
clang_fuzzes() {
    echo 'int LLVMFuzzerTestOneInput(void) { return 0; }' |
        clang -x c -fsanitize=fuzzer,address - -o /dev/null
}

# nginx with Lua: Debian's module, or an nginx that has it built in.
nginx_lua() {
    [ -e /usr/lib/nginx/modules/ngx_http_lua_module.so ] ||
        nginx -V 2>&1 | grep -q lua
}
PATH=$PATH:/usr/sbin:/sbin

for set in "$@"; do
    case $set in
    nginx)
        need nginx has nginx
        need libnginx-mod-http-lua nginx_lua
        need redis-server has redis-server
        need wrk has wrk
        ;;
    build)
        need build-essential toolchain
        need cmake has cmake
        need ninja-build has ninja
        need pkg-config has pkg-config
        need libhiredis-dev lib 'hiredis >= 0.14.1'
        need libcjson-dev lib libcjson
        need libssl-dev lib 'openssl >= 3'
        need libsqlite3-dev lib 'sqlite3 >= 3.37'
        need libcmocka-dev lib cmocka
        need liblua5.4-dev lib 'lua5.4 >= 5.4'
        # Not libluajit-5.1-dev: nginx's Lua module conflicts with it.
        need libluajit2-5.1-dev lib 'luajit >= 2.1'
        need python3-venv python3 -c 'import ensurepip, venv'
        need python3-dev python_header
        need redis-server has redis-server
        ;;
    test)
        need openssl has openssl
        need faketime has faketime
        need stunnel4 has stunnel4
        need clang has clang
        need abigail-tools has abidiff
        need lua5.4 has lua5.4
        need luajit2 has luajit
        need lua-busted has busted
        need lua-check has luacheck
        need luarocks has luarocks
        ;;
    fuzz)
        need clang has clang
        need libclang-rt-dev clang_fuzzes
        ;;
    valgrind) need valgrind has valgrind ;;
    bench)
        need redis-server has redis-server
        need lua5.4 has lua5.4
        need golang-go has go
        need nodejs has node
        need npm has npm
        ;;
    count)
        need valgrind has valgrind
        need strace has strace
        need lua5.4 has lua5.4
        ;;
    *)
        echo "setup: no such set: $set" >&2
        exit 2
        ;;
    esac
done

[ -n "$missing" ] || exit 0

echo "setup: missing:$missing"
if ! command -v apt-get >/dev/null; then
    echo "setup: no apt-get here; please install these packages" >&2
    exit 1
fi
sudo=""
if [ "$(id -u)" != 0 ]; then
    if ! command -v sudo >/dev/null; then
        echo "setup: not root and no sudo; please install these packages" >&2
        exit 1
    fi
    sudo=sudo
fi

# Packages of servers start them at once; tests start their own on private
# sockets, so the starting is refused for the time of the installation.
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
    trap '$sudo rm -f $policy' EXIT
    trap 'exit 130' INT TERM
    printf '#!/bin/sh\nexit 101\n' | $sudo tee $policy >/dev/null
    $sudo chmod 755 $policy
fi

echo "setup: apt-get install --no-install-recommends$missing"
$sudo apt-get update -qq
# shellcheck disable=SC2086 # a list of words
$sudo env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -qq --no-install-recommends $missing
