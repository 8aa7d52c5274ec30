# The friendly API and the issuer: one image, two commands.
#   docker build -f docker/api.Dockerfile -t ai102/api .
#   docker run ai102/api api serve --listen 0.0.0.0:8090 --url grpc://...      docker run ai102/api auth serve ...
# Behind a mirror or an own CA: --secret id=pip,src=/etc/pip.conf --secret id=ca,src=/etc/ssl/certs/ca-certificates.crt
ARG BASE=debian:bookworm-slim@sha256:88200866dfff7ea7f5cbcb6ec7c8a701889efe6fe859fe64d6990e4b07ea4171

FROM ${BASE} AS packages
ENV PIP_CERT=/etc/ssl/certs/ca-certificates.crt \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_ROOT_USER_ACTION=ignore
RUN apt-get update \
 && apt-get install -y --no-install-recommends binutils ca-certificates python3.11-venv \
 && rm -rf /var/lib/apt/lists/* \
 && python3.11 -m venv /opt/pip \
 && python3.11 -m venv --without-pip /opt/ai102
COPY constraints.txt docker/requirements/api.txt /src/
# Some wheels carry symbols for debuggers, 50 MB together. The libraries that wheels bundle break when stripped.
RUN --mount=type=secret,id=pip,target=/etc/pip.conf \
    --mount=type=secret,id=ca,target=/etc/ssl/certs/ca-certificates.crt \
    --mount=type=cache,target=/root/.cache/pip \
    /opt/pip/bin/pip install -q setuptools==84.2.1 \
 && /opt/pip/bin/pip --python /opt/ai102/bin/python install -q --constraint /src/constraints.txt --requirement /src/api.txt \
 && find /opt/ai102 -type d \( -name include -o -name tests \) -prune -exec rm -rf {} + \
 && find /opt/ai102/lib -name '*.so' -not -path '*/numpy/*' -not -path '*.libs/*' -exec strip --strip-unneeded {} +

FROM packages AS ours
COPY pyproject.toml README.md LICENSE /src/ai102/
COPY tools /src/ai102/tools
RUN /opt/pip/bin/pip install -q --no-deps --no-index --no-build-isolation --target /ours /src/ai102/tools/ai102_runtime /src/ai102 \
 && mkdir -p /srv/build/auth /srv/build/jobs && chmod 700 /srv/build/auth /srv/build/jobs

FROM ${BASE}
# Debian compiles its Python's own modules in the package python3.11 alone, and a read-only root keeps nothing: each process
# would compile them anew.
RUN apt-get update \
 && apt-get install -y --no-install-recommends libpython3.11-stdlib python3.11-minimal \
 && rm -rf /var/lib/apt/lists/* /var/log/* /var/cache/* \
 && python3.11 -m compileall -q -x lib2to3 /usr/lib/python3.11 \
 && useradd --uid 1000 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin api
COPY --from=packages /opt/ai102 /opt/ai102
COPY --from=ours --chown=1000:1000 /srv/build /srv/build
COPY --from=ours /ours /opt/ai102/lib/python3.11/site-packages
ENV PATH=/opt/ai102/bin:/usr/bin:/bin \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
# gateway.toml, models.toml and masking.toml are mounted here; the issuer keeps users and keys in build/auth.
WORKDIR /srv
USER 1000:1000
EXPOSE 8090 8091
# Of the API; the issuer is asked for its keys (compose.yaml).
HEALTHCHECK --interval=5s --timeout=10s --start-period=30s --retries=3 \
    CMD ["python3", "-m", "ai102_runtime.health", "get", "http://127.0.0.1:8090/readyz"]
ENTRYPOINT ["python3", "-m", "ai102"]
ARG VERSION=unknown REVISION=unknown SOURCE=unknown
LABEL org.opencontainers.image.title="ai102 API and issuer" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.source="${SOURCE}" \
      org.opencontainers.image.licenses="Apache-2.0"
