#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# checkpatch.sh: looks at the module's sources as a reviewer of the kernel would.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

source=$("$guest/fetch.sh" source)
# The paths are as in a kernel tree, because checkpatch recognises a UAPI header by its path.
cd "$root/kernel"
perl "$source/scripts/checkpatch.pl" --no-tree --no-summary --terse --strict -f \
	--ignore FILE_PATH_CHANGES,SPDX_LICENSE_TAG,LINUX_VERSION_CODE,AVOID_EXTERNS \
	{include/uapi/linux,module,provider,guest/alarm}/*.[ch]
