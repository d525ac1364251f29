#!/bin/bash
# map.sh VENV: the MAP as MONAI Deploy's own packager makes it (`make map`), from the environment VENV that has it.
#
#   TAG=pdl1es-map:1.0        name of the image
#   ORT=onnxruntime           for a CPU alone; default: onnxruntime-gpu with CUDA and cuDNN
#   DOCKER=/usr/bin/docker    the Docker to use
#   DOCKER_BUILD_FLAGS=...    further flags for building the wheel
#   MAP_SOURCE=file.json      base images, instead of the list that the packager downloads
#   MAP_CONTEXT_ONLY=1        stop with the complete build context in build/map/context
set -euo pipefail
cd "$(dirname "$0")/.."
venv=$(cd "$1" && pwd)
missing() { printf '%s\nRemedy: %s\n' "$1" "$2" >&2; exit 2; }

# ---- prerequisites, each with its remedy
DOCKER=${DOCKER:-$(command -v docker || true)}
[ -n "$DOCKER" ] || missing "Docker is needed." "install Docker Engine 23 or later, or set DOCKER=/path/to/docker"
[ "$(uname -m)" = x86_64 ] || missing "The MAP is for x86-64; this machine is $(uname -m)." "use an x86-64 machine"
"$DOCKER" version >/dev/null 2>&1 || missing "The Docker daemon does not answer." "start it, or join the group docker"
[ -n "${MAP_CONTEXT_ONLY:-}" ] || "$DOCKER" buildx version >/dev/null 2>&1 \
  || missing "Docker's buildx is needed by the packager." "install docker-buildx-plugin"
[ -f models/pdl1es/model.onnx ] || missing "models/pdl1es/model.onnx is missing." "fetch the repository whole, or export a model"
[ -x "$venv/bin/monai-deploy" ] || missing "$venv has no packager." "run make map, which installs it"
free=$(df --output=avail -k . | tail -n 1)
[ "$free" -gt 16000000 ] || missing "16 GB of free disk are needed, $((free / 1000000)) GB are there." "make room"

version=$("$venv/bin/python" package/manifests.py --settings app.yaml --show-version)
build=build/map
rm -rf "$build"
mkdir -p "$build/app" "$build/docs" "$build/bin" "$build/cache"

# ---- what the image cannot build: it has no compiler
# shellcheck disable=SC2086
DOCKER_BUILDKIT=1 "$DOCKER" build ${DOCKER_BUILD_FLAGS:-} --build-arg "ORT=${ORT:-onnxruntime-gpu}" \
  -f package/wheel.Dockerfile --output "type=local,dest=$build/wheel" .

# ---- the application's folder: the packager puts every folder below `--add` on PYTHONPATH, where each room of pdl1es
# (model, report...) would become a package of its own; so all packages lie beside __main__.py instead
cp package/map_main.py "$build/app/__main__.py"
for package in app operators pdl1es; do
  mkdir "$build/app/$package"
  tar --exclude=__pycache__ --exclude='*.so' -C "$package" -c . | tar -C "$build/app/$package" -x
done
cp "$build/wheel/compiled.abi3.so" "$build/app/pdl1es/features/"
"$venv/bin/python" -m zipfile -e "$build"/wheel/pyradiomics_bhklab-*.whl "$build/app"
# The packager's Dockerfile upgrades pip for the user and installs this list. The next start of Python is pip's own: it
# makes holoscan's links, by the system's pip 24, which then is the one that runs. The script `pip` has to fit it:
# that of 26.3 does not, that of 25.3 does, and holoscan-cli wants one after 25.1.
sed 's/^pip==.*/pip==25.3/' "$build/wheel/requirements.txt" >"$build/app/requirements.txt"
grep -qx 'pip==25.3' "$build/app/requirements.txt" || { echo "the list of packages has no pip" >&2; exit 1; }
cp LICENSE README.md "$build/docs/"
cp -r docs/. "$build/docs/"

# ---- the packager, which wants keys that app.yaml may leave out
"$venv/bin/python" package/manifests.py --settings app.yaml --complete "$build/app.yaml"
cp package/docker "$build/bin/docker"
chmod +x "$build/bin/docker"
source=()
[ -z "${MAP_SOURCE:-}" ] || source=(--source "$MAP_SOURCE")
status=0
PATH=$PWD/$build/bin:$venv/bin:$PATH DOCKER=$DOCKER MAP_CONTEXT=$PWD/$build/context monai-deploy package "$build/app" \
  --config "$build/app.yaml" --tag "${TAG:-pdl1es-map:$version}" --platform x86_64 --models models --docs "$build/docs" \
  "${source[@]}" --build-cache "$build/cache" --no-cache || status=$?
if [ -n "${MAP_CONTEXT_ONLY:-}" ]; then # the packager misses an image then, and says so; what counts is the context
  [ -f "$build/context/Dockerfile" ] || { echo "the packager left no build context" >&2; exit 1; }
  echo "build context: $build/context"
  exit 0
fi
exit "$status"
