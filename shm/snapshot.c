#include "shm/shared_slab.h"
#include "shm/snapshot_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct snapshot *slot_of(const struct arena *a, uint32_t generation)
{
	return (struct snapshot *)arena_region(a, ARENA_snapshots) + (generation & 1);
}

/* ---- port tables ---- */

/* The tables there are, by address. */
struct tables {
	struct table_of {
		uint32_t host, index;
	} * at;
	uint32_t n;
};

static int by_host(const void *x, const void *y)
{
	const struct table_of *a = x, *b = y;

	if (a->host != b->host)
		return a->host < b->host ? -1 : 1;
	return a->index < b->index ? -1 : a->index > b->index;
}

static bool tables_list(const struct arena *a, struct tables *out)
{
	uint32_t i = 0, room = 0;

	while ((i = slab_next_live(a, SLAB_port_table, i + 1)))
		room++;
	*out = (struct tables){malloc((room + 1) * sizeof *out->at), 0};
	while (out->at && out->n < room && (i = slab_next_live(a, SLAB_port_table, i + 1)))
		out->at[out->n++] = (struct table_of){be32_host(port_table_at(a, i)->address), i};
	if (out->at)
		qsort(out->at, out->n, sizeof *out->at, by_host);
	return out->at != NULL;
}

static const struct table_of *tables_first(const struct tables *list, uint32_t host)
{
	uint32_t lo = 0, hi = list->n;

	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;

		if (list->at[mid].host < host)
			lo = mid + 1;
		else
			hi = mid;
	}
	return &list->at[lo];
}

static bool is_in_use(const struct port_table *t)
{
	return ports_used(t, PORTS_TCP, 0).taken || ports_used(t, PORTS_OTHER, 0).taken;
}

struct table_build {
	be32_t address;
	const struct port_basis *basis;
};

static void port_table_build(void *object, void *context)
{
	const struct table_build *b = context;
	struct port_table *t = object;

	memset((uint8_t *)t + offsetof(struct port_table, address), 0,
		sizeof *t - offsetof(struct port_table, address));
	t->address = b->address;
	t->basis = *b->basis;
	memset((void *)t->unheld, 0xff, sizeof t->unheld);
}

static bool is_configured(const struct config *c, uint32_t host)
{
	for (uint32_t i = 0; i < c->n_pools; i++) {
		const struct config_pool *p = &c->pools[i];

		if (ranges_find(p->ranges, p->n_ranges, host) && !ranges_find(p->exclude, p->n_exclude, host))
			return true;
	}
	return false;
}

/* No page is left for a table more: the addresses that fit are those that have one. Tables of addresses that left the
 * configuration stay, and do not count. */
static bool refuse_addresses(
	const struct arena *a, const struct config *c, const struct snapshot *s, struct config_error *err)
{
	uint32_t fit = 0;

	if (s->n_addresses && s->addresses[s->n_addresses - 1].ports) {
		snprintf(err->text, sizeof err->text,
			"pools: the order of ports changed more than %d times while ports given out in the first order "
			"are "
			"still in use; wait until these have ended, or end them with `corenatctl sessions clear`",
			SNAPSHOT_OLDER_MAX);
		return false;
	}
	for (uint32_t i = 0; (i = slab_next_live(a, SLAB_port_table, i + 1));)
		fit += is_configured(c, be32_host(port_table_at(a, i)->address));
	snprintf(err->text, sizeof err->text,
		"pools: no arena page left: port tables of %u of these %u addresses fit; name at most %u, or remove "
		"the arena (`corenatctl arena remove`) so that it is made anew for all of them",
		fit, config_address_count(c), fit);
	return false;
}

/* Its table in the pool's order, and others that are in use still. False: no page left, or a third order. */
static bool add_address(struct arena *a, const struct tables *list, struct snapshot *s, uint32_t order, uint32_t host)
{
	struct table_build build = {be32_of(host), &s->basis[order]};
	struct snapshot_address *x = &s->addresses[s->n_addresses++];
	const struct table_of *end = list->at + list->n;
	unsigned older = 0;

	*x = (struct snapshot_address){.address = build.address};
	for (const struct table_of *at = tables_first(list, host); at < end && at->host == host; at++) {
		const struct port_table *t = port_table_at(a, at->index);

		if (!x->ports && port_basis_equal(&t->basis, build.basis))
			x->ports = at->index;
		else if (is_in_use(t) && older++ < SNAPSHOT_OLDER_MAX)
			x->older[older - 1] = at->index;
	}
	if (!x->ports)
		x->ports = shared_make(a, ACTOR_MGMTD, SLAB_port_table, port_table_build, &build);
	return x->ports && older <= SNAPSHOT_OLDER_MAX;
}

/* Either those of the pool's pieces that give new mappings, or the others. */
static bool add_addresses(
	struct arena *a, const struct tables *list, const struct config_pool *p, bool usable, struct snapshot *s)
{
	uint32_t order = s->pools[s->n_pools - 1].order;
	struct address_range piece;
	uint32_t range = 0;
	uint64_t at = 0;

	while (config_pool_next(p, &range, &at, &piece))
		for (uint64_t host = piece.first; host <= piece.last; host++) {
			bool kept = ranges_find(p->drain, p->n_drain, (uint32_t)host) ||
				    snapshot_is_taken(s, (uint32_t)host);

			if (kept != usable && !add_address(a, list, s, order, (uint32_t)host))
				return false;
		}
	return true;
}

