/* history: the appliance's counters over time, in one sqlite3 file.
 *
 * What       one row per sample: time and all counters and verdicts of the appliance, packed.
 *            Queries give one of them over a range: sums as rate per second, gauges as average.
 * Units      samples: milliseconds since 1970. Queries: seconds since 1970. keep: seconds.
 * Ownership  open allocates, close frees. Points are the caller's, history_points_free.
 * Calls      open, add, close: mgmtd's main thread, which add may hold up for one fsync. query: any
 *            thread.
 * Errors     0 or -errno; -ENOENT is an unknown counter, -EINVAL an impossible range. open: NULL
 *            and one sentence. A corrupt file is set aside as FILE.corrupt-<time>, which is logged,
 *            and a new one started, at open and later alike. Storing that fails is logged when it
 *            begins and ends.
 * Use        h = history_open("/var/lib/corenat/history.db", 86400, 1000, &err);
 *            history_add(h, unix_ms, &appliance);  (once per statistics interval)
 *            history_query(h, "sessions", from, to, 1, &points);
 *
 * File       sample(time INTEGER PRIMARY KEY, layout, packed): values in the order of layout.names,
 *            each as LEB128 (seven bits per byte, least first). A row per value would cost 50
 *            B-tree entries of some 16 bytes each second, 70 MB and 4.3 million inserts per day;
 *            one packed row is one insert of some 160 bytes (350 when every value is large): 15 to
 *            30 MB per day, and a query over a whole day steps through 86,400 rows, in some 40 ms.
 *            Layouts name the values, so that a build with other counters reads the rows of its
 *            predecessor.
 * Values     cumulative, as they came: a rate is taken between two neighbours at query time. No
 *            rate is taken across a gap, nor where a sum fell because counting began anew.
 * Bound      rows older than `keep`, or newer than now (the clock was set back), are deleted, a few
 *            at each add so that a clock that is wrong for a minute after boot cannot erase the
 *            past.
 * Power loss every sample is synced: at most the one being written is lost.
 */
#ifndef CORENAT_MGMTD_HISTORY_H
#define CORENAT_MGMTD_HISTORY_H

#include "shm/mailbox.h"

enum { HISTORY_POINTS_MAX = 2000 };

struct history_error {
	char text[320];
};

struct history_point {
	int64_t time_s; /* begin of its step */
	double value;
};

struct history_points {
	enum counter_kind kind;
	int64_t step_s; /* as used: wider than asked when the range would give too many points */
	unsigned n;
	struct history_point *point; /* ascending; steps without data are left out */
};

struct history;

struct history *history_open(const char *file, unsigned keep_s, unsigned interval_ms, struct history_error *err);
void history_close(struct history *h);

/* Stores one sample. Of two with the same time the later wins. */
int history_add(struct history *h, int64_t unix_ms, const struct engine_report *appliance);

/* `name` is one of common/counters.h or common/verdicts.h (a verdict is a sum). The range is
 * [from_s, to_s), aligned outwards to whole steps. */
int history_query(
	struct history *h, const char *name, int64_t from_s, int64_t to_s, int64_t step_s, struct history_points *out);
void history_points_free(struct history_points *points);

#endif
