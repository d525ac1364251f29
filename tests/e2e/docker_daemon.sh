#!/bin/bash
# docker_daemon.sh FOLDER: a Docker daemon for the tests, on a machine without one.
#
# Debian's docker.io is unpacked into FOLDER and started there, on FOLDER/docker.sock, without touching the machine: no
# package is installed but debootstrap, no bridge, no firewall rule, a /dev of its own. Two images are made by
# debootstrap, since no registry may be in reach:
#   pdl1es-test/python:3.11-bookworm    stands in for python:3.11-slim-bookworm (Debian's Python instead of python.org's)
#   pdl1es-test/ubuntu:24.04            stands in for NVIDIA's CUDA image, which is Ubuntu 24.04 with CUDA beside it
# "ready" is printed when all is there; the daemon ends with this script (SIGTERM).
# Exit code 75: no daemon can be started here; the last line of the standard error says why. Exit code 1: one could, and
# something else went wrong.
set -uo pipefail
folder=$(mkdir -p "$1" && cd "$1" && pwd) || exit 2
failed() { echo "$*" >&2; exit 1; }
cannot() { echo "no Docker daemon can be started here: $*" >&2; exit 75; }

[ "$(id -u)" = 0 ] || cannot "it needs root"
[ "$(dpkg --print-architecture 2>/dev/null)" = amd64 ] || cannot "it needs Debian on x86-64"
unshare --mount true 2>/dev/null || cannot "mount namespaces are not allowed"
export DEBIAN_FRONTEND=noninteractive
if ! command -v debootstrap >/dev/null; then
  { apt-get update -qq && apt-get install -y -qq --no-install-recommends debootstrap; } >"$folder/apt.log" 2>&1 \
    || cannot "debootstrap cannot be installed (see $folder/apt.log)"
fi

