/* Aging: the walk over this engine's tables, which ends what has been idle too long, several at a time. */
#include "pe/nat_internal.h"
#include "pe/nat_ports.h"

/* A slice of the sweep is bounded by work, not by buckets. The unit is a bucket with nothing to end in it, about 10 ns when
 * it is in no cache. For each session made since the last slice there is room to end two more, or sessions that come and
 * go would become ever more: a pass ends as many as were made during one when it takes a thirtieth as many creations as
 * there are buckets. */
enum {
	SLICE_WORK = 200,
	LOOK_WORK = 5, /* at a session that does not end */
	END_WORK = 28,
	MADE_WORK = 2 * END_WORK,
	MADE_MOST = BURST_MAX,
	BUCKETS_AHEAD = 8, /* that the sweep fetches */
	TOGETHER = 24,     /* sessions that are looked at together, and the last one's bucket's others */
	CANDIDATES = TOGETHER + LOCAL_ENTRIES - 1,
};
static const span_t sweep_period = {2000000000u}; /* of one pass over both tables */

/* Fetchers are inlined come what may (local_prefetch). */
#define FETCHER __attribute__((always_inline)) static inline

/* Entries of one table that have been idle for so long that their sessions are worth a look. */
struct candidates {
	enum dir dir;
	unsigned n;
	local_place place[CANDIDATES];
	struct ending ending[CANDIDATES]; /* of those that are left */
};

/* ---- idle times ---- */

static uint32_t least_of(uint32_t a, uint32_t b)
{
	return a < b ? a : b;
}

/* The shortest idle time that could end an entry of this class: its session may have moved on since it was touched. A
 * rule's class may be TCP's. */
static uint32_t shortest(const uint32_t *limit, unsigned class)
{
	if (class == TIMEOUT_UDP || class == TIMEOUT_ICMP || class == TIMEOUT_OTHER || class == TIMEOUT_UNANSWERED)
		return limit[class];
	return least_of(limit[class], least_of(limit[TIMEOUT_TCP_OPENING], limit[TIMEOUT_TCP_CLOSING]));
}

void nat_sweep_configure(struct nat *n)
{
	for (unsigned class = 0; class < N_TIMEOUTS; class ++)
		local_limit(&n->limits, class, shortest(n->config.timeout_s, class));
}

static uint32_t limit_of(const struct nat *n, const struct session *s)
{
	return n->config.timeout_s[session_class(s)];
}

/* ---- candidates, in stages ---- */

/* From where the sweep is to bucket `to` of its table, until there are `most` or so; their sessions are fetched. */
static inline void collect(struct nat *n, struct candidates *c, uint32_t to, unsigned most, int *work)
{
	struct local_bucket *bucket = n->local[c->dir].bucket;
	uint32_t at = n->sweep.bucket;

	for (c->n = 0; at < to && c->n<most && * work> 0; at++) {
		__builtin_prefetch(&bucket[at + BUCKETS_AHEAD]);
		--*work;
		for (unsigned idle = local_idle_in(&bucket[at], &n->limits, n->now_s); idle; idle &= idle - 1) {
			local_place place = &bucket[at].entry[__builtin_ctz(idle)];
			uint64_t e = atomic_load_explicit(place, memory_order_relaxed);

			__builtin_prefetch(session_at(n->arena, local_index(e)), 1);
			c->place[c->n++] = place;
		}
	}
	n->sweep.bucket = at;
}

/* Another engine's: let go when it is over, or when nobody here has asked for it for long. True: it was. */
static bool let_guest_go(struct nat *n, uint32_t index, const struct session *s, uint64_t e)
{
	bool goes = session_has(s, SESSION_DYING) || local_idle_s(e, n->now_s) >= limit_of(n, s);

	if (goes)
		nat_session_let_go(n, index);
	return goes;
}

FETCHER void fetch_pair(const struct global_table *t, const struct global_pair *pair)
{
	__builtin_prefetch(&t->bucket[pair->first], 1);
	__builtin_prefetch(&t->bucket[pair->second], 1);
}

