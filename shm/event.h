/* event: what an actor tells mgmtd that somebody may ask about later: port blocks given and returned, and refusals.
 *
 * What       a ring for each engine, and one for mgmtd, which gives blocks back too: records of one size, put by the one
 *            actor whose ring it is, taken by mgmtd a few times a second, which stores them (mgmtd/events.h).
 * Units      nanoseconds of CLOCK_MONOTONIC, the `now` of the burst or turn; mgmtd says what that is on the wall. Block
 *            ports in host order; addresses and other ports as on the wire.
 * Ownership  the actor writes records, head and lost; mgmtd tail. struct events is private memory.
 * Calls      put: the actor's thread. peek, taken, lost: one thread of mgmtd's at a time. None blocks.
 * Errors     a full ring: what is newest is not written but counted in `lost`, to a unit; nobody waits for mgmtd.
 * Use        actor: event_put(&events, &e);
 *            mgmtd: n = event_peek(&events, next, out, max); store them and next += n; event_taken(&events, next);
 *
 * Publish    the record, plain -> head (release).
 * Read       head (acquire) -> copy records -> tail (release): only then their places are written again.
 * Twice      records are numbered since the arena was made. mgmtd commits the number after the last one with them,
 *            and moves the tail then: a successor that finds the tail behind what was committed moves it, and stores
 *            nothing twice.
 * Death      the actor, before head: never put; its block's intent makes the successor put it (blocks.h), a refusal is told
 *            by the next one's total. After head: put. mgmtd, before it commits: its successor stores them; after:
 *            see Twice. Nothing has to be repaired.
 */
#ifndef CORENAT_SHM_EVENT_H
#define CORENAT_SHM_EVENT_H

#include "common/verdicts.h"
#include "shm/slab.h"

/* Kind, which is its name for people and in JSON, and help. One table: a new kind is a new row, the last: mgmtd stores their
 * numbers. `lost` and `arena` are mgmtd's own, and in no ring. */
#define EVENT_KINDS(K)                                                                                                 \
	K(block_given, "a block of ports became a subscriber's")                                                       \
	K(block_returned, "a subscriber's block of ports went back to its pool")                                       \
	K(refusal, "packets are refused for want of something")                                                        \
	K(lost, "events that were not recorded: their ring was full")                                                  \
	K(arena, "the shared memory was made anew: nothing of what was before is held any more")

enum event_kind {
#define K(id, help) EVENT_##id,
	EVENT_KINDS(K)
#undef K
		N_EVENT_KINDS
};

struct event_info {
	const char *name, *help;
};

extern const struct event_info event_info[N_EVENT_KINDS];

enum { EVENT_SLOTS = 8192 }; /* of each ring in the arena; a power of two */

/* What members mean, by kind: B block_given and block_returned, R refusal. Members of other kinds are zero. */
struct event {
	uint64_t time_ns;     /*  0 BR */
	uint64_t total;       /*  8 R  of that reason so far: of the subscriber at this engine, or of the engine */
	be32_t inside;        /* 16 BR the subscriber; R: 0 when it is not known */
	be32_t nat;           /* 20 B  */
	be32_t remote;        /* 24 R  where the packet was going, or came from */
	uint32_t since_s;     /* 28 B  when the block was given: with who has it and where it is, its name */
	uint16_t realm;       /* 32 BR */
	be16_t inside_port;   /* 34 R  */
	be16_t remote_port;   /* 36 R  */
	uint16_t first;       /* 38 B  */
	uint16_t ports;       /* 40 B  how many */
	uint16_t pool;        /* 42 R  its number + 1; 0: of no one pool */
	uint8_t kind;         /* 44 BR enum event_kind */
	uint8_t verdict;      /* 45 R  */
	uint8_t protocol;     /* 46 R  IP's; 0: not known */
	uint8_t personal;     /* 47 R  1: `total` is of the subscriber's part; 0: of the engine */
	uint64_t reserved[2]; /* 48 */
};
_Static_assert(sizeof(struct event) == CACHE_LINE, "one line each");
_Static_assert(offsetof(struct event, kind) == 44, "see map");

/* Legend  [A] the actor whose ring it is; others accept a stale value  [M] mgmtd  [Q] the actor, published by head */
struct event_ring {
	_Alignas(CACHE_LINE) _Atomic uint64_t head; /*   0 [A] records put so far */
	_Atomic uint64_t lost;                      /*   8 [A] records not put so far, for want of room */
	_Alignas(CACHE_LINE) _Atomic uint64_t tail; /*  64 [M] records taken so far */
	_Alignas(CACHE_LINE) struct event slot[];   /* 128 [Q] number n at n modulo their number */
};
_Static_assert(offsetof(struct event_ring, slot) == 2 * CACHE_LINE, "see map");

enum { EVENT_RING_BYTES = sizeof(struct event_ring) + EVENT_SLOTS * sizeof(struct event) };

/* One process's view of a ring. */
struct events {
	struct event_ring *ring;
	uint64_t mask; /* number of places - 1 */
};

/* The rings there are: of each engine, and the last one mgmtd's. */
static inline unsigned event_rings(const struct arena *a)
{
	return a->header->geometry.engines + 1;
}

/* Of an engine, or of ACTOR_MGMTD. */
struct events events_of(const struct arena *a, unsigned actor);

/* Whose ring number `n` is. */
static inline unsigned event_actor(const struct arena *a, unsigned n)
{
	return n < a->header->geometry.engines ? n : ACTOR_MGMTD;
}

/* ---- the actor ---- */

/* False: no room, counted. */
bool event_put(const struct events *v, const struct event *e);

/* ---- mgmtd ---- */

/* The number of the first record that was not taken yet. */
static inline uint64_t event_next(const struct events *v)
{
	return atomic_load_explicit(&v->ring->tail, memory_order_relaxed);
}
/* Copies up to `max` records from number `from` on, which was not taken yet; how many. */
unsigned event_peek(const struct events *v, uint64_t from, struct event *out, unsigned max);
/* All up to number `next` are stored: their places may be used again. */
void event_taken(const struct events *v, uint64_t next);

/* ---- anyone ---- */

static inline uint64_t event_lost(const struct events *v)
{
	return atomic_load_explicit(&v->ring->lost, memory_order_relaxed);
}

#endif
