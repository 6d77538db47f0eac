/* From the kernel's tables to one set of routes that a longest-prefix match over it decides alike. */
#include "mgmtd/mirror_internal.h"

#include "common/log.h"

#include <assert.h>
#include <errno.h>
#include <linux/rtnetlink.h>
#include <stdlib.h>
#include <string.h>

/* Candidates before duplicates and shadowed ones go; more than fit the set, so that those do not count. */
enum { CANDIDATES_MAX = 2 * ROUTES_MAX };

enum table_order { ORDER_LOCAL, ORDER_MAIN, ORDER_OTHER };

struct candidate {
	struct route route;
	uint32_t table_order; /* tables are asked in this order */
	uint32_t priority;
};

struct collection {
	const struct mirror *mirror;
	uint32_t table_order, n, left_out;
	struct candidate candidate[CANDIDATES_MAX];
};

static uint32_t mask_of(unsigned length)
{
	return length == 0 ? 0 : UINT32_MAX << (32 - length);
}

/* Whose interface a hop leaves by, if it is one of ours and usable. */
static const struct mirror_link *link_of_hop(const struct mirror *m, const struct netlink_hop *hop)
{
	return hop->dead || hop->foreign ? NULL : mirror_link(m, hop->index);
}

/* False when all hops are dead: the kernel then goes on as if the route were not there. */
static bool set_next_hop(const struct mirror *m, const struct netlink_route *from, struct route *route)
{
	bool alive = false;

	route->kind = ROUTE_NONE;
	for (uint32_t i = 0; i < from->n_hops && route->kind == ROUTE_NONE; i++) {
		const struct netlink_hop *hop = &from->hop[i];
		const struct mirror_link *link = link_of_hop(m, hop);

		alive |= !hop->dead;
		if (link == NULL)
			continue;
		route->kind = hop->gateway ? ROUTE_GATEWAY : ROUTE_ONLINK;
		route->gateway = hop->gateway;
		route->side = (uint8_t)link->side;
		route->realm = link->realm;
	}
	return alive;
}

/* The kernel's business; `own`: it is an address of that interface, if that is one of ours. */
static void set_local(const struct mirror *m, const struct netlink_route *from, struct route *route, bool own)
{
	const struct mirror_link *link = from->n_hops ? mirror_link(m, from->hop[0].index) : NULL;

	route->kind = ROUTE_LOCAL;
	route->side = (uint8_t)(link && own ? link->side : N_SIDES);
	route->realm = link ? link->realm : 0;
}

static void on_route(void *data, const struct netlink_route *from)
{
	struct collection *c = data;
	struct candidate *to = &c->candidate[c->n];

	/* Routes by type of service are none for a NAT; throw means "ask the next table". */
	if (from->tos != 0 || from->type == RTN_THROW)
		return;
	if (c->table_order == ORDER_OTHER && (from->table == RT_TABLE_LOCAL || from->table == RT_TABLE_MAIN))
		return;
	if (c->n == CANDIDATES_MAX) {
		c->left_out++;
		return;
	}
	memset(to, 0, sizeof(*to));
	to->route.prefix = from->prefix & mask_of(from->length);
	to->route.length = from->length;
	to->table_order = c->table_order;
	to->priority = from->priority;
	switch (from->type) {
	case RTN_LOCAL: /* an address of the interface it names, which engines answer from */
		set_local(c->mirror, from, &to->route, true);
		break;
	case RTN_BROADCAST:
	case RTN_ANYCAST:
	case RTN_MULTICAST:
		set_local(c->mirror, from, &to->route, false);
		break;
	case RTN_UNICAST:
		if (!set_next_hop(c->mirror, from, &to->route))
			return;
		break;
	default:
		to->route.kind = ROUTE_NONE;
	}
	/* Tables that are asked by rules only concern realms alone: VRFs have their routes there. */
	c->n += c->table_order != ORDER_OTHER || to->route.realm != 0;
}

