#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# need.sh WHAT...: sees to it that the tools named are there.
# What is missing is installed from Debian when we are root; otherwise the one
# line that installs it is printed, and the script fails.
set -euo pipefail
shopt -s inherit_errexit
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

# compiles COMPILER [FLAG...]: can it make a threaded program out of our kind of C?
compiles() {
	command -v "$1" >/dev/null &&
		printf '#include <pthread.h>\n#include <stdatomic.h>\n#include <sys/socket.h>\n' |
		"$@" -std=c11 -fsyntax-only -x c - 2>/dev/null
}

# fuzzes COMPILER: does it bring libFuzzer?
fuzzes() {
	local program status=0
	program=$(mktemp)
	printf 'int LLVMFuzzerTestOneInput(const char *p, unsigned long n) { return !p && n; }\n' |
		"$1" -fsanitize=fuzzer,address -x c - -o "$program" 2>/dev/null || status=1
	rm -f "$program"
	return $status
}

# races COMPILER: does it bring ThreadSanitizer?
races() {
	local program status=0
	program=$(mktemp)
	printf 'int main(void) { return 0; }\n' |
		"$1" -fsanitize=thread -x c - -o "$program" 2>/dev/null || status=1
	rm -f "$program"
	return $status
}

python_packages() {
	case "${PYTHON:-}" in
	"") echo python3 python3-venv python3-dev ;;
	/usr/bin/python3* | python3*) echo "${PYTHON##*/}" "${PYTHON##*/}-venv" "${PYTHON##*/}-dev" ;;
	*) "$here/find-python.sh" ;; # not Debian's: says why, and fails
	esac
}

# The package with the tests of that Python's own library.
testsuite() {
	local python
	python=$("$here/find-python.sh") || return 0
	"$python" -c 'import test._test_multiprocessing' 2>/dev/null ||
		"$python" -c 'import sys; print("libpython%d.%d-testsuite" % sys.version_info[:2])'
}

# have COMMAND...: are they all there?
have() {
	local command
	for command in "$@"; do
		command -v "$command" >/dev/null || return 1
	done
}

# Prints the Debian packages that WHAT lacks; nothing when it is there.
missing() {
	case $1 in
	python) "$here/find-python.sh" >/dev/null 2>&1 || python_packages ;;
	testsuite) testsuite ;;
	cc) compiles "${CC:-gcc}" || echo gcc libc6-dev ;;
	spin) command -v spin >/dev/null || echo spin ;;
	tsan) { compiles gcc && races gcc; } || echo gcc libc6-dev ;;
	fuzzer) { compiles clang && fuzzes clang; } || echo clang libclang-rt-dev libc6-dev ;;
	aarch64) compiles aarch64-linux-gnu-gcc || echo gcc-aarch64-linux-gnu libc6-dev-arm64-cross ;;
	guest) have cpio xz kmod || echo cpio xz-utils kmod ;;
	kbuild) have make bc bison flex perl || echo make bc bison flex perl ;;
	qemu) have qemu-system-x86_64 qemu-system-aarch64 || echo qemu-system-x86 qemu-system-arm ;;
	sparse) have sparse || echo sparse ;;
	ucx) have ucx_perftest || echo ucx-utils ;; # no target asks for it
	strace) have strace || echo strace ;;
	*) echo "need.sh: unknown tool $1" >&2 && return 2 ;;
	esac
}

lacking() {
	local what
	for what in "$@"; do missing "$what"; done | tr '\n' ' '
}

# The package lists, fetched at most once an hour.
update() {
	if [ -z "$(find /var/lib/apt/lists -maxdepth 1 -name '*Packages*' -mmin -60 -print -quit)" ]; then
		apt-get -o DPkg::Lock::Timeout=600 update
	fi
}

packages=$(lacking "$@")
[ -n "$packages" ] || exit 0
exec 9<"$here/need.sh"
flock 9 # steps that run side by side may both be here
packages=$(lacking "$@")
[ -n "$packages" ] || exit 0

line="apt-get install -y --no-install-recommends $packages"
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
	echo "Some tools are missing. As root, run this and try again:" >&2
	echo "  $line" >&2
	exit 1
fi

echo "+ $line"
update
# shellcheck disable=SC2086 # a list of words
DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=600 install -y \
	--no-install-recommends $packages </dev/null

packages=$(lacking "$@")
if [ -n "$packages" ]; then
	echo "Still missing after the installation: $packages" >&2
	case " $* " in *" python "*) "$here/find-python.sh" >/dev/null ;; esac
	exit 1
fi
