#include "shm/snapshot_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct snapshot *slot_of(const struct arena *a, uint32_t generation)
{
	return (struct snapshot *)arena_region(a, ARENA_snapshots) + (generation & 1);
}

const struct snapshot *snapshot_slot(const struct arena *a, uint32_t generation)
{
	return slot_of(a, generation);
}

/* ---- compile ---- */

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
	if (!snapshot_add_pools(a, c, out, err))
		return false;
	snapshot_add_deterministic(out, c);
	return true;
}

/* ---- commit and pick-up ---- */

bool snapshot_is_settled(const struct arena *a)
{
	uint32_t in_force = atomic_load_explicit(&a->header->config_generation, memory_order_acquire);

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

	if (in_force && !snapshot_is_settled(a))
		return -EBUSY;
	struct snapshot *slot = slot_of(a, in_force + 1);

	/* Nothing written there is seen before the generation that retired it. */
	atomic_thread_fence(memory_order_release);
	memcpy(slot, s, sizeof *slot);
	slot->generation = in_force + 1;
	atomic_store_explicit(generation, in_force + 1, memory_order_seq_cst);
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
		atomic_thread_fence(memory_order_seq_cst); /* see snapshot.h, Tables */
		if (atomic_load_explicit(generation, memory_order_relaxed) == g)
			return true;
	}
}

bool snapshot_gives(const struct arena *a, be32_t address, uint32_t table)
{
	for (;;) {
		uint32_t g = atomic_load_explicit(&a->header->config_generation, memory_order_acquire), i = 0;
		const struct snapshot *s = slot_of(a, g);
		uint32_t n = s->n_addresses < CONFIG_ADDRESSES_MAX ? s->n_addresses : CONFIG_ADDRESSES_MAX;

		while (i < n && s->addresses[i].address.net != address.net)
			i++;
		bool gives = i < n && s->addresses[i].ports == table;

		atomic_thread_fence(memory_order_acquire);
		if (atomic_load_explicit(&a->header->config_generation, memory_order_relaxed) == g)
			return gives;
	}
}
