/* flow: what a packet's headers say, for the NAT core.
 *
 * What       parses Ethernet, IPv4 and the transport header, checks every length once, and makes the key under which
 *            the packet's session is found.
 * Units      offsets in bytes from the Ethernet header.
 * Ownership  plain values; the packet's bytes are only read.
 * Calls      the engine's thread; pure.
 * Errors     a verdict: why the packet cannot be translated as it is. N_VERDICTS: it can.
 */
#ifndef CORENAT_PE_FLOW_H
#define CORENAT_PE_FLOW_H

#include "common/headers.h"
#include "pe/packet.h"
#include "shm/session.h"

enum { FLOW_NO_PORT = UINT8_MAX };

struct subscriber_part;

struct flow {
	struct flow_key key; /* in the direction the packet travels */
	uint64_t hash;
	uint16_t l4_at;               /* offset of the transport header */
	uint16_t size;                /* IPv4 total length */
	struct subscriber_part *part; /* of its subscriber, when it was looked for already and found; else NULL */
	uint32_t draw;                /* for the choice of a port, when one was drawn already; 0: not yet */
	uint8_t l4;                   /* enum l4 */
	uint8_t protocol;             /* as in the IPv4 header */
	uint8_t dir;                  /* enum dir */
	uint8_t tcp;                  /* TCP_* bits this segment sets */
	uint8_t port_at; /* where the inside or NAT endpoint's port lies, from l4_at on; FLOW_NO_PORT: nowhere */
	bool opens;      /* it may be the first packet of a session */
};

/* Of who sent it; 0 from the outside. */
static inline uint16_t flow_realm(const struct flow *f)
{
	return (uint16_t)(f->key.b >> 32);
}

enum l4 flow_l4(uint8_t protocol);

enum verdict flow_parse(struct flow *f, const struct packet *p);
/* The same of the first fragment of a datagram, which flow_parse refuses like all fragments. */
enum verdict flow_parse_first(struct flow *f, const struct packet *p);

static inline struct ip4_header *flow_ip4(const struct packet *p)
{
	return (struct ip4_header *)(p->data + sizeof(struct eth_header));
}

#endif
