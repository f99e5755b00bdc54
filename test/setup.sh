#!/usr/bin/env bash
# Installs what the tests need: Bazel and a C++ compiler from Debian, remotetool
# from its Go module, BuildStream from PyPI and a Debian into bin/. Quick when all is there.
# An ordinary user is told what to install instead.
set -euo pipefail
cd "$(dirname "$0")/.."
export DEBIAN_FRONTEND=noninteractive
exec </dev/null

# What is missing: "package reason" for each thing that is looked for.
missing() {
	command -v g++ >/dev/null || echo "g++ (a C and C++ compiler for what the real clients build)"
	command -v bazel-4 >/dev/null || echo "bazel-bootstrap (Bazel 4.2.3)"
	[ -f /usr/share/bazel/rules/java/WORKSPACE ] || echo "bazel-rules-java (Bazel looks for it in every build)"
	[ -f /usr/share/bazel/rules/proto/WORKSPACE ] || echo "bazel-rules-proto (Bazel looks for it in every build)"
	[ -x /sbin/mkfs.ext4 ] || [ -x /usr/sbin/mkfs.ext4 ] || echo "e2fsprogs (mkfs.ext4 for the power cuts of make soak)"
	[ -x /sbin/losetup ] || [ -x /usr/sbin/losetup ] || echo "mount (losetup for the power cuts of make soak)"
	command -v bwrap >/dev/null || echo "bubblewrap (sandboxes, of the runner with that name)"
	[ -x /usr/bin/busybox ] && ! ldd /usr/bin/busybox >/dev/null 2>&1 || echo "busybox-static (the root file system of BuildStream's builds)"
	[ -x /sbin/ip ] || [ -x /usr/sbin/ip ] || echo "iproute2 (network namespaces of the clusters that are tested)"
	[ -x /usr/sbin/nft ] || echo "nftables (partitions between the nodes of these clusters)"
	PATH=$PATH:/usr/sbin command -v debootstrap >/dev/null || echo "debootstrap (a Debian to install the package in, which is also the worker's image)"
	/usr/bin/python3 -c 'import ensurepip, venv' 2>/dev/null || echo "python3-venv (BuildStream is installed into an environment of its own)"
}

install_packages() {
	apt-get -qq update && apt-get -qq install --yes --no-install-recommends "$@" >/dev/null
}

want=$(missing)
if [ -n "$want" ]; then
	mapfile -t packages < <(cut -d ' ' -f 1 <<<"$want")
	if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
		echo "The tests need Debian packages that are not here:" >&2
		sed 's/^/  /' <<<"$want" >&2
		echo "Install them first: sudo apt-get install --no-install-recommends ${packages[*]}" >&2
		exit 1
	fi
	echo "installing ${packages[*]}"
	if ! install_packages "${packages[@]}"; then
		echo "apt-get failed; once more in 5 seconds" >&2
		sleep 5
		install_packages "${packages[@]}"
	fi
	want=$(missing)
	if [ -n "$want" ]; then
		echo "Still missing after the installation:" >&2
		sed 's/^/  /' <<<"$want" >&2
		exit 1
	fi
fi

# The version is pinned in test/remotetool/go.mod, a module of its own, so that
# none of its dependencies become the product's.
if ! (cd test/remotetool && CGO_ENABLED=0 go build -buildvcs=false -o ../../bin/remotetool github.com/bazelbuild/remote-apis-sdks/go/cmd/remotetool); then
	echo "building remotetool failed: the tests need it; a Go module proxy must be reachable the first time" >&2
	exit 1
fi

# BuildStream's wheel brings the programs of buildbox along that it runs.
bst=bin/buildstream
if ! cmp -s test/buildstream/requirements.txt "$bst/installed.txt"; then
	echo "installing BuildStream into $bst"
	rm -rf "$bst"
	/usr/bin/python3 -m venv "$bst"
	if ! "$bst/bin/pip" install --quiet --disable-pip-version-check -r test/buildstream/requirements.txt 2>"$bst/pip.log"; then
		cat "$bst/pip.log" >&2
		echo "installing BuildStream failed: the tests need it; a Python package index must be reachable the first time" >&2
		exit 1
	fi
	cp test/buildstream/requirements.txt "$bst/installed.txt"
fi

# The package and the worker's image are tested in a Debian of their own. Without root,
# or a mirror, those tests are skipped, and say so.
if [ "$(id -u)" = 0 ] && ! packaging/image/debian.sh bin/image/debian.tar; then
	echo "no Debian root file system: a mirror must be reachable the first time" >&2
fi
