#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# try-hardware.sh [OPTION...]: tries the kernel helper on a DMA engine of this machine, and writes a
# report to send in. docs/hardware.md tells which machines have one, and what can go wrong.
#
# Without --yes it looks, says what it would do, and changes nothing. With --yes, as root, it builds the
# module, loads it, runs tests of the device and a short benchmark, and unloads it.
#
#   --yes            do it
#   --trust DRIVER   use this driver, although it is not known to report errors: on a machine that holds
#                    nothing of value
#   --kdir DIR       headers of the running kernel (/lib/modules/RELEASE/build)
#   --module FILE    an adma.ko that is built already
#   --tests DIR      tests that are built already (make -C kernel selftests OUT=DIR)
#   --report FILE    where the report goes (adma-hardware-HOST-DATE.txt)
#
# Exit status: 0 all that was tried passed, or it only looked; 1 something failed; 2 there is nothing to
# try here; 64 bad arguments.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(dirname "$here")
release=$(uname -r)
yes='' trust='' kdir=/lib/modules/$release/build module='' tests='' report=''
failures=()
loaded=''

usage() {
	sed -n '3,/^set/p' "${BASH_SOURCE[0]}" | sed -n 's/^# \{0,1\}//p'
}

bad() {
	echo "try-hardware.sh: $*; --help tells what there is" >&2
	exit 64
}

while [ $# -gt 0 ]; do
	case $1 in
	--yes) yes=yes ;;
	--trust | --kdir | --module | --tests | --report)
		[ $# -gt 1 ] || bad "$1 wants a value"
		printf -v "${1#--}" %s "$2"
		shift
		;;
	-h | --help) usage && exit 0 ;;
	*) bad "no option $1" ;;
	esac
	shift
done
[[ $trust =~ ^[A-Za-z0-9_,-]*$ ]] || bad "--trust wants names of drivers, not $trust"
[ -z "$module" ] || [ -f "$module" ] || bad "--module: no file $module"
[ -z "$tests" ] || [ -x "$tests/uapi" ] || bad "--tests: no program uapi in $tests"
report=${report:-adma-hardware-$(uname -n)-$(date +%Y%m%d-%H%M%S).txt}

# ---- looking ----

section() { printf '\n== %s\n' "$*"; }

value() { # value FILE [OTHERWISE]: its first line
	local line=''
	[ ! -r "$1" ] || read -r line <"$1" || true
	echo "${line:-${2:-unknown}}"
}

name_of() { # name_of LINK [OTHERWISE]: of what a link of sysfs leads to
	[ -e "$1" ] && basename "$(readlink -f "$1")" || echo "${2:-none}"
}

# The drivers that the module uses unasked, as its own table has them.
known() {
	sed -n 's/.*{ \.name = "\([a-z_-]*\)".*/\1/p' "$here/module/dma_driver.c" | grep -v '^unknown$'
}

is_used() { # is_used DRIVER MODULE: by the module, or because it is trusted
	known | grep -qx -- "$1" || [[ ,$trust, == *,$1,* || ,$trust, == *,$2,* ]]
}

machine() {
	section machine
	echo "kernel      $release, $(uname -m)"
	echo "processor   $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | sort | uniq -c | sed 's/^ *//' | head -n 1)"
	echo "board       $(value /sys/class/dmi/id/sys_vendor), $(value /sys/class/dmi/id/product_name)"
	echo "iommu       $(find /sys/class/iommu -mindepth 1 -printf '%f ' 2>/dev/null || true)$(iommu_mode)"
	echo "lockdown    $(value /sys/kernel/security/lockdown 'not told')"
	echo "taint       $(value /proc/sys/kernel/tainted)"
	echo "command     $(tr ' ' '\n' </proc/cmdline | grep -E 'iommu|swiotlb' | tr '\n' ' ')"
}

