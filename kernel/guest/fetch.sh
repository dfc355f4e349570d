#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# fetch.sh WHAT...: downloads and unpacks what the guests need, and prints the directory of
# each. Checks once an hour for newer versions.
#   amd64-6.1  arm64-6.1   kernel, modules, headers, busybox
#   amd64-6.12             the same, from bookworm-backports
#   amd64-newest           the same, of the newest kernel that Debian offers for a stable system. In
#                          its directory `tools` is a root file system with the compiler and the kbuild
#                          programs that these headers want, which do not run on Debian 12
#   source                 of kernel 6.1, as much of it as arm64 and our tests need
#   dkms                   Debian's DKMS
#   root-arm64             a root file system with Python for the arm64 guests
#   wheels-arm64           the compiled packages of .venv, for these guests
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
source "$guest/apt.sh"

# ---- kernels ----

# The unpacked headers refer to each other, and to their kbuild, by absolute paths.
relocate_headers() {
	local release=$1 at=$2 file
	grep -rlE '/usr/(src|lib/linux-kbuild)' --include=Makefile --include=.kernelvariables \
		"$made/usr/src/linux-headers-$release" | while read -r file; do
		sed -i "s#/usr/src/#$at/usr/src/#g; s#/usr/lib/linux-kbuild#$at/usr/lib/linux-kbuild#g" "$file"
	done
	ln -s "usr/src/linux-headers-$release" "$made/headers"
	echo "$release" >"$made/release"
}

# kbuild's programs have to run on this machine, whatever they build for.
own_kbuild() {
	rm -rf "$made/usr/lib/$1"
	apt_use "$machine" main
	unpack "$made" "$1"
}

# image_of RELEASE: the packages of a kernel. Later kernels come in several.
image_of() {
	echo "linux-image-$1"
	apt-cache depends "linux-image-$1" | sed -nE 's/.*Depends: (linux-(base|binary|modules)-.*)/\1/p'
}

fill_kernel() {
	local at=$1 arch=$2 release=$3 common=$4 kbuild=$5 image
	mapfile -t image < <(image_of "$release")
	unpack "$made" "${image[@]}" "linux-headers-$release" "linux-headers-$common" "$kbuild" busybox-static
	[ "$arch" = "$machine" ] || own_kbuild "$kbuild"
	relocate_headers "$release" "$at"
	finish_kernel "$release"
}

# Later packages have everything below /usr.
finish_kernel() {
	local release=$1 path
	for path in lib bin; do
		[ -d "$made/$path" ] || ln -s "usr/$path" "$made/$path"
	done
	for path in "boot/vmlinuz-$release" "lib/modules/$release/vmlinuz"; do
		[ ! -e "$made/$path" ] || ln -s "$path" "$made/vmlinuz"
	done
	/sbin/depmod -b "$made" "$release"
	rm -rf "${made:?}"/{usr/share,boot/System.map-*}
}

find_kernel() {
	local arch=$1 release kbuild
	apt_use "$arch" main
	release=$(release_of "linux-image-$arch")
	kbuild=linux-kbuild-$(cut -d. -f1,2 <<<"$release")
	found=$cache/kernel/$release-$(version_of "linux-image-$release")
	once "$found" fill_kernel "$found" "$arch" "$release" "${release%-"$arch"}-common" "$kbuild"
}

find_backport() {
	local arch=$1 release plain
	apt_use "$arch" backports
	release=$(apt-cache pkgnames linux-headers-6.12 | sed -n "s/^linux-headers-//p" |
		grep -E "^6\.12[0-9.]*(\+deb12|-[0-9]+)?-$arch\$" | sort -V | tail -n 1)
	[ -n "$release" ] || die "bookworm-backports has no kernel 6.12 here"
	plain=${release%-"$arch"}
	found=$cache/kernel/$release-$(version_of "linux-headers-$release")-bootable
	once "$found" fill_kernel "$found" "$arch" "$release" "$plain-common" "linux-kbuild-$plain"
}

# The headers stay where they were made for, below `tools`. They depend on a compiler that calls `as`, which
# they do not depend on.
fill_newest() {
	local release=$1 image
	mapfile -t image < <(image_of "$release")
	unpack "$made" "${image[@]}" busybox-static
	finish_kernel "$release"
	unpack_whole "$made/tools" "linux-headers-$release" binutils make bash coreutils sed grep findutils mawk dpkg
	rm -rf "$made"/tools/usr/share/{doc,man,locale,info}
	mkdir -p "$made"/tools/{dev,proc,mnt}
	ln -sf bash "$made/tools/usr/bin/sh"
	ln -sf mawk "$made/tools/usr/bin/awk"
	echo "$release" >"$made/release"
}

find_newest() {
	local arch=$1 release
	apt_use "$arch" newest
	release=$(release_of "linux-headers-$arch")
	[ -n "$release" ] || die "Debian has no newer kernel here"
	found=$cache/kernel/$release-$(version_of "linux-headers-$release")-binutils
	once "$found" fill_newest "$release"
}

