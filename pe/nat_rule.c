/* What the configuration in force says of an address, and the ports of its pools. */
#include "pe/nat_internal.h"

#include <string.h>

/* Only the last prefix that does not begin behind the address can hold it. */
bool nat_is_subscriber(const struct nat *n, uint16_t realm, be32_t address)
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
	return at && at->realm == realm && ((host ^ at->addr) & ~(uint32_t)(0xffffffffull >> at->len)) == 0;
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

/* ---- ports ---- */

uint32_t nat_random(struct nat *n)
{
	n->random ^= n->random << 13;
	n->random ^= n->random >> 7;
	n->random ^= n->random << 17;
	uint32_t draw = (uint32_t)(n->random >> 32);

	return draw ? draw : 1;
}

/* A port of one address; those that a static mapping owns are passed over. */
static int take_port_of(struct nat *n, const struct snapshot_address *from, enum l4 l4, uint32_t draw)
{
	struct port_table *t = port_table_at(n->arena, from->ports);
	const struct snapshot *c = &n->config;

	for (uint32_t tries = 0; tries <= 2 * c->n_static; tries++) {
		int port = ports_take(
			t, from->ports, port_set_of(l4), c->port_first, c->port_last, draw, &n->actor->intent.port);

		const struct snapshot_static *met =
			port < 0 ? NULL : nat_static_nat(n, from->address, be16_of((uint16_t)port), l4);
		if (!met)
			return port;
		ports_put(t, port_set_of(l4), (uint16_t)port);
		uint32_t behind = (uint32_t)met->nat_port + met->ports; /* of its whole range */
		draw = behind > c->port_last ? 0 : behind - c->port_first;
	}
	return -1;
}

/* Paired: the subscriber's address, the same for all its mappings (RFC 4787 REQ-2). Arbitrary: any. */
static uint32_t first_pick(
	const struct nat *n, const struct session *s, const struct snapshot_rule *rule, uint32_t draw)
{
	return rule->pooling == POOLING_ARBITRARY
		       ? draw * 0x9e3779b1u >> 16
		       : (uint32_t)flow_key_hash((struct flow_key){s->inside.net, s->realm}, n->seed);
}

const struct snapshot_address *nat_first_address(
	const struct nat *n, const struct session *s, const struct snapshot_rule *rule, uint32_t draw)
{
	const struct snapshot_pool *pool = &n->config.pools[rule->pool];

	return pool->usable ? &n->config.addresses[pool->first + first_pick(n, s, rule, draw) % pool->usable] : NULL;
}

/* On another address than the first only when that one is full. */
bool nat_take_port(struct nat *n, struct session *s, const struct snapshot_rule *rule, uint32_t draw)
{
	const struct snapshot_pool *pool = &n->config.pools[rule->pool];
	uint32_t pick = first_pick(n, s, rule, draw);

	for (uint32_t i = 0; i < pool->usable; i++) {
		const struct snapshot_address *from = &n->config.addresses[pool->first + (pick + i) % pool->usable];
		int port = take_port_of(n, from, s->l4, draw);

		if (port >= 0) {
			s->nat = from->address;
			s->nat_port = be16_of((uint16_t)port);
			return true;
		}
	}
	return false;
}

/* The port table of an address in force; 0: it is not. */
static uint32_t configured_table(const struct nat *n, be32_t address)
{
	const struct nat_address *at = nat_address_find(n, address);

	return at ? at->ports : 0;
}

bool nat_port_is_idle(const struct nat *n, const struct flow *f)
{
	be32_t address[2];
	be16_t port[2];

	memcpy(address, &f->key.a, sizeof address);
	memcpy(port, &f->key.b, sizeof port);
	uint32_t table = configured_table(n, address[1]);
	if (!table || ports_is_set(port_table_at(n->arena, table), port_set_of(f->l4), be16_host(port[1])))
		return false;
	return !nat_static_nat(n, address[1], port[1], f->l4);
}

static uint32_t port_table_of(const struct nat *n, be32_t address)
{
	uint32_t i = configured_table(n, address);

	if (i)
		return i;
	while ((i = slab_next_live(n->arena, SLAB_port_table, i + 1)))
		if (port_table_at(n->arena, i)->address.net == address.net)
			return i; /* no longer in the pool, but still in use */
	return 0;
}

void nat_intend_port(struct nat *n, const struct session *s)
{
	uint64_t name = port_name(port_table_of(n, s->nat), port_set_of(s->l4), be16_host(s->nat_port));

	atomic_store_explicit(&n->actor->intent.port, name, memory_order_release);
}

void nat_free_port(struct nat *n, const struct session *s)
{
	uint32_t table = port_table_of(n, s->nat);

	if (table)
		ports_put(port_table_at(n->arena, table), port_set_of(s->l4), be16_host(s->nat_port));
	atomic_store_explicit(&n->actor->intent.port, 0, memory_order_release);
}
