#include "pe/fragment.h"

#include "common/csum.h"
#include "pe/ip4.h"

#include <assert.h>
#include <xxhash.h>

/* ---- cutting ---- */

/* A cut in progress. */
struct cut {
	const struct packet *p;
	struct ip4_extent whole;
	uint16_t mtu;
	unsigned done; /* bytes of payload already in fragments */
};

static const uint8_t *ip_of(const struct packet *p)
{
	return p->data + sizeof(struct eth_header);
}

/* Copies those options that every fragment carries (RFC 791 §3.1: the copied flag), padded with ends of list; the bytes
 * written. */
static unsigned copied_options(const uint8_t *ip, unsigned header, uint8_t *to)
{
	enum { OPTION_END, OPTION_NOP, OPTION_COPIED = 0x80 };
	unsigned at = sizeof(struct ip4_header), n = 0;

	while (at < header && ip[at] != OPTION_END) {
		unsigned least = ip[at] == OPTION_NOP ? 1 : 2;
		unsigned size = least == 1 ? 1 : at + 1 < header ? ip[at + 1] : 0;

		if (size < least || at + size > header)
			break;
		if (ip[at] & OPTION_COPIED) {
			memcpy(to + n, ip + at, size);
			n += size;
		}
		at += size;
	}
	for (; n % 4; n++)
		to[n] = OPTION_END;
	return n;
}

/* The header of the fragment whose payload begins at c->done, but for its size, fragment word and checksum. */
static unsigned begin_header(const struct cut *c, uint8_t *ip)
{
	unsigned header = c->whole.header;

	memcpy(ip, ip_of(c->p), c->done ? sizeof(struct ip4_header) : header);
	if (c->done)
		header = (unsigned)sizeof(struct ip4_header) +
			 copied_options(ip_of(c->p), header, ip + sizeof(struct ip4_header));
	ip[0] = (uint8_t)(0x40 | header / 4);
	return header;
}

/* Where this fragment's payload lies in the datagram, and whether more follows: behind it here, or behind the packet
 * that is cut. */
static be16_t fragment_word(const struct cut *c, unsigned bytes)
{
	uint16_t was = be16_host(((const struct ip4_header *)ip_of(c->p))->fragment);
	unsigned offset = (was & IP4_OFFSET_MASK) + c->done / 8;
	bool more = (was & IP4_MF) || c->done + bytes + c->whole.header < c->whole.size;

	return be16_of((uint16_t)((was & ~(IP4_OFFSET_MASK | IP4_MF)) | offset | (more ? IP4_MF : 0)));
}

/* Writes the next fragment and moves on; false when it has no room. */
static bool cut_one(struct cut *c, struct packet *out)
{
	uint8_t header_bytes[60];
	unsigned header = begin_header(c, header_bytes), left = c->whole.size - c->whole.header - c->done;

	if (header > c->mtu)
		return false;
	unsigned most = c->mtu - header, bytes = left <= most ? left : most & ~7u;
	uint32_t len = (uint32_t)sizeof(struct eth_header) + header + bytes;
	struct ip4_header *ip = (struct ip4_header *)header_bytes;

	if ((bytes == 0 && left) || len > out->len)
		return false;
	ip->total_size = be16_of((uint16_t)(header + bytes));
	ip->fragment = fragment_word(c, bytes);
	ip->checksum = 0;
	ip->checksum = csum_over(ip, header, 0);
	memcpy(out->data, c->p->data, sizeof(struct eth_header));
	memcpy(out->data + sizeof(struct eth_header), ip, header);
	memcpy(out->data + sizeof(struct eth_header) + header, ip_of(c->p) + c->whole.header + c->done, bytes);
	out->len = len;
	out->side = c->p->side;
	out->out = c->p->out;
	out->verdict = c->p->verdict;
	out->forward = c->p->forward;
	out->vlan = c->p->vlan;
	c->done += bytes;
	return true;
}

unsigned fragment_split(const struct packet *p, uint16_t mtu, struct packet *out, unsigned max)
{
	struct cut c = {.p = p, .whole = ip4_of_frame(p), .mtu = mtu};
	const struct ip4_header *ip = (const struct ip4_header *)ip_of(p);
	unsigned n = 0;

	/* The fragments get sums of their own: what was damaged must not be made to look right. */
	if (!c.whole.header || ip->fragment.net & htons(IP4_DF) || csum_over(ip, c.whole.header, 0) != 0)
		return 0;
	unsigned payload = c.whole.size - c.whole.header;
	if ((be16_host(ip->fragment) & IP4_OFFSET_MASK) + payload / 8 > IP4_OFFSET_MASK)
		return 0;
	do {
		if (n == max || !cut_one(&c, &out[n]))
			return 0;
		n++;
	} while (c.done < payload);
	return n;
}

/* ---- waiting ---- */

static uint16_t *counter_of(struct fragment_quota *q, uint64_t seed, uint64_t source)
{
	return &q->waiting[XXH3_64bits_withSeed(&source, sizeof source, seed) % FRAGMENT_COUNTERS];
}

bool fragment_take(struct fragment_quota *q, uint64_t seed, uint64_t source, uint32_t limit, uint32_t per_source)
{
	uint16_t *n = counter_of(q, seed, source);

	if (q->total >= limit || *n >= per_source || *n == UINT16_MAX)
		return false;
	q->total++;
	++*n;
	return true;
}

void fragment_put(struct fragment_quota *q, uint64_t seed, uint64_t source)
{
	uint16_t *n = counter_of(q, seed, source);

	assert(q->total && *n);
	q->total--;
	--*n;
}
