#include "shm/subscriber.h"

#include "shm/blocks.h"
#include "shm/shared_slab.h"

#include <errno.h>
#include <string.h>

const struct quota_info quota_info[N_QUOTAS] = {
#define Q(name, unit, help) {#name, unit, help},
	QUOTAS(Q)
#undef Q
};

/* ---- views ---- */

struct local_table subscriber_parts_of(const struct arena *a, unsigned engine)
{
	uint32_t n = a->header->geometry.part_buckets;

	return (struct local_table){(struct local_bucket *)arena_region(a, ARENA_parts) + (uint64_t)engine * n, n};
}

struct global_table subscriber_table_of(const struct arena *a, unsigned actor)
{
	return (struct global_table){.bucket = arena_region(a, ARENA_subscribers),
		.n = a->header->geometry.subscriber_buckets,
		.actor = actor};
}

struct subscribers subscribers_view(struct arena *a, unsigned actor)
{
	struct subscribers v = {.arena = a,
		.actor = actor_of(a, actor),
		.number = actor,
		.engines = a->header->geometry.engines,
		.table = subscriber_table_of(a, actor),
		.events = events_of(a, actor),
		.turn = 1};

	if (actor < v.engines)
		v.parts = subscriber_parts_of(a, actor);
	return v;
}

/* ---- intents ---- */

static void intend(struct subscribers *v, struct subscriber_key k)
{
	uint64_t word = 1ull << 48 | (uint64_t)k.realm << 32 | k.inside.net;

	atomic_store_explicit(&v->actor->intent.subscriber, word, memory_order_release);
}

static void intend_nothing(struct subscribers *v)
{
	atomic_store_explicit(&v->actor->intent.subscriber, 0, memory_order_release);
}

static struct subscriber_key key_of(const struct subscriber *s)
{
	return (struct subscriber_key){s->inside, s->realm};
}

/* ---- locks ---- */

bool subscriber_lock(struct subscribers *v, struct subscriber *s)
{
	uint64_t was = atomic_load_explicit(&v->actor->intent.subscriber, memory_order_relaxed);

	intend(v, key_of(s));
	for (int spin = 0; spin < GLOBAL_SPINS; spin++) {
		uint32_t free = 0;

		if (atomic_load_explicit(&s->lock, memory_order_relaxed) == 0 &&
			atomic_compare_exchange_strong_explicit(
				&s->lock, &free, v->number + 1, memory_order_acquire, memory_order_relaxed))
			return true;
		__builtin_ia32_pause();
	}
	atomic_store_explicit(&v->actor->intent.subscriber, was, memory_order_release); /* its buckets may be locked */
	return false;
}

static void unlock(struct subscriber *s)
{
	atomic_store_explicit(&s->lock, 0, memory_order_release);
}

void subscriber_unlock(struct subscribers *v, struct subscriber *s)
{
	unlock(s);
	intend_nothing(v);
}

/* The buckets of a key, from which on the intent names it. */
static bool lock_buckets(struct subscribers *v, struct subscriber_key k, struct global_pair *pair)
{
	intend(v, k);
	if (global_lock(&v->table, subscriber_hash(v->arena, k), pair))
		return true;
	intend_nothing(v);
	return false;
}

static void unlock_buckets(struct subscribers *v, const struct global_pair *pair)
{
	global_unlock(&v->table, pair);
	intend_nothing(v);
}

/* ---- finding ---- */

struct subscriber_part *part_find(
	const struct arena *a, const struct local_table *parts, struct subscriber_key key, uint64_t hash)
{
	unsigned cursor = 0;
	local_place place;

	while ((place = local_next(parts, hash, &cursor))) {
		struct subscriber_part *p = part_at(a, local_index(atomic_load_explicit(place, memory_order_acquire)));

		if (part_is_of(p, key) && slab_live(p))
			return p;
	}
	return NULL;
}

uint32_t subscriber_find(const struct subscribers *v, const struct global_pair *pair, struct subscriber_key key)
{
	unsigned cursor = 0;
	uint32_t i;

	while ((i = global_next(&v->table, pair, &cursor))) {
		const struct subscriber *s = subscriber_at(v->arena, i);

		if (s->inside.net == key.inside.net && s->realm == key.realm && slab_live(s))
			return i;
	}
	return 0;
}

/* ---- making and ending subscribers: with the buckets locked ---- */

struct birth {
	struct subscriber_key key;
	uint32_t now_s;
};

static void build(void *object, void *context)
{
	struct subscriber *s = object;
	const struct birth *b = context;

	memset((uint8_t *)s + sizeof s->generation, 0, sizeof *s - sizeof s->generation);
	s->inside = b->key.inside;
	s->realm = b->key.realm;
	s->created_s = b->now_s;
	s->epoch = 1;
}

