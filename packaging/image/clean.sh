#!/bin/sh
# Removes from a Debian root file system what differs from one installation of the
# same packages to the next, and what an image does not need: clean.sh ROOT. The
# Dockerfile and rootfs.sh both run it.
set -eu
cd "$1"
rm -rf var/lib/apt/lists/* var/cache/apt/* var/log/* var/cache/debconf/*-old var/lib/dpkg/*-old \
	var/cache/ldconfig/aux-cache tmp/* var/tmp/* run/* root/.bash_history
rm -f etc/passwd- etc/group- etc/shadow- etc/gshadow- etc/subuid- etc/subgid- etc/.pwd.lock
# What a container runtime puts there by itself.
rm -f etc/resolv.conf etc/hostname etc/machine-id var/lib/dbus/machine-id
# Python writes these with the times of the installation, and can do without.
find usr -name __pycache__ -type d -prune -exec rm -rf {} +
# The day on which each account was made.
sed -i -E 's/^([^:]*:[^:]*:)[0-9]+:/\1:/' etc/shadow
# Nobody in the container may become somebody else.
find . -xdev -type f -perm /6000 -exec chmod a-s {} +