# ---- the daemon's programs
if [ ! -x "$folder/programs/usr/sbin/dockerd" ]; then
  mkdir -p "$folder/packages"
  download() { (cd "$folder/packages" && apt-get -o APT::Sandbox::User=root -qq download docker.io containerd runc tini); }
  download >"$folder/apt.log" 2>&1 || { apt-get update -qq && download; } >>"$folder/apt.log" 2>&1 \
    || cannot "Debian's docker.io cannot be downloaded (see $folder/apt.log)"
  for package in "$folder"/packages/*.deb; do dpkg -x "$package" "$folder/programs" || failed "$package is damaged"; done
fi
export PATH=$folder/programs/usr/bin:$folder/programs/usr/sbin:$PATH DOCKER_HOST=unix://$folder/docker.sock
export DOCKER_CONFIG=$folder/config
mkdir -p "$DOCKER_CONFIG"

docker version >/dev/null 2>&1 && failed "a daemon runs in $folder already"

# Ten gigabytes of layers live in one sparse file, where loop devices can be had: it is written without a journal, and
# removed at once.
if [ ! -d "$folder/data" ]; then
  truncate -s 40G "$folder/disk" && mkfs.ext4 -q -F -O ^has_journal -E lazy_itable_init=1 "$folder/disk" || rm -f "$folder/disk"
fi

# ---- the daemon, whose builds see a /dev of their own
rm -f "$folder/docker.pid"
# shellcheck disable=SC2016
unshare --mount --propagation private bash -euc '
  folder=$1; shift
  mkdir -p "$folder/data"
  [ ! -f "$folder/disk" ] || mount -o loop,noatime "$folder/disk" "$folder/data" || rm "$folder/disk"
  own=$(mktemp -d)
  mount -t tmpfs -o mode=755,dev tmpfs "$own"
  for device in null zero full random urandom tty; do cp -a "/dev/$device" "$own/$device"; done
  mkdir "$own/pts" "$own/shm"
  mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts "$own/pts"
  mount -t tmpfs -o mode=1777 tmpfs "$own/shm"
  ln -s pts/ptmx "$own/ptmx"
  ln -s /proc/self/fd "$own/fd"
  for number in 0:stdin 1:stdout 2:stderr; do ln -s "/proc/self/fd/${number%:*}" "$own/${number#*:}"; done
  mount --rbind "$own" /dev
  exec dockerd --data-root "$folder/data" --exec-root "$folder/run" --pidfile "$folder/docker.pid" --host "$DOCKER_HOST" \
    --bridge none --iptables=false --ip-forward=false --ip-masq=false --default-ulimit nofile=1024:1024
' daemon "$folder" >"$folder/dockerd.log" 2>&1 &
daemon=$!
stop() { kill "$daemon" 2>/dev/null; wait "$daemon" 2>/dev/null; }
trap stop EXIT
trap 'exit 143' TERM INT
for _ in $(seq 60); do
  docker version >/dev/null 2>&1 && break
  kill -0 "$daemon" 2>/dev/null || cannot "dockerd ended: $(tail -n 1 "$folder/dockerd.log")"
  sleep 0.5
done
docker version >/dev/null 2>&1 || cannot "dockerd does not answer: $(tail -n 1 "$folder/dockerd.log")"

# ---- the stand-ins
stand_in() { # stand_in TAG SUITE MIRROR PACKAGES [OPTIONS]: in memory, where Debian's packages unpack quickest
  docker image inspect "$1" >/dev/null 2>&1 && return
  mkdir -p "$folder/root"
  # shellcheck disable=SC2016
  unshare --mount --propagation private bash -uc '
    root=$1 script=$2 tag=$3 suite=$4 mirror=$5 packages=$6
    mount -t tmpfs -o mode=755,size=3G,dev tmpfs "$root" || exit 75
    debootstrap --variant=minbase --include="$packages" "${@:7}" "$suite" "$root" "$mirror" "$script" >&2 || exit 75
    # Certificates that this machine trusts, for a proxy between pip and its index.
    cp /usr/local/share/ca-certificates/*.crt "$root/usr/local/share/ca-certificates/" 2>/dev/null
    chroot "$root" update-ca-certificates >&2
    printf "[global]\ncert = /etc/ssl/certs/ca-certificates.crt\n" >"$root/etc/pip.conf"
    rm -rf "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/* "$root/usr/lib/python3.11/EXTERNALLY-MANAGED"
    tar -C "$root" -c . | docker import --change "ENV LANG=C.UTF-8" - "$tag"
  ' stand-in "$folder/root" "$script" "$@" >/dev/null 2>"$folder/debootstrap.log"
  case $? in
    0) ;;
    75) cannot "debootstrap of $2 failed (see $folder/debootstrap.log)" ;;
    *) failed "the image $1 could not be made" ;;
  esac
}
script=/usr/share/debootstrap/scripts/sid
stand_in pdl1es-test/python:3.11-bookworm bookworm "" \
  ca-certificates,python3,python3-dev,python3-venv
# Ubuntu's keys, out of the package whose digest is known here; Debian has no package of them.
keys=$folder/ubuntu-keyring.deb
if [ ! -f "$keys" ]; then
  url=http://archive.ubuntu.com/ubuntu/pool/main/u/ubuntu-keyring/ubuntu-keyring_2023.11.28.1_all.deb
  python3 -c 'import sys, urllib.request; urllib.request.urlretrieve(*sys.argv[1:])' "$url" "$keys" 2>/dev/null \
    || rm -f "$keys"
fi
if echo "36de43b15853ccae0028e9a767613770c704833f82586f28eb262f0311adb8a8  $keys" | sha256sum --check --status 2>/dev/null; then
  dpkg -x "$keys" "$folder/keys"
  script=/usr/share/debootstrap/scripts/gutsy
  stand_in pdl1es-test/ubuntu:24.04 noble "" ca-certificates \
    --components=main,universe --keyring="$folder/keys/usr/share/keyrings/ubuntu-archive-keyring.gpg"
else
  echo "Ubuntu's archive is not in reach: pdl1es-test/ubuntu:24.04 is missing" >&2
fi
echo ready
wait "$daemon"
