/* csum: Internet checksums, whole and by difference.
 *
 * What       RFC 1071 sums and RFC 1624 incremental update (equation 3: HC' = ~(~HC + ~m + m')).
 * Units      16-bit words as they lie in memory: one's complement sums do not care for byte order.
 * Ownership  pure. Calls: any. Errors: none.
 * Use        delta = csum_delta32(0, old.net, new.net); field = csum_apply(field, delta); back: csum_apply(field, csum_back(delta))
 */
#ifndef CORENAT_CSUM_H
#define CORENAT_CSUM_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* What decrementing the TTL does to the IPv4 header: -1 in one's complement, the TTL being the word's low byte in
 * memory on a little-endian machine, and its high byte on the wire. */
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define CSUM_DELTA_TTL 0xfffeu
#else
#define CSUM_DELTA_TTL 0xfeffu
#endif

/* The upper half takes the sum of both halves and, from the lower half, its carry. */
static inline uint16_t csum_fold(uint32_t sum)
{
	return (uint16_t)((sum + (sum << 16 | sum >> 16)) >> 16);
}

/* Adds the replacement of one word to a delta: ~old + new. */
static inline uint16_t csum_delta16(uint16_t delta, uint16_t was, uint16_t is)
{
	return csum_fold((uint32_t)delta + (uint16_t)~was + is);
}

static inline uint16_t csum_delta32(uint16_t delta, uint32_t was, uint32_t is)
{
	return csum_delta16(
		csum_delta16(delta, (uint16_t)was, (uint16_t)is), (uint16_t)(was >> 16), (uint16_t)(is >> 16));
}

/* What undoes a delta. */
static inline uint16_t csum_back(uint16_t delta)
{
	return delta ^ 0xffffu;
}

/* `delta` may be a sum of several. */
static inline uint16_t csum_apply(uint16_t field, uint32_t delta)
{
	return (uint16_t)~csum_fold(0xffffu - field + delta);
}

/* The checksum field's value for data whose field is zero; 0 when the field holds a right checksum. */
static inline uint16_t csum_over(const void *data, size_t size, uint32_t sum)
{
	const uint8_t *at = data;
	uint64_t total = sum;
	uint16_t word;

	for (; size >= 2; at += 2, size -= 2) {
		memcpy(&word, at, 2);
		total += word;
	}
	if (size) {
		word = 0;
		memcpy(&word, at, 1);
		total += word;
	}
	while (total >> 16)
		total = (total & 0xffff) + (total >> 16);
	return (uint16_t)~total;
}

#endif