/* The rules that use the pool agree (config_check). One that no rule uses is as nat.ports says. */
static uint32_t order_of(const struct snapshot *s, const struct config *c, uint32_t pool)
{
	for (uint32_t i = 0; i < c->n_rules; i++)
		if (c->rules[i].overflow[0] && config_pool_find(c, c->rules[i].overflow) == pool)
			return PORT_ORDER_PLAIN;
	for (uint32_t i = 0; i < s->n_rules; i++)
		if (s->rules[i].pool == pool && s->rules[i].action == ACTION_TRANSLATE)
			return s->rules[i].ports == PORTS_SHUFFLED ? PORT_ORDER_SHUFFLED : PORT_ORDER_PLAIN;
	return c->nat.ports == PORTS_SHUFFLED ? PORT_ORDER_SHUFFLED : PORT_ORDER_PLAIN;
}

static bool add_pool(struct arena *a, const struct tables *list, const struct config *c, struct snapshot *s)
{
	const struct config_pool *p = &c->pools[s->n_pools];
	struct snapshot_pool *pool = &s->pools[s->n_pools];
	uint32_t range = 0;
	uint64_t at = 0;

	pool->order = order_of(s, c, s->n_pools++);
	pool->block_size = p->block_size;
	pool->blocks_max = p->blocks_max;
	pool->block_hold_s = p->block_hold_s;
	pool->active_block_s = p->active_block_s;
	while (config_pool_next(p, &range, &at, &s->ranges[s->n_ranges]))
		s->n_ranges++;
	pool->first = s->n_addresses;
	if (!add_addresses(a, list, p, true, s))
		return false;
	pool->usable = s->n_addresses - pool->first;
	if (!add_addresses(a, list, p, false, s))
		return false;
	pool->n = s->n_addresses - pool->first;
	return true;
}

/* Of the configuration in force, if there is one: see classes_in_use. */
static void keep_rule_timeouts(const struct arena *a, struct snapshot *out)
{
	uint32_t in_force = atomic_load_explicit(&a->header->config_generation, memory_order_acquire);

	for (unsigned class = TIMEOUT_RULE_FIRST; in_force && class < N_TIMEOUTS; class ++)
		out->timeout_s[class] = slot_of(a, in_force)->timeout_s[class];
}

static bool add_pools(struct arena *a, const struct config *c, struct snapshot *out, struct config_error *err)
{
	struct tables list;
	bool ok = tables_list(a, &list);

	for (uint32_t p = 0; ok && p < c->n_pools; p++)
		ok = add_pool(a, &list, c, out);
	free(list.at);
	return ok ? true : refuse_addresses(a, c, out, err);
}

bool snapshot_compile(struct arena *a, const struct config *c, struct snapshot *out, struct config_error *err)
{
	uint32_t made_for = a->header->geometry.engines;

	assert(config_address_count(c) <= CONFIG_ADDRESSES_MAX);
	if (c->arena.engines > made_for) {
		snprintf(err->text, sizeof err->text,
			"arena.engines: %u, but the arena was made for %u; remove it with `corenatctl arena remove` "
			"first, "
			"or say at most %u",
			c->arena.engines, made_for, made_for);
		return false;
	}
	memset(out, 0, sizeof *out);
	snapshot_add_values(out, c);
	keep_rule_timeouts(a, out);
	snapshot_add_subscribers(out, c);
	snapshot_add_rules(out, c);
	snapshot_add_statics(out, c);
	snapshot_add_limits(out, c);
	if (!add_pools(a, c, out, err))
		return false;
	snapshot_add_deterministic(out, c);
	return true;
}

/* ---- commit and pick-up ---- */

/* True when no living engine still reads the generation before the one in force. */
static bool spare_is_free(const struct arena *a, uint32_t in_force)
{
	for (unsigned e = 0; e < a->header->geometry.engines; e++) {
		uint32_t ack = atomic_load_explicit(&actor_of(a, e)->config_ack, memory_order_acquire);

		if (ack != in_force && arena_claimed(a, e))
			return false;
	}
	return true;
}

int64_t snapshot_commit(struct arena *a, const struct snapshot *s)
{
	_Atomic uint32_t *generation = &a->header->config_generation;
	uint32_t in_force = atomic_load_explicit(generation, memory_order_relaxed);

	if (in_force && !spare_is_free(a, in_force))
		return -EBUSY;
	struct snapshot *slot = slot_of(a, in_force + 1);

	/* Nothing written there is seen before the generation that retired it. */
	atomic_thread_fence(memory_order_release);
	memcpy(slot, s, sizeof *slot);
	slot->generation = in_force + 1;
	atomic_store_explicit(generation, in_force + 1, memory_order_release);
	return in_force + 1;
}

bool snapshot_read(const struct arena *a, struct snapshot *out)
{
	_Atomic uint32_t *generation = &a->header->config_generation;

	for (;;) {
		uint32_t g = atomic_load_explicit(generation, memory_order_acquire);

		if (!g)
			return false;
		memcpy(out, slot_of(a, g), sizeof *out);
		atomic_thread_fence(memory_order_acquire);
		if (atomic_load_explicit(generation, memory_order_relaxed) == g)
			return true;
	}
}
