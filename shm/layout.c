#include "shm/layout.h"

#include "shm/clear.h"
#include "shm/engine.h"
#include "shm/fragments.h"
#include "shm/global_table.h"
#include "shm/local_table.h"
#include "shm/nexthop.h"
#include "shm/port_view.h"
#include "shm/snapshot.h"

#include <string.h>
#include <xxhash.h>

struct layout_row {
	const char *structure, *field; /* field NULL: the structure itself */
	uint32_t offset, size;
};

#define S(s) {#s, NULL, 0, sizeof(struct s)},
#define F(s, f) {#s, #f, offsetof(struct s, f), sizeof(((struct s *)NULL)->f)},
/* Padding and reserved bytes are what lies between the rows. */
static const struct layout_row rows[] = {
	/* clang-format off */
	S(arena_header)
	F(arena_header, magic)
	F(arena_header, version_major)
	F(arena_header, version_minor)
	F(arena_header, layout)
	F(arena_header, bytes)
	F(arena_header, seed)
	F(arena_header, geometry)
	F(arena_header, created_ns)
	F(arena_header, region)
	F(arena_header, config_generation)
	S(actor)
	F(actor, pid)
	F(actor, incarnation)
	F(actor, heartbeat_ns)
	F(actor, config_ack)
	F(actor, routes_ack)
	F(actor, cpu)
	F(actor, clear_done)
	F(actor, io)
	F(actor, intent)
	F(actor, slab)
	F(actor, counters)
	F(actor, verdicts)
	S(intent)
	F(intent, step)
	F(intent, session)
	F(intent, mapping)
	F(intent, old_refs)
	F(intent, port)
	S(slab)
	F(slab, partial)
	F(slab, pages)
	F(slab, used)
	F(slab, hint)
	F(slab, remote)
	F(slab, lock)
	S(page)
	F(page, owner)
	F(page, used)
	F(page, free)
	F(page, next)
	F(page, prev)
	F(page, cut)
	F(page, top)
	S(session)
	F(session, generation)
	F(session, link)
	F(session, timeout)
	F(session, inside)
	F(session, remote)
	F(session, nat)
	F(session, inside_port)
	F(session, remote_port)
	F(session, nat_port)
	F(session, realm)
	F(session, l3_delta)
	F(session, l4_delta)
	F(session, next_hop)
	F(session, mapping)
	F(session, refs)
	F(session, adopters)
	F(session, birth)
	F(session, l4)
	F(session, owner)
	F(session, flags)
	F(session, tcp)
	F(session, state)
	S(port_table)
	F(port_table, generation)
	F(port_table, link)
	F(port_table, address)
	F(port_table, basis)
	F(port_table, chunk)
	F(port_table, unheld)
	F(port_table, block)
	F(port_table, block_of)
	S(port_view)
	F(port_view, generation)
	F(port_view, link)
	F(port_view, table)
	F(port_view, version)
	F(port_view, empty_until_ns)
	F(port_view, rest_at)
	F(port_view, some)
	F(port_view, maybe)
	F(port_view, has)
	F(port_view, rests)
	S(local_bucket)
	F(local_bucket, entry)
	S(global_bucket)
	F(global_bucket, lock)
	F(global_bucket, entry)
	S(fragment_set)
	F(fragment_set, entry)
	S(fragment_entry)
	F(fragment_entry, seq)
	F(fragment_entry, expires_ns)
	F(fragment_entry, word)
	S(fragment)
	F(fragment, key)
	F(fragment, address)
	F(fragment, session)
	F(fragment, generation)
	F(fragment, id)
	F(fragment, realm)
	S(fragment_key)
	F(fragment_key, src)
	F(fragment_key, dst)
	F(fragment_key, id)
	F(fragment_key, protocol)
	F(fragment_key, dir)
	F(fragment_key, realm)
	S(clear_ring)
	F(clear_ring, last)
	F(clear_ring, slot)
	S(clear_slot)
	F(clear_slot, number)
	F(clear_slot, word)
	S(session_filter)
	F(session_filter, inside)
	F(session_filter, nat)
	F(session_filter, remote)
	F(session_filter, inside_port)
	F(session_filter, nat_port)
	F(session_filter, remote_port)
	F(session_filter, l4)
	F(session_filter, fields)
	F(session_filter, until)
	F(session_filter, realm)
	S(snapshot)
	F(snapshot, generation)
	F(snapshot, engines)
	F(snapshot, n_prefixes)
	F(snapshot, n_addresses)
	F(snapshot, n_ranges)
	F(snapshot, n_pools)
	F(snapshot, n_rules)
	F(snapshot, n_static)
	F(snapshot, timeout_s)
	F(snapshot, port_first)
	F(snapshot, port_last)
	F(snapshot, udp_inbound_refresh)
	F(snapshot, syn_hold_s)
	F(snapshot, refusal)
	F(snapshot, icmp_rate)
	F(snapshot, mss_clamp)
	F(snapshot, fragments_held)
	F(snapshot, fragments_per_source)
	F(snapshot, fragment_timeout_s)
	F(snapshot, rss)
	F(snapshot, prefixes)
	F(snapshot, ranges)
	F(snapshot, pools)
	F(snapshot, addresses)
	F(snapshot, rules)
	F(snapshot, static_by_inside)
	F(snapshot, static_by_nat)
	S(snapshot_address)
	F(snapshot_address, address)
	F(snapshot_address, ports)
	S(snapshot_pool)
	F(snapshot_pool, first)
	F(snapshot_pool, n)
	F(snapshot_pool, usable)
	S(snapshot_rule)
	F(snapshot_rule, inside)
	F(snapshot_rule, inside_mask)
	F(snapshot_rule, remote)
	F(snapshot_rule, remote_mask)
	F(snapshot_rule, port_first)
	F(snapshot_rule, port_last)
	F(snapshot_rule, protocols)
	F(snapshot_rule, action)
	F(snapshot_rule, mapping)
	F(snapshot_rule, filtering)
	F(snapshot_rule, pooling)
	F(snapshot_rule, pool)
	F(snapshot_rule, timeout)
	F(snapshot_rule, realm)
	F(snapshot_rule, realm_mask)
	S(snapshot_static)
	F(snapshot_static, inside)
	F(snapshot_static, nat)
	F(snapshot_static, inside_port)
	F(snapshot_static, nat_port)
	F(snapshot_static, ports)
	F(snapshot_static, l4)
	F(snapshot_static, realm)
	S(rss)
	F(rss, mode)
	F(rss, key)
	F(rss, key_size)
	F(rss, table_len)
	F(rss, table)
	S(snapshot_prefix)
	F(snapshot_prefix, realm)
	F(snapshot_prefix, addr)
	F(snapshot_prefix, len)
	S(address_range)
	F(address_range, first)
	F(address_range, last)
	S(nexthop)
	F(nexthop, generation)
	F(nexthop, routes)
	F(nexthop, ring)
	F(nexthop, adjacency)
	S(route_set)
	F(route_set, n)
	F(route_set, route)
	S(route)
	F(route, prefix)
	F(route, gateway)
	F(route, length)
	F(route, kind)
	F(route, side)
	F(route, realm)
	S(nexthop_ring)
	F(nexthop_ring, head)
	F(nexthop_ring, tail)
	F(nexthop_ring, request)
	S(nexthop_request)
	F(nexthop_request, address)
	F(nexthop_request, side)
	F(nexthop_request, realm)
	S(adjacency)
	F(adjacency, seq)
	F(adjacency, address)
	F(adjacency, address_word)
	F(adjacency, link)
	F(adjacency, link_word)
	F(adjacency, used)
	S(link_header)
	F(link_header, dst)
	F(link_header, src)
	F(link_header, mtu)
	S(arena_geometry)
	F(arena_geometry, engines)
	F(arena_geometry, sessions)
	F(arena_geometry, pages)
	F(arena_geometry, local_buckets)
	F(arena_geometry, global_buckets)
	F(arena_geometry, mapping_buckets)
	/* clang-format on */
};
#undef F
#undef S

