#!/bin/sh
# Make .venv for a profile: `run` (core, running and reports) or `dev` (everything and test tools).
# Does nothing when .venv already holds the profile for this constraints.txt.
set -eu
cd "$(dirname "$0")/.."
profile=${1:-dev}
python=${PYTHON:-python3}

say() { printf 'setup: %s\n' "$*"; }
fail() { printf 'setup: %s\n' "$*" >&2; exit 1; }

# System packages: installed when we may (root with apt-get), else the one command is printed.
missing=''
want() { # COMMAND PACKAGE
    command -v "$1" >/dev/null 2>&1 || missing="$missing $2"
}
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null ||
    fail "found $("$python" --version 2>&1), wanted Python 3.11 or newer; set PYTHON=/path/to/python3"
"$python" -c 'import ensurepip, venv' 2>/dev/null ||
    missing="$missing python3-venv"
if [ "$profile" = dev ]; then
    want g++ g++
    want iverilog iverilog
    want chromium chromium
    want clang clang
    want aarch64-linux-gnu-gcc "gcc-aarch64-linux-gnu libc6-dev-arm64-cross"
    want arm-linux-gnueabihf-gcc "gcc-arm-linux-gnueabihf libc6-dev-armhf-cross"
    want qemu-arm qemu-user
fi
if [ -n "$missing" ]; then
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
        say "installing system packages:$missing"
        log=$(mktemp)
        { apt-get update -q && DEBIAN_FRONTEND=noninteractive \
            apt-get install -y -q --no-install-recommends $missing; } >"$log" 2>&1 ||
            { tail -20 "$log" >&2; rm -f "$log"; fail "apt-get could not install:$missing"; }
        rm -f "$log"
    else
        fail "system packages are missing; run: sudo apt-get install -y$missing"
    fi
fi

# A new constraints file means a new environment; a changed pyproject.toml only another pip run.
key=.venv/.constraints-$(sha256sum <constraints.txt | cut -c1-16)
have=$(sha256sum <pyproject.toml | cut -c1-16)
if [ -d .venv ] && [ ! -e "$key" ]; then
    say "constraints.txt changed: making .venv anew"
    rm -rf .venv
fi
[ -e ".venv/.have-dev-$have" ] && exit 0
[ -e ".venv/.have-$profile-$have" ] && exit 0

start=$(date +%s)
if [ ! -d .venv ]; then
    "$python" -m venv .venv
    touch "$key"
fi
case $profile in
run) extras='run,report' ;;
dev) extras='dev' ;;
*) fail "found profile $profile, wanted run or dev" ;;
esac
say "installing orrery[$extras] into .venv (once; a few minutes the first time)"
# The constraints pin torch without a build tag: where a CPU build is offered, pip may take it.
.venv/bin/python -m pip install --quiet --disable-pip-version-check \
    --constraint constraints.txt --editable ".[$extras]"
touch ".venv/.have-$profile-$have"
say "ready in $(($(date +%s) - start)) s: .venv/bin/orrery"
