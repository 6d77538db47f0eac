/* Aging, ending, letting go. */
#include "pe/nat_internal.h"

enum {
	SWEEP_BUCKETS = 256, /* per turn: about 8 us when none of them is in a cache */
	PENDING_PER_TURN = 32,
};
static const span_t sweep_period = {2000000000u}; /* of one pass over both tables */

static uint64_t key_hash(const struct nat *n, const struct session *s, enum dir dir)
{
	return flow_key_hash(session_key(s, dir), n->seed);
}

/* ---- how long a session has been idle ---- */

/* Seconds since the engine whose table it is last saw the session in this direction; UINT32_MAX when it is not there. */
static uint32_t seen_ago(const struct nat *n, uint32_t index, unsigned engine, enum dir dir)
{
	struct local_table table = local_table_of(n->arena, engine, dir);
	local_place place = local_find(&table, key_hash(n, session_at(n->arena, index), dir), index);

	if (!place)
		return UINT32_MAX;
	return local_idle_s(atomic_load_explicit(place, memory_order_relaxed), n->now_s);
}

static uint32_t inbound_seen_ago(const struct nat *n, uint32_t index)
{
	const struct session *s = session_at(n->arena, index);
	uint32_t least = UINT32_MAX;

	if (!session_has(s, SESSION_AWAY))
		return seen_ago(n, index, n->engine, DIR_INBOUND);
	uint64_t adopters = atomic_load_explicit(&s->adopters, memory_order_acquire);
	for (; adopters; adopters &= adopters - 1) {
		uint32_t ago = seen_ago(n, index, (unsigned)__builtin_ctzll(adopters), DIR_INBOUND);

		if (ago < least)
			least = ago;
	}
	return least;
}

uint32_t nat_outbound_seen_ago(const struct nat *n, uint32_t index)
{
	return seen_ago(n, index, n->engine, DIR_OUTBOUND);
}

/* Inbound packets keep a TCP session alive, and no other (RFC 4787 REQ-6, RFC 5382 REQ-5). */
bool nat_session_idle(const struct nat *n, uint32_t index)
{
	const struct session *s = session_at(n->arena, index);
	uint32_t limit = n->config.timeout_s[session_class(s)];

	if (nat_outbound_seen_ago(n, index) < limit)
		return false;
	return s->l4 != L4_TCP || inbound_seen_ago(n, index) >= limit;
}

/* ---- ending an own session ---- */

/* Out of this engine's inbound table, which held it for a reply that was to land elsewhere. May be repeated. */
static void let_go(struct nat *n, uint32_t index, struct session *s)
{
	local_remove(&n->local[DIR_INBOUND], key_hash(n, s, DIR_INBOUND), index);
	atomic_fetch_and_explicit(&s->adopters, ~(1ull << n->engine), memory_order_release);
}

/* Out of every table: nobody can find it any more. False when a lock was busy. */
static bool leave_tables(struct nat *n, uint32_t index, struct session *s)
{
	uint64_t inbound = key_hash(n, s, DIR_INBOUND);
	struct global_pair pair;

	local_remove(&n->local[DIR_OUTBOUND], key_hash(n, s, DIR_OUTBOUND), index);
	if (session_has(s, SESSION_AWAY)) {
		let_go(n, index, s); /* its own adopter it is when a reply landed here, whatever steering foretold */
		if (!global_lock(&n->sessions, inbound, &pair))
			return false;
		global_remove(&n->sessions, &pair, index);
		global_unlock(&n->sessions, &pair);
	} else {
		local_remove(&n->local[DIR_INBOUND], inbound, index);
	}
	session_set(s, 0, SESSION_FLOW);
	return true;
}

