/* engine: what each actor (engine, or mgmtd) keeps in the arena about itself.
 *
 * What       liveness, acknowledgements, counters, slabs and the intent: the one multi-step change in flight.
 * Units      as named.
 * Ownership  an actor writes its own block only; readers accept values a moment old.
 * Calls      the actor's thread; readers: anyone.
 * Errors     none.
 * Death      the block stays as it was. The successor reads the intent, settles it (pe/nat_recover.c), rebuilds its
 *            slabs, and goes on with tables and counters as they are.
 */
#ifndef CORENAT_SHM_ENGINE_H
#define CORENAT_SHM_ENGINE_H

#include "common/counters.h"
#include "common/verdicts.h"
#include "shm/slab.h"

/* The steps of creating or ending a session whose interruption leaves something to settle. Written before the step. */
enum intent_step {
	INTENT_NONE,
	INTENT_BUILD,     /* session taken from the slab, not yet in any table */
	INTENT_MAPPING,   /* holding the mapping's bucket lock, about to change its reference count from old_refs */
	INTENT_MAPPED,    /* session.mapping says what it holds */
	INTENT_INSERT,    /* being entered into session tables */
	INTENT_END,       /* being taken out of session tables and freed */
	INTENT_UNMAPPING, /* ending: holding the bucket lock, about to change the count from old_refs */
	INTENT_UNMAPPED,  /* ending: the mapping is let go */
	INTENT_ANSWERED,  /* holding the mapping's bucket lock, about to count a session as answered at its parent */
	INTENT_ADOPT,     /* another engine's session: adopter bit and own table entry are being made to agree */
	INTENT_PINHOLE,   /* a pinhole is made; `mapping` is the number of the request that is about to be answered */
};

/* Legend  [O] owner of the block only, read by its successor */
struct intent {
	_Atomic uint32_t step;       /* [O] enum intent_step */
	uint32_t session;            /* [O] slab index */
	uint32_t mapping;            /* [O] slab index of the session that carries the mapping */
	uint32_t old_refs;           /* [O] */
	_Atomic uint64_t port;       /* [O] port being taken: table index << 32 | protocol set << 16 | port; 0: none */
	_Atomic uint64_t block;      /* [O] being made or given back, its subscriber locked; 0: none (blocks.h) */
	_Atomic uint64_t subscriber; /* [O] being changed: 1 << 48 | realm << 32 | address; 0: none (subscriber.h) */
};

/* What other actors ask of an engine about its parts of subscribers (quota.h): a bell and, at the same place, the part.
 * Legend  [A] anyone; the engine clears */
enum { BELL_SLOTS = 64 };
struct bells {
	_Atomic uint64_t rung;             /* [A] bit: place of part[] */
	_Atomic uint32_t part[BELL_SLOTS]; /* [A] slab index */
};

/* First answers that other engines saw to sessions of this one that began outside: hints, of which the later one at a
 * place wins. What is not told is found in the session itself when that is looked at next.
 * Legend  [A] anyone; the engine clears */
struct answers {
	_Atomic uint64_t told;                /* [A] bit: place of session[] */
	_Atomic uint32_t session[BELL_SLOTS]; /* [A] slab index */
};

/* Legend  [O] the actor, read by its successor  [S] the actor, anyone reads a recent value */
struct actor {
	_Alignas(CACHE_LINE) _Atomic int32_t pid;    /* [S] for people; liveness is the claim (arena.h) */
	_Atomic uint32_t incarnation;                /* [S] starts so far */
	_Atomic uint64_t heartbeat_ns;               /* [S] CLOCK_MONOTONIC, at least every 200 ms while it lives */
	_Atomic uint32_t config_ack;                 /* [S] generation of the snapshot in use */
	_Atomic uint32_t routes_ack;                 /* [S] generation of the routes in use */
	_Atomic uint32_t cpu;                        /* [S] */
	_Atomic uint32_t clear_done;                 /* [S] the last request to clear sessions that is done (clear.h) */
	char io[N_SIDES][64];                        /* [S] how each side runs, for people; written before pid */
	_Alignas(CACHE_LINE) struct intent intent;   /* [O] */
	_Alignas(CACHE_LINE) struct bells bells;     /* [A] */
	_Alignas(CACHE_LINE) struct answers answers; /* [A] */
	_Alignas(CACHE_LINE) struct slab slab[N_SLAB_CLASSES];      /* [O] but for slab.remote */
	_Alignas(CACHE_LINE) _Atomic uint64_t counters[N_COUNTERS]; /* [S] */
	_Alignas(CACHE_LINE) _Atomic uint64_t verdicts[N_VERDICTS]; /* [S] */
};

_Static_assert(sizeof(struct actor) % CACHE_LINE == 0 && offsetof(struct actor, counters) % CACHE_LINE == 0 &&
		       offsetof(struct actor, verdicts) % CACHE_LINE == 0,
	"no two engines write one line: what an engine counts is its own");

static inline struct actor *actor_of(const struct arena *a, unsigned n)
{
	assert(n < ACTOR_MAX);
	return (struct actor *)arena_region(a, ARENA_actors) + n;
}

/* One writer per cell: no locked instruction. */
static inline void counter_add(_Atomic uint64_t *cell, uint64_t n)
{
	uint64_t v = atomic_load_explicit(cell, memory_order_relaxed);

	atomic_store_explicit(cell, v + n, memory_order_relaxed);
}

static inline void counter_set(_Atomic uint64_t *cell, uint64_t v)
{
	atomic_store_explicit(cell, v, memory_order_relaxed);
}

static inline uint64_t counter_get(const _Atomic uint64_t *cell)
{
	return atomic_load_explicit(cell, memory_order_relaxed);
}

#endif
