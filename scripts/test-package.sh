#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# test-package.sh PYTHON [PYTEST-ARGUMENT...]: is what we would publish complete?
# wheel.sh makes the sdist from the checkout and the wheel from the sdist, and checks both. The
# wheel passes the tests that the sdist carries, in an environment that holds nothing else of
# ours; the sdist installs in another.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
python=$1
shift
out=$PWD/build/package
unset ADMA_BUILD PYTHONPATH

rm -rf "$out"
mkdir -p "$out"
"$here/wheel.sh" "$python" "$out/dist"
wheel=$(echo "$out"/dist/*.whl)
sdist=$(echo "$out"/dist/*.tar.gz)
mkdir "$out/unpacked"
tar -xzf "$sdist" -C "$out/unpacked" --strip-components=1

echo "== the wheel, ${wheel##*/}, under the tests of the sdist"
"$here/venv.sh" "$out/venv-wheel" "${wheel}[test,bench]"
cd "$out/unpacked"
mv transport/adma "$out/adma-source" # what is tested is the wheel alone
tests=("$out/venv-wheel/bin/python" -m pytest -p no:cacheprovider)
MARKS='not faults' scripts/pytest.sh "${tests[@]}" "$@"
echo "left out, because they need the fault points of a test build:"
"${tests[@]}" -m faults --collect-only -q | tail -n 1

# One wheel is for all of them: what is compiled keeps to the limited API.
for other in $("$here/other-pythons.sh"); do
	echo "== the wheel in $("$other" --version)"
	venv=$out/venv-$(basename "$(dirname "$(dirname "$other")")")
	PYTHON=$other "$here/venv.sh" "$venv" "${wheel}[test]"
	"$venv/bin/python" -X dev -m pytest -p no:cacheprovider -q -m 'not faults and not alone' \
		tests/system/test_extension.py tests/unit/test_import.py tests/unit/test_errors.py
done

echo "== the sdist, ${sdist##*/}, in a clean environment"
cd "$out"
"$here/venv.sh" "$out/venv-sdist" --no-binary adma "$sdist"
"$out/venv-sdist/bin/python" -c '
import sys
import adma
from adma._core._native import lib
assert not lib.adma_faults_built(), "a release build has no fault points"
loaded = {"numpy", "mpi4py"} & sys.modules.keys()
assert not loaded, f"import adma loads {loaded}"
print("imports", adma.__name__, "from", adma.__file__)
'
"$out/venv-sdist/bin/adma" info
