/* nat_internal: what the files of the NAT core share among themselves.
 *
 * nat_core.c the burst; nat_create.c sessions made and adopted; nat_end.c aging and ending; nat_recover.c after a crash.
 */
#ifndef CORENAT_PE_NAT_INTERNAL_H
#define CORENAT_PE_NAT_INTERNAL_H

#include "pe/nat.h"

/* ---- nat_core.c ---- */

/* The place of the flow's session in the local table, comparing keys; NULL when absent. */
local_place nat_find_local(const struct nat *n, enum dir dir, struct flow_key key, uint64_t hash);

/* Which idle time rules a session now. */
static inline enum timeout_class session_class(const struct session *s)
{
	uint8_t t = atomic_load_explicit(&s->tcp, memory_order_relaxed);

	if (s->l4 == L4_UDP)
		return TIMEOUT_UDP;
	if (s->l4 == L4_ICMP)
		return TIMEOUT_ICMP;
	bool both = (t & (TCP_OUT_SYN | TCP_OUT_DATA)) && (t & (TCP_IN_SYN | TCP_IN_DATA));
	bool closed = (t & TCP_RST) || ((t & TCP_OUT_FIN) && (t & TCP_IN_FIN));
	return closed ? TIMEOUT_TCP_CLOSING : both ? TIMEOUT_TCP_ESTABLISHED : TIMEOUT_TCP_OPENING;
}

/* ---- nat_create.c ---- */

/* The way out for a session in one direction: adjacency index, or ADJACENCY_NONE and why in *refused (held: the question
 * is under way). */
uint32_t nat_next_hop(struct nat *n, enum dir dir, be32_t destination, enum verdict *refused);

/* A packet without a session in the local table. Returns the place of one made or adopted for it, or NULL and why. */
local_place nat_create(struct nat *n, const struct flow *f, enum verdict *verdict);
local_place nat_adopt(struct nat *n, const struct flow *f, enum verdict *verdict);

/* ---- nat_end.c ---- */

/* True when the session has been idle too long by all that counts for it. Owner only. */
bool nat_session_idle(const struct nat *n, uint32_t index);
/* Seconds since an own session's last outbound packet. */
uint32_t nat_outbound_seen_ago(const struct nat *n, uint32_t index);
/* Takes an own session out of its tables and frees what it can; the rest waits in n->pending. */
void nat_session_end(struct nat *n, uint32_t index);
/* Lets an adopted session go. */
void nat_session_let_go(struct nat *n, uint32_t index);
void nat_pending_add(struct nat *n, uint32_t index);

/* ---- intents (engine.h): each is written before the step it names ---- */

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

static inline void nat_counter(struct nat *n, enum counter c, int64_t by)
{
	counter_add(&n->actor->counters[c], (uint64_t)by);
}

#endif
