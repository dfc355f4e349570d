/* SPDX-License-Identifier: BSD-3-Clause */
/* layout.c - the frozen ABI. If this file does not compile, then the ABI has changed. */
#include <linux/adma.h>
#include <stddef.h>

#define SIZE(type, size)        _Static_assert(sizeof(struct type) == (size), #type)
#define AT(type, field, offset) _Static_assert(offsetof(struct type, field) == (offset), #type "." #field)
#define IS(name, value)         _Static_assert((name) == (value), #name)

SIZE(adma_info, 72);
AT(adma_info, size, 0);
AT(adma_info, flags, 4);
AT(adma_info, abi, 8);
AT(adma_info, features, 12);
AT(adma_info, channels, 16);
AT(adma_info, retired, 20);
AT(adma_info, entries, 24);
AT(adma_info, iov_max, 28);
AT(adma_info, length_max, 32);
AT(adma_info, window, 40);
AT(adma_info, pin_limit, 48);
AT(adma_info, dma_min, 56);
AT(adma_info, requests_max, 64);
AT(adma_info, connections_max, 68);

SIZE(adma_channel, 120);
AT(adma_channel, size, 0);
AT(adma_channel, flags, 4);
AT(adma_channel, index, 8);
AT(adma_channel, state, 12);
AT(adma_channel, align, 16);
AT(adma_channel, pad, 20);
AT(adma_channel, bytes, 24);
AT(adma_channel, pieces, 32);
AT(adma_channel, errors, 40);
AT(adma_channel, timeouts, 48);
AT(adma_channel, name, 56);
AT(adma_channel, driver, 88);

SIZE(adma_pair, 24);
AT(adma_pair, size, 0);
AT(adma_pair, flags, 4);
AT(adma_pair, policy, 8);
AT(adma_pair, pad, 12);
AT(adma_pair, fd, 16);

SIZE(adma_iovec, 16);
AT(adma_iovec, base, 0);
AT(adma_iovec, length, 8);

SIZE(adma_post, 64);
AT(adma_post, size, 0);
AT(adma_post, flags, 4);
AT(adma_post, op, 8);
AT(adma_post, kind, 12);
AT(adma_post, cookie, 16);
AT(adma_post, key, 24);
AT(adma_post, iov, 32);
AT(adma_post, iovcnt, 40);
AT(adma_post, pad, 44);
AT(adma_post, note, 48);

SIZE(adma_copy, 48);
AT(adma_copy, size, 0);
AT(adma_copy, flags, 4);
AT(adma_copy, cookie, 8);
AT(adma_copy, destination, 16);
AT(adma_copy, source, 24);
AT(adma_copy, length, 32);
AT(adma_copy, policy, 40);
AT(adma_copy, pad, 44);

SIZE(adma_peek, 40);
AT(adma_peek, size, 0);
AT(adma_peek, flags, 4);
AT(adma_peek, kind, 8);
AT(adma_peek, pad, 12);
AT(adma_peek, length, 16);
AT(adma_peek, note, 24);

SIZE(adma_check, 96);
AT(adma_check, size, 0);
AT(adma_check, flags, 4);
AT(adma_check, cookie, 8);
AT(adma_check, timeout_ns, 16);
AT(adma_check, status, 24);
AT(adma_check, matched, 28);
AT(adma_check, length, 32);
AT(adma_check, note, 40);
AT(adma_check, times, 56);

SIZE(adma_cancel, 16);
AT(adma_cancel, size, 0);
AT(adma_cancel, flags, 4);
AT(adma_cancel, cookie, 8);

SIZE(adma_entry, 32);
AT(adma_entry, state, 0);
AT(adma_entry, length, 8);
AT(adma_entry, note, 16);

SIZE(adma_counters, 176);
AT(adma_counters, size, 0);
AT(adma_counters, flags, 4);
AT(adma_counters, posts, 8);
AT(adma_counters, matches, 16);
AT(adma_counters, done, 24);
AT(adma_counters, failed, 32);
AT(adma_counters, bytes_dma, 40);
AT(adma_counters, bytes_cpu, 48);
AT(adma_counters, bytes_edge, 56);
AT(adma_counters, bytes_rescued, 64);
AT(adma_counters, pieces, 72);
AT(adma_counters, pin_hits, 80);
AT(adma_counters, pin_misses, 88);
AT(adma_counters, pages_pinned, 96);
AT(adma_counters, pages_unpinned, 104);
AT(adma_counters, pages_stuck, 112);
AT(adma_counters, invalidations, 120);
AT(adma_counters, timeouts, 128);
AT(adma_counters, times, 136);

IS(ADMA_ABI_VERSION, 0x1);
IS(ADMA_FEATURE_CPU, 0x1);
IS(ADMA_FEATURE_DMA, 0x2);
IS(ADMA_FEATURE_COPY, 0x4);
IS(ADMA_FEATURE_TIMES, 0x8);
IS(ADMA_CHANNEL_WORKS, 0x0);
IS(ADMA_CHANNEL_RETIRED, 0x1);
IS(ADMA_CHANNEL_LOST, 0x2);
IS(ADMA_BY_ANY, 0x0);
IS(ADMA_BY_CPU, 0x1);
IS(ADMA_BY_DMA, 0x2);
IS(ADMA_READ, 0x1);
IS(ADMA_WRITE, 0x2);
IS(ADMA_POST_TIMES, 0x1);
IS(ADMA_TIME_POST, 0x0);
IS(ADMA_TIME_PIN, 0x1);
IS(ADMA_TIME_START, 0x2);
IS(ADMA_TIME_COPY, 0x3);
IS(ADMA_TIME_COMPLETE, 0x4);
IS(ADMA_TIMES, 0x5);
IS(ADMA_PENDING, 0x1);
IS(ADMA_COUNTERS_MODULE, 0x1);
IS(ADMA_IOC_MAGIC, 0xad);
IS(ADMA_IOC_INFO, 0xc048ad00);
IS(ADMA_IOC_CHANNEL, 0xc078ad01);
IS(ADMA_IOC_COUNTERS, 0xc0b0ad02);
IS(ADMA_IOC_PAIR, 0xc018ad03);
IS(ADMA_IOC_POST, 0x4040ad10);
IS(ADMA_IOC_COPY, 0x4030ad11);
IS(ADMA_IOC_PEEK, 0xc028ad12);
IS(ADMA_IOC_CHECK, 0xc060ad13);
IS(ADMA_IOC_WAIT, 0xc060ad14);
IS(ADMA_IOC_CANCEL, 0x4010ad15);
IS(ADMA_COOKIE(7, 5), (7ull << 32) + 5);
