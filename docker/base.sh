#!/bin/sh
# Where no registry is reachable: make the base image of the Dockerfiles from Debian's packages, under the name that it has
# in a registry. Usage: docker/base.sh [NAME]. DEBIAN_MIRROR names a mirror; default: the one of this machine's apt.
set -eu

name=${1:-debian:bookworm-slim}
release=bookworm
# Debian's slim images leave these out.
without_documents='
    --dpkgopt=path-exclude=/usr/share/doc/*
    --dpkgopt=path-include=/usr/share/doc/*/copyright
    --dpkgopt=path-exclude=/usr/share/man/*
    --dpkgopt=path-exclude=/usr/share/info/*
    --dpkgopt=path-exclude=/usr/share/locale/*
    --dpkgopt=path-exclude=/usr/share/groff/*
    --dpkgopt=path-exclude=/usr/share/lintian/*'

for program in mmdebstrap docker; do
    command -v "$program" >/dev/null || { echo "base: $program is missing: apt-get install mmdebstrap docker.io" >&2; exit 2; }
done

# What apt of this machine reads, if it is of the same release; a sandbox of yours may reach no other mirror.
own=/etc/apt/sources.list.d/debian.sources
if [ -n "${DEBIAN_MIRROR:-}" ]; then
    sources="deb $DEBIAN_MIRROR $release main
deb $DEBIAN_MIRROR $release-updates main"
elif grep -qs "^Suites:.* $release\b\|^Suites: *$release\b" "$own"; then
    sources=$(cat "$own")
else
    sources=
fi

echo "base: no registry is asked for $name: it is made from Debian's packages by mmdebstrap" >&2
# usr-is-merged spares perl, which usrmerge would bring. Without sources mmdebstrap takes Debian's own mirrors.
# shellcheck disable=SC2086
printf '%s\n' "$sources" |
    mmdebstrap --quiet --variant=minbase --include=usr-is-merged --hook-dir=/usr/share/mmdebstrap/hooks/merged-usr \
        $without_documents "$release" - ${sources:+-} |
    docker import --change 'CMD ["bash"]' --change 'LABEL ai102.base=mmdebstrap' - "$name" >/dev/null
echo "base: $name is made; it is not the registry's image of that name" >&2