static uint32_t make_subscriber(struct subscribers *v, const struct global_pair *pair, struct subscriber_key key,
	uint32_t now_s, enum part_refusal *why)
{
	struct birth b = {key, now_s};
	uint32_t i = shared_make(v->arena, v->number, SLAB_subscriber, build, &b);

	*why = PART_NO_MEMORY;
	if (!i)
		return 0;
	if (global_insert(&v->table, pair, i))
		return i;
	shared_drop(v->arena, v->number, SLAB_subscriber, i);
	*why = PART_TABLE_FULL;
	return 0;
}

static bool has_blocks(const struct subscriber *s)
{
	uint64_t any = 0;

	for (unsigned i = 0; i < SUBSCRIBER_BLOCKS; i++)
		any |= block_listed(s, i);
	return any != 0;
}

static bool is_needed(const struct subscriber *s)
{
	return atomic_load_explicit(&s->parts, memory_order_acquire) != 0 ||
	       atomic_load_explicit(&s->record, memory_order_relaxed) != 0 || has_blocks(s);
}

/* With the buckets locked, and no part left: nobody uses a port of its blocks, or comes to. */
static void give_blocks_back(struct subscribers *v, uint32_t index)
{
	struct subscriber *s = subscriber_at(v->arena, index);

	if (!has_blocks(s) || !subscriber_lock(v, s))
		return;
	for (unsigned i = 0; i < SUBSCRIBER_BLOCKS; i++)
		if (block_listed(s, i) && block_give_back(v, s, index, i))
			counter_add(&v->actor->counters[COUNTER_blocks_returned], 1);
	unlock(s);
}

/* One that cannot be freed just now stays in the table, for whoever touches it next. */
static void drop_if_idle(struct subscribers *v, const struct global_pair *pair, uint32_t index)
{
	if (atomic_load_explicit(&subscriber_at(v->arena, index)->parts, memory_order_acquire) == 0)
		give_blocks_back(v, index);
	if (is_needed(subscriber_at(v->arena, index)))
		return;
	global_remove(&v->table, pair, index);
	if (!shared_drop(v->arena, v->number, SLAB_subscriber, index))
		global_insert(&v->table, pair, index);
}

/* ---- parts ---- */

static uint64_t bit_of(const struct subscribers *v)
{
	return 1ull << v->number;
}

/* With the buckets locked. Its bit comes first and goes last. */
static struct subscriber_part *add_part(
	struct subscribers *v, uint32_t subscriber, struct subscriber_key key, uint32_t now_s, enum part_refusal *why)
{
	struct slab *slab = &v->actor->slab[SLAB_part];
	struct subscriber *s = subscriber_at(v->arena, subscriber);

	atomic_fetch_or_explicit(&s->parts, bit_of(v), memory_order_release);
	uint32_t index = slab_take(v->arena, slab, v->number, SLAB_part);
	struct subscriber_part *p = index ? part_at(v->arena, index) : NULL;

	*why = index ? PART_TABLE_FULL : PART_NO_MEMORY;
	if (p) {
		memset((uint8_t *)p + sizeof p->generation, 0, sizeof *p - sizeof p->generation);
		p->inside = key.inside;
		p->realm = key.realm;
		p->engine = (uint8_t)v->number;
		p->subscriber = subscriber;
		p->touched_s = now_s;
		slab_publish(p);
		if (local_insert(&v->parts, subscriber_hash(v->arena, key), index, 0, 0))
			return p;
		slab_put(v->arena, slab, SLAB_part, index);
	}
	atomic_fetch_and_explicit(&s->parts, ~bit_of(v), memory_order_release);
	return NULL;
}

struct subscriber_part *part_make(
	struct subscribers *v, struct subscriber_key key, uint32_t now_s, enum part_refusal *why)
{
	struct subscriber_part *p = NULL;
	struct global_pair pair;

	*why = PART_BUSY;
	if (!lock_buckets(v, key, &pair))
		return NULL;
	uint32_t found = subscriber_find(v, &pair, key);
	uint32_t s = found ? found : make_subscriber(v, &pair, key, now_s, why);
	if (s)
		p = add_part(v, s, key, now_s, why);
	if (s && !p)
		drop_if_idle(v, &pair, s);
	unlock_buckets(v, &pair);
	return p;
}

/* What it may use goes back. Of rate it goes with what was made: that first, so that at no instant it uses more than it may. */
static void give_all_back(struct subscriber *s, struct subscriber_part *p)
{
	atomic_store_explicit(&p->amount[QUOTA_rate].used, 0, memory_order_relaxed);
	for (unsigned q = 0; q < N_QUOTAS; q++) {
		s->out[q] -= atomic_load_explicit(&p->amount[q].have, memory_order_relaxed);
		atomic_store_explicit(&p->amount[q].have, 0, memory_order_relaxed);
	}
}

