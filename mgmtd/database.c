#include "mgmtd/database.h"

#include "common/log.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

static void rename_part(const char *file, const char *part, const char *aside)
{
	char from[300], to[340];

	snprintf(from, sizeof from, "%s%s", file, part);
	snprintf(to, sizeof to, "%s%s", aside, part);
	if (rename(from, to) < 0 && errno != ENOENT)
		log_error("cannot rename %s: %s", from, strerror(errno));
}

void database_set_aside(const char *file, const char *what)
{
	char aside[320];

	snprintf(aside, sizeof aside, "%s.corrupt-%lld", file, (long long)time(NULL));
	log_error("%s: %s is corrupt or another version's; set aside as %s, a new one starts", what, file, aside);
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

enum database_verdict database_judge(int rc)
{
	if (database_is_corrupt(rc))
		return DATABASE_BAD;
	return rc == SQLITE_OK ? DATABASE_GOOD : DATABASE_FAILED;
}

static enum database_verdict check_pages(sqlite3 *db)
{
	sqlite3_stmt *s = NULL;
	int rc = sqlite3_prepare_v2(db, "PRAGMA quick_check(1)", -1, &s, NULL);
	enum database_verdict found;

	if (rc == SQLITE_OK)
		rc = sqlite3_step(s);
	if (rc == SQLITE_ROW)
		found = strcmp((const char *)sqlite3_column_text(s, 0), "ok") == 0 ? DATABASE_GOOD : DATABASE_BAD;
	else
		found = database_judge(rc);
	sqlite3_finalize(s);
	return found;
}

static enum database_verdict make_schema(sqlite3 *db, const struct database_kind *kind)
{
	char sql[2048];

	snprintf(sql, sizeof sql, "BEGIN IMMEDIATE;%sPRAGMA application_id=%d;PRAGMA user_version=%d;COMMIT",
		kind->schema, kind->application_id, kind->version);
	return database_judge(sqlite3_exec(db, sql, NULL, NULL, NULL));
}

enum database_verdict database_check(sqlite3 *db, const struct database_kind *kind)
{
	int rc;
	int64_t tables = query_number(db, "SELECT count(*) FROM sqlite_schema", &rc);

	if (rc != SQLITE_OK)
		return database_judge(rc);
	if (tables == 0)
		return make_schema(db, kind);
	if (query_number(db, "PRAGMA application_id", &rc) != kind->application_id)
		return rc == SQLITE_OK ? DATABASE_FOREIGN : database_judge(rc);
	if (query_number(db, "PRAGMA user_version", &rc) != kind->version)
		return rc == SQLITE_OK ? DATABASE_BAD : database_judge(rc);
	return check_pages(db);
}

void database_make_parent(const char *file)
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

int database_errno(int rc)
{
	switch (rc & 0xff) {
	case SQLITE_OK:
	case SQLITE_ROW:
	case SQLITE_DONE:
		return 0;
	case SQLITE_FULL:
		return -ENOSPC;
	case SQLITE_NOMEM:
		return -ENOMEM;
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		return -EBUSY;
	case SQLITE_READONLY:
	case SQLITE_PERM:
		return -EACCES;
	default:
		return -EIO;
	}
}
