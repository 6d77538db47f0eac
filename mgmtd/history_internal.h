/* history_internal: what the writing and the reading half of history share. Not for others. */
#ifndef CORENAT_MGMTD_HISTORY_INTERNAL_H
#define CORENAT_MGMTD_HISTORY_INTERNAL_H

#include "mgmtd/database.h"
#include "mgmtd/history.h"

#include <pthread.h>
#include <sqlite3.h>

enum {
	HISTORY_VALUES = N_COUNTERS + N_VERDICTS,
	HISTORY_PACKED_MAX = HISTORY_VALUES * 10, /* LEB128 of 64 bits takes ten bytes */
};

/* Legend  [I] fixed once made  [W] main thread  [R] under read_lock  [A] atomic */
struct history {
	char file[256];            /* [I] */
	unsigned keep_s;           /* [I] */
	int64_t gap_ms;            /* [I] neighbours further apart have a gap between them */
	sqlite3 *write;            /* [W] NULL: could not be opened, tried again at each add */
	sqlite3_stmt *insert;      /* [W] */
	sqlite3_stmt *trim;        /* [W] */
	int64_t layout;            /* [W] id of this build's layout in the file */
	bool failing;              /* [W] the last add failed and that was logged */
	pthread_mutex_t read_lock; /* one query at a time; also held to change the file */
	sqlite3 *read;             /* [R] */
	sqlite3_stmt *select;      /* [R] samples of a range */
	sqlite3_stmt *names;       /* [R] names of a layout */
	_Atomic bool corrupt;      /* [A] a reader saw it; the next add sets the file aside */
};

/* Opens and closes the reading half; read_lock is held. */
int history_read_open(struct history *h);
void history_read_close(struct history *h);

/* Index of the name in a list of names that end with newlines, -1 when absent. */
int history_index_of(const char *names, const char *name);

#endif
