#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# test.sh [STEP...]: everything that the kernel helper has to pass, without its hardware:
#   build        modules for the kernels that most guests boot, sparse, checkpatch; the pure code in
#                user space
#   x86          x86-64 guest with the software DMA provider: selftests, the Python suite
#   x86-quick    one such guest: selftests without those that wait for long; of the Python suite what
#                changes owners, over mapped:helper; and some tests of rights
#   rights       the same guest: Yama, namespaces, other users
#   faults       the same guest with providers that fail in each way they can
#   faults-quick one such guest, without dmatest and Python
#   versions     x86-64 guests with 6.12 and with the newest kernel that Debian offers for a stable
#                system, for which the modules are built here, with sparse for 6.12: selftests, failing
#                providers, some Python
#   dkms         Debian's DKMS builds the module, installs and removes it: 6.1
#   hardware     the same guest: kernel/try-hardware.sh, which takes the provider for an engine
#   bounce       the same guest, where all DMA goes through bounce buffers
#   arm64        arm64 guest with the in-tree zynqmp_dma driver: selftests, the Python suite
#   arm64-quick  one such guest, with less of both: what changes owners, over dma
#   build-debug  modules for the debug kernel, which is built itself first, unless the cache has it
#   alarm        does the debug kernel report faults that are committed on purpose?
#   debug        does it report nothing under random commands and failing allocations?
#   deep         nor with the selftests, with providers that fail, and with Python? Of the Python suite
#                this runs what withdraws, refuses, closes or dies over dma, because memory and requests
#                change owners there. A test takes some 5 s in this guest: the whole conformance kit would
#                take half an hour, and runs in other guests
# Without arguments all steps are run, two at a time, and of those in two forms the whole ones. Needs
# .venv and build/faults (make faults).
# The output of each guest is in build/kernel/test; the last line tells how many tests passed.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

logs=$build/test
passed=0
failed=0
built=''
python=$root/.venv/bin/python

# ---- counting ----

count() { # count PASSED FAILED
	passed=$((passed + $1))
	failed=$((failed + $2))
}

# one NAME COMMAND...: a test that is one command.
one() {
	local name=$1
	shift
	if "$@"; then
		echo "ok - $name" && count 1 0
	else
		echo "not ok - $name" && count 0 1
	fi
}

# Counts the tests in the output of a guest: TAP, and the last line of pytest.
tally() {
	local output=$1 good bad summary
	[ -e "$output" ] || return 0
	good=$(grep -c '^ok ' "$output") || true
	bad=$(grep -c '^not ok ' "$output") || true
	while read -r summary; do
		good=$((good + $(sed -nE 's/(.*[^0-9])?([0-9]+) passed.*/\2/p' <<<"$summary" | grep . || echo 0)))
		bad=$((bad + $(sed -nE 's/(.*[^0-9])?([0-9]+) failed.*/\2/p' <<<"$summary" | grep . || echo 0)))
		bad=$((bad + $(sed -nE 's/(.*[^0-9])?([0-9]+) errors?.*/\2/p' <<<"$summary" | grep . || echo 0)))
	done < <(grep -E '^=* ?[0-9]+ (passed|failed|skipped|errors?).* in [0-9.]+s' "$output" || true)
	echo "  $good tests passed, $bad failed"
	count "$good" "$bad"
}

# boot NAME [OPTION...] TARGET -- COMMAND...: as boot.sh. Counts the guest's tests, and the guest
# itself as one more.
boot() {
	local name=$1
	shift
	echo "== $name"
	one "$name: the guest" "$guest/boot.sh" --out "$logs/$name" "$@"
	tally "$logs/$name/output"
}

# all COMMAND...: prints a shell command that runs all of these, and fails if one of them does.
all() {
	local command text='status=0'
	for command in "$@"; do
		text+="; $command || status=1"
	done
	echo "$text; exit \$status"
}

# ---- commands for guests ----

# The time limits of the suite are not meant for an emulated machine.
suite() { # suite PYTHON TESTS EXPRESSION: those whose names match
	echo "ADMA_TEST_SLOWNESS=5 $1 -m pytest -q --durations=15 -p no:cacheprovider $2 -k '$3'"
}

dmatest() {
	echo "kernel/guest/dmatest.sh build/kernel/$1/intree/dmatest.ko"
}

# ---- the steps ----

checked() { # checked TARGET: builds its modules
	one "modules for $1, without a warning" "$guest/modules.sh" --check "$1"
}