bool part_end(struct subscribers *v, struct subscriber_part *p)
{
	struct subscriber_key key = {p->inside, p->realm};
	uint32_t subscriber = p->subscriber, index = part_index(v->arena, p);
	struct subscriber *s = subscriber_at(v->arena, subscriber);
	struct global_pair pair;

	if (!lock_buckets(v, key, &pair))
		return false;
	if (!subscriber_lock(v, s)) {
		unlock_buckets(v, &pair);
		return false;
	}
	give_all_back(s, p);
	unlock(s);
	local_remove(&v->parts, subscriber_hash(v->arena, key), index);
	slab_put(v->arena, &v->actor->slab[SLAB_part], SLAB_part, index);
	atomic_fetch_and_explicit(&s->parts, ~bit_of(v), memory_order_release);
	drop_if_idle(v, &pair, subscriber);
	unlock_buckets(v, &pair);
	return true;
}

/* ---- by name ---- */

static void build_record(void *object, void *context)
{
	struct subscriber_record *r = object;
	const struct subscriber_record *want = context;

	memcpy((uint8_t *)r + sizeof r->generation, (const uint8_t *)want + sizeof r->generation,
		sizeof *r - sizeof r->generation);
	r->link = 0;
	r->name[SUBSCRIBER_NAME_SIZE - 1] = '\0';
}

/* Puts another record in the place of the one there is; engines look again before they grant anything more. */
static bool exchange_record(struct subscribers *v, struct subscriber *s, uint32_t record)
{
	if (!subscriber_lock(v, s))
		return false;
	uint32_t was = atomic_exchange_explicit(&s->record, record, memory_order_release);
	atomic_fetch_add_explicit(&s->epoch, 1, memory_order_release);
	unlock(s);
	if (was)
		shared_drop(v->arena, v->number, SLAB_record, was);
	return true;
}

int subscriber_record_set(struct subscribers *v, struct subscriber_key key, const struct subscriber_record *want)
{
	struct subscriber_record copy = *want;
	enum part_refusal why = PART_NO_MEMORY;
	struct global_pair pair;
	int error = 0;

	if (!lock_buckets(v, key, &pair))
		return -EBUSY;
	uint32_t s = subscriber_find(v, &pair, key);
	if (!s)
		s = make_subscriber(v, &pair, key, 0, &why);
	uint32_t record = s ? shared_make(v->arena, v->number, SLAB_record, build_record, &copy) : 0;
	if (!record)
		error = -ENOMEM;
	else if (!exchange_record(v, subscriber_at(v->arena, s), record))
		error = -EBUSY;
	if (error && record)
		shared_drop(v->arena, v->number, SLAB_record, record);
	if (error && s)
		drop_if_idle(v, &pair, s);
	unlock_buckets(v, &pair);
	return error;
}

int subscriber_record_drop(struct subscribers *v, struct subscriber_key key)
{
	struct global_pair pair;
	int error = -ENOENT;

	if (!lock_buckets(v, key, &pair))
		return -EBUSY;
	uint32_t s = subscriber_find(v, &pair, key);
	if (s && subscriber_at(v->arena, s)->record)
		error = exchange_record(v, subscriber_at(v->arena, s), 0) ? 0 : -EBUSY;
	if (s)
		drop_if_idle(v, &pair, s);
	unlock_buckets(v, &pair);
	return error;
}

/* ---- after a restart ---- */

static struct subscriber_key intended(const struct subscribers *v)
{
	uint64_t word = atomic_load_explicit(&v->actor->intent.subscriber, memory_order_acquire);

	return (struct subscriber_key){{(uint32_t)word}, (uint16_t)(word >> 32)};
}

static bool is_intending(const struct subscribers *v)
{
	return atomic_load_explicit(&v->actor->intent.subscriber, memory_order_acquire) != 0;
}

/* What rate counted is spent, whatever became of the sessions. */
static void found_part(void *context, uint32_t index, void *object)
{
	struct subscribers *v = context;
	struct subscriber_part *p = object;

	for (unsigned q = 0; q < N_QUOTAS; q++)
		if (q != QUOTA_rate)
			atomic_store_explicit(&p->amount[q].used, 0, memory_order_relaxed);
	atomic_store_explicit(&p->unanswered, 0, memory_order_relaxed);
	if (is_intending(v) && part_is_of(p, intended(v)))
		v->stray = index;
}

