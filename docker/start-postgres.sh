#!/bin/sh
# Starts PostgreSQL; where PGDATA is empty a database is made there first. The variables are those of the image `postgres`.
# PGDATA is a folder in the volume, not the volume itself: it is made beside and renamed, so that none is ever half made.
set -eu

: "${PGDATA:=/var/lib/postgresql/data/pgdata}"
: "${POSTGRES_USER:=postgres}"
: "${POSTGRES_DB:=$POSTGRES_USER}"

if [ ! -s "$PGDATA/PG_VERSION" ]; then
    : "${POSTGRES_PASSWORD_FILE:?names the file with the password of $POSTGRES_USER}"
    new=$PGDATA.new
    rm -rf "$new"
    initdb --pgdata="$new" --username="$POSTGRES_USER" --pwfile="$POSTGRES_PASSWORD_FILE" \
        --auth-local=trust --auth-host=scram-sha-256 --encoding=UTF8 --locale=C.UTF-8 --data-checksums >&2
    echo "host all all all scram-sha-256" >>"$new/pg_hba.conf"
    echo "listen_addresses = '*'" >>"$new/postgresql.conf"
    if [ "$POSTGRES_DB" != postgres ]; then
        echo "CREATE DATABASE \"$POSTGRES_DB\"" | postgres --single -D "$new" postgres >&2
    fi
    postgres --single -D "$new" "$POSTGRES_DB" </dev/null >&2    # it ends with 0 when a statement fails
    initdb --sync-only --pgdata="$new" >&2
    [ ! -d "$PGDATA" ] || rmdir "$PGDATA"
    mv "$new" "$PGDATA"
fi
case ${1:-} in postgres) shift ;; esac
exec postgres -D "$PGDATA" "$@"
