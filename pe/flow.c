#include "pe/flow.h"

/* Both ports of TCP and UDP lie first, source then destination, like the keys' halves. */
static enum verdict parse_ports(struct flow *f, const uint8_t *l4)
{
	uint32_t ports;

	memcpy(&ports, l4, sizeof ports);
	f->key.b |= ports;
	f->port_at = f->dir == DIR_OUTBOUND ? offsetof(struct udp_header, src) : offsetof(struct udp_header, dst);
	return N_VERDICTS;
}

static uint8_t tcp_bits(uint8_t flags, enum dir dir)
{
	if (flags & TCP_FLAG_RST)
		return TCP_RST;
	if (flags & TCP_FLAG_SYN)
		return dir == DIR_OUTBOUND ? TCP_OUT_SYN : TCP_IN_SYN;
	uint8_t data = dir == DIR_OUTBOUND ? TCP_OUT_DATA : TCP_IN_DATA;
	if (flags & TCP_FLAG_FIN)
		data |= dir == DIR_OUTBOUND ? TCP_OUT_FIN : TCP_IN_FIN;
	return data;
}

/* From the inside a flow may be met half-way, after a restart; from the outside only a SYN opens one. */
static enum verdict parse_tcp(struct flow *f, const uint8_t *l4)
{
	uint8_t flags = ((const struct tcp_header *)l4)->flags;

	f->tcp = tcp_bits(flags, f->dir);
	f->opens = f->dir == DIR_OUTBOUND ? !(flags & TCP_FLAG_RST)
					  : (flags & (TCP_FLAG_SYN | TCP_FLAG_ACK | TCP_FLAG_RST)) == TCP_FLAG_SYN;
	return parse_ports(f, l4);
}

static uint32_t port_pair(be16_t first, be16_t second)
{
	return first.net | (uint32_t)second.net << 16;
}

/* The query identifier is the port of who asks, and the other has none (RFC 5508 §3.1). */
static enum verdict parse_icmp(struct flow *f, const uint8_t *l4)
{
	const struct icmp_header *icmp = (const struct icmp_header *)l4;
	bool request = icmp->type == ICMP_ECHO_REQUEST, from_source = request, out = f->dir == DIR_OUTBOUND;
	const be16_t none = {0};

	if (!request && icmp->type != ICMP_ECHO_REPLY)
		return VERDICT_drop_icmp_type;
	f->opens = request;
	f->key.b |= from_source ? port_pair(icmp->id, none) : port_pair(none, icmp->id);
	if (request == out) /* the inside asked */
		f->port_at = offsetof(struct icmp_header, id);
	return N_VERDICTS;
}

/* No ports: the protocol's number stands for the inside and NAT endpoint's, and nothing for the remote's. */
static enum verdict parse_other(struct flow *f, const uint8_t *l4)
{
	be16_t number = be16_of(f->protocol);

	if (flow_covers_addresses(f->protocol) &&
		f->l4_at + FLOW_COVERING_AT + sizeof(be16_t) > f->size + sizeof(struct eth_header))
		return VERDICT_drop_short_l4;
	f->key.b |= f->dir == DIR_OUTBOUND ? port_pair(number, (be16_t){0}) : port_pair((be16_t){0}, number);
	return N_VERDICTS;
}

/* What differs by protocol, as rows. */
static const struct l4_row {
	uint8_t min_bytes;
	enum verdict (*parse)(struct flow *f, const uint8_t *l4);
} l4_rows[N_L4] = {
	[L4_TCP] = {sizeof(struct tcp_header), parse_tcp},
	[L4_UDP] = {sizeof(struct udp_header), parse_ports},
	[L4_ICMP] = {sizeof(struct icmp_header), parse_icmp},
	[L4_OTHER] = {0, parse_other},
};

enum l4 flow_l4(uint8_t protocol)
{
	return protocol == PROTO_TCP    ? L4_TCP
	       : protocol == PROTO_UDP  ? L4_UDP
	       : protocol == PROTO_ICMP ? L4_ICMP
					: L4_OTHER;
}

/* ---- nearly all packets ---- */

