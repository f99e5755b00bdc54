#!/usr/bin/env bash
# Compiles demo/hello on a node of its own: remotely, then again from the cache.
# Leaves nothing behind, neither processes nor files.
set -euo pipefail
cd "$(dirname "$0")/.."
node=${TEST_BGRID_NODE:-$PWD/bin/bgrid-node}
exec </dev/null
unset "${!BGRID_@}" # settings of other nodes

fail() {
	echo "demo: $*" >&2
	exit 1
}

[ -x "$node" ] || fail "$node is not built: run \`make demo\`"

# The actions of this node run on this machine, with its compiler.
compiles() { cc -E -include stdio.h -x c - >/dev/null 2>&1 </dev/null; }
if ! compiles; then
	if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
		fail "there is no C compiler: install one first, on Debian: sudo apt-get install gcc libc6-dev"
	fi
	echo "There is no C compiler with its headers: installing gcc and libc6-dev."
	export DEBIAN_FRONTEND=noninteractive
	install() { apt-get -qq update && apt-get -qq install --yes --no-install-recommends gcc libc6-dev >/dev/null; }
	install || { sleep 5 && install; } || fail "installing gcc failed: see above"
	compiles || fail "the C compiler that was installed does not work: try cc on any file"
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
"$node" serve --listen 127.0.0.1:0 --http-listen off --data-dir "$work/data" --cas-max-size 256MiB \
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

# remote runs one command on the node, and says how long that took and where its
# result came from.
remote() {
	local start how
	start=$(now)
	if ! "$node" run -v --server "$server" "$@" 2>"$work/stderr"; then
		cat "$work/stderr" >&2
		fail "the command above failed"
	fi
	how=executed
	if grep -q 'from the cache' "$work/stderr"; then
		how='from the cache'
		cached=$((cached + 1))
	fi
	while [ "$1" != -- ]; do shift; done
	shift
	printf '  %5d ms  %-14s  %s\n' $(($(now) - start)) "$how" "$*"
}

# build compiles each file, then links. Inputs and outputs are named; nothing else
# is seen.
build() {
	local began source objects=()
	began=$(now)
	cached=0
	for source in *.c; do
		remote -i "$source" -i greet.h -o "${source%.c}.o" -- cc -O2 -c -o "${source%.c}.o" "$source"
		objects+=("${source%.c}.o")
	done
	remote "${objects[@]/#/-i}" -o hello -- cc -o hello "${objects[@]}"
	commands=$((${#objects[@]} + 1))
	took=$(($(now) - began))
}

echo "1. Compiling a small C project remotely:"
build
first=$took
[ "$cached" = 0 ] || fail "$cached commands were answered from the cache of a new node"
echo
echo "2. Its outputs removed, the same again:"
rm -f ./*.o hello
build
second=$took
[ "$cached" = "$commands" ] || fail "only $cached of $commands commands were answered from the cache"

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
