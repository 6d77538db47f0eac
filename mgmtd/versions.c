#include "mgmtd/versions.h"

#include "common/log.h"
#include "mgmtd/database.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	APPLICATION_ID = 0x434e5631, /* "CNV1" */
	SCHEMA_VERSION = 1,
	BUSY_MS = 1000,
};

/* An id of a row deleted must not name another configuration later: AUTOINCREMENT. */
static const struct database_kind kind = {
	.schema = "CREATE TABLE version(id INTEGER PRIMARY KEY AUTOINCREMENT, since INTEGER NOT NULL,"
		  " until INTEGER NOT NULL, text TEXT NOT NULL);"
		  "CREATE INDEX version_until ON version(until);",
	.application_id = APPLICATION_ID,
	.version = SCHEMA_VERSION,
};

/* Legend  [I] fixed once made  [W] main thread  [L] under lock */
struct versions {
	char file[256];       /* [I] */
	unsigned keep;        /* [I] */
	int64_t keep_ms;      /* [I] */
	int64_t begun;        /* [W] id of the row that begin made and commit has yet to date; 0: none */
	pthread_mutex_t lock; /* one statement at a time */
	sqlite3 *db;          /* [L] */
};

/* ---- opening ---- */

static enum database_verdict open_file(struct versions *v, struct versions_error *err)
{
	int rc = sqlite3_open_v2(v->file, &v->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, NULL);
	enum database_verdict found;

	if (rc == SQLITE_OK)
		sqlite3_busy_timeout(v->db, BUSY_MS);
	found = rc == SQLITE_OK ? database_check(v->db, &kind) : database_judge(rc);
	if (found == DATABASE_GOOD)
		found = database_judge(
			sqlite3_exec(v->db, "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL", NULL, NULL, NULL));
	if (found == DATABASE_GOOD)
		return found;
	if (found == DATABASE_FOREIGN)
		snprintf(err->text, sizeof err->text, "%s is another program's database; choose another versions.file",
			v->file);
	else
		snprintf(err->text, sizeof err->text, "cannot open %s: %s", v->file,
			v->db ? sqlite3_errmsg(v->db) : strerror(ENOMEM));
	sqlite3_close(v->db);
	v->db = NULL;
	return found;
}

struct versions *versions_open(const char *file, unsigned keep, unsigned keep_s, struct versions_error *err)
{
	struct versions *v = calloc(1, sizeof *v);
	enum database_verdict found;

	if (!v || strlen(file) >= sizeof v->file) {
		snprintf(err->text, sizeof err->text, "cannot open %s: %s", file, strerror(v ? ENAMETOOLONG : ENOMEM));
		free(v);
		return NULL;
	}
	memcpy(v->file, file, strlen(file) + 1);
	v->keep = keep;
	v->keep_ms = (int64_t)keep_s * 1000;
	database_make_parent(file);
	found = open_file(v, err);
	if (found == DATABASE_BAD) {
		database_set_aside(file, "versions");
		found = open_file(v, err);
	}
	if (found != DATABASE_GOOD) {
		free(v);
		return NULL;
	}
	pthread_mutex_init(&v->lock, NULL);
	return v;
}

/* ---- statements ---- */

/* Prepares and binds up to three numbers; the rest of the parameters are the caller's. */
static sqlite3_stmt *prepare(struct versions *v, const char *sql, const int64_t *number, int n, int *rc)
{
	sqlite3_stmt *s = NULL;

	*rc = sqlite3_prepare_v2(v->db, sql, -1, &s, NULL);
	for (int i = 0; i < n && *rc == SQLITE_OK; i++)
		*rc = sqlite3_bind_int64(s, i + 1, number[i]);
	return s;
}

