/* The reading half: samples of a range become points. */
#include "mgmtd/history_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { BUSY_MS = 1000 };

/* ---- the reading connection ---- */

int history_read_open(struct history *h)
{
	static const char select[] = "SELECT time, layout, packed FROM sample"
				     " WHERE time BETWEEN ?1 AND ?2 ORDER BY time";
	static const char names[] = "SELECT names FROM layout WHERE id=?1";
	int rc = sqlite3_open_v2(h->file, &h->read, SQLITE_OPEN_READONLY, NULL);

	if (rc == SQLITE_OK)
		rc = sqlite3_busy_timeout(h->read, BUSY_MS);
	if (rc == SQLITE_OK)
		rc = sqlite3_prepare_v2(h->read, select, -1, &h->select, NULL);
	if (rc == SQLITE_OK)
		rc = sqlite3_prepare_v2(h->read, names, -1, &h->names, NULL);
	return rc;
}

void history_read_close(struct history *h)
{
	sqlite3_finalize(h->select);
	sqlite3_finalize(h->names);
	sqlite3_close(h->read);
	h->select = h->names = NULL;
	h->read = NULL;
}

/* ---- names and packed values ---- */

static bool kind_of(const char *name, enum counter_kind *kind)
{
	for (unsigned i = 0; i < N_COUNTERS; i++) {
		if (strcmp(counter_info[i].name, name) == 0) {
			*kind = counter_info[i].kind;
			return true;
		}
	}
	for (unsigned i = 0; i < N_VERDICTS; i++) {
		if (strcmp(verdict_info[i].name, name) == 0) {
			*kind = COUNTER_SUM;
			return true;
		}
	}
	return false;
}

int history_index_of(const char *names, const char *name)
{
	size_t size = strlen(name);

	for (int i = 0; *names; i++) {
		const char *end = strchrnul(names, '\n');

		if ((size_t)(end - names) == size && memcmp(names, name, size) == 0)
			return i;
		names = *end ? end + 1 : end;
	}
	return -1;
}

/* The index-th value; false when the row ends before. */
static bool unpack(const unsigned char *at, size_t size, int index, uint64_t *out)
{
	const unsigned char *end = at + size;

	for (; index > 0 && at < end; at++)
		index -= *at < 0x80;
	uint64_t v = 0;
	for (unsigned shift = 0; at < end && shift < 64; shift += 7, at++) {
		v |= (uint64_t)(*at & 0x7f) << shift;
		if (*at < 0x80) {
			*out = v;
			return true;
		}
	}
	return false;
}

/* ---- steps ---- */

/* Every stretch between two neighbouring samples has one value (a rate, or a mean level); a step is
 * the mean of the stretches that overlap it, weighted by their overlap. So samples that come a
 * little early or late leave no holes, and a step without any stretch is a gap. */
struct steps {
	int64_t from_ms, step_ms;
	unsigned n;
	struct {
		double area;    /* value times milliseconds */
		double covered; /* milliseconds */
	} step[HISTORY_POINTS_MAX];
};

static void add_stretch(struct steps *s, int64_t begin, int64_t end, double value)
{
	int64_t until = s->from_ms + s->step_ms * s->n;

	if (begin < s->from_ms)
		begin = s->from_ms;
	if (end > until)
		end = until;
	while (begin < end) {
		int64_t i = (begin - s->from_ms) / s->step_ms;
		int64_t edge = s->from_ms + (i + 1) * s->step_ms;
		double part = (double)((edge < end ? edge : end) - begin);

		s->step[i].area += value * part;
		s->step[i].covered += part;
		begin = edge;
	}
}

/* Aligned outwards to whole steps, the step widened until the points fit. */
static int plan(struct steps *s, int64_t from_s, int64_t to_s, int64_t step_s)
{
	static const int64_t end_of_time = 100000000000; /* year 5138: keeps the arithmetic in bounds */
	int64_t n;

	if (from_s < 0 || to_s <= from_s || to_s > end_of_time || step_s < 1 || step_s > end_of_time)
		return -EINVAL;
	for (;; step_s++) {
		if ((to_s - from_s) / step_s > HISTORY_POINTS_MAX)
			step_s = (to_s - from_s) / HISTORY_POINTS_MAX;
		int64_t first = from_s / step_s * step_s;

		n = (to_s - first + step_s - 1) / step_s;
		s->from_ms = first * 1000;
		if (n <= HISTORY_POINTS_MAX)
			break;
	}
	s->step_ms = step_s * 1000;
	s->n = (unsigned)n;
	return 0;
}

