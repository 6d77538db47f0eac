/* The writing half: the file, the thread, and what one turn takes out of the rings. */
#include "common/clock.h"
#include "common/log.h"
#include "mgmtd/ledger_internal.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
	APPLICATION_ID = 0x434e4531, /* "CNE1" */
	SCHEMA_VERSION = 1,
	BUSY_MS = 1000,
	BATCH = 256,       /* events copied out of a ring at once */
	TRIM_MS = 10000,   /* how often old ones are looked for */
	TRIM_ROWS = 20000, /* and how many go then; if there were so many, next turn again */
};
_Static_assert(EVENT_SLOTS % BATCH == 0, "a full ring is whole batches");

static const char schema[] =
	"CREATE TABLE event(id INTEGER PRIMARY KEY AUTOINCREMENT,ms INTEGER,kind INTEGER,actor INTEGER,"
	"inside INTEGER,nat INTEGER,remote INTEGER,realm INTEGER,inside_port INTEGER,remote_port INTEGER,"
	"first INTEGER,ports INTEGER,protocol INTEGER,personal INTEGER,total INTEGER,since_ms INTEGER,"
	"verdict TEXT,pool TEXT);"
	"CREATE INDEX event_ms ON event(ms);CREATE INDEX event_inside ON event(inside,ms);"
	"CREATE INDEX event_nat ON event(nat,ms);"
	"CREATE INDEX event_gap ON event(ms) WHERE kind IN (3,4);"
	"CREATE TABLE holding(arena INTEGER,nat INTEGER,first INTEGER,ports INTEGER,realm INTEGER,inside INTEGER,"
	"since_s INTEGER,from_ms INTEGER,until_ms INTEGER,given_ns INTEGER,back_ns INTEGER,last_ns INTEGER,"
	"last_ms INTEGER,"
	"PRIMARY KEY(nat,first,ports,realm,inside,since_s,arena))WITHOUT ROWID;"
	"CREATE INDEX holding_until ON holding(until_ms);"
	"CREATE TABLE ring(n INTEGER PRIMARY KEY,next INTEGER,lost INTEGER);"
	"CREATE TABLE state(one INTEGER PRIMARY KEY,arena INTEGER,begun_ms INTEGER,reach_ms INTEGER,last_ms INTEGER);";
static const struct database_kind kind = {schema, APPLICATION_ID, SCHEMA_VERSION};

#define NAME "arena=?1 AND nat=?2 AND first=?3 AND ports=?4 AND realm=?5 AND inside=?6 AND since_s=?7"
#define LASTS "9223372036854775807"

/* A holding is over at the earliest return that is not older than the latest time at which it is told as held: in whatever
 * order that comes. given_ns is that time, back_ns that return; last_ns is the latest return of all, in case a holding is
 * told anew in between. */
