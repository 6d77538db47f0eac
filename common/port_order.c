/* Orders of ports; see port_order.h. */
#include "common/port_order.h"

#include <string.h>
#include <tmmintrin.h>

void port_order_plain(struct port_basis *b)
{
	b->slot_bits = 0;
	for (unsigned i = 0; i < PORT_BITS; i++)
		b->port[i] = (uint16_t)(1u << i);
}

bool port_basis_equal(const struct port_basis *a, const struct port_basis *b)
{
	return memcmp(a, b, sizeof *a) == 0;
}

/* ---- shuffling ---- */

/* What a destination port contributes to the low bits of the hash. */
static uint32_t contribution(const struct toeplitz *t, uint32_t mask, uint16_t port)
{
	return toeplitz_ports(t, (be16_t){0}, be16_of(port)) & mask;
}

static void swap(uint16_t *a, uint16_t *b)
{
	uint16_t was = *a;

	*a = *b;
	*b = was;
}

/* Gauss: the first `rank` of the ports are left with independent contributions, the others with none. */
static unsigned eliminate(uint16_t port[PORT_BITS], const struct toeplitz *t, uint32_t mask)
{
	unsigned rank = 0;

	for (uint32_t bit = 1; bit && bit <= mask; bit <<= 1) {
		unsigned pivot = rank;

		while (pivot < PORT_BITS && !(contribution(t, mask, port[pivot]) & bit))
			pivot++;
		if (pivot == PORT_BITS)
			continue;
		swap(&port[rank], &port[pivot]);
		for (unsigned i = 0; i < PORT_BITS; i++)
			if (i != rank && (contribution(t, mask, port[i]) & bit))
				port[i] ^= port[rank];
		rank++;
	}
	return rank;
}

/* Makes the highest bits of ports change with the lowest of positions, so that a chunk's ports, and those of a few chunks in
 * a row, lie all over the range: an engine that has a share of the chunks has its share of every part of the range. */
static void settle_spread(uint16_t port[PORT_BITS], unsigned rank)
{
	enum { PLACE_BITS = 4, LINE_BITS = 3 };
	unsigned at = rank + 1;

	for (unsigned bit = PORT_BITS; bit-- > 0 && at < PORT_BITS;) {
		unsigned pivot = at;

		while (pivot < PORT_BITS && !(port[pivot] >> bit & 1))
			pivot++;
		if (pivot == PORT_BITS)
			continue;
		swap(&port[at], &port[pivot]);
		for (unsigned i = 0; i < PORT_BITS; i++)
			if (i != at && (port[i] >> bit & 1))
				port[i] ^= port[at];
		at++;
	}
	for (unsigned i = 0; i < rank && i < LINE_BITS && rank + PLACE_BITS + i < PORT_BITS; i++)
		port[i] ^= port[rank + PLACE_BITS + i];
}

/* Makes the first of the ports that contribute nothing the only odd one, if any of them is odd. */
static void settle_parity(uint16_t port[PORT_BITS], unsigned rank)
{
	unsigned odd = rank;

	while (odd < PORT_BITS && !(port[odd] & 1))
		odd++;
	if (odd == PORT_BITS)
		return;
	swap(&port[rank], &port[odd]);
	for (unsigned i = 0; i < PORT_BITS; i++)
		if (i != rank && (port[i] & 1))
			port[i] ^= port[rank];
}

void port_order_shuffle(struct port_basis *b, const struct rss *rss)
{
	enum { PLACE_BITS = 4 };
	bool by_ports = rss_hashes_ports(rss, IPPROTO_TCP) || rss_hashes_ports(rss, IPPROTO_UDP);
	uint32_t mask = by_ports ? rss->table_len - 1u : 0;
	uint16_t port[PORT_BITS];
	struct toeplitz t;

	toeplitz_init(&t, rss->key, rss->key_size);
	for (unsigned i = 0; i < PORT_BITS; i++)
		port[i] = (uint16_t)(1u << i);
	unsigned rank = eliminate(port, &t, mask);

	if (rank == 0) {
		port_order_plain(b);
		return;
	}
	settle_parity(port, rank);
	settle_spread(port, rank);
	b->slot_bits = rank;
	memcpy(b->port, port + rank, PLACE_BITS * sizeof *port);
	memcpy(b->port + PLACE_BITS, port, rank * sizeof *port);
	memcpy(b->port + PLACE_BITS + rank, port + rank + PLACE_BITS, (PORT_BITS - PLACE_BITS - rank) * sizeof *port);
}

/* ---- the map and its inverse ---- */

