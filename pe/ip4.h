/* ip4: where an IPv4 packet begins and ends within bytes that anybody may have sent.
 *
 * What       the one check of version, header length and total length that the slow paths share.
 * Units      bytes. Ownership  the bytes are only read. Calls  pure.
 * Errors     header 0: no whole IPv4 header there, or its lengths contradict each other.
 * Use        struct ip4_extent e = ip4_of_frame(p); if (!e.header) return false;
 */
#ifndef CORENAT_PE_IP4_H
#define CORENAT_PE_IP4_H

#include "common/headers.h"
#include "pe/packet.h"

#include <stddef.h>

struct ip4_extent {
	uint16_t header; /* options included; 0: none */
	uint16_t size;   /* as the header says; may exceed what is there */
};

static inline struct ip4_extent ip4_extent(const struct ip4_header *ip, size_t room)
{
	struct ip4_extent none = {0, 0}, e;

	if (room < sizeof *ip || ip->version_ihl >> 4 != 4)
		return none;
	e.header = (uint16_t)((ip->version_ihl & 15u) * 4u);
	e.size = be16_host(ip->total_size);
	return e.header < sizeof *ip || e.header > room || e.size < e.header ? none : e;
}

/* The packet in a frame, all of it there. Ethernet padding behind it is not part of it. */
static inline struct ip4_extent ip4_of_frame(const struct packet *p)
{
	const struct eth_header *eth = (const struct eth_header *)p->data;
	struct ip4_extent none = {0, 0};

	if (p->len < sizeof *eth || eth->type.net != htons(ETHERTYPE_IPV4))
		return none;
	struct ip4_extent e = ip4_extent((const struct ip4_header *)(eth + 1), p->len - sizeof *eth);
	return e.size + sizeof *eth > p->len ? none : e;
}

#endif