static const char *const sql[N_LEDGER_STATEMENTS] = {
	[PUT_EVENT] = "INSERT INTO event(ms,kind,actor,inside,nat,remote,realm,inside_port,remote_port,first,ports,"
		      "protocol,personal,total,since_ms,verdict,pool)"
		      " VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13,?14,?15,?16,?17)",
	[PUT_RING] = "INSERT OR REPLACE INTO ring(n,next,lost) VALUES(?1,?2,?3)",
	[GIVE] = "INSERT INTO holding VALUES(?1,?2,?3,?4,?5,?6,?7,?8," LASTS ",?9,0,0,0) ON CONFLICT DO UPDATE SET"
		 " from_ms=min(from_ms,?8),given_ns=max(given_ns,?9),"
		 "until_ms=CASE WHEN ?10 THEN " LASTS " WHEN ?9<=given_ns OR ?9<=back_ns THEN until_ms"
		 " WHEN last_ns>=?9 THEN last_ms ELSE " LASTS " END,"
		 "back_ns=CASE WHEN ?10 THEN 0 WHEN ?9<=given_ns OR ?9<=back_ns THEN back_ns"
		 " WHEN last_ns>=?9 THEN last_ns ELSE 0 END",
	[RETURN] = "INSERT INTO holding VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?10,0,?9,?9,?10) ON CONFLICT DO UPDATE SET"
		   " last_ms=CASE WHEN ?9>last_ns THEN ?10 ELSE last_ms END,last_ns=max(last_ns,?9),"
		   "until_ms=CASE WHEN ?9>=given_ns AND (back_ns=0 OR ?9<back_ns) THEN min(until_ms,?10)"
		   " ELSE until_ms END,"
		   "back_ns=CASE WHEN ?9>=given_ns AND (back_ns=0 OR ?9<back_ns) THEN ?9 ELSE back_ns END",
	[CLOSE_ONE] = "UPDATE holding SET until_ms=?8 WHERE " NAME,
	[CLOSE_OTHERS] = "UPDATE holding SET until_ms=max(from_ms,?2) WHERE until_ms=" LASTS " AND arena<>?1",
	[OPEN_ONES] =
		"SELECT arena,nat,first,ports,realm,inside,since_s FROM holding WHERE until_ms=" LASTS " AND arena=?1",
	[TRIM_EVENTS] = "DELETE FROM event WHERE id IN (SELECT id FROM event WHERE ms<?1 OR id<="
			"(SELECT max(id) FROM event)-?2 LIMIT ?3)",
	[TRIM_HOLDINGS] = "DELETE FROM holding WHERE (nat,first,ports,realm,inside,since_s,arena) IN (SELECT "
			  "nat,first,ports,realm,inside,since_s,arena FROM holding WHERE until_ms<?1 LIMIT ?2)",
	[OLDEST] = "SELECT min(ms), max(id)-min(id)+1 FROM event",
	[PUT_STATE] = "INSERT OR REPLACE INTO state(one,arena,begun_ms,reach_ms,last_ms) VALUES(1,?1,?2,?3,?4)",
};

