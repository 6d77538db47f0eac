/* What each subscriber may have, and the NAT addresses it is paired with: the engine's part of shm/subscriber.h. */
#include "pe/nat_events.h"
#include "pe/nat_internal.h"
#include "pe/nat_ports.h"
#include "shm/quota.h"

#include <string.h>

enum {
	LOOKS_AT_ONCE = 288, /* of one slice of the walk, at buckets, while a changed configuration is taken over */
	LOOKS_CALM = 96,     /* else: of a million subscribers each is seen once in a minute */
	LOOKS_PART = 5,
	LOOKS_REFRESH = 24,
	LOOKS_END = 48, /* what these cost, in looks */
};
static const span_t walk_period = {2000000000u}; /* of one pass over all parts */

static struct subscriber_key key_of(const struct session *s)
{
	return (struct subscriber_key){s->inside, s->realm};
}

struct subscriber_part *nat_part_of(const struct nat *n, const struct session *s)
{
	struct subscriber_key key = key_of(s);

	return part_find(n->arena, &n->subscribers.parts, key, subscriber_hash(n->arena, key));
}

/* ---- taking ---- */

static const enum verdict refusal_of[N_QUOTAS] = {
	[QUOTA_sessions] = VERDICT_drop_limit_sessions,
	[QUOTA_tcp_ports] = VERDICT_drop_limit_tcp_ports,
	[QUOTA_udp_ports] = VERDICT_drop_limit_udp_ports,
	[QUOTA_icmp_ids] = VERDICT_drop_limit_icmp,
	[QUOTA_memory] = VERDICT_drop_limit_memory,
	[QUOTA_rate] = VERDICT_drop_limit_rate,
};

static enum verdict take(struct nat *n, const struct session *s, enum quota q, uint32_t units, bool listed)
{
	struct subscriber_part *p = n->part;
	enum quota_result r = quota_take(&n->subscribers, p, q, units, listed, n->now);

	if (r == QUOTA_TAKEN)
		return N_VERDICTS;
	if (r == QUOTA_BUSY)
		return VERDICT_drop_lock_busy;
	nat_tell_personal(n, s, &p->refused[q], refusal_of[q]);
	return refusal_of[q];
}

static bool refresh(struct nat *n, struct subscriber_part *p)
{
	uint32_t group = snapshot_group_of(&n->config, (struct subscriber_key){p->inside, p->realm});

	p->group = (uint16_t)group;
	if (!quota_refresh(&n->subscribers, p, n->config.generation, &n->config.groups[group].limits))
		return false;
	uint32_t share = n->config.unanswered / n->subscribers.engines;
	if (p->unanswered_most > share)
		p->unanswered_most = (uint16_t)(share ? share : 1);
	return true;
}

/* The engine's part of the session's subscriber, made if need be, that knows the limits in force; NULL and why. */
static struct subscriber_part *part_for(
	struct nat *n, const struct session *s, struct subscriber_part *foreseen, enum verdict *refused)
{
	static const enum verdict why[] = {
		[PART_BUSY] = VERDICT_drop_lock_busy,
		[PART_NO_MEMORY] = VERDICT_drop_no_memory,
		[PART_TABLE_FULL] = VERDICT_drop_table_full,
	};
	struct subscriber_part *p = foreseen ? foreseen : nat_part_of(n, s);
	enum part_refusal r = PART_BUSY;

	if (!p)
		p = part_make(&n->subscribers, key_of(s), n->now_s, &r);
	assert(!p || p->engine == n->engine);
	*refused = p ? VERDICT_drop_lock_busy : why[r];
	if (p && quota_is_stale(&n->subscribers, p, n->config.generation) && !refresh(n, p))
		return NULL;
	return p;
}

enum verdict nat_quota_session(struct nat *n, const struct session *s, struct subscriber_part *foreseen)
{
	enum verdict refused;
	struct subscriber_part *p = part_for(n, s, foreseen, &refused);

	n->part = p;
	if (!p)
		return refused;
	p->touched_s = n->now_s;
	if (quota_take_session(p))
		return N_VERDICTS;
	refused = take(n, s, QUOTA_rate, 1, false);
	if (refused != N_VERDICTS)
		return refused;
	refused = take(n, s, QUOTA_sessions, 1, false);
	if (refused == N_VERDICTS) {
		refused = take(n, s, QUOTA_memory, QUOTA_SESSION_MEMORY, false);
		if (refused == N_VERDICTS)
			return refused;
		quota_give(&n->subscribers, p, QUOTA_sessions, 1);
	}
	quota_give(&n->subscribers, p, QUOTA_rate, 1);
	return refused;
}

