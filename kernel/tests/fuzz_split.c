/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fuzz_split.c - fuzzes the cutting of copies. The input is four bytes of limits, then extents of
 * 4 bytes each: {side and offset: 16 bits, length: 16 bits}.
 */
#include <string.h>

#include "require.h"
#include "split_rules.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct side sides[2] = { 0 };
	struct adma_split_limits limits;
	struct side *side;
	uint16_t words[2];

	if (size < 4)
		return 0;
	limits.align = (size_t)1 << data[0] % 13;
	limits.line = (size_t)1 << data[1] % 13;
	limits.least = 1 + data[2] * 16;
	limits.most = 1 + data[3] * 256;
	for (data += 4, size -= 4; size >= sizeof(words); data += 4, size -= 4) {
		memcpy(words, data, sizeof(words));
		side = &sides[words[0] >> 15];
		if (side->count < 64)
			side_add(side, words[0] % PAGE_BYTES, words[1] % 6000 + 1);
	}
	size = sides[0].length < sides[1].length ? sides[0].length : sides[1].length;
	split_check(&sides[0], &sides[1], size, &limits);
	side_free(&sides[0]);
	side_free(&sides[1]);
	return 0;
}
