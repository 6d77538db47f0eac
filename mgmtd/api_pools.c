/* GET /pools: ports in use, by pool and address, from the port tables of the configuration in force. */
#include "mgmtd/api.h"
#include "shm/snapshot.h"

#include <microhttpd.h>
#include <stdlib.h>

struct snapshot *api_snapshot(const struct api *api)
{
	struct snapshot *s = malloc(sizeof *s);

	if (s && !snapshot_read(api->arena, s)) {
		free(s);
		s = NULL;
	}
	return s;
}

/* NULL for an address that is not in force. The snapshot lists addresses in the order of the configuration, so the
 * one after the last found, *at, is looked at first. */
static const struct port_table *table_of(
	const struct api *api, const struct snapshot *in_force, uint32_t host, uint32_t *at)
{
	be32_t address = be32_of(host);

	for (uint32_t n = 0; n < in_force->n_addresses; n++) {
		uint32_t i = (*at + n) % in_force->n_addresses;
		const struct snapshot_address *a = &in_force->addresses[i];

		if (a->address.net != address.net)
			continue;
		*at = i + 1;
		return slab_valid(api->arena, SLAB_port_table, a->ports) ? port_table_at(api->arena, a->ports) : NULL;
	}
	return NULL;
}

/* Calls `each` with every address of the pool that is in force. */
static void walk_addresses(const struct api *api, const struct snapshot *in_force, const struct config_pool *p,
	void (*each)(void *context, be32_t address, const struct port_table *t), void *context)
{
	uint32_t at = 0;

	for (uint32_t r = 0; r < p->n_ranges; r++) {
		for (uint64_t host = p->ranges[r].first; host <= p->ranges[r].last; host++) {
			const struct port_table *t = table_of(api, in_force, (uint32_t)host, &at);

			if (t)
				each(context, be32_of((uint32_t)host), t);
		}
	}
}

static void add_use(void *context, be32_t address, const struct port_table *t)
{
	struct pool_use *use = context;

	(void)address;
	use->total++;
	use->used += ports_used(t, PORTS_TCP) + ports_used(t, PORTS_OTHER);
}

struct pool_use pool_use(const struct api *api, const struct snapshot *in_force, const struct config_pool *p)
{
	struct pool_use use = {0};

	walk_addresses(api, in_force, p, add_use, &use);
	use.total *= (uint64_t)N_PORT_SETS * (in_force->port_last - in_force->port_first + 1u);
	return use;
}

static void add_row(void *context, be32_t address, const struct port_table *t)
{
	struct json_object *rows = context, *o = json_object_new_object();
	char text[INET_ADDRSTRLEN];

	inet_ntop(AF_INET, &address.net, text, sizeof text);
	json_object_object_add(o, "address", json_object_new_string(text));
	json_object_object_add(o, "tcp_used", json_object_new_uint64(ports_used(t, PORTS_TCP)));
	json_object_object_add(o, "other_used", json_object_new_uint64(ports_used(t, PORTS_OTHER)));
	json_object_array_add(rows, o);
}

static struct json_object *pool_row(const struct api *api, const struct snapshot *in_force, const struct config_pool *p)
{
	struct json_object *o = json_object_new_object(), *rows = json_object_new_array();
	struct pool_use use = pool_use(api, in_force, p);

	walk_addresses(api, in_force, p, add_row, rows);
	json_object_object_add(o, "name", json_object_new_string(p->name));
	json_object_object_add(o, "ports_total", json_object_new_uint64(use.total));
	json_object_object_add(o, "ports_used", json_object_new_uint64(use.used));
	json_object_object_add(o, "addresses", rows);
	return o;
}

struct reply api_pools(const struct request *rq)
{
	const struct api *api = rq->api;
	struct snapshot *in_force = api_snapshot(api);

	if (!in_force)
		return reply_problem(MHD_HTTP_SERVICE_UNAVAILABLE, "no configuration is in force yet; try again");

	struct json_object *o = json_object_new_object(), *rows = json_object_new_array();

	for (uint32_t p = 0; p < api->config->n_pools; p++)
		json_object_array_add(rows, pool_row(api, in_force, &api->config->pools[p]));
	json_object_object_add(o, "pools", rows);
	free(in_force);
	return reply_json(MHD_HTTP_OK, o);
}