/* ---- from outside, and not answered ---- */

enum verdict nat_quota_ask(struct nat *n, const struct session *s, struct subscriber_part **part)
{
	enum verdict refused;

	*part = part_for(n, s, NULL, &refused);
	if (!*part)
		return refused;
	return atomic_load_explicit(&(*part)->unanswered, memory_order_relaxed) < (*part)->unanswered_most
		       ? N_VERDICTS
		       : VERDICT_drop_limit_unanswered;
}

static void count_unanswered(struct nat *n, struct subscriber_part *p, int by)
{
	uint32_t was = atomic_load_explicit(&p->unanswered, memory_order_relaxed);

	assert(by > 0 ? was < UINT16_MAX : was > 0);
	atomic_store_explicit(&p->unanswered, (uint16_t)((int)was + by), memory_order_relaxed);
	n->unanswered = (uint32_t)((int)n->unanswered + by);
}

void nat_quota_asked(struct nat *n, struct session *s, uint32_t life)
{
	assert(n->part && part_is_of(n->part, key_of(s)));
	atomic_store_explicit(&s->life, life | LIFE_UNANSWERED | LIFE_COUNTED, memory_order_relaxed);
	count_unanswered(n, n->part, 1);
}

void nat_quota_asked_back(struct nat *n, struct session *s, struct subscriber_part *part)
{
	if (!(atomic_load_explicit(&s->life, memory_order_relaxed) & LIFE_COUNTED))
		return;
	struct subscriber_part *p = part ? part : nat_part_of(n, s);

	assert(p && part_is_of(p, key_of(s)));
	atomic_fetch_and_explicit(&s->life, ~(uint32_t)LIFE_COUNTED, memory_order_relaxed);
	p->touched_s = n->now_s;
	count_unanswered(n, p, -1);
}

/* ---- giving back ---- */

void nat_quota_session_back(struct nat *n, const struct session *s, struct subscriber_part *part)
{
	struct subscriber_part *p = part ? part : nat_part_of(n, s);

	assert(p && part_is_of(p, key_of(s)));
	p->touched_s = n->now_s;
	quota_give(&n->subscribers, p, QUOTA_sessions, 1);
	quota_give(&n->subscribers, p, QUOTA_memory, QUOTA_SESSION_MEMORY);
}

/* ---- ports ---- */

static enum quota quota_of(const struct session *s)
{
	static const enum quota of[N_L4] = {
		[L4_TCP] = QUOTA_tcp_ports, [L4_UDP] = QUOTA_udp_ports, [L4_ICMP] = QUOTA_icmp_ids};

	return of[s->l4];
}

/* Whether its destination port is one that ports are kept for. */
static bool is_listed(const struct nat *n, const struct subscriber_part *p, const struct session *s)
{
	const struct snapshot_group *g = &n->config.groups[p->group];

	for (uint32_t i = 0; s->l4 != L4_ICMP && i < g->n_reserved_for; i++)
		if (g->reserved_for[i] == be16_host(s->remote_port))
			return true;
	return false;
}

enum verdict nat_quota_port(struct nat *n, const struct session *s, const struct snapshot_rule *rule)
{
	struct subscriber_part *p = n->part;

	assert(p && part_is_of(p, key_of(s)) && s->l4 != L4_OTHER);
	if (rule->pooling == POOLING_PAIRED && !nat_is_picked(n, p, rule->pool) && !nat_pair(n, p, rule))
		return VERDICT_drop_lock_busy;
	return take(n, s, quota_of(s), 1, is_listed(n, p, s));
}

void nat_quota_port_back(struct nat *n, const struct session *s, struct subscriber_part *part)
{
	struct subscriber_part *p = part ? part : nat_part_of(n, s);

	assert(p && part_is_of(p, key_of(s)));
	quota_give(&n->subscribers, p, quota_of(s), 1);
}

/* ---- pairing ---- */

/* Where it stands among those of the pool that give new mappings; `usable` when it does not. */
static uint32_t place_in(const struct nat *n, const struct snapshot_pool *pool, be32_t address)
{
	uint32_t i = 0;

	while (i < pool->usable && n->config.addresses[pool->first + i].address.net != address.net)
		i++;
	return i;
}

static bool is_of_pool(const struct nat *n, const struct snapshot_pool *pool, be32_t address)
{
	for (uint32_t i = 0; i < pool->n; i++)
		if (n->config.addresses[pool->first + i].address.net == address.net)
			return true;
	return false;
}

