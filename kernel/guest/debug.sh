#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# debug.sh: builds the debug kernel (debug.config, arm64) from Debian's sources, once for each
# version of the sources and of the configuration. Prints its directory, which has vmlinuz, release
# and headers.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# If a line of debug.config is lost, then the kernel does not check what it stands for.
configure() {
	local line
	kernel_make arm64 -C "$source" O="$made" tinyconfig >/dev/null
	cat "$guest/debug.config" >>"$made/.config"
	kernel_make arm64 -C "$source" O="$made" olddefconfig >/dev/null 2>&1
	grep -E '^(# )?CONFIG_' "$guest/debug.config" | while read -r line; do
		grep -qx "$line" "$made/.config" || die "debug.config: $line did not survive"
	done
}

fill() {
	local log=$made.log
	need cc aarch64 kbuild
	configure
	if ! nice make -s -C "$source" O="$made" ARCH=arm64 CROSS_COMPILE="$(cross arm64)" \
		-j"$(nproc)" Image modules >"$log" 2>&1 </dev/null; then
		tail -n 30 "$log" >&2
		die "the debug kernel does not build; see $log"
	fi
	kernel_make arm64 -C "$made" kernelrelease >"$made/release"
	mv "$made/arch/arm64/boot/Image" "$made/vmlinuz"
	ln -s . "$made/headers"
	# What is left is needed to build modules.
	find "$made" -type f ! -path "$made/scripts/*" \
		\( -name '*.o' -o -name '*.a' -o -name '.*.cmd' -o -name 'vmlinux*' ! -name vmlinuz \) -delete
	rm -f "$log"
}

source=$("$guest/fetch.sh" source)
key=$(sha256sum <"$guest/debug.config")
at=$cache/debug/${source##*/}-${key:0:12}
once "$at" fill
echo "$at"
