/* nat_rewrite: what the rewrite of a packet is made of, for the straight path (nat_hit.h) and for all others
 * (nat_translate.c). */
#ifndef CORENAT_PE_NAT_REWRITE_H
#define CORENAT_PE_NAT_REWRITE_H

#include "common/csum.h"
#include "pe/nat_internal.h"

/* What a session adds to checksums. ICMP has no pseudo header: its checksum does not cover the addresses. */
static inline void nat_deltas(struct session *s)
{
	uint16_t port = csum_delta16(0, s->inside_port.net, s->nat_port.net);

	s->l3_delta = csum_delta32(0, s->inside.net, s->nat.net);
	s->l4_delta = s->l4 == L4_ICMP ? port : csum_fold((uint32_t)s->l3_delta + port);
}

/* A session's deltas are those of its outbound direction. */
static inline uint16_t delta_in(enum dir dir, uint16_t outbound)
{
	return dir == DIR_OUTBOUND ? outbound : csum_back(outbound);
}

/* The transport header's checksum. In UDP zero means that there is none (RFC 768). */
static inline void rewrite_l4_checksum(enum l4 l4, uint8_t *field, uint16_t delta)
{
	uint16_t is;

	memcpy(&is, field, sizeof is);
	if (__builtin_expect(is == 0, 0) && l4 == L4_UDP)
		return;
	is = csum_apply(is, delta);
	if (__builtin_expect(is == 0, 0) && l4 == L4_UDP)
		is = 0xffff;
	memcpy(field, &is, sizeof is);
}

/* Packets of several hosts leave under one address: what may be cut on its way gets an identification that no other to
 * that destination has lately had (RFC 6864 §5.3.1). Engines share the numbers out. `ends`: the addresses that it leaves
 * with. Returns the checksum's delta. */
static inline uint32_t renumber(struct nat *n, struct ip4_header *ip, uint64_t ends)
{
	if (ip->fragment.net & htons(IP4_DF))
		return 0;
	uint16_t *next = &n->ip_id[ends * 0x9e3779b97f4a7c15u >> 56];
	be16_t was = ip->id, is = be16_of(*next);

	*next = (uint16_t)(*next + n->ip_id_step);
	ip->id = is;
	return 0xffffu - was.net + is.net;
}

#endif