static bool drop_mapping(struct nat *n, struct session *s)
{
	struct global_pair pair;

	if (!global_lock(&n->mappings, flow_key_hash(mapping_key(s), n->seed), &pair))
		return false;
	intent_refs(n, INTENT_UNMAPPING, s->mapping);
	atomic_fetch_sub_explicit(&session_at(n->arena, s->mapping)->refs, 1, memory_order_relaxed);
	s->mapping = 0;
	intent_step(n, INTENT_UNMAPPED);
	global_unlock(&n->mappings, &pair);
	return true;
}

static uint32_t port_table_of(const struct nat *n, be32_t address)
{
	uint32_t i = 0;

	for (i = 0; i < n->config.n_addresses; i++)
		if (n->config.addresses[i].address.net == address.net)
			return n->config.addresses[i].ports;
	for (i = 0; (i = slab_next_live(n->arena, SLAB_port_table, i + 1));)
		if (port_table_at(n->arena, i)->address.net == address.net)
			return i; /* no longer in the pool, but still in use */
	return 0;
}

static void free_port(struct nat *n, const struct session *s)
{
	uint32_t table = port_table_of(n, s->nat);
	enum port_set set = port_set_of(s->l4);

	if (table)
		ports_put(port_table_at(n->arena, table), set, be16_host(s->nat_port));
	atomic_store_explicit(&n->actor->intent.port, 0, memory_order_release);
}

/* Ends the mapping a session carries, unless others use it still. */
static bool end_mapping(struct nat *n, uint32_t index, struct session *s)
{
	struct global_pair pair;

	if (atomic_load_explicit(&s->refs, memory_order_relaxed) != 0 ||
		!global_lock(&n->mappings, flow_key_hash(mapping_key(s), n->seed), &pair))
		return false;
	bool unused = atomic_load_explicit(&s->refs, memory_order_relaxed) == 0;
	if (unused) {
		global_remove(&n->mappings, &pair, index);
		atomic_store_explicit(&n->actor->intent.port,
			port_name(port_table_of(n, s->nat), port_set_of(s->l4), be16_host(s->nat_port)),
			memory_order_release);
		session_set(s, 0, SESSION_CARRIES);
	}
	global_unlock(&n->mappings, &pair);
	if (unused) {
		free_port(n, s);
		nat_counter(n, COUNTER_mappings, -1);
	}
	return unused;
}

/* Goes as far as it can; true when nothing is left of the session. Every step may be repeated. */
static bool end_further(struct nat *n, uint32_t index)
{
	struct session *s = session_at(n->arena, index);

	if (session_has(s, SESSION_FLOW) && !leave_tables(n, index, s))
		return false;
	if (atomic_load_explicit(&s->adopters, memory_order_acquire) != 0)
		return false;
	if (session_has(s, SESSION_CARRIES) && !end_mapping(n, index, s))
		return false;
	if (s->mapping && s->mapping != index && !drop_mapping(n, s))
		return false;
	slab_put(n->arena, &n->actor->slab[SLAB_session], SLAB_session, index);
	return true;
}

void nat_session_end(struct nat *n, uint32_t index)
{
	struct session *s = session_at(n->arena, index);

	intent_begin(n, INTENT_END, index);
	session_set(s, SESSION_DYING, 0);
	if (session_has(s, SESSION_FLOW))
		nat_counter(n, COUNTER_sessions_ended, 1);
	if (!end_further(n, index))
		nat_pending_add(n, index);
	intent_done(n);
}

/* ---- what waits ---- */

void nat_pending_add(struct nat *n, uint32_t index)
{
	struct pending *p = &n->pending;

	session_at(n->arena, index)->link = 0;
	if (p->last)
		session_at(n->arena, p->last)->link = index;
	else
		p->first = index;
	p->last = index;
	p->n++;
}

static uint32_t pending_take(struct nat *n)
{
	struct pending *p = &n->pending;
	uint32_t index = p->first;

	p->first = session_at(n->arena, index)->link;
	if (!p->first)
		p->last = 0;
	p->n--;
	return index;
}

