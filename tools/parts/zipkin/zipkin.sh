#!/bin/sh
# Starts Zipkin: JAVA_OPTS goes to java, and Zipkin's own variables (QUERY_PORT, STORAGE_TYPE, ...) hold.
lib=$(dirname "$(readlink -f "$0")")/../lib
# shellcheck disable=SC2086  # several options
exec java ${JAVA_OPTS:--Xmx384m} -jar "$lib"/zipkin-server-*-exec.jar "$@"
