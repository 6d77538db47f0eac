/* Sessions made straight away. Nearly all that a burst begins are alike: another outbound session of a known subscriber, with a
 * mapping and a port of its own. What could be odd about them was asked while looking ahead (nat_foresee.c); these are
 * the stages of nat_create.c and nat_bind.c with nothing left to ask. Whatever turns out otherwise here, by another
 * engine's doing or an earlier packet's of the burst, goes on through those, which decide all cases, and these alike. */
#include "pe/nat_internal.h"
#include "pe/nat_ports.h"
#include "shm/global_inline.h"
#include "shm/quota.h"

#include <string.h>

#define STAGE __attribute__((always_inline)) static inline

STAGE void count(struct nat *n, enum counter c)
{
	_Atomic uint64_t *cell = &n->actor->counters[c];

	atomic_store_explicit(cell, atomic_load_explicit(cell, memory_order_relaxed) + 1, memory_order_relaxed);
}

/* ---- what it may have ---- */

/* Units of all it takes, the port included, when there is plenty of each. False: nothing taken, ask one by one. */
STAGE bool take_units(struct subscriber_part *p, enum quota ports)
{
	uint32_t used = quota_used(p, ports);

	if (quota_is_tight(p, ports) || used + 1 > quota_have(p, ports) || !quota_take_session(p))
		return false;
	atomic_store_explicit(&p->amount[ports].used, used + 1, memory_order_relaxed);
	return true;
}

/* ---- stages ---- */

/* The object, as it was foreseen; 0: no memory. */
STAGE uint32_t build(struct nat *n, const struct prospect *x)
{
	struct slab *slab = &n->actor->slab[SLAB_session];
	uint32_t index = slab_take_at_once(n->arena, slab, SLAB_session);

	if (!index)
		index = slab_take(n->arena, slab, n->engine, SLAB_session);
	if (!index)
		return 0;
	uint8_t *s = (uint8_t *)session_at(n->arena, index);

	memcpy(s + sizeof x->s.generation, (const uint8_t *)&x->s + sizeof x->s.generation,
		sizeof x->s - sizeof x->s.generation);
	return index;
}

/* What nat_complete and carry do: the session is whole, and others may see it. */
STAGE void publish(struct nat *n, uint32_t index, struct session *s, const struct prospect *x)
{
	bool filters = x->rule->filtering != ADDRESS_AND_PORT_DEPENDENT;

	atomic_store_explicit(&s->mapping, index, memory_order_relaxed);
	session_set(s, filters ? SESSION_CARRIES | SESSION_FILTERS : SESSION_CARRIES, 0);
	slab_publish(s);
	count(n, session_has(s, SESSION_AWAY) ? COUNTER_replies_away : COUNTER_replies_home);
	count(n, COUNTER_mappings);
	count(n, COUNTER_mappings_created);
}

STAGE enum verdict enter_bindings(
	struct nat *n, uint32_t index, struct session *s, const struct prospect *x, const struct global_sight *mappings)
{
	enum verdict refused = N_VERDICTS;

	if (session_has(s, SESSION_FILTERS) && !global_enter_at_once(&n->filters, &x->filter, index))
		refused = nat_enter_filter(n, index, s);
	if (refused == N_VERDICTS && !global_insert_seen(&n->mappings, &x->mapping, mappings, index) &&
		!global_insert(&n->mappings, &x->mapping, index))
		refused = VERDICT_drop_table_full;
	return refused;
}

/* Not as foreseen: begins anew with what it comes from. */
static enum verdict bind_anew(
	struct nat *n, uint32_t index, struct session *s, const struct prospect *x, enum quota ports)
{
	quota_give(&n->subscribers, x->part, ports, 1);
	s->nat = (be32_t){0};
	s->nat_port = (be16_t){0};
	session_set(s, 0, SESSION_AWAY);
	return nat_bind(n, index, s, x->rule, x->draw);
}

