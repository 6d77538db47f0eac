/* Questions: what happened, and who held a block. */
#include "mgmtd/ledger_internal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { BUSY_MS = 1000, SQL_SIZE = 768, BLOCK_MIN = 64, BLOCK_MAX = 4096 };

#define COLUMNS                                                                                                        \
	"id,ms,kind,actor,inside,nat,remote,realm,inside_port,remote_port,first,ports,protocol,personal,total,"        \
	"since_ms,verdict,pool"

int ledger_read_open(struct ledger *l)
{
	int rc = sqlite3_open_v2(l->file, &l->read, SQLITE_OPEN_READONLY, NULL);

	return rc == SQLITE_OK ? sqlite3_busy_timeout(l->read, BUSY_MS) : rc;
}

void ledger_read_close(struct ledger *l)
{
	sqlite3_close(l->read);
	l->read = NULL;
}

/* ---- rows ---- */

static void read_text(sqlite3_stmt *s, int column, char out[LEDGER_NAME_SIZE])
{
	const unsigned char *text = sqlite3_column_text(s, column);

	snprintf(out, LEDGER_NAME_SIZE, "%s", text ? (const char *)text : "");
}

static void read_row(sqlite3_stmt *s, struct ledger_row *r)
{
	int64_t v[16];

	for (int i = 0; i < 16; i++)
		v[i] = sqlite3_column_int64(s, i);
	*r = (struct ledger_row){.id = v[0],
		.ms = v[1],
		.kind = (enum event_kind)(v[2] >= 0 && v[2] < N_EVENT_KINDS ? v[2] : EVENT_arena),
		.actor = (unsigned)v[3],
		.inside = (uint32_t)v[4],
		.nat = (uint32_t)v[5],
		.remote = (uint32_t)v[6],
		.realm = (uint16_t)v[7],
		.inside_port = (uint16_t)v[8],
		.remote_port = (uint16_t)v[9],
		.first = (uint16_t)v[10],
		.ports = (uint32_t)v[11],
		.protocol = (uint8_t)v[12],
		.personal = v[13] != 0,
		.total = (uint64_t)v[14],
		.since_ms = v[15]};
	read_text(s, 16, r->verdict);
	read_text(s, 17, r->pool);
}

/* Conditions that are asked for only, so that whichever index fits is used. */
static void make_sql(const struct ledger_filter *f, char sql[SQL_SIZE])
{
	snprintf(sql, SQL_SIZE,
		"SELECT " COLUMNS " FROM event WHERE ms>=?1 AND ms<?2%s%s%s%s%s%s%s ORDER BY ms DESC,id DESC LIMIT ?3",
		f->before_id ? " AND (ms,id)<(?4,?5)" : "", f->kind >= 0 ? " AND kind=?6" : "",
		f->verdict ? " AND verdict=?7" : "", f->by_inside ? " AND inside=?8" : "",
		f->by_realm ? " AND realm=?9" : "", f->by_nat ? " AND nat=?10" : "",
		f->by_port ? " AND ?11>=first AND ?11<first+ports" : "");
}

static void bind_filter(sqlite3_stmt *s, const struct ledger_filter *f, unsigned max)
{
	sqlite3_bind_int64(s, 1, f->from_ms);
	sqlite3_bind_int64(s, 2, f->to_ms);
	sqlite3_bind_int64(s, 3, max);
	sqlite3_bind_int64(s, 4, f->before_ms);
	sqlite3_bind_int64(s, 5, f->before_id);
	sqlite3_bind_int(s, 6, f->kind);
	sqlite3_bind_text(s, 7, f->verdict, -1, SQLITE_STATIC);
	sqlite3_bind_int64(s, 8, f->inside);
	sqlite3_bind_int64(s, 9, f->realm);
	sqlite3_bind_int64(s, 10, f->nat);
	sqlite3_bind_int64(s, 11, f->port);
}

