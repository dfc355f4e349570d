#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# counts.sh [ARGUMENT...]: what a message costs that does not depend on emulated
# time: system calls, pins, DMA descriptors, and instructions by a clock that counts
# them. One processor, so that nobody spins. The report goes to
# build/counts-vm.json; ARGUMENTs go to benchmarks/helper_counts.py.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

target=arm64-6.1
out=$build/counts
# The guest has no clock of its own that knows the date.
# shellcheck disable=SC2016 # expanded in the guest
with_date='date -s "$0" >/dev/null && exec "$@"'
result=$root/build/counts-vm

"$guest/modules.sh" "$target"
ADMA_BUILD=release "$guest/userland.sh" arm64

"$guest/boot.sh" --icount --append maxcpus=1 --timeout 1800 --out "$out" "$target" -- \
	bash -c "$with_date" "@$(date +%s)" \
	python3 benchmarks/helper_counts.py --instructions --json /guest-out/counts.json "$@"
cp "$out/counts.json" "$result.json"
echo "written: $result.json"
