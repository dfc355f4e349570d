#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# Prints the path of a Python that can build adma: 3.11 or newer, able to make
# virtual environments, with its C headers. $PYTHON, when set, is the only
# candidate. Fails with the reasons on stderr.
set -euo pipefail

check='
import importlib.util, os, sys, sysconfig
lacking = []
if sys.version_info < (3, 11):
    lacking.append("it is older than 3.11")
else:
    for module in ("venv", "ensurepip"):
        if importlib.util.find_spec(module) is None:
            lacking.append(f"it has no module {module}")
    if not os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")):
        lacking.append("its C headers are missing")
if lacking:
    sys.exit(", ".join(lacking))
print(sys.executable)
'

candidates=("${PYTHON:-}")
if [ -z "${PYTHON:-}" ]; then
	candidates=(python3 python3.11 python3.12 python3.13 python3.14 /usr/bin/python3)
fi

reasons=()
for candidate in "${candidates[@]}"; do
	path=$(command -v "$candidate") || { reasons+=("$candidate: not found"); continue; }
	if found=$("$path" -c "$check" 2>&1); then
		echo "$found"
		exit 0
	fi
	reasons+=("$path: ${found:-does not run}")
done
echo "no Python to build with:" >&2
printf '  %s\n' "${reasons[@]}" >&2
exit 1
