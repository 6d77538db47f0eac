#include "pe/icmp_error.h"

#include "common/csum.h"
#include "pe/ip4.h"

/* ---- may one be sent ---- */

/* Zero, loopback, multicast, class E with the broadcast address: no single host. */
static bool is_host(be32_t address)
{
	uint8_t first = (uint8_t)(be32_host(address) >> 24);

	return first != 0 && first != 127 && first < 224;
}

/* A type nobody knows is taken for an error: silence cannot start a loop. */
static bool icmp_is_query(uint8_t type)
{
	switch (type) {
	case ICMP_ECHO_REPLY:
	case ICMP_ECHO_REQUEST:
	case 13: /* timestamp, information, address mask: request and reply */
	case 14:
	case 15:
	case 16:
	case 17:
	case 18:
		return true;
	default:
		return false;
	}
}

static bool may_answer(const struct packet *p, struct ip4_extent e, be32_t source)
{
	const struct eth_header *eth = (const struct eth_header *)p->data;
	const struct ip4_header *ip = (const struct ip4_header *)(eth + 1);

	if ((eth->dst[0] | eth->src[0]) & 1) /* to or from a group */
		return false;
	if (!is_host(ip->src) || !is_host(ip->dst) || ip->src.net == source.net)
		return false;
	if (ip->fragment.net & htons(IP4_OFFSET_MASK) || csum_over(ip, e.header, 0) != 0)
		return false;
	return ip->protocol != PROTO_ICMP || (e.size > e.header && icmp_is_query(p->data[sizeof *eth + e.header]));
}

/* ---- the message ---- */

static void swap_macs(struct eth_header *eth)
{
	uint8_t mac[sizeof eth->dst];

	memcpy(mac, eth->dst, sizeof mac);
	memcpy(eth->dst, eth->src, sizeof mac);
	memcpy(eth->src, mac, sizeof mac);
}

bool icmp_error_make(struct packet *p, uint8_t type, uint8_t code, uint16_t mtu, be32_t source)
{
	enum { HEADERS = sizeof(struct ip4_header) + sizeof(struct icmp_header) };
	struct ip4_extent e = ip4_of_frame(p);

	if (!e.header || !may_answer(p, e, source))
		return false;
	struct eth_header *eth = (struct eth_header *)p->data;
	struct ip4_header *ip = (struct ip4_header *)(eth + 1);
	struct icmp_header *icmp = (struct icmp_header *)(ip + 1);
	uint16_t quoted = e.size < ICMP_ERROR_SIZE_MAX - HEADERS ? e.size : ICMP_ERROR_SIZE_MAX - HEADERS;
	bool too_big = type == ICMP_TYPE_UNREACHABLE && code == ICMP_CODE_TOO_BIG;
	be32_t sender = ip->src;

	memmove(icmp + 1, ip, quoted);
	swap_macs(eth);
	*ip = (struct ip4_header){.version_ihl = 0x45,
		.tos = 0xc0, /* internetwork control (RFC 1812 §4.3.2.5) */
		.total_size = be16_of((uint16_t)(HEADERS + quoted)),
		.fragment = be16_of(IP4_DF), /* never fragmented, so the id says nothing (RFC 6864 §4.1) */
		.ttl = 64,
		.protocol = PROTO_ICMP,
		.src = source,
		.dst = sender};
	ip->checksum = csum_over(ip, sizeof *ip, 0);
	*icmp = (struct icmp_header){.type = type, .code = code, .sequence = be16_of(too_big ? mtu : 0)};
	icmp->checksum = csum_over(icmp, sizeof *icmp + quoted, 0);
	p->len = (uint32_t)sizeof *eth + HEADERS + quoted;
	p->out = p->side;
	p->forward = 1;
	return true;
}

/* ---- how many ---- */

bool icmp_budget_take(struct icmp_budget *b, uint32_t rate, mono_t now)
{
	static const uint64_t one = 1000000000u;
	uint64_t elapsed = mono_since(now, b->last).ns;
	uint64_t paid = (elapsed < one ? elapsed : one) * rate;

	b->spent = elapsed >= one || b->spent < paid ? 0 : b->spent - paid;
	if (elapsed)
		b->last = now;
	if (b->spent + one > rate * one)
		return false;
	b->spent += one;
	return true;
}
