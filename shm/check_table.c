/* The tables: whether each entry belongs where it is, and how often each session is in them. */
#include "shm/check_internal.h"
#include "shm/global_table.h"
#include "shm/local_table.h"
#include "shm/shared_slab.h"

enum { PROGRESS_EVERY = 4096 }; /* buckets */

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
			check_textf("engine %u's inbound table has it more than once", at->engine));
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

	if (owner != at->engine && at->dir == DIR_OUTBOUND) {
		local_wrong(c, at, s.generation, check_textf("that one is %s's", check_actor_text(owner).text));
		return;
	}
	if (local_tag(at->entry) != tag || (at->bucket != first && at->bucket != local_other(&at->table, first, tag)))
		local_wrong(c, at, s.generation,
			check_textf("that one belongs in bucket %u or %u with tag %u, not %u", first,
				local_other(&at->table, first, tag), tag, local_tag(at->entry)));
	if (owner != at->engine || (at->dir == DIR_INBOUND && session_has(&s, SESSION_AWAY)))
		tally_adopted(c, at, &s);
	else
		count_one(at->dir == DIR_OUTBOUND ? &c->tally[index].outbound : &c->tally[index].inbound);
	if (at->dir == DIR_OUTBOUND)
		check_local_unique(c, at, &s, hash);
}

static void check_local_table(struct check *c, unsigned engine, enum dir dir)
{
	struct local_at at = {.table = local_table_of(c->a, engine, dir), .engine = engine, .dir = dir};
	uint32_t tables = c->a->header->geometry.engines * N_DIRS + 2;

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

/* What differs between the two global tables, as rows. */
static const struct global_row {
	const char *name;
	enum check_rule entry;
	bool mappings;
} global_rows[] = {
	{"global session table", CHECK_global_entry, false},
	{"mapping table", CHECK_mapping_entry, true},
};

struct global_at {
	const struct global_row *row;
	struct global_table table;
	uint32_t bucket;
	uint64_t entry;
};

static struct flow_key global_key(const struct global_row *row, const struct session *s)
{
	return row->mappings ? mapping_key(s) : session_key(s, DIR_INBOUND);
}

static void global_wrong(struct check *c, const struct global_at *at, uint32_t generation, struct check_text why)
{
	check_violated(c, at->row->entry, generation, check_textf("bucket %u of the %s", at->bucket, at->row->name),
		check_textf("an entry names session %u", (uint32_t)at->entry), why);
}

static void check_mapping_unique(
	struct check *c, const struct global_at *at, const struct global_pair *pair, const struct session *s)
{
	unsigned cursor = 0;
	uint32_t other;

	while ((other = global_next(&at->table, pair, &cursor))) {
		struct session o;

		if (other <= (uint32_t)at->entry || !check_session_copy(c, other, &o) ||
			!flow_key_equal(mapping_key(s), mapping_key(&o)))
			continue;
		check_violated(c, CHECK_mapping_unique, s->generation, check_session_text(c, (uint32_t)at->entry, s),
			check_textf("its mapping is to %s", check_endpoint_text(s->nat, s->nat_port).text),
			check_textf("session %u maps the same endpoint to %s", other,
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
	struct global_pair pair =
		global_pair_of(&at->table, flow_key_hash(global_key(at->row, &s), c->a->header->seed));

	if (at->entry >> 32 != pair.tag || (at->bucket != pair.first && at->bucket != pair.second))
		global_wrong(c, at, s.generation,
			check_textf("that one belongs in bucket %u or %u with tag %u, not %u", pair.first, pair.second,
				pair.tag, (uint32_t)(at->entry >> 32)));
	if (at->row->mappings)
		check_mapping_unique(c, at, &pair, &s);
	count_one(at->row->mappings ? &c->tally[index].mapped : &c->tally[index].global);
}

/* ---- locks ---- */

static void check_lock(struct check *c, uint64_t holder, struct check_text object)
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
		uint32_t holder = atomic_load_explicit(&slab[class].lock, memory_order_relaxed);

		if (holder)
			check_lock(c, holder, check_textf("shared allocator of class %d", class));
	}
}

static void check_global_table(struct check *c, const struct global_row *row)
{
	struct global_at at = {
		.row = row, .table = row->mappings ? global_mappings(c->a, 0) : global_sessions(c->a, 0)};
	uint32_t engines = c->a->header->geometry.engines;
	uint64_t *entries = row->mappings ? &c->counts->mapping_entries : &c->counts->global_entries;

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
				(uint64_t)(engines * N_DIRS + row->mappings) * at.table.n + at.bucket,
				(uint64_t)(engines * N_DIRS + 2) * at.table.n);
	}
}

void check_tables(struct check *c)
{
	for (unsigned engine = 0; engine < c->a->header->geometry.engines; engine++)
		for (int dir = 0; dir < N_DIRS; dir++)
			check_local_table(c, engine, dir);
	for (unsigned i = 0; i < sizeof global_rows / sizeof global_rows[0]; i++)
		check_global_table(c, &global_rows[i]);
	check_shared_locks(c);
}