step_build() {
	checked amd64-6.1
	checked arm64-6.1
	one 'checkpatch' "$guest/checkpatch.sh"
	need cc fuzzer
	one 'matching and splitting in user space' make -s -C "$root/kernel/tests" test
	one 'matching and splitting, fuzzed' make -s -C "$root/kernel/tests" fuzz SECONDS=10
}

step_build_debug() {
	checked debug
}

# When all steps are run everything is built already: nothing may change while a guest uses it.
modules() {
	[ -z "$built" ] || return 0
	"$guest/modules.sh" "$1" && "$guest/userland.sh" "$2"
}

step_x86() {
	local self=build/kernel/selftests/amd64
	modules amd64-6.1 amd64
	boot x86-dmatest --no-module --soft 'copy_align=8' amd64-6.1 -- \
		bash -c "$(dmatest amd64-6.1)"
	boot x86-selftests --soft 'channels=4' amd64-6.1 -- \
		bash -c "$(all $self/uapi $self/races $self/waits $self/pins $self/shares $self/exits "ADMA_SECONDS=15 $self/fuzz")"
	boot x86-python --timeout 1800 --soft 'channels=4' amd64-6.1 -- \
		bash -c "PYTHONPATH=build/faults/lib $(suite "$python" "$python_x86" 'dma or helper')"
}

step_x86_quick() {
	local self=build/kernel/selftests/amd64
	modules amd64-6.1 amd64
	boot x86-quick --timeout 1200 --soft 'channels=4' amd64-6.1 -- \
		bash -c "export PYTHONPATH=build/faults/lib; $(all $self/uapi "ADMA_ROUNDS=100 $self/races" \
			"$self/waits $waits_quick" "$self/pins $pins_quick" "$self/shares $shares_quick" $self/exits "ADMA_SECONDS=5 $self/fuzz" \
			"$(suite "$python" "$python_x86_quick" "$named_x86_quick")")"
}

step_rights() {
	modules amd64-6.1 amd64
	boot x86-rights --timeout 1800 --soft 'channels=4' amd64-6.1 -- \
		bash -c "ADMA_YAMA_FINAL=1 PYTHONPATH=build/faults/lib $(suite "$python" "$python_rights" 'helper or yama')"
}

step_faults() {
	local self=build/kernel/selftests/amd64
	step_faults_quick
	boot x86-manners --free --soft '' amd64-6.1 -- $self/provider --manners
	boot x86-unload --no-module --soft '' amd64-6.1 -- env ADMA_MODULE=build/kernel/amd64-6.1/module/adma.ko $self/unload
	boot x86-dmatest-reordered --no-module --soft 'reorder=1 delay_us=50' amd64-6.1 -- \
		bash -c "$(dmatest amd64-6.1)"
	boot x86-stuck-copies --stuck --soft '' amd64-6.1 -- \
		bash -c "ADMA_EXPECT_STUCK=1 PYTHONPATH=build/faults/lib $(suite "$python" tests/system/test_engine_dma.py 'nor_stops')"
}

# In one guest, which has no DMA provider in the beginning.
step_faults_quick() {
	local self=build/kernel/selftests/amd64
	modules amd64-6.1 amd64
	boot x86-faults --free --no-dma amd64-6.1 -- \
		bash -c "$(all $self/uapi 'insmod build/kernel/amd64-6.1/provider/adma_soft.ko' $self/provider "$self/provider --stuck")"
}

step_versions() {
	local self=build/kernel/selftests/amd64 target
	checked amd64-6.12
	checked amd64-newest
	modules amd64-6.12 amd64
	for target in amd64-6.12 amd64-newest; do
		boot "$target-selftests" --soft 'channels=4' "$target" -- \
			bash -c "$(all $self/uapi $self/races $self/waits $self/exits "ADMA_SECONDS=5 $self/fuzz")"
		boot "$target-faults" --free --soft '' "$target" -- \
			bash -c "$(all $self/provider "$self/provider --stuck" "$self/provider --manners")"
		boot "$target-python" --timeout 1800 --soft 'channels=4' "$target" -- \
			bash -c "PYTHONPATH=build/faults/lib $(suite "$python" "$python_x86_quick" 'helper and not dma or engine_dma')"
	done
}

step_dkms() {
	one 'the module by DKMS' "$guest/dkms.sh" amd64-6.1
}