static uint32_t choice(const struct nat *n, struct subscriber_key key, uint32_t usable)
{
	return (uint32_t)subscriber_hash(n->arena, key) % usable;
}

static be32_t pair_at(const struct subscriber *s, unsigned i)
{
	return (be32_t){atomic_load_explicit(&s->pair[i], memory_order_relaxed)};
}

/* Where a new address of the pool is noted: in the place of one of the same pool that gives no new mappings any more, or
 * of one that no pool has, or where there is none. A subscriber that uses more pools than there are places is paired in
 * the others by its hash alone. */
static unsigned pair_place(const struct nat *n, const struct subscriber *s, const struct snapshot_pool *pool)
{
	unsigned place = SUBSCRIBER_PAIRS;

	for (unsigned i = SUBSCRIBER_PAIRS; i-- > 0;) {
		be32_t a = pair_at(s, i);

		if (a.net && is_of_pool(n, pool, a))
			return i;
		if (!a.net || !nat_is_in_force(n, a))
			place = i;
	}
	return place;
}

/* With the subscriber locked: the address it has in this pool, or a new one. Its place in the pool. */
static uint32_t find_pair(const struct nat *n, struct subscriber *s, const struct snapshot_pool *pool)
{
	uint32_t at = pool->usable;

	for (unsigned i = 0; i < SUBSCRIBER_PAIRS && at == pool->usable; i++)
		if (pair_at(s, i).net)
			at = place_in(n, pool, pair_at(s, i));
	if (at < pool->usable)
		return at;
	at = nat_place_home(n, pool, choice(n, (struct subscriber_key){s->inside, s->realm}, pool->usable));
	unsigned place = pair_place(n, s, pool);
	if (place < SUBSCRIBER_PAIRS)
		atomic_store_explicit(
			&s->pair[place], n->config.addresses[pool->first + at].address.net, memory_order_relaxed);
	return at;
}

bool nat_pair(struct nat *n, struct subscriber_part *p, const struct snapshot_rule *rule)
{
	struct subscriber *s = subscriber_at(n->arena, p->subscriber);
	const struct snapshot_pool *pool = &n->config.pools[rule->pool];

	if (nat_is_picked(n, p, rule->pool) || pool->usable == 0)
		return true;
	if (!subscriber_lock(&n->subscribers, s))
		return false;
	uint32_t at = find_pair(n, s, pool);
	subscriber_unlock(&n->subscribers, s);
	if (p->picked_from != n->config.generation)
		memset(p->pick, 0, sizeof p->pick);
	p->picked_from = n->config.generation;
	p->pick[rule->pool % SUBSCRIBER_PAIRS] = (uint32_t)rule->pool << 16 | (at + 1);
	return true;
}

uint32_t nat_paired_in(const struct nat *n, const struct session *s, uint32_t pool)
{
	const struct subscriber_part *p = n->part && part_is_of(n->part, key_of(s)) ? n->part : nat_part_of(n, s);

	if (nat_is_picked(n, p, pool))
		return (p->pick[pool % SUBSCRIBER_PAIRS] & UINT16_MAX) - 1;
	return (uint32_t)subscriber_hash(n->arena, key_of(s));
}

uint32_t nat_paired_place(const struct nat *n, const struct session *s, const struct snapshot_rule *rule)
{
	return nat_paired_in(n, s, rule->pool);
}

/* ---- the walk ---- */

static bool is_idle(const struct nat *n, const struct subscriber_part *p)
{
	uint32_t ago = n->now_s > p->touched_s ? n->now_s - p->touched_s : 0;

	return quota_used(p, QUOTA_sessions) == 0 && ago >= n->config.subscriber_idle_s;
}

/* What it cost, in looks. One that is busy is looked at again in the next pass; one with blocks stays until they have
 * rested, or nobody would see to them. */
static unsigned visit(struct nat *n, struct subscriber_part *p)
{
	unsigned looks = LOOKS_PART + nat_tend_blocks(n, p);

	if (is_idle(n, p) && !nat_holds_blocks(n, p)) {
		n->part = NULL;
		part_end(&n->subscribers, p);
		return looks + LOOKS_END;
	}
	if (p->configured == n->config.generation)
		return looks;
	refresh(n, p);
	return looks + LOOKS_REFRESH;
}

static struct subscriber_part *part_in(const struct nat *n, uint32_t bucket, unsigned place)
{
	const struct local_bucket *b = &n->subscribers.parts.bucket[bucket];
	uint32_t index = local_index(atomic_load_explicit(&b->entry[place], memory_order_relaxed));

