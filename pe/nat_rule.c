/* What the configuration in force says of an address. */
#include "pe/nat_internal.h"

#include <string.h>

/* Only the last prefix that does not begin behind the address can hold it. */
const struct snapshot_prefix *nat_prefix_of(const struct nat *n, uint16_t realm, be32_t address)
{
	const struct snapshot_prefix *list = n->config.prefixes, *at;
	uint32_t lo = 0, hi = n->config.n_prefixes, host = be32_host(address);

	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;

		at = &list[mid];
		if (at->realm < realm || (at->realm == realm && at->addr <= host))
			lo = mid + 1;
		else
			hi = mid;
	}
	at = lo ? &list[lo - 1] : NULL;
	return at && nat_prefix_has(at, realm, address) ? at : NULL;
}

bool nat_is_subscriber(const struct nat *n, uint16_t realm, be32_t address)
{
	return nat_prefix_of(n, realm, address) != NULL;
}

bool nat_is_pool_address(const struct nat *n, be32_t address)
{
	uint32_t host = be32_host(address);

	for (uint32_t i = 0; i < n->config.n_ranges; i++)
		if (host >= n->config.ranges[i].first && host <= n->config.ranges[i].last)
			return true;
	return false;
}

/* ---- rules ---- */

static bool matches(const struct snapshot_rule *r, const struct session *s)
{
	uint16_t port = be16_host(s->remote_port);

	return ((s->realm ^ r->realm) & r->realm_mask) == 0 &&
	       ((be32_host(s->inside) ^ r->inside) & r->inside_mask) == 0 &&
	       ((be32_host(s->remote) ^ r->remote) & r->remote_mask) == 0 && (r->protocols >> s->l4 & 1) &&
	       port >= r->port_first && port <= r->port_last;
}

const struct snapshot_rule *nat_rule_for(const struct nat *n, const struct session *s)
{
	const struct snapshot_rule *r = n->config.rules;

	while (!matches(r, s))
		r++;
	return r;
}

/* ---- static mappings ---- */

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

	return c->n_static ? find_static(c->static_by_inside, c->n_static, SIDE_INSIDE, &e) : NULL;
}

const struct snapshot_static *nat_static_nat(const struct nat *n, be32_t nat, be16_t port, enum l4 l4)
{
	const struct snapshot *c = &n->config;
	struct endpoint e = {be32_host(nat), 0, be16_host(port), (uint8_t)l4};

	return c->n_static ? find_static(c->static_by_nat, c->n_static, SIDE_OUTSIDE, &e) : NULL;
}

uint32_t nat_random(struct nat *n)
{
	n->random ^= n->random << 13;
	n->random ^= n->random >> 7;
	n->random ^= n->random << 17;
	uint32_t draw = (uint32_t)(n->random >> 32);

	return draw ? draw : 1;
}