/* What the ending will touch, but for what is found by way of that. */
FETCHER void fetch_all_of(struct nat *n, struct ending *x, enum dir dir)
{
	const struct session *s = x->s;
	uint32_t parent = atomic_load_explicit(&s->mapping, memory_order_relaxed);

	local_prefetch(&n->local[dir_reverse(dir)], x->hash[dir_reverse(dir)]);
	local_prefetch(&n->subscribers.parts, x->subscriber);
	if (session_has(s, SESSION_AWAY)) {
		struct global_pair pair = global_pair_of(&n->sessions, x->hash[dir_reverse(session_origin(s))]);

		fetch_pair(&n->sessions, &pair);
	}
	if (parent && parent != x->index && parent != MAPPING_STATIC)
		__builtin_prefetch(session_at(n->arena, parent), 1);
	if (!session_has(s, SESSION_CARRIES | SESSION_FILTERS))
		return;
	nat_foresee_bindings(n, x);
	fetch_pair(&n->mappings, &x->mapping);
	if (session_has(s, SESSION_FILTERS))
		fetch_pair(&n->filters, &x->filter);
	if (session_has(s, SESSION_CARRIES))
		x->address = nat_fetch_port(n, s);
}

/* Of one that was answered since it was touched: it may be idle for longer now. */
static void keep_up(local_place place, const struct session *s, uint64_t e)
{
	if (local_class(e) == TIMEOUT_UNANSWERED)
		atomic_store_explicit(
			place, local_seen(e, session_class(s), (uint32_t)e & LOCAL_SEEN_MASK), memory_order_release);
}

/* Leaves those that may have to end. How many were let go. */
static inline unsigned weigh(struct nat *n, struct candidates *c)
{
	unsigned left = 0, gone = 0;

	for (unsigned i = 0; i < c->n; i++) {
		uint64_t e = atomic_load_explicit(c->place[i], memory_order_relaxed);
		uint32_t index = local_index(e);
		const struct session *s = session_at(n->arena, index);

		if (!index)
			continue;
		if (s->owner != n->engine) {
			gone += let_guest_go(n, index, s, e);
			continue;
		}
		nat_see_answer(n, index);
		if (session_has(s, SESSION_DYING))
			continue;
		if (local_idle_s(e, n->now_s) < limit_of(n, s)) {
			keep_up(c->place[i], s, e);
			continue;
		}
		struct ending *x = &c->ending[left++];

		*x = nat_ending_of(n, index);
		x->place = c->place[i];
		x->dir = c->dir;
		x->subscriber = subscriber_hash(n->arena, (struct subscriber_key){s->inside, s->realm});
		fetch_all_of(n, x, c->dir);
	}
	c->n = left;
	return gone;
}

/* The entries that fit in the bucket of the hash that comes first; none: the other one is on its way. */
FETCHER unsigned match_first(const struct local_table *t, uint64_t hash)
{
	uint32_t bucket = local_first(t, hash), tag = local_hash_tag(hash);
	unsigned fits = local_match(t, bucket, tag);

	if (!fits)
		__builtin_prefetch(&t->bucket[local_other(t, bucket, tag)], 1);
	return fits;
}

/* Its subscriber's part, most likely the first whose tag fits; its other entry; and the buckets that its parent is locked
 * by. */
FETCHER void fetch_more_of(struct nat *n, struct ending *x)
{
	const struct local_table *t = &n->subscribers.parts;
	enum dir reverse = dir_reverse(x->dir);
	unsigned fits = match_first(t, x->subscriber);
	uint32_t parent = atomic_load_explicit(&x->s->mapping, memory_order_relaxed);

	if (fits) {
		local_place place = &t->bucket[local_first(t, x->subscriber)].entry[__builtin_ctz(fits)];

		x->part = part_at(n->arena, local_index(atomic_load_explicit(place, memory_order_acquire)));
		__builtin_prefetch(x->part, 1);
		__builtin_prefetch((const uint8_t *)x->part + CACHE_LINE, 1);
	}
	match_first(&n->local[reverse], x->hash[reverse]);
	if (parent && parent != x->index && parent != MAPPING_STATIC) {
		struct global_pair pair =
			global_pair_of(&n->mappings, flow_key_hash(mapping_key(session_at(n->arena, parent)), n->seed));

		fetch_pair(&n->mappings, &pair);
	}
}

