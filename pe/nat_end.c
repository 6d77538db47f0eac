/* Aging, ending, letting go. */
#include "pe/nat_internal.h"
#include "pe/nat_ports.h"

/* A slice of the sweep is bounded by work, not by buckets: none may take more than 20 us. The unit is a bucket with nothing
 * to end in it, about 30 ns when it is in no cache. For each session made since the last slice there is room to end two more, or
 * sessions that come and go would become ever more: a pass ends as many as were made during one when it takes a twentieth
 * as many creations as there are buckets. */
enum {
	SLICE_WORK = 200,
	END_WORK = 40,
	MADE_WORK = 2 * END_WORK,
	MADE_MOST = BURST_MAX,
	PENDING_PER_TURN = 32,
	BUCKETS_AHEAD = 8, /* that the sweep fetches */
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

/* By whom it was seen last in this direction: the owner, or, the reverse one being away, its adopters. */
static uint32_t direction_seen_ago(const struct nat *n, uint32_t index, enum dir dir)
{
	const struct session *s = session_at(n->arena, index);
	uint32_t least = UINT32_MAX;

	if (dir == session_origin(s) || !session_has(s, SESSION_AWAY))
		return seen_ago(n, index, n->engine, dir);
	uint64_t adopters = atomic_load_explicit(&s->adopters, memory_order_acquire);
	for (; adopters; adopters &= adopters - 1) {
		uint32_t ago = seen_ago(n, index, (unsigned)__builtin_ctzll(adopters), dir);

		if (ago < least)
			least = ago;
	}
	return least;
}

/* Being made counts as being seen: one of inbound origin may never be answered. */
static uint32_t age(const struct nat *n, const struct session *s)
{
	return n->now_s > session_created_s(s) ? n->now_s - session_created_s(s) : 0;
}

static uint32_t least_of(uint32_t a, uint32_t b)
{
	return a < b ? a : b;
}

/* Inbound packets keep a TCP session alive, and others only when configured (RFC 4787 REQ-6, RFC 5382 REQ-5). */
uint32_t nat_refreshed_ago(const struct nat *n, uint32_t index)
{
	const struct session *s = session_at(n->arena, index);
	uint32_t ago = least_of(direction_seen_ago(n, index, DIR_OUTBOUND), age(n, s));

	if (s->l4 == L4_TCP || (s->l4 == L4_UDP && n->config.udp_inbound_refresh))
		ago = least_of(ago, direction_seen_ago(n, index, DIR_INBOUND));
	return ago;
}

bool nat_session_idle(const struct nat *n, uint32_t index)
{
	return nat_refreshed_ago(n, index) >= n->config.timeout_s[session_class(session_at(n->arena, index))];
}

/* ---- ending an own session ---- */

/* Out of this engine's table of the reverse direction, which was to land elsewhere. May be repeated. */
static void let_go(struct nat *n, uint32_t index, struct session *s)
{
	enum dir reverse = dir_reverse(session_origin(s));

	local_remove(&n->local[reverse], key_hash(n, s, reverse), index);
	atomic_fetch_and_explicit(&s->adopters, ~(1ull << n->engine), memory_order_release);
}

/* Out of every table: nobody can find it any more. False when a lock was busy. */
static bool leave_tables(struct nat *n, uint32_t index, struct session *s)
{
	enum dir origin = session_origin(s), reverse = dir_reverse(origin);
	uint64_t hash = key_hash(n, s, reverse);
	struct global_pair pair;

	local_remove(&n->local[origin], key_hash(n, s, origin), index);
	if (session_has(s, SESSION_AWAY)) {
		let_go(n, index, s); /* its own adopter it is when a reply landed here, whatever steering foretold */
		if (!global_lock(&n->sessions, hash, &pair))
			return false;
		global_remove(&n->sessions, &pair, index);
		global_unlock(&n->sessions, &pair);
	} else {
		local_remove(&n->local[reverse], hash, index);
	}
	session_set(s, 0, SESSION_FLOW);
	return true;
}

/* Goes as far as it can; true when nothing is left of the session. Every step may be repeated. */
static bool end_further(struct nat *n, uint32_t index)
{
	struct session *s = session_at(n->arena, index);

	if (session_has(s, SESSION_FLOW) && !leave_tables(n, index, s))
		return false;
	if (atomic_load_explicit(&s->adopters, memory_order_acquire) != 0)
		return false;
	if (session_has(s, SESSION_CARRIES | SESSION_FILTERS) && !nat_end_bindings(n, index, s))
		return false;
	uint32_t parent = atomic_load_explicit(&s->mapping, memory_order_relaxed);
	if (parent && parent != index && parent != MAPPING_STATIC && !nat_drop_parent(n, s))
		return false;
	struct session was = {.inside = s->inside, .realm = s->realm};
	slab_put(n->arena, &n->actor->slab[SLAB_session], SLAB_session, index);
	nat_quota_session_back(n, &was);
	return true;
}

/* Their entries are made to look idle, so that they let go at their next pass, not when nobody has sent for long. */
static void call_adopters(const struct nat *n, uint32_t index, const struct session *s)
{
	enum dir reverse = dir_reverse(session_origin(s));
	uint64_t adopters = atomic_load_explicit(&s->adopters, memory_order_acquire);

	for (; adopters; adopters &= adopters - 1) {
		struct local_table t = local_table_of(n->arena, (unsigned)__builtin_ctzll(adopters), reverse);
		local_place place = local_find(&t, key_hash(n, s, reverse), index);

		if (place)
			local_mark(place, index, n->now_s - LOCAL_IDLE_S);
	}
}

void nat_session_end(struct nat *n, uint32_t index)
{
	struct session *s = session_at(n->arena, index);

	intent_begin(n, INTENT_END, index);
	session_set(s, SESSION_DYING, 0);
	if (session_has(s, SESSION_FLOW))
		nat_counter(n, COUNTER_sessions_ended, 1);
	call_adopters(n, index, s);
	if (!end_further(n, index))
		nat_pending_add(n, index);
	intent_done(n);
}

/* ---- what waits ---- */

void nat_pending_add(struct nat *n, uint32_t index)
{
	struct pending *p = &n->pending;

	atomic_store_explicit(&session_at(n->arena, index)->waits, 0, memory_order_relaxed);
	if (p->last)
		atomic_store_explicit(&session_at(n->arena, p->last)->waits, index, memory_order_relaxed);
	else
		p->first = index;
	p->last = index;
	p->n++;
}

static uint32_t pending_take(struct nat *n)
{
	struct pending *p = &n->pending;
	uint32_t index = p->first;

	p->first = atomic_load_explicit(&session_at(n->arena, index)->waits, memory_order_relaxed);
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

void nat_let_all_go(struct nat *guest)
{
	for (int dir = 0; dir < N_DIRS; dir++)
		for (uint32_t b = 0; b < guest->local[dir].n; b++)
			for (unsigned i = 0; i < LOCAL_ENTRIES; i++) {
				local_place place = &guest->local[dir].bucket[b].entry[i];
				uint32_t index = local_index(atomic_load_explicit(place, memory_order_relaxed));

				if (index && session_at(guest->arena, index)->owner != guest->engine)
					nat_session_let_go(guest, index);
			}
}

/* ---- the sweep ---- */

/* The shortest idle time that could end an entry of this class: its session may have moved on since it was touched. A
 * rule's class may be TCP's. */
static uint32_t shortest(const uint32_t *limit, unsigned class)
{
	if (class == TIMEOUT_UDP || class == TIMEOUT_ICMP || class == TIMEOUT_OTHER)
		return limit[class];
	return least_of(limit[class], least_of(limit[TIMEOUT_TCP_OPENING], limit[TIMEOUT_TCP_CLOSING]));
}

void nat_end_configure(struct nat *n)
{
	for (unsigned class = 0; class < N_TIMEOUTS; class ++)
		n->shortest_s[class] = shortest(n->config.timeout_s, class);
}

/* True when something was ended, or let go. */
static bool sweep_entry(struct nat *n, enum dir dir, uint64_t e)
{
	uint32_t index = local_index(e);
	const struct session *s = session_at(n->arena, index);

	if (s->owner != n->engine) {
		if (!session_has(s, SESSION_DYING) && local_idle_s(e, n->now_s) < n->config.timeout_s[session_class(s)])
			return false;
		nat_session_let_go(n, index);
		return true;
	}
	if (dir != session_origin(s) || !nat_session_idle(n, index))
		return false;
	nat_session_end(n, index);
	return true;
}

/* The entries, a bit for each, that have been idle for so long that their session is worth a look. All eight alike, without a
 * jump: most of what a sweep sees is in use. */
static unsigned idle_in(const struct nat *n, const struct local_bucket *b)
{
	unsigned idle = 0;

	for (unsigned i = 0; i < LOCAL_ENTRIES; i++) {
		uint64_t e = atomic_load_explicit(&b->entry[i], memory_order_relaxed);

		idle |= (unsigned)((e != 0) & (local_idle_s(e, n->now_s) >= n->shortest_s[local_class(e)])) << i;
	}
	return idle;
}

static void fetch_sessions(const struct nat *n, const struct local_bucket *b, unsigned which)
{
	for (; which; which &= which - 1) {
		uint64_t e = atomic_load_explicit(&b->entry[__builtin_ctz(which)], memory_order_relaxed);

		__builtin_prefetch(session_at(n->arena, local_index(e)));
	}
}

/* What it took, in units of work. */
static int sweep_bucket(struct nat *n, enum dir dir, uint32_t bucket)
{
	const struct local_bucket *b = &n->local[dir].bucket[bucket];
	int work = 1;

	__builtin_prefetch(b + BUCKETS_AHEAD);
	unsigned idle = idle_in(n, b);
	fetch_sessions(n, b, idle);
	for (; idle; idle &= idle - 1) {
		uint64_t e = atomic_load_explicit(&b->entry[__builtin_ctz(idle)], memory_order_relaxed);

		work += e && sweep_entry(n, dir, e) ? END_WORK : 1;
	}
	return work;
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

/* Sessions made since the last slice, of which more than a burst's do not count. */
static int made_lately(struct nat *n)
{
	uint64_t created = counter_get(&n->actor->counters[COUNTER_sessions_created]);
	uint64_t made = created - n->sweep.created;

	n->sweep.created = created;
	return made < MADE_MOST ? (int)made : MADE_MOST;
}

/* True when the slice was spent on ending sessions, or while some are made: there may be more. */
static bool sweep_slice(struct nat *n, mono_t now)
{
	struct sweep *w = &n->sweep;
	uint64_t due = sweep_due(n, now);
	int made = made_lately(n);
	bool more = made > 0;

	for (int work = 0; work < SLICE_WORK + made * MADE_WORK;) {
		if ((uint64_t)w->dir * n->local[0].n + w->bucket >= due)
			return false;
		int took = sweep_bucket(n, w->dir, w->bucket);

		work += took;
		more |= took >= END_WORK;
		if (++w->bucket < n->local[w->dir].n)
			continue;
		w->bucket = 0;
		w->dir = w->dir == DIR_OUTBOUND ? DIR_INBOUND : DIR_OUTBOUND;
		if (w->dir != DIR_OUTBOUND)
			continue;
		w->started = now;
		nat_counter(n, COUNTER_sweeps, 1);
		return more;
	}
	return more;
}

bool nat_housekeep(struct nat *n, mono_t now)
{
	struct actor *actor = n->actor;

	nat_set_time(n, now);
	bool more = n->configured && sweep_slice(n, now);
	nat_clear_slice(n);
	nat_pinhole_slice(n);
	nat_ports_slice(n);
	pending_slice(n);
	nat_quota_housekeep(n);
	counter_set(&actor->counters[COUNTER_sessions], actor->slab[SLAB_session].used - n->pending.n - n->pinholes.n);
	counter_set(&actor->counters[COUNTER_pages], actor->slab[SLAB_session].pages);
	return more;
}
