/* GET /pools: ports in use, by pool and address, from the port tables of the configuration in force. */
#include "mgmtd/api.h"
#include "shm/snapshot.h"

#include <microhttpd.h>
#include <stdlib.h>
#include <string.h>

struct snapshot *api_snapshot(const struct api *api)
{
	struct snapshot *s = malloc(sizeof *s);

	if (s && !snapshot_read(api->arena, s)) {
		free(s);
		s = NULL;
	}
	return s;
}

/* Calls `each` with every address of the pool that is in force: those that give new mappings first. */
static void walk_addresses(const struct api *api, const struct snapshot *in_force, const struct config_pool *p,
	void (*each)(void *context, be32_t address, const struct port_table *t), void *context)
{
	for (uint32_t i = 0; i < in_force->n_addresses; i++) {
		const struct snapshot_address *a = &in_force->addresses[i];

		if (ranges_find(p->ranges, p->n_ranges, be32_host(a->address)) &&
			slab_valid(api->arena, SLAB_port_table, a->ports))
			each(context, a->address, port_table_at(api->arena, a->ports));
	}
}

static void add_use(void *context, be32_t address, const struct port_table *t)
{
	struct pool_use *use = context;

	(void)address;
	use->total++;
	for (int set = 0; set < N_PORT_SETS; set++)
		use->used += ports_used(t, set, 0).taken;
}

struct pool_use pool_use(const struct api *api, const struct snapshot *in_force, const struct config_pool *p)
{
	struct pool_use use = {0};

	walk_addresses(api, in_force, p, add_use, &use);
	use.total *= (uint64_t)N_PORT_SETS * (in_force->port_last - in_force->port_first + 1u);
	return use;
}

struct pool_rows {
	const struct config_pool *pool;
	struct json_object *rows;
};

static struct json_object *address_row(be32_t address, uint32_t tcp, uint32_t other)
{
	struct json_object *o = json_object_new_object();
	char text[INET_ADDRSTRLEN];

	inet_ntop(AF_INET, &address.net, text, sizeof text);
	json_object_object_add(o, "address", json_object_new_string(text));
	json_object_object_add(o, "tcp_used", json_object_new_uint64(tcp));
	json_object_object_add(o, "other_used", json_object_new_uint64(other));
	return o;
}

static void add_row(void *context, be32_t address, const struct port_table *t)
{
	const struct pool_rows *to = context;
	const struct config_pool *p = to->pool;
	struct json_object *o =
		address_row(address, ports_used(t, PORTS_TCP, 0).taken, ports_used(t, PORTS_OTHER, 0).taken);

	if (ranges_find(p->drain, p->n_drain, be32_host(address)))
		json_object_object_add(o, "draining", json_object_new_boolean(true));
	json_object_array_add(to->rows, o);
}

static struct json_object *pool_row(const struct api *api, const struct snapshot *in_force, const struct config_pool *p)
{
	struct json_object *o = json_object_new_object(), *rows = json_object_new_array();
	struct pool_use use = pool_use(api, in_force, p);

	walk_addresses(api, in_force, p, add_row, &(struct pool_rows){p, rows});
	json_object_object_add(o, "name", json_object_new_string(p->name));
	json_object_object_add(o, "ports_total", json_object_new_uint64(use.total));
	json_object_object_add(o, "ports_used", json_object_new_uint64(use.used));
	json_object_object_add(o, "addresses", rows);
	return o;
}

static uint32_t used_in(const struct api *api, const struct snapshot_address *a, enum port_set set)
{
	uint32_t table[1 + SNAPSHOT_OLDER_MAX] = {a->ports}, used = 0;

	memcpy(&table[1], a->older, sizeof a->older);
	for (unsigned i = 0; i < 1 + SNAPSHOT_OLDER_MAX; i++)
		if (table[i] && slab_valid(api->arena, SLAB_port_table, table[i]))
			used += ports_used(port_table_at(api->arena, table[i]), set, 0).taken;
	return used;
}

/* What was removed, and drains. */
static struct json_object *leaving_rows(const struct api *api, const struct snapshot *in_force)
{
	struct json_object *rows = json_object_new_array();

	for (uint32_t i = 0; i < in_force->n_leaving; i++) {
		const struct snapshot_address *a = &in_force->addresses[in_force->n_addresses + i];

		json_object_array_add(
			rows, address_row(a->address, used_in(api, a, PORTS_TCP), used_in(api, a, PORTS_OTHER)));
	}
	return rows;
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
	json_object_object_add(o, "leaving", leaving_rows(api, in_force));
	free(in_force);
	return reply_json(MHD_HTTP_OK, o);
}
