# The MONAI Application Package (MAP): a chest CT study in, a structured report and result.json out.
#
#   docker build -t pdl1es .                                        with CUDA and cuDNN, for a GPU or a CPU
#   docker build -t pdl1es:cpu --build-arg ORT=onnxruntime .        for a CPU alone, a third of the size
#   docker build -t pdl1es:gateway --target gateway --build-arg ORT=onnxruntime .    the same with the gateway in it
#
# docs/deploy.md says how to run it and what it weighs.
ARG PYTHON_IMAGE=python:3.11-slim-bookworm

# ---- what is compiled, resolved and described; nothing of this stage but its results is shipped
FROM ${PYTHON_IMAGE} AS build
RUN apt-get update \
 && apt-get install -y --no-install-recommends gcc libc6-dev \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin
WORKDIR /build
COPY lock.txt pyproject.toml requirements.txt ./
RUN python3 -m venv /opt/tools \
 && awk '/^[^ ]/ { own = /^pip==/ } own' lock.txt >/tmp/pip.txt \
 && /opt/tools/bin/python -m pip install --no-cache-dir --quiet --require-hashes -r /tmp/pip.txt \
 && /opt/tools/bin/python -m pip install --no-cache-dir --quiet -c lock.txt --group image
COPY package/image_packages.py package/left_out.txt package/
ARG ORT=onnxruntime-gpu
RUN python3 -m venv --without-pip /opt/venv \
 && case "$ORT" in onnxruntime) for="" ;; onnxruntime-gpu) for="--gpu pyproject.toml" ;; *) exit 2 ;; esac \
 && /opt/tools/bin/python package/image_packages.py --python /opt/venv/bin/python --requirements requirements.txt \
      --lock lock.txt --left-out package/left_out.txt $for \
 # holoscan's wheel makes the links of its libraries at the next start of Python, by a package that goes afterwards
 && pip="/opt/tools/bin/python -m pip --disable-pip-version-check --quiet --python /opt/venv/bin/python" \
 && links="wheel-axle-runtime pip setuptools filelock" \
 && $pip install --no-cache-dir --no-deps -c lock.txt $links \
 && /opt/venv/bin/python -c pass \
 && test -L "$(echo /opt/venv/lib/python3*/site-packages/holoscan/lib/libholoscan_core.so)" \
 && $pip uninstall --yes $links
# The command line of the application, its manifests, and the entry point out of the packager's wheel. That script runs
# the application in a subshell of its own and ends with 0 whatever came of it; with `exec` the application's exit code
# is the container's, and signals reach it.
COPY app.yaml ./
COPY models models
COPY package/manifests.py package/map_main.py package/
COPY app application/app
COPY operators application/operators
COPY setup.py README.md LICENSE ./
COPY pdl1es pdl1es
# The kernels of the features, as setup.py says; setuptools is of this stage alone.
RUN /opt/tools/bin/python -m pip install --no-cache-dir --quiet -c lock.txt setuptools \
 && /opt/tools/bin/python setup.py --quiet build_ext --inplace --force \
 && cp -r pdl1es application/pdl1es
RUN /opt/tools/bin/python -m pip download --no-cache-dir --quiet --no-deps --dest /wheels -c lock.txt holoscan-cli \
 && /opt/tools/bin/python -m zipfile -e /wheels/holoscan_cli-*.whl /tmp/packager \
 && mkdir -p /root-of-image/var/holoscan /root-of-image/opt/holoscan \
 && cp /tmp/packager/holoscan_cli/packager/templates/tools.sh /root-of-image/var/holoscan/tools \
 && test "$(grep -c 'eval ${command}' /root-of-image/var/holoscan/tools)" = 1 \
 && sed -i 's/eval ${command}/eval exec ${command}/' /root-of-image/var/holoscan/tools \
 && chmod 755 /root-of-image/var/holoscan/tools \
 && cp app.yaml /root-of-image/var/holoscan/app.yaml \
 && cp package/map_main.py application/__main__.py \
 && cp -r application /root-of-image/opt/holoscan/app \
 && /opt/venv/bin/python -m compileall -q --invalidation-mode unchecked-hash /root-of-image/opt/holoscan/app \
 && sdk=$(/opt/venv/bin/python -c 'import importlib.metadata as m; print(m.version("monai-deploy-app-sdk"))') \
 && /opt/tools/bin/python package/manifests.py --settings app.yaml --models models --sdk-version "$sdk" \
      --root /root-of-image \
 && chown 1000:1000 /root-of-image/var/holoscan \
 && printf '#!/opt/venv/bin/python3\nfrom pdl1es.command_line.cli import main\n\nmain()\n' > /opt/venv/bin/pdl1es \
 && chmod 755 /opt/venv/bin/pdl1es \
 && echo /opt/holoscan/app > "$(echo /opt/venv/lib/python3*/site-packages)/pdl1es.pth"

