#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# pytest.sh COMMAND...: runs pytest, COMMAND, in two steps: first in JOBS processes (2) all tests
# but those marked `alone`, then those, one at a time. The last line counts both.
# With JOBS=0 one process runs everything. MARKS, when set, is an expression for pytest's -m
# that both steps add to theirs. Exits as pytest does; no test at all is an error.
set -euo pipefail

jobs=${JOBS:-2}
marks=${MARKS:+ and ($MARKS)}
log=$(mktemp)
trap 'rm -f "$log"' EXIT

# step COMMAND...: its exit status, where one without tests is as good as one that passed.
ran=''
step() {
	local status=0
	"$@" | tee -a "$log" || status=${PIPESTATUS[0]}
	[ "$status" != 5 ] || return 0
	ran=yes
	return "$status"
}

start=$SECONDS
status=0
if [ "$jobs" = 0 ]; then
	step "$@" ${MARKS:+-m "$MARKS"} || status=$?
else
	step "$@" -n "$jobs" --dist worksteal -m "not alone$marks" || status=$?
	step "$@" -m "alone$marks" || status=$((status ? status : $?))
fi
[ -n "$ran" ] || status=5

# The counts of pytest's last lines: "=== 3 failed, 1900 passed, 92 skipped in 200.10s ===".
awk -v seconds=$((SECONDS - start)) '
	/[0-9]+ (passed|failed|skipped|error).* in [0-9.]+s/ {
		for (i = 1; i < NF; i++)
			if ($i ~ /^[0-9]+$/ && $(i + 1) ~ /^(passed|failed|skipped|errors?),?$/) {
				word = $(i + 1); sub(/s?,?$/, "", word); count[word] += $i
			}
	}
	END {
		text = (count["passed"] + 0) " passed"
		if (count["failed"]) text = count["failed"] " failed, " text
		if (count["error"]) text = count["error"] " errors, " text
		if (count["skipped"]) text = text ", " count["skipped"] " skipped"
		print "==== all tests: " text " in " seconds "s ===="
	}' "$log"
exit "$status"
