#include "pe/quoted.h"

#include "common/csum.h"
#include "pe/ip4.h"

/* ---- reading ---- */

bool icmp_is_error(uint8_t type)
{
	return type == ICMP_TYPE_UNREACHABLE || type == ICMP_TYPE_SOURCE_QUENCH || type == ICMP_TYPE_TIME_EXCEEDED ||
	       type == ICMP_TYPE_PARAMETER;
}

/* Where the quote ends: RFC 4884 §3 says its length in words, in the sixth byte, when extensions follow. A length that
 * leads beyond the message is nobody's. */
static unsigned quote_bytes(const uint8_t *icmp, unsigned room)
{
	unsigned said = icmp[0] == ICMP_TYPE_SOURCE_QUENCH ? 0 : icmp[5] * 4u;

	return said && said < room ? said : room;
}

static enum verdict check_error(struct quoted *q, const struct packet *p, unsigned *room)
{
	struct ip4_extent e = ip4_of_frame(p);
	const struct ip4_header *ip = (const struct ip4_header *)(p->data + sizeof(struct eth_header));

	if (!e.header)
		return VERDICT_drop_short_l3;
	if (ip->protocol != PROTO_ICMP)
		return VERDICT_drop_protocol;
	if (ip->fragment.net & htons(IP4_FRAGMENT_MASK))
		return VERDICT_drop_fragment;
	if (e.size < e.header + sizeof(struct icmp_header))
		return VERDICT_drop_short_l4;
	q->icmp_at = (uint16_t)(sizeof(struct eth_header) + e.header);
	const uint8_t *icmp = p->data + q->icmp_at;

	if (!icmp_is_error(icmp[0]))
		return VERDICT_drop_icmp_type;
	if (csum_over(icmp, e.size - e.header, 0) != 0)
		return VERDICT_drop_icmp_checksum;
	*room = quote_bytes(icmp, e.size - e.header - (unsigned)sizeof(struct icmp_header));
	return N_VERDICTS;
}

static enum verdict check_quote(struct quoted *q, const struct packet *p, unsigned room)
{
	q->ip_at = (uint16_t)(q->icmp_at + sizeof(struct icmp_header));
	const struct ip4_header *ip = (const struct ip4_header *)(p->data + q->ip_at);
	struct ip4_extent e = ip4_extent(ip, room);

	if (!e.header || csum_over(ip, e.header, 0) != 0)
		return VERDICT_drop_icmp_quote;
	q->l4_at = (uint16_t)(q->ip_at + e.header);
	q->end = (uint16_t)(q->ip_at + (e.size < room ? e.size : room));
	q->src = ip->src;
	q->dst = ip->dst;
	q->id = ip->id;
	q->protocol = ip->protocol;
	q->l4 = (uint8_t)flow_l4(ip->protocol);
	bool begins = !(ip->fragment.net & htons(IP4_OFFSET_MASK));
	q->later_fragment = q->l4 != L4_OTHER && !begins;
	q->has_checksum = begins && (q->l4 != L4_OTHER || flow_covers_addresses(q->protocol));
	return N_VERDICTS;
}

/* Only echo has a session. Its identifier belongs to who asked (RFC 5508 §3.1), and is ours to translate if our end did.
 */
static enum verdict read_echo(struct quoted *q, const struct icmp_header *icmp)
{
	bool request = icmp->type == ICMP_ECHO_REQUEST;

	if (!request && icmp->type != ICMP_ECHO_REPLY)
		return VERDICT_drop_icmp_quote;
	*(request ? &q->sport : &q->dport) = icmp->id;
	if (request == (q->dir == DIR_INBOUND))
		q->port_at = offsetof(struct icmp_header, id);
	return N_VERDICTS;
}

/* RFC 792 has errors quote at least 8 bytes of it. */
static enum verdict read_ports(struct quoted *q, const struct packet *p)
{
	const struct udp_header *l4 = (const struct udp_header *)(p->data + q->l4_at);
	bool ours_is_source = q->dir == DIR_INBOUND;

	q->port_at = FLOW_NO_PORT;
	if (q->l4 == L4_OTHER)
		*(ours_is_source ? &q->sport : &q->dport) = be16_of(q->protocol);
	if (q->l4 == L4_OTHER || q->later_fragment)
		return N_VERDICTS;
	if (q->end < q->l4_at + sizeof *l4)
		return VERDICT_drop_icmp_quote;
	if (q->l4 == L4_ICMP)
		return read_echo(q, (const struct icmp_header *)l4);
	q->sport = l4->src;
	q->dport = l4->dst;
	q->port_at = ours_is_source ? offsetof(struct udp_header, src) : offsetof(struct udp_header, dst);
	return N_VERDICTS;
}

