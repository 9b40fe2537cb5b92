# A CPU image that runs as an ordinary user. `make docker-replay` runs these RUN and COPY steps in a clean Debian root.
FROM debian:bookworm-slim

# pip's index of CPU builds of torch; set it to "" to take the default index's build.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu

SHELL ["/bin/bash", "-o", "pipefail", "-c"]

# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends python3 python3-venv ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home --uid 1000 earmark \
    && install -d -o earmark -g earmark /data /opt/earmark

WORKDIR /opt/earmark
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY app.py cli.py ./
COPY commands commands
COPY pipeline pipeline
COPY index index
COPY store store
COPY ui ui
COPY samples samples

RUN python3 -m venv /opt/venv \
    && /opt/venv/bin/pip install --no-cache-dir ${TORCH_INDEX:+--extra-index-url "$TORCH_INDEX"} -c constraints.txt -e '.[weights]' \
    && chown -R earmark:earmark /opt/earmark

USER 1000
ENV PATH=/opt/venv/bin:$PATH EARMARK_DATA=/data EARMARK_HOST=0.0.0.0 EARMARK_WORK=1 HOME=/home/earmark
VOLUME /data
EXPOSE 7860
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s \
    CMD ["python3", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:7860/healthz', timeout=4)"]
CMD ["python3", "app.py"]