static void spread(uint16_t out[2][256], const uint16_t basis[PORT_BITS])
{
	for (unsigned half = 0; half < 2; half++) {
		out[half][0] = 0;
		for (unsigned v = 1; v < 256; v++)
			out[half][v] = out[half][v & (v - 1)] ^ basis[half * 8 + (unsigned)__builtin_ctz(v)];
	}
}

/* False when the columns are not independent. */
static bool invert(uint16_t inverse[PORT_BITS], const uint16_t basis[PORT_BITS])
{
	uint16_t row[PORT_BITS];

	memcpy(row, basis, sizeof row);
	for (unsigned i = 0; i < PORT_BITS; i++)
		inverse[i] = (uint16_t)(1u << i);
	for (unsigned bit = 0; bit < PORT_BITS; bit++) {
		unsigned pivot = bit;

		while (pivot < PORT_BITS && !(row[pivot] >> bit & 1))
			pivot++;
		if (pivot == PORT_BITS)
			return false;
		swap(&row[bit], &row[pivot]);
		swap(&inverse[bit], &inverse[pivot]);
		for (unsigned i = 0; i < PORT_BITS; i++)
			if (i != bit && (row[i] >> bit & 1)) {
				row[i] ^= row[bit];
				inverse[i] ^= inverse[bit];
			}
	}
	return true;
}

bool port_order_of(struct port_order *o, const struct port_basis *b)
{
	uint16_t inverse[PORT_BITS];

	if (b->slot_bits > SLOT_BITS_MAX || !invert(inverse, b->port))
		return false;
	spread(o->port, b->port);
	spread(o->position, inverse);
	o->slot_bits = b->slot_bits;
	o->odd = 0;
	for (unsigned place = 0; place < CHUNK_PORTS; place++)
		o->odd |= (uint16_t)((port_at(o, place) & 1u) << place);
	return true;
}

/* ---- homes ---- */

/* Every value is what a slot contributes and what is left, which is the same for all slots: the coset. */
static void decompose(struct port_homes *h, const struct port_order *o, const struct steering *s)
{
	uint32_t slots = 1u << o->slot_bits, cosets = 0;
	bool known[RSS_TABLE_MAX] = {false};

	for (uint32_t value = 0; value <= h->mask; value++) {
		if (known[value])
			continue;
		for (uint32_t slot = 0; slot < slots; slot++) {
			uint32_t v = value ^ contribution(&s->hash, h->mask, port_at(o, slot * CHUNK_PORTS));

			known[v] = true;
			h->coset[v] = (uint16_t)cosets;
			h->slot[v] = (uint16_t)slot;
		}
		cosets++;
	}
}

void port_homes_of(struct port_homes *h, const struct port_order *o, const struct steering *s, unsigned engine)
{
	uint32_t slots = 1u << o->slot_bits, others = 0;

	memset(h, 0, sizeof *h);
	h->mask = s->mask;
	h->words = slots < 64 ? 1 : slots / 64;
	decompose(h, o, s);
	for (uint32_t value = 0; value <= h->mask; value++) {
		if (s->table[value] != engine) {
			others++;
			continue;
		}
		for (uint32_t slot = h->slot[value]; slot < h->words * 64; slot += slots)
			h->home[h->coset[value] * h->words + slot / 64] |= 1ull << slot % 64;
	}
	h->by_port = o->slot_bits != 0 && others;
}

/* Bit i of the result is bit i ^ by of the word: first its bytes, then the bits of each. */
static uint64_t permute(uint64_t word, uint32_t by)
{
	static const uint64_t even[3] = {0x5555555555555555u, 0x3333333333333333u, 0x0f0f0f0f0f0f0f0fu};
	const uint64_t places = 0x0706050403020100u ^ 0x0101010101010101u * (by >> 3);

	word = (uint64_t)_mm_cvtsi128_si64(
		_mm_shuffle_epi8(_mm_cvtsi64_si128((int64_t)word), _mm_cvtsi64_si128((int64_t)places)));
	for (unsigned i = 0; i < 3; i++) {
		uint64_t swapped = (word >> (1u << i) & even[i]) | (word & even[i]) << (1u << i);

		word = by >> i & 1 ? swapped : word;
	}
	return word;
}

/* A slot brings a flow home when the table, at the flow's hash and the slot's contribution together, names the engine:
 * with the hash being coset and slot h, slot s is home as s ^ h is in the coset. */
uint64_t port_homes_word(const struct port_homes *h, uint32_t hash, uint32_t w)
{
	uint32_t value = hash & h->mask, slot = h->slot[value];
	const uint64_t *home = &h->home[(size_t)h->coset[value] * h->words];

	return permute(home[(w ^ slot >> 6) & (h->words - 1)], slot & 63);
}
