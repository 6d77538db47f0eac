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

struct prospect;

struct flow {
	struct flow_key key; /* in the direction the packet travels */

	uint16_t l4_at;      /* offset of the transport header */
	uint16_t size;       /* IPv4 total length */
	uint8_t l4;          /* enum l4 */
	uint8_t protocol;    /* as in the IPv4 header */
	uint8_t dir;         /* enum dir */
	uint8_t tcp;         /* TCP_* bits this segment sets */
	uint8_t port_at;     /* where the inside or NAT endpoint's port lies, from l4_at on; FLOW_NO_PORT: nowhere */
	bool opens;          /* it may be the first packet of a session */
	bool plain;          /* flow_parse_plain read it */
	uint8_t checksum_at; /* plain: from l4_at on */

	/* Of those that have no session yet. */
	uint64_t hash;
	const struct prospect *ahead; /* what is known of it (nat_internal.h); NULL: nothing */
};

/* Of who sent it; 0 from the outside. */
static inline uint16_t flow_realm(const struct flow *f)
{
	return (uint16_t)(f->key.b >> 32);
}

enum l4 flow_l4(uint8_t protocol);

/* Protocols without ports of ours whose checksum covers the addresses, and where it lies, from the transport header on. */
enum { FLOW_COVERING_AT = 6 };
static inline bool flow_covers_addresses(uint8_t protocol)
{
	return protocol == PROTO_DCCP || protocol == PROTO_UDPLITE;
}

enum verdict flow_parse(struct flow *f, const struct packet *p);
/* The same of the first fragment of a datagram, which flow_parse refuses like all fragments. */
enum verdict flow_parse_first(struct flow *f, const struct packet *p);

/* ---- nearly all packets ---- */

/* A UDP datagram's ports lie where a TCP segment's do. */
struct plain_headers {
	struct eth_header eth;
	struct ip4_header ip;
	struct tcp_header tcp;
} __attribute__((packed));

/* What all plain packets of a protocol have in common; key.b without ports and realm. */
struct plain_row {
	_Alignas(CACHE_LINE) struct flow flow;
	uint16_t size_min;     /* of the IPv4 packet */
	uint8_t special_flags; /* TCP flags that take a closer look */
};
/* TCP's number is even, UDP's is odd. */
extern const struct plain_row flow_plain[N_DIRS][2];

/* IPv4 that is whole and has neither options nor a VLAN tag, and in it UDP or TCP that neither opens nor ends a
 * connection: read with few and always the same branches. False: anything else, for flow_parse, which says the very same
 * of these. Frames shorter than Ethernet's least are among the others. */
static inline bool flow_parse_plain(
	struct flow *f, const struct packet *p, const struct plain_row rows[2], enum dir dir)
{
	const struct plain_headers *h = (const struct plain_headers *)p->data;
	uint32_t ports;

	uint16_t size;

	if (p->len < sizeof *h || h->eth.type.net != htons(ETHERTYPE_IPV4) || h->ip.version_ihl != 0x45)
		return false;
	const size_t odd = h->ip.protocol & 1u;
	const struct plain_row *row = &rows[odd];
	size = be16_host(h->ip.total_size);
	if ((h->ip.fragment.net & htons(IP4_FRAGMENT_MASK)) || h->ip.ttl <= 1 || h->ip.protocol != row->flow.protocol ||
		(h->tcp.flags & row->special_flags) || size < row->size_min || size > p->len - sizeof h->eth)
		return false;
	memcpy(&f->l4_at, &row->flow.l4_at, offsetof(struct flow, hash) - offsetof(struct flow, l4_at));
	f->size = size;
	memcpy(&f->key.a, &h->ip.src, sizeof f->key.a);
	memcpy(&ports, &h->tcp.src, sizeof ports);
	f->key.b = row->flow.key.b | ports | (dir == DIR_OUTBOUND ? (uint64_t)p->vlan << 32 : 0);
	return true;
}

static inline struct ip4_header *flow_ip4(const struct packet *p)
{
	return (struct ip4_header *)(p->data + sizeof(struct eth_header));
}

#endif
