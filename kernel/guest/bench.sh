#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# bench.sh [ARGUMENT...]: the paper's experiments in the arm64 guest, in a short form, by
# one of the eight emulated channels of the in-tree driver and by all of them, beside memcpy.
# Prints the tables; reports and plots go to build/bench-vm. ARGUMENTs go to
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
