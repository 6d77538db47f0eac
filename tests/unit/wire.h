/* wire: packets as the tests that take nothing from pe/ make and judge them: byte by byte, sums the obvious way.
 *
 * What       a frame under construction, and RFC 1071 a word at a time.
 * Units      bytes; numbers in host order. Ownership  plain values. Calls  any. Errors  none.
 */
#ifndef CORENAT_TESTS_WIRE_H
#define CORENAT_TESTS_WIRE_H

#include "tests/unit/rnd.h"

#include <string.h>

enum { ETH = 14, WIRE_OPTIONS_MAX = 40 };

static inline unsigned get16(const uint8_t *b)
{
	return (unsigned)b[0] << 8 | b[1];
}

static inline uint32_t get32(const uint8_t *b)
{
	return (uint32_t)get16(b) << 16 | get16(b + 2);
}

static inline void put16(uint8_t *b, unsigned v)
{
	b[0] = (uint8_t)(v >> 8);
	b[1] = (uint8_t)v;
}

static inline void put32(uint8_t *b, uint32_t v)
{
	put16(b, v >> 16);
	put16(b + 2, v & 0xffff);
}

/* The sum of big-endian words, folded; 0xffff over data whose checksum is right. */
static inline unsigned naive_sum(const uint8_t *b, size_t size, uint32_t sum)
{
	for (size_t i = 0; i < size; i++) {
		sum += i % 2 ? b[i] : (uint32_t)b[i] << 8;
		if (sum > 0xffff)
			sum -= 0xffff;
	}
	return sum;
}

static inline void naive_put(uint8_t *field, const uint8_t *data, size_t size, uint32_t sum)
{
	put16(field, 0);
	put16(field, 0xffff ^ naive_sum(data, size, sum));
}

/* The pseudo header of TCP and UDP, from the IPv4 header `ip`, for `size` bytes of payload. */
static inline unsigned naive_pseudo(const uint8_t *ip, unsigned size)
{
	uint8_t b[12];

	memcpy(b, ip + 12, 8);
	put16(b + 8, ip[9]);
	put16(b + 10, size);
	return naive_sum(b, sizeof b, 0);
}

static inline void noise(struct rnd *r, uint8_t *b, size_t size)
{
	for (size_t i = 0; i < size; i++)
		b[i] = (uint8_t)rnd_next(r);
}

static inline void ip_checksum(uint8_t *ip)
{
	naive_put(ip + 10, ip, (ip[0] & 15u) * 4u, 0);
}

/* An IPv4 header of `header` bytes, options NOP, no fragment, checksum right. */
static inline void ip_header(uint8_t *ip, unsigned header, unsigned size, uint8_t protocol, uint32_t src, uint32_t dst)
{
	memset(ip, 0, 20);
	memset(ip + 20, 1, header - 20);
	ip[0] = (uint8_t)(0x40 | header / 4);
	put16(ip + 2, size);
	ip[8] = 60;
	ip[9] = protocol;
	put32(ip + 12, src);
	put32(ip + 16, dst);
	ip_checksum(ip);
}

/* Ethernet between two single hosts. */
static inline void eth_header_put(uint8_t *b)
{
	static const uint8_t eth[ETH] = {2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0};

	memcpy(b, eth, sizeof eth);
}

#endif