# Only with strict invalidation does a stray write of an engine meet nothing.
iommu_mode() {
	local types
	types=$(cat /sys/kernel/iommu_groups/*/type 2>/dev/null | sort | uniq -c | tr -s ' \n' ' ') || true
	echo "${types:-none in use}"
}

# PCI devices that copy within memory, whether or not a driver has them: vendor:device, driver, what to do.
engines_of_pci='8086:0b25 idxd Intel DSA: its work queue has to be configured (docs/hardware.md)
8086:11fb idxd Intel DSA: its work queue has to be configured (docs/hardware.md)
8086:1212 idxd Intel DSA: its work queue has to be configured (docs/hardware.md)
8086:0b00 ioatdma Intel I/OAT: modprobe ioatdma
8086:2021 ioatdma Intel I/OAT: modprobe ioatdma
8086:2f20 ioatdma Intel I/OAT: modprobe ioatdma
8086:6f20 ioatdma Intel I/OAT: modprobe ioatdma
8086:0e20 ioatdma Intel I/OAT: modprobe ioatdma
8086:3c20 ioatdma Intel I/OAT: modprobe ioatdma
1022:1498 ptdma AMD PTDMA: it is not known to report errors
1022:14c8 ae4dma AMD AE4DMA: it is not known to report errors
1022:14dc ae4dma AMD AE4DMA: it is not known to report errors'

pci() {
	local device id line
	section 'engines on the PCI bus'
	for device in /sys/bus/pci/devices/*; do
		[ -e "$device/vendor" ] || continue
		id=$(value "$device/vendor" 0x0):$(value "$device/device" 0x0)
		line=$(grep "^${id//0x/} " <<<"$engines_of_pci") || continue
		echo "${device##*/}  ${line#* }; driver now: $(name_of "$device/driver")"
	done
}

# channel|device|driver|module|in use
channels() {
	local channel device
	for channel in /sys/class/dma/*; do
		[ -e "$channel/in_use" ] || continue
		device=$(readlink -f "$channel/device")
		echo "${channel##*/}|${device##*/}|$(name_of "$device/driver")|$(name_of "$device/driver/module" built-in)|$(value "$channel/in_use" 0)"
	done
}

# Prints each DMA channel and what becomes of it; succeeds if the module would use one.
judge() {
	local name device driver of uses verdict found usable=1
	found=$(channels)
	section 'DMA channels of this kernel'
	while IFS='|' read -r name device driver of uses; do
		[ -n "$name" ] || continue
		if ! is_used "$driver" "$of"; then
			verdict='not used: its driver is not known to report errors'
		elif [ "$uses" != 0 ]; then
			verdict="in use by others ($uses)"
		else
			verdict='to be tried' usable=0
		fi
		printf '%-16s %-20s %-16s %s\n' "$name" "$device" "$driver" "$verdict"
	done <<<"$found"
	return $usable
}

nothing() {
	section 'nothing to try'
	cat <<-TEXT
		This kernel has no DMA channel that the helper would use: of drivers that it knows
		($(known | grep -v '^adma_soft' | tr '\n' ' ' | sed 's/ $//')).
		If the list above shows an engine without a driver, load the driver or configure the device, and
		run this again; docs/hardware.md tells how. Whatever else copies within memory, the helper
		does not use it, because an engine that fails without saying so loses data.
		Nothing was changed.
	TEXT
}

plan() {
	section 'what this does with --yes, as root'
	cat <<-TEXT
		1. builds the module in a directory of its own, for $kdir${module:+ (no: $module is taken)}
		2. runs the kernel's dmatest on the engine, if this kernel has it
		3. loads adma.ko ${trust:+trust=$trust }with one DMA channel, which has to pass its self-test
		4. runs tests of the device: messages of all lengths and alignments, compared byte for byte; random commands
		5. loads it again with all DMA channels, for the same and for a short benchmark
		6. unloads it. Nothing is installed, and no setting is changed
		   (modules that step 2 needs stay loaded if they were).
		What can go wrong: a driver or an engine that was never tried with this module may write where it
		should not, or hang. Save your work, stop what holds data of value, and have a way to reset
		the machine. Do not unbind the engine's driver or disable its queue meanwhile.
	TEXT
}

# ---- doing ----

fail() {
	failures+=("$*")
	echo "FAILED: $*"
}

# step NAME COMMAND...: shows what it prints.
step() {
	local name=$1
	shift
	section "$name"
	"$@" 2>&1 || fail "$name"
}

build() {
	[ -d "$kdir" ] || {
		echo "no kernel headers in $kdir: install those of $release, or name them by --kdir"
		return 1
	}
	cp -r "$here/module" "$here/include" "$work/"
	make -s -C "$kdir" M="$work/module" modules >"$work/build.log" 2>&1 || {
		tail -n 30 "$work/build.log"
		return 1
	}
	module=$work/module/adma.ko
}

build_tests() {
	make -s -C "$here/selftests" OUT="$work/tests" || return 1
	tests=$work/tests
}

# The kernel's own test of the engine, before ours.
dmatest() {
	local lines
	modinfo dmatest >/dev/null 2>&1 || {
		echo "this kernel has no dmatest (CONFIG_DMATEST); left out"
		return 0
	}
	modprobe dmatest iterations=100 timeout=5000 run=1
	cat /sys/module/dmatest/parameters/wait >/dev/null
	modprobe -r dmatest
	lines=$(dmesg | grep -o 'dmatest: .*: summary .*' | tail -n 64)
	echo "$lines"
	[ -n "$lines" ] && ! grep -qv ' 0 failures ' <<<"$lines"
}

load() { # load [PARAMETER...]
	insmod "$module" ${trust:+trust="$trust"} "$@" || return 1
	loaded=yes
	# The DMA channels are taken by the first open, and kept until the last close.
	command exec 7<>/dev/adma || return 1
	channel_states
}

channel_states() {
	local line
	line=$(cat /sys/kernel/debug/adma/channels 2>/dev/null) || {
		echo 'debugfs is not mounted: mount -t debugfs debugfs /sys/kernel/debug shows more'
		return 0
	}
	echo "$line"
	grep -q 'works' <<<"$line" || {
		echo 'no DMA channel works: the kernel log below tells which failed its self-test'
		return 1
	}
}

unload() {
	[ -n "$loaded" ] || return 0
	exec 7>&- || true
	rmmod adma || {
		echo 'adma stays loaded: an engine did not end what it was given, and its pages stay pinned until it does. Restart the machine.'
		return 1
	}
	loaded=''
}

pins() { sed -n "s/^nr_foll_pin_$1 //p" /proc/vmstat; }

traffic() { # traffic SECONDS: of random commands
	local status=0
	"$tests/uapi" || status=1
	ADMA_SECONDS=$1 "$tests/fuzz" || status=1
	return "$status"
}

benchmark() {
	local python
	for python in "$root/.venv/bin/python" python3; do
		if "$python" -c 'import adma' 2>/dev/null; then
			adma_info "$python"
			"$python" "$root/benchmarks/helper_pingpong.py" --channels 1 --rounds 3 --sizes 64,64K,1M ||
				echo 'the benchmark misses something, see above; this is no fault of the engine by itself'
			return
		fi
	done
	echo 'the Python package is not there (make setup, or pip install .); left out'
}

adma_info() {
	"$1" -m adma info || true
}

# What the kernel logged since the mark, and whether any of it reports a fault.
log_of_kernel() {
	dmesg | sed -n "/$mark/,\$p" >"$work/dmesg.log"
	grep -E 'adma|dma' "$work/dmesg.log" || true
	"$here/guest/reports.sh" "$work/dmesg.log"
}

try() {
	local before
	if [ -z "$module" ]; then
		step build build
		[ -n "$module" ] || return 0
	fi
	[ -n "$tests" ] || step 'build of the tests' build_tests
	step dmatest dmatest
	before=$(($(pins acquired) - $(pins released)))
	step 'one DMA channel' load max_channels=1
	[ -n "$loaded" ] || return 0
	if [ ${#failures[@]} != 0 ]; then
		step unloading unload
		return 0
	fi
	[ -z "$tests" ] || step 'tests on one DMA channel' traffic 10
	step 'the DMA channel after them' channel_states
	step unloading unload
	[ -z "$loaded" ] || return 0
	step 'all DMA channels' load
	[ -n "$loaded" ] || return 0
	[ -z "$tests" ] || step 'tests on all DMA channels' traffic 20
	step benchmark benchmark
	step 'the DMA channels after them' channel_states
	step unloading unload
	[ "$(($(pins acquired) - $(pins released)))" = "$before" ] || fail 'pages are still pinned'
}

# Runs in this shell, so that what it finds is known; the caller writes what it prints.
look() {
	echo "adma on hardware, $(date -u '+%Y-%m-%d %H:%M UTC')"
	machine
	pci
	judge
}

[ -z "$yes" ] || [ "$(id -u)" = 0 ] || bad '--yes needs root'
if [ -n "$yes" ] && grep -qs '^adma ' /proc/modules; then
	bad 'adma is loaded: rmmod adma first'
fi
if ! seen=$(look); then
	echo "$seen"
	nothing
	exit 2
fi
[ -n "$yes" ] || echo "$seen" # otherwise the report begins with it
plan
[ -n "$yes" ] || {
	printf '\nNothing was changed. sudo %s --yes%s does it.\n' "$0" "${trust:+ --trust $trust}"
	exit 0
}

# All of it, in a process whose end unloads the module, whatever ends it.
do_it() {
	trap 'unload || true' EXIT
	echo "$seen"
	try
	step 'the log of the kernel' log_of_kernel
	section summary
	if [ ${#failures[@]} = 0 ]; then
		echo 'all that was tried passed'
	else
		printf 'failed: %s\n' "${failures[@]}"
	fi
	[ ${#failures[@]} = 0 ]
}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mark="adma try-hardware $$"
echo "$mark" >/dev/kmsg
status=0
do_it 2>&1 | tee --ignore-interrupts "$work/report" || status=1
cp "$work/report" "$report"
echo "the report is in $report: please read it, and send it in with an issue"
[ "$status" = 0 ]
