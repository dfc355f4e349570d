/* SPDX-License-Identifier: GPL-2.0 */
/*
 * entries.h - the completion entries of an endpoint.
 *
 * The shared entries are pages that user space maps read-only, and that the kernel only
 * writes. Decisions are based on private slots, which hold generation and status once more.
 *
 * References: the endpoint holds one, and every mapping holds one through a file of its
 * own. So a mapping that outlives its file descriptor keeps these pages and
 * nothing else: closing the file descriptor closes the endpoint, mapped or not.
 *
 * From adma_entries_admit() on, all but adma_entries_completed() are called with the
 * connection's lock held.
 */
#ifndef ADMA_ENTRIES_H
#define ADMA_ENTRIES_H

#include <linux/types.h>

#include <uapi/linux/adma.h>

#define ADMA_ENTRIES 1024

struct adma_entries;
struct adma_request;
struct vm_area_struct;

/* How a request was completed. */
struct adma_result {
	int status;
	u64 length;
	const u64 *note;
	bool matched;
	u64 *times; /* ADMA_TIMES of them, or NULL. The entries own them from here on */
};

struct adma_entries *adma_entries_make(void); /* NULL: no memory */
void adma_entries_put(struct adma_entries *entries);
int adma_entries_map(struct adma_entries *entries, struct vm_area_struct *vma);

/* May a request of this cookie begin? 0, -EINVAL or -EBUSY. */
int adma_entries_admit(struct adma_entries *entries, u64 cookie);

/* The request is pending from begin to complete. */
void adma_entries_begin(struct adma_entries *entries, u64 cookie, struct adma_request *request);
void adma_entries_complete(struct adma_entries *entries, u64 cookie,
			   const struct adma_result *result);

/*
 * The pending request of this cookie. NULL: it is completed. ERR_PTR(-EINVAL), or
 * ERR_PTR(-ENOENT): the entry holds another request.
 */
struct adma_request *adma_entries_find(struct adma_entries *entries, u64 cookie);

/* Call @visit for each pending request. */
void adma_entries_each(struct adma_entries *entries, void (*visit)(struct adma_request *request));

/* Fills in all that ADMA_IOC_CHECK returns, for a request that is completed. */
void adma_entries_describe(struct adma_entries *entries, struct adma_check *check);

/*
 * Called without the lock. Is nothing left to wait for, because the request is completed, or
 * because its entry holds a later one already?
 */
bool adma_entries_completed(struct adma_entries *entries, u64 cookie);

#endif
