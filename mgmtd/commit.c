#include "mgmtd/commit.h"

#include "common/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool commit_open(struct commit *c, struct arena *a, const struct config *config, struct config_error *err)
{
	*c = (struct commit){.arena = a, .wanted = malloc(sizeof *c->wanted)};
	if (!c->wanted)
		abort();
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
	c->done = true;
	return true;
}
