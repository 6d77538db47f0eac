/* The tables: whether each entry belongs where it is, and how often each session is in them. */
#include "shm/check_internal.h"
#include "shm/global_table.h"
#include "shm/local_table.h"
#include "shm/shared_slab.h"

enum {
	PROGRESS_EVERY = 4096, /* buckets */
	N_GLOBAL = 3,
};

static const char *const dir_name[N_DIRS] = {[DIR_OUTBOUND] = "outbound", [DIR_INBOUND] = "inbound"};

static void count_one(uint8_t *n)
{
	*n += *n < UINT8_MAX;
}

/* ---- local tables ---- */

/* An entry, and where it was found. */
struct local_at {
	struct local_table table;
	unsigned engine;
	enum dir dir;
	uint32_t bucket;
	uint64_t entry;
};

static void local_wrong(struct check *c, const struct local_at *at, uint32_t generation, struct check_text why)
{
	check_violated(c, CHECK_local_entry, generation,
		check_textf("bucket %u of engine %u's %s table", at->bucket, at->engine, dir_name[at->dir]),
		check_textf("an entry names session %u", local_index(at->entry)), why);
}

/* Another session with the same key, which a lookup may meet first. Said once of the two. */
static void check_local_unique(struct check *c, const struct local_at *at, const struct session *s, uint64_t hash)
{
	unsigned cursor = 0;
	local_place place;

	while ((place = local_next(&at->table, hash, &cursor))) {
		uint32_t other = local_index(atomic_load_explicit(place, memory_order_relaxed));
		struct session o;

		if (other <= local_index(at->entry) || !check_session_copy(c, other, &o) ||
			!flow_key_equal(session_key(s, at->dir), session_key(&o, at->dir)))
			continue;
		check_violated(c, CHECK_session_unique, s->generation, check_session_text(c, local_index(at->entry), s),
			check_textf("it is in engine %u's %s table", at->engine, dir_name[at->dir]),
			check_textf("session %u is there under the same key", other));
		return;
	}
}

/* An engine that adopted: another's session, or its own whose replies were to land elsewhere and did not. */
static void tally_adopted(struct check *c, const struct local_at *at, const struct session *s)
{
	uint32_t index = local_index(at->entry);
	uint64_t bit = 1ull << at->engine;

	if (c->tally[index].adopted & bit)
		check_violated(c, CHECK_session_adopters, s->generation, check_session_text(c, index, s),
			check_textf("engine %u adopted it once", at->engine),
			check_textf("engine %u's %s table has it more than once", at->engine, dir_name[at->dir]));
	else
		c->counts->adoptions++;
	c->tally[index].adopted |= bit;
}

static void check_local_entry(struct check *c, const struct local_at *at)
{
	uint32_t index = local_index(at->entry);
	struct session s;

	c->counts->local_entries++;
	if (!check_session_copy(c, index, &s)) {
		local_wrong(c, at, 0, check_textf("no live session is there"));
		return;
	}
	unsigned owner = check_owner(c, SLAB_session, index);
	uint64_t hash = flow_key_hash(session_key(&s, at->dir), c->a->header->seed);
	uint32_t tag = local_hash_tag(hash), first = local_first(&at->table, hash);

	enum dir origin = session_origin(&s);
	if (owner != at->engine && at->dir == origin) {
		local_wrong(c, at, s.generation, check_textf("that one is %s's", check_actor_text(owner).text));
		return;
	}
	if (local_tag(at->entry) != tag || (at->bucket != first && at->bucket != local_other(&at->table, first, tag)))
		local_wrong(c, at, s.generation,
			check_textf("that one belongs in bucket %u or %u with tag %u, not %u", first,
				local_other(&at->table, first, tag), tag, local_tag(at->entry)));
	if (owner != at->engine || (at->dir != origin && session_has(&s, SESSION_AWAY)))
		tally_adopted(c, at, &s);
	else
		count_one(&c->tally[index].local[at->dir]);
	if (at->dir == DIR_OUTBOUND)
		check_local_unique(c, at, &s, hash);
}

static void check_local_table(struct check *c, unsigned engine, enum dir dir)
{
	struct local_at at = {.table = local_table_of(c->a, engine, dir), .engine = engine, .dir = dir};
	uint32_t tables = c->a->header->geometry.engines * N_DIRS + N_GLOBAL;

	for (at.bucket = 0; at.bucket < at.table.n; at.bucket++) {
		for (unsigned i = 0; i < LOCAL_ENTRIES; i++) {
			at.entry = atomic_load_explicit(&at.table.bucket[at.bucket].entry[i], memory_order_acquire);
			if (at.entry)
				check_local_entry(c, &at);
		}
		if (at.bucket % PROGRESS_EVERY == 0)
			check_progress(c, STAGE_TABLES, (uint64_t)(engine * N_DIRS + dir) * at.table.n + at.bucket,
				(uint64_t)tables * at.table.n);
	}
}

/* ---- global tables ---- */

static struct flow_key key_by_reverse(const struct session *s)
{
	return session_key(s, dir_reverse(session_origin(s)));
}

