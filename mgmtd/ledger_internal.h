/* ledger_internal: what the parts of the ledger share. Not for others.
 *
 * ledger.c the file, the thread, one turn; ledger_hold.c who holds which block, and what the arena says of that;
 * ledger_query.c questions. */
#ifndef CORENAT_MGMTD_LEDGER_INTERNAL_H
#define CORENAT_MGMTD_LEDGER_INTERNAL_H

#include "mgmtd/database.h"
#include "mgmtd/ledger.h"

#include <pthread.h>
#include <stdatomic.h>

enum ledger_statement {
	PUT_EVENT,
	PUT_RING,
	GIVE,
	RETURN,
	CLOSE_ONE,
	CLOSE_OTHERS,
	OPEN_ONES,
	TRIM_EVENTS,
	TRIM_HOLDINGS,
	OLDEST,
	PUT_STATE,
	N_LEDGER_STATEMENTS
};

/* How far one ring was stored. */
struct ledger_ring {
	struct events events;
	uint64_t next, lost;
};

/* Legend  [I] fixed once made  [W] who takes turns: the ledger's thread  [R] under read_lock  [A] atomic
 *         [L] under the thread's lock */
struct ledger {
	char file[256];                               /* [I] */
	uint32_t keep_s, rows_max;                    /* [I] */
	const struct config *config;                  /* [I] */
	struct arena *arena;                          /* [I] */
	int64_t arena_id;                             /* [I] tells arenas apart: when it was made */
	struct ledger_ring ring[ENGINE_MAX + 1];      /* [W] */
	sqlite3 *write;                               /* [W] NULL: could not be opened, tried again each turn */
	sqlite3_stmt *statement[N_LEDGER_STATEMENTS]; /* [W] */
	int64_t last_ms;                              /* [W] of the last turn that went well */
	int64_t begun_ms, reach_ms;                   /* [W] since when it is kept; how far back it reaches */
	int64_t trimmed_ms;                           /* [W] */
	bool new_arena;                               /* [W] the file is of another one, or new */
	bool compared, failing;                       /* [W] with the arena; the last turn failed, which was logged */
	pthread_mutex_t read_lock;                    /* one question at a time; also held to change the file */
	sqlite3 *read;                                /* [R] */
	_Atomic bool corrupt;                         /* [A] a reader saw it: the next turn sets the file aside */
	pthread_t thread;                             /* [I] */
	bool has_thread, stop;                        /* [I] [L] */
	pthread_mutex_t lock;
	pthread_cond_t wake;
};

/* One turn's clocks: what a time of the engines' is on the wall. */
struct ledger_clock {
	int64_t unix_ms;
	mono_t now;
};

static inline int64_t ledger_wall(const struct ledger_clock *c, uint64_t ns)
{
	return c->unix_ms + ((int64_t)ns - (int64_t)c->now.ns) / 1000000;
}

/* Runs a statement whose parameters are bound, to its end; SQLITE_OK or what went wrong. */
int ledger_run(sqlite3_stmt *s);

/* A block's event. */
int ledger_hold(struct ledger *l, const struct event *e, const struct ledger_clock *c);
/* Makes open holdings those that the arena has. */
int ledger_compare(struct ledger *l, const struct ledger_clock *c);
/* The arena was made anew: what was held in others is over. */
int ledger_end_others(struct ledger *l);

/* The reading connection; read_lock is held. */
int ledger_read_open(struct ledger *l);
void ledger_read_close(struct ledger *l);

#endif
