#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# counts.sh [ARGUMENT...]: counts the costs of a message that do not depend on emulated
# time: system calls, pins, DMA descriptors, and instructions, by a clock that counts
# them. The guest has one processor, so that nothing spins. The report is written to
# build/counts-vm.json; ARGUMENTs are passed to benchmarks/helper_counts.py.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

target=arm64-6.1
out=$build/counts
result=$root/build/counts-vm

release "$target" arm64
"$guest/boot.sh" --icount --append maxcpus=1 --timeout 1800 --out "$out" "$target" -- \
	"${with_date[@]}" python3 benchmarks/helper_counts.py --instructions --json /guest-out/counts.json "$@"
cp "$out/counts.json" "$result.json"
echo "written: $result.json"
