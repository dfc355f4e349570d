// SPDX-License-Identifier: GPL-2.0
/* memory.c - describes memory, and checks it against what is mapped; see memory.h. */
#include <linux/backing-dev.h>
#include <linux/capability.h>
#include <linux/cred.h>
#include <linux/fs.h>
#include <linux/mm.h>
#include <linux/pagemap.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/sched/user.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/user_namespace.h>

#include "memory.h"

static_assert(sizeof(size_t) == sizeof(u64)); /* otherwise addresses and lengths were truncated */

/* ---- what is mapped ---- */

/*
 * Is there a file system that has to be told before a page is written to? An engine does not
 * tell it. From Linux 6.5 on such memory cannot be pinned for long and be written; this check
 * makes it so with every kernel.
 */
static bool memory_tracks_writes(const struct vm_area_struct *vma)
{
	if (!(vma->vm_flags & VM_SHARED))
		return false;
	if (vma->vm_ops && (vma->vm_ops->page_mkwrite || vma->vm_ops->pfn_mkwrite))
		return true;
	return vma->vm_file && mapping_can_writeback(vma->vm_file->f_mapping);
}

static bool memory_permits(const struct vm_area_struct *vma, bool write)
{
	return !(vma->vm_flags & (VM_IO | VM_PFNMAP)) &&
	       vma->vm_flags & (write ? VM_WRITE : VM_READ);
}

static int memory_walk(struct adma_memory *memory, const struct adma_range *range)
{
	unsigned long at = range->address, end = at + range->length;
	struct vm_area_struct *vma;
	int error = 0;

	if (mmap_read_lock_killable(memory->mm))
		return -EINTR;
	while (at < end) {
		vma = find_vma(memory->mm, at);
		if (!vma || vma->vm_start > at || !memory_permits(vma, memory->write)) {
			error = -EFAULT;
			break;
		}
		if (memory->write && memory_tracks_writes(vma))
			memory->long_term = false;
		at = vma->vm_end;
	}
	mmap_read_unlock(memory->mm);
	return error;
}

bool adma_memory_fit(struct mm_struct *mm, unsigned long start, unsigned long end)
{
	struct vm_area_struct *vma;
	bool fit = true;

	mmap_read_lock(mm);
	for (vma = find_vma(mm, start); vma && vma->vm_start < end && fit;
	     vma = find_vma(mm, vma->vm_end))
		fit = !memory_tracks_writes(vma);
	mmap_read_unlock(mm);
	return fit;
}

/* A stack may not have grown to this address yet. It does when the address is touched. */
static int memory_check_range(struct adma_memory *memory, const struct adma_range *range)
{
	int error = memory_walk(memory, range);

	if (error == -EFAULT && !fault_in_readable((char __user *)range->address, 1))
		error = memory_walk(memory, range);
	return error;
}

int adma_memory_check(struct adma_memory *memory)
{
	int error;
	u32 i;

	for (i = 0; i < memory->count; i++) {
		error = memory_check_range(memory, &memory->ranges[i]);
		if (error)
			return error;
	}
	return 0;
}

/* ---- description ---- */

/*
 * How many pages current's user may have pinned. To lack the capability is nothing wrong, so
 * it must not be audited.
 */
static unsigned long memory_memlock(void)
{
	if (ns_capable_noaudit(&init_user_ns, CAP_IPC_LOCK))
		return ULONG_MAX;
	return rlimit(RLIMIT_MEMLOCK) >> PAGE_SHIFT;
}

int adma_memory_init(struct adma_memory *memory, u32 count, bool write, u32 policy,
		     const struct adma_poster *poster)
{
	struct adma_range *ranges = kmalloc_array(count, sizeof(*ranges), GFP_KERNEL_ACCOUNT);

	if (!ranges)
		return -ENOMEM;
	*memory = (struct adma_memory){
		.mm = current->mm,
		.user = get_uid(current_user()),
		.memlock = memory_memlock(),
		.poster = poster->user,
		.tally = poster->tally,
		.policy = policy,
		.write = write,
		.ranges = ranges,
	};
	mmgrab(memory->mm);
	return 0;
}

int adma_memory_add(struct adma_memory *memory, u64 base, u64 length)
{
	unsigned long address = untagged_addr((unsigned long)base);

	if (length > ADMA_LENGTH_MAX - memory->length)
		return -EINVAL;
	if (!length)
		return 0;
	if (!access_ok((void __user *)address, length))
		return -EFAULT;
	memory->ranges[memory->count++] = (struct adma_range){ address, length };
	memory->length += length;
	return 0;
}

int adma_memory_add_all(struct adma_memory *memory, const struct adma_iovec __user *iov, u32 count)
{
	struct adma_iovec piece;
	int error = 0;
	u32 i;

	for (i = 0; i < count && !error; i++) {
		if (copy_from_user(&piece, &iov[i], sizeof(piece)))
			return -EFAULT;
		error = adma_memory_add(memory, piece.base, piece.length);
	}
	return error;
}

void adma_memory_free(struct adma_memory *memory)
{
	if (!memory->mm)
		return;
	kfree(memory->ranges);
	free_uid(memory->user);
	mmdrop(memory->mm);
	*memory = (struct adma_memory){ };
}
