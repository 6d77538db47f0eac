/* Subscribers: what each says of its parts against what they are, and what parts use against the sessions there are. */
#include "shm/check_internal.h"
#include "shm/quota.h"

#include <stdlib.h>
#include <xxhash.h>

/* ---- texts ---- */

static struct check_text key_text(struct subscriber_key k)
{
	char ip[INET_ADDRSTRLEN];

	inet_ntop(AF_INET, &k.inside, ip, sizeof ip);
	return check_textf("%s, realm %u", ip, k.realm);
}

static struct subscriber_key part_key(const struct subscriber_part *p)
{
	return (struct subscriber_key){PEEK(p->inside), PEEK(p->realm)};
}

static struct subscriber_key key_of(const struct subscriber *s)
{
	return (struct subscriber_key){PEEK(s->inside), PEEK(s->realm)};
}

static struct check_text part_text(const struct check *c, uint32_t index)
{
	return check_textf("part %u (%s, %s)", index, key_text(part_key(part_at(c->a, index))).text,
		check_actor_text(check_owner(c, SLAB_part, index)).text);
}

static struct check_text subscriber_text(const struct check *c, uint32_t index)
{
	return check_textf("subscriber %u (%s)", index, key_text(key_of(subscriber_at(c->a, index))).text);
}

/* ---- walking ---- */

static uint32_t next_live(const struct check *c, enum slab_class class, uint32_t from)
{
	uint32_t per = slab_per_page(class), end = (c->a->header->geometry.pages + 1) * per;

	for (uint32_t i = from < per ? per : from; i < end; i++) {
		if (!check_known(c, class, i))
			i = (i / per + 1) * per - 1;
		else if (slab_live(slab_pointer(c->a, class, i)))
			return i;
	}
	return 0;
}

static bool is_live(const struct check *c, enum slab_class class, uint32_t index)
{
	return check_known(c, class, index) && slab_live(slab_pointer(c->a, class, index));
}

/* Whatever moves at a part between two looks makes its violations different ones. */
static uint64_t tenant(const struct subscriber_part *p)
{
	return (uint64_t)PEEK(p->touched_s) << 32 | PEEK(p->generation);
}

/* ---- the tables ---- */

static void check_part_entry(struct check *c, unsigned engine, const struct local_table *t, uint32_t bucket, uint64_t e)
{
	uint32_t index = local_index(e);
	struct check_text table = check_textf("bucket %u of engine %u's table of parts", bucket, engine);
	struct check_text names = check_textf("an entry names part %u", index);

	c->counts->part_entries++;
	if (!is_live(c, SLAB_part, index) || check_owner(c, SLAB_part, index) != engine) {
		check_violated(c, CHECK_part_entry, 0, table, names, check_textf("that is no live part of its own"));
		return;
	}
	uint64_t hash = subscriber_hash(c->a, part_key(part_at(c->a, index)));
	uint32_t tag = local_hash_tag(hash), first = local_first(t, hash);
	if (local_tag(e) != tag || (bucket != first && bucket != local_other(t, first, tag)))
		check_violated(c, CHECK_part_entry, part_at(c->a, index)->generation, table, names,
			check_textf("that one belongs in bucket %u or %u", first, local_other(t, first, tag)));
	c->part[index].listed += c->part[index].listed < UINT8_MAX;
}

static void check_part_tables(struct check *c)
{
	for (unsigned engine = 0; engine < c->a->header->geometry.engines; engine++) {
		struct local_table t = subscriber_parts_of(c->a, engine);

		for (uint32_t b = 0; b < t.n; b++)
			for (unsigned i = 0; i < LOCAL_ENTRIES; i++) {
				uint64_t e = atomic_load_explicit(&t.bucket[b].entry[i], memory_order_acquire);

				if (e)
					check_part_entry(c, engine, &t, b, e);
			}
	}
}

