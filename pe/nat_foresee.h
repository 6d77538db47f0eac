/* nat_foresee: what a burst knows of the sessions it is going to make, and of those it has made. Part of nat_internal.h. */
#ifndef CORENAT_PE_NAT_FORESEE_H
#define CORENAT_PE_NAT_FORESEE_H

#include "pe/nat.h"
#include "shm/port_inline.h"

/* Notes an entry of this hash as made in this burst; whether there may be one; a new burst begins. */
static inline void nat_note_made(struct nat *n, uint64_t hash)
{
	n->made.any = true;
	n->made.bits[hash >> 6 & (MADE_WORDS - 1)] |= 1ull << (hash & 63);
}

static inline bool nat_may_be_made(const struct nat *n, uint64_t hash)
{
	return n->made.bits[hash >> 6 & (MADE_WORDS - 1)] >> (hash & 63) & 1;
}

static inline void nat_made_none(struct nat *n)
{
	if (n->made.any)
		n->made = (struct nat_made){.any = false};
}

/* What is known, before it is made, of an outbound packet's session: found out while fetching, and good as long as the
 * burst. Of an inbound packet's only `sessions`. */
struct prospect {
	struct global_pair sessions; /* of the packet's key */
	bool outbound;               /* the rest is there */
	bool sure;                   /* the port will be asked for on the address it was foreseen on */
	uint8_t epoch;               /* of resting ports */
	bool clear;                  /* nothing is odd about it: nat_make makes it of what stands here */
	uint32_t draw;               /* for the choice of a port */
	struct port_found port;      /* that will most likely be its; 0: not known, nor `filter` and `reverse` */
	bool paired;                 /* its port is to be beside its neighbour's, if that has a mapping: */
	struct global_pair neighbour;
	struct global_pair mapping;
	struct session s; /* as far as it is known: what it comes from, birth, NAT endpoint; if it is clear, all that is
			   * filled in before its first table */
	const struct snapshot_rule *rule;
	uint64_t subscriber;          /* its hash */
	struct subscriber_part *part; /* NULL: not found */
	struct port_view *view;       /* NULL: not known either, nor */
	struct port_table *table;     /* these */
	const struct port_rules *rules;
	uint32_t address; /* in config.addresses */
	struct port_wish wish;
	struct port_aim aim;
	struct global_pair filter; /* unless the session is its own */
	uint64_t reverse;          /* hash of its inbound key */
};

/* Fetches what these packets of a burst, which have no session, are going to need, and leaves what it found in x[]. */
void nat_foresee(struct nat *n, struct flow *flow, const unsigned *first, unsigned count, struct prospect *x);

/* What is ahead, if the session got the very endpoint that was foreseen; else NULL. */
static inline const struct prospect *nat_as_foreseen(const struct nat *n, const struct session *s)
{
	const struct prospect *x = n->ahead;

	return x && x->port.port && x->s.nat.net == s->nat.net && x->s.nat_port.net == s->nat_port.net ? x : NULL;
}

#endif
