#!/bin/sh
# Starts an OpenSearch node: opensearch -Epath.home=FOLDER [-Ekey=value ...]. OPENSEARCH_JAVA_OPTS goes to java.
part=$(dirname "$(readlink -f "$0")")/..
# shellcheck disable=SC2086  # several options
exec java ${OPENSEARCH_JAVA_OPTS:--Xms512m -Xmx512m} -Dorg.apache.logging.log4j.level="${OPENSEARCH_LOG_LEVEL:-WARN}" \
    -cp "$part/classes:$part/lib/*" ai102.opensearch.Main "$@"