# ---- the kernel's source ----

# Configuration reads every Kconfig of the tree, but compilation only one file in ten.
fill_source() {
	local package=$made.package unused=() driver
	for driver in gpu media staging scsi infiniband iio usb mtd hwmon input crypto pinctrl; do
		unused+=(--exclude="*/drivers/$driver/*.[ch]")
	done
	rm -rf "$package"
	unpack "$package" linux-source-6.1
	tar -xJf "$package/usr/src/linux-source-6.1.tar.xz" -C "$made" --strip-components=1 "${unused[@]}" \
		--exclude='*/drivers/net/*/*.[ch]' --exclude='*/sound/*.[ch]' --exclude='*/Documentation/*/*' \
		--exclude='*/arch/[!a]*/*.[chS]' --exclude='*/arch/*/boot/dts/*' --exclude='*/tools/testing/*' --exclude='*/tools/perf/*'
	rm -rf "$package"
}

find_source() {
	apt_use "$machine" main
	found=$cache/source/$(version_of linux-source-6.1)-arm64
	once "$found" fill_source
}

# ---- DKMS ----

find_dkms() {
	apt_use "$machine" main
	found=$cache/dkms/$(version_of dkms)
	once "$found" fill_dkms
}

fill_dkms() {
	unpack "$made" dkms
}

# ---- the root file system of the arm64 guests ----

root_packages=(python3.11 libpython3.11-dev libstdc++6 bash coreutils util-linux procps mount grep sed findutils kmod iproute2)

own_python() {
	[ -d "$root/.venv/lib/python3.11" ] || die "the guest's Python is 3.11, but .venv is of another version"
}

fill_root() {
	unpack_whole "$made" "$@"
	rm -rf "$made"/usr/share/{doc,man,locale,info}
	compiled "$made/usr/lib/python3.11" /usr/lib/python3.11
	mkdir -p "$made"/{proc,sys,dev,tmp,run,root}
	printf '%s\n' root:x:0:0:root:/root:/bin/bash nobody:x:65534:65534::/:/bin/false >"$made/etc/passwd"
	printf '%s\n' root:x:0: nogroup:x:65534: >"$made/etc/group"
	echo 127.0.0.1 localhost >"$made/etc/hosts"
	ln -s python3.11 "$made/usr/bin/python3"
}

find_root() {
	local arch=$1 key
	own_python
	apt_use "$arch" main
	key=$(echo "${root_packages[@]}" "$(version_of python3.11)" "$(version_of libc6)" | sha256sum)
	found=$cache/root/$arch-${key:0:12}-compiled
	once "$found" fill_root "${root_packages[@]}"
}

# The rest of .venv is pure Python, and the guest reads it in place.
fill_wheels() {
	local wheels=$made.wheels wheel
	rm -rf "$wheels"
	"$root/.venv/bin/python" -m pip download --quiet --disable-pip-version-check --no-deps \
		--only-binary=:all: --platform manylinux_2_28_aarch64 --platform manylinux_2_27_aarch64 \
		--platform manylinux2014_aarch64 --python-version 311 --implementation cp --abi cp311 --abi abi3 \
		--dest "$wheels" "$@" >&2
	for wheel in "$wheels"/*.whl; do
		"$root/.venv/bin/python" -m zipfile -e "$wheel" "$made"
	done
	rm -rf "$wheels"
	compiled "$made" /opt/wheels
}

find_wheels() {
	local wanted key
	own_python
	wanted=$("$root/.venv/bin/python" -m pip freeze --disable-pip-version-check |
		grep -E '^(cffi|hypothesis|numpy|posix[-_]ipc)==')
	key=$(sha256sum <<<"$wanted")
	found=$cache/root/wheels-arm64-${key:0:12}-compiled
	# shellcheck disable=SC2086 # a list of words
	once "$found" fill_wheels $wanted
}

# ---- which ----

find_it() {
	case $1 in
	amd64-6.1) find_kernel amd64 ;;
	arm64-6.1) find_kernel arm64 ;;
	amd64-6.12) find_backport amd64 ;;
	amd64-newest) find_newest amd64 ;;
	source) find_source ;;
	dkms) find_dkms ;;
	root-arm64) find_root arm64 ;;
	wheels-arm64) find_wheels ;;
	*) die "$1: choose from amd64-6.1 arm64-6.1 amd64-6.12 amd64-newest source dkms root-arm64 wheels-arm64" ;;
	esac
}

# apt takes a second for an answer, and serves one process at a time. So answers are kept for an
# hour, unless this script has changed.
fetch() {
	local note=$cache/found/$1 found=''
	if [ -z "$(find "$note" -mmin -60 -newer "$guest/fetch.sh" 2>/dev/null)" ] || [ ! -d "$(<"$note")" ]; then
		need guest
		mkdir -p "$cache/found"
		exec 9>"$cache/fetch.lock"
		flock 9
		find_it "$1"
		echo "$found" >"$note"
		exec 9>&-
	fi
	cat "$note"
}

for what in "$@"; do
	fetch "$what"
done
