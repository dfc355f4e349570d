/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * probe.h - the few system calls of the handshake that Python has no word for.
 *
 * Results are 0 or a negated errno.
 */
#ifndef ADMA_PROBE_H
#define ADMA_PROBE_H

#include <stddef.h>
#include <stdint.h>

/*
 * What a channel shows of itself in its own memory. The peer reads `bytes`
 * whenever it is about to touch our memory, to see that the process with our
 * pid is still the one it shook hands with; it writes `scratch` once, to show
 * that it can. The memory is private and stays where it is until freed, which
 * must not happen before the channel is closed.
 */
struct adma_nonce {
	uint8_t bytes[16];
	uint64_t scratch;
};

/* With fresh random bytes and a scratch of 0; NULL and errno when there is no memory or no randomness. */
struct adma_nonce *adma_nonce_new(void);
void adma_nonce_free(struct adma_nonce *nonce);

/* Where the peer finds it. */
uint64_t adma_nonce_address(const struct adma_nonce *nonce);
uint64_t adma_nonce_scratch_address(const struct adma_nonce *nonce);

/* What is in the scratch word now: the peer may have written to it. */
uint64_t adma_nonce_scratch(const struct adma_nonce *nonce);

/* Copy n bytes from or to another process's memory; a part of them only is -EFAULT. */
int adma_vm_read(int32_t pid, uint64_t address, void *bytes, size_t n);
int adma_vm_write(int32_t pid, uint64_t address, const void *bytes, size_t n);

/*
 * Yama: let process `pid` trace this one, in place of whoever could before;
 * ADMA_TRACER_ANY: let all of this user's. -EINVAL where there is no Yama.
 */
enum { ADMA_TRACER_ANY = -1 };
int adma_set_tracer(int32_t pid);

/* prctl(PR_GET_DUMPABLE): 1 when others of this user may look into this process. */
int adma_dumpable(void);

/* Pass ADMA_FAULT_HANDSHAKE: 0, or the positive errno to fail with. */
int adma_fault_handshake(void);

#endif