/* The port that was foreseen. False: another has it by now, or the table it lies in gives no more. */
STAGE bool take_port(struct nat *n, const struct session *s, const struct prospect *x)
{
	return port_take_found(
		       x->view, x->table, x->rules, port_set_of(s->l4), x->port, x->epoch, &n->actor->intent.port) &&
	       nat_keep_port(n, s);
}

/* Mapping, port and filter, as one step under the mapping's lock. */
STAGE enum verdict bind_session(
	struct nat *n, uint32_t index, struct session *s, const struct prospect *x, enum quota ports)
{
	struct global_sight mappings;

	if (!global_try_and_look(&n->mappings, &x->mapping, &mappings))
		return bind_anew(n, index, s, x, ports);
	if (!mappings.none || !take_port(n, s, x)) {
		global_free_pair(&n->mappings, &x->mapping);
		return bind_anew(n, index, s, x, ports);
	}
	publish(n, index, s, x);
	enum verdict refused = enter_bindings(n, index, s, x, &mappings);
	global_free_pair(&n->mappings, &x->mapping);
	return refused;
}

STAGE local_place insert(struct local_table *t, uint64_t hash, uint32_t index, unsigned class, uint32_t now_s)
{
	local_place place = local_empty(t, local_first(t, hash));

	if (!place)
		return local_insert(t, hash, index, class, now_s);
	local_fill(place, hash, index, class, now_s);
	return place;
}

/* Both directions, in this engine's tables; the packet's own last. NULL: one is full. */
STAGE local_place enter(
	struct nat *n, const struct flow *f, uint32_t index, struct session *s, const struct prospect *x)
{
	enum timeout_class class = session_class(s);

	intent_step(n, INTENT_INSERT);
	session_set(s, SESSION_FLOW, 0);
	count(n, COUNTER_sessions_created);
	nat_note_made(n, x->reverse);
	nat_note_made(n, f->hash);
	if (!insert(&n->local[DIR_INBOUND], x->reverse, index, class, n->now_s))
		return NULL;
	return insert(&n->local[DIR_OUTBOUND], f->hash, index, class, n->now_s);
}

/* ---- all of it ---- */

/* With its units taken and its object built: the rest, as nat_create.c finishes it. */
STAGE local_place finish(struct nat *n, const struct flow *f, uint32_t index, const struct prospect *x,
	enum quota ports, enum verdict *verdict)
{
	struct session *s = session_at(n->arena, index);

	intent_begin(n, INTENT_BUILD, index);
	n->ahead = x;
	enum verdict refused = bind_session(n, index, s, x, ports);
	local_place place = NULL;

	if (refused != N_VERDICTS || session_has(s, SESSION_AWAY) || !nat_as_foreseen(n, s)) {
		place = nat_session_finish(n, f, index, refused, VERDICT_fwd_out_new, verdict);
	} else {
		place = enter(n, f, index, s, x);
		if (place)
			intent_done(n);
		else
			nat_session_end(n, index);
		*verdict = place ? VERDICT_fwd_out_new : VERDICT_drop_table_full;
	}
	n->ahead = NULL;
	return place;
}

bool nat_make(struct nat *n, const struct flow *f, local_place *place, enum verdict *verdict)
{
	const struct prospect *x = f->ahead;

	if (!x || !x->clear || quota_is_stale(&n->subscribers, x->part, n->config.generation) ||
		global_may_have(&n->sessions, &x->sessions) ||
		(x->paired && global_may_have(&n->mappings, &x->neighbour)))
		return false;
	enum quota ports = f->l4 == L4_TCP ? QUOTA_tcp_ports : QUOTA_udp_ports;
	struct subscriber_part *p = x->part;

	if (!take_units(p, ports))
		return false;
	uint32_t index = build(n, x);
	if (!index) {
		quota_give(&n->subscribers, p, ports, 1);
		nat_quota_session_back(n, &x->s, p);
		*place = NULL;
		*verdict = VERDICT_drop_no_memory;
		return true;
	}
	p->touched_s = n->now_s;
	n->part = p;
	*place = finish(n, f, index, x, ports, verdict);
	return true;
}
