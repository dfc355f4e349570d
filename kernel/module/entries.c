// SPDX-License-Identifier: GPL-2.0
/* entries.c - the completion entries of an endpoint; see entries.h. */
#include <linux/anon_inodes.h>
#include <linux/err.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/nospec.h>
#include <linux/refcount.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/vmalloc.h>

#include "compat.h"
#include "entries.h"

#define SHARED_PAGES DIV_ROUND_UP(ADMA_ENTRIES * sizeof(struct adma_entry), PAGE_SIZE)

struct entry_slot {
	u64 state;                    /* as in the shared entry */
	struct adma_request *request; /* while it is pending */
	u64 *times;                   /* of a completed one, or NULL */
	bool matched;                 /* of a completed one */
};

struct adma_entries {
	refcount_t refs;
	struct adma_entry *shared;
	struct entry_slot *slots;
	struct page *pages[SHARED_PAGES];
};

static u64 entry_state(u64 cookie, int status)
{
	return (cookie & ~(u64)U32_MAX) | (u32)status;
}

static struct entry_slot *entries_slot(struct adma_entries *entries, u64 cookie)
{
	return &entries->slots[array_index_nospec((u32)cookie, ADMA_ENTRIES)];
}

static bool entry_same_generation(u64 a, u64 b)
{
	return a >> 32 == b >> 32;
}

static bool entry_is_pending(u64 state)
{
	return (u32)state == ADMA_PENDING;
}

static void entries_destroy(struct adma_entries *entries)
{
	unsigned int i;

	if (entries->shared)
		vunmap(entries->shared);
	for (i = 0; i < SHARED_PAGES && entries->pages[i]; i++)
		put_page(entries->pages[i]);
	for (i = 0; entries->slots && i < ADMA_ENTRIES; i++)
		kfree(entries->slots[i].times);
	kvfree(entries->slots);
	kfree(entries);
}

/*
 * The pages are allocated one by one, because those of vmalloc_user() would not be charged to the
 * memory cgroup.
 */
struct adma_entries *adma_entries_make(void)
{
	struct adma_entries *entries = kzalloc(sizeof(*entries), GFP_KERNEL_ACCOUNT);
	unsigned int i;

	if (!entries)
		return NULL;
	refcount_set(&entries->refs, 1);
	entries->slots = kvcalloc(ADMA_ENTRIES, sizeof(*entries->slots), GFP_KERNEL_ACCOUNT);
	if (!entries->slots)
		goto fail;
	for (i = 0; i < SHARED_PAGES; i++) {
		entries->pages[i] = alloc_page(GFP_KERNEL_ACCOUNT | __GFP_ZERO);
		if (!entries->pages[i])
			goto fail;
	}
	entries->shared = vmap(entries->pages, SHARED_PAGES, VM_MAP, PAGE_KERNEL);
	if (!entries->shared)
		goto fail;
	return entries;

fail:
	entries_destroy(entries);
	return NULL;
}

void adma_entries_put(struct adma_entries *entries)
{
	if (refcount_dec_and_test(&entries->refs))
		entries_destroy(entries);
}

/* ---- mappings ---- */

static int entries_mapping_release(struct inode *inode, struct file *file)
{
	adma_entries_put(file->private_data);
	return 0;
}

static const struct file_operations entries_mapping_operations = {
	.owner = THIS_MODULE,
	.release = entries_mapping_release,
};

int adma_entries_map(struct adma_entries *entries, struct vm_area_struct *vma)
{
	struct file *file;

	if (vma->vm_flags & VM_WRITE)
		return -EPERM;
	if (!(vma->vm_flags & VM_SHARED) || vma->vm_pgoff || vma_pages(vma) > SHARED_PAGES)
		return -EINVAL;
	file = anon_inode_getfile("[adma-entries]", &entries_mapping_operations, entries, O_RDONLY);
	if (IS_ERR(file))
		return PTR_ERR(file);
	refcount_inc(&entries->refs);
	vma_set_file(vma, file);
	fput(file);
	vm_flags_clear(vma, VM_MAYWRITE | VM_MAYEXEC);
	vm_flags_set(vma, VM_DONTDUMP | VM_DONTEXPAND);
	return vm_map_pages(vma, entries->pages, SHARED_PAGES);
}

/* ---- requests ---- */

int adma_entries_admit(struct adma_entries *entries, u64 cookie)
{
	const struct entry_slot *slot;

	if ((u32)cookie >= ADMA_ENTRIES || !(cookie >> 32))
		return -EINVAL;
	slot = entries_slot(entries, cookie);
	if (slot->request)
		return -EBUSY;
	return entry_same_generation(slot->state, cookie) ? -EINVAL : 0;
}

void adma_entries_begin(struct adma_entries *entries, u64 cookie, struct adma_request *request)
{
	struct entry_slot *slot = entries_slot(entries, cookie);
	struct adma_entry *entry = &entries->shared[(u32)cookie];

	kfree(slot->times);
	slot->times = NULL;
	slot->matched = false;
	slot->request = request;
	WRITE_ONCE(slot->state, entry_state(cookie, ADMA_PENDING));
	WRITE_ONCE(entry->state, slot->state);
}

void adma_entries_complete(struct adma_entries *entries, u64 cookie,
			   const struct adma_result *result)
{
	struct entry_slot *slot = entries_slot(entries, cookie);
	struct adma_entry *entry = &entries->shared[(u32)cookie];

	slot->times = result->times;
	slot->matched = result->matched;
	slot->request = NULL;
	WRITE_ONCE(entry->length, result->length);
	WRITE_ONCE(entry->note[0], result->note[0]);
	WRITE_ONCE(entry->note[1], result->note[1]);
	WRITE_ONCE(slot->state, entry_state(cookie, result->status));
	smp_store_release(&entry->state, slot->state); /* pairs with user space's acquire */
}

struct adma_request *adma_entries_find(struct adma_entries *entries, u64 cookie)
{
	const struct entry_slot *slot;

	if ((u32)cookie >= ADMA_ENTRIES)
		return ERR_PTR(-EINVAL);
	slot = entries_slot(entries, cookie);
	if (!(cookie >> 32) || !entry_same_generation(slot->state, cookie))
		return ERR_PTR(-ENOENT);
	return slot->request;
}

void adma_entries_each(struct adma_entries *entries, void (*visit)(struct adma_request *request))
{
	unsigned int i;

	for (i = 0; i < ADMA_ENTRIES; i++) {
		if (entries->slots[i].request)
			visit(entries->slots[i].request);
	}
}

void adma_entries_describe(struct adma_entries *entries, struct adma_check *check)
{
	const struct entry_slot *slot = entries_slot(entries, check->cookie);
	/*
	 * What the shared entry holds is returned only to callers that can read it anyway, so it
	 * does no harm to read it back.
	 */
	const struct adma_entry *entry = &entries->shared[(u32)check->cookie];

	check->status = (s32)slot->state;
	check->matched = slot->matched;
	check->length = READ_ONCE(entry->length);
	check->note[0] = READ_ONCE(entry->note[0]);
	check->note[1] = READ_ONCE(entry->note[1]);
	if (slot->times)
		memcpy(check->times, slot->times, sizeof(check->times));
}

bool adma_entries_completed(struct adma_entries *entries, u64 cookie)
{
	u64 state = READ_ONCE(entries_slot(entries, cookie)->state);

	return !entry_same_generation(state, cookie) || !entry_is_pending(state);
}
