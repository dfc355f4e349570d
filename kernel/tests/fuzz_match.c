/* SPDX-License-Identifier: BSD-3-Clause */
/* fuzz_match.c - fuzzes matching against its model. The input is a sequence of two-byte steps. */
#include "match_rules.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct world *world = world_make();
	struct step step;

	for (; size >= 2; data += 2, size -= 2) {
		switch (data[0] >> 5) {
		case 7:
			world_cancel(world, data[1]);
			break;
		case 6:
			if (data[1] == 0xff)
				world_drain(world);
			break;
		default:
			step.write = data[0] & 1;
			step.key = (data[0] & 6) ? 0 : data[1] >> 2;
			step.kind = (data[0] & 0x18) == 0x18;
			step.length = data[1] & 3;
			world_post(world, &step);
		}
	}
	world_drain(world);
	world_free(world);
	return 0;
}
