/* clear: requests to end sessions, from mgmtd to every engine.
 *
 * What       only a session's owner may end it, so mgmtd asks: it numbers a filter and leaves it in a ring; each engine
 *            ends those of its own sessions that match and were there when it was asked (pe/nat_clear.c), a slice per
 *            turn, and says in its actor block which request it has done.
 * Units      numbers count requests from 1 on; seconds of CLOCK_MONOTONIC; addresses and ports as on the wire.
 * Ownership  mgmtd writes the ring, one thread at a time; engines read it. actor.clear_done is the engine's.
 * Calls      post: mgmtd. next, waits: anyone. None blocks; post and waits ask the kernel who lives.
 * Errors     post: -EINVAL when the filter names nothing (it would be everything), -EBUSY while an engine has yet to do
 *            the request whose place it would take.
 * Use        mgmtd:  n = clear_post(a, &filter); ...; w = clear_waits(a, n);
 *            engine: number = clear_next(ring, done, &filter); ...; actor.clear_done = number (release)
 *
 * Publish    slot number 0 (relaxed), release fence, words, slot number (release), last (release).
 * Read       last (acquire), slot number (acquire), copy words, acquire fence, slot number again: another => gone.
 * Replace    a place is written again only when each engine that runs, or left pages with sessions, has done what was
 *            there. For any other what is gone meant no session: it had none then.
 * Death      mgmtd, before `last`: the request was never made, the next one takes its place. An engine: its successor, or
 *            the engine whose guest it is, begins again with the first request not done; what was ended stays ended, and
 *            sessions that are younger than the request are not its business.
 * Price      a session made in the very second of the request, after it, may be ended too.
 */
#ifndef CORENAT_SHM_CLEAR_H
#define CORENAT_SHM_CLEAR_H

#include "shm/engine.h"
#include "shm/session.h"

enum { CLEAR_SLOTS = 16 };

/* Which members of a filter count. */
enum {
	FILTER_INSIDE = 1,
	FILTER_INSIDE_PORT = 2,
	FILTER_NAT = 4,
	FILTER_NAT_PORT = 8,
	FILTER_REMOTE = 16,
	FILTER_REMOTE_PORT = 32,
	FILTER_L4 = 64,
	FILTER_REALM = 128,
};

/* Which sessions are meant: those that agree with all members that count. */
struct session_filter {
	be32_t inside, nat, remote;
	be16_t inside_port, nat_port, remote_port;
	uint8_t l4;     /* enum l4 */
	uint8_t fields; /* FILTER_* */
	uint32_t until; /* made in this second at the latest; set by clear_post */
	uint16_t realm; /* VLAN id; 0: untagged */
	uint16_t reserved[3];
};
_Static_assert(sizeof(struct session_filter) == 32, "whole words");

/* True for a flow that is meant; whatever its age. */
bool filter_matches(const struct session_filter *f, const struct session *s);
/* The same of whatever is live. */
bool filter_agrees(const struct session_filter *f, const struct session *s);

/* Legend  [M] mgmtd; number last, see Publish  [Q] under number, as atomic words */
struct clear_slot {
	_Atomic uint32_t number;                                  /*  0 [M] of the request; 0: none, or being written */
	uint32_t reserved;                                        /*  4 */
	_Atomic uint64_t word[sizeof(struct session_filter) / 8]; /*  8 [Q] a struct session_filter */
};
_Static_assert(sizeof(struct clear_slot) == 40, "see map");

struct clear_ring {
	_Atomic uint32_t last;                                    /*  0 [M] number of the newest request */
	_Alignas(CACHE_LINE) struct clear_slot slot[CLEAR_SLOTS]; /* 64 [M] */
};

static inline struct clear_ring *clear_ring_of(const struct arena *a)
{
	return arena_region(a, ARENA_clears);
}

/* Asks for the end of all sessions meant that are there at `now`. The request's number. */
int64_t clear_post(struct arena *a, const struct session_filter *f, mono_t now);

/* The first request after `done` that still stands, copied; 0: there is none. */
uint32_t clear_next(const struct clear_ring *ring, uint32_t done, struct session_filter *out);

/* True when an engine that has done `done` has done `number`. */
static inline bool clear_is_done(uint32_t done, uint32_t number)
{
	return (int32_t)(done - number) >= 0;
}

/* Sets of engines that have yet to do a request. */
struct clear_waits {
	uint64_t running; /* themselves, or as somebody's guest */
	uint64_t stopped; /* who left sessions, and will when they are started again */
};

struct clear_waits clear_waits(const struct arena *a, uint32_t number);

#endif
