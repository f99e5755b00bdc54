#!/usr/bin/env bash
# Makes the Debian tree of rootfs.sh unless there is one from the same list of
# packages: debian.sh OUT.tar. Its files have the time 0: it does not change with the
# source.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
made=$(cat "$here/packages" "$here/clean.sh" "$here/rootfs.sh" "$here/debian.sh" | sha256sum; echo "${SUITE:-} ${MIRROR:-}")
if [ -f "$1" ] && [ "$(cat "$1.made" 2>/dev/null)" = "$made" ]; then
	exit 0
fi
if [ "$(id -u)" != 0 ] || ! PATH=$PATH:/usr/sbin command -v debootstrap >/dev/null; then
	echo "the worker's file tree is made by debootstrap, as root: sudo apt-get install debootstrap" >&2
	exit 1
fi
echo "making a Debian root file system with $(paste -sd ' ' "$here/packages")"
mkdir -p "$(dirname "$1")"
PATH=$PATH:/usr/sbin SOURCE_DATE_EPOCH=0 "$here/rootfs.sh" debian "$1"
echo "$made" >"$1.made"
