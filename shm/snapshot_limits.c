/* What is compiled of the limits of subscribers. */
#include "shm/snapshot_internal.h"

#include <assert.h>
#include <string.h>

uint32_t snapshot_group_of(const struct snapshot *s, struct subscriber_key key)
{
	const struct snapshot_hold *h = s->holds;
	uint32_t host = be32_host(key.inside);

	while (((key.realm ^ h->realm) & h->realm_mask) || ((host ^ h->inside) & h->inside_mask))
		h++;
	return h->group;
}

static uint32_t limit_of(uint64_t units)
{
	return units && units < QUOTA_UNLIMITED ? (uint32_t)units : QUOTA_UNLIMITED;
}

static struct limits limits_of(const struct config_limits *l)
{
	struct limits out = {.per_s = l->new_sessions_per_s, .reserved = l->reserved_ports};

	out.of[QUOTA_sessions] = limit_of(l->sessions);
	out.of[QUOTA_tcp_ports] = limit_of(l->tcp_ports);
	out.of[QUOTA_udp_ports] = limit_of(l->udp_ports);
	out.of[QUOTA_icmp_ids] = limit_of(l->icmp_ids);
	out.of[QUOTA_memory] = limit_of((uint64_t)l->memory_kib * 1024 / QUOTA_MEMORY_UNIT);
	out.of[QUOTA_rate] = limit_of(l->burst ? l->burst : l->new_sessions_per_s);
	return out;
}

static uint32_t mask_of(struct prefix p)
{
	return p.len == 0 ? 0 : UINT32_MAX << (32 - p.len);
}

static void add_group(struct snapshot *s, const struct config_limits *l, int realm)
{
	static const struct prefix any;
	struct snapshot_group *g = &s->groups[s->n_groups];
	const struct prefix *inside = l->n_inside ? l->inside : &any;

	g->limits = limits_of(l);
	g->n_reserved_for = l->n_reserved_for;
	memcpy(g->reserved_for, l->reserved_for, sizeof g->reserved_for);
	for (uint32_t i = 0; i < (l->n_inside ? l->n_inside : 1); i++) {
		assert(s->n_holds < SNAPSHOT_HOLDS_MAX);
		s->holds[s->n_holds++] = (struct snapshot_hold){
			.inside = inside[i].addr,
			.inside_mask = mask_of(inside[i]),
			.realm = (uint16_t)(realm < 0 ? 0 : realm),
			.realm_mask = realm < 0 ? 0 : UINT16_MAX,
			.group = s->n_groups,
		};
	}
	s->n_groups++;
}

void snapshot_add_limits(struct snapshot *s, const struct config *c)
{
	static const struct config_limits rest;

	for (uint32_t i = 0; i < c->n_limits; i++) {
		struct config_limits whole = config_limits_whole(c, i);

		add_group(s, &whole, config_limits_realm(c, &whole));
	}
	add_group(s, &rest, -1);
}
