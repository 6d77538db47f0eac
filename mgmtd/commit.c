#include "mgmtd/commit.h"

#include "common/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint32_t seconds(mono_t now)
{
	return (uint32_t)(now.ns / 1000000000u);
}

bool commit_open(struct commit *c, struct arena *a, const struct config *config, mono_t now, struct config_error *err)
{
	*c = (struct commit){.arena = a, .config = config, .wanted = malloc(sizeof *c->wanted)};
	if (!c->wanted)
		abort();
	snapshot_drain(a, seconds(now));
	return snapshot_compile(a, config, c->wanted, err);
}

void commit_close(struct commit *c)
{
	free(c->wanted);
	c->wanted = NULL;
}

/* The generation in force when it says what is wanted; 0 when it says something else. */
static uint32_t same_in_force(const struct commit *c)
{
	struct snapshot *now = malloc(sizeof *now);
	uint32_t generation = 0;

	if (!now)
		abort();
	if (snapshot_read(c->arena, now)) {
		c->wanted->generation = now->generation;
		/* Padding included: snapshot_compile zeroes it. NOLINTNEXTLINE(bugprone-suspicious-memory-comparison) */
		if (memcmp(c->wanted, now, sizeof *now) == 0)
			generation = now->generation;
	}
	free(now);
	return generation;
}

static void complain(struct commit *c, mono_t now)
{
	uint32_t in_force = c->arena->header->config_generation;

	if (!c->since.ns)
		c->since = now;
	if (c->complained || !mono_due(now, mono_after(c->since, span_s(COMMIT_PATIENCE_S))))
		return;
	c->complained = true;
	for (unsigned e = 0; e < c->arena->header->geometry.engines; e++)
		if (arena_claimed(c->arena, e) && actor_of(c->arena, e)->config_ack != in_force)
			log_warning("the configuration waits for engine %u, which still uses "
				    "generation %u of %u",
				e, actor_of(c->arena, e)->config_ack, in_force);
}

/* Nothing that lives is dropped: what has been removed is said, with what it has still. */
static void tell_leaving(const struct commit *c)
{
	const struct snapshot *s = c->wanted;
	uint64_t ports = 0;

	for (uint32_t i = s->n_addresses; i < s->n_addresses + s->n_leaving; i++)
		for (unsigned set = 0; set < N_PORT_SETS; set++)
			ports += ports_used(port_table_at(c->arena, s->addresses[i].ports), set, 0).taken;
	if (s->n_leaving)
		log_notice(
			"%u NAT addresses that were removed give nothing new; they go when their sessions have ended, "
			"with %llu ports in use now",
			s->n_leaving, (unsigned long long)ports);
}

bool commit_try(struct commit *c, mono_t now)
{
	if (c->done)
		return true;

	uint32_t same = same_in_force(c);
	int64_t generation = same ? same : snapshot_commit(c->arena, c->wanted);

	if (generation < 0) {
		complain(c, now);
		return false;
	}
	log_notice(
		same ? "configuration %u is in force already" : "configuration %u put in force", (unsigned)generation);
	if (!same)
		tell_leaving(c);
	c->done = true;
	return true;
}

bool commit_tend(struct commit *c, mono_t now)
{
	struct config_error err;

	if (!c->done)
		return false;
	snapshot_free_drained(c->arena);
	if (!snapshot_drain(c->arena, seconds(now)) || !snapshot_compile(c->arena, c->config, c->wanted, &err))
		return false;
	/* An engine that started since: later. */
	int64_t generation = snapshot_commit(c->arena, c->wanted);

	if (generation > 0)
		log_notice("configuration %u put in force: the same without port tables that have drained; %u removed "
			   "NAT addresses are left",
			(unsigned)generation, c->wanted->n_leaving);
	return generation > 0;
}
