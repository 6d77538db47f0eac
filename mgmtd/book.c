#include "mgmtd/book.h"

#include "common/clock.h"
#include "mgmtd/database.h"

#include <errno.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { APPLICATION_ID = 0x434e5331, SCHEMA_VERSION = 1, BUSY_MS = 1000 }; /* "CNS1" */

static const char schema[] = "CREATE TABLE subscriber(realm INTEGER NOT NULL, inside INTEGER NOT NULL,"
			     " name TEXT NOT NULL, given INTEGER NOT NULL, limits BLOB NOT NULL,"
			     " PRIMARY KEY(realm, inside)) WITHOUT ROWID;";

enum statement { PUT, REMOVE, HAS, ALL, N_STATEMENTS };

static const char *const sql[N_STATEMENTS] = {
	[PUT] = "INSERT OR REPLACE INTO subscriber(realm, inside, name, given, limits) VALUES(?1, ?2, ?3, ?4, ?5)",
	[REMOVE] = "DELETE FROM subscriber WHERE realm=?1 AND inside=?2",
	[HAS] = "SELECT 1 FROM subscriber WHERE realm=?1 AND inside=?2",
	[ALL] = "SELECT realm, inside, name, given, limits FROM subscriber",
};

/* Legend  [L] under the lock */
struct book {
	pthread_mutex_t lock;
	sqlite3 *db;                           /* [L] */
	sqlite3_stmt *statement[N_STATEMENTS]; /* [L] */
};

/* ---- open ---- */

static bool refuse(struct book_error *err, const char *file, const char *why)
{
	snprintf(err->text, sizeof err->text, "%.200s: %.100s", file, why);
	return false;
}

/* A file of ours, or an empty one, which then becomes ours. One that is damaged is left for people to look at: names are
 * theirs. */
static bool check_file(struct book *b, const char *file, struct book_error *err)
{
	static const struct database_kind kind = {schema, APPLICATION_ID, SCHEMA_VERSION};

	switch (database_check(b->db, &kind)) {
	case DATABASE_GOOD:
		return true;
	case DATABASE_FOREIGN:
		return refuse(err, file, "is somebody else's database; name another file in subscribers.file");
	case DATABASE_BAD:
		return refuse(err, file, "is damaged, or another version's; move it away, and a new one is begun");
	default:
		return refuse(err, file, sqlite3_errmsg(b->db));
	}
}

static bool prepare(struct book *b, const char *file, struct book_error *err)
{
	for (unsigned i = 0; i < N_STATEMENTS; i++)
		if (sqlite3_prepare_v2(b->db, sql[i], -1, &b->statement[i], NULL) != SQLITE_OK)
			return refuse(err, file, sqlite3_errmsg(b->db));
	return true;
}

struct book *book_open(const char *file, struct book_error *err)
{
	struct book *b = calloc(1, sizeof *b);
	bool ok = b != NULL;

	if (!b)
		refuse(err, file, "no memory");
	else
		pthread_mutex_init(&b->lock, NULL);
	database_make_parent(file);
	if (ok && sqlite3_open_v2(file, &b->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_FULLMUTEX,
			  NULL) != SQLITE_OK)
		ok = refuse(err, file, b->db ? sqlite3_errmsg(b->db) : "no memory");
	if (ok) {
		sqlite3_busy_timeout(b->db, BUSY_MS);
		ok = check_file(b, file, err) && prepare(b, file, err);
	}
	if (ok)
		return b;
	book_close(b);
	return NULL;
}

void book_close(struct book *b)
{
	if (!b)
		return;
	for (unsigned i = 0; i < N_STATEMENTS; i++)
		sqlite3_finalize(b->statement[i]);
	sqlite3_close(b->db);
	pthread_mutex_destroy(&b->lock);
	free(b);
}

/* ---- rows: with the lock held ---- */

