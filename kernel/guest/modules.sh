#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# modules.sh [--check] TARGET: builds adma.ko, and the modules that its tests need,
# for amd64-6.1, amd64-6.12, amd64-newest, arm64-6.1 or debug, in build/kernel/TARGET. A warning
# is an error. --check also runs sparse.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

check=''
[ "${1:-}" != --check ] || { check=yes; shift; }
target=${1:?"modules.sh [--check] TARGET"}
at=$build/$target
arch=$(arch_of "$target")
kernel=$(kernel_of "$target")
extra=()
[ "$target" != amd64-6.12 ] || extra=(CONFIG_DEBUG_INFO_BTF_MODULES=) # this would need pahole
source=$("$guest/fetch.sh" source)

# kbuild writes beside the sources, so copies of them are built.
copy() {
	mkdir -p "$at"
	rsync_like include module provider guest/alarm
	cp -u "$source/drivers/dma/dmaengine.h" "$at/provider/"
	# Debian does not build this in-tree driver and test. Their sources are used unchanged.
	mkdir -p "$at/intree"
	cp -u "$source/drivers/dma/"{xilinx/zynqmp_dma.c,dmatest.c,dmaengine.h} "$at/intree/"
	sed -i 's#"../dmaengine.h"#"dmaengine.h"#' "$at/intree/zynqmp_dma.c"
}

rsync_like() {
	local part name
	for part in "$@"; do
		[ -d "$root/kernel/$part" ] || continue
		name=${part##*/}
		mkdir -p "$at/$name"
		# Files that were deleted or renamed must not stay.
		find "$at/$name" -name '*.[ch]' -o -name Kbuild | while read -r file; do
			[ -e "$root/kernel/$part/${file#"$at/$name/"}" ] || rm -f "$file"
		done
		cp -ru "$root/kernel/$part/." "$at/$name/"
	done
}

# kmake DIRECTORY ARGUMENT...: kernels that bring their own tools are built for in their root.
kmake() {
	local directory=$1
	shift
	if [ -d "$kernel/tools" ]; then
		in_tools make -s -C "/usr/src/linux-headers-$(<"$kernel/release")" M="/mnt/$directory" "$@"
	else
		kernel_make "$arch" -C "$kernel/headers" M="$at/$directory" "${extra[@]}" "$@"
	fi
}

# in_tools COMMAND...: in the root with the kernel's own tools, where $at is mounted at /mnt.
in_tools() {
	local map=()
	[ "$(id -u)" = 0 ] || map=(--map-root-user)
	# shellcheck disable=SC2016 # expanded in the other mount namespace
	unshare "${map[@]}" --mount bash -c 'tools=$1 at=$2
		mount --bind "$at" "$tools/mnt" && mount --rbind /dev "$tools/dev" && mount --rbind /proc "$tools/proc" &&
			shift 2 && PATH=/usr/bin:/usr/sbin exec chroot "$tools" "$@"' \
		in_tools "$kernel/tools" "$at" "$@" </dev/null
}

# compile DIRECTORY: builds our own sources, where a warning is an error. With --check sparse looks
# at each file in the same run, also at those that are built already: a run of its own, with other
# flags, would have them all compiled again, and once more for whoever boots them.
compile() {
	local directory=$1 log=$at/$1.log sparse=()
	[ -z "$check" ] || sparse=(C=2 CF=-D__CHECK_ENDIAN__)
	if ! kmake "$directory" KCFLAGS=-Werror W=1 "${sparse[@]}" modules >"$log" 2>&1 ||
		own_warnings "$log"; then
		cat "$log" >&2
		die "$target: $directory does not compile cleanly"
	fi
}

# Warnings of sparse in the kernel's own headers are ignored.
own_warnings() {
	grep -E '(warning|error):' "$1" | grep -qE "^(\.\./)*($at|/mnt|[a-z_]+\.[ch])"
}

# Warnings of the in-tree sources are ignored.
compile_intree() {
	local modules=dmatest.o
	[ "$arch" = amd64 ] || [ "$target" = debug ] || modules="$modules zynqmp_dma.o"
	printf 'obj-m := %s\n' "$modules" >"$at/intree/Kbuild"
	kmake intree modules >"$at/intree.log" 2>&1 || { cat "$at/intree.log" >&2; die "$target: in-tree modules"; }
}

copy
# Debian's packages lack the script that the newest kernels run sparse with.
[ ! -d "$kernel/tools" ] || check=''
compile module
compile provider
[ ! -e "$at/alarm/Kbuild" ] || compile alarm
# The sources are those of 6.1, and do not follow a kernel that is much newer.
[ -d "$kernel/tools" ] || compile_intree
cat "$kernel/release" >"$at/release"
echo "$target: $(cat "$at/release"): modules built${check:+, sparse clean}"