#define PLAIN(of_l4, number, of_dir, sets, may_open, port, header, special)                                            \
	{                                                                                                              \
		.flow = {.key.b = (uint64_t)(of_l4) << 48 | (uint64_t)(of_dir) << 56,                                  \
			.l4_at = offsetof(struct plain_headers, tcp),                                                  \
			.l4 = (of_l4),                                                                                 \
			.protocol = (number),                                                                          \
			.dir = (of_dir),                                                                               \
			.tcp = (sets),                                                                                 \
			.port_at = offsetof(struct udp_header, port),                                                  \
			.opens = (may_open),                                                                           \
			.plain = true,                                                                                 \
			.checksum_at = offsetof(struct header, checksum)},                                             \
		.size_min = sizeof(struct ip4_header) + sizeof(struct header), .special_flags = (special),             \
	}

enum { TCP_SPECIAL = TCP_FLAG_SYN | TCP_FLAG_FIN | TCP_FLAG_RST };

/* A segment from the outside opens nothing. */
const struct plain_row flow_plain[N_DIRS][2] = {
	[DIR_OUTBOUND] = {PLAIN(L4_TCP, PROTO_TCP, DIR_OUTBOUND, TCP_OUT_DATA, true, src, tcp_header, TCP_SPECIAL),
		PLAIN(L4_UDP, PROTO_UDP, DIR_OUTBOUND, 0, true, src, udp_header, 0)},
	[DIR_INBOUND] = {PLAIN(L4_TCP, PROTO_TCP, DIR_INBOUND, TCP_IN_DATA, false, dst, tcp_header, TCP_SPECIAL),
		PLAIN(L4_UDP, PROTO_UDP, DIR_INBOUND, 0, true, dst, udp_header, 0)},
};
#undef PLAIN

/* ---- any packet ---- */

/* Checks that the headers are whole; sets where the transport header starts. */
static enum verdict check_ip4(struct flow *f, const struct packet *p)
{
	const struct eth_header *eth = (const struct eth_header *)p->data;
	const struct ip4_header *ip = flow_ip4(p);

	if (p->len < sizeof *eth || eth->type.net != htons(ETHERTYPE_IPV4))
		return VERDICT_drop_not_ipv4;
	if (p->len < sizeof *eth + sizeof *ip || ip->version_ihl >> 4 != 4)
		return VERDICT_drop_short_l3;
	unsigned header = (ip->version_ihl & 15u) * 4u;
	f->size = be16_host(ip->total_size);
	f->l4_at = (uint16_t)(sizeof *eth + header);
	if (header < sizeof *ip || f->size < header || f->size + sizeof *eth > p->len)
		return VERDICT_drop_short_l3;
	return N_VERDICTS;
}

static enum verdict parse(struct flow *f, const struct packet *p)
{
	const struct ip4_header *ip = flow_ip4(p);

	if (ip->ttl <= 1)
		return VERDICT_drop_ttl;
	f->protocol = ip->protocol;
	f->l4 = (uint8_t)flow_l4(ip->protocol);
	if (f->l4_at + l4_rows[f->l4].min_bytes > f->size + sizeof(struct eth_header))
		return VERDICT_drop_short_l4;
	f->dir = p->side == SIDE_INSIDE ? DIR_OUTBOUND : DIR_INBOUND;
	f->tcp = 0;
	f->opens = true;
	f->plain = false;
	f->ahead = NULL;
	f->port_at = FLOW_NO_PORT;
	memcpy(&f->key.a, &ip->src, sizeof f->key.a); /* source and destination, like the session's pairs */
	f->key.b = (uint64_t)f->l4 << 48 | (uint64_t)f->dir << 56;
	if (f->dir == DIR_OUTBOUND)
		f->key.b |= (uint64_t)p->vlan << 32;
	return l4_rows[f->l4].parse(f, p->data + f->l4_at);
}

enum verdict flow_parse(struct flow *f, const struct packet *p)
{
	enum verdict refused = check_ip4(f, p);

	if (refused == N_VERDICTS && (flow_ip4(p)->fragment.net & htons(IP4_FRAGMENT_MASK)))
		refused = VERDICT_drop_fragment;
	return refused == N_VERDICTS ? parse(f, p) : refused;
}

enum verdict flow_parse_first(struct flow *f, const struct packet *p)
{
	enum verdict refused = check_ip4(f, p);

	return refused == N_VERDICTS ? parse(f, p) : refused;
}
