/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * scene.h - two connected ends of a channel in one process, and what an attacker needs to reach into both.
 *
 * scene.c makes and ends them, victim.c is what an end does, attack.c is what its peer does to it.
 */
#ifndef SCENE_H
#define SCENE_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "adma.h"
#include "shm/layout.h"
#include "require.h"

#define ENDS 2
#define REQS 6 /* of an end */
#define LONGEST 150000
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define POISON 0xee /* what a read finds in its buffer, and no peer writes */

struct program {
	const uint8_t *at;
	size_t left;
};

struct item {
	struct adma_req req;
	uint8_t *buffer;
	bool posted;
};

struct end {
	struct adma_chan *chan;
	struct item items[REQS];
	uint32_t parts_due; /* of the object that was read last */
	bool closed;
};

struct scene {
	struct end ends[ENDS];
	struct adma_segment *segments[ENDS]; /* maps of the attacker's own */
	uint8_t *bulk[ENDS];
	int socks[ENDS], streams[ENDS]; /* duplicates: to send to an end, the attacker uses the other end's */
};

/* What is written, and where hostile addresses lead: the process of `mapped:cma` has it, too. */
extern uint8_t outgoing[LONGEST];

static inline uint64_t next(struct program *program, size_t n)
{
	uint64_t value = 0;

	if (n > program->left)
		n = program->left;
	if (n)
		memcpy(&value, program->at, n);
	program->at += n;
	program->left -= n;
	return value;
}

uint64_t draw_length(struct program *program);
int make_bulk(void); /* a bulk segment's descriptor */

/* Once, before the first scene. */
void make_process(void);

/* `kind` says which mechanism is forced, and whether the peer is of the same user. */
void make_scene(struct scene *scene, uint8_t kind);
void end_scene(struct scene *scene);

/* Let an end do something. */
void act(struct scene *scene, int e, struct program *program);
void close_end(struct end *end);

/* Spoil what end e reads. */
void spoil(struct scene *scene, int e, struct program *program);

#endif
