#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# Prints the paths of the other Pythons that the wheel is for, one a line: those in $PATH, and those
# that pyenv has installed. Tells on stderr which there are none of.
set -euo pipefail

for version in 3.12 3.13; do
	candidates=("python$version")
	if command -v pyenv >/dev/null; then
		candidates+=("$(pyenv root)/versions/$version".*/bin/python)
	fi
	found=''
	for candidate in "${candidates[@]}"; do
		if [ -z "$found" ] && "$candidate" -c 'import ensurepip, venv' 2>/dev/null; then
			found=$("$candidate" -c 'import sys; print(sys.executable)')
		fi
	done
	if [ -n "$found" ]; then
		echo "$found"
	else
		echo "left out: there is no Python $version here" >&2
	fi
done