/* Leaves those that end. An entry that says less of its session than another's is told what that says, or it would be looked
 * at in every pass. */
static inline void judge(struct nat *n, struct candidates *c)
{
	unsigned left = 0;

	for (unsigned i = 0; i < c->n; i++) {
		struct ending *x = &c->ending[i];
		uint32_t ago = nat_ending_ago(n, x);

		if (ago < limit_of(n, x->s)) {
			local_touch(x->place, session_class(x->s), n->now_s - ago);
			continue;
		}
		fetch_more_of(n, x);
		if (left < i)
			c->ending[left] = *x;
		left++;
	}
	c->n = left;
}

static bool is_part_of(const struct subscriber_part *p, const struct session *s)
{
	return p && part_is_of(p, (struct subscriber_key){s->inside, s->realm}) && slab_live(p);
}

/* How many ended, or were let go. */
static unsigned end_together(struct nat *n, struct candidates *c)
{
	unsigned gone = weigh(n, c);

	judge(n, c);
	for (unsigned i = 0; i < c->n; i++) {
		struct ending *x = &c->ending[i];

		if (!is_part_of(x->part, x->s))
			x->part = nat_part_of(n, x->s);
		nat_end(n, x);
	}
	return gone + c->n;
}

/* ---- the sweep ---- */

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

/* As far as there is room for; how many that are. */
static unsigned room_for(int work)
{
	unsigned most = (unsigned)work / END_WORK + 1;

	return most < TOGETHER ? most : TOGETHER;
}

/* On to the next table, after the last one to the next pass; false: a pass is over. */
static bool next_table(struct nat *n, mono_t now)
{
	struct sweep *w = &n->sweep;

	w->bucket = 0;
	w->dir = w->dir == DIR_OUTBOUND ? DIR_INBOUND : DIR_OUTBOUND;
	if (w->dir != DIR_OUTBOUND)
		return true;
	w->started = now;
	nat_counter(n, COUNTER_sweeps, 1);
	return false;
}

/* True when sessions were ended, or let go, or while some are made: there may be more. */
static bool sweep_slice(struct nat *n, mono_t now)
{
	struct sweep *w = &n->sweep;
	uint32_t size = n->local[0].n;
	uint64_t due = sweep_due(n, now);
	int made = made_lately(n);
	bool more = made > 0;

	struct candidates c;

	for (int work = SLICE_WORK + made * MADE_WORK; work > 0;) {
		uint64_t begin = (uint64_t)w->dir * size, left = due > begin ? due - begin : 0;

		c.dir = w->dir;
		if (w->bucket >= left)
			return false;
		collect(n, &c, left < size ? (uint32_t)left : size, room_for(work), &work);
		work -= (int)c.n * LOOK_WORK;
		unsigned ended = c.n ? end_together(n, &c) : 0;
		work -= (int)ended * (END_WORK - LOOK_WORK);
		more |= ended > 0;
		if (w->bucket == size && !next_table(n, now))
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
	nat_pending_slice(n);
	nat_answers_slice(n);
	nat_quota_housekeep(n);
	counter_set(&actor->counters[COUNTER_sessions_unanswered], n->unanswered);
	counter_set(&actor->counters[COUNTER_sessions], actor->slab[SLAB_session].used - n->pending.n - n->pinholes.n);
	counter_set(&actor->counters[COUNTER_pages], actor->slab[SLAB_session].pages);
	return more;
}