enum { N_ROWS = sizeof rows / sizeof rows[0] };

uint32_t arena_layout(void)
{
	enum { HASH_AT = 4, CLASSES_AT, ROWS_AT = CLASSES_AT + N_SLAB_CLASSES };
	uint32_t numbers[ROWS_AT + N_ROWS][2] = {{N_COUNTERS, N_VERDICTS}, {N_SLAB_CLASSES, ARENA_PAGE},
		{ENGINE_MAX, ACTOR_MAX}, {N_ARENA_REGIONS, ROUTES_MAX}};

	/* Tables filled by another hash are of no use. */
	uint64_t hash = flow_key_hash((struct flow_key){1, 2}, 3);

	memcpy(numbers[HASH_AT], &hash, sizeof hash);
	for (unsigned c = 0; c < N_SLAB_CLASSES; c++) {
		numbers[CLASSES_AT + c][0] = slab_bytes[c];
		numbers[CLASSES_AT + c][1] = slab_whose[c];
	}
	for (unsigned i = 0; i < N_ROWS; i++) {
		numbers[ROWS_AT + i][0] = rows[i].offset;
		numbers[ROWS_AT + i][1] = rows[i].size;
	}
	return (uint32_t)XXH3_64bits(numbers, sizeof numbers);
}

void layout_print(FILE *to)
{
	fprintf(to, "# The arena, byte by byte\n\n"
		    "Printed by `corenatctl arena map`; a test holds this page against the code. Offsets and sizes are "
		    "in bytes.\n"
		    "What each field means and who may touch it is said beside it in `shm/`.\n");
	for (unsigned i = 0; i < N_ROWS; i++) {
		const struct layout_row *r = &rows[i];

		if (r->field)
			fprintf(to, "| %u | %u | `%s` |\n", r->offset, r->size, r->field);
		else
			fprintf(to, "\n## struct %s: %u bytes\n\n| offset | size | field |\n| ---: | ---: | --- |\n",
				r->structure, r->size);
	}
}
