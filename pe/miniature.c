#include "pe/miniature.h"

#include "common/log.h"
#include "shm/nexthop.h"
#include "shm/snapshot.h"

#include <stdlib.h>

/* Addresses and MACs are those for documentation (RFC 5737, RFC 7042). */
static const struct {
	be32_t address;
	struct link_header link;
} routers[N_SIDES] = {
	[SIDE_INSIDE] = {{0x020200c0},
		{{2, 0, 0, 0, 1, 2}, {2, 0, 0, 0, 1, 1}, 1500, SIDE_INSIDE, ADJACENCY_RESOLVED, 0}},
	[SIDE_OUTSIDE] = {{0x010200c0},
		{{2, 0, 0, 0, 2, 2}, {2, 0, 0, 0, 2, 1}, 1500, SIDE_OUTSIDE, ADJACENCY_RESOLVED, 0}},
};

/* The same router inside in every realm. */
static void add_realm(
	struct nexthop *nh, struct route_set *set, uint16_t vlan, const struct prefix *prefixes, uint32_t n)
{
	struct link_header link = routers[SIDE_INSIDE].link;

	link.vlan = vlan;
	nexthop_set_adjacency(nh, routers[SIDE_INSIDE].address, &link);
	for (uint32_t i = 0; i < n; i++)
		set->route[set->n++] = (struct route){.prefix = prefixes[i].addr,
			.gateway = be32_host(routers[SIDE_INSIDE].address),
			.length = prefixes[i].len,
			.kind = ROUTE_GATEWAY,
			.side = SIDE_INSIDE,
			.realm = vlan};
}

static void add_routes(struct arena *a, const struct config *c)
{
	struct nexthop *nh = arena_region(a, ARENA_nexthop);
	struct route_set *set = nexthop_spare_routes(nh);

	nexthop_set_adjacency(nh, routers[SIDE_OUTSIDE].address, &routers[SIDE_OUTSIDE].link);
	set->n = 0;
	set->route[set->n++] = (struct route){
		.gateway = be32_host(routers[SIDE_OUTSIDE].address), .kind = ROUTE_GATEWAY, .side = SIDE_OUTSIDE};
	add_realm(nh, set, 0, c->net.prefixes, c->net.n_prefixes);
	for (uint32_t i = 0; i < c->n_realms; i++)
		add_realm(nh, set, c->realms[i].vlan, c->realms[i].prefixes, c->realms[i].n_prefixes);
	nexthop_publish_routes(nh);
}

static bool put_in_force(struct arena *a, const struct config *c)
{
	struct snapshot *s = calloc(1, sizeof *s);
	struct config_error err = {"no memory for the configuration"};
	bool ok = s && snapshot_compile(a, c, s, &err) && snapshot_commit(a, s) > 0;

	if (!ok)
		log_error("%s", err.text);
	free(s);
	return ok;
}

bool miniature_fill(struct arena *a, const struct config *c)
{
	if (!put_in_force(a, c))
		return false;
	add_routes(a, c);
	return true;
}

struct arena *miniature_open(const struct config *c, uint64_t seed)
{
	struct arena_geometry g = arena_plan(c);
	struct arena_error err;
	struct arena *a = arena_open_private(&g, seed, &err);

	if (!a) {
		log_error("%s", err.text);
		return NULL;
	}
	if (!miniature_fill(a, c)) {
		arena_close(a);
		return NULL;
	}
	return a;
}
