/* mailbox: one SysV shared-memory segment per engine, between that engine and the aggregator only.
 *
 * What       a flag protocol: the aggregator requests, the engine writes, the aggregator says done. The engine looks
 *            at one word per loop turn and never waits for anybody.
 * Units      times are nanoseconds of CLOCK_MONOTONIC.
 * Ownership  the segment belongs to the appliance; either side creates it, whoever removes the appliance deletes it
 *            (mailbox_remove). It shows in `ipcs -m`, carries its attach count.
 * Calls      one thread of the engine: mailbox_requested, mailbox_write. One thread of the aggregator: mailbox_reset,
 *            mailbox_request, mailbox_take. open, close, remove: anyone.
 * Errors     open: NULL and errno: EEXIST when the key belongs to something else, EPROTO for another version,
 *            ENAMETOOLONG, or what shmget and shmat say; mailbox_explain makes a sentence.
 * Use        engine:     if (mailbox_requested(box)) mailbox_write(box, &report);
 *            aggregator: mailbox_request(box, MAILBOX_STATISTICS_ABSOLUTE); ...;
 *                        if (mailbox_take(box, &report)) absorb(&report);
 *
 * Recipe     `turn` is the one word that says whose turn it is; each side writes only when it is its own, so the two
 *            strictly alternate and no answer can be torn or belong to nothing:
 *            IDLE      -> REQUESTED  aggregator, after writing the command       (release)
 *            REQUESTED -> WRITTEN    engine, after writing the report            (release)
 *            WRITTEN   -> IDLE       aggregator, after copying the report: done  (release)
 *            Both read it with acquire.
 * Making     the kernel gives zeroes. Every [I] byte follows from name, engine and build, so whoever finds the stamp
 *            zero writes the same bytes and publishes them by compare-exchange of the stamp (release; readers
 *            acquire). No one waits, and a maker that died half-way leaves nothing to repair. Of two builds that race,
 *            one stamp wins, the other gets EPROTO.
 * Death      engine dies: turn stays REQUESTED, the aggregator's deadline passes and it counts the engine as silent;
 *            the successor answers the pending request. Engine dies half-way through writing: turn is still REQUESTED,
 *            nobody reads the half. Aggregator dies: its successor discards what is WRITTEN (mailbox_reset), and a
 *            pending REQUESTED is as good as its own. Counters are cumulative in the engine: nothing is lost either
 *            way.
 */
#ifndef CORENAT_SHM_MAILBOX_H
#define CORENAT_SHM_MAILBOX_H

#include "common/counters.h"
#include "common/units.h"
#include "common/verdicts.h"

#include <stdatomic.h>
#include <stddef.h>

enum {
	MAILBOX_MAGIC = 0x424d4e43, /* "CNMB" */
	MAILBOX_VERSION = 1,        /* meaning of the fields; their sizes and names are hashed */
	MAILBOX_NAME_SIZE = 32,     /* arena name with its terminating zero */
};

enum mailbox_turn { MAILBOX_IDLE, MAILBOX_REQUESTED, MAILBOX_WRITTEN };
enum mailbox_command { MAILBOX_STATISTICS_ABSOLUTE = 1 };

/* What an engine reports: the values of the two tables, cumulative since the arena was made. */
struct engine_report {
	uint64_t time_ns; /* when the engine wrote it */
	uint64_t counters[N_COUNTERS];
	uint64_t verdicts[N_VERDICTS];
};

/* Legend  [I] fixed once the stamp is set  [T] the turn word
 *         [A] aggregator, before REQUESTED [E] engine, before WRITTEN
 * stamp, arena and engine keep their places in every version, so that any build can tell whose a
 * segment is. */
struct mailbox {
	_Atomic uint64_t stamp;        /*  0 [I] magic (low half) and layout hash; stored last */
	char arena[MAILBOX_NAME_SIZE]; /*  8 [I] whose mailbox, to tell a key collision */
	uint32_t engine;               /* 40 [I] */
	_Atomic uint32_t turn;         /* 44 [T] enum mailbox_turn */
	uint32_t command;              /* 48 [A] enum mailbox_command */
	uint32_t reserved[3];          /* 52 */
	struct engine_report report;   /* 64 [E] */
};
_Static_assert(offsetof(struct mailbox, arena) == 8, "kept in every version");
_Static_assert(offsetof(struct mailbox, engine) == 40, "kept in every version");
_Static_assert(offsetof(struct mailbox, report) == CACHE_LINE, "turn and report on lines of their own");

/* Opens the mailbox of `engine` of the appliance whose arena has this name, making it if need be.
 * The SysV key is a hash of name and engine; mode 0600. */
struct mailbox *mailbox_open(const char *arena_name, unsigned engine);
void mailbox_close(struct mailbox *box);

/* Marks the segment for deletion; 0, -ENOENT when there is none, -EEXIST when it is not ours. */
int mailbox_remove(const char *arena_name, unsigned engine);

/* One sentence for the errno that open left. */
const char *mailbox_explain(int error);

/* ---- engine's side ---- */
static inline bool mailbox_requested(const struct mailbox *box)
{
	return atomic_load_explicit(&box->turn, memory_order_acquire) == MAILBOX_REQUESTED;
}

/* Writes the report and passes the turn. Only after mailbox_requested said yes. */
void mailbox_write(struct mailbox *box, const struct engine_report *report);

/* ---- aggregator's side ---- */
/* After a restart: discards an answer the predecessor did not take; a pending request stays. */
void mailbox_reset(struct mailbox *box);
/* Asks; false when the last request is not answered or its answer not taken yet. */
bool mailbox_request(struct mailbox *box, enum mailbox_command command);
/* True when an answer lies there; copies it and says done. */
bool mailbox_take(struct mailbox *box, struct engine_report *out);

#endif