	return index ? part_at(n->arena, index) : NULL;
}

static void fetch_lines(const void *object, size_t from, size_t to)
{
	for (size_t at = from; at < to; at += CACHE_LINE)
		__builtin_prefetch((const uint8_t *)object + at, 1);
}

/* Where its blocks are listed; other engines read that, too. */
static void fetch_blocks(const struct subscriber *who)
{
	__builtin_prefetch(&who->block[0]);
	__builtin_prefetch(&who->block[SUBSCRIBER_BLOCKS - 1]);
}

/* Buckets ahead, then their parts, and their subscribers' blocks, with all of those that will have to be locked: the walk meets
 * cold memory only, and its misses overlap. While nothing changed of a part only what it uses is looked at. */
static void fetch_ahead(const struct nat *n, uint32_t bucket)
{
	enum { BLOCKS_AHEAD = 2, PARTS_AHEAD = 4, BUCKETS_AHEAD = 8 };
	const struct local_table *t = &n->subscribers.parts;
	bool calm = n->walk.done == n->config.generation;
	size_t to = calm ? offsetof(struct subscriber_part, amount) : offsetof(struct subscriber_part, refused);

	__builtin_prefetch(&t->bucket[bucket + BUCKETS_AHEAD]);
	for (unsigned i = 0; bucket + PARTS_AHEAD < t->n && i < LOCAL_ENTRIES; i++) {
		const struct subscriber_part *later = part_in(n, bucket + PARTS_AHEAD, i),
					     *next = part_in(n, bucket + BLOCKS_AHEAD, i);

		if (later)
			fetch_lines(later, 0, to);
		if (next)
			fetch_blocks(subscriber_at(n->arena, next->subscriber));
		if (next && next->configured != n->config.generation)
			fetch_lines(subscriber_at(n->arena, next->subscriber), offsetof(struct subscriber, lock),
				offsetof(struct subscriber, block));
	}
}

static unsigned visit_bucket(struct nat *n, uint32_t bucket)
{
	unsigned looks = 1;

	fetch_ahead(n, bucket);
	for (unsigned i = 0; i < LOCAL_ENTRIES; i++) {
		struct subscriber_part *p = part_in(n, bucket, i);

		if (p)
			looks += visit(n, p);
	}
	return looks;
}

/* Where a pass that takes one period should be by now. */
static uint32_t walk_due(const struct nat *n)
{
	uint64_t spent = mono_since(n->now, n->walk.started).ns;
	uint32_t all = n->subscribers.parts.n;

	return spent >= walk_period.ns ? all : (uint32_t)((__uint128_t)all * spent / walk_period.ns);
}

void nat_quota_housekeep(struct nat *n)
{
	unsigned most = n->walk.done == n->config.generation ? LOOKS_CALM : LOOKS_AT_ONCE;
	uint32_t due = walk_due(n);

	n->subscribers.now = n->now;
	quota_turn(&n->subscribers);
	if (!n->configured)
		return;
	for (unsigned looks = 0; looks < most && n->walk.bucket < due; n->walk.bucket++)
		looks += visit_bucket(n, n->walk.bucket);
	if (n->walk.bucket == n->subscribers.parts.n)
		n->walk = (struct part_walk){
			.started = n->now, .generation = n->config.generation, .done = n->walk.generation};
}

bool nat_quota_leave(struct nat *n)
{
	const struct local_table *t = &n->subscribers.parts;

	for (uint32_t b = 0; b < t->n; b++)
		for (unsigned i = 0; i < LOCAL_ENTRIES; i++) {
			uint32_t index =
				local_index(atomic_load_explicit(&t->bucket[b].entry[i], memory_order_relaxed));

			if (index && quota_used(part_at(n->arena, index), QUOTA_sessions) == 0)
				part_end(&n->subscribers, part_at(n->arena, index));
		}
	return n->actor->slab[SLAB_part].used == 0;
}

/* ---- after a restart ---- */

void nat_quota_count(struct nat *n, const struct session *s)
{
	struct subscriber_part *p = nat_part_of(n, s);

	assert(p);
	p->amount[QUOTA_sessions].used++;
	p->amount[QUOTA_memory].used += QUOTA_SESSION_MEMORY;
	if (session_has(s, SESSION_CARRIES))
		p->amount[quota_of(s)].used++;
	if (session_is_counted(s))
		count_unanswered(n, p, 1);
}
