# One image for each service. `make image SERVICE=mailstore` builds it with all its labels; by itself:
#   docker build -f deploy/docker/service.Dockerfile --build-arg SERVICE=mailstore .
# Whatever is released names its base by digest: --build-arg BASE=docker.io/library/python@sha256:...
# It has to be a Debian with `python3` on the PATH and the modules `venv` and `ensurepip`.
ARG BASE=docker.io/library/python:3.13-slim-trixie

# The same for all services: the base without what installs, with bytecode, without set-user-id programs.
FROM ${BASE} AS base
SHELL ["/bin/bash", "-o", "errexit", "-o", "pipefail", "-c"]
RUN library="$(python3 -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')" \
    && rm -rf "$library"/{ensurepip,idlelib,lib2to3,test,tkinter,turtledemo,venv} "$library"/*-packages/* \
        /usr/share/python-wheels /usr/local/bin/{pip,idle,pydoc,wheel,2to3}* /usr/bin/{pydoc,pygettext}* \
        /root/.cache /var/cache/apt/* /var/lib/apt/lists/* /var/log/* \
    && find "$library" -name __pycache__ -prune -exec rm -rf {} + \
    && python3 -m compileall -q --invalidation-mode unchecked-hash "$library" \
    && find / -xdev -type f -perm /6000 -exec chmod a-s {} + \
    && echo 'postroom:x:10001:10001::/nonexistent:/usr/sbin/nologin' >> /etc/passwd \
    && echo 'postroom:x:10001:' >> /etc/group

FROM ${BASE} AS tools
SHELL ["/bin/bash", "-o", "errexit", "-o", "pipefail", "-c"]
ENV UV_PYTHON_DOWNLOADS=never UV_LINK_MODE=copy UV_NO_PROGRESS=1
WORKDIR /build
COPY requirements-uv.lock requirements.lock ./
COPY tools/service_requirements.py tools/
# The secret `ca` holds the authorities to be trusted, where a proxy stands before the package index.
RUN --mount=type=secret,id=ca \
    if [ -f /run/secrets/ca ]; then export SSL_CERT_FILE=/run/secrets/ca PIP_CERT=/run/secrets/ca; fi \
    && python3 -m venv /opt/tools \
    && /opt/tools/bin/python -m pip install --quiet --disable-pip-version-check --no-cache-dir \
        --require-hashes --no-deps -r requirements-uv.lock \
    && python3 tools/service_requirements.py build > requirements-build.txt \
    && /opt/tools/bin/uv pip install --quiet --no-cache --python /opt/tools/bin/python \
        --require-hashes -r requirements-build.txt

# What this service needs of this tree, as wheels, and of the lock.
FROM tools AS wheels
SHELL ["/bin/bash", "-o", "errexit", "-o", "pipefail", "-c"]
ARG SERVICE
COPY libs libs
COPY services services
RUN python3 tools/service_requirements.py requirements "$SERVICE" > /build/requirements.txt \
    && python3 tools/service_requirements.py members "$SERVICE" > members.txt \
    && while read -r member; do \
        /opt/tools/bin/uv build --quiet --no-cache --offline --wheel --no-build-isolation \
            --python /opt/tools/bin/python --out-dir /build/wheels "$member" || exit 1; \
    done < members.txt

# A layer of its own, which a change of our code leaves as it is.
FROM tools AS dependencies
SHELL ["/bin/bash", "-o", "errexit", "-o", "pipefail", "-c"]
COPY --from=wheels /build/requirements.txt ./
RUN --mount=type=cache,target=/root/.cache/uv --mount=type=secret,id=ca \
    if [ -f /run/secrets/ca ]; then export SSL_CERT_FILE=/run/secrets/ca; fi \
    && /opt/tools/bin/uv venv --quiet --python python3 /opt/postroom \
    && /opt/tools/bin/uv pip install --quiet --python /opt/postroom/bin/python \
        --require-hashes --no-build -r requirements.txt \
    && find /opt/postroom/bin -type f -delete \
    && rm -rf /opt/postroom/{CACHEDIR.TAG,.gitignore,.lock} \
    && find /opt/postroom -type d \( -name tests -o -name test -o -name SelfTest \) -prune -exec rm -rf {} + \
    && /opt/postroom/bin/python -m compileall -q --invalidation-mode unchecked-hash /opt/postroom/lib

FROM wheels AS service
ARG SERVICE
SHELL ["/bin/bash", "-o", "errexit", "-o", "pipefail", "-c"]
RUN /opt/tools/bin/uv pip install --quiet --no-cache --offline --python /opt/tools/bin/python --no-deps \
        --prefix /opt/service /build/wheels/*.whl \
    && python3 -m compileall -q --invalidation-mode unchecked-hash -s /opt/service -p /opt/postroom \
        /opt/service/lib \
    && rm -f /opt/service/.lock \
    && mkdir -p /opt/service/bin \
    && printf '%s\n' '#!/opt/postroom/bin/python' '"""python -m, for an entry point that names no service."""' \
        'import runpy' "runpy.run_module('${SERVICE//-/_}', run_name='__main__', alter_sys=True)" \
        > /opt/service/bin/service \
    && chmod 0755 /opt/service/bin/service

FROM base
COPY --from=dependencies /opt/postroom /opt/postroom
COPY --from=service /opt/service /opt/postroom
# The image's folders are read only; what is written goes to /tmp.
ENV PATH=/opt/postroom/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONDONTWRITEBYTECODE=1 PYTHONSAFEPATH=1 PYTHONUNBUFFERED=1
USER 10001:10001
WORKDIR /
# The same as `python -m <package>`, with no shell in between.
ENTRYPOINT ["/opt/postroom/bin/service"]
CMD ["serve"]
ARG SERVICE
ARG VERSION=0
ARG REVISION=unknown
ARG DESCRIPTION="A service of Postroom"
ARG BASE
LABEL org.opencontainers.image.title="postroom-${SERVICE}" \
    org.opencontainers.image.description="${DESCRIPTION}" \
    org.opencontainers.image.version="${VERSION}" \
    org.opencontainers.image.revision="${REVISION}" \
    org.opencontainers.image.licenses="Apache-2.0" \
    org.opencontainers.image.base.name="${BASE}"
