#include "shm/shared_slab.h"
#include "shm/snapshot_internal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static struct snapshot *slot_of(const struct arena *a, uint32_t generation)
{
	return (struct snapshot *)arena_region(a, ARENA_snapshots) + (generation & 1);
}

/* ---- port tables ---- */

static uint32_t port_table_find(const struct arena *a, be32_t address)
{
	uint32_t i = 0;

	while ((i = slab_next_live(a, SLAB_port_table, i + 1)))
		if (port_table_at(a, i)->address.net == address.net)
			return i;
	return 0;
}

static void port_table_build(void *object, void *context)
{
	struct port_table *t = object;

	t->address = *(const be32_t *)context;
	memset((void *)t->bits, 0, sizeof t->bits);
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
static bool refuse_addresses(const struct arena *a, const struct config *c, struct config_error *err)
{
	uint32_t fit = 0;

	for (uint32_t i = 0; (i = slab_next_live(a, SLAB_port_table, i + 1));)
		fit += is_configured(c, be32_host(port_table_at(a, i)->address));
	snprintf(err->text, sizeof err->text,
		"pools: no arena page left: port tables of %u of these %u addresses fit; name at most %u, or remove "
		"the arena (`corenatctl arena remove`) so that it is made anew for all of them",
		fit, config_address_count(c), fit);
	return false;
}

static bool add_address(struct arena *a, struct snapshot *s, uint32_t host)
{
	be32_t address = be32_of(host);
	uint32_t ports = port_table_find(a, address);

	if (!ports)
		ports = shared_make(a, ACTOR_MGMTD, SLAB_port_table, port_table_build, &address);
	if (!ports)
		return false;
	s->addresses[s->n_addresses++] = (struct snapshot_address){address, ports};
	return true;
}

/* Either those of the pool's pieces that give new mappings, or the others. */
static bool add_addresses(struct arena *a, const struct config_pool *p, bool usable, struct snapshot *s)
{
	struct address_range piece;
	uint32_t range = 0;
	uint64_t at = 0;

	while (config_pool_next(p, &range, &at, &piece))
		for (uint64_t host = piece.first; host <= piece.last; host++) {
			bool kept = ranges_find(p->drain, p->n_drain, (uint32_t)host) ||
				    snapshot_is_taken(s, (uint32_t)host);

			if (kept != usable && !add_address(a, s, (uint32_t)host))
				return false;
		}
	return true;
}

static bool add_pool(struct arena *a, const struct config_pool *p, struct snapshot *s)
{
	struct snapshot_pool *pool = &s->pools[s->n_pools++];
	uint32_t range = 0;
	uint64_t at = 0;

	while (config_pool_next(p, &range, &at, &s->ranges[s->n_ranges]))
		s->n_ranges++;
	pool->first = s->n_addresses;
	if (!add_addresses(a, p, true, s))
		return false;
	pool->usable = s->n_addresses - pool->first;
	if (!add_addresses(a, p, false, s))
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
	for (uint32_t p = 0; p < c->n_pools; p++)
		if (!add_pool(a, &c->pools[p], out))
			return refuse_addresses(a, c, err);
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