/* The own part of the subscriber in question: in the table, or not at all. */
static bool settle_part(struct subscribers *v, struct subscriber_key key)
{
	uint64_t hash = subscriber_hash(v->arena, key);

	local_repair(&v->parts, hash);
	if (v->stray && local_find(&v->parts, hash, v->stray))
		return true;
	if (v->stray)
		slab_put(v->arena, &v->actor->slab[SLAB_part], SLAB_part, v->stray);
	/* An entry whose part was freed. */
	unsigned cursor = 0;
	local_place place;
	while ((place = local_next(&v->parts, hash, &cursor))) {
		uint32_t index = local_index(atomic_load_explicit(place, memory_order_relaxed));

		if (!slab_live(part_at(v->arena, index)))
			atomic_store_explicit(place, 0, memory_order_release);
	}
	return false;
}

/* With the subscriber locked no part of it gains or loses units. */
static void count_out(struct subscribers *v, struct subscriber *s)
{
	struct subscriber_key key = key_of(s);
	uint64_t hash = subscriber_hash(v->arena, key);
	uint64_t parts = atomic_load_explicit(&s->parts, memory_order_acquire);

	memset(s->out, 0, sizeof s->out);
	for (; parts; parts &= parts - 1) {
		struct local_table t = subscriber_parts_of(v->arena, (unsigned)__builtin_ctzll(parts));
		const struct subscriber_part *p = part_find(v->arena, &t, key, hash);

		for (unsigned q = 0; p && q < N_QUOTAS; q++)
			s->out[q] += atomic_load_explicit(&p->amount[q].have, memory_order_relaxed);
	}
}

/* The predecessor may have died with it locked: then it is this actor's still. */
static void settle_subscriber(struct subscribers *v, const struct global_pair *pair, uint32_t index, bool has_part)
{
	struct subscriber *s = subscriber_at(v->arena, index);

	if (has_part)
		atomic_fetch_or_explicit(&s->parts, bit_of(v), memory_order_release);
	else if (v->number < v->engines)
		atomic_fetch_and_explicit(&s->parts, ~bit_of(v), memory_order_release);
	if (atomic_load_explicit(&s->lock, memory_order_acquire) == v->number + 1) {
		count_out(v, s);
		block_settle(v, s, index);
		atomic_fetch_add_explicit(&s->epoch, 1, memory_order_release);
		unlock(s);
	}
	drop_if_idle(v, pair, index);
}

/* Made, or taken out of the table, and not yet entered or freed. */
static void drop_strays(struct subscribers *v, struct subscriber_key key, uint32_t listed)
{
	uint32_t i = 0;

	while ((i = slab_next_live(v->arena, SLAB_subscriber, i + 1))) {
		const struct subscriber *s = subscriber_at(v->arena, i);

		if (i != listed && s->inside.net == key.inside.net && s->realm == key.realm)
			shared_drop(v->arena, v->number, SLAB_subscriber, i);
	}
}

static bool is_recorded(const struct subscribers *v, uint32_t record)
{
	uint32_t i = 0;

	while ((i = slab_next_live(v->arena, SLAB_subscriber, i + 1)))
		if (subscriber_at(v->arena, i)->record == record)
			return true;
	return false;
}

/* Only what mgmtd died in: one record at most. Nobody else makes any. */
static void drop_stray_records(struct subscribers *v)
{
	uint32_t i = 0;

	while ((i = slab_next_live(v->arena, SLAB_record, i + 1)))
		if (!is_recorded(v, i))
			shared_drop(v->arena, v->number, SLAB_record, i);
}

static bool lock_surely(struct subscribers *v, struct subscriber_key key, struct global_pair *pair)
{
	for (int tries = 0; tries < 1000; tries++)
		if (global_lock(&v->table, subscriber_hash(v->arena, key), pair))
			return true;
	return false;
}

void subscribers_settle(struct subscribers *v)
{
	struct subscriber_key key = intended(v);
	bool is_engine = v->number < v->engines, has_part = false;
	struct global_pair pair;

	shared_repair(v->arena, v->number);
	global_release_all(&v->table);
	v->stray = 0;
	if (is_engine)
		slab_attach(v->arena, &v->actor->slab[SLAB_part], v->number, SLAB_part, found_part, v);
	if (!is_intending(v))
		return;
	if (is_engine)
		has_part = settle_part(v, key);
	if (lock_surely(v, key, &pair)) {
		uint32_t index = subscriber_find(v, &pair, key);

		drop_strays(v, key, index);
		if (index)
			settle_subscriber(v, &pair, index, has_part);
		global_unlock(&v->table, &pair);
	}
	if (!is_engine)
		drop_stray_records(v);
	intend_nothing(v);
}
