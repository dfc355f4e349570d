#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# Fuzz the core under ASan and UBSan: run.sh [SECONDS, of all targets together; 60]
#
# The head of a target says what it is made of: "sources:" files of the core, or all of them; "with:"
# files beside it; "flags:" of the compiler; "share:" of the time, where it is not 1. ADMA_FUZZ_ONLY
# names one target.
#
# Seeds are in corpus/NAME; what a run finds beyond them is let go, unless
# ADMA_FUZZ_KEEP=1 merges into the seeds what reaches code that they do not reach. An input that
# fails a target is left in the directory named at the end.
set -eu

seconds=${1:-60}
here=$(cd "$(dirname "$0")" && pwd)
native=$here/../../transport/native
kernel=$here/../../kernel
clang=${CLANG:-clang}
flags="-std=c11 -D_GNU_SOURCE -g -O1 -Wall -Wextra -Werror -fno-omit-frame-pointer"
sanitizers="-fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all"

if ! command -v "$clang" >/dev/null; then
	echo "run.sh: $clang is missing: apt-get install clang, or set CLANG" >&2
	exit 1
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM

told() { # told FILE WORD: what its head says
	sed -n "s/^ \* $2: //p" "$1"
}

set -- "$here"/fuzz_${ADMA_FUZZ_ONLY:-*}.c
shares=0
for target; do
	share=$(told "$target" share)
	shares=$((shares + ${share:-1}))
done

for target; do
	name=$(basename "$target" .c)
	name=${name#fuzz_}
	share=$(told "$target" share)
	each=$((seconds * ${share:-1} / shares))
	[ "$each" -ge 1 ] || each=1
	files=$target
	for source in $(told "$target" sources); do
		case $source in
		all) files="$files $(find "$native" -name '*.c' -not -path '*/binding/*')" ;;
		*) files="$files $native/$source" ;;
		esac
	done
	for part in $(told "$target" with); do
		files="$files $here/$part"
	done
	# shellcheck disable=SC2046,SC2086
	if ! "$clang" $flags $(told "$target" flags) $sanitizers -I "$native" -I "$native/include" -I "$kernel/include/uapi" \
		-I "$kernel/tests" $files -o "$work/$name"; then
		echo "run.sh: $name was not built; on Debian the sanitizers are in libclang-rt-14-dev" >&2
		exit 1
	fi
	mkdir -p "$work/corpus/$name"
	echo "== $name: $each s"
	if ! "$work/$name" -max_total_time="$each" -timeout=10 -max_len=4200 -print_final_stats=1 \
		-artifact_prefix="$work/" "$work/corpus/$name" "$here/corpus/$name" \
		>"$work/$name.log" 2>&1; then
		tail -n 60 "$work/$name.log" >&2
		kept=$(mktemp -d "${TMPDIR:-/tmp}/adma-fuzz-$name.XXXXXX")
		find "$work" -maxdepth 1 -type f \( -name 'crash-*' -o -name 'leak-*' -o \
			-name 'timeout-*' -o -name 'oom-*' \) -exec cp {} "$kept/" \;
		echo "run.sh: $name failed; the input is in $kept" >&2
		exit 1
	fi
	grep -E 'stat::number_of_executed_units|DONE' "$work/$name.log" || true
	if [ "${ADMA_FUZZ_KEEP:-0}" = 1 ]; then
		"$work/$name" -merge=1 -use_counters=0 "$here/corpus/$name" "$work/corpus/$name" 2>/dev/null
	fi
done