static sqlite3_stmt *begin(struct book *b, enum statement which, struct subscriber_key key)
{
	sqlite3_stmt *s = b->statement[which];

	sqlite3_reset(s);
	sqlite3_clear_bindings(s);
	sqlite3_bind_int64(s, 1, key.realm);
	sqlite3_bind_int64(s, 2, be32_host(key.inside));
	return s;
}

static int finish(sqlite3_stmt *s)
{
	int rc = sqlite3_step(s);

	sqlite3_reset(s);
	return database_errno(rc);
}

static bool has(struct book *b, struct subscriber_key key)
{
	sqlite3_stmt *s = begin(b, HAS, key);
	bool found = sqlite3_step(s) == SQLITE_ROW;

	sqlite3_reset(s);
	return found;
}

static bool read_row(sqlite3_stmt *s, struct subscriber_key *key, struct subscriber_record *r)
{
	const void *limits = sqlite3_column_blob(s, 4);
	const unsigned char *name = sqlite3_column_text(s, 2);

	*key = (struct subscriber_key){
		be32_of((uint32_t)sqlite3_column_int64(s, 1)), (uint16_t)sqlite3_column_int64(s, 0)};
	memset(r, 0, sizeof *r);
	if (!name || !limits || sqlite3_column_bytes(s, 4) != (int)sizeof r->limits)
		return false;
	snprintf(r->name, sizeof r->name, "%s", (const char *)name);
	r->given = (uint32_t)sqlite3_column_int64(s, 3);
	memcpy(&r->limits, limits, sizeof r->limits);
	return true;
}

/* ---- making the arena agree ---- */

static struct subscribers view_of(struct arena *a)
{
	struct subscribers v = subscribers_view(a, ACTOR_MGMTD);

	v.now = mono_now();
	return v;
}

/* What the arena has and the file has not. */
static void drop_others(struct book *b, struct subscribers *v)
{
	for (uint32_t i = 0; (i = slab_next_live(v->arena, SLAB_subscriber, i + 1));) {
		const struct subscriber *s = subscriber_at(v->arena, i);
		struct subscriber_key key = {s->inside, s->realm};

		if (atomic_load_explicit(&s->record, memory_order_relaxed) && !has(b, key))
			subscriber_record_drop(v, key);
	}
}

int64_t book_restore(struct book *b, struct arena *a)
{
	struct subscribers v = view_of(a);
	struct subscriber_record r;
	struct subscriber_key key;
	int64_t n = 0;
	int rc, error = 0;

	pthread_mutex_lock(&b->lock);
	drop_others(b, &v);
	sqlite3_stmt *s = b->statement[ALL];
	while ((rc = sqlite3_step(s)) == SQLITE_ROW && !error)
		if (read_row(s, &key, &r)) {
			error = subscriber_record_set(&v, key, &r);
			n++;
		}
	sqlite3_reset(s);
	pthread_mutex_unlock(&b->lock);
	if (!error && rc != SQLITE_ROW)
		error = database_errno(rc);
	return error ? error : n;
}

/* ---- changes ---- */

int book_put(struct book *b, struct arena *a, struct subscriber_key key, const struct subscriber_record *r)
{
	struct subscribers v = view_of(a);

	pthread_mutex_lock(&b->lock);
	sqlite3_stmt *s = begin(b, PUT, key);
	sqlite3_bind_text(s, 3, r->name, -1, SQLITE_STATIC);
	sqlite3_bind_int64(s, 4, r->given);
	sqlite3_bind_blob(s, 5, &r->limits, sizeof r->limits, SQLITE_STATIC);
	int error = finish(s);
	if (!error)
		error = subscriber_record_set(&v, key, r);
	pthread_mutex_unlock(&b->lock);
	return error;
}

int book_remove(struct book *b, struct arena *a, struct subscriber_key key)
{
	struct subscribers v = view_of(a);

	pthread_mutex_lock(&b->lock);
	int error = has(b, key) ? finish(begin(b, REMOVE, key)) : -ENOENT;
	if (!error)
		error = subscriber_record_drop(&v, key);
	pthread_mutex_unlock(&b->lock);
	return error;
}