/* What differs between the global tables, as rows. */
static const struct global_row {
	const char *name;
	enum check_rule entry;
	enum check_rule unique; /* N_CHECK_RULES: keys may repeat */
	struct flow_key (*key)(const struct session *s);
	struct global_table (*table)(const struct arena *a, unsigned actor);
	size_t tally, entries; /* offsets of the counts */
} global_rows[] = {
	{"global session table", CHECK_global_entry, N_CHECK_RULES, key_by_reverse, global_sessions,
		offsetof(struct tally, global), offsetof(struct check_counts, global_entries)},
	{"mapping table", CHECK_mapping_entry, CHECK_mapping_unique, mapping_key, global_mappings,
		offsetof(struct tally, mapped), offsetof(struct check_counts, mapping_entries)},
	{"filter table", CHECK_filter_entry, CHECK_filter_unique, filter_key, global_filters,
		offsetof(struct tally, filters), offsetof(struct check_counts, filter_entries)},
};

_Static_assert(sizeof global_rows / sizeof global_rows[0] == N_GLOBAL, "progress counts them");

struct global_at {
	const struct global_row *row;
	struct global_table table;
	uint32_t bucket;
	uint64_t entry;
};

static void global_wrong(struct check *c, const struct global_at *at, uint32_t generation, struct check_text why)
{
	check_violated(c, at->row->entry, generation, check_textf("bucket %u of the %s", at->bucket, at->row->name),
		check_textf("an entry names session %u", (uint32_t)at->entry), why);
}

static void check_global_unique(
	struct check *c, const struct global_at *at, const struct global_pair *pair, const struct session *s)
{
	unsigned cursor = 0;
	uint32_t other;

	while ((other = global_next(&at->table, pair, &cursor))) {
		struct session o;

		if (other <= (uint32_t)at->entry || !check_session_copy(c, other, &o) ||
			!flow_key_equal(at->row->key(s), at->row->key(&o)))
			continue;
		check_violated(c, at->row->unique, s->generation, check_session_text(c, (uint32_t)at->entry, s),
			check_textf(
				"the %s has it for %s", at->row->name, check_endpoint_text(s->nat, s->nat_port).text),
			check_textf("session %u is there under the same key for %s", other,
				check_endpoint_text(o.nat, o.nat_port).text));
		return;
	}
}

static void check_global_entry(struct check *c, const struct global_at *at)
{
	uint32_t index = (uint32_t)at->entry;
	struct session s;

	if (!check_session_copy(c, index, &s)) {
		global_wrong(c, at, 0, check_textf("no live session is there"));
		return;
	}
	struct global_pair pair = global_pair_of(&at->table, flow_key_hash(at->row->key(&s), c->a->header->seed));

	if (at->entry >> 32 != pair.tag || (at->bucket != pair.first && at->bucket != pair.second))
		global_wrong(c, at, s.generation,
			check_textf("that one belongs in bucket %u or %u with tag %u, not %u", pair.first, pair.second,
				pair.tag, (uint32_t)(at->entry >> 32)));
	if (at->row->unique != N_CHECK_RULES)
		check_global_unique(c, at, &pair, &s);
	count_one((uint8_t *)&c->tally[index] + at->row->tally);
}

/* ---- locks ---- */

void check_lock(struct check *c, uint64_t holder, struct check_text object)
{
	c->counts->locks++;
	if (holder <= ACTOR_MAX && !c->stopped[holder - 1])
		return;
	check_violated(c, CHECK_lock_held, 0, object,
		check_textf("%s holds its lock", check_actor_text(holder - 1).text),
		c->mode == CHECK_EXACT ? check_textf("nothing runs") : check_textf("no process has that role"));
}

static void check_shared_locks(struct check *c)
{
	const struct slab *slab = actor_of(c->a, ACTOR_SHARED)->slab;

	for (int class = 0; class < N_SLAB_CLASSES; class ++) {
		uint32_t holder = atomic_load_explicit(&slab[class].lock, memory_order_relaxed) & 0xff;

		if (holder)
			check_lock(c, holder, check_textf("shared allocator of class %d", class));
	}
}

static void check_global_table(struct check *c, const struct global_row *row)
{
	struct global_at at = {.row = row, .table = row->table(c->a, 0)};
	uint32_t engines = c->a->header->geometry.engines;
	uint64_t *entries = (uint64_t *)((uint8_t *)c->counts + row->entries);

	for (at.bucket = 0; at.bucket < at.table.n; at.bucket++) {
		const struct global_bucket *b = &at.table.bucket[at.bucket];

		uint64_t holder = atomic_load_explicit(&b->lock, memory_order_relaxed);

		if (holder)
			check_lock(c, holder, check_textf("bucket %u of the %s", at.bucket, row->name));
		for (unsigned i = 0; i < GLOBAL_ENTRIES; i++) {
			at.entry = atomic_load_explicit(&b->entry[i], memory_order_acquire);
			*entries += at.entry != 0;
			if (at.entry)
				check_global_entry(c, &at);
		}
		if (at.bucket % PROGRESS_EVERY == 0)
			check_progress(c, STAGE_TABLES,
				((uint64_t)engines * N_DIRS + (uint64_t)(row - global_rows)) * at.table.n + at.bucket,
				(uint64_t)(engines * N_DIRS + N_GLOBAL) * at.table.n);
	}
}

void check_tables(struct check *c)
{
	for (unsigned engine = 0; engine < c->a->header->geometry.engines; engine++)
		for (int dir = 0; dir < N_DIRS; dir++)
			check_local_table(c, engine, dir);
	for (unsigned i = 0; i < N_GLOBAL; i++)
		check_global_table(c, &global_rows[i]);
	check_shared_locks(c);
}
