/* nat_intent: an engine's notes of what it is about to do (engine.h), each written before the step it names. Part of
 * nat_internal.h. */
#ifndef CORENAT_PE_NAT_INTENT_H
#define CORENAT_PE_NAT_INTENT_H

#include "pe/nat.h"

static inline void intent_step(struct nat *n, enum intent_step step)
{
	atomic_store_explicit(&n->actor->intent.step, step, memory_order_release);
}

static inline void intent_begin(struct nat *n, enum intent_step step, uint32_t session)
{
	n->actor->intent.session = session;
	n->actor->intent.mapping = 0;
	intent_step(n, step);
}

static inline void intent_refs(struct nat *n, enum intent_step step, uint32_t mapping)
{
	n->actor->intent.mapping = mapping;
	n->actor->intent.old_refs = atomic_load_explicit(&session_at(n->arena, mapping)->refs, memory_order_relaxed);
	intent_step(n, step);
}

static inline void intent_done(struct nat *n)
{
	atomic_store_explicit(&n->actor->intent.port, 0, memory_order_release);
	intent_step(n, INTENT_NONE);
}

#endif
