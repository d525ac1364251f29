# What the packager's image cannot get from an index: pyradiomics 3.0.1 for its Python (Ubuntu 24.04's, 3.12), and the
# exact version of everything else on that Python. `docker build --output` leaves both in a folder.
ARG UBUNTU_IMAGE=ubuntu:24.04
FROM ${UBUNTU_IMAGE} AS build
RUN apt-get update \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
      ca-certificates gcc libc6-dev python3 python3-dev python3-venv
WORKDIR /build
COPY constraints.txt requirements.txt ./
COPY package/pyradiomics.txt package/image_packages.py package/gpu.txt package/
COPY package/python312 package/python312
RUN python3 -m venv /opt/tools \
 && /opt/tools/bin/python -m pip install --no-cache-dir --quiet -c constraints.txt pip \
 && /opt/tools/bin/python -m pip install --no-cache-dir --quiet -c constraints.txt setuptools wheel numpy packaging \
 && PYTHONPATH=/build/package/python312 /opt/tools/bin/python -m pip wheel --no-cache-dir --quiet --no-deps \
      --no-build-isolation --require-hashes --wheel-dir /out -r package/pyradiomics.txt
ARG ORT=onnxruntime-gpu
RUN if [ "$ORT" = onnxruntime-gpu ]; then also="--also package/gpu.txt"; else also=""; fi \
 && /opt/tools/bin/python package/image_packages.py --list /out/requirements.txt --requirements requirements.txt \
      --constraints constraints.txt --onnxruntime "$ORT" $also --find-links /out

FROM scratch
COPY --from=build /out /
