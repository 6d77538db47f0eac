/* Taking over an engine's part of the arena: what a predecessor killed at any instruction left, settled. */
#include "pe/nat_internal.h"

#include <string.h>

/* ---- the intent ---- */

/* The session the intent names, if it is one of ours. */
static struct session *intent_session(const struct nat *n, uint32_t index)
{
	if (!slab_valid(n->arena, SLAB_session, index))
		return NULL;
	return session_at(n->arena, index);
}

/* Whether the reference count in question was changed: the bucket is still locked, so nobody else changed it since. */
static void settle_refs(struct nat *n, struct session *s, bool taking)
{
	const struct intent *in = &n->actor->intent;
	bool changed =
		atomic_load_explicit(&session_at(n->arena, in->mapping)->refs, memory_order_relaxed) != in->old_refs;

	s->mapping = taking == changed ? in->mapping : 0;
}

/* Makes the session in question look like one whose ending has begun; slab_attach then finds it. */
static void settle_by_ending(struct session *s)
{
	slab_publish(s);
	session_set(s, SESSION_DYING | SESSION_FLOW, 0);
}

static void settle_intent(struct nat *n)
{
	const struct intent *in = &n->actor->intent;
	struct session *s = intent_session(n, in->session);
	enum intent_step step = atomic_load_explicit(&in->step, memory_order_acquire);

	if (step == INTENT_NONE || !s)
		return;
	if (step == INTENT_ADOPT) {
		nat_session_let_go(n, in->session);
		return;
	}
	if (step == INTENT_MAPPING || step == INTENT_UNMAPPING)
		settle_refs(n, s, step == INTENT_MAPPING);
	/* Ending, and already freed: only the note of it was not made. */
	if (step == INTENT_END && !slab_live(s))
		return;
	settle_by_ending(s);
}

/* ---- a port that may have no owner ---- */

static bool port_has_owner(const struct nat *n, be32_t address, enum port_set set, uint16_t port)
{
	uint32_t i = 0;

	while ((i = slab_next_live(n->arena, SLAB_session, i + 1))) {
		const struct session *s = session_at(n->arena, i);

		if (session_has(s, SESSION_CARRIES) && s->nat.net == address.net && be16_host(s->nat_port) == port &&
			port_set_of(s->l4) == set)
			return true;
	}
	return false;
}

static bool port_is_intended(const struct nat *n, uint64_t name)
{
	for (unsigned e = 0; e < n->arena->header->geometry.engines; e++)
		if (e != n->engine &&
			atomic_load_explicit(&actor_of(n->arena, e)->intent.port, memory_order_acquire) == name)
			return true;
	return false;
}

/* The port being taken or freed when the predecessor died: free unless somebody carries it. */
static void settle_port(struct nat *n)
{
	uint64_t name = atomic_load_explicit(&n->actor->intent.port, memory_order_acquire);
	uint32_t table = (uint32_t)(name >> 32);
	enum port_set set = (enum port_set)(name >> 16 & 1);
	uint16_t port = (uint16_t)name;

	if (!name || !slab_valid(n->arena, SLAB_port_table, table))
		return;
	struct port_table *t = port_table_at(n->arena, table);
	if (ports_is_set(t, set, port) && !port_is_intended(n, name) && !port_has_owner(n, t->address, set, port))
		ports_put(t, set, port);
}

/* ---- taking over ---- */

static void found_session(void *context, uint32_t index, void *object)
{
	struct nat *n = context;
	const struct session *s = object;

	if (session_has(s, SESSION_CARRIES))
		nat_counter(n, COUNTER_mappings, 1);
	if (session_has(s, SESSION_DYING) || !session_has(s, SESSION_FLOW))
		nat_pending_add(n, index);
}

uint32_t nat_init(struct nat *n, struct arena *a, unsigned engine, uint64_t random, mono_t now)
{
	memset(n, 0, sizeof *n);
	n->arena = a;
	n->engine = engine;
	n->actor = actor_of(a, engine);
	n->seed = a->header->seed;
	n->random = XXH3_64bits(&random, sizeof random) | 1;
	n->now_s = (uint32_t)(now.ns / 1000000000u);
	n->sweep.started = now;
	n->nexthop = arena_region(a, ARENA_nexthop);
	for (int dir = 0; dir < N_DIRS; dir++)
		n->local[dir] = local_table_of(a, engine, dir);
	n->sessions = global_sessions(a, engine);
	n->mappings = global_mappings(a, engine);

	settle_intent(n);
	global_release_all(&n->sessions);
	global_release_all(&n->mappings);
	counter_set(&n->actor->counters[COUNTER_mappings], 0);
	slab_attach(a, &n->actor->slab[SLAB_session], engine, SLAB_session, found_session, n);
	settle_port(n);
	intent_done(n);
	return n->actor->slab[SLAB_session].used;
}

bool nat_configure(struct nat *n)
{
	uint32_t had = n->configured ? n->config.generation : 0;

	if (!snapshot_news(n->arena, had) || !snapshot_read(n->arena, &n->config))
		return false;
	steering_init(&n->steering, &n->config.rss[SIDE_OUTSIDE], n->arena->header->geometry.engines);
	n->configured = true;
	return true;
}

bool nat_load_routes(struct nat *n)
{
	uint32_t in_force = atomic_load_explicit(&n->nexthop->generation, memory_order_acquire);

	if (in_force == n->fib.generation)
		return false;
	fib_load(&n->fib, n->nexthop);
	return true;
}
