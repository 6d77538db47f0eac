/* Static mappings: whose an endpoint is, and which ports are therefore not for the choice. Hardly any session that is made
 * has to do with one: that is told by a bit, of its inside address and of the chunk its port would come from. */
#include "pe/nat_internal.h"
#include "pe/nat_ports.h"

#include <string.h>

/* ---- looked up ---- */

/* Sorted by address, realm (inside), protocol and first port: the last entry that does not begin after the endpoint. */
struct endpoint {
	uint32_t address;
	uint32_t realm; /* 0 outside */
	uint16_t port;
	uint8_t l4;
};

static int order(uint32_t address, uint32_t realm, uint8_t l4, uint16_t port, const struct endpoint *e)
{
	if (address != e->address)
		return address < e->address ? -1 : 1;
	if (realm != e->realm)
		return realm < e->realm ? -1 : 1;
	if (l4 != e->l4)
		return l4 < e->l4 ? -1 : 1;
	return (port > e->port) - (port < e->port);
}

static const struct snapshot_static *last_before(
	const struct snapshot_static *list, uint32_t n, enum side side, const struct endpoint *e)
{
	uint32_t lo = 0, hi = n;

	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;
		const struct snapshot_static *at = &list[mid];
		int is = side == SIDE_INSIDE ? order(at->inside, at->realm, at->l4, at->inside_port, e)
					     : order(at->nat, 0, at->l4, at->nat_port, e);

		if (is <= 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo ? &list[lo - 1] : NULL;
}

static bool is_at(const struct snapshot_static *x, enum side side, const struct endpoint *e)
{
	return x->l4 == e->l4 &&
	       (side == SIDE_INSIDE ? x->inside == e->address && x->realm == e->realm : x->nat == e->address);
}

static const struct snapshot_static *find_static(
	const struct snapshot_static *list, uint32_t n, enum side side, const struct endpoint *one)
{
	struct endpoint whole = {one->address, one->realm, 0, N_L4};
	const struct snapshot_static *at = last_before(list, n, side, one);

	if (at && is_at(at, side, one) &&
		one->port - (side == SIDE_INSIDE ? at->inside_port : at->nat_port) < at->ports)
		return at;
	at = last_before(list, n, side, &whole);
	return at && is_at(at, side, &whole) ? at : NULL;
}

const struct snapshot_static *nat_static_inside(const struct nat *n, const struct session *s)
{
	const struct snapshot *c = &n->config;
	struct endpoint e = {be32_host(s->inside), s->realm, be16_host(s->inside_port), s->l4};

	return nat_may_be_static(n, s) ? find_static(c->static_by_inside, c->n_static, SIDE_INSIDE, &e) : NULL;
}

const struct snapshot_static *nat_static_nat(const struct nat *n, be32_t nat, be16_t port, enum l4 l4)
{
	const struct snapshot *c = &n->config;
	struct endpoint e = {be32_host(nat), 0, be16_host(port), (uint8_t)l4};

	return c->n_static ? find_static(c->static_by_nat, c->n_static, SIDE_OUTSIDE, &e) : NULL;
}

/* ---- indexed ---- */

/* Ports of one protocol of one address, by chunk, while they are gathered. */
struct gathering {
	uint16_t ports[N_CHUNKS];
	uint64_t some[CHUNK_WORDS]; /* bit: that chunk has any */
};

/* Sorted as the static mappings are: addresses have their places by number. */
static uint64_t key_of(const struct nat *n, uint32_t index, enum l4 l4, unsigned chunk)
{
	return (uint64_t)n->address_of[index] << 48 | (uint64_t)l4 << 32 | (uint64_t)chunk << 16;
}

static void gather(struct gathering *g, const struct port_order *o, const struct snapshot_static *x)
{
	for (uint32_t i = 0; i < x->ports; i++) {
		struct port_place p = port_place_of(o, (uint16_t)(x->nat_port + i));

		g->ports[p.chunk] |= (uint16_t)(1u << p.place);
		g->some[p.chunk / 64] |= 1ull << p.chunk % 64;
	}
}

/* Lists what was gathered, and forgets it. */
static void list(struct nat *n, struct gathering *g, uint32_t index, enum l4 l4)
{
	struct nat_statics *x = &n->statics;

	for (unsigned w = 0; w < CHUNK_WORDS; w++) {
		n->lender[index].barred[port_set_of(l4)] |= g->some[w];
		for (; g->some[w]; g->some[w] &= g->some[w] - 1) {
			unsigned chunk = w * 64 + (unsigned)__builtin_ctzll(g->some[w]);

			if (x->n < NAT_BARRED_MAX)
				x->barred[x->n++] = key_of(n, index, l4, chunk) | g->ports[chunk];
			else
				x->unlisted = true;
			g->ports[chunk] = 0;
		}
	}
}

/* The mapping at [i], and those behind it of the same address and protocol: where the next ones begin. */
static uint32_t bar_group(struct nat *n, struct gathering *g, uint32_t i)
{
	const struct snapshot_static *x = &n->config.static_by_nat[i];
	const struct nat_address *at = nat_find_address(n, be32_of(x->nat));
	uint32_t end = i;

	for (; end < n->config.n_static && x[end - i].nat == x->nat && x[end - i].l4 == x->l4; end++)
		if (at)
			gather(g, &n->ports[at->order].order, &x[end - i]);
	if (at && x->l4 == N_L4)
		memset(n->lender[at->index].barred, 0xff, sizeof n->lender[at->index].barred);
	else if (at)
		list(n, g, at->index, (enum l4)x->l4);
	return end;
}

void nat_index_statics(struct nat *n)
{
	struct nat_statics *x = &n->statics;
	struct gathering g = {.some = {0}};

	memset(x->inside, 0, sizeof x->inside);
	x->n = 0;
	x->unlisted = false;
	for (uint32_t i = 0; i < n->config.n_static; i++) {
		uint32_t bit =
			nat_static_bit(n->config.static_by_inside[i].inside, n->config.static_by_inside[i].realm);

		x->inside[bit / 64] |= 1ull << bit % 64;
	}
	for (uint32_t i = 0; i < n->config.n_static;)
		i = bar_group(n, &g, i);
}

/* Where there is no list: each port by itself. */
static uint32_t ask_each(const struct nat *n, uint32_t index, enum l4 l4, unsigned chunk)
{
	const struct port_order *o = &n->ports[n->address[n->address_of[index]].order].order;
	uint32_t ports = 0;

	for (unsigned place = 0; place < CHUNK_PORTS; place++) {
		struct port_place p = {(uint16_t)chunk, (uint8_t)place};

		if (nat_static_nat(n, n->config.addresses[index].address, be16_of(port_of_place(o, p)), l4))
			ports |= 1u << place;
	}
	return ports;
}

uint32_t nat_find_static_ports(const struct nat *n, uint32_t index, enum l4 l4, unsigned chunk)
{
	const struct nat_statics *x = &n->statics;
	uint64_t key = key_of(n, index, l4, chunk);
	uint32_t lo = 0;

	if (x->unlisted)
		return ask_each(n, index, l4, chunk);
	for (uint32_t left = x->n; left; left /= 2) {
		uint32_t behind = lo + left / 2;

		if (x->barred[behind] < key) {
			lo = behind + 1;
			left--;
		}
	}
	return lo < x->n && (x->barred[lo] & ~(uint64_t)UINT16_MAX) == key ? x->barred[lo] & UINT16_MAX : 0;
}
