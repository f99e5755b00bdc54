#!/usr/bin/env bash
# Prints the version of the Debian package for one of `git describe`: version.sh
# VERSION. A version of Debian's begins with a digit, and has - only before the
# package's own; without a tag, the time of the last change orders them.
set -euo pipefail
case $1 in
v[0-9]*) version=${1#v} ;;
[0-9]*.*) version=$1 ;;
*) version=0~$(date -u -d "@${SOURCE_DATE_EPOCH:-0}" +%Y%m%d%H%M%S).$1 ;;
esac
tr -- '-_' '+.' <<<"$version"
