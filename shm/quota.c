#include "shm/quota.h"

#include <string.h>

enum { EPISODE_S = 60, TIGHT_UNITS = 2 }; /* units for each engine */

static uint32_t load(const _Atomic uint32_t *v)
{
	return atomic_load_explicit(v, memory_order_relaxed);
}

static void store(_Atomic uint32_t *v, uint32_t n)
{
	atomic_store_explicit(v, n, memory_order_relaxed);
}

/* ---- what is left: with the subscriber locked ---- */

static uint32_t reserve_of(const struct subscriber *s, enum quota q)
{
	return q == QUOTA_tcp_ports || q == QUOTA_udp_ports ? s->limits.reserved : 0;
}

/* Below zero after a limit was lowered. */
static int64_t left(const struct subscriber *s, enum quota q, bool listed)
{
	int64_t n = (int64_t)s->limits.of[q] - s->out[q];

	if (q == QUOTA_rate && n > s->tokens)
		n = s->tokens;
	return listed ? n : n - reserve_of(s, q);
}

/* New sessions become possible as time goes by, up to the limit together with those that parts have drawn. */
static void refill(struct subscriber *s, mono_t now)
{
	uint32_t per_s = s->limits.per_s;
	int64_t room = (int64_t)s->limits.of[QUOTA_rate] - s->out[QUOTA_rate];

	if (per_s == 0) {
		s->tokens = QUOTA_UNLIMITED;
		return;
	}
	uint64_t since = now.ns > s->refilled_ns ? now.ns - s->refilled_ns : 0;
	uint64_t fresh = (uint64_t)((__uint128_t)since * per_s / 1000000000u);
	int64_t tokens = (int64_t)s->tokens + (int64_t)(fresh < QUOTA_UNLIMITED ? fresh : QUOTA_UNLIMITED);

	s->refilled_ns += (uint64_t)((__uint128_t)fresh * 1000000000u / per_s);
	s->tokens = (uint32_t)(tokens < room ? tokens : room > 0 ? room : 0);
	if (tokens >= room) /* a full bucket does not save up time */
		s->refilled_ns = now.ns > s->refilled_ns ? now.ns : s->refilled_ns;
}

static void lend(struct subscriber *s, struct subscriber_part *p, enum quota q, uint32_t n)
{
	s->out[q] += n;
	if (q == QUOTA_rate)
		s->tokens -= n;
	store(&p->amount[q].have, load(&p->amount[q].have) + n);
}

/* What the part does not use goes back; what rate used is gone. */
static void take_back(struct subscriber *s, struct subscriber_part *p, enum quota q)
{
	struct part_amount *a = &p->amount[q];
	uint32_t used = load(&a->used), unused = load(&a->have) - used;

	s->out[q] -= unused;
	store(&a->have, used);
	if (q != QUOTA_rate)
		return;
	s->tokens += unused;
	s->out[q] -= used;
	store(&a->used, 0); /* first: at no instant more than it may */
	store(&a->have, 0);
}

/* With one engine nobody waits for its units: only what is below the limit must come back. */
static void set_tight(const struct subscribers *v, const struct subscriber *s, struct subscriber_part *p, enum quota q)
{
	int64_t least = v->engines == 1 ? 0 : (int64_t)TIGHT_UNITS * v->engines;
	uint8_t bit = (uint8_t)(1u << q);

	/* Rate: what is drawn is used soon, and comes by time. */
	uint8_t tight = atomic_load_explicit(&p->tight, memory_order_relaxed);
	bool is_tight = q != QUOTA_rate && left(s, q, false) < least;

	atomic_store_explicit(&p->tight, (uint8_t)(is_tight ? tight | bit : tight & ~bit), memory_order_relaxed);
}

static uint32_t chunk(const struct subscribers *v, int64_t there, uint32_t need)
{
	int64_t n = v->engines == 1 ? there : there / ((int64_t)TIGHT_UNITS * v->engines);

	return n > need ? (uint32_t)n : need;
}

