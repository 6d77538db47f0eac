/* Taking over an engine's part of the arena: what a predecessor killed at any instruction left, settled. */
#include "pe/nat_events.h"
#include "pe/nat_internal.h"
#include "pe/nat_ports.h"

#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

enum { PORT_SPINS = 1 << 18 };

/* ---- the intent ---- */

/* The own session the intent names. None when its page was given back since, and perhaps taken by another engine. */
static struct session *intent_session(const struct nat *n, uint32_t index)
{
	return slab_owned(n->arena, n->engine, SLAB_session, index) ? session_at(n->arena, index) : NULL;
}

/* Whether the reference count in question was changed: the bucket is still locked, so nobody else changed it since.
 * Found out once: the next successor, should this one die, may come when the bucket is free. */
static void settle_refs(struct nat *n, struct session *s, bool taking)
{
	const struct intent *in = &n->actor->intent;
	bool changed =
		atomic_load_explicit(&session_at(n->arena, in->mapping)->refs, memory_order_relaxed) != in->old_refs;

	atomic_store_explicit(&s->mapping, taking == changed ? in->mapping : 0, memory_order_relaxed);
	intent_step(n, taking ? INTENT_MAPPED : INTENT_UNMAPPED);
}

/* Nothing ends: only whether the answer was counted has to be known, while the bucket is still locked. The session may be
 * another engine's: it keeps its parent, and stays, as long as the bucket is locked. */
static void settle_answer(struct nat *n)
{
	const struct intent *in = &n->actor->intent;

	if (!slab_valid(n->arena, SLAB_session, in->session) || !slab_valid(n->arena, SLAB_session, in->mapping))
		return;
	if (atomic_load_explicit(&session_at(n->arena, in->mapping)->refs, memory_order_relaxed) != in->old_refs)
		atomic_fetch_or_explicit(&session_at(n->arena, in->session)->tcp, SEEN_ANSWERED, memory_order_relaxed);
	intent_step(n, INTENT_NONE);
}

/* Makes the session in question look like one whose ending has begun; slab_attach then finds it. */
static void settle_by_ending(struct session *s)
{
	slab_publish(s);
	session_set(s, SESSION_DYING | SESSION_FLOW, 0);
}

/* Other entries may have been moved to make room for the session's. */
static void settle_moves(struct nat *n, const struct session *s)
{
	for (int dir = 0; dir < N_DIRS; dir++)
		local_repair(&n->local[dir], flow_key_hash(session_key(s, dir), n->seed));
}

/* Without the bit there is no entry either, and the session may be anybody's by now. */
static void settle_adoption(struct nat *n, uint32_t index)
{
	if (!slab_valid(n->arena, SLAB_session, index))
		return;
	const struct session *s = session_at(n->arena, index);

	if (!(atomic_load_explicit(&s->adopters, memory_order_acquire) & 1ull << n->engine))
		return;
	settle_moves(n, s);
	nat_session_let_go(n, index);
}

/* One whose request was answered stays; else the request is done again, and it is ended. True: it stays. */
static bool pinhole_stays(const struct nat *n)
{
	const struct intent *in = &n->actor->intent;

	return in->step == INTENT_PINHOLE && pinhole_is_done(n->pinhole_ring, in->mapping);
}