/* ---- samples ---- */

/* A reader's place in the samples of one counter. */
struct cursor {
	const char *name;
	enum counter_kind kind;
	int64_t layout; /* whose index this is; 0: none, ids begin with 1 */
	int index;
	bool has_last;
	int64_t last_ms;
	uint64_t last;
};

static int find_index(struct history *h, struct cursor *c, int64_t layout)
{
	if (c->layout == layout)
		return SQLITE_OK;
	sqlite3_bind_int64(h->names, 1, layout);
	int rc = sqlite3_step(h->names);
	c->layout = layout;
	c->index = -1;
	if (rc == SQLITE_ROW)
		c->index = history_index_of((const char *)sqlite3_column_text(h->names, 0), c->name);
	sqlite3_reset(h->names);
	return rc == SQLITE_ROW || rc == SQLITE_DONE ? SQLITE_OK : rc;
}

static void take_sample(const struct history *h, struct cursor *c, struct steps *s, int64_t ms, uint64_t value)
{
	int64_t dt = ms - c->last_ms;

	if (c->has_last && dt > 0 && dt <= h->gap_ms) {
		if (c->kind == COUNTER_GAUGE)
			add_stretch(s, c->last_ms, ms, ((double)c->last + (double)value) / 2);
		else if (value >= c->last) /* else counting began anew */
			add_stretch(s, c->last_ms, ms, (double)(value - c->last) * 1000 / (double)dt);
	}
	c->has_last = true;
	c->last_ms = ms;
	c->last = value;
}

/* Also the neighbours just outside, whose stretches reach in. */
static int walk(struct history *h, struct cursor *c, struct steps *s)
{
	uint64_t value;
	int rc;

	sqlite3_bind_int64(h->select, 1, s->from_ms - h->gap_ms);
	sqlite3_bind_int64(h->select, 2, s->from_ms + s->step_ms * s->n + h->gap_ms);
	while ((rc = sqlite3_step(h->select)) == SQLITE_ROW) {
		rc = find_index(h, c, sqlite3_column_int64(h->select, 1));
		if (rc != SQLITE_OK)
			break;
		const void *packed = sqlite3_column_blob(h->select, 2);
		size_t size = (size_t)sqlite3_column_bytes(h->select, 2);
		if (c->index >= 0 && unpack(packed, size, c->index, &value))
			take_sample(h, c, s, sqlite3_column_int64(h->select, 0), value);
		else
			c->has_last = false; /* a build that did not count this */
	}
	sqlite3_reset(h->select);
	return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

static int read_samples(struct history *h, struct cursor *c, struct steps *s)
{
	int rc = SQLITE_CANTOPEN;

	pthread_mutex_lock(&h->read_lock);
	if (h->read)
		rc = walk(h, c, s);
	if (database_is_corrupt(rc))
		atomic_store(&h->corrupt, true); /* under the lock: it is still this file's */
	pthread_mutex_unlock(&h->read_lock);
	return database_errno(rc);
}

/* ---- query ---- */

static int points_of(const struct steps *s, struct history_points *out)
{
	out->point = calloc(s->n, sizeof *out->point);
	if (!out->point)
		return -ENOMEM;
	for (unsigned i = 0; i < s->n; i++) {
		if (s->step[i].covered <= 0)
			continue;
		out->point[out->n].time_s = (s->from_ms + s->step_ms * i) / 1000;
		out->point[out->n++].value = s->step[i].area / s->step[i].covered;
	}
	return 0;
}

int history_query(
	struct history *h, const char *name, int64_t from_s, int64_t to_s, int64_t step_s, struct history_points *out)
{
	struct steps *s = calloc(1, sizeof *s); /* 32 kB: more than a small thread stack should carry */
	struct cursor c = {.name = name};
	int err = s ? 0 : -ENOMEM;

	*out = (struct history_points){0};
	if (!err && !kind_of(name, &c.kind))
		err = -ENOENT;
	if (!err)
		err = plan(s, from_s, to_s, step_s);
	if (!err)
		err = read_samples(h, &c, s);
	if (!err)
		err = points_of(s, out);
	out->kind = c.kind;
	out->step_s = err ? 0 : s->step_ms / 1000;
	free(s);
	return err;
}

void history_points_free(struct history_points *points)
{
	free(points->point);
	*points = (struct history_points){0};
}
