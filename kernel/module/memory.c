// SPDX-License-Identifier: GPL-2.0
/* memory.c - memory as a post describes it, checked against what is mapped; see memory.h. */
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

#include "dma.h"
#include "fetch.h"
#include "memory.h"
#include "pin.h"
#include "request.h"

static_assert(sizeof(size_t) == sizeof(u64)); /* or addresses and lengths would be cut off */

/* ---- what is mapped ---- */

/*
 * Is there a file system that wants to know before a page is written to? An engine does not
 * tell it. From 6.5 on such memory cannot be pinned for long and be written; here
 * it is so with every kernel.
 */
static bool tracks_writes(const struct vm_area_struct *vma)
{
	if (!(vma->vm_flags & VM_SHARED))
		return false;
	if (vma->vm_ops && (vma->vm_ops->page_mkwrite || vma->vm_ops->pfn_mkwrite))
		return true;
	return vma->vm_file && mapping_can_writeback(vma->vm_file->f_mapping);
}

static bool permits(const struct vm_area_struct *vma, bool write)
{
	return !(vma->vm_flags & (VM_IO | VM_PFNMAP)) &&
	       vma->vm_flags & (write ? VM_WRITE : VM_READ);
}

static int walk(struct adma_memory *memory, const struct adma_range *range)
{
	unsigned long at = range->address, end = at + range->length;
	struct vm_area_struct *vma;
	int error = 0;

	if (mmap_read_lock_killable(memory->mm))
		return -EINTR;
	while (at < end) {
		vma = find_vma(memory->mm, at);
		if (!vma || vma->vm_start > at || !permits(vma, memory->write)) {
			error = -EFAULT;
			break;
		}
		if (memory->write && tracks_writes(vma))
			memory->lasting = false;
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
		fit = !tracks_writes(vma);
	mmap_read_unlock(mm);
	return fit;
}

/* A stack that has not grown so far yet does when it is touched. */
static int check(struct adma_memory *memory, const struct adma_range *range)
{
	int error = walk(memory, range);

	if (error == -EFAULT && !fault_in_readable((char __user *)range->address, 1))
		error = walk(memory, range);
	return error;
}

/* ---- ranges ---- */

static int add(struct adma_memory *memory, u64 base, u64 length)
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

/* Pages that current's user may have pinned. Who may not pin more has done no wrong: no audit. */
static unsigned long memlock(void)
{
	if (ns_capable_noaudit(&init_user_ns, CAP_IPC_LOCK))
		return ULONG_MAX;
	return rlimit(RLIMIT_MEMLOCK) >> PAGE_SHIFT;
}

static int begin(struct adma_memory *memory, u32 count, bool write, u32 policy,
		 struct adma_tally *tally)
{
	struct adma_range *ranges = kmalloc_array(count, sizeof(*ranges), GFP_KERNEL_ACCOUNT);

	if (!ranges)
		return -ENOMEM;
	*memory = (struct adma_memory){
		.mm = current->mm,
		.user = get_uid(current_user()),
		.memlock = memlock(),
		.tally = tally,
		.policy = policy,
		.write = write,
		.ranges = ranges,
	};
	mmgrab(memory->mm);
	return 0;
}

static bool wants_lasting(const struct adma_memory *memory)
{
	if (memory->policy == ADMA_BY_ANY)
		return memory->length >= adma_dma_min() && adma_dma_works();
	return memory->policy == ADMA_BY_DMA;
}

/* All ranges are there. */
static int check_and_hold(struct adma_memory *memory)
{
	bool must = memory->policy == ADMA_BY_DMA;
	int error;
	u32 i;

	if (!memory->length)
		return 0;
	memory->lasting = wants_lasting(memory);
	for (i = 0; i < memory->count; i++) {
		error = check(memory, &memory->ranges[i]);
		if (error)
			return error;
	}
	if (!memory->lasting)
		return must ? -EOPNOTSUPP : 0;
	error = adma_memory_hold(memory);
	/* What others hold for now, or a fault has to bring, may be pinned when its turn comes. */
	if (!error || error == -EAGAIN || (error == -ENOMEM && memory->memlock))
		return 0;
	if (must || error == -EFAULT || error == -EINTR)
		return error;
	memory->lasting = false;
	return 0;
}

static int add_all(struct adma_memory *memory, const struct adma_iovec __user *iov, u32 count)
{
	struct adma_iovec piece;
	int error = 0;
	u32 i;

	for (i = 0; i < count && !error; i++) {
		if (copy_from_user(&piece, &iov[i], sizeof(piece)))
			return -EFAULT;
		error = add(memory, piece.base, piece.length);
	}
	return error;
}

int adma_memory_take(struct adma_memory *memory, const struct adma_iovec __user *iov, u32 count,
		     bool write, u32 policy, struct adma_tally *tally)
{
	int error = begin(memory, count, write, policy, tally);

	if (error)
		return error;
	error = add_all(memory, iov, count);
	if (!error)
		error = check_and_hold(memory);
	if (error)
		adma_memory_drop(memory);
	return error;
}

int adma_memory_take_range(struct adma_memory *memory, u64 address, u64 length, bool write,
			   u32 policy, struct adma_tally *tally)
{
	int error = begin(memory, 1, write, policy, tally);

	if (error)
		return error;
	error = add(memory, address, length);
	if (!error)
		error = check_and_hold(memory);
	if (error)
		adma_memory_drop(memory);
	return error;
}

void adma_memory_drop(struct adma_memory *memory)
{
	u32 i;

	if (!memory->mm)
		return;
	adma_fetch_end(memory);
	for (i = 0; i < memory->holds; i++) {
		if (memory->held[i].entry)
			adma_pin_put(&memory->held[i], memory);
	}
	kfree(memory->held);
	kfree(memory->ranges);
	free_uid(memory->user);
	mmdrop(memory->mm);
	*memory = (struct adma_memory){ };
}
