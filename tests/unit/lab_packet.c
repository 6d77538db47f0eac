#include "tests/unit/lab_packet.h"

#include "common/headers.h"

#include <assert.h>
#include <string.h>

enum { IP4 = 20, IP_AT = LAB_ETHERNET, ERROR_HEADER = 8 };

/* ---- bytes ---- */

static void put16(uint8_t *at, uint16_t v)
{
	at[0] = (uint8_t)(v >> 8);
	at[1] = (uint8_t)v;
}

static void put32(uint8_t *at, uint32_t v)
{
	put16(at, (uint16_t)(v >> 16));
	put16(at + 2, (uint16_t)v);
}

static uint16_t get16(const uint8_t *at)
{
	return (uint16_t)(at[0] << 8 | at[1]);
}

static uint32_t get32(const uint8_t *at)
{
	return (uint32_t)get16(at) << 16 | get16(at + 2);
}

/* The plainest one's complement sum there is (RFC 1071): big-endian words, one by one. */
static uint32_t sum_of(const uint8_t *at, unsigned bytes, uint32_t sum)
{
	for (unsigned i = 0; i < bytes; i++)
		sum += i % 2 ? at[i] : (uint32_t)at[i] << 8;
	return sum;
}

static uint16_t checksum_of(uint32_t sum)
{
	while (sum > 0xffff)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

static uint32_t pseudo_sum(const uint8_t *ip, unsigned bytes)
{
	return sum_of(ip + 12, 8, ip[9] + bytes);
}

static unsigned header_bytes(const uint8_t *ip)
{
	return (ip[0] & 15u) * 4u;
}

static bool is_error_type(uint8_t type)
{
	return type == LAB_UNREACHABLE || type == 4 || type == LAB_TIME_EXCEEDED || type == 12;
}

/* Where the checksum lies in a transport header; 0: the protocol has none that is known here. */
static unsigned checksum_at(uint8_t protocol)
{
	return protocol == PROTO_TCP ? 16 : protocol == PROTO_UDP ? 6 : protocol == PROTO_ICMP ? 2 : 0;
}

static uint16_t transport_checksum(const uint8_t *ip, const uint8_t *l4, unsigned bytes)
{
	return checksum_of(sum_of(l4, bytes, ip[9] == PROTO_ICMP ? 0 : pseudo_sum(ip, bytes)));
}

/* ---- saying ---- */

static struct lab_packet packet_from(struct lab_end src, struct lab_end dst, uint8_t protocol)
{
	return (struct lab_packet){
		.side = lab_is_inside(src.address) ? SIDE_INSIDE : SIDE_OUTSIDE,
		.src = src,
		.dst = dst,
		.protocol = protocol,
		.ttl = 64,
		.id = 0x1234,
		.payload = 24,
	};
}

struct lab_packet lab_udp(struct lab_end src, struct lab_end dst)
{
	return packet_from(src, dst, PROTO_UDP);
}

struct lab_packet lab_tcp(struct lab_end src, struct lab_end dst, uint8_t flags)
{
	struct lab_packet p = packet_from(src, dst, PROTO_TCP);

	p.flags = flags;
	p.seq = 1000;
	p.ack = flags & LAB_ACK ? 2000 : 0;
	p.payload = flags & (LAB_SYN | LAB_FIN | LAB_RST) ? 0 : 24;
	return p;
}

struct lab_packet lab_ping(struct lab_end src, uint32_t dst)
{
	struct lab_packet p = packet_from(src, (struct lab_end){dst, 0}, PROTO_ICMP);

	p.type = LAB_ECHO;
	return p;
}

struct lab_packet lab_portless(uint8_t protocol, uint32_t src, uint32_t dst)
{
	return packet_from((struct lab_end){src, 0}, (struct lab_end){dst, 0}, protocol);
}

struct lab_packet lab_answer(const struct lab_packet *seen)
{
	struct lab_packet p = packet_from(seen->dst, seen->src, seen->protocol);

	p.side = seen->side;
	p.vlan = seen->vlan;
	p.type = LAB_ECHO_REPLY;
	p.flags = LAB_ACK;
	p.seq = seen->ack;
	p.ack = seen->seq + 1;
	return p;
}

/* ---- building ---- */

static unsigned build_transport(const struct lab_packet *p, uint8_t *l4)
{
	put16(l4, p->src.port);
	put16(l4 + 2, p->dst.port);
	switch (p->protocol) {
	case PROTO_UDP:
		put16(l4 + 4, (uint16_t)(8 + p->payload));
		return 8;
	case PROTO_TCP:
		put32(l4 + 4, p->seq);
		put32(l4 + 8, p->ack);
		l4[12] = p->mss ? 6 << 4 : 5 << 4;
		l4[13] = p->flags;
		put16(l4 + 14, 65535);
		if (p->mss)
			put32(l4 + 20, 0x02040000u | p->mss);
		return p->mss ? 24 : 20;
	case PROTO_ICMP:
		put32(l4, 0);
		l4[0] = p->type;
		l4[1] = p->code;
		put16(l4 + 4, p->type == LAB_ECHO_REPLY ? p->dst.port : p->src.port);
		put16(l4 + 6, 1);
		return 8;
	default:
		put32(l4, 0x2000880b);
		return 4;
	}
}

void lab_mend_transport(struct lab_frame *f)
{
	const uint8_t *ip = f->bytes + IP_AT;
	uint8_t *l4 = f->bytes + IP_AT + header_bytes(ip);
	unsigned at = checksum_at(ip[9]), bytes = get16(ip + 2) - header_bytes(ip);

	if (!at)
		return;
	put16(l4 + at, 0);
	uint16_t sum = transport_checksum(ip, l4, bytes);
	put16(l4 + at, ip[9] == PROTO_UDP && sum == 0 ? 0xffff : sum);
}

static void open_frame(struct lab_frame *f, enum side side)
{
	f->side = side;
	memset(f->bytes, 2, 12);
	put16(f->bytes + 12, ETHERTYPE_IPV4);
}

void lab_mend(struct lab_frame *f)
{
	uint8_t *ip = f->bytes + IP_AT;

	put16(ip + 10, 0);
	put16(ip + 10, checksum_of(sum_of(ip, header_bytes(ip), 0)));
}

/* The fixed header and the options; sizes, checksum and addresses. */
static void build_ip(struct lab_frame *f, const struct lab_packet *p, unsigned size)
{
	uint8_t *ip = f->bytes + IP_AT;

	memset(ip, 0, IP4);
	ip[0] = (uint8_t)(0x45 + p->option_words);
	ip[1] = p->tos;
	put16(ip + 2, (uint16_t)size);
	put16(ip + 4, p->id);
	put16(ip + 6, p->fragment);
	ip[8] = p->ttl;
	ip[9] = p->protocol;
	put32(ip + 12, p->src.address);
	put32(ip + 16, p->dst.address);
	memset(ip + IP4, 1, p->option_words * 4u);
	f->size = (uint16_t)(IP_AT + size);
	lab_mend(f);
}

void lab_build(const struct lab_packet *p, struct lab_frame *f)
{
	uint8_t *l4 = f->bytes + IP_AT + IP4 + p->option_words * 4u;

	open_frame(f, p->side);
	f->vlan = p->vlan;
	memset(l4, 0, 24);
	unsigned head = build_transport(p, l4), bytes = head + p->payload;
	assert(IP_AT + IP4 + p->option_words * 4u + bytes <= LAB_FRAME_BYTES);
	for (unsigned i = 0; i < p->payload; i++)
		l4[head + i] = (uint8_t)(i * 7 + p->src.port);
	build_ip(f, p, IP4 + p->option_words * 4u + bytes);
	if (p->protocol != PROTO_UDP || !p->no_checksum)
		lab_mend_transport(f);
}

void lab_error(
	const struct lab_frame *about, uint32_t from, uint8_t type, uint8_t code, unsigned quoted, struct lab_frame *f)
{
	const uint8_t *quote = about->bytes + IP_AT;
	unsigned all = get16(quote + 2), bytes = quoted < all ? quoted : all;
	struct lab_packet p =
		packet_from((struct lab_end){from, 0}, (struct lab_end){get32(quote + 12), 0}, PROTO_ICMP);
	uint8_t *l4 = f->bytes + IP_AT + IP4;

	open_frame(f, about->side);
	f->vlan = about->vlan;
	p.side = about->side;
	memset(l4, 0, ERROR_HEADER);
	l4[0] = type;
	l4[1] = code;
	if (type == LAB_UNREACHABLE && code == LAB_CODE_TOO_BIG)
		put16(l4 + 6, LAB_LINK_MTU);
	memcpy(l4 + ERROR_HEADER, quote, bytes);
	build_ip(f, &p, IP4 + ERROR_HEADER + bytes);
	lab_mend_transport(f);
}

/* ---- reading ---- */

static void read_ports(const uint8_t *l4, uint8_t protocol, struct lab_end *src, struct lab_end *dst)
{
	if (protocol == PROTO_TCP || protocol == PROTO_UDP) {
		src->port = get16(l4);
		dst->port = get16(l4 + 2);
	} else if (protocol == PROTO_ICMP) {
		*(l4[0] == LAB_ECHO_REPLY ? &dst->port : &src->port) = get16(l4 + 4);
	}
}

/* A quote is a packet cut short: whole header, at least eight bytes behind it; checked as far as it goes. */
static const char *read_quote(const uint8_t *ip, unsigned bytes, struct lab_quote *q)
{
	if (bytes < IP4 || ip[0] >> 4 != 4 || bytes < header_bytes(ip) + 8)
		return "the quoted packet is too short";
	unsigned head = header_bytes(ip), size = get16(ip + 2);
	if (checksum_of(sum_of(ip, head, 0)) != 0)
		return "the quoted header's checksum is wrong";
	q->src.address = get32(ip + 12);
	q->dst.address = get32(ip + 16);
	q->id = get16(ip + 4);
	q->protocol = ip[9];
	q->ttl = ip[8];
	if (get16(ip + 6) & LAB_OFFSET)
		return NULL;
	read_ports(ip + head, q->protocol, &q->src, &q->dst);
	if (size > bytes || get16(ip + 6) & LAB_MF || !checksum_at(q->protocol))
		return NULL;
	if (q->protocol == PROTO_UDP && get16(ip + head + 6) == 0)
		return NULL;
	return transport_checksum(ip, ip + head, size - head) == 0 ? NULL : "the quoted transport checksum is wrong";
}

static const char *read_transport(const uint8_t *l4, unsigned bytes, struct lab_packet *p)
{
	unsigned head = p->protocol == PROTO_TCP ? 20 : p->protocol == PROTO_UDP || p->protocol == PROTO_ICMP ? 8 : 4;

	if (bytes < head)
		return "too short for its transport header";
	read_ports(l4, p->protocol, &p->src, &p->dst);
	if (p->protocol == PROTO_TCP) {
		head = (l4[12] >> 4) * 4u;
		p->seq = get32(l4 + 4);
		p->ack = get32(l4 + 8);
		p->flags = l4[13];
		p->mss = head > 20 && l4[20] == 2 ? get16(l4 + 22) : 0;
	} else if (p->protocol == PROTO_UDP) {
		p->no_checksum = get16(l4 + 6) == 0;
	} else if (p->protocol == PROTO_ICMP) {
		p->type = l4[0];
		p->code = l4[1];
		p->mtu = p->type == LAB_UNREACHABLE ? get16(l4 + 6) : 0;
		p->error = is_error_type(p->type);
		if (p->error)
			p->src.port = p->dst.port = 0;
	}
	p->payload = (uint16_t)(bytes - head);
	return p->error ? read_quote(l4 + ERROR_HEADER, bytes - ERROR_HEADER, &p->quote) : NULL;
}

static const char *read_ip(const struct lab_frame *f, struct lab_packet *p)
{
	const uint8_t *ip = f->bytes + IP_AT;

	if (f->size < IP_AT + IP4 || get16(f->bytes + 12) != ETHERTYPE_IPV4 || ip[0] >> 4 != 4)
		return "not IPv4";
	p->size = get16(ip + 2);
	if (p->size < header_bytes(ip) || IP_AT + p->size > f->size)
		return "the IPv4 length is wrong";
	if (checksum_of(sum_of(ip, header_bytes(ip), 0)) != 0)
		return "the IPv4 header's checksum is wrong";
	p->option_words = (uint8_t)(ip[0] % 16 - 5);
	p->tos = ip[1];
	p->id = get16(ip + 4);
	p->fragment = get16(ip + 6);
	p->ttl = ip[8];
	p->protocol = ip[9];
	p->src.address = get32(ip + 12);
	p->dst.address = get32(ip + 16);
	return NULL;
}

const char *lab_read(const struct lab_frame *f, struct lab_packet *p)
{
	*p = (struct lab_packet){.side = f->side, .vlan = f->vlan};
	const char *wrong = read_ip(f, p);
	if (wrong)
		return wrong;
	const uint8_t *ip = f->bytes + IP_AT, *l4 = ip + header_bytes(ip);
	unsigned bytes = p->size - header_bytes(ip);
	p->payload = (uint16_t)bytes;
	if (p->fragment & LAB_OFFSET)
		return NULL;
	wrong = read_transport(l4, bytes, p);
	if (wrong || p->fragment & LAB_MF || !checksum_at(p->protocol) || p->no_checksum)
		return wrong;
	return transport_checksum(ip, l4, bytes) == 0 ? NULL : "the transport checksum is wrong";
}

bool lab_quotes(const struct lab_frame *f, const struct lab_frame *sent)
{
	const uint8_t *ip = f->bytes + IP_AT, *is = ip + header_bytes(ip) + ERROR_HEADER, *was = sent->bytes + IP_AT;
	unsigned quoted = get16(ip + 2) - header_bytes(ip) - ERROR_HEADER;

	if (quoted > get16(was + 2))
		quoted = get16(was + 2);
	for (unsigned i = 0; i < quoted; i++)
		if (is[i] != was[i] && i != 4 && i != 5 && i != 8 && i != 10 && i != 11)
			return false;
	return true;
}

/* ---- fragments ---- */

unsigned lab_cut(const struct lab_frame *whole, unsigned bytes, struct lab_frame *out, unsigned max)
{
	const uint8_t *ip = whole->bytes + IP_AT;
	unsigned head = header_bytes(ip), all = get16(ip + 2) - head, n = 0;

	assert(bytes % 8 == 0);
	for (unsigned at = 0; at < all && n < max; at += bytes, n++) {
		unsigned part = all - at < bytes ? all - at : bytes;
		uint8_t *to = out[n].bytes + IP_AT;

		out[n].side = whole->side;
		out[n].vlan = whole->vlan;
		memcpy(out[n].bytes, whole->bytes, IP_AT + head);
		memcpy(to + head, ip + head + at, part);
		put16(to + 2, (uint16_t)(head + part));
		put16(to + 6, (uint16_t)(at / 8 | (at + part < all ? LAB_MF : 0)));
		out[n].size = (uint16_t)(IP_AT + head + part);
		lab_mend(&out[n]);
	}
	return n;
}

bool lab_join(const struct lab_frame *part, unsigned n, struct lab_frame *whole)
{
	const uint8_t *first = part[0].bytes + IP_AT;
	unsigned all = 0, got = 0;

	*whole = part[0];
	for (unsigned i = 0; i < n; i++) {
		const uint8_t *ip = part[i].bytes + IP_AT;
		unsigned head = header_bytes(ip), bytes = get16(ip + 2) - head, at = (get16(ip + 6) & LAB_OFFSET) * 8u;

		if (head != header_bytes(first) || memcmp(ip + 12, first + 12, 8) != 0 ||
			memcmp(ip + 4, first + 4, 2) != 0 || part[i].side != part[0].side ||
			part[i].vlan != part[0].vlan || IP_AT + head + at + bytes > LAB_FRAME_BYTES)
			return false;
		memcpy(whole->bytes + IP_AT + head + at, ip + head, bytes);
		got += bytes;
		if (!(get16(ip + 6) & LAB_MF))
			all = at + bytes;
	}
	uint8_t *ip = whole->bytes + IP_AT;
	put16(ip + 2, (uint16_t)(header_bytes(ip) + all));
	put16(ip + 6, 0);
	whole->size = (uint16_t)(IP_AT + header_bytes(ip) + all);
	lab_mend(whole);
	return all != 0 && got == all;
}
