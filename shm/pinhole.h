/* pinhole: requests for mappings with a lifetime, from mgmtd to one engine, and what it answers.
 *
 * What       a pinhole is a session without a flow: it carries, or uses, the mapping and the filter of an inside endpoint
 *            as any session does (pe/nat_bind.c), lets anybody in, and ends when its lifetime does, never before for
 *            being idle. Only engines make and end sessions, so mgmtd asks one: each has a ring of requests, and the
 *            answer is left in the request's place.
 * Units      seconds of CLOCK_MONOTONIC; addresses and ports as on the wire; numbers count requests from 1 on.
 * Ownership  mgmtd writes requests and `last`, one thread at a time; the engine, or whose guest it is, answers and `done`.
 * Calls      post, answer: mgmtd. next, done: the engine. None blocks or makes a system call.
 * Errors     post: -EBUSY while the engine has yet to do the request whose place it would take. answer: false while the
 *            engine has yet to do it. What is refused is said in the answer (enum pinhole_result).
 * Use        mgmtd:  n = pinhole_post(a, engine, &request); ... while (!pinhole_answer(a, engine, n, &answer)) wait;
 *            engine: while ((n = pinhole_next(ring, &request))) { ...; pinhole_done(ring, n, &answer); }
 *
 * Publish    words of the request, last (release); the answer's words, done (release).
 * Read       last (acquire), words; done (acquire), words. A place is used again only when what was there is done, and
 *            by the one who reads its answer.
 * Death      mgmtd, before `last`: it was never asked. After it: done, and nobody reads the answer; a pinhole made ends by
 *            its lifetime. The engine, before `done`: its successor ends the half-made pinhole (INTENT_PINHOLE names the
 *            request, so that one that was answered stays) and does the request again. Renewing and closing may be
 *            repeated.
 */
#ifndef CORENAT_SHM_PINHOLE_H
#define CORENAT_SHM_PINHOLE_H

#include "shm/engine.h"
#include "shm/session.h"

enum { PINHOLE_SLOTS = 16, PINHOLE_MIN_S = 120, PINHOLE_MAX_S = 86400 };

enum pinhole_action { PINHOLE_OPEN, PINHOLE_RENEW, PINHOLE_CLOSE };

enum pinhole_result {
	PINHOLE_OK,
	PINHOLE_GONE,           /* renew, close: it has ended */
	PINHOLE_NOT_READY,      /* the engine has no configuration, or is somebody's guest */
	PINHOLE_NOT_SUBSCRIBER, /* nobody who is translated */
	PINHOLE_NOT_BY_RULE,    /* what the rules say of the endpoint is not to translate it */
	PINHOLE_STATIC,         /* it has a static mapping already */
	PINHOLE_MAPPED,         /* it has a mapping already, not the one that is wanted */
	PINHOLE_NO_PORT,        /* what is wanted is taken or nobody's to have, or the pool is exhausted */
	PINHOLE_NO_ROOM,        /* memory, tables */
	PINHOLE_LIMIT,          /* its subscriber has as much as it may */
	PINHOLE_LOCKED,         /* a lock was busy: ask again */
	N_PINHOLE_RESULTS
};

struct pinhole_request {
	be32_t inside;
	be32_t nat; /* open: wanted; 0: any */
	be16_t inside_port;
	be16_t nat_port; /* open: wanted; 0: any */
	uint16_t realm;
	uint8_t l4;                 /* L4_TCP or L4_UDP */
	uint8_t action;             /* enum pinhole_action */
	uint32_t lifetime_s;        /* open, renew */
	uint32_t index, generation; /* renew, close: which */
	uint32_t reserved;
};
_Static_assert(sizeof(struct pinhole_request) == 32, "whole words");

struct pinhole_answer {
	uint32_t result; /* enum pinhole_result; the rest holds when OK */
	uint32_t index, generation;
	uint32_t expires_s;
	be32_t nat;
	be16_t nat_port;
	uint16_t reserved;
};
_Static_assert(sizeof(struct pinhole_answer) == 24, "whole words");

/* Legend  [M] mgmtd, before last  [E] the engine, before done */
struct pinhole_slot {
	_Atomic uint64_t request[sizeof(struct pinhole_request) / 8]; /*  0 [M] a struct pinhole_request */
	_Atomic uint64_t answer[sizeof(struct pinhole_answer) / 8];   /* 32 [E] a struct pinhole_answer */
	uint64_t reserved;                                            /* 56 */
};
_Static_assert(sizeof(struct pinhole_slot) == CACHE_LINE, "see map");

struct pinhole_ring {
	_Alignas(CACHE_LINE) _Atomic uint32_t last;                   /*  0 [M] number of the newest request */
	_Alignas(CACHE_LINE) _Atomic uint32_t done;                   /* 64 [E] number of the last one answered */
	_Alignas(CACHE_LINE) struct pinhole_slot slot[PINHOLE_SLOTS]; /* 128 */
};

static inline struct pinhole_ring *pinhole_ring_of(const struct arena *a, unsigned engine)
{
	return (struct pinhole_ring *)arena_region(a, ARENA_pinholes) + engine;
}

/* mgmtd: asks; the request's number. */
int64_t pinhole_post(struct arena *a, unsigned engine, const struct pinhole_request *r);
bool pinhole_answer(const struct arena *a, unsigned engine, uint32_t number, struct pinhole_answer *out);

/* The engine: the next request, 0: there is none; and its answer. */
uint32_t pinhole_next(const struct pinhole_ring *ring, struct pinhole_request *out);
void pinhole_done(struct pinhole_ring *ring, uint32_t number, const struct pinhole_answer *answer);

static inline bool pinhole_is_done(const struct pinhole_ring *ring, uint32_t number)
{
	return (int32_t)(atomic_load_explicit(&ring->done, memory_order_acquire) - number) >= 0;
}

#endif
