# Images of third-party programs from the cache of `ai102 parts`, for machines that reach no image registry. A stage for each
# part; the build context is the part's folder. Redis and PostgreSQL are Debian's packages; their context is docker/.
# `ai102 compose up` builds them where it cannot pull the originals.
#   docker build -f docker/parts.Dockerfile --target prometheus -t ai102/part-prometheus FOLDER
# FOLDER: as `ai102 parts list --format json` names it.
# Paths, users and folders are those of the original images, so that compose.yaml says the same for both.
ARG BASE=debian:bookworm-slim@sha256:88200866dfff7ea7f5cbcb6ec7c8a701889efe6fe859fe64d6990e4b07ea4171

FROM ${BASE} AS native
# The original images ask themselves by wget.
RUN apt-get update \
 && apt-get install -y --no-install-recommends busybox-static \
 && rm -rf /var/lib/apt/lists/* /var/log/* /var/cache/* \
 && ln -s /bin/busybox /usr/bin/wget

FROM native AS java
RUN mkdir -p /usr/share/man/man1 \
 && apt-get update \
 && apt-get install -y --no-install-recommends openjdk-17-jre-headless \
 && rm -rf /var/lib/apt/lists/* /var/log/* /var/cache/*

FROM native AS prometheus
COPY usr/bin/prometheus usr/bin/promtool /bin/
RUN mkdir /prometheus && chown 65534:65534 /prometheus
USER 65534:65534
WORKDIR /prometheus
EXPOSE 9090
ENTRYPOINT ["/bin/prometheus"]

FROM native AS alertmanager
COPY usr/bin/prometheus-alertmanager /bin/alertmanager
COPY usr/bin/amtool /bin/
# Debian's program reads its templates there.
COPY usr/share/prometheus /usr/share/prometheus
RUN mkdir /alertmanager && chown 65534:65534 /alertmanager
USER 65534:65534
WORKDIR /alertmanager
EXPOSE 9093
ENTRYPOINT ["/bin/alertmanager"]

FROM native AS node-exporter
COPY usr/bin/prometheus-node-exporter /bin/node_exporter
USER 65534:65534
EXPOSE 9100
ENTRYPOINT ["/bin/node_exporter"]

FROM native AS otelcol
COPY bin/otelcol /otelcol-contrib
USER 10001:10001
EXPOSE 4317 4318 8888 13133
ENTRYPOINT ["/otelcol-contrib"]

FROM java AS zipkin
COPY bin /zipkin/bin
COPY lib /zipkin/lib
USER 1000:1000
EXPOSE 9411
ENTRYPOINT ["/zipkin/bin/zipkin"]

FROM java AS opensearch
COPY . /opt/opensearch
RUN mkdir -p /usr/share/opensearch/data && chown -R 1000:1000 /usr/share/opensearch
USER 1000:1000
WORKDIR /usr/share/opensearch
EXPOSE 9200
ENTRYPOINT ["/opt/opensearch/bin/opensearch"]

FROM native AS dapr
COPY bin/daprd /daprd
USER 65532:65532
WORKDIR /
EXPOSE 3500

FROM ${BASE} AS packages
# Nothing is started while packages are installed.
RUN printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d && chmod 755 /usr/sbin/policy-rc.d

FROM packages AS redis
RUN groupadd --system --gid 999 redis \
 && useradd --system --uid 999 --gid redis --home-dir /data --no-create-home redis \
 && apt-get update \
 && apt-get install -y --no-install-recommends redis-server \
 && rm -rf /var/lib/apt/lists/* /var/log/* /var/cache/* \
 && install -d -o redis -g redis /data
USER 999:999
WORKDIR /data
EXPOSE 6379
CMD ["redis-server"]

FROM packages AS postgres
RUN groupadd --system --gid 999 postgres \
 && useradd --system --uid 999 --gid postgres --home-dir /var/lib/postgresql --no-create-home postgres \
 && install -d /etc/postgresql-common \
 && echo "create_main_cluster = false" >/etc/postgresql-common/createcluster.conf \
 && apt-get update \
 && apt-get install -y --no-install-recommends postgresql-15 \
 && rm -rf /var/lib/apt/lists/* /var/log/* /var/cache/* \
 && install -d -o postgres -g postgres -m 700 /var/lib/postgresql/data
COPY start-postgres.sh /usr/local/bin/docker-entrypoint.sh
ENV PATH=/usr/lib/postgresql/15/bin:/usr/bin:/bin \
    PGDATA=/var/lib/postgresql/data/pgdata
USER 999:999
# Sessions are ended at once: the other way waits for clients that never leave.
STOPSIGNAL SIGINT
EXPOSE 5432
ENTRYPOINT ["/usr/local/bin/docker-entrypoint.sh"]
CMD ["postgres"]
