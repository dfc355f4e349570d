/* SPDX-License-Identifier: BSD-3-Clause */
/* record.c - the parser of handshake records, which come from a stranger; see adma_handshake.h. */
#include "adma_handshake.h"

#include <string.h>

_Static_assert(sizeof(struct adma_record_head) == 20, "the head has no padding");
_Static_assert(sizeof(struct adma_entry_head) == 16, "the head of an entry has no padding");
_Static_assert(sizeof(struct adma_hello) == 56, "the hello has no padding");

/* Can these be the first bytes of a record? Other data is refused at its first byte, not at its twentieth. */
static int magic_check(const uint8_t *bytes, size_t n)
{
	const uint32_t magic = ADMA_RECORD_MAGIC;
	size_t known = n < sizeof(magic) ? n : sizeof(magic);

	return memcmp(bytes, &magic, known) ? ADMA_RECORD_MAGIC_BAD : ADMA_RECORD_OK;
}

/*
 * The magic, the versions and the length have the same places in every wire version. They are
 * checked in this order, because the record of a newer peer may break the other rules.
 */
static int head_check(const uint8_t *bytes, size_t n, struct adma_record_head *head)
{
	if (magic_check(bytes, n))
		return ADMA_RECORD_MAGIC_BAD;
	if (n < sizeof(*head))
		return ADMA_RECORD_SHORT;
	memcpy(head, bytes, sizeof(*head));
	if (head->oldest > head->newest || head->oldest > ADMA_WIRE_VERSION || head->newest < ADMA_WIRE_OLDEST)
		return ADMA_RECORD_VERSION;
	if (head->length < sizeof(*head) || head->length > ADMA_RECORD_MAX)
		return ADMA_RECORD_LENGTH;
	return ADMA_RECORD_OK;
}

static int entry_parse(const uint8_t *bytes, size_t end, size_t *at, struct adma_record_entry *entry)
{
	size_t padded;

	if (end - *at < sizeof(entry->head))
		return ADMA_RECORD_ENTRIES;
	memcpy(&entry->head, bytes + *at, sizeof(entry->head));
	*at += sizeof(entry->head);
	if (entry->head.zero || entry->head.length > ADMA_RECORD_MAX)
		return ADMA_RECORD_ENTRIES;
	padded = ((size_t)entry->head.length + 7) & ~(size_t)7;
	if (end - *at < padded)
		return ADMA_RECORD_ENTRIES;
	entry->offset = *at;
	*at += padded;
	return ADMA_RECORD_OK;
}

int adma_record_parse(const uint8_t *bytes, size_t n, uint32_t nfds, struct adma_record *record)
{
	size_t at = sizeof(record->head);
	uint32_t fds = 0;
	int fault;

	memset(record, 0, sizeof(*record));
	fault = head_check(bytes, n, &record->head);
	if (fault)
		return fault;
	if (n < record->head.length)
		return ADMA_RECORD_SHORT;
	if (n > record->head.length)
		return ADMA_RECORD_LENGTH;
	if (record->head.entries > ADMA_ENTRIES_MAX)
		return ADMA_RECORD_ENTRIES;

	for (uint16_t i = 0; i < record->head.entries; i++) {
		struct adma_record_entry *entry = &record->entries[i];

		fault = entry_parse(bytes, n, &at, entry);
		if (fault)
			return fault;
		entry->first_fd = fds;
		fds += entry->head.fds;
	}
	if (at != n)
		return ADMA_RECORD_LENGTH;
	if (fds != record->head.fds || fds != nfds || fds > ADMA_RECORD_FDS_MAX)
		return ADMA_RECORD_FDS;
	return ADMA_RECORD_OK;
}

int64_t adma_record_length(const uint8_t *bytes, size_t n)
{
	struct adma_record_head head;
	int fault = head_check(bytes, n, &head);

	if (fault == ADMA_RECORD_SHORT)
		return 0;
	return fault ? fault : (int64_t)head.length;
}

int adma_hello_parse(const uint8_t *bytes, size_t n, struct adma_hello *hello)
{
	if (n != sizeof(*hello))
		return -1;
	memcpy(hello, bytes, sizeof(*hello));
	if (hello->pid <= 0 || !hello->half_size || hello->zero)
		return -1;
	return 0;
}

const char *adma_record_fault_text(int fault)
{
	switch (fault) {
	case ADMA_RECORD_OK:
		return "a sound record";
	case ADMA_RECORD_SHORT:
		return "the record is cut short";
	case ADMA_RECORD_MAGIC_BAD:
		return "what arrived does not begin like a record of adma";
	case ADMA_RECORD_VERSION:
		return "the two ends have no wire version in common";
	case ADMA_RECORD_LENGTH:
		return "the record's length is wrong";
	case ADMA_RECORD_ENTRIES:
		return "an entry of the record is malformed, or there are too many";
	case ADMA_RECORD_FDS:
		return "the record announces other descriptors than came with it";
	default:
		return "an unknown fault";
	}
}
