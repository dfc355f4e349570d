/* SPDX-License-Identifier: BSD-3-Clause */
/* list.h - the kernel's circular lists, as far as the module's pure code needs them. */
#ifndef ADMA_TESTS_LINUX_LIST_H
#define ADMA_TESTS_LINUX_LIST_H

#include <linux/types.h>

static inline void INIT_LIST_HEAD(struct list_head *list)
{
	list->next = list->prev = list;
}

static inline bool list_empty(const struct list_head *list)
{
	return list->next == list;
}

static inline void list_add_tail(struct list_head *node, struct list_head *list)
{
	node->prev = list->prev;
	node->next = list;
	list->prev->next = node;
	list->prev = node;
}

static inline void list_del_init(struct list_head *node)
{
	node->prev->next = node->next;
	node->next->prev = node->prev;
	INIT_LIST_HEAD(node);
}

static inline void list_move_tail(struct list_head *node, struct list_head *list)
{
	list_del_init(node);
	list_add_tail(node, list);
}

static inline void list_splice_tail_init(struct list_head *from, struct list_head *list)
{
	if (list_empty(from))
		return;
	from->next->prev = list->prev;
	from->prev->next = list;
	list->prev->next = from->next;
	list->prev = from->prev;
	INIT_LIST_HEAD(from);
}

#define list_entry(node, type, member)       ((type *)((char *)(node) - offsetof(type, member)))
#define list_first_entry(list, type, member) list_entry((list)->next, type, member)

#define list_for_each_entry(at, list, member) \
	for (at = list_entry((list)->next, __typeof__(*at), member); &at->member != (list); \
	     at = list_entry(at->member.next, __typeof__(*at), member))

#define list_for_each_entry_safe(at, after, list, member) \
	for (at = list_entry((list)->next, __typeof__(*at), member), \
	    after = list_entry(at->member.next, __typeof__(*at), member); \
	     &at->member != (list); \
	     at = after, after = list_entry(at->member.next, __typeof__(*at), member))

#endif
