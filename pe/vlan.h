/* vlan: the tag of a frame, taken off and put on.
 *
 * What       frames of the inside may carry one IEEE 802.1Q tag, whose VLAN id is the sender's realm. The NAT core sees
 *            the frame without it; packet.vlan says what it was, and what a frame to be sent gets.
 * Units      VLAN ids in host order, 1 to VLAN_MAX; 0: no VLAN (also a tag that carries a priority only).
 * Ownership  the caller holds the packet. Four bytes before data are its own, too: every backend leaves them.
 * Calls      the engine's thread; pure.
 * Errors     vlan_take: a verdict, and nothing is changed. N_VERDICTS: done.
 * Use        if (vlan_is_tagged(p) && vlan_take(p) == N_VERDICTS) parse again; ...; if (p->vlan) vlan_put(p); send.
 */
#ifndef CORENAT_PE_VLAN_H
#define CORENAT_PE_VLAN_H

#include "common/config.h"
#include "common/headers.h"
#include "pe/packet.h"

#include <assert.h>
#include <string.h>

enum { MACS_SIZE = offsetof(struct eth_header, type) };
_Static_assert(VLAN_TAG_SIZE == sizeof(struct vlan_tag), "packet.h");

static inline bool vlan_type(be16_t type)
{
	return type.net == htons(ETHERTYPE_VLAN) || type.net == htons(ETHERTYPE_SERVICE_VLAN);
}

static inline bool vlan_is_tagged(const struct packet *p)
{
	return p->len >= sizeof(struct eth_header) && vlan_type(((const struct eth_header *)p->data)->type);
}

/* Of a tagged frame. Two tags, a service tag and the reserved id say no realm; and the outside has none. */
static inline enum verdict vlan_take(struct packet *p)
{
	const struct vlan_tag *tag = (const struct vlan_tag *)(p->data + MACS_SIZE);
	const struct eth_header *below = (const struct eth_header *)(p->data + VLAN_TAG_SIZE);
	uint16_t id = be16_host(tag->control) & VLAN_ID_MASK;

	if (p->len < VLAN_TAG_SIZE + sizeof *below)
		return VERDICT_drop_not_ipv4;
	if (p->side != SIDE_INSIDE || p->vlan || tag->type.net != htons(ETHERTYPE_VLAN) || vlan_type(below->type) ||
		id > VLAN_MAX)
		return VERDICT_drop_vlan;
	memmove(p->data + VLAN_TAG_SIZE, p->data, MACS_SIZE);
	p->data += VLAN_TAG_SIZE;
	p->len -= VLAN_TAG_SIZE;
	p->vlan = id;
	return N_VERDICTS;
}

/* Of a frame that is to be sent. */
static inline void vlan_put(struct packet *p)
{
	const struct vlan_tag tag = {be16_of(ETHERTYPE_VLAN), be16_of(p->vlan)};

	assert(p->vlan <= VLAN_MAX);
	p->data -= VLAN_TAG_SIZE;
	p->len += VLAN_TAG_SIZE;
	memmove(p->data, p->data + VLAN_TAG_SIZE, MACS_SIZE);
	memcpy(p->data + MACS_SIZE, &tag, sizeof tag);
}

#endif
