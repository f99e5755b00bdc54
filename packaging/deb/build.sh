#!/usr/bin/env bash
# Makes a Debian package: build.sh OUT.deb, with nothing but dpkg-deb. BINARY is
# bgrid-node (bin/bgrid-node by default) and VERSION its version, as `git describe` has
# it; LEVEL is how hard to compress, 1 to 9. The same source makes the same package.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
top=$here/../..
binary=${BINARY:-$top/bin/bgrid-node}
: "${SOURCE_DATE_EPOCH:=$(git -C "$top" log -1 --format=%ct 2>/dev/null || echo 0)}"
export SOURCE_DATE_EPOCH LC_ALL=C TZ=UTC
umask 022
version=$("$here/version.sh" "${VERSION:-$(git -C "$top" describe --tags --always --dirty 2>/dev/null || echo 0)}")

root=$(mktemp -d "${TMPDIR:-/tmp}/deb.XXXXXX")
trap 'rm -rf "$root"' EXIT
chmod 0755 "$root"

file() { install -D -m "${3:-0644}" "$1" "$root/$2"; }
file "$binary" usr/bin/bgrid-node 0755
file "$here/../systemd/bgrid-node.service" usr/lib/systemd/system/bgrid-node.service
file "$here/../systemd/bgrid-worker.service" usr/lib/systemd/system/bgrid-worker.service
file "$here/../systemd/sysusers.conf" usr/lib/sysusers.d/bgrid-node.conf
file "$here/config.yaml" etc/bgrid-node/config.yaml
file "$here/worker.yaml" etc/bgrid-node/worker.yaml
for page in "$top"/docs/*.md; do
	file "$page" "usr/share/doc/bgrid-node/$(basename "$page")"
done
file "$top/DEPENDENCIES.md" usr/share/doc/bgrid-node/DEPENDENCIES.md
complete() {
	mkdir -p "$root/$(dirname "$2")"
	"$binary" completion "$1" >"$root/$2"
}
complete bash usr/share/bash-completion/completions/bgrid-node
complete zsh usr/share/zsh/vendor-completions/_bgrid-node
complete fish usr/share/fish/vendor_completions.d/bgrid-node.fish

mkdir "$root/DEBIAN"
size=$(du -ks --apparent-size --exclude=DEBIAN "$root" | cut -f 1)
sed -e "s/@VERSION@/$version/" -e "s/@ARCH@/$(dpkg --print-architecture)/" -e "s/@SIZE@/$size/" "$here/control.in" >"$root/DEBIAN/control"
printf '/etc/bgrid-node/config.yaml\n/etc/bgrid-node/worker.yaml\n' >"$root/DEBIAN/conffiles"
for script in postinst prerm postrm; do
	install -m 0755 "$here/$script" "$root/DEBIAN/$script"
done
(cd "$root" && find . -path ./DEBIAN -prune -o -type f -printf '%P\0' | sort -z | xargs -0 md5sum >DEBIAN/md5sums)
find "$root" -exec touch --no-dereference --date="@$SOURCE_DATE_EPOCH" {} +
mkdir -p "$(dirname "$1")"
# gzip: every dpkg can read it, and it is the same for every number of CPUs.
dpkg-deb --root-owner-group -Zgzip -z"${LEVEL:-9}" --build "$root" "$1" >/dev/null
