/* SPDX-License-Identifier: BSD-3-Clause */
/* uapi.h - what the parts of the uapi program share. */
#ifndef UAPI_H
#define UAPI_H

#include <stddef.h>
#include <stdint.h>

extern char source[1 << 20], sink[1 << 20];

int poll_now(int fd);

/* Memory that may only be read, and addresses where nothing is mapped. */
void *read_only(size_t size);
void *hole(size_t size);

/* Sends one message from fds[0] to fds[1], with entry 0 of both, and checks it. */
void exchange(const int fds[2], uint32_t generation, size_t length);

/* uapi_device.c */
void test_structures(void);
void test_larger_structure(void);
void test_unknown_commands(void);
void test_info(void);
void test_result_unwritable(void);
void test_channels(void);
void test_counters(void);
void test_counters_of_others(void);
void test_pair(void);
void test_pair_by_dma(void);
void test_pair_descriptors_run_out(void);
void test_pair_quota(void);

/* uapi_post.c */
void test_post_alone(void);
void test_post_invalid(void);
void test_post_bad_memory(void);
void test_post_busy(void);
void test_post_quota(void);
void test_lengths(void);
void test_fifo_order(void);
void test_too_short(void);
void test_wrong_kind(void);
void test_zero_bytes(void);
void test_keys(void);
void test_pieces(void);

/* uapi_request.c */
void test_check(void);
void test_wait(void);
void test_many_wait_on_one(void);
void test_cancel(void);
void test_cancel_after_match(void);
void test_peek(void);
void test_read(void);
void test_poll(void);
void test_poll_wakes(void);
void test_mmap(void);

/* uapi_use.c */
void test_close(void);
void test_close_while_matched(void);
void test_copy(void);
void test_times(void);
void test_fork(void);
void test_passed_to_another_user(void);
void test_two_processes(void);
void test_memlock_zero(void);
void test_file_memory(void);
void test_unmapped_before_match(void);

#endif
