/* holdings: who holds which port blocks, as the events say, against what subscribers list.
 *
 * What       the obvious reader of block events (shm/event.h, shm/blocks.h): a holding's name is of who, where and since
 *            when, and the newest event of that name says whether it is held; of two of one instant, that it was returned.
 * Units      as in events.
 * Ownership  reads the arena, and takes nothing from the rings.
 * Calls      while nobody runs.
 * Errors     false, and what differs on the standard error. Nothing can be told once a ring was full.
 */
#ifndef CORENAT_TESTS_HOLDINGS_H
#define CORENAT_TESTS_HOLDINGS_H

#include "shm/blocks.h"

#include <stdio.h>
#include <stdlib.h>

enum { HOLDINGS_MAX = 4096 };

struct holding {
	struct event last;
	bool listed, given; /* by a subscriber; told that it was */
};

struct holdings {
	struct holding h[HOLDINGS_MAX];
	unsigned n;
};

static inline bool holding_is(const struct event *x, const struct event *y)
{
	return x->inside.net == y->inside.net && x->realm == y->realm && x->nat.net == y->nat.net &&
	       x->first == y->first && x->ports == y->ports && x->since_s == y->since_s;
}

static inline struct holding *holding_of(struct holdings *all, const struct event *e)
{
	for (unsigned i = 0; i < all->n; i++)
		if (holding_is(&all->h[i].last, e))
			return &all->h[i];
	if (all->n == HOLDINGS_MAX)
		abort();
	all->h[all->n] = (struct holding){.last = *e};
	all->h[all->n].last.time_ns = 0;
	return &all->h[all->n++];
}

static inline void holdings_hear(struct holdings *all, const struct event *e)
{
	struct holding *h = e->kind == EVENT_refusal ? NULL : holding_of(all, e);

	if (h && e->kind == EVENT_block_given)
		h->given = true;
	if (h && (e->time_ns > h->last.time_ns || (e->time_ns == h->last.time_ns && e->kind == EVENT_block_returned)))
		h->last = *e;
}

static inline bool holdings_hear_all(struct holdings *all, const struct arena *a)
{
	for (unsigned n = 0; n < event_rings(a); n++) {
		struct events v = events_of(a, event_actor(a, n));
		uint64_t head = atomic_load(&v.ring->head);

		if (event_lost(&v) || head > v.mask + 1)
			return false;
		for (uint64_t i = 0; i < head; i++)
			holdings_hear(all, &v.ring->slot[i]);
	}
	return true;
}

static inline bool holdings_see(struct holdings *all, const struct arena *a, const struct subscriber *s)
{
	bool agree = true;

	for (unsigned i = 0; i < SUBSCRIBER_BLOCKS; i++) {
		struct block b = block_of_word(block_listed(s, i));
		struct event e = {.inside = s->inside, .realm = s->realm, .first = b.first, .ports = (uint16_t)b.ports};

		if (!block_listed(s, i))
			continue;
		e.nat = port_table_at(a, b.table)->address;
		e.since_s = b.since_s;
		struct holding *h = holding_of(all, &e);
		h->listed = true;
		if (h->last.kind == EVENT_block_given && h->last.time_ns)
			continue;
		fprintf(stderr, "  the block from %u on of subscriber %u is listed, and not told as given\n", b.first,
			be32_host(s->inside) & 255);
		agree = false;
	}
	return agree;
}

static inline bool holdings_agree(const struct arena *a)
{
	struct holdings *all = calloc(1, sizeof *all);
	bool agree = all && holdings_hear_all(all, a);

	for (uint32_t i = 0; agree && (i = slab_next_live(a, SLAB_subscriber, i + 1));)
		agree = holdings_see(all, a, subscriber_at(a, i));
	for (unsigned i = 0; agree && i < all->n; i++)
		if (!all->h[i].given || (!all->h[i].listed && all->h[i].last.kind == EVENT_block_given)) {
			fprintf(stderr, "  the block from %u on of subscriber %u is told as %s\n", all->h[i].last.first,
				be32_host(all->h[i].last.inside) & 255,
				all->h[i].given ? "held, and is not listed" : "returned, and was not given");
			agree = false;
		}
	free(all);
	return agree;
}

#endif
