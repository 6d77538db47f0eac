/* Own sessions ended because somebody asked: one walk over the engine's pages for each request (shm/clear.h). */
#include "pe/nat_internal.h"

enum {
	LOOKS = 512,    /* at sessions, or pages, in one turn */
	END_LOOKS = 24, /* what ending one costs, in looks */
};

/* It was there when it was asked for: what is made while the walk goes on is not meant. */
static bool is_meant(const struct nat *n, const struct session *s)
{
	const struct session_filter *f = &n->clearing.filter;

	return slab_live(s) && !session_has(s, SESSION_DYING) && f->fields && filter_matches(f, s) &&
	       session_created_s(s) <= f->until;
}

/* Looks at one place of the walk, or passes by a page of another's; what it cost. */
static unsigned look(struct nat *n)
{
	struct clearing *c = &n->clearing;
	uint32_t index = c->at, per = slab_per_page(SLAB_session);

	if (!slab_owned(n->arena, n->engine, SLAB_session, index)) {
		c->at = (index / per + 1) * per;
		return 1;
	}
	c->at++;
	if (!is_meant(n, session_at(n->arena, index)))
		return 1;
	nat_session_end(n, index);
	nat_counter(n, COUNTER_sessions_cleared, 1);
	return END_LOOKS;
}

/* A request that is under way, or the next one. */
static bool has_request(struct nat *n)
{
	struct clearing *c = &n->clearing;
	uint32_t done = atomic_load_explicit(&n->actor->clear_done, memory_order_relaxed);

	if (c->number)
		return true;
	c->number = clear_next(n->clears, done, &c->filter);
	c->at = slab_per_page(SLAB_session); /* page numbers start at 1 */
	return c->number != 0;
}

void nat_clear_slice(struct nat *n)
{
	struct clearing *c = &n->clearing;
	uint32_t end = (n->arena->header->geometry.pages + 1) * slab_per_page(SLAB_session);

	if (!has_request(n))
		return;
	for (unsigned looks = 0; looks < LOOKS; looks += look(n)) {
		if (c->at < end)
			continue;
		atomic_store_explicit(&n->actor->clear_done, c->number, memory_order_release);
		c->number = 0;
		return;
	}
}
