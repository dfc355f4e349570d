/* SPDX-License-Identifier: GPL-2.0 */
/*
 * entries.h - the completion entries of a descriptor.
 *
 * The shared half is pages that user space maps read-only and the kernel only
 * writes. What decides, generation and status, is kept a second time in private slots.
 *
 * References: the end holds one, every mapping holds one through a file of its
 * own. So a mapping that outlives its descriptor keeps these pages and
 * nothing else: closing the descriptor closes the end, mapped or not.
 *
 * All but adma_entries_ended() is called with the connection's lock held.
 */
#ifndef ADMA_ENTRIES_H
#define ADMA_ENTRIES_H

#include <linux/types.h>

#include <uapi/linux/adma.h>

#define ADMA_ENTRIES 1024

struct adma_entries;
struct adma_request;
struct vm_area_struct;

/* How a request ended. */
struct adma_result {
	int status;
	u64 length;
	const u64 *note;
	bool matched;
	u64 *times; /* ADMA_TIMES of them, or NULL: the entries' own from here on */
};

struct adma_entries *adma_entries_make(void); /* NULL: no memory */
void adma_entries_put(struct adma_entries *entries);
int adma_entries_map(struct adma_entries *entries, struct vm_area_struct *vma);

/* May a request of this cookie begin? 0, -EINVAL or -EBUSY. */
int adma_entries_admit(struct adma_entries *entries, u64 cookie);

/* It is pending from here on, until the other. */
void adma_entries_begin(struct adma_entries *entries, u64 cookie, struct adma_request *request);
void adma_entries_end(struct adma_entries *entries, u64 cookie, const struct adma_result *result);

/* The pending request: ERR_PTR(-EINVAL), ERR_PTR(-ENOENT); NULL: it has ended. */
struct adma_request *adma_entries_find(struct adma_entries *entries, u64 cookie);

/* Tell of each that is pending. */
void adma_entries_each(struct adma_entries *entries, void (*tell)(struct adma_request *request));

/* All that ADMA_IOC_CHECK tells; of a request that has ended. */
void adma_entries_describe(struct adma_entries *entries, struct adma_check *check);

/* Without the lock: is there nothing to wait for, because it ended or the entry moved on? */
bool adma_entries_ended(struct adma_entries *entries, u64 cookie);

#endif
