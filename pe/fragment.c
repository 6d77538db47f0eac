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

/* ---- pairs ---- */

uint64_t fragment_pair_hash(be32_t src, be32_t dst, uint16_t realm, uint64_t seed)
{
	struct {
		be32_t src, dst;
		uint32_t realm;
	} key = {src, dst, realm};

	return XXH3_64bits_withSeed(&key, sizeof key, seed);
}

static bool has_bit(const uint64_t *bits, uint64_t hash)
{
	return bits[hash % FRAGMENT_PAIR_BITS / 64] >> hash % 64 & 1;
}

void fragment_pair_note(struct fragment_pairs *t, uint64_t hash, uint32_t now_s)
{
	if (now_s - t->since_s >= FRAGMENT_PAIR_S) {
		memcpy(t->bits[1], t->bits[0], sizeof t->bits[1]);
		memset(t->bits[0], 0, sizeof t->bits[0]);
		t->since_s = now_s;
	}
	t->bits[0][hash % FRAGMENT_PAIR_BITS / 64] |= 1ull << hash % 64;
}

bool fragment_pair_is_known(const struct fragment_pairs *t, uint64_t hash)
{
	return has_bit(t->bits[0], hash) || has_bit(t->bits[1], hash);
}

/* ---- waiting ---- */

static void list_add(struct fragment_list *l, struct fragment_link *link, unsigned at)
{
	link[at - 1] = (struct fragment_link){.before = l->last};
	if (l->last)
		link[l->last - 1].after = (uint16_t)at;
	else
		l->first = (uint16_t)at;
	l->last = (uint16_t)at;
	l->n++;
}

static void list_remove(struct fragment_list *l, struct fragment_link *link, unsigned at)
{
	struct fragment_link is = link[at - 1];

	assert(l->n);
	if (is.before)
		link[is.before - 1].after = is.after;
	else
		l->first = is.after;
	if (is.after)
		link[is.after - 1].before = is.before;
	else
		l->last = is.before;
	l->n--;
}

/* A place that nobody has; there is one. */
static unsigned take_place(struct fragment_waits *w)
{
	unsigned at = w->free.first;

	if (at)
		list_remove(&w->free, w->in_class, at);
	else
		at = ++w->used;
	assert(at <= FRAGMENT_WAITS);
	return at;
}

/* Who makes room for one more of this class and source; 0: nobody has to. There are `all` places, at least one. */
static unsigned who_goes(
	const struct fragment_waits *w, enum fragment_class class, unsigned counter, uint32_t all, uint32_t per_source)
{
	const struct fragment_list *source = &w->of_source[counter], *own = &w->of_class[class];

	if (source->n >= per_source)
		return source->first;
	if (w->n < all)
		return 0;
	if (own->n && own->n >= all / 2)
		return own->first;
	return w->of_class[class == FRAGMENT_KNOWN ? FRAGMENT_UNKNOWN : FRAGMENT_KNOWN].first;
}

unsigned fragment_counter(const struct packet *p, uint64_t seed)
{
	uint64_t source = (uint64_t)p->vlan << 32 | ((const struct ip4_header *)ip_of(p))->src.net;

	return (unsigned)(XXH3_64bits_withSeed(&source, sizeof source, seed) % FRAGMENT_COUNTERS);
}

bool fragment_wait(struct fragment_waits *w, const struct held *h, enum fragment_class class, unsigned counter,
	struct fragment_limits limits, struct packet *gone)
{
	uint32_t all = limits.all < FRAGMENT_WAITS ? limits.all : FRAGMENT_WAITS;

	if (!all || !limits.per_source) {
		*gone = h->packet;
		return true;
	}
	unsigned goes = who_goes(w, class, counter, all, limits.per_source), at;

	if (goes)
		*gone = fragment_let_go(w, goes);
	at = take_place(w);
	w->held[at - 1] = *h;
	w->class[at - 1] = (uint8_t) class;
	w->source[at - 1] = (uint16_t)counter;
	list_add(&w->of_class[class], w->in_class, at);
	list_add(&w->of_source[counter], w->in_source, at);
	w->n++;
	return goes != 0;
}

unsigned fragment_next(const struct fragment_waits *w, unsigned at)
{
	unsigned next = at ? w->in_class[at - 1].after : w->of_class[FRAGMENT_KNOWN].first;

	if (!next && (!at || w->class[at - 1] == FRAGMENT_KNOWN))
		next = w->of_class[FRAGMENT_UNKNOWN].first;
	return next;
}

struct packet fragment_let_go(struct fragment_waits *w, unsigned at)
{
	list_remove(&w->of_class[w->class[at - 1]], w->in_class, at);
	list_remove(&w->of_source[w->source[at - 1]], w->in_source, at);
	list_add(&w->free, w->in_class, at);
	w->n--;
	return w->held[at - 1].packet;
}
