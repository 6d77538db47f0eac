/* database: opening a sqlite3 file that is ours, and setting one aside that is not as it should be.
 *
 * What       tells our files from somebody else's by application id, from another version's by user version, and whole
 *            ones from damaged ones by a quick check; makes an empty one ours.
 * Units      none.
 * Ownership  the connection is the caller's throughout.
 * Calls      the thread that has the connection.
 * Errors     a verdict; a file set aside is logged.
 * Use        found = database_check(db, &kind); if (found == DATABASE_BAD) database_set_aside(file, "history");
 */
#ifndef CORENAT_MGMTD_DATABASE_H
#define CORENAT_MGMTD_DATABASE_H

#include <sqlite3.h>
#include <stdbool.h>

enum database_verdict {
	DATABASE_GOOD,
	DATABASE_BAD,     /* corrupt, or another version's: set aside */
	DATABASE_FOREIGN, /* somebody else's database: left alone */
	DATABASE_FAILED,  /* no verdict: no memory, no permission, no disk */
};

struct database_kind {
	const char *schema; /* what makes an empty file ours */
	int application_id; /* four letters */
	int version;        /* of the schema */
};

/* Ours, of this schema, and whole; or empty, and then made ours. */
enum database_verdict database_check(sqlite3 *db, const struct database_kind *kind);
/* What a result code says about the file. */
enum database_verdict database_judge(int rc);

/* Renames the file with what belongs to it to FILE.corrupt-<time>, and says so. */
void database_set_aside(const char *file, const char *what);
/* Makes the directory the file is to be in; whatever is wrong with it, opening the file will say. */
void database_make_parent(const char *file);

/* True for results that mean the file itself is bad. */
static inline bool database_is_corrupt(int rc)
{
	return (rc & 0xff) == SQLITE_CORRUPT || (rc & 0xff) == SQLITE_NOTADB;
}

/* 0 or -errno. */
int database_errno(int rc);

#endif
