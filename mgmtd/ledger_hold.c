/* Who holds which block of ports. */
#include "mgmtd/ledger_internal.h"
#include "shm/blocks.h"

#include <stdlib.h>

/* ?1 arena ?2 nat ?3 first ?4 ports ?5 realm ?6 inside ?7 since_s: the holding's name. ?8 and on: what is told of it. */
static void bind_name(sqlite3_stmt *s, const struct ledger *l, const struct event *e)
{
	sqlite3_bind_int64(s, 1, l->arena_id);
	sqlite3_bind_int64(s, 2, be32_host(e->nat));
	sqlite3_bind_int64(s, 3, e->first);
	sqlite3_bind_int64(s, 4, e->ports);
	sqlite3_bind_int64(s, 5, e->realm);
	sqlite3_bind_int64(s, 6, be32_host(e->inside));
	sqlite3_bind_int64(s, 7, e->since_s);
}

/* The event's time is finer than the block's own second, but a successor may tell it much later. */
static int64_t given_ms(const struct event *e, const struct ledger_clock *c)
{
	bool fresh = e->kind == EVENT_block_given && e->time_ns / 1000000000u == e->since_s;

	return ledger_wall(c, fresh ? e->time_ns : e->since_s * 1000000000ull);
}

int ledger_hold(struct ledger *l, const struct event *e, const struct ledger_clock *c)
{
	sqlite3_stmt *s = l->statement[e->kind == EVENT_block_given ? GIVE : RETURN];

	bind_name(s, l, e);
	sqlite3_bind_int64(s, 8, given_ms(e, c));
	sqlite3_bind_int64(s, 9, (int64_t)e->time_ns);
	/* Given: whatever was told before, it is held. Returned: when. */
	sqlite3_bind_int64(s, 10, e->kind == EVENT_block_given ? e->time_ns == 0 : ledger_wall(c, e->time_ns));
	return ledger_run(s);
}

int ledger_end_others(struct ledger *l)
{
	sqlite3_stmt *s = l->statement[CLOSE_OTHERS];

	sqlite3_bind_int64(s, 1, l->arena_id);
	sqlite3_bind_int64(s, 2, l->arena_id / 1000000); /* nobody had anything in this one before */
	return ledger_run(s);
}

/* ---- compared with the arena ---- */

/* Read without a lock: a subscriber that goes or comes meanwhile tells of it itself. */
static int add_listed(struct ledger *l, const struct subscriber *s, const struct ledger_clock *c)
{
	int rc = SQLITE_OK;

	for (unsigned i = 0; rc == SQLITE_OK && i < SUBSCRIBER_BLOCKS; i++) {
		uint64_t word = block_listed(s, i);
		struct block b = block_of_word(word);

		if (!word || !slab_valid(l->arena, SLAB_port_table, b.table))
			continue;
		struct event e = {.inside = s->inside,
			.nat = port_table_at(l->arena, b.table)->address,
			.since_s = b.since_s,
			.realm = s->realm,
			.first = b.first,
			.ports = (uint16_t)b.ports,
			.kind = EVENT_block_given};
		/* No time: what is told of it counts more, but it is held now. */
		if (slab_live(s))
			rc = ledger_hold(l, &e, c);
	}
	return rc;
}

/* The port tables there are, by address. */
struct tables {
	struct table {
		uint32_t nat, index;
	} * at;
	unsigned n;
};

static int table_order(const void *x, const void *y)
{
	const struct table *a = x, *b = y;

	return a->nat != b->nat ? (a->nat > b->nat) - (a->nat < b->nat) : (a->index > b->index) - (a->index < b->index);
}

static bool find_tables(const struct arena *a, struct tables *t)
{
	uint32_t i = 0, n = 0;

	while ((i = slab_next_live(a, SLAB_port_table, i + 1)))
		n++;
	*t = (struct tables){calloc(n + 1, sizeof *t->at), 0};
	for (i = 0; t->at && t->n < n && (i = slab_next_live(a, SLAB_port_table, i + 1));)
		t->at[t->n++] = (struct table){be32_host(port_table_at(a, i)->address), i};
	if (t->at)
		qsort(t->at, t->n, sizeof *t->at, table_order);
	return t->at != NULL;
}

static bool is_of(const struct arena *a, uint32_t subscriber, uint32_t inside, uint16_t realm)
{
	if (!subscriber || !slab_valid(a, SLAB_subscriber, subscriber))
		return false;
	const struct subscriber *s = subscriber_at(a, subscriber);
	return be32_host(s->inside) == inside && s->realm == realm;
}

/* A block that is being given back is not listed for a moment, but labelled until it is gone. */
static bool is_held(
	const struct arena *a, const struct tables *t, uint32_t nat, uint16_t first, uint32_t inside, uint16_t realm)
{
	unsigned lo = 0, hi = t->n;

	while (lo < hi) {
		unsigned mid = (lo + hi) / 2;

		if (t->at[mid].nat < nat)
			lo = mid + 1;
		else
			hi = mid;
	}
	for (; lo < t->n && t->at[lo].nat == nat; lo++)
		if (is_of(a, block_owner(port_table_at(a, t->at[lo].index), first), inside, realm))
			return true;
	return false;
}

static int close_one(struct ledger *l, sqlite3_stmt *row, const struct ledger_clock *c)
{
	sqlite3_stmt *s = l->statement[CLOSE_ONE];

	for (int i = 0; i < 7; i++)
		sqlite3_bind_int64(s, i + 1, sqlite3_column_int64(row, i));
	sqlite3_bind_int64(s, 8, c->unix_ms);
	return ledger_run(s);
}

/* Those that nobody holds any more: that they were returned was lost, and when. Columns are as in bind_name. */
static int close_gone(struct ledger *l, const struct ledger_clock *c)
{
	sqlite3_stmt *row = l->statement[OPEN_ONES];
	struct tables t;
	int rc = SQLITE_OK;

	if (!find_tables(l->arena, &t))
		return SQLITE_NOMEM;
	sqlite3_bind_int64(row, 1, l->arena_id);
	while (rc == SQLITE_OK && (rc = sqlite3_step(row)) == SQLITE_ROW)
		rc = is_held(l->arena, &t, (uint32_t)sqlite3_column_int64(row, 1),
			     (uint16_t)sqlite3_column_int64(row, 2), (uint32_t)sqlite3_column_int64(row, 5),
			     (uint16_t)sqlite3_column_int64(row, 4))
			     ? SQLITE_OK
			     : close_one(l, row, c);
	sqlite3_reset(row);
	free(t.at);
	return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

int ledger_compare(struct ledger *l, const struct ledger_clock *c)
{
	uint32_t i = 0;
	int rc = close_gone(l, c);

	while (rc == SQLITE_OK && (i = slab_next_live(l->arena, SLAB_subscriber, i + 1)))
		rc = add_listed(l, subscriber_at(l->arena, i), c);
	return rc;
}
