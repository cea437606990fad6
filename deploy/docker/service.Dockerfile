# One image for each service: docker build -f deploy/docker/service.Dockerfile --build-arg SERVICE=mailstore .
# A first sketch: no release is built from it yet.
FROM python:3.11-slim-bookworm AS build
ARG SERVICE
ENV UV_PYTHON_DOWNLOADS=never UV_COMPILE_BYTECODE=1
WORKDIR /build
COPY requirements-uv.lock requirements.lock ./
RUN python -m venv /opt/postroom \
    && /opt/postroom/bin/python -m pip install --no-cache-dir --require-hashes --no-deps -r requirements-uv.lock
COPY libs libs
COPY services services
COPY pyproject.toml ./
# The lock serves as constraints, so that an image holds what its service imports and no embedded stack.
# Hashes are not checked here yet: constraints carry none for what is built from this tree.
RUN sed -E '/^ +--hash/d; s/ \\$//' requirements.lock > constraints.txt \
    && /opt/postroom/bin/uv pip install --python /opt/postroom/bin/python --no-cache \
        --constraint constraints.txt "./services/${SERVICE}" \
    && /opt/postroom/bin/uv pip uninstall --python /opt/postroom/bin/python uv pip

FROM python:3.11-slim-bookworm
ARG SERVICE
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
# The package is the service's name with underscores.
RUN useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin postroom \
    && printf '#!/bin/sh\nexec /opt/postroom/bin/python -m %s "$@"\n' "${SERVICE//-/_}" > /usr/local/bin/service \
    && chmod 0755 /usr/local/bin/service
COPY --from=build /opt/postroom /opt/postroom
USER 10001
EXPOSE 9000 9090
ENTRYPOINT ["service"]
CMD ["serve"]
