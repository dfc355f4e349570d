#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# pingpong.sh [ARGUMENT...]: the ping-pong in the arm64 guest, `dma` over the eight
# emulated channels of the in-tree driver beside the other mechanisms. Prints the
# tables; report and plot go to build/pingpong-vm.{json,png}. ARGUMENTs go to
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
