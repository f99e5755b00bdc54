#!/usr/bin/env bash
# Builds the file trees of the images without a container engine, as tar archives
# that are the same, byte for byte, whenever the same is built:
#   rootfs.sh grid OUT.tar            the binary, and what a minimal image needs
#   rootfs.sh debian OUT.tar          a Debian with packages; needs root, debootstrap and a mirror
#   rootfs.sh worker DEBIAN.tar OUT.tar   that Debian and the binary
# BINARY is bgrid-node, bin/bgrid-node by default. SUITE, MIRROR and CACHE (a directory
# of packages) are debootstrap's: the trees of two builds are the same while the
# mirror's packages are; https://snapshot.debian.org/archive/debian/DATE/ stays the same.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
binary=${BINARY:-$here/../../bin/bgrid-node}
suite=${SUITE:-bookworm}
mirror=${MIRROR:-http://deb.debian.org/debian}
# The time of every file: that of the last change of the source.
: "${SOURCE_DATE_EPOCH:=$(git -C "$here" log -1 --format=%ct 2>/dev/null || echo 0)}"
export SOURCE_DATE_EPOCH LC_ALL=C TZ=UTC
umask 022

work=$(mktemp -d "${TMPDIR:-/tmp}/rootfs.XXXXXX")
trap 'rm -rf --one-file-system "$work"' EXIT
root=$work/root
mkdir -m 0755 "$root"

# add OUT OPTION... PATH...: what is at the paths of the tree, to the archive that is
# to become OUT.
add() {
	local out=$1.part
	shift
	tar --append --file "$out" --directory "$root" --format=gnu --sort=name --mtime="@$SOURCE_DATE_EPOCH" --numeric-owner "$@"
}

# pack OUT: the whole tree. Device nodes stay out: runtimes make them.
pack() {
	rm -f "$1.part"
	add "$1" --owner=0 --group=0 --exclude='./dev/*' "${@:2}" .
}

# ours DIR: what both images have, and where they keep what changes.
ours() {
	install -D -m 0755 "$binary" "$root/usr/bin/bgrid-node"
	install -d -m 0755 "$root/etc/bgrid-node"
	install -d -m 0750 "$root/$1"
}

case ${1:-} in
grid)
	ours var/lib/bgrid-node
	install -d -m 1777 "$root/tmp"
	mkdir "$root/dev" "$root/proc" "$root/sys" # for what runtimes mount there
	install -m 0644 "$here/passwd" "$root/etc/passwd"
	install -m 0644 "$here/group" "$root/etc/group"
	install -D -m 0644 /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/ca-certificates.crt"
	pack "$2" --exclude=./var/lib/bgrid-node
	add "$2" --owner=65532 --group=65532 ./var/lib/bgrid-node
	mv "$2.part" "$2"
	;;
debian)
	packages=$(paste -sd, "$here/packages")
	debootstrap --variant=minbase ${CACHE:+--cache-dir="$CACHE"} --include="$packages" "$suite" "$root" "$mirror" >"$work/log" 2>&1 || {
		tail -n 20 "$work/log" >&2
		exit 1
	}
	"$here/clean.sh" "$root"
	tail -n 1 "$here/passwd" >>"$root/etc/passwd"
	tail -n 1 "$here/group" >>"$root/etc/group"
	pack "$2"
	mv "$2.part" "$2"
	;;
worker)
	ours work
	cp "$2" "$3.part"
	add "$3" --owner=0 --group=0 ./etc/bgrid-node ./usr/bin/bgrid-node
	add "$3" --owner=65532 --group=65532 ./work
	mv "$3.part" "$3"
	;;
*)
	sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "$0" >&2
	exit 2
	;;
esac