step_hardware() {
	local try
	try="kernel/try-hardware.sh --yes --module build/kernel/amd64-6.1/module/adma.ko"
	try+=" --tests build/kernel/selftests/amd64 --report /guest-out/report.txt"
	modules amd64-6.1 amd64
	boot x86-hardware --timeout 900 --no-module --soft '' amd64-6.1 -- bash -c "PYTHONPATH=build/faults/lib $try"
	one 'a report of the engine' grep -q 'all that was tried passed' "$logs/x86-hardware/report.txt"
	boot x86-hardware-bad --no-module --soft 'secret_align=4' amd64-6.1 -- bash -c "! $try"
	one 'a report of an engine that copies wrongly' grep -q 'failed: one DMA channel' "$logs/x86-hardware-bad/report.txt"
	boot x86-hardware-none --no-module --no-dma amd64-6.1 -- bash -c "$try; [ \$? = 2 ]"
}

step_bounce() {
	local self=build/kernel/selftests/amd64
	modules amd64-6.1 amd64
	boot x86-bounce --append 'swiotlb=force' --soft '' amd64-6.1 -- \
		bash -c "$(all $self/uapi "$self/races 'memory goes away' 'close full'")"
}

step_arm64() {
	local self=build/kernel/selftests/arm64
	modules arm64-6.1 arm64
	boot arm64-dmatest --no-module arm64-6.1 -- bash -c "$(dmatest arm64-6.1)"
	boot arm64-selftests arm64-6.1 -- \
		bash -c "$(all $self/uapi $self/races $self/waits "ADMA_SECONDS=15 $self/fuzz")"
	one 'all eight DMA channels carried data' all_carried "$logs/arm64-selftests" 8
	boot arm64-python --timeout 1800 arm64-6.1 -- \
		bash -c "$(suite python3 "$python_arm64" 'dma')"
}

step_arm64_quick() {
	local self=build/kernel/selftests/arm64
	modules arm64-6.1 arm64
	boot arm64-quick --timeout 1200 arm64-6.1 -- \
		bash -c "$(all $self/uapi "ADMA_ROUNDS=100 $self/races" "$self/waits $waits_quick" \
			"ADMA_SECONDS=5 $self/fuzz" "$(suite python3 "$python_arm64_quick" "$named_arm64_quick")")"
	one 'all eight DMA channels carried data' all_carried "$logs/arm64-quick" 8
}

# all_carried DIRECTORY CHANNELS: by the helper's counters, and by the interrupts.
all_carried() {
	awk 'NR > 1 && $7 > 0 { n++ } END { exit n != '"$2"' }' "$1/channels" &&
		[ "$(comm -13 <(sort "$1/interrupts-before") <(sort "$1/interrupts-after") |
			grep -c zynqmp-dma)" = "$2" ]
}

step_alarm() {
	local word
	modules debug arm64
	boot alarm --no-module --no-dma --expect-reports debug -- \
		insmod build/kernel/debug/alarm/adma_alarm.ko
	for word in 'possible circular locking' 'sleeping function called' 'DMA-API' \
		'KASAN: slab-use-after-free\|KASAN: use-after-free' 'unreferenced object'; do
		one "the kernel reports: $word" reported "$word"
	done
}

reported() {
	{ "$guest/reports.sh" "$logs/alarm/dmesg.log" || true; } | grep "$1" >/dev/null
}

step_debug() {
	modules debug arm64
	boot debug-fuzz --timeout 900 debug -- \
		bash -c "ADMA_SECONDS=60 build/kernel/selftests/arm64/fuzz"
	boot debug-waits --timeout 900 debug -- \
		bash -c "ADMA_TEST_SLOWNESS=5 ADMA_MANY=20 build/kernel/selftests/arm64/waits"
}

step_deep() {
	local self=build/kernel/selftests/arm64
	modules debug arm64
	boot debug-selftests --timeout 1800 debug -- \
		bash -c "export ADMA_TEST_SLOWNESS=3; $(all $self/uapi "ADMA_ROUNDS=40 $self/races" $self/pins $self/shares)"
	boot debug-faults --free --timeout 900 --soft '' debug -- \
		bash -c "ADMA_TEST_SLOWNESS=3 $self/provider"
	boot debug-stuck --free --timeout 900 --soft '' debug -- \
		bash -c "ADMA_TEST_SLOWNESS=3 $self/provider --stuck"
	boot debug-manners --free --timeout 900 --soft '' debug -- \
		bash -c "ADMA_TEST_SLOWNESS=3 $self/provider --manners"
	boot debug-python --timeout 1800 debug -- \
		bash -c "$(suite python3 "$python_debug" 'dma')"
}

