#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# dmatest.sh DMATEST.KO: runs in a guest, without adma.ko, the kernel's own test of every DMA
# channel, to check the providers.
set -euo pipefail

insmod "$1" iterations=100 timeout=5000 run=1
cat /sys/module/dmatest/parameters/wait >/dev/null
rmmod dmatest
lines=$(dmesg | grep -o 'dmatest: .*: summary .*' | cut -d' ' -f2-)
number=0
failed=0
while read -r line; do
	number=$((number + 1))
	case $line in
	*' 100 tests, 0 failures '*) echo "ok $number - dmatest ${line%%:*}" ;;
	*) failed=1 && echo "not ok $number - dmatest $line" ;;
	esac
done <<<"$lines"
exit $failed
