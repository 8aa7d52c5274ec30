# The CPU server: tritonserver from the package nvidia-pytriton, what our models run on, and nothing else.
#   docker build -f docker/server.Dockerfile -t ai102/server .
# Behind a mirror or an own CA: --secret id=pip,src=/etc/pip.conf --secret id=ca,src=/etc/ssl/certs/ca-certificates.crt
ARG BASE=debian:bookworm-slim@sha256:88200866dfff7ea7f5cbcb6ec7c8a701889efe6fe859fe64d6990e4b07ea4171

FROM ${BASE} AS packages
ENV PIP_CERT=/etc/ssl/certs/ca-certificates.crt \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_ROOT_USER_ACTION=ignore
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates python3.11-venv \
 && rm -rf /var/lib/apt/lists/* \
 && python3.11 -m venv /opt/pip \
 && python3.11 -m venv --without-pip /opt/ai102
COPY constraints.txt docker/requirements/server.txt /src/
RUN --mount=type=secret,id=pip,target=/etc/pip.conf \
    --mount=type=secret,id=ca,target=/etc/ssl/certs/ca-certificates.crt \
    --mount=type=cache,target=/root/.cache/pip \
    /opt/pip/bin/pip install -q setuptools==84.2.1 \
 && /opt/pip/bin/pip --python /opt/ai102/bin/python install -q --no-deps --no-compile \
        --constraint /src/constraints.txt --requirement /src/server.txt \
 && /opt/pip/bin/pip install -q --no-deps --no-compile --target /wheel --constraint /src/constraints.txt nvidia-pytriton

FROM packages AS server
# What serving never runs goes: tests, headers, tools that make models.
WORKDIR /opt/ai102/lib/python3.11/site-packages
RUN rm -rf /opt/ai102/include numpy/core/include numpy/core/lib numpy/distutils numpy/f2py numpy/random/lib \
        onnxruntime/datasets onnxruntime/quantization onnxruntime/tools onnxruntime/transformers \
        openvino/cmake openvino/include openvino/tools openvino/libs/cache.json openvino/libs/libtbbmalloc_proxy.so.* \
        openvino/libs/libopenvino_auto* openvino/libs/libopenvino_c.so.* openvino/libs/libopenvino_hetero_plugin.so \
        openvino/libs/libopenvino_intel_[gn]pu_plugin.so \
 && find openvino/libs -name 'libopenvino_*_frontend.so.*' ! -name '*_ir_*' ! -name '*_onnx_*' -delete \
 && find . -type d -name tests -prune -exec rm -rf {} + \
 && python3.11 -m compileall -q .
# Of pytriton only tritonserver stays: not its Python, not the stubs of other Pythons. The backend directory, which
# `ai102 serve` makes at its start elsewhere, is made here: /tmp may be noexec and the root read-only. The folders keep their
# distance to nvidia_pytriton.libs, where the programs look for their libraries.
WORKDIR /opt/triton
RUN mkdir -p pytriton/tritonserver/backends/python pytriton/tritonserver/backends/onnxruntime \
        pytriton/tritonserver/backends/openvino \
 && cp -r /wheel/nvidia_pytriton.libs /wheel/nvidia_pytriton-*.dist-info . \
 && rm -f nvidia_pytriton.libs/libpython3* \
 && cp -r /wheel/pytriton/tritonserver/bin /wheel/pytriton/tritonserver/caches pytriton/tritonserver/ \
 && cp /wheel/pytriton/tritonserver/backends/python/libtriton_python.so \
        /wheel/pytriton/tritonserver/backends/python/triton_python_backend_utils.py \
        /wheel/pytriton/tritonserver/python_backend_stubs/3.11/triton_python_backend_stub pytriton/tritonserver/backends/python/ \
 && echo "from ai102_runtime.onnx.backend import TritonPythonModel as TritonPythonModel" \
        >pytriton/tritonserver/backends/onnxruntime/model.py \
 && echo "from ai102_runtime.openvino.backend import TritonPythonModel as TritonPythonModel" \
        >pytriton/tritonserver/backends/openvino/model.py \
 && python3.11 -m compileall -q pytriton/tritonserver/backends

FROM packages AS ours
COPY tools/ai102_runtime /src/ai102_runtime
RUN /opt/pip/bin/pip install -q --no-deps --no-index --no-build-isolation --target /ours /src/ai102_runtime

FROM ${BASE}
# Debian compiles its Python's own modules in the package python3.11 alone, and a read-only root keeps nothing: each process
# would compile them anew.
RUN apt-get update \
 && apt-get install -y --no-install-recommends libpython3.11 libtcmalloc-minimal4 python3.11-minimal \
 && rm -rf /var/lib/apt/lists/* /var/log/* /var/cache/* \
 && python3.11 -m compileall -q -x lib2to3 /usr/lib/python3.11 \
 && useradd --uid 1000 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin triton \
 && ln -s /opt/triton/pytriton/tritonserver/bin/tritonserver /usr/local/bin/tritonserver \
 && mkdir /models \
 && install --directory --owner=1000 --group=1000 /var/cache/triton
COPY --from=server /opt/triton /opt/triton
COPY --from=server /opt/ai102 /opt/ai102
COPY docker/start-tritonserver.sh /usr/local/bin/start-tritonserver
COPY --from=ours /ours /opt/ai102/lib/python3.11/site-packages
# Models as OpenVINO compiled them lie in the folder XDG_CACHE_HOME. With a volume there, a container's next start takes them.
ENV PATH=/opt/ai102/bin:/usr/local/bin:/usr/bin:/bin \
    LD_PRELOAD=libtcmalloc_minimal.so.4 \
    PYTHONDONTWRITEBYTECODE=1 \
    XDG_CACHE_HOME=/var/cache/triton
USER 1000:1000
EXPOSE 8000 8001 8002
HEALTHCHECK --interval=5s --timeout=10s --start-period=60s --retries=3 \
    CMD ["python3", "-m", "ai102_runtime.health", "models", "/models"]
ENTRYPOINT ["start-tritonserver"]
ARG VERSION=unknown REVISION=unknown SOURCE=unknown
LABEL org.opencontainers.image.title="ai102 server" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.source="${SOURCE}" \
      org.opencontainers.image.licenses="Apache-2.0"
