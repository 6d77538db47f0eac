/* rooms: which addresses of a pool may have a port, or a block, for a new mapping, so that a full pool refuses at once.
 *
 * What       two bits for each address and kind of wish. open: a glance may find something there: at this engine's view, or
 *            for blocks at the address. unseen: nobody has looked at the whole address since something came free that the
 *            view does not show. An address with neither bit is closed, and passed by. The engine opens what it gives
 *            back to; what others give back it is not told, so closed addresses are looked at again now and then: the
 *            one that was picked, and all in turn.
 * Bounds     a walk takes ROOMS_GLANCES glances and ROOMS_LOOKS looks at most, whatever the number of addresses. Closed ones are
 *            looked at again one in ROOMS_PAUSE_US for each pool there is, of one pool and kind: so what another engine gave
 *            back is found after that time for each address of the pool, or ROOMS_LAP_MS where that is more.
 * Units      addresses by place in their pool, and by index in config.addresses.
 * Ownership  the engine's private memory; hints, made anew with each configuration.
 * Calls      the engine's thread.
 * Errors     none.
 * Use        rooms_init(&rooms); rooms_walk(&walk); after a port came back: rooms_open(&rooms, ROOM_PORTS + set, index);
 */
#ifndef CORENAT_PE_ROOMS_H
#define CORENAT_PE_ROOMS_H

#include "common/config.h"
#include "common/units.h"
#include "shm/ports.h"

/* Kinds of wishes, each for every set of ports. */
enum {
	ROOM_PORTS,             /* any port, of LOW_PORTS and above */
	ROOM_LOW = N_PORT_SETS, /* one below, or any */
	ROOM_BLOCKS = 2 * N_PORT_SETS,
	N_ROOMS = 3 * N_PORT_SETS,
};

enum {
	ROOMS_GLANCES = 16,
	ROOMS_LOOKS = 2,
	ROOMS_PAUSE_US = 1000,
	ROOMS_LAP_MS = 20,
	ROOM_WORDS = CONFIG_ADDRESSES_MAX / 64,
};

struct room_bits {
	uint64_t open[ROOM_WORDS], unseen[ROOM_WORDS];
};

/* When closed addresses of a pool are looked at again. */
struct room_again {
	mono_t pick, next; /* not before; 0: none was closed yet */
	uint32_t at;       /* place of the next one */
};

struct rooms {
	bool closed; /* some address is, or was */
	struct room_bits of[N_ROOMS];
	struct room_again again[CONFIG_POOLS_MAX][N_ROOMS];
};

/* What came of one address. */
enum room_answer { ROOM_NONE, ROOM_MORE, ROOM_TAKEN }; /* MORE: nothing so far, another glance may find something */

struct room_walk {
	struct rooms *rooms;
	unsigned kind;
	uint32_t pool, n_pools;
	uint32_t first, usable; /* index of the pool's first address, and how many there are; usable > 0 */
	uint32_t pick;          /* place of the address to begin with, < usable */
	mono_t now;
	enum room_answer (*take)(void *context, uint32_t index, bool look); /* look: at the whole address */
	void *context;
};

/* All is open, and unseen. */
void rooms_init(struct rooms *r);

/* Tries addresses until one gives: the picked one and those behind it, in turn. */
bool rooms_walk(const struct room_walk *w);

/* A glance may find something there now; or a look. */
void rooms_open(struct rooms *r, unsigned kind, uint32_t index);
void rooms_unsee(struct rooms *r, unsigned kind, uint32_t index);

/* The place a walk would begin at, for who looks ahead; the pick itself when that is to be looked at again. Inlined: asked
 * for every new session. */
uint32_t rooms_next_open(const struct room_walk *w);
static inline bool rooms_is_open(const struct rooms *r, unsigned kind, uint32_t index)
{
	return r->of[kind].open[index / 64] >> index % 64 & 1;
}

#endif
