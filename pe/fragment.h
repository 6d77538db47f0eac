/* fragment: cutting an IPv4 packet that is too large, and how many fragments may wait for their first one.
 *
 * Units      bytes; mtu in bytes of IPv4; counts in fragments.
 * Ownership  split reads the packet and writes the buffers its caller provides. A quota belongs to one engine; private
 *            memory; all zero is an empty one.
 * Calls      the engine's thread; pure.
 * Errors     split: 0, see there. take: false when a limit is reached.
 * Use        out[i] = (struct packet){.data = buffer, .len = room}; n = fragment_split(p, mtu, out, 8);
 *            if (fragment_take(&quota, seed, source, 256, 16)) hold(p); ... fragment_put(&quota, seed, source);
 */
#ifndef CORENAT_PE_FRAGMENT_H
#define CORENAT_PE_FRAGMENT_H

#include "common/headers.h"
#include "pe/packet.h"

/* Cuts the IPv4 packet of a frame, itself whole or a fragment, into fragments of at most `mtu` bytes, in order (RFC 791
 * §3.2, RFC 4787 REQ-13a). out[i].data is a buffer of out[i].len bytes; of each one written, len becomes the frame's,
 * side, out, vlan, verdict and forward those of `p`; frame stays. A packet that is small enough is one fragment, a copy.
 * Returns how many: 0 when it needs more than `max` or larger buffers, may not be cut (DF), or is no sound packet (a
 * wrong header checksum, offsets beyond what IPv4 can say). Buffers may then have been written to. */
unsigned fragment_split(const struct packet *p, uint16_t mtu, struct packet *out, unsigned max);

/* Fragments waiting, in all and by source. Sources share counters by a seeded hash: nobody can choose whom to share
 * with. */
enum { FRAGMENT_COUNTERS = 2048 };

/* Of a packet that waits: the address, and the realm it is in. */
static inline uint64_t fragment_source(const struct packet *p)
{
	return (uint64_t)p->vlan << 32 | ((const struct ip4_header *)(p->data + sizeof(struct eth_header)))->src.net;
}

struct fragment_quota {
	uint32_t total;
	uint16_t waiting[FRAGMENT_COUNTERS];
};

bool fragment_take(struct fragment_quota *q, uint64_t seed, uint64_t source, uint32_t limit, uint32_t per_source);
/* For each one taken, once. */
void fragment_put(struct fragment_quota *q, uint64_t seed, uint64_t source);

#endif
