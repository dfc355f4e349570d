#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# bench.sh [ARGUMENT...]: runs the paper's experiments in the arm64 guest, in a short form: with
# one of the eight emulated DMA channels of the in-tree driver, with all of them, and with memcpy.
# Prints the tables; reports and plots are written to build/bench-vm. ARGUMENTs are passed to
# benchmarks/helper_bench.py. Every figure is labelled as emulated.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

target=arm64-6.1
out=$build/bench
result=$root/build/bench-vm

release "$target" arm64
"$guest/boot.sh" --timeout 900 --out "$out" "$target" -- \
	"${with_date[@]}" python3 benchmarks/helper_bench.py --channels 8 --json /guest-out "$@"
mkdir -p "$result"
for report in "$out"/*.json; do
	name=$(basename "$report" .json)
	cp "$report" "$result/"
	"$root/.venv/bin/adma" plot "$report" --plot "$result/$name.png"
done
echo "written: $result"
