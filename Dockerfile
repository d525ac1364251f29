# The run time in a container: a first version that runs the chain as a MAP does. Manifests, labels, the `tools` entry
# point and a GPU build come with the packaging.
FROM python:3.11-slim-bookworm AS build
RUN apt-get update \
 && apt-get install -y --no-install-recommends gcc libc6-dev \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /build
COPY requirements.txt constraints.txt ./
# pyradiomics 3.0.1 builds only where numpy and setuptools are already there, without build isolation.
RUN python3 -m venv /opt/venv \
 && /opt/venv/bin/python -m pip install --no-cache-dir -c constraints.txt pip setuptools wheel numpy \
 && /opt/venv/bin/python -m pip install --no-cache-dir -c constraints.txt --no-build-isolation pyradiomics==3.0.1 \
 && /opt/venv/bin/python -m pip install --no-cache-dir -c constraints.txt -r requirements.txt \
 # holoscan's wheel makes its links at the next start of Python and needs write access then
 && /opt/venv/bin/python -c pass

FROM python:3.11-slim-bookworm
RUN useradd --uid 1000 --create-home holoscan \
 && mkdir -p /var/holoscan/input /var/holoscan/output /opt/holoscan/app /opt/holoscan/models \
 && chown -R 1000:1000 /var/holoscan
COPY --from=build /opt/venv /opt/venv
COPY app /opt/holoscan/app/app
COPY operators /opt/holoscan/app/operators
COPY pdl1es /opt/holoscan/app/pdl1es
COPY app.yaml /var/holoscan/app.yaml
COPY models /opt/holoscan/models
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 CUPY_CACHE_DIR=/tmp/cupy \
    HOLOSCAN_INPUT_PATH=/var/holoscan/input \
    HOLOSCAN_OUTPUT_PATH=/var/holoscan/output \
    HOLOSCAN_MODEL_PATH=/opt/holoscan/models \
    HOLOSCAN_WORKDIR=/var/holoscan \
    HOLOSCAN_APPLICATION=/opt/holoscan/app \
    HOLOSCAN_CONFIG_PATH=/var/holoscan/app.yaml
WORKDIR /var/holoscan
USER 1000:1000
CMD ["python3", "/opt/holoscan/app/app"]
