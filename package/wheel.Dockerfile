# What the packager's image cannot make for itself: pyradiomics and our kernels built for its Python (Ubuntu 24.04's, 3.12),
# since it has no compiler, and the exact version of everything else on that Python. `docker build --output` leaves both in a folder.
ARG UBUNTU_IMAGE=ubuntu:24.04
FROM ${UBUNTU_IMAGE} AS build
RUN apt-get update \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
      ca-certificates gcc libc6-dev python3 python3-dev python3-venv
WORKDIR /build
COPY lock.txt pyproject.toml requirements.txt ./
COPY package/image_packages.py package/
RUN python3 -m venv /opt/tools \
 && awk '/^[^ ]/ { own = /^pip==/ } own' lock.txt >/tmp/pip.txt \
 && /opt/tools/bin/python -m pip install --no-cache-dir --quiet --require-hashes -r /tmp/pip.txt \
 && /opt/tools/bin/python -m pip install --no-cache-dir --quiet -c lock.txt --group image \
 && /opt/tools/bin/python -m pip wheel --no-cache-dir --quiet --no-deps -c lock.txt --build-constraint lock.txt \
      --wheel-dir /out pyradiomics-bhklab
ARG ORT=onnxruntime-gpu
RUN case "$ORT" in onnxruntime) for="" ;; onnxruntime-gpu) for="--gpu pyproject.toml" ;; *) exit 2 ;; esac \
 && /opt/tools/bin/python package/image_packages.py --list /out/requirements.txt --requirements requirements.txt \
      --lock lock.txt $for

COPY setup.py README.md LICENSE ./
COPY pdl1es pdl1es
RUN /opt/tools/bin/python -m pip install --no-cache-dir --quiet -c lock.txt setuptools \
 && /opt/tools/bin/python setup.py --quiet build_ext --inplace --force \
 && cp pdl1es/features/compiled.abi3.so /out/

FROM scratch
COPY --from=build /out /