static void settle_intent(struct nat *n)
{
	const struct intent *in = &n->actor->intent;
	enum intent_step step = atomic_load_explicit(&in->step, memory_order_acquire);

	if (step == INTENT_ANSWERED) {
		settle_answer(n);
		return;
	}
	if (step == INTENT_ADOPT)
		settle_adoption(n, in->session);
	struct session *s = intent_session(n, in->session);

	if (step == INTENT_NONE || step == INTENT_ADOPT || !s || pinhole_stays(n))
		return;
	if (step == INTENT_INSERT)
		settle_moves(n, s);
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

static bool port_is_lost(const struct nat *n, const struct port_table *t, const struct port_order *o, uint64_t name)
{
	enum port_set set = (enum port_set)(name >> 16 & 1);

	return ports_is_taken(t, o, set, (uint16_t)name) && !port_is_intended(n, name) &&
	       !port_has_owner(n, t->address, set, (uint16_t)name);
}

/* The port being taken or freed when the predecessor died: free unless somebody carries it. Whoever names it in an
 * intent of its own is given time to get past that. Looked at twice: while the sessions are walked, a port may pass
 * from one that is still ahead to one that is behind. */
static void settle_port(struct nat *n)
{
	uint64_t name = atomic_load_explicit(&n->actor->intent.port, memory_order_acquire);
	uint32_t table = (uint32_t)(name >> 32);

	if (!name || !slab_valid(n->arena, SLAB_port_table, table))
		return;
	struct port_table *t = port_table_at(n->arena, table);
	struct port_order o;

	if (!port_order_of(&o, &t->basis))
		return;
	for (int spin = 0; spin < PORT_SPINS && port_is_intended(n, name); spin++)
		sched_yield(); /* it may be waiting for this very processor */
	/* NOLINTNEXTLINE(misc-redundant-expression) */
	if (port_is_lost(n, t, &o, name) && port_is_lost(n, t, &o, name))
		ports_put(t, &o, (enum port_set)(name >> 16 & 1), (uint16_t)name);
}

/* ---- taking over ---- */

static void found_session(void *context, uint32_t index, void *object)
{
	struct nat *n = context;
	const struct session *s = object;

	nat_quota_count(n, s);
	if (session_has(s, SESSION_CARRIES))
		nat_counter(n, COUNTER_mappings, 1);
	if (session_is_pinhole(s) && !session_has(s, SESSION_DYING)) {
		nat_pinhole_add(n, index);
		return;
	}
	if (session_has(s, SESSION_FLOW) && !session_has(s, SESSION_DYING))
		return;
	/* It must not be ended twice, by a packet or the sweep that find it in a table, and as one that waits. */
	for (int dir = 0; dir < N_DIRS; dir++)
		local_remove(&n->local[dir], flow_key_hash(session_key(s, dir), n->seed), index);
	nat_pending_add(n, index);
}

uint32_t nat_init(struct nat *n, struct arena *a, unsigned engine, uint64_t random, mono_t now)
{
	memset(n, 0, sizeof *n);
	n->arena = a;
	n->engine = engine;
	n->actor = actor_of(a, engine);
	n->seed = a->header->seed;
	n->single = a->header->geometry.engines == 1;
	n->random = XXH3_64bits(&random, sizeof random) | 1;
	nat_set_time(n, now);
	n->ip_id_step = (uint16_t)a->header->geometry.engines;
	for (unsigned i = 0; i < IP_ID_COUNTERS; i++)
		n->ip_id[i] = (uint16_t)engine;
	n->sweep.started = now;
	n->nexthop = arena_region(a, ARENA_nexthop);
	for (int dir = 0; dir < N_DIRS; dir++)
		n->local[dir] = local_table_of(a, engine, dir);
	n->sessions = global_sessions(a, engine);
	n->mappings = global_mappings(a, engine);
	n->filters = global_filters(a, engine);
	n->fragments = fragments_of(a, engine);
	n->clears = clear_ring_of(a);
	n->subscribers = subscribers_view(a, engine);
	n->subscribers.now = now;
	nat_events_init(n);
	n->walk.started = now;
	n->pinhole_ring = pinhole_ring_of(a, engine);

	settle_intent(n);
	global_release_all(&n->sessions);
	global_release_all(&n->filters);
	global_release_all(&n->mappings);
	subscribers_settle(&n->subscribers);
	counter_set(&n->actor->counters[COUNTER_mappings], 0);
	slab_attach(a, &n->actor->slab[SLAB_session], engine, SLAB_session, found_session, n);
	nat_ports_attach(n);
	settle_port(n);
	intent_done(n);
	return n->actor->slab[SLAB_session].used;
}

bool nat_configure(struct nat *n)
{
	uint32_t had = n->configured ? n->config.generation : 0;

	if (!snapshot_news(n->arena, had) || !snapshot_read(n->arena, &n->config))
		return false;
	for (int side = 0; side < N_SIDES; side++)
		steering_init(&n->steering[side], &n->config.rss[side], n->arena->header->geometry.engines);
	nat_ports_configure(n);
	nat_sweep_configure(n);
	nat_index_alone(n);
	n->configured = true;
	return true;
}

static void find_own_addresses(struct nat *n)
{
	memset(n->own, 0, sizeof n->own);
	for (uint32_t i = 0; i < n->fib.set.n; i++) {
		const struct route *r = &n->fib.set.route[i];

		if (r->kind == ROUTE_LOCAL && r->length == 32 && r->side < N_SIDES && r->realm <= VLAN_MAX &&
			!n->own[r->side][r->realm].net)
			n->own[r->side][r->realm] = be32_of(r->prefix);
	}
}

bool nat_load_routes(struct nat *n)
{
	uint32_t in_force = atomic_load_explicit(&n->nexthop->generation, memory_order_acquire);

	if (in_force == n->fib.generation)
		return false;
	fib_load(&n->fib, n->nexthop);
	find_own_addresses(n);
	return true;
}
