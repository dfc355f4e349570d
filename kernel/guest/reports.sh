#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# reports.sh LOG: prints the lines of a kernel log that report a fault. The exit
# status is 0 when there is none.
set -euo pipefail

patterns=(
	'BUG:' 'WARNING:' 'KASAN' 'UBSAN' 'Oops' 'Kernel panic' 'general protection' 'Call [Tt]race:'
	'possible circular locking' 'possible recursive locking' 'inconsistent lock state'
	'suspicious RCU usage' 'sleeping function called' 'scheduling while atomic' 'held lock freed'
	'DMA-API:.*(driver|device|debug_dma|cacheline|mapp|exceed|freed)' 'kmemleak: [0-9]+ new'
	'unreferenced object' 'ODEBUG' 'blocked for more than' 'soft lockup' 'detected stall' 'list_(add|del) corruption'
	'refcount_t:' 'page_counter underflow' 'Bad page' 'bad unlock balance' 'stack-protector'
)
# Lines that these kernels print at every boot.
harmless='DMA-API: (preallocated|debugging enabled|disabled)|KernelAddressSanitizer initialized|kasan: '

joined=$(IFS='|'; echo "${patterns[*]}")
! grep -aE "$joined" "$1" | grep -avE "$harmless"
