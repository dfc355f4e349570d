# SPDX-License-Identifier: BSD-3-Clause
"""All is declared in pyproject.toml but the extension: cffi builds it from here, for abi3."""

from setuptools import setup

setup(
    cffi_modules=["transport/native/build_native.py:ffibuilder"],
    options={"bdist_wheel": {"py_limited_api": "cp311"}},
)
