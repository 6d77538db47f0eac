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

/* ---- a file that is not as it should be ---- */

enum verdict_on_file {
	FILE_GOOD,
	FILE_BAD,     /* corrupt, or another version's: set aside */
	FILE_FOREIGN, /* somebody else's database: left alone */
	FILE_FAILED,  /* no verdict: no memory, no permission, no disk */
};

static void rename_part(const char *file, const char *part, const char *aside)
{
	char from[300], to[340];

	snprintf(from, sizeof from, "%s%s", file, part);
	snprintf(to, sizeof to, "%s%s", aside, part);
	if (rename(from, to) < 0 && errno != ENOENT)
		log_error("history: cannot rename %s: %s", from, strerror(errno));
}

static void set_aside(const char *file)
{
	char aside[320];

	snprintf(aside, sizeof aside, "%s.corrupt-%lld", file, (long long)time(NULL));
	log_error("history: %s is corrupt or another version's; set aside as %s, a new one starts", file, aside);
	rename_part(file, "", aside);
	rename_part(file, "-wal", aside);
	rename_part(file, "-shm", aside);
}

static int64_t query_number(sqlite3 *db, const char *sql, int *rc)
{
	sqlite3_stmt *s = NULL;
	int64_t v = 0;

	*rc = sqlite3_prepare_v2(db, sql, -1, &s, NULL);
	if (*rc == SQLITE_OK)
		*rc = sqlite3_step(s);
	if (*rc == SQLITE_ROW) {
		v = sqlite3_column_int64(s, 0);
		*rc = SQLITE_OK;
	}
	sqlite3_finalize(s);
	return v;
}

static enum verdict_on_file judge(int rc)
{
	if (history_is_corrupt(rc))
		return FILE_BAD;
	return rc == SQLITE_OK ? FILE_GOOD : FILE_FAILED;
}

static enum verdict_on_file check_pages(sqlite3 *db)
{
	sqlite3_stmt *s = NULL;
	int rc = sqlite3_prepare_v2(db, "PRAGMA quick_check(1)", -1, &s, NULL);
	enum verdict_on_file found;

	if (rc == SQLITE_OK)
		rc = sqlite3_step(s);
	if (rc == SQLITE_ROW)
		found = strcmp((const char *)sqlite3_column_text(s, 0), "ok") == 0 ? FILE_GOOD : FILE_BAD;
	else
		found = judge(rc);
	sqlite3_finalize(s);
	return found;
}

/* ---- open ---- */

static enum verdict_on_file make_schema(sqlite3 *db)
{
	char sql[sizeof schema + 160];

	snprintf(sql, sizeof sql, "BEGIN IMMEDIATE;%sPRAGMA application_id=%d;PRAGMA user_version=%d;COMMIT", schema,
		APPLICATION_ID, SCHEMA_VERSION);
	return judge(sqlite3_exec(db, sql, NULL, NULL, NULL));
}

/* Ours, of this schema, and whole; or empty, and then made ours. */
static enum verdict_on_file check_file(sqlite3 *db)
{
	int rc;
	int64_t tables = query_number(db, "SELECT count(*) FROM sqlite_schema", &rc);

	if (rc != SQLITE_OK)
		return judge(rc);
	if (tables == 0)
		return make_schema(db);
	if (query_number(db, "PRAGMA application_id", &rc) != APPLICATION_ID)
		return rc == SQLITE_OK ? FILE_FOREIGN : judge(rc);
	if (query_number(db, "PRAGMA user_version", &rc) != SCHEMA_VERSION)
		return rc == SQLITE_OK ? FILE_BAD : judge(rc);
	return check_pages(db);
}

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

static enum verdict_on_file open_file(struct history *h, struct history_error *err)
{
	enum verdict_on_file found;
	int rc = sqlite3_open_v2(h->file, &h->write, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, NULL);

	if (rc == SQLITE_OK)
		sqlite3_busy_timeout(h->write, BUSY_MS);
	found = rc == SQLITE_OK ? check_file(h->write) : judge(rc);
	if (found == FILE_GOOD)
		found = judge(prepare_writing(h));
	if (found == FILE_GOOD) {
		pthread_mutex_lock(&h->read_lock);
		found = judge(history_read_open(h));
		pthread_mutex_unlock(&h->read_lock);
	}
	if (found == FILE_FOREIGN)
		snprintf(err->text, sizeof err->text, "%s is another program's database; choose another history.file",
			h->file);
	else if (found != FILE_GOOD)
		snprintf(err->text, sizeof err->text, "cannot open %s: %s", h->file,
			h->write ? sqlite3_errmsg(h->write) : strerror(ENOMEM));
	if (found != FILE_GOOD)
		close_file(h);
	return found;
}

/* A bad file is set aside once; if its successor is bad too, the disk is, and that is an error. */
static bool open_or_replace(struct history *h, struct history_error *err)
{
	enum verdict_on_file found = open_file(h, err);

	atomic_store(&h->corrupt, false);
	if (found == FILE_BAD) {
		set_aside(h->file);
		found = open_file(h, err);
	}
	return found == FILE_GOOD;
}

static void make_parent(const char *file)
{
	char dir[256];
	char *slash;

	snprintf(dir, sizeof dir, "%s", file);
	slash = strrchr(dir, '/');
	if (!slash || slash == dir)
		return;
	*slash = '\0';
	mkdir(dir, 0755); /* whatever is wrong with it, opening the file will say */
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
	make_parent(file);
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
		set_aside(h->file);
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
	if (history_is_corrupt(rc)) {
		if (reopened(h, true) < 0)
			return -EIO;
		rc = store(h, unix_ms, appliance);
	}
	if (rc != SQLITE_OK && !h->failing)
		log_error("history: cannot store in %s: %s", h->file, sqlite3_errmsg(h->write));
	if (rc == SQLITE_OK && h->failing)
		log_notice("history: stores again");
	h->failing = rc != SQLITE_OK;
	return history_errno(rc);
}
