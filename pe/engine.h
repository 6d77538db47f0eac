/* engine: one turn of a packet engine's loop, whatever the packet backend and whoever's clock.
 *
 * What       takes a burst from each side, has the NAT core translate it, sends, drops or holds, and does a slice of
 *            the housekeeping.
 * Units      mono_t. Ownership  struct engine is private to its thread; it is large: allocate it.
 * Calls      the engine's thread only. Errors  none after engine_init.
 * Use        engine_init(e, arena, 0, io, seed, now); while (running) engine_turn(e, mono_now());
 */
#ifndef CORENAT_PE_ENGINE_H
#define CORENAT_PE_ENGINE_H

#include "pe/fragment.h"
#include "pe/io.h"
#include "pe/nat.h"

enum { HELD_MAX = 640, HELD_SYNS = 256 };
_Static_assert(HELD_MAX + HELD_SYNS <= IO_HOLD_MAX, "what an engine may keep");

struct engine {
	struct nat nat;
	struct io *io;
	struct held held[HELD_MAX]; /* for their next hop, oldest first */
	unsigned n_held;            /* with the fragments HELD_MAX at most */
	struct held syn[HELD_SYNS]; /* a ring, oldest first: all wait equally long */
	unsigned first_syn, n_syns;
	struct fragment_waits fragments; /* for their first one */
	mono_t retry;                    /* when the held are tried again */
	mono_t housekeep;
	bool behind; /* with the housekeeping: no time to sleep */
};

/* Returns the sessions taken over from a predecessor. */
uint32_t engine_init(struct engine *e, struct arena *a, unsigned number, struct io *io, uint64_t random, mono_t now);

/* Returns the packets received: 0 tells the caller that it may sleep. */
unsigned engine_turn(struct engine *e, mono_t now);

#endif