enum verdict quoted_parse(struct quoted *q, const struct packet *p)
{
	unsigned room = 0;

	*q = (struct quoted){.dir = p->side == SIDE_INSIDE ? DIR_OUTBOUND : DIR_INBOUND};
	enum verdict refused = check_error(q, p, &room);
	if (refused == N_VERDICTS)
		refused = check_quote(q, p, room);
	if (refused == N_VERDICTS)
		refused = read_ports(q, p);
	if (refused != N_VERDICTS)
		return refused;
	be32_t ends[2] = {q->dst, q->src};
	be16_t ports[2] = {q->dport, q->sport};
	q->key = flow_key_of(ends, ports, q->dir == DIR_OUTBOUND ? p->vlan : 0, q->l4, q->dir);
	return N_VERDICTS;
}

/* ---- rewriting ---- */

/* A word that a checksum further out covers, too: what replacing it does to that one is added to `outer`. */
static void replace16(uint8_t *at, uint16_t is, uint16_t *outer)
{
	uint16_t was;

	memcpy(&was, at, sizeof was);
	*outer = csum_delta16(*outer, was, is);
	memcpy(at, &is, sizeof is);
}

static void mend16(uint8_t *at, uint16_t delta, uint16_t *outer)
{
	uint16_t was;

	memcpy(&was, at, sizeof was);
	replace16(at, csum_apply(was, delta), outer);
}

/* Where protocols keep their checksum, and whether it covers the addresses. */
static const struct {
	uint8_t at;
	bool pseudo;
} checksums[N_L4] = {
	[L4_TCP] = {16, true},
	[L4_UDP] = {6, true},
	[L4_ICMP] = {2, false},
	[L4_OTHER] = {FLOW_COVERING_AT, true},
};

static void mend_l4(struct packet *p, const struct quoted *q, uint16_t addresses, uint16_t ports, uint16_t *outer)
{
	uint8_t *at = p->data + q->l4_at + checksums[q->l4].at;
	uint16_t was, delta = checksums[q->l4].pseudo ? csum_fold((uint32_t)addresses + ports) : ports;

	if (at + sizeof was > p->data + q->end)
		return;
	memcpy(&was, at, sizeof was);
	if (q->l4 != L4_UDP && q->l4 != L4_OTHER)
		mend16(at, delta, outer);
	else if (was != 0 || q->l4 == L4_OTHER) { /* UDP's zero means that there is none, and is never the sum */
		uint16_t sum = csum_apply(was, delta);

		replace16(at, sum ? sum : 0xffff, outer);
	}
}

static void rewrite_outer(struct packet *p, be32_t src, be32_t dst)
{
	struct ip4_header *ip = (struct ip4_header *)(p->data + sizeof(struct eth_header));
	uint16_t delta = csum_delta32(csum_delta32(0, ip->src.net, src.net), ip->dst.net, dst.net);

	ip->src = src;
	ip->dst = dst;
	ip->checksum = csum_apply(ip->checksum, delta);
}

void quoted_rewrite(
	struct packet *p, const struct quoted *q, be32_t outer_src, be32_t outer_dst, be32_t address, be16_t port)
{
	uint8_t *ip = p->data + q->ip_at, *l4 = p->data + q->l4_at;
	uint8_t *end =
		ip + (q->dir == DIR_INBOUND ? offsetof(struct ip4_header, src) : offsetof(struct ip4_header, dst));
	uint16_t addresses = csum_delta32(0, q->dir == DIR_INBOUND ? q->src.net : q->dst.net, address.net), ports = 0;
	uint16_t outer = addresses;

	memcpy(end, &address, sizeof address);
	mend16(ip + offsetof(struct ip4_header, checksum), addresses, &outer);
	if (q->port_at != FLOW_NO_PORT) {
		replace16(l4 + q->port_at, port.net, &ports);
		outer = csum_fold((uint32_t)outer + ports);
	}
	if (q->has_checksum)
		mend_l4(p, q, addresses, ports, &outer);
	struct icmp_header *icmp = (struct icmp_header *)(p->data + q->icmp_at);
	icmp->checksum = csum_apply(icmp->checksum, outer);
	rewrite_outer(p, outer_src, outer_dst);
}