# ---- what runs
FROM ${PYTHON_IMAGE} AS runtime
RUN apt-get update \
 && apt-get install -y --no-install-recommends jq \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin \
 && useradd --uid 1000 --create-home holoscan \
 && mkdir -p /var/holoscan/input /var/holoscan/output /var/holoscan/logs /var/run/holoscan /opt/holoscan \
 && chown -R 1000:1000 /var/holoscan
COPY --from=build /opt/venv /opt/venv

# ---- what the image says of itself
FROM build AS described
COPY --from=runtime /var/lib/dpkg/status /etc/os-release /runtime/
COPY package/describe.py package/
RUN version=$(/opt/tools/bin/python package/manifests.py --settings app.yaml --show-version) \
 && /opt/tools/bin/python package/describe.py --python /opt/venv/bin/python --dpkg-status /runtime/status \
      --os-release /runtime/os-release --models models --version "$version" --out /docs
COPY LICENSE README.md docs /docs/

FROM runtime AS map
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="PD-L1ES" \
      org.opencontainers.image.description="PD-L1 expression score of non-small cell lung cancer from chest CT, as a MONAI Application Package" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.monai.deploy.app-sdk="4.0.0" \
      org.nvidia.holoscan="4.2.0" \
      tag="pdl1es:${VERSION}"
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    ORT_DISABLE_TELEMETRY=1 \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility \
    HOLOSCAN_INPUT_PATH=/var/holoscan/input \
    HOLOSCAN_OUTPUT_PATH=/var/holoscan/output \
    HOLOSCAN_WORKDIR=/var/holoscan \
    HOLOSCAN_APPLICATION=/opt/holoscan/app \
    HOLOSCAN_TIMEOUT=0 \
    HOLOSCAN_MODEL_PATH=/opt/holoscan/models \
    HOLOSCAN_DOCS_PATH=/opt/holoscan/docs \
    HOLOSCAN_CONFIG_PATH=/var/holoscan/app.yaml \
    HOLOSCAN_APP_MANIFEST_PATH=/etc/holoscan/app.json \
    HOLOSCAN_PKG_MANIFEST_PATH=/etc/holoscan/pkg.json \
    HOLOSCAN_LOGS_PATH=/var/holoscan/logs \
    HOLOSCAN_VERSION=4.2.0
COPY models /opt/holoscan/models
COPY --from=described /docs /opt/holoscan/docs
COPY --from=build /root-of-image /
WORKDIR /var/holoscan
USER 1000:1000
# A MAP works on one study and ends. While it runs, it is well if its manifest can be read, its model is there and what
# it finds can be written.
HEALTHCHECK --interval=30s --timeout=5s --start-period=5s \
    CMD jq -e .command "$HOLOSCAN_APP_MANIFEST_PATH" >/dev/null && test -r "$HOLOSCAN_MODEL_PATH" && test -w "$HOLOSCAN_OUTPUT_PATH"
ENTRYPOINT ["/var/holoscan/tools"]

# ---- what the gateway adds: its packages and its code, beside what is there
FROM described AS described-gateway
COPY gateway/requirements.txt gateway/
RUN site=$(echo /opt/venv/lib/python3*/site-packages) && added=/root-of-gateway$site \
 && /opt/tools/bin/python package/image_packages.py --python /opt/venv/bin/python --requirements requirements.txt \
      --further gateway/requirements.txt --target "$added" --lock lock.txt \
 # tests of its own that a package brings into every installation
 && rm -rf "$added/bin" "$added/pynetdicom/tests" "$added/sqlalchemy/testing" \
 && cp -r "$added/." "$site/" \
 && version=$(/opt/tools/bin/python package/manifests.py --settings app.yaml --show-version) \
 && /opt/tools/bin/python package/describe.py --python /opt/venv/bin/python --dpkg-status /runtime/status \
      --os-release /runtime/os-release --models models --version "$version" --out /root-of-gateway/opt/holoscan/docs
COPY gateway /root-of-gateway/opt/holoscan/app/gateway
# app.yaml and models lie where a MAP has them; the gateway looks beside the application.
RUN /opt/venv/bin/python -m compileall -q --invalidation-mode unchecked-hash /root-of-gateway/opt/holoscan/app \
 && ln -s /var/holoscan/app.yaml /opt/holoscan/models /root-of-gateway/opt/holoscan/app/ \
 && install -d -m 750 -o 1000 -g 1000 /root-of-gateway/var/lib/pdl1es

FROM map AS gateway
COPY --from=described-gateway /root-of-gateway /
ENV PDL1ES_GATEWAY_CONFIG=/etc/pdl1es/gateway.yaml
WORKDIR /
HEALTHCHECK --interval=30s --timeout=15s --start-period=60s CMD ["python3", "-m", "gateway.health.probe"]
ENTRYPOINT ["pdl1es"]
CMD ["serve"]

# Without --target: the MAP.
FROM map
