#!/bin/sh
# Become tritonserver on /models; the arguments are tritonserver's own. The file AI102_SECRET_FILE holds the word that opens
# the admin APIs; where no file is named, they stay shut. AI102_TRITON_ARGUMENTS has more arguments, with spaces between
# them and in none: those of the table [server] of models.toml.
set -euf

if [ -n "${AI102_SECRET_FILE:-}" ]; then
    secret=$(cat "$AI102_SECRET_FILE")
else
    secret=$(od -An -N24 -tx1 /dev/urandom | tr -d ' \n')
fi
admin="model-repository,shared-memory,trace,logging:ai102-secret=$secret"

# A pod's /dev/shm outlives its container: what a killed server left there would fill it.
if [ -n "${AI102_SHM_IS_OWN:-}" ]; then
    find /dev/shm -mindepth 1 -maxdepth 1 -name 'triton_python_backend_shm_region_*' -delete
fi

# The CPU image's backends; NVIDIA's image has its own places.
root=/opt/triton/pytriton/tritonserver
if [ -d "$root" ]; then
    set -- --backend-directory="$root/backends" --cache-directory="$root/caches" --allow-gpu-metrics=false "$@"
fi

# shellcheck disable=SC2086  # several arguments
exec tritonserver --model-repository=/models --exit-timeout-secs=5 --grpc-infer-allocation-pool-size=32 \
    --http-restricted-api="$admin" --grpc-restricted-protocol="$admin" \
    ${AI102_TRITON_ARGUMENTS:-} "$@"
