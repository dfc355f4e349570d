#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# userland.sh ARCH: builds the programs for the guests of ARCH, amd64 or arm64: the selftests,
# in build/kernel/selftests/ARCH; for arm64 also the Python package, in build/kernel/arm64-lib,
# of the flavour that ADMA_BUILD names (transport/native/build_native.py).
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

arch=${1:?"userland.sh ARCH"}
lib=$build/$arch-lib

# Writes the generated source, and prints the flags that setuptools would use, one word a line.
generate() {
	"$root/.venv/bin/python" - "$1" <<-'PYTHON'
		import contextlib, io, sys
		sys.path.insert(0, "transport/native")
		import build_native as native
		with contextlib.redirect_stdout(io.StringIO()):
		    native.ffibuilder.emit_c_code(sys.argv[1])
		flavour = native.flavour()
		words = native.COMMON_FLAGS + native.COMPILE_FLAGS[flavour]
		words += [f"-I{path}" for path in (native.NATIVE, native.INCLUDE, native.UAPI)] + [sys.argv[1]]
		words += sorted(map(str, native.NATIVE.rglob("*.c"))) + native.LINK_FLAGS[flavour]
		print(*words, sep="\n")
	PYTHON
}

package() {
	local flags=$build/$arch-lib.flags made=$lib.part words
	cd "$root"
	alone "$build/$arch-lib.lock"
	rm -rf "$made"
	mkdir -p "$made/adma"
	cp -r transport/adma/. "$made/adma/"
	find "$made" \( -name __pycache__ -o -name '_native*.so' \) -prune -exec rm -rf {} +
	generate "$build/$arch-native.c" >"$flags"
	mapfile -t words <"$flags"
	"$(cross "$arch")gcc" -shared -fPIC -DPy_LIMITED_API=0x030b0000 \
		-I"$include/python3.11" -idirafter "$include" "${words[@]}" -pthread -o "$made/adma/_core/_native.abi3.so"
	compiled "$made" "$lib"
	rm -rf "$lib"
	mv "$made" "$lib"
}

need cc
[ "$arch" = "$machine" ] || need aarch64
make -s -C "$root/kernel/selftests" OUT="$build/selftests/$arch" CC="$(cross "$arch")gcc"
if [ "$arch" = arm64 ]; then
	include=$("$guest/fetch.sh" root-arm64)/usr/include
	package
fi
