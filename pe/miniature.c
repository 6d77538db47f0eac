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
	[SIDE_INSIDE] = {{0x020200c0}, {{2, 0, 0, 0, 1, 2}, {2, 0, 0, 0, 1, 1}, 1500, SIDE_INSIDE, ADJACENCY_RESOLVED}},
	[SIDE_OUTSIDE] = {{0x010200c0},
		{{2, 0, 0, 0, 2, 2}, {2, 0, 0, 0, 2, 1}, 1500, SIDE_OUTSIDE, ADJACENCY_RESOLVED}},
};

static void add_routes(struct arena *a, const struct config *c)
{
	struct nexthop *nh = arena_region(a, ARENA_nexthop);
	struct route_set *set = nexthop_spare_routes(nh);

	for (int side = 0; side < N_SIDES; side++)
		nexthop_set_adjacency(nh, routers[side].address, &routers[side].link);
	set->n = 0;
	set->route[set->n++] =
		(struct route){0, be32_host(routers[SIDE_OUTSIDE].address), 0, ROUTE_GATEWAY, SIDE_OUTSIDE, 0};
	for (uint32_t i = 0; i < c->net.n_prefixes; i++) {
		const struct prefix *p = &c->net.prefixes[i];

		set->route[set->n++] = (struct route){
			p->addr, be32_host(routers[SIDE_INSIDE].address), p->len, ROUTE_GATEWAY, SIDE_INSIDE, 0};
	}
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
