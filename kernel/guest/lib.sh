# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
# Shared by the scripts of this directory: where things are, and how to make each of them once.
# Downloads, and what is built from them, are in the user's cache by version, so that a fresh clone
# finds them; they may be deleted at any time. What is built from the checkout is in build/kernel.

set -euo pipefail
shopt -s inherit_errexit
guest=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$guest/../.." && pwd)
# shellcheck disable=SC2034 # for those who source this
build=$root/build/kernel
cache=${XDG_CACHE_HOME:-$HOME/.cache}/adma
machine=$(dpkg --print-architecture)
mkdir -p "$cache"

die() {
	echo "${0##*/}: $*" >&2
	exit 1
}

need() {
	"$root/scripts/need.sh" "$@" >&2
}

# Prints the directory with the headers to build a target's modules against, and the kernel to boot.
kernel_of() {
	case $1 in
	amd64-6.1 | amd64-6.12 | amd64-newest | arm64-6.1) "$guest/fetch.sh" "$1" ;;
	debug) "$guest/debug.sh" ;;
	*) die "no target $1: choose from amd64-6.1 amd64-6.12 amd64-newest arm64-6.1 debug" ;;
	esac
}

arch_of() {
	case $1 in
	amd64-*) echo amd64 ;;
	*) echo arm64 ;;
	esac
}

# cross ARCH: the prefix of the compiler for it; empty for the machine's own architecture.
cross() {
	[ "$1" = "$machine" ] || case $1 in
	arm64) echo aarch64-linux-gnu- ;;
	*) die "no cross compiler known for $1" ;;
	esac
}

# kernel_make ARCH ARGUMENT...: make, for kernel sources.
kernel_make() {
	local arch=$1
	shift
	case $arch in
	amd64) set -- ARCH=x86_64 "$@" ;;
	*) set -- ARCH="$arch" "$@" ;;
	esac
	make -s CROSS_COMPILE="$(cross "$arch")" "$@" </dev/null
}

# "${with_date[@]}" COMMAND...: sets the date first, for a guest whose clock does not know it.
# shellcheck disable=SC2016,SC2034 # expanded in the guest; for those who source this
with_date=(bash -c 'date -s "$0" >/dev/null && exec "$@"' "@$(date +%s)")

# Builds what is measured in the guests of TARGET, which are of ARCH: a release build.
release() { # release TARGET ARCH
	"$guest/modules.sh" "$1"
	ADMA_BUILD=release "$guest/userland.sh" "$2"
}

# compiled DIRECTORY AT: has Python compile what the guest finds at AT, which would take an emulated
# processor long. What it writes is the same for every architecture.
compiled() {
	"$root/.venv/bin/python" -m compileall -q --invalidation-mode timestamp -x '/(test|tests|idlelib|lib2to3)/' \
		-s "$1" -p "$2" "$1" >&2
}

# alone FILE: takes the lock of FILE, until the script exits or takes another.
alone() {
	mkdir -p "${1%/*}"
	exec 8>"$1"
	flock 8
}

# once DIRECTORY COMMAND...: unless DIRECTORY exists, COMMAND fills a directory beside it, named in
# $made, which is renamed to DIRECTORY when COMMAND has succeeded.
# shellcheck disable=SC2034 # for COMMAND
made=''
once() {
	local directory=$1
	shift
	[ ! -d "$directory" ] || return 0
	alone "$directory.lock"
	[ ! -d "$directory" ] || return 0
	rm -rf "$directory.part"
	mkdir "$directory.part"
	made=$directory.part "$@"
	mv "$directory.part" "$directory"
}
