# The GPU server: NVIDIA's own image with its backends, and what our Python models need.
#   docker build -f docker/server.gpu.Dockerfile -t ai102/server-gpu .
#   docker run --gpus all --read-only --tmpfs /tmp --cap-drop ALL -v models:/models:ro ai102/server-gpu
# Written and linted; not run on a GPU. Where NVIDIA's image cannot be pulled, the tests run the steps after FROM on the CPU
# base (tests/containers/test_images.py).
ARG BASE=nvcr.io/nvidia/tritonserver:24.10-py3

FROM ${BASE}
COPY docker/requirements/server.gpu.txt /src/requirements.txt
COPY tools/ai102_runtime /src/ai102_runtime
RUN --mount=type=secret,id=pip,target=/etc/pip.conf \
    --mount=type=secret,id=ca,target=/etc/ssl/certs/ca-certificates.crt \
    pip install -q --no-cache-dir --no-deps --requirement /src/requirements.txt \
 && pip install -q --no-cache-dir --no-deps /src/ai102_runtime \
 && rm -rf /src \
 && mkdir -p /models
COPY docker/start-tritonserver.sh /usr/local/bin/start-tritonserver
ENV PYTHONDONTWRITEBYTECODE=1
USER 1000:1000
EXPOSE 8000 8001 8002
HEALTHCHECK --interval=5s --timeout=10s --start-period=120s --retries=3 \
    CMD ["python3", "-m", "ai102_runtime.health", "models", "/models"]
# NVIDIA's entry point prepares CUDA for older drivers, and becomes what follows.
ENTRYPOINT ["/opt/nvidia/nvidia_entrypoint.sh", "start-tritonserver"]
ARG VERSION=unknown REVISION=unknown SOURCE=unknown
LABEL org.opencontainers.image.title="ai102 server for GPUs" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.source="${SOURCE}" \
      org.opencontainers.image.licenses="Apache-2.0"
