#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# venv.sh DIRECTORY [PIP-ARGUMENT...]: makes or mends a virtual environment and
# installs into it what `pip install` is told by the other arguments.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
directory=$1
shift

python=$("$here/find-python.sh")
exec 9<"$here/venv.sh"
flock 9 # one pip at a time: steps that run side by side may both be here
# An environment whose Python was replaced or moved is made anew.
if ! "$directory/bin/python" -m pip --version >/dev/null 2>&1 ||
	! "$directory/bin/pip" --version >/dev/null 2>&1; then
	rm -rf "$directory"
	"$python" -m venv "$directory"
fi
if [ $# -gt 0 ]; then
	"$directory/bin/python" -m pip install --quiet --disable-pip-version-check "$@"
fi
