# genyard: API, worker and command line in one image. Nothing secret is in it; settings come by the environment.
#
#   docker build -t genyard .

FROM python:3.11-slim AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python3 -m venv /opt/genyard
WORKDIR /src
COPY requirements.lock ./
RUN /opt/genyard/bin/pip install --require-hashes -r requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY src src
RUN /opt/genyard/bin/pip install --no-deps --no-build-isolation .

FROM python:3.11-slim
RUN useradd --uid 10001 --create-home --home-dir /var/lib/genyard --shell /usr/sbin/nologin genyard
COPY --from=build /opt/genyard /opt/genyard
ENV PATH=/opt/genyard/bin:$PATH PYTHONUNBUFFERED=1 \
    GENYARD_DATA=/var/lib/genyard GENYARD_HOST=0.0.0.0 GENYARD_PORT=8000 GENYARD_LOG_JSON=true
USER genyard
WORKDIR /var/lib/genyard
VOLUME /var/lib/genyard
EXPOSE 8000
# The API answers; a worker is alive while it holds its lock (`genyard admin` shows it), so its service turns this off.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s \
    CMD ["python3", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8000/health', timeout=4)"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["genyard"]
CMD ["serve"]
