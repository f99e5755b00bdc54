#!/usr/bin/env bash
# Compiles demo/hello on a node of its own: remotely, then again from the cache.
# Leaves nothing behind, neither processes nor files.
set -euo pipefail
cd "$(dirname "$0")/.."
node=$PWD/bin/bgrid-node
exec </dev/null

fail() {
	echo "demo: $*" >&2
	exit 1
}

[ -x "$node" ] || fail "bin/bgrid-node is not built: run \`make demo\`"

# The actions of this node run on this machine, with its compiler.
if ! command -v cc >/dev/null; then
	if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
		fail "there is no C compiler: install one first, on Debian: sudo apt-get install gcc libc6-dev"
	fi
	echo "There is no C compiler: installing gcc and libc6-dev."
	export DEBIAN_FRONTEND=noninteractive
	install() { apt-get -qq update && apt-get -qq install --yes --no-install-recommends gcc libc6-dev >/dev/null; }
	install || { sleep 5 && install; } || fail "installing gcc failed: see above"
fi

work=$(mktemp -d -t bgrid-demo-XXXXXX)
pid=
finish() {
	if [ -n "$pid" ]; then
		kill "$pid" 2>/dev/null || true
		wait "$pid" 2>/dev/null || true
	fi
	rm -rf "$work"
}
trap finish EXIT
trap 'exit 130' INT TERM

now() { date +%s%3N; }

began=$(now)
env -u BGRID_CONFIG "$node" serve --listen 127.0.0.1:0 --http-listen off --data-dir "$work/data" --cas-max-size 256MiB \
	>"$work/welcome" 2>"$work/log" &
pid=$!
server=
until server=$(sed -n 's/^bgrid-node serves .* on \([0-9.]*:[0-9]*\).*/\1/p' "$work/welcome") && [ -n "$server" ]; do
	if ! kill -0 "$pid" 2>/dev/null; then
		cat "$work/log" >&2
		fail "the node did not start: see above"
	fi
	[ $(($(now) - began)) -lt 60000 ] || fail "the node did not start within a minute"
	sleep 0.02
done
echo "A node serves on $server, $(($(now) - began)) ms after its start: scheduler, storage, cache and workers in one process."
echo

# The project lies in a directory of its own, where the outputs come to.
cp -r demo/hello "$work/hello"
cd "$work/hello"

remote() { "$node" run --server "$server" "$@"; }

# build compiles each file, then links; each line is a command that ran remotely.
build() {
	local began start source objects=()
	began=$(now)
	for source in *.c; do
		start=$(now)
		remote -i "$source" -i greet.h -o "${source%.c}.o" -- cc -O2 -c -o "${source%.c}.o" "$source"
		objects+=("${source%.c}.o")
		printf '  %5d ms  cc -c %s\n' $(($(now) - start)) "$source"
	done
	start=$(now)
	remote "${objects[@]/#/-i}" -o hello -- cc -o hello "${objects[@]}"
	printf '  %5d ms  cc -o hello %s\n' $(($(now) - start)) "${objects[*]}"
	took=$(($(now) - began))
}

echo "1. Compiling a small C project remotely:"
build
first=$took
echo
echo "2. Its outputs removed, the same again, answered from the cache:"
rm -f ./*.o hello
build
second=$took

echo
echo "The program that came back says: $(./hello)"
echo "Remotely: $first ms. From the cache: $second ms."
cat <<'END'

How to go on:
  make run                                   leaves a node serving on 127.0.0.1:50051, pages on http://127.0.0.1:8080
  bazel build //... --remote_executor=grpc://127.0.0.1:50051 --remote_instance_name=buildgrid --spawn_strategy=remote
  ./bin/bgrid-node run -i FILE -o OUTPUT -- COMMAND ...
  ./bin/bgrid-node env --client recc         lines for recc (also: bazel, buildstream)
README.md says more.
END