static void check_subscriber_entry(struct check *c, const struct global_table *t, uint32_t bucket, uint64_t e)
{
	uint32_t index = (uint32_t)e, other;
	struct check_text table = check_textf("bucket %u of the subscriber table", bucket);
	struct check_text names = check_textf("an entry names subscriber %u", index);
	unsigned cursor = 0;

	c->counts->subscriber_entries++;
	if (!is_live(c, SLAB_subscriber, index)) {
		check_violated(c, CHECK_subscriber_entry, 0, table, names, check_textf("no live subscriber is there"));
		return;
	}
	const struct subscriber *s = subscriber_at(c->a, index);
	struct subscriber_key key = key_of(s);
	struct global_pair pair = global_pair_of(t, subscriber_hash(c->a, key));
	if (e >> 32 != pair.tag || (bucket != pair.first && bucket != pair.second))
		check_violated(c, CHECK_subscriber_entry, s->generation, table, names,
			check_textf("that one belongs in bucket %u or %u", pair.first, pair.second));
	c->subscriber[index].listed += c->subscriber[index].listed < UINT8_MAX;
	while ((other = global_next(t, &pair, &cursor)))
		if (other > index && is_live(c, SLAB_subscriber, other) &&
			subscriber_at(c->a, other)->inside.net == key.inside.net &&
			subscriber_at(c->a, other)->realm == key.realm)
			check_violated(c, CHECK_subscriber_unique, s->generation, subscriber_text(c, index),
				check_textf("it is in the subscriber table"),
				check_textf("so is subscriber %u, who is the same", other));
}

static void check_subscriber_table(struct check *c)
{
	struct global_table t = subscriber_table_of(c->a, 0);

	for (uint32_t b = 0; b < t.n; b++) {
		uint64_t holder = atomic_load_explicit(&t.bucket[b].lock, memory_order_relaxed);

		if (holder)
			check_lock(c, holder, check_textf("bucket %u of the subscriber table", b));
		for (unsigned i = 0; i < GLOBAL_ENTRIES; i++) {
			uint64_t e = atomic_load_explicit(&t.bucket[b].entry[i], memory_order_acquire);

			if (e)
				check_subscriber_entry(c, &t, b, e);
		}
	}
}

/* ---- parts ---- */

/* The part of a subscriber in an engine's table; 0: none. */
static uint32_t part_in(const struct check *c, unsigned engine, struct subscriber_key key)
{
	struct local_table t = subscriber_parts_of(c->a, engine);
	uint64_t hash = subscriber_hash(c->a, key);
	unsigned cursor = 0;
	local_place place;

	while ((place = local_next(&t, hash, &cursor))) {
		uint32_t index = local_index(atomic_load_explicit(place, memory_order_acquire));

		if (is_live(c, SLAB_part, index) && part_is_of(part_at(c->a, index), key))
			return index;
	}
	return 0;
}

void check_session_counts(struct check *c, uint32_t index, const struct session *s)
{
	static const enum quota of[N_L4] = {
		[L4_TCP] = QUOTA_tcp_ports, [L4_UDP] = QUOTA_udp_ports, [L4_ICMP] = QUOTA_icmp_ids};
	struct subscriber_key key = {s->inside, s->realm};
	unsigned owner = check_owner(c, SLAB_session, index);
	uint32_t part = owner < c->a->header->geometry.engines ? part_in(c, owner, key) : 0;

	if (!part) {
		check_violated(c, CHECK_session_part, s->generation, check_session_text(c, index, s),
			check_textf("it is live"),
			check_textf("%s has no part of its subscriber", check_actor_text(owner).text));
		return;
	}
	c->part[part].used[QUOTA_sessions]++;
	c->part[part].used[QUOTA_memory] += QUOTA_SESSION_MEMORY;
	c->part[part].unanswered += session_is_counted(s);
	if (session_has(s, SESSION_CARRIES) && s->l4 < L4_OTHER)
		c->part[part].used[of[s->l4]]++;
}

/* What rate used is not in any session. */
static void check_part_amounts(struct check *c, uint32_t index, const struct subscriber_part *p)
{
	for (unsigned q = 0; q < N_QUOTAS; q++) {
		uint32_t used = quota_used(p, q), have = quota_have(p, q), counted = c->part[index].used[q];

		if (used > have)
			check_violated(c, CHECK_part_within, tenant(p), part_text(c, index),
				check_textf("of %s it uses %u", quota_info[q].name, used),
				check_textf("it may use %u", have));
		if (q != QUOTA_rate && used != counted)
			check_violated(c, CHECK_part_used, tenant(p), part_text(c, index),
				check_textf("of %s it uses %u", quota_info[q].name, used),
				check_textf("its sessions account for %u", counted));
	}
	uint32_t says = atomic_load_explicit(&p->unanswered, memory_order_relaxed);

	if (says != c->part[index].unanswered)
		check_violated(c, CHECK_part_unanswered, tenant(p), part_text(c, index),
			check_textf("it counts %u unanswered sessions from outside", says),
			check_textf("it has %u", c->part[index].unanswered));
}

