#!/usr/bin/env bash
# Debian's packages that the tests use: proxies, their Lua, a browser, Triton's allocator, Redis, PostgreSQL. As root it installs
# those that are missing, and lets none of them start as a service; otherwise it says which tests will skip, and goes on.
set -euo pipefail
cd "$(dirname "$0")/.."

declare -A tells=([haproxy]=haproxy [nginx-light]=nginx [lua5.3]=lua5.3 [lua5.1]=lua5.1 [chromium]=chromium [curl]=curl
    [redis-server]=redis-server)
missing=()
for package in "${!tells[@]}"; do
    PATH=$PATH:/usr/sbin command -v "${tells[$package]}" >/dev/null || missing+=("$package")
done
[ -e /usr/lib/nginx/modules/ngx_http_lua_module.so ] || missing+=(libnginx-mod-http-lua)
ls /usr/lib/*/lua/5.3/cjson.so >/dev/null 2>&1 || missing+=(lua-cjson)
ls /usr/lib/*/lua/5.3/_openssl.so >/dev/null 2>&1 || missing+=(lua-luaossl)
ls /usr/lib/*/libtcmalloc_minimal.so.4 >/dev/null 2>&1 || missing+=(libtcmalloc-minimal4)
ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || missing+=(postgresql)
[ "${#missing[@]}" -gt 0 ] || exit 0

if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "proxies: ${missing[*]} missing: tests that need them skip; 'apt-get install ${missing[*]}' brings them" >&2
    exit 0
fi
echo "proxies: installing ${missing[*]} (log in build/proxies.log)"
mkdir -p build
services=/usr/sbin/policy-rc.d
if [ ! -e "$services" ]; then
    printf '#!/bin/sh\nexit 101\n' >"$services" && chmod +x "$services"
    trap 'rm -f "$services"' EXIT
fi
{ apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "${missing[@]}"; } \
    >build/proxies.log 2>&1 || echo "proxies: apt-get failed (log in build/proxies.log): tests that need them skip" >&2
