/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fuzz_peer.c - a channel in mid-life whose peer writes what it likes into all that it can reach.
 *
 * Two ends of a channel work in this process. The input is a program: it lets either end post, drive, cancel, look,
 * drain and close; and between these calls it does to an end what a hostile peer could do. That writes words and bytes
 * into both segments (cells, slots, news, counters, event counts), into the bulk segment and into the TCP stream,
 * sends bytes and descriptors over the socket, and hangs up. Each end is the victim of what was done.
 *
 * Buffers have exactly the length that was posted, so that the sanitizer finds whatever reaches beyond them, and a page
 * that nobody may touch follows each map. A third process, a fork of this one, is the peer of `mapped:cma`: so hostile
 * addresses lead into its memory, and not into ours. No thread works for them, so that an input does the same each time.
 *
 * sources: all
 * with: peer/scene.c peer/victim.c peer/attack.c
 * flags: -pthread -Wl,--wrap=adma_thread_start -Wl,--wrap=mmap -Wl,--wrap=munmap
 * share: 4
 */
#include "peer/scene.h"

#define STEPS 300

int LLVMFuzzerInitialize(int *argc, char ***argv);

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc, (void)argv;
	make_process();
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct program program = {data, size};
	struct scene scene = {0};

	make_scene(&scene, (uint8_t)next(&program, 1));
	for (int steps = 0; program.left && steps < STEPS; steps++) {
		uint8_t step = (uint8_t)next(&program, 1);

		if (step & 2)
			act(&scene, step & 1, &program);
		else
			spoil(&scene, step & 1, &program);
	}
	end_scene(&scene);
	return 0;
}
