/* port_order: in which order the ports of a NAT address lie in its port table.
 *
 * What       an invertible linear map over GF(2) between ports and positions. Position = chunk * 16 + place; the low
 *            `slot_bits` bits of the chunk are its slot. Plain: position is port. Shuffled: all ports of a slot contribute
 *            the same to the low bits of the Toeplitz hash of a packet sent to them, so that for a flow one exclusive or
 *            and one table look-up decide, for a whole slot, which engine receives its replies.
 *            A map is told by its basis: the ports of the positions 1, 2, 4 … 32768.
 * Units      ports in host order.
 * Ownership  plain values.
 * Calls      pure; any thread.
 * Errors     port_order_of: false for a basis that is no basis (shared memory may hold anything).
 * Use        port_order_shuffle(&b, &rss); port_order_of(&o, &b); port = port_at(&o, position);
 * Source     Toeplitz is linear over exclusive or: hash(a ^ b) = hash(a) ^ hash(b). Gauss.
 */
#ifndef CORENAT_PORT_ORDER_H
#define CORENAT_PORT_ORDER_H

#include "common/steering.h"

enum {
	PORT_BITS = 16,
	CHUNK_PORTS = 16,
	ORDER_CHUNKS = 65536 / CHUNK_PORTS,
	SLOT_BITS_MAX = 11, /* RSS_TABLE_MAX entries */
};

struct port_basis {
	uint16_t port[PORT_BITS];
	uint32_t slot_bits;
};

struct port_order {
	uint16_t port[2][256];     /* what the low and the high byte of a position contribute to its port */
	uint16_t position[2][256]; /* and the other way round */
	uint16_t odd;              /* which places of a chunk have odd ports where its first port is even */
	uint32_t slot_bits;
};

void port_order_plain(struct port_basis *b);
/* For replies that arrive at an interface with this RSS. Plain when ports do not matter there. Of two ports that differ
 * in the last bit only, one is odd: where the key allows it, places of a chunk are even and odd in turn. */
void port_order_shuffle(struct port_basis *b, const struct rss *rss);
bool port_order_of(struct port_order *o, const struct port_basis *b);
bool port_basis_equal(const struct port_basis *a, const struct port_basis *b);

static inline uint16_t port_at(const struct port_order *o, uint32_t position)
{
	return o->port[0][position & 0xff] ^ o->port[1][position >> 8 & 0xff];
}

static inline uint16_t port_position(const struct port_order *o, uint16_t port)
{
	return o->position[0][port & 0xff] ^ o->position[1][port >> 8];
}

/* The slots whose ports bring the replies of a flow home to one engine. */
struct port_homes {
	uint32_t mask;                 /* RSS table length - 1 */
	uint32_t words;                /* of one coset, at least 1: fewer than 64 slots are repeated */
	uint16_t coset[RSS_TABLE_MAX]; /* what no choice of a slot changes in these low bits of a hash */
	uint16_t slot[RSS_TABLE_MAX];  /* the slot whose ports contribute the rest */
	uint64_t home[RSS_TABLE_MAX];  /* by coset and slot: the table names the engine */
	bool by_port;                  /* otherwise the choice of a port changes nothing: no slots, or all are home */
};

void port_homes_of(struct port_homes *h, const struct port_order *o, const struct steering *s, unsigned engine);

/* The home slots of word `w` (64 chunks) for a flow whose hash without its port is `hash`. */
uint64_t port_homes_word(const struct port_homes *h, uint32_t hash, uint32_t w);

#endif