# ---- which ----

# An emulated processor is slow, so each guest runs only the tests that it is meant for: one guest
# runs the whole conformance kit over both mechanisms. The rest of the suite runs without a guest.
kit=tests/conformance/test_mechanisms.py
engine=tests/system/test_engine_dma.py
yama=tests/system/test_yama.py
own="tests/system/test_helper.py $engine"
tagged=tests/system/test_worker_helper.py
python_x86="$kit $own $tagged tests/bench/test_experiments.py"
# The last test of Yama cannot be undone: after it no process may access another one's memory.
python_rights="tests/system/test_cli.py tests/system/test_namespaces.py $yama"
# A quick step takes its tests from the whole ones: those parts of the kit in which memory and requests
# change owners, over one mechanism in each guest, without what takes longest ($slow). An interpreter takes seconds to start there, so what starts one for each test is left to the whole
# steps where another test shows nearly the same: most tests of rights; and deaths, or order and closing, in one of
# the guests. The copy engine is tried through the real driver, and on x86 only where it takes the software
# provider to make it fail.
slow='stated_limit or races or 4194227 or no_page or tells_the_truth or exit_with or environment_chooses or timeline'
owners="$kit::TestSizes $kit::TestCancelling"
python_x86_quick="$owners $kit::TestDeath tests/system/test_helper.py $tagged"
python_x86_quick+=" $engine::test_an_engine_that_fails_loses_nothing $engine::test_what_the_device_has_cannot_be_cancelled"
python_x86_quick+=" tests/system/test_namespaces.py::test_the_helper_needs_no_rights[user]"
named_x86_quick="(helper and not dma or engine_dma) and not ($slow)"
python_arm64="$owners $kit::TestOrder $kit::TestDeath $kit::TestClosing $kit::TestKinds $kit::TestReports $own $tagged tests/bench/test_experiments.py"
python_arm64_quick="$owners $kit::TestOrder $kit::TestClosing $own"
named_arm64_quick="dma and not ($slow)"
python_debug="$kit::TestCancelling $kit::TestTooLong $kit::TestKinds $kit::TestDeath $kit::TestClosing"

# Of the selftests a quick step leaves out those that wait for seconds, or fill a queue with hundreds of users.
waits_quick="'others go on: dma' close 'close: copy' 'close waits for copy' killed 'on demand'"
waits_quick+=" 'both sides' file 'file by dma'"
pins_quick="'told of the process' 'with CAP_IPC_LOCK' 'in use' 'memory is scarce'"
shares_quick="'requests of one namespace' 'pins of one namespace'"

[ -d "$root/build/faults/lib" ] || die "first: make faults"
export ADMA_BUILD=faults
need qemu sparse kbuild aarch64
mkdir -p "$logs"
for step in "$@"; do
	[ "$(type -t "step_${step//-/_}")" = function ] || die "no step $step; see the head of this file"
done

steps() {
	local step start
	for step in "$@"; do
		start=$SECONDS
		echo "==== $step"
		"step_${step//-/_}"
		echo "==== $step: $((SECONDS - start)) s"
	done
	echo "$passed passed, $failed failed"
	[ "$failed" = 0 ]
}

# The numbers of a log's last line. A run that did not write that line has failed.
sum_of() {
	tail -n 1 "$1" | sed -nE 's/^([0-9]+) passed, ([0-9]+) failed$/\1 \2/p' | grep . || echo 0 1
}

# Runs two sequences of steps side by side, because a guest is slow and seldom uses more than one core.
side_by_side() {
	local run good bad
	(steps build build-debug) >"$logs/build.log" 2>&1 || true
	(modules amd64-6.1 amd64 && modules arm64-6.1 arm64 && modules debug arm64) >"$logs/modules.log" 2>&1 || {
		cat "$logs/build.log" "$logs/modules.log"
		die "there is nothing to boot guests with"
	}
	built=yes
	(steps x86 rights faults hardware bounce versions dkms alarm debug) >"$logs/one.log" 2>&1 &
	(steps arm64 deep) >"$logs/two.log" 2>&1 &
	wait
	for run in build one two; do
		cat "$logs/$run.log"
		read -r good bad < <(sum_of "$logs/$run.log")
		count "$good" "$bad"
	done
	echo "$passed passed, $failed failed"
	[ "$failed" = 0 ]
}

if [ $# -gt 0 ]; then
	steps "$@"
else
	side_by_side
fi