/* Realm by realm; shorter prefixes first within an address, so that whatever covers a route stands before it. */
static int compare(const void *a, const void *b)
{
	const struct candidate *x = a, *y = b;
	const uint32_t keys[][2] = {
		{x->route.realm, y->route.realm},
		{x->route.prefix, y->route.prefix},
		{x->route.length, y->route.length},
		{x->table_order, y->table_order},
		{x->priority, y->priority},
	};

	for (unsigned i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
		if (keys[i][0] != keys[i][1])
			return keys[i][0] < keys[i][1] ? -1 : 1;
	return 0;
}

/* Whether `cover` is there and holds what `c` leads to. */
static bool covers(const struct candidate *cover, const struct candidate *c)
{
	return cover != NULL && cover->route.realm == c->route.realm &&
	       (c->route.prefix & mask_of(cover->route.length)) == cover->route.prefix;
}

/* Fills the set from the sorted candidates; false when they do not fit. Left out are further routes to the same prefix,
 * and those inside a prefix of an earlier table: the kernel never gets to them. */
static bool choose(const struct collection *c, struct route_set *set)
{
	const struct candidate *cover = NULL; /* the last, so the widest open, prefix of the first table */

	set->n = 0;
	for (uint32_t i = 0; i < c->n; i++) {
		const struct candidate *this = &c->candidate[i];
		const struct route *last = set->n ? &set->route[set->n - 1] : NULL;

		if (last != NULL && last->realm == this->route.realm && last->prefix == this->route.prefix &&
			last->length == this->route.length)
			continue;
		if (cover != NULL && this->table_order > cover->table_order && covers(cover, this))
			continue;
		if (set->n == ROUTES_MAX)
			return false;
		set->route[set->n++] = this->route;
		if (this->table_order == ORDER_LOCAL && !covers(cover, this))
			cover = this;
	}
	return true;
}

static bool is_in_force(struct nexthop *nh, const struct route_set *set)
{
	uint32_t generation = atomic_load_explicit(&nh->generation, memory_order_relaxed);
	const struct route_set *old = &nh->routes[generation & 1];

	return generation != 0 && old->n == set->n &&
	       memcmp(old->route, set->route, set->n * sizeof(set->route[0])) == 0;
}

static int collect(struct mirror *m, struct collection *c)
{
	static const uint32_t tables[] = {
		[ORDER_LOCAL] = RT_TABLE_LOCAL, [ORDER_MAIN] = RT_TABLE_MAIN, [ORDER_OTHER] = RT_TABLE_UNSPEC};
	static const struct netlink_visitor visitor = {.route = on_route};

	c->mirror = m;
	for (c->table_order = 0; c->table_order < sizeof(tables) / sizeof(tables[0]); c->table_order++) {
		int err = netlink_dump_routes(m->netlink, tables[c->table_order], &visitor, c);

		if (err != 0)
			return err;
	}
	return 0;
}

static void publish(struct mirror *m, struct collection *c)
{
	struct route_set *set = nexthop_spare_routes(m->nh);
	bool fits;

	qsort(c->candidate, c->n, sizeof(c->candidate[0]), compare);
	fits = choose(c, set) && c->left_out == 0;
	if (!fits && !m->too_many_routes)
		log_error("routes: %u in the kernel, but engines take %d at most; those in force "
			  "stay. "
			  "Give the appliance a default route and fewer others",
			c->n + c->left_out, ROUTES_MAX);
	m->too_many_routes = !fits;
	if (fits && !is_in_force(m->nh, set)) {
		nexthop_publish_routes(m->nh);
		log_debug("routes: %u published", set->n);
	}
}

int mirror_read_routes(struct mirror *m)
{
	struct collection *c = calloc(1, sizeof(*c));
	int err = c == NULL ? -ENOMEM : collect(m, c);

	if (err == 0)
		publish(m, c);
	free(c);
	return err;
}