/* ---- asking others: with the subscriber locked, so their parts stay ---- */

static void ring(struct subscribers *v, unsigned engine, uint32_t part)
{
	struct bells *b = &actor_of(v->arena, engine)->bells;
	unsigned slot = part % BELL_SLOTS;

	atomic_store_explicit(&b->part[slot], part, memory_order_relaxed);
	atomic_fetch_or_explicit(&b->rung, 1ull << slot, memory_order_release);
}

/* Units to spare, or one that it would keep when it falls free: once rung it is tight. Of rate what it has used counts,
 * too: only when it is handed back do new tokens come in for it. */
static bool has_any(const struct subscriber_part *p, enum quota q)
{
	if (q == QUOTA_rate)
		return quota_have(p, q) > 0;
	return quota_have(p, q) > quota_used(p, q) || !quota_is_tight(p, q);
}

static void ask(struct subscribers *v, const struct subscriber *s, enum quota q)
{
	struct subscriber_key key = {s->inside, s->realm};
	uint64_t hash = subscriber_hash(v->arena, key);
	uint64_t others = atomic_load_explicit(&s->parts, memory_order_acquire) & ~(1ull << v->number);

	for (; others; others &= others - 1) {
		unsigned engine = (unsigned)__builtin_ctzll(others);
		struct local_table t = subscriber_parts_of(v->arena, engine);
		const struct subscriber_part *p = part_find(v->arena, &t, key, hash);

		if (p && has_any(p, q))
			ring(v, engine, part_index(v->arena, p));
	}
}

void quota_turn(struct subscribers *v)
{
	struct bells *b = &v->actor->bells;

	v->turn++;
	if (!atomic_load_explicit(&b->rung, memory_order_relaxed))
		return;
	uint64_t rung = atomic_exchange_explicit(&b->rung, 0, memory_order_acquire);
	for (; rung; rung &= rung - 1) {
		uint32_t part = load(&b->part[__builtin_ctzll(rung)]);

		if (slab_owned(v->arena, v->number, SLAB_part, part) && slab_live(part_at(v->arena, part)))
			quota_hand_back(v, part_at(v->arena, part));
	}
}

/* ---- drawing and returning ---- */

/* What is refused to a listed request is to an ordinary one, too. */
static uint16_t dry_bits(enum quota q, bool listed)
{
	return (uint16_t)((listed ? 0x101u : 0x100u) << q);
}

static enum quota_result refuse(
	struct subscribers *v, const struct subscriber *s, struct subscriber_part *p, enum quota q, bool listed)
{
	ask(v, s, q);
	if (p->dry_turn != v->turn)
		p->dry = 0;
	p->dry_turn = v->turn;
	p->dry |= dry_bits(q, listed || reserve_of(s, q) == 0);
	return QUOTA_REFUSED;
}

enum quota_result quota_draw(
	struct subscribers *v, struct subscriber_part *p, enum quota q, uint32_t n, bool listed, mono_t now)
{
	struct subscriber *s = subscriber_at(v->arena, p->subscriber);
	struct part_amount *a = &p->amount[q];
	enum quota_result result = QUOTA_TAKEN;

	if (p->dry_turn == v->turn && (p->dry >> (listed ? q : q + 8) & 1))
		return QUOTA_REFUSED;
	if (!subscriber_lock(v, s))
		return QUOTA_BUSY;
	take_back(s, p, q);
	if (q == QUOTA_rate)
		refill(s, now);
	int64_t there = left(s, q, listed);
	if (there >= n) {
		lend(s, p, q, chunk(v, there, n));
		store(&a->used, load(&a->used) + n);
	}
	set_tight(v, s, p, q);
	if (there < n)
		result = refuse(v, s, p, q, listed);
	subscriber_unlock(v, s);
	return result;
}

void quota_return(struct subscribers *v, struct subscriber_part *p, enum quota q)
{
	struct subscriber *s = subscriber_at(v->arena, p->subscriber);

	p->dry &= (uint16_t)~dry_bits(q, true);
	if (!subscriber_lock(v, s))
		return; /* still tight: with the next one, or when asked */
	take_back(s, p, q);
	set_tight(v, s, p, q);
	subscriber_unlock(v, s);
}

