/* The writing half: the file, its schema, samples, retention. */
#include "common/log.h"
#include "mgmtd/history_internal.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum {
	APPLICATION_ID = 0x434e4831, /* "CNH1": tells our file from somebody else's */
	SCHEMA_VERSION = 1,
	BUSY_MS = 1000,
	TRIM_ROWS = 16, /* per add: sixteen times as fast as they come */
	GAP_INTERVALS = 3,
	GAP_MIN_MS = 5000,
	NAMES_SIZE = HISTORY_VALUES * 40,
};

static const char schema[] = "CREATE TABLE layout(id INTEGER PRIMARY KEY, names TEXT NOT NULL UNIQUE);"
			     "CREATE TABLE sample(time INTEGER PRIMARY KEY, layout INTEGER NOT NULL,"
			     " packed BLOB NOT NULL);";
static const struct database_kind kind = {schema, APPLICATION_ID, SCHEMA_VERSION};

/* ---- open ---- */

static void names_of_this_build(char *out, size_t size)
{
	size_t n = 0;

	for (unsigned i = 0; i < N_COUNTERS; i++)
		n += (size_t)snprintf(out + n, size - n, "%s\n", counter_info[i].name);
	for (unsigned i = 0; i < N_VERDICTS; i++)
		n += (size_t)snprintf(out + n, size - n, "%s\n", verdict_info[i].name);
	assert(n < size);
}

static int find_or_add_layout(struct history *h)
{
	static const char *const steps[] = {
		"INSERT OR IGNORE INTO layout(names) VALUES(?1)", "SELECT id FROM layout WHERE names=?1"};
	char names[NAMES_SIZE];
	int rc = SQLITE_OK;

	names_of_this_build(names, sizeof names);
	for (unsigned i = 0; i < 2 && rc == SQLITE_OK; i++) {
		sqlite3_stmt *s = NULL;

		rc = sqlite3_prepare_v2(h->write, steps[i], -1, &s, NULL);
		if (rc == SQLITE_OK)
			rc = sqlite3_bind_text(s, 1, names, -1, SQLITE_STATIC);
		if (rc == SQLITE_OK)
			rc = sqlite3_step(s);
		if (rc == SQLITE_ROW)
			h->layout = sqlite3_column_int64(s, 0);
		if (rc == SQLITE_ROW || rc == SQLITE_DONE)
			rc = SQLITE_OK;
		sqlite3_finalize(s);
	}
	return rc;
}

/* FULL syncs every commit: one fsync per interval buys that power loss takes one sample only. */
static int prepare_writing(struct history *h)
{
	static const char insert[] = "INSERT OR REPLACE INTO sample(time, layout, packed) VALUES(?1, ?2, ?3)";
	static const char trim[] = "DELETE FROM sample WHERE time IN (SELECT time FROM sample"
				   " WHERE time < ?1 UNION ALL SELECT time FROM sample WHERE time > ?2 LIMIT ?3)";
	int rc = sqlite3_exec(h->write, "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL", NULL, NULL, NULL);

	if (rc == SQLITE_OK)
		rc = find_or_add_layout(h);
	if (rc == SQLITE_OK)
		rc = sqlite3_prepare_v2(h->write, insert, -1, &h->insert, NULL);
	if (rc == SQLITE_OK)
		rc = sqlite3_prepare_v2(h->write, trim, -1, &h->trim, NULL);
	return rc;
}

static void close_file(struct history *h)
{
	pthread_mutex_lock(&h->read_lock);
	history_read_close(h);
	sqlite3_finalize(h->insert);
	sqlite3_finalize(h->trim);
	sqlite3_close(h->write);
	h->insert = h->trim = NULL;
	h->write = NULL;
	pthread_mutex_unlock(&h->read_lock);
}

static enum database_verdict open_file(struct history *h, struct history_error *err)
{
	enum database_verdict found;
	int rc = sqlite3_open_v2(h->file, &h->write, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, NULL);

	if (rc == SQLITE_OK)
		sqlite3_busy_timeout(h->write, BUSY_MS);
	found = rc == SQLITE_OK ? database_check(h->write, &kind) : database_judge(rc);
	if (found == DATABASE_GOOD)
		found = database_judge(prepare_writing(h));
	if (found == DATABASE_GOOD) {
		pthread_mutex_lock(&h->read_lock);
		found = database_judge(history_read_open(h));
		pthread_mutex_unlock(&h->read_lock);
	}
	if (found == DATABASE_FOREIGN)
		snprintf(err->text, sizeof err->text, "%s is another program's database; choose another history.file",
			h->file);
	else if (found != DATABASE_GOOD)
		snprintf(err->text, sizeof err->text, "cannot open %s: %s", h->file,
			h->write ? sqlite3_errmsg(h->write) : strerror(ENOMEM));
	if (found != DATABASE_GOOD)
		close_file(h);
	return found;
}

