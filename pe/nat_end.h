/* nat_end: what is known of a session that ends. Part of nat_internal.h.
 *
 * What       where everything is that an ending touches, found out once: ahead, for several sessions at a time, by the
 *            sweep (nat_sweep.c), so that their cache misses overlap; or on the spot (nat_ending_of).
 * Ownership  private memory of the engine, good for the turn in hand: nobody else moves its entries or ends its parts.
 * Calls      the engine's thread, for its own sessions; nat_refreshed_ago and nat_ending_of change nothing.
 */
#ifndef CORENAT_PE_NAT_END_H
#define CORENAT_PE_NAT_END_H

#include "pe/nat.h"

struct ending {
	struct session *s;
	uint32_t index;
	local_place place;          /* of the entry that it was found by; NULL: by none, */
	enum dir dir;               /* and the table of that */
	uint64_t hash[N_DIRS];      /* of its keys */
	struct global_pair mapping; /* of its own mapping and filter; nat_foresee_bindings */
	struct global_pair filter;
	const struct nat_address *address; /* that its port is of; NULL: to be found */
	uint64_t subscriber;               /* its hash */
	struct subscriber_part *part;      /* NULL: to be found */
};

/* The session and its hashes. */
struct ending nat_ending_of(const struct nat *n, uint32_t index);
/* Seconds since the last packet that keeps the session alive. */
uint32_t nat_ending_ago(const struct nat *n, const struct ending *x);
/* Takes it out of its tables and frees what can be freed; the rest waits in n->pending. */
void nat_end(struct nat *n, const struct ending *x);

#endif
