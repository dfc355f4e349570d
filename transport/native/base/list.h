/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * list.h - the one intrusive, circular, doubly linked list of the core, as in the Linux kernel.
 *
 * A head and its members are of one type. A head is empty when it points to itself, so it
 * has to be initialised before it is used. A member that was removed points to itself, too:
 * removing it once more does nothing, and adma_list_listed() tells whether it is on a list.
 */
#ifndef ADMA_BASE_LIST_H
#define ADMA_BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

#include "adma.h"

/* The structure of type `type` whose field `field` is *member. */
#define adma_container_of(member, type, field) ((type *)((char *)(member) - offsetof(type, field)))

#define ADMA_LIST_INIT(name) {&(name), &(name)}

static inline void adma_list_init(struct adma_list *list)
{
	list->next = list->prev = list;
}

static inline bool adma_list_empty(const struct adma_list *head)
{
	return head->next == head;
}

/* Is this member on a list? It must have been initialised. */
static inline bool adma_list_listed(const struct adma_list *member)
{
	return member->next != member;
}

static inline void adma_list_insert(struct adma_list *member, struct adma_list *before, struct adma_list *after)
{
	member->prev = before;
	member->next = after;
	before->next = member;
	after->prev = member;
}

static inline void adma_list_push_front(struct adma_list *head, struct adma_list *member)
{
	adma_list_insert(member, head, head->next);
}

static inline void adma_list_push_back(struct adma_list *head, struct adma_list *member)
{
	adma_list_insert(member, head->prev, head);
}

static inline void adma_list_remove(struct adma_list *member)
{
	member->prev->next = member->next;
	member->next->prev = member->prev;
	adma_list_init(member);
}

/* The first member, or NULL. */
static inline struct adma_list *adma_list_first(const struct adma_list *head)
{
	return adma_list_empty(head) ? NULL : head->next;
}

/* Visit each member from the first to the last. The body must not remove any. */
#define adma_list_for_each(at, head) for (struct adma_list *at = (head)->next; at != (head); at = at->next)

/* The same. The body may remove the current member, but no other one. */
#define adma_list_for_each_safe(at, after, head) \
	for (struct adma_list *at = (head)->next, *after = at->next; at != (head); at = after, after = at->next)

/* Visit each structure of type `type` whose member `field` is on the list. The body must not remove any. */
#define adma_list_for_each_entry(at, head, type, field) \
	for (type *at = adma_container_of((head)->next, type, field); &at->field != (head); \
	     at = adma_container_of(at->field.next, type, field))

#endif
