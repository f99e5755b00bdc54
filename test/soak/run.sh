#!/usr/bin/env bash
# The long loops; `test/soak/run.sh -h` lists the flags. Example:
# make soak ARGS="-run kill -rounds 5"
set -euo pipefail
cd "$(dirname "$0")/../.."
exec env CGO_ENABLED=0 go run ./test/soak "$@"
