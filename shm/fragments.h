/* fragments: what the first fragment of a datagram decided, for the later ones, whichever engine they land on.
 *
 * What       later fragments have no ports: RSS sends them elsewhere, and no session can be found by them. Whoever
 *            translates a first fragment leaves here, under what all fragments of the datagram have in common, how the
 *            others are to be rewritten. A hash of small sets, of fixed size: no flood makes it grow.
 * Units      CLOCK_MONOTONIC nanoseconds (or virtual time); addresses and ids as on the wire.
 * Ownership  any engine writes any entry, one at a time, by claiming its sequence word.
 * Calls      engines; never blocks, never waits, no system call. put and get look at one set.
 * Errors     put: false when every entry it could have taken was being written just then. get: false when not there.
 * Use        fragments_put(&t, &f, now, span_s(2)) at the first; fragments_get(&t, &key, now, &f) at the others.
 *
 * Publish    claim: seq to (count + 1, own actor, busy) by compare-exchange; release fence; fields; seq not busy
 *            (release).
 * Read       seq (acquire), busy => skip; copy; acquire fence; seq again: differs => skip. The caller then checks the
 *            generation of the session named: it may have ended since.
 * Replace    the entry with the same key; else the oldest of the same source, when it has FRAGMENT_OF_SOURCE in the set
 *            already (so a flood by one source leaves the others three quarters of each set); else an expired one; else
 *            the oldest.
 * Price      a reader may miss an entry that is being replaced; two engines may leave one each for the same datagram:
 *            readers take the one that lasts longer.
 * Death      a writer that dies half-way leaves its entry busy: nobody reads it, nobody waits for it, and the next
 *            engine of the same number to look for room in that set takes it over. One entry per death, at most.
 */
#ifndef CORENAT_SHM_FRAGMENTS_H
#define CORENAT_SHM_FRAGMENTS_H

#include "shm/arena.h"

enum {
	FRAGMENT_SETS = 4096,
	FRAGMENT_ENTRIES = 8,   /* of a set */
	FRAGMENT_OF_SOURCE = 2, /* of a set, by one source */
};

/* What all fragments of a datagram have in common, as they arrive (RFC 791 §3.2), or, for ICMP errors that quote one, as
 * they leave. */
enum { FRAGMENT_LEAVES = N_DIRS };
struct fragment_key {
	be32_t src, dst;
	be16_t id;
	uint8_t protocol;
	uint8_t dir;    /* enum dir; FRAGMENT_LEAVES more of one that leaves */
	uint16_t realm; /* of the inside, where that is where it is; outside 0 */
	uint16_t reserved;
};

struct fragment {
	struct fragment_key key;
	be32_t address;      /* outbound: the new source; inbound: the new destination */
	uint32_t session;    /* index; 0: none, the datagram goes untranslated */
	uint32_t generation; /* of the session when this was written */
	be16_t id;           /* the datagram's id from here on */
	uint16_t realm;      /* of the session */
};
_Static_assert(sizeof(struct fragment_key) == 16, "hashed and compared as bytes");
_Static_assert(sizeof(struct fragment) == 32, "four words");

/* Legend  [S] claimed by compare-exchange, then its claimant's  [Q] under seq, as atomic words */
struct fragment_entry {
	_Atomic uint64_t seq;                               /*  0 [S] count << 8 | actor << 1 | busy */
	_Atomic uint64_t expires_ns;                        /*  8 [Q] 0: never used */
	_Atomic uint64_t word[sizeof(struct fragment) / 8]; /* 16 [Q] a struct fragment */
};
_Static_assert(sizeof(struct fragment_entry) == 48, "see map");

struct fragment_set {
	_Alignas(CACHE_LINE) struct fragment_entry entry[FRAGMENT_ENTRIES]; /* 0 [Q] */
};
_Static_assert(sizeof(struct fragment_set) == 384, "whole lines");

/* A process's view; private memory. */
struct fragments {
	struct fragment_set *set;
	uint32_t n; /* sets */
	unsigned actor;
	uint64_t seed;
};

struct fragments fragments_of(const struct arena *a, unsigned actor);

bool fragments_put(struct fragments *t, const struct fragment *f, mono_t now, span_t lifetime);
bool fragments_get(const struct fragments *t, const struct fragment_key *key, mono_t now, struct fragment *out);

#endif
