/* Ending, letting go; how long a session has been idle. */
#include "pe/nat_internal.h"
#include "pe/nat_ports.h"

enum { PENDING_PER_TURN = 32 };

static uint64_t key_hash(const struct nat *n, const struct session *s, enum dir dir)
{
	return flow_key_hash(session_key(s, dir), n->seed);
}

/* ---- how long a session has been idle ---- */

/* Seconds since the engine whose table it is last saw the session in this direction; UINT32_MAX when it is not there. */
static uint32_t seen_ago(const struct nat *n, const struct ending *x, unsigned engine, enum dir dir)
{
	local_place place = x->place;

	if (!place || dir != x->dir || engine != n->engine) {
		struct local_table table = local_table_of(n->arena, engine, dir);

		place = local_find(&table, x->hash[dir], x->index);
	}
	if (!place)
		return UINT32_MAX;
	return local_idle_s(atomic_load_explicit(place, memory_order_relaxed), n->now_s);
}

/* By whom it was seen last in this direction: the owner, or, the reverse one being away, its adopters. */
static uint32_t direction_seen_ago(const struct nat *n, const struct ending *x, enum dir dir)
{
	const struct session *s = x->s;
	uint32_t least = UINT32_MAX;

	if (dir == session_origin(s) || !session_has(s, SESSION_AWAY))
		return seen_ago(n, x, n->engine, dir);
	uint64_t adopters = atomic_load_explicit(&s->adopters, memory_order_acquire);
	for (; adopters; adopters &= adopters - 1) {
		uint32_t ago = seen_ago(n, x, (unsigned)__builtin_ctzll(adopters), dir);

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
uint32_t nat_ending_ago(const struct nat *n, const struct ending *x)
{
	uint32_t ago = least_of(direction_seen_ago(n, x, DIR_OUTBOUND), age(n, x->s));

	if (x->s->l4 == L4_TCP || (x->s->l4 == L4_UDP && n->config.udp_inbound_refresh))
		ago = least_of(ago, direction_seen_ago(n, x, DIR_INBOUND));
	return ago;
}

struct ending nat_ending_of(const struct nat *n, uint32_t index)
{
	struct session *s = session_at(n->arena, index);
	struct ending x = {.s = s, .index = index};

	for (int dir = 0; dir < N_DIRS; dir++)
		x.hash[dir] = key_hash(n, s, (enum dir)dir);
	return x;
}

uint32_t nat_refreshed_ago(const struct nat *n, uint32_t index)
{
	struct ending x = nat_ending_of(n, index);

	return nat_ending_ago(n, &x);
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

/* Out of this engine's own table: the entry is in one place. */
static void leave_local(struct nat *n, const struct ending *x, enum dir dir)
{
	local_place place = x->place && x->dir == dir ? x->place : local_find(&n->local[dir], x->hash[dir], x->index);

	if (place)
		local_clear(place);
}

/* Out of every table: nobody can find it any more. False when a lock was busy. */
static bool leave_tables(struct nat *n, const struct ending *x)
{
	enum dir origin = session_origin(x->s), reverse = dir_reverse(origin);
	struct global_pair pair;

	leave_local(n, x, origin);
	if (session_has(x->s, SESSION_AWAY)) {
		let_go(n, x->index,
			x->s); /* its own adopter it is when a reply landed here, whatever steering foretold */
		if (!global_lock(&n->sessions, x->hash[reverse], &pair))
			return false;
		global_remove(&n->sessions, &pair, x->index);
		global_unlock(&n->sessions, &pair);
	} else {
		leave_local(n, x, reverse);
	}
	session_set(x->s, 0, SESSION_FLOW);
	return true;
}

/* Goes as far as it can; true when nothing is left of the session. Every step may be repeated. */
static bool end_further(struct nat *n, const struct ending *x)
{
	struct session *s = x->s;

	if (session_has(s, SESSION_FLOW) && !leave_tables(n, x))
		return false;
	if (atomic_load_explicit(&s->adopters, memory_order_acquire) != 0)
		return false;
	if (session_has(s, SESSION_CARRIES | SESSION_FILTERS) && !nat_end_bindings(n, x))
		return false;
	uint32_t parent = atomic_load_explicit(&s->mapping, memory_order_relaxed);
	if (parent && parent != x->index && parent != MAPPING_STATIC && !nat_drop_parent(n, s))
		return false;
	struct session was = {.inside = s->inside, .realm = s->realm};
	slab_put(n->arena, &n->actor->slab[SLAB_session], SLAB_session, x->index);
	nat_quota_session_back(n, &was, x->part);
	return true;
}

/* Their entries are made to look idle, so that they let go at their next pass, not when nobody has sent for long. */
static void call_adopters(const struct nat *n, const struct ending *x)
{
	enum dir reverse = dir_reverse(session_origin(x->s));
	uint64_t adopters = atomic_load_explicit(&x->s->adopters, memory_order_acquire);

	for (; adopters; adopters &= adopters - 1) {
		struct local_table t = local_table_of(n->arena, (unsigned)__builtin_ctzll(adopters), reverse);
		local_place place = local_find(&t, x->hash[reverse], x->index);

		if (place)
			local_mark(place, x->index, n->now_s - LOCAL_IDLE_S);
	}
}

/* What it has been found out to be; or what is left of it, at another try. */
static void go_further(struct nat *n, const struct ending *x)
{
	if (!end_further(n, x))
		nat_pending_add(n, x->index);
	intent_done(n);
}

void nat_end(struct nat *n, const struct ending *x)
{
	intent_begin(n, INTENT_END, x->index);
	nat_quota_asked_back(n, x->s, x->part);
	session_set(x->s, SESSION_DYING, 0);
	if (session_has(x->s, SESSION_FLOW))
		nat_counter(n, COUNTER_sessions_ended, 1);
	call_adopters(n, x);
	go_further(n, x);
}

void nat_session_end(struct nat *n, uint32_t index)
{
	struct ending x = nat_ending_of(n, index);

	nat_foresee_bindings(n, &x);
	nat_end(n, &x);
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

/* Out of all tables, but held by adopters, or by users of what it carries. */
static bool must_wait(const struct session *s)
{
	return !session_has(s, SESSION_FLOW) &&
	       (atomic_load_explicit(&s->adopters, memory_order_acquire) != 0 ||
		       (session_has(s, SESSION_CARRIES | SESSION_FILTERS) &&
			       atomic_load_explicit(&s->refs, memory_order_relaxed) != 0));
}

void nat_pending_slice(struct nat *n)
{
	const struct pending *p = &n->pending;
	uint32_t turns = p->n < PENDING_PER_TURN ? p->n : PENDING_PER_TURN;

	while (turns-- > 0) {
		uint32_t index = pending_take(n);

		if (p->first)
			__builtin_prefetch(session_at(n->arena, p->first), 1);
		if (must_wait(session_at(n->arena, index))) {
			nat_pending_add(n, index);
			continue;
		}
		struct ending x = nat_ending_of(n, index);

		nat_foresee_bindings(n, &x);
		intent_begin(n, INTENT_END, x.index);
		go_further(n, &x);
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