/* A bad file is set aside once; if its successor is bad too, the disk is, and that is an error. */
static bool open_or_replace(struct history *h, struct history_error *err)
{
	enum database_verdict found = open_file(h, err);

	atomic_store(&h->corrupt, false);
	if (found == DATABASE_BAD) {
		database_set_aside(h->file, "history");
		found = open_file(h, err);
	}
	return found == DATABASE_GOOD;
}

struct history *history_open(const char *file, unsigned keep_s, unsigned interval_ms, struct history_error *err)
{
	struct history *h = calloc(1, sizeof *h);

	if (!h || strlen(file) >= sizeof h->file) {
		snprintf(err->text, sizeof err->text, "cannot open %s: %s", file, strerror(h ? ENAMETOOLONG : ENOMEM));
		free(h);
		return NULL;
	}
	memcpy(h->file, file, strlen(file) + 1);
	h->keep_s = keep_s;
	h->gap_ms = (int64_t)interval_ms * GAP_INTERVALS;
	if (h->gap_ms < GAP_MIN_MS)
		h->gap_ms = GAP_MIN_MS;
	pthread_mutex_init(&h->read_lock, NULL);
	database_make_parent(file);
	if (!open_or_replace(h, err)) {
		pthread_mutex_destroy(&h->read_lock);
		free(h);
		return NULL;
	}
	return h;
}

void history_close(struct history *h)
{
	if (!h)
		return;
	close_file(h);
	pthread_mutex_destroy(&h->read_lock);
	free(h);
}

/* ---- add ---- */

static size_t pack(unsigned char *out, const struct engine_report *r)
{
	unsigned char *at = out;

	for (unsigned i = 0; i < HISTORY_VALUES; i++) {
		uint64_t v = i < N_COUNTERS ? r->counters[i] : r->verdicts[i - N_COUNTERS];

		for (; v >= 0x80; v >>= 7)
			*at++ = (unsigned char)(v | 0x80);
		*at++ = (unsigned char)v;
	}
	return (size_t)(at - out);
}

static int run(sqlite3_stmt *s)
{
	int rc = sqlite3_step(s);

	sqlite3_reset(s);
	return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

static int insert_sample(struct history *h, int64_t unix_ms, const struct engine_report *r)
{
	unsigned char packed[HISTORY_PACKED_MAX];
	size_t size = pack(packed, r);

	sqlite3_bind_int64(h->insert, 1, unix_ms);
	sqlite3_bind_int64(h->insert, 2, h->layout);
	sqlite3_bind_blob(h->insert, 3, packed, (int)size, SQLITE_TRANSIENT);
	return run(h->insert);
}

static int trim_samples(struct history *h, int64_t unix_ms)
{
	sqlite3_bind_int64(h->trim, 1, unix_ms - (int64_t)h->keep_s * 1000);
	sqlite3_bind_int64(h->trim, 2, unix_ms);
	sqlite3_bind_int(h->trim, 3, TRIM_ROWS);
	return run(h->trim);
}

static int store(struct history *h, int64_t unix_ms, const struct engine_report *r)
{
	int rc = sqlite3_exec(h->write, "BEGIN IMMEDIATE", NULL, NULL, NULL);

	if (rc != SQLITE_OK)
		return rc;
	rc = trim_samples(h, unix_ms);
	if (rc == SQLITE_OK)
		rc = insert_sample(h, unix_ms, r);
	if (rc == SQLITE_OK)
		rc = sqlite3_exec(h->write, "COMMIT", NULL, NULL, NULL);
	if (rc != SQLITE_OK && !sqlite3_get_autocommit(h->write))
		sqlite3_exec(h->write, "ROLLBACK", NULL, NULL, NULL);
	return rc;
}

static int reopened(struct history *h, bool aside)
{
	struct history_error err;

	close_file(h);
	if (aside)
		database_set_aside(h->file, "history");
	if (open_or_replace(h, &err))
		return 0;
	if (!h->failing)
		log_error("history: %s", err.text);
	h->failing = true;
	return -EIO;
}

int history_add(struct history *h, int64_t unix_ms, const struct engine_report *appliance)
{
	int rc = SQLITE_OK;

	if ((!h->write || atomic_load(&h->corrupt)) && reopened(h, atomic_load(&h->corrupt)) < 0)
		return -EIO;
	rc = store(h, unix_ms, appliance);
	if (database_is_corrupt(rc)) {
		if (reopened(h, true) < 0)
			return -EIO;
		rc = store(h, unix_ms, appliance);
	}
	if (rc != SQLITE_OK && !h->failing)
		log_error("history: cannot store in %s: %s", h->file, sqlite3_errmsg(h->write));
	if (rc == SQLITE_OK && h->failing)
		log_notice("history: stores again");
	h->failing = rc != SQLITE_OK;
	return database_errno(rc);
}
