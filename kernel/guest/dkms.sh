#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# dkms.sh TARGET: has Debian's DKMS build the module for TARGET, install it and remove it again, in
# directories of its own, from what `make -C kernel dkms` packs.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

target=${1:?"dkms.sh TARGET"}
kernel=$(kernel_of "$target")
release=$(<"$kernel/release")
dkms=$("$guest/fetch.sh" dkms)/usr/sbin/dkms
at=$build/dkms
log=$at/log

rm -rf "$at"
mkdir -p "$at/tree" "$at/lib/modules/$release"
make -s -C "$root/kernel" dkms INSTALL_MOD_PATH="$at" >/dev/null
source=$(echo "$at"/usr/src/adma-*)
version=${source##*/adma-}

run() { # run ACTION [OPTION...]
	local action=$1
	shift
	"$dkms" "$action" "adma/$version" --dkmstree "$at/tree" --sourcetree "$at/usr/src" \
		--installtree "$at/lib/modules" --kernelsourcedir "$kernel/headers" --no-depmod "$@" >>"$log" 2>&1 </dev/null || {
		cat "$log" "$at/tree/adma/$version/build/make.log" 2>/dev/null || true
		die "dkms $action failed"
	}
}

installed() {
	find "$at/lib/modules/$release" -name 'adma.ko*'
}

run install -k "$release"
[ -n "$(installed)" ] || die "dkms installed nothing"
[ "$(/sbin/modinfo -F vermagic "$(installed)" | cut -d ' ' -f 1)" = "$release" ] || die "the module is for another kernel"
[ -e "$at/etc/udev/rules.d/60-adma.rules" ] || die "no udev rule"
run remove -k "$release"
[ -z "$(installed)" ] || die "dkms left the module behind"
echo "dkms: adma $version built for $release, installed and removed"