static void take_all_back(struct subscribers *v, struct subscriber *s, struct subscriber_part *p)
{
	for (unsigned q = 0; q < N_QUOTAS; q++) {
		take_back(s, p, (enum quota)q);
		set_tight(v, s, p, (enum quota)q);
	}
	p->dry = 0;
}

bool quota_hand_back(struct subscribers *v, struct subscriber_part *p)
{
	struct subscriber *s = subscriber_at(v->arena, p->subscriber);

	if (!subscriber_lock(v, s))
		return false;
	take_all_back(v, s, p);
	subscriber_unlock(v, s);
	return true;
}

/* ---- limits ---- */

/* A group's reserve may be all that a subscriber's own limit allows, or the other way round: then half of it is. */
static void leave_some(struct limits *l, enum quota q)
{
	if (l->reserved >= l->of[q])
		l->reserved = l->of[q] / 2;
}

struct limits quota_limits(const struct limits *group, const struct subscriber_record *record)
{
	struct limits l = *group;

	if (!record)
		return l;
	for (unsigned q = 0; q < N_QUOTAS; q++)
		if (record->given >> q & 1)
			l.of[q] = record->limits.of[q];
	if (record->given & LIMIT_GIVEN_PER_S)
		l.per_s = record->limits.per_s;
	if (record->given & LIMIT_GIVEN_RESERVED)
		l.reserved = record->limits.reserved;
	leave_some(&l, QUOTA_tcp_ports);
	leave_some(&l, QUOTA_udp_ports);
	return l;
}

static struct limits limits_for(const struct subscribers *v, const struct subscriber *s, const struct limits *group)
{
	uint32_t record = load(&s->record);

	return quota_limits(group, record ? record_at(v->arena, record) : NULL);
}

/* Tokens there are stay within the new limit (left), and those that a new limit allows are there at once. */
static void put_in_force(struct subscriber *s, const struct limits *l)
{
	if (s->limits.of[QUOTA_rate] != l->of[QUOTA_rate] || s->limits.per_s != l->per_s)
		s->tokens = l->of[QUOTA_rate];
	s->limits = *l;
	atomic_fetch_add_explicit(&s->epoch, 1, memory_order_release);
}

/* A quarter of its sessions, of which each engine has its share. */
static uint16_t most_unanswered(const struct subscribers *v, const struct subscriber *s)
{
	enum { SHARE = 4 };
	uint32_t most = s->limits.of[QUOTA_sessions] / (SHARE * v->engines);

	return (uint16_t)(most < 1 ? 1 : most < UINT16_MAX ? most : UINT16_MAX);
}

bool quota_refresh(struct subscribers *v, struct subscriber_part *p, uint32_t generation, const struct limits *group)
{
	struct subscriber *s = subscriber_at(v->arena, p->subscriber);

	if (!subscriber_lock(v, s))
		return false;
	if ((int32_t)(generation - s->limits_from) >= 0) {
		struct limits l = limits_for(v, s, group);

		if (memcmp(&l, &s->limits, sizeof l) != 0)
			put_in_force(s, &l);
		s->limits_from = generation;
	}
	uint32_t epoch = load(&s->epoch);
	if (p->epoch != epoch)
		take_all_back(v, s, p);
	p->epoch = epoch;
	p->configured = generation;
	p->unanswered_most = most_unanswered(v, s);
	subscriber_unlock(v, s);
	return true;
}

/* ---- for people ---- */

bool part_note_refusal(struct part_refusals *r, uint32_t now_s)
{
	uint32_t count = load(&r->count), last_s = load(&r->last_s);

	if (count == 0 || now_s - last_s > EPISODE_S)
		store(&r->since_s, now_s);
	store(&r->last_s, now_s);
	store(&r->count, count + 1);
	return count == 0 || last_s != now_s;
}
