/* toeplitz: the hash by which NICs spread packets over receive queues.
 *
 * What       Microsoft's RSS hash ("Verifying the RSS Hash Calculation"): for each set bit of the input
 *            the 32 key bits at its position are XORed. toeplitz_hash is the plain form for any input;
 *            struct toeplitz the same, precomputed, for the 12 bytes of an IPv4 tuple.
 * Units      keys and input in bytes, in the order in which they stand on the wire.
 * Ownership  struct toeplitz is a plain value of 12 KiB: copy it freely.
 * Calls      pure; any thread.
 * Errors     none. Key bits beyond key_size count as zero.
 * Use        toeplitz_init(&t, key, 40); hash = toeplitz_tuple(&t, src, dst, sport, dport);
 *
 * The hash is linear: hash(a ^ b) == hash(a) ^ hash(b). Port allocation relies on it: what one field
 * contributes is the hash of a tuple whose other fields are zero.
 */
#ifndef CORENAT_TOEPLITZ_H
#define CORENAT_TOEPLITZ_H

#include "common/units.h"

#include <stddef.h>

enum { TOEPLITZ_TUPLE = 12 }; /* bytes: source, destination, source port, destination port */

struct toeplitz {
	uint32_t byte[TOEPLITZ_TUPLE][256]; /* what each value of each input byte contributes */
};

uint32_t toeplitz_hash(const uint8_t *key, size_t key_size, const uint8_t *data, size_t size);

void toeplitz_init(struct toeplitz *t, const uint8_t *key, size_t key_size);

/* Of four bytes in memory, at input position `at`. */
static inline uint32_t toeplitz_word(const struct toeplitz *t, unsigned at, const uint8_t *b)
{
	return t->byte[at][b[0]] ^ t->byte[at + 1][b[1]] ^ t->byte[at + 2][b[2]] ^ t->byte[at + 3][b[3]];
}

/* Of an address pair: packets without ports. */
static inline uint32_t toeplitz_addresses(const struct toeplitz *t, be32_t src, be32_t dst)
{
	return toeplitz_word(t, 0, (const uint8_t *)&src.net) ^ toeplitz_word(t, 4, (const uint8_t *)&dst.net);
}

static inline uint32_t toeplitz_ports(const struct toeplitz *t, be16_t sport, be16_t dport)
{
	const uint8_t *s = (const uint8_t *)&sport.net, *d = (const uint8_t *)&dport.net;

	return t->byte[8][s[0]] ^ t->byte[9][s[1]] ^ t->byte[10][d[0]] ^ t->byte[11][d[1]];
}

static inline uint32_t toeplitz_tuple(const struct toeplitz *t, be32_t src, be32_t dst, be16_t sport, be16_t dport)
{
	return toeplitz_addresses(t, src, dst) ^ toeplitz_ports(t, sport, dport);
}

#endif
