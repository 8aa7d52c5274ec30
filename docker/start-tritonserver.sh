#!/bin/sh
# Become tritonserver on /models, or AI102_MODELS; the arguments are tritonserver's own. The file AI102_SECRET_FILE holds
# the word that opens the admin APIs; where no file is named, they stay shut. AI102_TRITON_ARGUMENTS has more arguments,
# with spaces between them and in none: those of the table [server] of models.toml.
set -eu
repository=${AI102_MODELS:-/models}

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

# Triton completes each config before it loads the model: a Python model's process is started once more to be asked. Where
# no config lacks anything, and no model.py would add to it, that is left out: half of the time to start.
lacks_nothing() {
    for folder in "$repository"/*/; do
        for key in input output max_batch_size 'backend\|platform'; do
            grep -qs "^\($key\)\b" "${folder}config.pbtxt" || return 1
        done
    done
    ! grep -qs auto_complete_config "$repository"/*/*/model.py
}
if lacks_nothing; then
    set -- --disable-auto-complete-config "$@"
fi

# Records of answers need the id of the call, which a mirrored copy of it shares: ai102_runtime/recording.py.
if [ -n "${AI102_ANSWERS_URL:-}" ]; then
    set -- "--http-header-forward-pattern=^x-request-id$" "--grpc-header-forward-pattern=^x-request-id$" "$@"
fi

set -f
# shellcheck disable=SC2086  # several arguments
exec tritonserver --model-repository="$repository" --exit-timeout-secs=5 --grpc-infer-allocation-pool-size=32 \
    --http-restricted-api="$admin" --grpc-restricted-protocol="$admin" \
    ${AI102_TRITON_ARGUMENTS:-} "$@"