static void pending_slice(struct nat *n)
{
	uint32_t turns = n->pending.n < PENDING_PER_TURN ? n->pending.n : PENDING_PER_TURN;

	while (turns-- > 0) {
		uint32_t index = pending_take(n);

		intent_begin(n, INTENT_END, index);
		if (!end_further(n, index))
			nat_pending_add(n, index);
		intent_done(n);
	}
}

/* ---- letting go of another engine's ---- */

void nat_session_let_go(struct nat *n, uint32_t index)
{
	intent_begin(n, INTENT_ADOPT, index);
	let_go(n, index, session_at(n->arena, index));
	intent_done(n);
}

/* ---- the sweep ---- */

/* The shortest idle time that could end an entry of this class: its session may have moved on since it was touched. */
static uint32_t shortest(const struct nat *n, unsigned class)
{
	const uint32_t *t = n->config.timeout_s;
	uint32_t least = t[class];

	if (class >= TIMEOUT_TCP_OPENING && class <= TIMEOUT_TCP_CLOSING)
		for (unsigned c = TIMEOUT_TCP_OPENING; c <= TIMEOUT_TCP_CLOSING; c++)
			least = t[c] < least ? t[c] : least;
	return least;
}

static void sweep_entry(struct nat *n, enum dir dir, uint64_t e)
{
	uint32_t index = local_index(e);
	struct session *s;

	if (local_idle_s(e, n->now_s) < shortest(n, local_class(e)))
		return;
	s = session_at(n->arena, index);
	if (s->owner != n->engine) {
		if (session_has(s, SESSION_DYING) || local_idle_s(e, n->now_s) >= n->config.timeout_s[session_class(s)])
			nat_session_let_go(n, index);
	} else if (dir == DIR_OUTBOUND && nat_session_idle(n, index)) {
		nat_session_end(n, index);
	}
}

static void sweep_bucket(struct nat *n, enum dir dir, uint32_t bucket)
{
	const struct local_bucket *b = &n->local[dir].bucket[bucket];

	for (unsigned i = 0; i < LOCAL_ENTRIES; i++) {
		uint64_t e = atomic_load_explicit(&b->entry[i], memory_order_relaxed);

		if (e)
			sweep_entry(n, dir, e);
	}
}

/* Where a pass that takes one period should be by now, in buckets over both tables. */
static uint64_t sweep_due(const struct nat *n, mono_t now)
{
	uint64_t all = (uint64_t)n->local[0].n * N_DIRS;
	span_t spent = mono_since(now, n->sweep.started);

	if (spent.ns >= sweep_period.ns)
		return all;
	return (uint64_t)((__uint128_t)all * spent.ns / sweep_period.ns);
}

static void sweep_slice(struct nat *n, mono_t now)
{
	struct sweep *w = &n->sweep;
	uint64_t due = sweep_due(n, now);

	for (unsigned i = 0; i < SWEEP_BUCKETS; i++) {
		if ((uint64_t)w->dir * n->local[0].n + w->bucket >= due)
			return;
		sweep_bucket(n, w->dir, w->bucket);
		if (++w->bucket < n->local[w->dir].n)
			continue;
		w->bucket = 0;
		w->dir = w->dir == DIR_OUTBOUND ? DIR_INBOUND : DIR_OUTBOUND;
		if (w->dir != DIR_OUTBOUND)
			continue;
		w->started = now;
		nat_counter(n, COUNTER_sweeps, 1);
		return;
	}
}

void nat_housekeep(struct nat *n, mono_t now)
{
	struct actor *actor = n->actor;

	n->now_s = (uint32_t)(now.ns / 1000000000u);
	if (n->configured)
		sweep_slice(n, now);
	pending_slice(n);
	counter_set(&actor->counters[COUNTER_sessions], actor->slab[SLAB_session].used - n->pending.n);
	counter_set(&actor->counters[COUNTER_pages], actor->slab[SLAB_session].pages);
}