static void check_part(struct check *c, uint32_t index)
{
	const struct subscriber_part *p = part_at(c->a, index);
	unsigned engine = check_owner(c, SLAB_part, index);
	struct subscriber_key key = part_key(p);
	uint32_t subscriber = PEEK(p->subscriber);
	bool there = is_live(c, SLAB_subscriber, subscriber);

	c->counts->parts++;
	if (p->engine != engine || c->part[index].listed != 1)
		check_violated(c, CHECK_part_listed, tenant(p), part_text(c, index),
			check_textf("it says that it is engine %u's", p->engine),
			check_textf("its engine's table has it %u times", c->part[index].listed));
	if (!there || subscriber_at(c->a, subscriber)->inside.net != key.inside.net ||
		subscriber_at(c->a, subscriber)->realm != key.realm)
		check_violated(c, CHECK_part_subscriber, tenant(p), part_text(c, index),
			check_textf("it is of subscriber %u", subscriber),
			there ? check_textf("that is %s", key_text(key_of(subscriber_at(c->a, subscriber))).text)
			      : check_textf("no live one is there"));
	if (!there)
		return;
	c->subscriber[subscriber].parts |= 1ull << engine;
	for (unsigned q = 0; q < N_QUOTAS; q++)
		c->subscriber[subscriber].out[q] += quota_have(p, q);
	c->subscriber[subscriber].mix ^= XXH3_64bits_withSeed(p, sizeof *p, index);
	check_part_amounts(c, index, p);
}

/* ---- subscribers ---- */

static void check_subscriber(struct check *c, uint32_t index)
{
	const struct subscriber *s = subscriber_at(c->a, index);
	const struct subscriber_tally *t = &c->subscriber[index];
	uint64_t parts = atomic_load_explicit(&s->parts, memory_order_acquire), mix = t->mix ^ s->generation;
	uint32_t holder = atomic_load_explicit(&s->lock, memory_order_relaxed);
	uint32_t record = atomic_load_explicit(&s->record, memory_order_relaxed);

	c->counts->subscribers++;
	check_block_list(c, index);
	if (holder)
		check_lock(c, holder, subscriber_text(c, index));
	if (t->listed != 1)
		check_violated(c, CHECK_subscriber_listed, s->generation, subscriber_text(c, index),
			check_textf("it is live"), check_textf("the subscriber table has it %u times", t->listed));
	if (parts != t->parts)
		check_violated(c, CHECK_subscriber_parts, mix, subscriber_text(c, index),
			check_textf("it says that engines %#llx have parts", (unsigned long long)parts),
			check_textf("engines %#llx have", (unsigned long long)t->parts));
	for (unsigned q = 0; q < N_QUOTAS; q++)
		if (PEEK(s->out[q]) != t->out[q])
			check_violated(c, CHECK_quota_sum, mix, subscriber_text(c, index),
				check_textf("of %s it gave %u out", quota_info[q].name, PEEK(s->out[q])),
				check_textf("its parts have %llu", (unsigned long long)t->out[q]));
	if (record && is_live(c, SLAB_record, record))
		c->counts->records++;
	else if (record)
		check_violated(c, CHECK_record_owner, s->generation, subscriber_text(c, index),
			check_textf("its record is %u", record), check_textf("no live one is there"));
}

static void check_records(struct check *c)
{
	uint64_t live = 0;

	for (uint32_t i = 0; (i = next_live(c, SLAB_record, i + 1));)
		live++;
	if (live != c->counts->records)
		check_violated(c, CHECK_record_owner, 0, check_textf("records of subscribers"),
			check_textf("%llu are live", (unsigned long long)live),
			check_textf("%llu belong to subscribers", (unsigned long long)c->counts->records));
}

void check_subscriber_tables(struct check *c)
{
	check_part_tables(c);
	check_subscriber_table(c);
}

void check_subscribers(struct check *c)
{
	for (uint32_t i = 0; (i = next_live(c, SLAB_part, i + 1));)
		check_part(c, i);
	for (uint32_t i = 0; (i = next_live(c, SLAB_subscriber, i + 1));)
		check_subscriber(c, i);
	check_records(c);
}
