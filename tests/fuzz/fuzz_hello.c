/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fuzz_hello.c - what a stranger says first. The first byte of the input is
 * the number of descriptors that came along, the rest the record.
 *
 * sources: handshake/record.c
 */
#include <stdlib.h>
#include <string.h>

#include "adma_handshake.h"

#define REQUIRE(condition) \
	do { \
		if (!(condition)) \
			abort(); \
	} while (0)

/* What a sound record promises to whoever uses it. */
static void check_record(const uint8_t *bytes, size_t n, uint32_t nfds, const struct adma_record *record)
{
	size_t end = sizeof(record->head);
	uint32_t fds = 0;

	REQUIRE(record->head.length == n && n <= ADMA_RECORD_MAX);
	REQUIRE(record->head.entries <= ADMA_ENTRIES_MAX);
	for (uint16_t i = 0; i < record->head.entries; i++) {
		const struct adma_record_entry *entry = &record->entries[i];
		struct adma_hello hello;

		REQUIRE(entry->offset >= end + sizeof(entry->head));
		REQUIRE(entry->offset <= n && entry->head.length <= n - entry->offset);
		end = entry->offset + entry->head.length;
		REQUIRE(entry->first_fd == fds);
		fds += entry->head.fds;
		if (!adma_hello_parse(bytes + entry->offset, entry->head.length, &hello))
			REQUIRE(hello.pid > 0 && hello.half_size && !hello.zero);
	}
	REQUIRE(fds == nfds && fds <= ADMA_RECORD_FDS_MAX);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct adma_record record;
	uint32_t nfds = size ? data[0] : 0;
	const uint8_t *bytes = data + (size ? 1 : 0);
	size_t n = size ? size - 1 : 0;
	int64_t length = adma_record_length(bytes, n);
	int fault = adma_record_parse(bytes, n, nfds, &record);

	REQUIRE(strlen(adma_record_fault_text(fault)) > 0);
	REQUIRE(fault <= ADMA_RECORD_OK && fault >= ADMA_RECORD_FDS);
	if (length < 0) /* both judge a head alike */
		REQUIRE(fault == length);
	if (length == 0)
		REQUIRE(fault == ADMA_RECORD_SHORT);
	if (length > 0)
		REQUIRE((fault == ADMA_RECORD_SHORT) == (n < (size_t)length));
	if (fault == ADMA_RECORD_OK)
		check_record(bytes, n, nfds, &record);
	return 0;
}
