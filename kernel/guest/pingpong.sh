#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# pingpong.sh [ARGUMENT...]: runs the ping-pong in the arm64 guest, by `dma` over the eight
# emulated DMA channels of the in-tree driver, and by the other mechanisms. Prints the
# tables; report and plot are written to build/pingpong-vm.{json,png}. ARGUMENTs are passed to
# benchmarks/helper_pingpong.py. Every figure is labelled as emulated.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

target=arm64-6.1
out=$build/pingpong
result=$root/build/pingpong-vm

release "$target" arm64
"$guest/boot.sh" --timeout 900 --out "$out" "$target" -- \
	"${with_date[@]}" python3 benchmarks/helper_pingpong.py --channels 8 --json /guest-out/pingpong.json "$@"
cp "$out/pingpong.json" "$result.json"
"$root/.venv/bin/adma" plot "$result.json" --plot "$result.png"
echo "written: $result.json"