static int find_rows(struct ledger *l, const struct ledger_filter *f, struct ledger_row *row, unsigned max, unsigned *n)
{
	char sql[SQL_SIZE];
	sqlite3_stmt *s = NULL;

	make_sql(f, sql);
	int rc = sqlite3_prepare_v2(l->read, sql, -1, &s, NULL);
	if (rc == SQLITE_OK)
		bind_filter(s, f, max);
	while (rc == SQLITE_OK && (rc = sqlite3_step(s)) == SQLITE_ROW) {
		rc = SQLITE_OK;
		if (*n < max)
			read_row(s, &row[(*n)++]);
	}
	sqlite3_finalize(s);
	return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

/* A reader that finds the file corrupt leaves it to the writer. Under the lock: it is still this file's. */
static int judge(struct ledger *l, int rc)
{
	if (database_is_corrupt(rc))
		atomic_store(&l->corrupt, true);
	return database_errno(rc);
}

int ledger_rows(struct ledger *l, const struct ledger_filter *f, struct ledger_row *row, unsigned max, unsigned *n)
{
	int rc = SQLITE_CANTOPEN;

	*n = 0;
	pthread_mutex_lock(&l->read_lock);
	if (l->read)
		rc = find_rows(l, f, row, max < LEDGER_ROWS ? max : LEDGER_ROWS, n);
	rc = judge(l, rc);
	pthread_mutex_unlock(&l->read_lock);
	return rc;
}

/* ---- holders ---- */

static void add_holder(sqlite3_stmt *s, struct ledger_answer *out)
{
	if (out->n < LEDGER_HOLDERS)
		out->holder[out->n++] = (struct ledger_holder){.nat = (uint32_t)sqlite3_column_int64(s, 0),
			.first = (uint16_t)sqlite3_column_int64(s, 1),
			.ports = (uint32_t)sqlite3_column_int64(s, 2),
			.realm = (uint16_t)sqlite3_column_int64(s, 3),
			.inside = (uint32_t)sqlite3_column_int64(s, 4),
			.from_ms = sqlite3_column_int64(s, 5),
			.until_ms = sqlite3_column_int64(s, 6)};
}

/* Blocks are aligned: of each size one can hold the port. */
static int find_holders(
	struct ledger *l, uint32_t nat, uint16_t port, int64_t from_ms, int64_t until_ms, struct ledger_answer *out)
{
	static const char sql[] = "SELECT nat,first,ports,realm,inside,from_ms,until_ms FROM holding WHERE nat=?1 AND"
				  " first=?2 AND ports=?3 AND from_ms<=?5 AND until_ms>=?4 ORDER BY from_ms DESC";
	sqlite3_stmt *s = NULL;
	int rc = sqlite3_prepare_v2(l->read, sql, -1, &s, NULL);

	for (uint32_t size = BLOCK_MIN; rc == SQLITE_OK && size <= BLOCK_MAX; size *= 2) {
		sqlite3_bind_int64(s, 1, nat);
		sqlite3_bind_int64(s, 2, port & ~(size - 1));
		sqlite3_bind_int64(s, 3, size);
		sqlite3_bind_int64(s, 4, from_ms);
		sqlite3_bind_int64(s, 5, until_ms);
		while ((rc = sqlite3_step(s)) == SQLITE_ROW)
			add_holder(s, out);
		sqlite3_reset(s);
		rc = rc == SQLITE_DONE ? SQLITE_OK : rc;
	}
	sqlite3_finalize(s);
	return rc;
}

/* Stretches of time in which events were lost, or an arena with what it had not told. */
static int find_gaps(struct ledger *l, int64_t from_ms, int64_t until_ms, struct ledger_answer *out)
{
	static const char sql[] = "SELECT since_ms,ms FROM event WHERE kind IN (3,4) AND ms>=?1 AND since_ms<=?2"
				  " ORDER BY ms LIMIT ?3";
	_Static_assert(EVENT_lost == 3 && EVENT_arena == 4, "kinds are numbers in the file, and in its index");
	sqlite3_stmt *s = NULL;
	int rc = sqlite3_prepare_v2(l->read, sql, -1, &s, NULL);

	if (rc != SQLITE_OK)
		return rc;
	sqlite3_bind_int64(s, 1, from_ms);
	sqlite3_bind_int64(s, 2, until_ms);
	sqlite3_bind_int(s, 3, LEDGER_GAPS);
	while ((rc = sqlite3_step(s)) == SQLITE_ROW) {
		out->gap[out->gaps].from_ms = sqlite3_column_int64(s, 0);
		out->gap[out->gaps++].until_ms = sqlite3_column_int64(s, 1);
	}
	sqlite3_finalize(s);
	return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

static int find_reach(struct ledger *l, int64_t *reach_ms)
{
	sqlite3_stmt *s = NULL;
	int rc = sqlite3_prepare_v2(l->read, "SELECT reach_ms FROM state", -1, &s, NULL);

	*reach_ms = INT64_MAX; /* nothing was stored yet */
	if (rc == SQLITE_OK)
		rc = sqlite3_step(s);
	if (rc == SQLITE_ROW)
		*reach_ms = sqlite3_column_int64(s, 0);
	sqlite3_finalize(s);
	return rc == SQLITE_ROW || rc == SQLITE_DONE ? SQLITE_OK : rc;
}

int ledger_holders(
	struct ledger *l, uint32_t nat, uint16_t port, int64_t from_ms, int64_t until_ms, struct ledger_answer *out)
{
	int rc = SQLITE_CANTOPEN;

	memset(out, 0, sizeof *out);
	pthread_mutex_lock(&l->read_lock);
	if (l->read)
		rc = find_holders(l, nat, port, from_ms, until_ms, out);
	if (rc == SQLITE_OK)
		rc = find_gaps(l, from_ms, until_ms, out);
	if (rc == SQLITE_OK)
		rc = find_reach(l, &out->reach_ms);
	rc = judge(l, rc);
	pthread_mutex_unlock(&l->read_lock);
	return rc;
}