int ledger_run(sqlite3_stmt *s)
{
	int rc = sqlite3_step(s);

	sqlite3_reset(s);
	return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

/* ---- the file ---- */

static int query(struct ledger *l, const char *text, int64_t *out, int n)
{
	sqlite3_stmt *s = NULL;
	int rc = sqlite3_prepare_v2(l->write, text, -1, &s, NULL);

	if (rc == SQLITE_OK)
		rc = sqlite3_step(s);
	for (int i = 0; rc == SQLITE_ROW && i < n; i++)
		out[i] = sqlite3_column_int64(s, i);
	sqlite3_finalize(s);
	return rc == SQLITE_ROW || rc == SQLITE_DONE ? SQLITE_OK : rc;
}

/* How far each ring was stored: as the file says, of this arena; else, what is in it is new. */
static int find_places(struct ledger *l, bool same_arena)
{
	int rc = SQLITE_OK;

	for (unsigned n = 0; rc == SQLITE_OK && n < event_rings(l->arena); n++) {
		struct ledger_ring *r = &l->ring[n];
		uint64_t tail = atomic_load_explicit(&r->events.ring->tail, memory_order_relaxed);
		uint64_t head = atomic_load_explicit(&r->events.ring->head, memory_order_acquire);
		int64_t was[2] = {(int64_t)tail, 0};
		char text[64];

		snprintf(text, sizeof text, "SELECT next, lost FROM ring WHERE n=%u", n);
		if (same_arena)
			rc = query(l, text, was, 2);
		r->next = (uint64_t)was[0];
		r->lost = (uint64_t)was[1];
		if (r->next - tail > head - tail) /* not of this ring */
			r->next = tail;
		event_taken(&r->events, r->next);
	}
	return rc;
}

/* FULL syncs every commit: the ring's places are given back upon it. */
static int prepare(struct ledger *l)
{
	int64_t state[4] = {0, 0, 0, 0};
	int rc = sqlite3_exec(l->write, "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL", NULL, NULL, NULL);

	for (unsigned i = 0; rc == SQLITE_OK && i < N_LEDGER_STATEMENTS; i++)
		rc = sqlite3_prepare_v2(l->write, sql[i], -1, &l->statement[i], NULL);
	if (rc == SQLITE_OK)
		rc = query(l, "SELECT arena, begun_ms, reach_ms, last_ms FROM state", state, 4);
	l->begun_ms = state[1];
	l->reach_ms = state[2];
	l->last_ms = state[3];
	l->compared = false;
	l->new_arena = state[0] != l->arena_id;
	return rc == SQLITE_OK ? find_places(l, !l->new_arena) : rc;
}

static void close_file(struct ledger *l)
{
	pthread_mutex_lock(&l->read_lock);
	ledger_read_close(l);
	for (unsigned i = 0; i < N_LEDGER_STATEMENTS; i++) {
		sqlite3_finalize(l->statement[i]);
		l->statement[i] = NULL;
	}
	sqlite3_close(l->write);
	l->write = NULL;
	pthread_mutex_unlock(&l->read_lock);
}

static enum database_verdict open_file(struct ledger *l, struct ledger_error *err)
{
	enum database_verdict found;
	int rc = sqlite3_open_v2(l->file, &l->write, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, NULL);

	if (rc == SQLITE_OK)
		sqlite3_busy_timeout(l->write, BUSY_MS);
	found = rc == SQLITE_OK ? database_check(l->write, &kind) : database_judge(rc);
	if (found == DATABASE_GOOD)
		found = database_judge(prepare(l));
	if (found == DATABASE_GOOD) {
		pthread_mutex_lock(&l->read_lock);
		found = database_judge(ledger_read_open(l));
		pthread_mutex_unlock(&l->read_lock);
	}
	if (found == DATABASE_FOREIGN)
		snprintf(err->text, sizeof err->text, "%s is another program's database; choose another events.file",
			l->file);
	else if (found != DATABASE_GOOD)
		snprintf(err->text, sizeof err->text, "cannot open %s: %s", l->file,
			l->write ? sqlite3_errmsg(l->write) : strerror(ENOMEM));
	if (found != DATABASE_GOOD)
		close_file(l);
	return found;
}

/* A bad file is set aside once; if its successor is bad too, the disk is, and that is an error. */
static bool open_or_replace(struct ledger *l, struct ledger_error *err)
{
	enum database_verdict found = open_file(l, err);

	atomic_store(&l->corrupt, false);
	if (found == DATABASE_BAD) {
		database_set_aside(l->file, "events");
		found = open_file(l, err);
	}
	return found == DATABASE_GOOD;
}

/* ---- one turn: what is in the rings ---- */

static void bind_text(sqlite3_stmt *s, int at, const char *text)
{
	sqlite3_bind_text(s, at, text, -1, SQLITE_STATIC);
}

static const char *pool_name(const struct ledger *l, const struct event *e)
{
	return e->pool && e->pool <= l->config->n_pools ? l->config->pools[e->pool - 1].name : "";
}

static int put_event(struct ledger *l, unsigned actor, const struct event *e, int64_t ms, int64_t since_ms)
{
	bool whole = l->config->events.destinations;
	const int64_t number[] = {ms, e->kind, actor, be32_host(e->inside), be32_host(e->nat),
		whole ? be32_host(e->remote) : 0, e->realm, be16_host(e->inside_port),
		whole ? be16_host(e->remote_port) : 0, e->first, e->ports, e->protocol, e->personal, (int64_t)e->total,
		since_ms};
	enum { N = sizeof number / sizeof number[0] };
	sqlite3_stmt *s = l->statement[PUT_EVENT];

	for (int i = 0; i < N; i++)
		sqlite3_bind_int64(s, i + 1, number[i]);
	bind_text(s, N + 1, e->kind == EVENT_refusal && e->verdict < N_VERDICTS ? verdict_info[e->verdict].name : "");
	bind_text(s, N + 2, pool_name(l, e));
	return ledger_run(s);
}

static int store_one(struct ledger *l, unsigned actor, const struct event *e, const struct ledger_clock *c)
{
	bool is_block = e->kind == EVENT_block_given || e->kind == EVENT_block_returned;
	int64_t since = is_block ? ledger_wall(c, e->since_s * 1000000000ull) : 0;
	int rc = put_event(l, actor, e, ledger_wall(c, e->time_ns), since);

	return rc == SQLITE_OK && is_block ? ledger_hold(l, e, c) : rc;
}

/* All that is there now; *next is the number behind it. */
static int store_ring(struct ledger *l, unsigned n, const struct ledger_clock *c, uint64_t *next)
{
	struct events view = l->ring[n].events;
	struct event batch[BATCH];
	unsigned got, total = 0;
	int rc = SQLITE_OK;

	*next = l->ring[n].next;
	do {
		got = event_peek(&view, *next, batch, BATCH);
		for (unsigned i = 0; rc == SQLITE_OK && i < got; i++)
			rc = store_one(l, event_actor(l->arena, n), &batch[i], c);
		*next += got;
		total += got;
	} while (rc == SQLITE_OK && got == BATCH && total < EVENT_SLOTS);
	return rc;
}

static int store_lost(struct ledger *l, unsigned n, const struct ledger_clock *c, uint64_t lost)
{
	struct event e = {.kind = EVENT_lost, .total = lost - l->ring[n].lost};

	l->compared = false;
	return put_event(l, event_actor(l->arena, n), &e, c->unix_ms, l->last_ms ? l->last_ms : l->begun_ms);
}

/* What an arena before this one told, and was not stored, is gone with it. */
static int store_new_arena(struct ledger *l, const struct ledger_clock *c)
{
	struct event e = {.kind = EVENT_arena};
	int64_t made_ms = l->arena_id / 1000000;
	int rc = ledger_end_others(l);

	if (rc == SQLITE_OK && l->last_ms)
		rc = put_event(l, ACTOR_MGMTD, &e, made_ms > l->last_ms ? made_ms : c->unix_ms, l->last_ms);
	return rc;
}

static int put_ring(struct ledger *l, unsigned n, uint64_t next, uint64_t lost)
{
	sqlite3_stmt *s = l->statement[PUT_RING];

	sqlite3_bind_int64(s, 1, n);
	sqlite3_bind_int64(s, 2, (int64_t)next);
	sqlite3_bind_int64(s, 3, (int64_t)lost);
	return ledger_run(s);
}

static int put_state(struct ledger *l, const struct ledger_clock *c)
{
	sqlite3_stmt *s = l->statement[PUT_STATE];

	sqlite3_bind_int64(s, 1, l->arena_id);
	sqlite3_bind_int64(s, 2, l->begun_ms);
	sqlite3_bind_int64(s, 3, l->reach_ms);
	sqlite3_bind_int64(s, 4, c->unix_ms);
	return ledger_run(s);
}

/* ---- old ones ---- */

static bool is_trim_due(const struct ledger *l, const struct ledger_clock *c)
{
	return c->unix_ms - l->trimmed_ms >= TRIM_MS || c->unix_ms < l->trimmed_ms;
}

/* What is known of the time before the oldest event that was kept is not all. */
static int trim(struct ledger *l, const struct ledger_clock *c)
{
	sqlite3_stmt *events = l->statement[TRIM_EVENTS], *holdings = l->statement[TRIM_HOLDINGS];
	int64_t cut = c->unix_ms - (int64_t)l->keep_s * 1000, there[2] = {0, 0};
	int rc = query(l, sql[OLDEST], there, 2);
	bool full = there[1] > (int64_t)l->rows_max; /* none is deleted but the oldest */

	sqlite3_bind_int64(events, 1, cut);
	sqlite3_bind_int64(events, 2, l->rows_max);
	sqlite3_bind_int(events, 3, TRIM_ROWS);
	if (rc == SQLITE_OK)
		rc = ledger_run(events);
	l->trimmed_ms = rc == SQLITE_OK && sqlite3_changes(l->write) == TRIM_ROWS ? 0 : c->unix_ms;
	if (rc == SQLITE_OK && full)
		rc = query(l, sql[OLDEST], there, 2);
	if (full && there[0] > cut)
		cut = there[0];
	if (cut > l->reach_ms)
		l->reach_ms = cut;
	sqlite3_bind_int64(holdings, 1, l->reach_ms);
	sqlite3_bind_int(holdings, 2, TRIM_ROWS);
	return rc == SQLITE_OK ? ledger_run(holdings) : rc;
}

/* ---- one transaction ---- */

struct places {
	uint64_t next[ENGINE_MAX + 1], lost[ENGINE_MAX + 1];
};

static bool has_news(const struct ledger *l)
{
	for (unsigned n = 0; n < event_rings(l->arena); n++)
		if (atomic_load_explicit(&l->ring[n].events.ring->head, memory_order_relaxed) != l->ring[n].next ||
			event_lost(&l->ring[n].events) != l->ring[n].lost)
			return true;
	return false;
}

/* Lost is read first: what is lost after that is the next turn's. */
static int store_rings(struct ledger *l, const struct ledger_clock *c, struct places *p)
{
	int rc = SQLITE_OK;

	for (unsigned n = 0; rc == SQLITE_OK && n < event_rings(l->arena); n++) {
		p->lost[n] = event_lost(&l->ring[n].events);
		rc = store_ring(l, n, c, &p->next[n]);
		if (rc == SQLITE_OK && p->lost[n] != l->ring[n].lost)
			rc = store_lost(l, n, c, p->lost[n]);
		if (rc == SQLITE_OK)
			rc = put_ring(l, n, p->next[n], p->lost[n]);
	}
	return rc;
}

static int store_all(struct ledger *l, const struct ledger_clock *c, struct places *p)
{
	int rc = SQLITE_OK;

	if (!l->begun_ms)
		l->begun_ms = l->reach_ms = c->unix_ms;
	if (l->new_arena)
		rc = store_new_arena(l, c);
	if (rc == SQLITE_OK)
		rc = store_rings(l, c, p);
	if (rc == SQLITE_OK && !l->compared)
		rc = ledger_compare(l, c);
	if (rc == SQLITE_OK && is_trim_due(l, c))
		rc = trim(l, c);
	return rc == SQLITE_OK ? put_state(l, c) : rc;
}

static void settle(struct ledger *l, const struct ledger_clock *c, const struct places *p)
{
	for (unsigned n = 0; n < event_rings(l->arena); n++) {
		l->ring[n].next = p->next[n];
		l->ring[n].lost = p->lost[n];
		event_taken(&l->ring[n].events, p->next[n]);
	}
	l->compared = true;
	l->new_arena = false;
	l->last_ms = c->unix_ms;
}

static int store(struct ledger *l, const struct ledger_clock *c)
{
	struct places p;
	int rc;

	if (l->compared && !has_news(l) && !is_trim_due(l, c)) {
		l->last_ms = c->unix_ms;
		return SQLITE_OK;
	}
	rc = sqlite3_exec(l->write, "BEGIN IMMEDIATE", NULL, NULL, NULL);
	if (rc != SQLITE_OK)
		return rc;
	rc = store_all(l, c, &p);
	if (rc == SQLITE_OK)
		rc = sqlite3_exec(l->write, "COMMIT", NULL, NULL, NULL);
	if (rc == SQLITE_OK)
		settle(l, c, &p);
	else if (!sqlite3_get_autocommit(l->write))
		sqlite3_exec(l->write, "ROLLBACK", NULL, NULL, NULL);
	return rc;
}

static int reopened(struct ledger *l, bool aside)
{
	struct ledger_error err;

	close_file(l);
	if (aside)
		database_set_aside(l->file, "events");
	if (open_or_replace(l, &err))
		return 0;
	if (!l->failing)
		log_error("events: %s", err.text);
	l->failing = true;
	return -EIO;
}

int ledger_turn(struct ledger *l, int64_t unix_ms, mono_t now)
{
	const struct ledger_clock c = {unix_ms, now};
	int rc = SQLITE_OK;

	if ((!l->write || atomic_load(&l->corrupt)) && reopened(l, atomic_load(&l->corrupt)) < 0)
		return -EIO;
	rc = store(l, &c);
	if (database_is_corrupt(rc)) {
		if (reopened(l, true) < 0)
			return -EIO;
		rc = store(l, &c);
	}
	if (rc != SQLITE_OK && !l->failing)
		log_error("events: cannot store in %s: %s", l->file, sqlite3_errmsg(l->write));
	if (rc == SQLITE_OK && l->failing)
		log_notice("events: stores again");
	l->failing = rc != SQLITE_OK;
	return database_errno(rc);
}

/* ---- the thread ---- */

static struct timespec wall_clock(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return t;
}

static void turn_now(struct ledger *l)
{
	struct timespec t = wall_clock();

	ledger_turn(l, (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000, mono_now());
}

static void *take_turns(void *context)
{
	struct ledger *l = context;

	pthread_mutex_lock(&l->lock);
	while (!l->stop) {
		struct timespec until = wall_clock();

		until.tv_nsec += LEDGER_TURN_MS * 1000000l;
		until.tv_sec += until.tv_nsec / 1000000000;
		until.tv_nsec %= 1000000000;
		pthread_cond_timedwait(&l->wake, &l->lock, &until);
		pthread_mutex_unlock(&l->lock);
		turn_now(l);
		pthread_mutex_lock(&l->lock);
	}
	pthread_mutex_unlock(&l->lock);
	return NULL;
}

/* ---- open, close ---- */

static struct ledger *ledger_new(const struct ledger_setup *setup, struct arena *a)
{
	struct ledger *l = calloc(1, sizeof *l);

	if (!l)
		return NULL;
	memcpy(l->file, setup->file, strlen(setup->file) + 1);
	l->keep_s = setup->keep_s;
	l->rows_max = setup->rows_max;
	l->config = setup->config;
	l->arena = a;
	l->arena_id = (int64_t)a->header->created_ns;
	for (unsigned n = 0; n < event_rings(a); n++)
		l->ring[n].events = events_of(a, event_actor(a, n));
	pthread_mutex_init(&l->read_lock, NULL);
	pthread_mutex_init(&l->lock, NULL);
	pthread_cond_init(&l->wake, NULL);
	return l;
}

struct ledger *ledger_open(const struct ledger_setup *setup, struct arena *a, struct ledger_error *err)
{
	bool fits = strlen(setup->file) < sizeof((struct ledger *)NULL)->file;
	struct ledger *l = fits ? ledger_new(setup, a) : NULL;

	if (!l) {
		snprintf(err->text, sizeof err->text, "cannot open %s: %s", setup->file,
			strerror(fits ? ENOMEM : ENAMETOOLONG));
		return NULL;
	}
	database_make_parent(setup->file);
	if (!open_or_replace(l, err)) {
		ledger_close(l);
		return NULL;
	}
	if (!setup->by_hand)
		l->has_thread = pthread_create(&l->thread, NULL, take_turns, l) == 0;
	if (!setup->by_hand && !l->has_thread) {
		snprintf(err->text, sizeof err->text, "no thread");
		ledger_close(l);
		return NULL;
	}
	return l;
}

void ledger_close(struct ledger *l)
{
	if (!l)
		return;
	if (l->has_thread) {
		pthread_mutex_lock(&l->lock);
		l->stop = true;
		pthread_cond_signal(&l->wake);
		pthread_mutex_unlock(&l->lock);
		pthread_join(l->thread, NULL);
	}
	close_file(l);
	pthread_mutex_destroy(&l->read_lock);
	pthread_mutex_destroy(&l->lock);
	pthread_cond_destroy(&l->wake);
	free(l);
}
