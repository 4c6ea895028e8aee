# syntax=docker/dockerfile:1
# The gateway in a container:
#   docker build -t ringgate .
#   docker run -p 127.0.0.1:8000:8000 -p 127.0.0.1:8001:8001 ringgate --insecure
# What follows the image's name are flags of `ringgate serve`; options can also be set by -e RINGGATE_...=, and a file
# can be mounted and named by --config.
#
# Inside a container the ports must listen on more than its loopback.  The gateway refuses that while anyone who
# reaches a port could use it: 8001 wants an API key (RINGGATE_API_KEYS), 8000 wants its clients authenticated.  What
# is left open must be said to be meant, by --insecure; then publish the ports to loopback (as above) or to a network
# that you trust, never to the world.

FROM python:3.13-slim AS build
RUN apt-get update \
    && apt-get install -y --no-install-recommends gcc libc6-dev \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
RUN python -m venv /opt/ringgate \
    && /opt/ringgate/bin/pip install --no-cache-dir .

FROM python:3.13-slim
RUN useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin ringgate
COPY --from=build /opt/ringgate /opt/ringgate
ENV PATH=/opt/ringgate/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    RINGGATE_LISTEN=0.0.0.0:8000 \
    RINGGATE_API_LISTEN=0.0.0.0:8001 \
    RINGGATE_LOG_FORMAT=json
USER 10001:10001
# 8000: WebSocket clients.  8001: publish API, health, metrics, demo; for your services only.
EXPOSE 8000 8001
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8001/health/live', timeout=2)"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["ringgate", "serve"]
