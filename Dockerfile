# syntax=docker/dockerfile:1
# Dependencies first, from the pinned lock; then the package, as a wheel; then an image that takes over only their virtual environment.

FROM python:3.11-slim-bookworm AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PYTHONDONTWRITEBYTECODE=1
RUN python -m venv /opt/gateway
ENV PATH=/opt/gateway/bin:$PATH
WORKDIR /src
# With requirements-traces.lock the image can export traces too.
ARG LOCK=requirements.lock
COPY requirements.lock requirements-traces.lock ./
RUN pip install --require-hashes -r "$LOCK"
COPY pyproject.toml README.md LICENSE ./
COPY app ./app
COPY migrations ./migrations
RUN pip wheel --no-deps --no-build-isolation --wheel-dir /dist . \
    && pip install --no-deps /dist/*.whl \
    && python -m compileall -q /opt/gateway/lib

FROM python:3.11-slim-bookworm
# The root file system may be read-only: nothing is written but the volume and standard error.
ENV PATH=/opt/gateway/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 GATEWAY_LOG_FORMAT=json
RUN useradd --uid 10001 --no-create-home --home-dir /var/lib/gateway --shell /usr/sbin/nologin gateway \
    && install -d -o 10001 -g 10001 /var/lib/gateway /var/lib/gateway/images
COPY --from=build /opt/gateway /opt/gateway
WORKDIR /var/lib/gateway
VOLUME /var/lib/gateway
USER 10001:10001
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/healthz', timeout=2)"]
ENTRYPOINT ["gateway"]
CMD ["serve", "--host", "0.0.0.0", "--port", "8000"]
