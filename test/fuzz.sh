#!/usr/bin/env bash
# Runs every fuzz target of the module for a time each (default 10s), two at a time.
set -euo pipefail
cd "$(dirname "$0")/.."
time=${1:-10s}
export CGO_ENABLED=0 time

fuzz() {
	local package=$1 target=$2 log
	if log=$(go test -run '^$' -fuzz "^$target\$" -fuzztime "$time" -parallel 1 "$package" 2>&1); then
		echo "fuzz $package $target: $(grep -o 'execs: [0-9]*' <<<"$log" | tail -n 1)"
	else
		echo "fuzz $package $target FAILED"
		echo "$log"
		return 1
	fi
}
export -f fuzz

grep -rEho --include='*_test.go' --with-filename '^func Fuzz[A-Za-z0-9_]+' . |
	sed -E 's|^(.*)/[^/]*:func (.*)$|\1 \2|' | sort |
	xargs -r -P 2 -L 1 bash -c 'fuzz "$0" "$1"'