/* A statement without rows. */
static int run(struct versions *v, const char *sql, const int64_t *number, int n)
{
	int rc;
	sqlite3_stmt *s = prepare(v, sql, number, n, &rc);

	if (rc == SQLITE_OK)
		rc = sqlite3_step(s);
	sqlite3_finalize(s);
	return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

static struct version row_of(sqlite3_stmt *s)
{
	return (struct version){sqlite3_column_int64(s, 0), sqlite3_column_int64(s, 1), sqlite3_column_int64(s, 2),
		sqlite3_column_int64(s, 3)};
}

static int take_rows(sqlite3_stmt *s, struct version *out, unsigned max, unsigned *n)
{
	int rc = SQLITE_DONE;

	*n = 0;
	while (*n < max && (rc = sqlite3_step(s)) == SQLITE_ROW)
		out[(*n)++] = row_of(s);
	return rc == SQLITE_ROW || rc == SQLITE_DONE ? SQLITE_OK : rc;
}

/* ---- writing ---- */

static int same_as_newest(struct versions *v, const char *text, bool *same)
{
	int rc;
	sqlite3_stmt *s = prepare(v, "SELECT text FROM version ORDER BY id DESC LIMIT 1", NULL, 0, &rc);

	*same = false;
	if (rc == SQLITE_OK)
		rc = sqlite3_step(s);
	if (rc == SQLITE_ROW)
		*same = strcmp((const char *)sqlite3_column_text(s, 0), text) == 0;
	sqlite3_finalize(s);
	return rc == SQLITE_ROW || rc == SQLITE_DONE ? SQLITE_OK : rc;
}

static int insert(struct versions *v, int64_t now_ms, const char *text)
{
	int rc;
	const int64_t numbers[] = {now_ms, VERSION_LASTS};
	sqlite3_stmt *s = prepare(v, "INSERT INTO version(since, until, text) VALUES(?1, ?2, ?3)", numbers, 2, &rc);

	if (rc == SQLITE_OK)
		rc = sqlite3_bind_text(s, 3, text, -1, SQLITE_STATIC);
	if (rc == SQLITE_OK)
		rc = sqlite3_step(s);
	sqlite3_finalize(s);
	return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

static int trim(struct versions *v, int64_t now_ms)
{
	return run(v,
		"DELETE FROM version WHERE until < ?1 OR id NOT IN (SELECT id FROM version ORDER BY id DESC LIMIT ?2)",
		(const int64_t[]){now_ms - v->keep_ms, v->keep}, 2);
}

/* The one before ends, the new one begins, the oldest go: all or nothing. */
static int add(struct versions *v, int64_t now_ms, const char *text)
{
	int rc = sqlite3_exec(v->db, "BEGIN IMMEDIATE", NULL, NULL, NULL);

	if (rc != SQLITE_OK)
		return rc;
	rc = run(v, "UPDATE version SET until=?1 WHERE until=?2", (const int64_t[]){now_ms, VERSION_LASTS}, 2);
	if (rc == SQLITE_OK)
		rc = insert(v, now_ms, text);
	if (rc == SQLITE_OK)
		v->begun = sqlite3_last_insert_rowid(v->db);
	if (rc == SQLITE_OK)
		rc = trim(v, now_ms);
	if (rc == SQLITE_OK)
		rc = sqlite3_exec(v->db, "COMMIT", NULL, NULL, NULL);
	if (rc != SQLITE_OK && !sqlite3_get_autocommit(v->db))
		sqlite3_exec(v->db, "ROLLBACK", NULL, NULL, NULL);
	return rc;
}

int versions_begin(struct versions *v, int64_t now_ms, const char *text)
{
	bool same;
	int rc;

	v->begun = 0;
	pthread_mutex_lock(&v->lock);
	rc = same_as_newest(v, text, &same);
	if (rc == SQLITE_OK && !same)
		rc = add(v, now_ms, text);
	if (rc != SQLITE_OK) {
		v->begun = 0;
		log_error("versions: cannot store in %s: %s", v->file, sqlite3_errmsg(v->db));
	}
	pthread_mutex_unlock(&v->lock);
	return database_errno(rc);
}

int versions_commit(struct versions *v, int64_t now_ms)
{
	int rc;

	if (!v->begun)
		return 0;
	pthread_mutex_lock(&v->lock);
	rc = run(v, "UPDATE version SET since=?1 WHERE id=?2", (const int64_t[]){now_ms, v->begun}, 2);
	if (rc == SQLITE_OK)
		rc = run(v, "UPDATE version SET until=?1 WHERE id=(SELECT max(id) FROM version WHERE id<?2)",
			(const int64_t[]){now_ms, v->begun}, 2);
	if (rc != SQLITE_OK)
		log_error("versions: cannot date in %s: %s", v->file, sqlite3_errmsg(v->db));
	pthread_mutex_unlock(&v->lock);
	v->begun = 0;
	return database_errno(rc);
}

/* What was begun never came into force, and the one before goes on. */
static void take_back(struct versions *v)
{
	int rc = sqlite3_exec(v->db, "BEGIN IMMEDIATE", NULL, NULL, NULL);

	if (rc == SQLITE_OK)
		rc = run(v, "DELETE FROM version WHERE id=?1", &v->begun, 1);
	if (rc == SQLITE_OK)
		rc = run(v, "UPDATE version SET until=?1 WHERE id=(SELECT max(id) FROM version)",
			(const int64_t[]){VERSION_LASTS}, 1);
	if (rc == SQLITE_OK)
		rc = sqlite3_exec(v->db, "COMMIT", NULL, NULL, NULL);
	if (rc != SQLITE_OK)
		log_error("versions: cannot take back in %s: %s", v->file, sqlite3_errmsg(v->db));
}

void versions_close(struct versions *v)
{
	if (!v)
		return;
	if (v->begun)
		take_back(v);
	sqlite3_close(v->db);
	pthread_mutex_destroy(&v->lock);
	free(v);
}

/* ---- reading ---- */

static int query(struct versions *v, const char *sql, const int64_t *number, int n_numbers, struct version *out,
	unsigned max, unsigned *n)
{
	int rc;

	*n = 0;
	pthread_mutex_lock(&v->lock);

	sqlite3_stmt *s = prepare(v, sql, number, n_numbers, &rc);

	if (rc == SQLITE_OK)
		rc = take_rows(s, out, max, n);
	sqlite3_finalize(s);
	pthread_mutex_unlock(&v->lock);
	return database_errno(rc);
}

#define COLUMNS "id, since, until, length(CAST(text AS BLOB))"

int versions_list(struct versions *v, int64_t before, struct version *out, unsigned max, unsigned *n)
{
	return query(v, "SELECT " COLUMNS " FROM version WHERE id<?1 ORDER BY id DESC", (const int64_t[]){before}, 1,
		out, max, n);
}

int versions_after(struct versions *v, int64_t after, struct version *out, unsigned max, unsigned *n)
{
	return query(
		v, "SELECT " COLUMNS " FROM version WHERE id>?1 ORDER BY id", (const int64_t[]){after}, 1, out, max, n);
}

int versions_within(struct versions *v, int64_t from_ms, int64_t to_ms, struct version *out, unsigned max, unsigned *n)
{
	return query(v, "SELECT " COLUMNS " FROM version WHERE until>?1 AND since<=?2 ORDER BY id DESC",
		(const int64_t[]){from_ms, to_ms}, 2, out, max, n);
}

int versions_get(struct versions *v, int64_t id, struct version *out, char **text)
{
	int rc;

	*text = NULL;
	pthread_mutex_lock(&v->lock);

	sqlite3_stmt *s =
		prepare(v, "SELECT " COLUMNS ", text FROM version WHERE id=?1", (const int64_t[]){id}, 1, &rc);

	if (rc == SQLITE_OK)
		rc = sqlite3_step(s);
	if (rc == SQLITE_ROW) {
		*out = row_of(s);
		*text = strdup((const char *)sqlite3_column_text(s, 4));
	}
	sqlite3_finalize(s);
	pthread_mutex_unlock(&v->lock);
	if (rc == SQLITE_DONE)
		return -ENOENT;
	if (rc == SQLITE_ROW)
		return *text ? 0 : -ENOMEM;
	return database_errno(rc);
}
