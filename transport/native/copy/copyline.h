/* SPDX-License-Identifier: BSD-3-Clause */
/* copyline.h - copies one behind the other, linked through themselves. A copy stands in one line at a time. */
#ifndef ADMA_COPYLINE_H
#define ADMA_COPYLINE_H

#include <stddef.h>

#include "adma_copy.h"

struct adma_copy_line {
	struct adma_copy *first, *last;
};

static inline void adma_copy_line_push(struct adma_copy_line *line, struct adma_copy *copy)
{
	copy->next = NULL;
	copy->prev = line->last;
	if (copy->prev)
		copy->prev->next = copy;
	else
		line->first = copy;
	line->last = copy;
}

/* From any place in it. */
static inline void adma_copy_line_remove(struct adma_copy_line *line, struct adma_copy *copy)
{
	if (copy->prev)
		copy->prev->next = copy->next;
	else
		line->first = copy->next;
	if (copy->next)
		copy->next->prev = copy->prev;
	else
		line->last = copy->prev;
}

#endif
