/* quota: who may have how much: exact, and without a lock as long as there is plenty.
 *
 * What       each limit of a subscriber is given out to the engines' parts of it in chunks: a part uses what it has, and
 *            draws more under the subscriber's lock. The sum of what parts have is never above the limit, but for limits
 *            that were lowered below it: then nothing is cut and nothing given out until enough has come back.
 * Units      quota units (subscriber.h).
 * Ownership  an engine changes its own parts only; the subscriber's fields under its lock.
 * Calls      the engine's thread. quota_take and quota_give take no lock unless the quota is nearly used up.
 * Errors     QUOTA_REFUSED: used up. QUOTA_BUSY: the lock stayed held, its holder may be dead.
 * Use        if (quota_is_stale(...)) quota_refresh(...); r = quota_take(&v, p, QUOTA_sessions, 1, 0, now); ...
 *            quota_give(&v, p, QUOTA_sessions, 1);
 *
 * Chunk      of what is left the engines-th part of a half, one unit at least: the first draws are large, the last ones
 *            single units. With one engine, all that is left.
 * Tight      when less than two units for each engine are left, nobody keeps what it does not use: each unit goes back at
 *            once, and others are asked for theirs.
 * Asking     a refused engine rings at those that have units they do not use, or would keep one that falls free (engine.h,
 *            bells); in their next turn they give them back, and are tight from then on. So nobody is refused for longer than
 *            that while under its limit. Of rate they also give back what they have used, for which new tokens come in. A
 *            bell is one word for each of BELL_SLOTS: of two that ring at the same one in the same turn one may have to ring
 *            again.
 * Changes    new limits are taken over at the first touch of any part after the engine took the configuration, and by
 *            the walk (pe/nat_quota.c); epoch makes all other parts look at their next request, before it is answered.
 *            A request that looked before may still be granted by the limits before. Used counts are never touched.
 * Reserve    ordinary requests leave limits.reserved units, at most half of a limit that is no more than these; the tight
 *            part does the rest: what a listed one gives back goes back to where ordinary ones cannot get it.
 */
#ifndef CORENAT_SHM_QUOTA_H
#define CORENAT_SHM_QUOTA_H

#include "shm/subscriber.h"

enum quota_result { QUOTA_TAKEN, QUOTA_REFUSED, QUOTA_BUSY };

static inline uint32_t quota_used(const struct subscriber_part *p, enum quota q)
{
	return atomic_load_explicit(&p->amount[q].used, memory_order_relaxed);
}

static inline uint32_t quota_have(const struct subscriber_part *p, enum quota q)
{
	return atomic_load_explicit(&p->amount[q].have, memory_order_relaxed);
}

static inline bool quota_is_tight(const struct subscriber_part *p, enum quota q)
{
	return atomic_load_explicit(&p->tight, memory_order_relaxed) >> q & 1;
}

/* Limits may have changed since the part was looked at. */
static inline bool quota_is_stale(const struct subscribers *v, const struct subscriber_part *p, uint32_t generation)
{
	const struct subscriber *s = subscriber_at(v->arena, p->subscriber);

	return p->configured != generation || p->epoch != atomic_load_explicit(&s->epoch, memory_order_acquire);
}

/* Makes the part agree with the limits, which are its group's in configuration `generation` or newer ones; its
 * unanswered_most is what its limit of sessions says. False: busy. */
bool quota_refresh(struct subscribers *v, struct subscriber_part *p, uint32_t generation, const struct limits *group);

/* What counts for a subscriber: its group's limits, but for those that its record gives, if it has one (else NULL). */
struct limits quota_limits(const struct limits *group, const struct subscriber_record *record);

/* The part of quota_take that may have to lock. */
enum quota_result quota_draw(
	struct subscribers *v, struct subscriber_part *p, enum quota q, uint32_t n, bool listed, mono_t now);

/* Takes n units; `listed`: of the reserve, too. */
static inline enum quota_result quota_take(
	struct subscribers *v, struct subscriber_part *p, enum quota q, uint32_t n, bool listed, mono_t now)
{
	uint32_t used = quota_used(p, q);

	if (quota_is_tight(p, q) || used + n > quota_have(p, q))
		return quota_draw(v, p, q, n, listed, now);
	atomic_store_explicit(&p->amount[q].used, used + n, memory_order_relaxed);
	return QUOTA_TAKEN;
}

/* Takes a session's units of all three quotas, when there is plenty of each; false: nothing taken, ask one by one. */
static inline bool quota_take_session(struct subscriber_part *p)
{
	enum { TIGHT = 1 << QUOTA_rate | 1 << QUOTA_sessions | 1 << QUOTA_memory };
	uint32_t rate = quota_used(p, QUOTA_rate) + 1, sessions = quota_used(p, QUOTA_sessions) + 1;
	uint32_t memory = quota_used(p, QUOTA_memory) + QUOTA_SESSION_MEMORY;

	if ((atomic_load_explicit(&p->tight, memory_order_relaxed) & TIGHT) || rate > quota_have(p, QUOTA_rate) ||
		sessions > quota_have(p, QUOTA_sessions) || memory > quota_have(p, QUOTA_memory))
		return false;
	atomic_store_explicit(&p->amount[QUOTA_rate].used, rate, memory_order_relaxed);
	atomic_store_explicit(&p->amount[QUOTA_sessions].used, sessions, memory_order_relaxed);
	atomic_store_explicit(&p->amount[QUOTA_memory].used, memory, memory_order_relaxed);
	return true;
}

/* Gives all units back that the part does not use, of every quota, or of one. False: busy. */
bool quota_hand_back(struct subscribers *v, struct subscriber_part *p);
void quota_return(struct subscribers *v, struct subscriber_part *p, enum quota q);

static inline void quota_give(struct subscribers *v, struct subscriber_part *p, enum quota q, uint32_t n)
{
	atomic_store_explicit(&p->amount[q].used, quota_used(p, q) - n, memory_order_relaxed);
	if (quota_is_tight(p, q))
		quota_return(v, p, q);
}

/* Notes a refusal for people. True: the first one of this second, which is told as an event. */
bool part_note_refusal(struct part_refusals *r, uint32_t now_s);

/* A turn of housekeeping begins: gives back what others asked for. */
void quota_turn(struct subscribers *v);

#endif
