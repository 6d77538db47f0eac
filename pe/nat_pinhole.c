/* Pinholes: mappings with a lifetime, opened, renewed and closed on request (shm/pinhole.h), and ended in time. */
#include "pe/nat_internal.h"

enum { LOOKS = 32 }; /* at pinholes in one turn */

/* ---- the engine's list of them ---- */

void nat_pinhole_add(struct nat *n, uint32_t index)
{
	session_at(n->arena, index)->next_pinhole = n->pinholes.first;
	n->pinholes.first = index;
	n->pinholes.n++;
}

static bool is_over(const struct nat *n, const struct session *s)
{
	return (int32_t)(n->now_s - atomic_load_explicit(&s->expires_s, memory_order_relaxed)) >= 0;
}

bool nat_pinhole_is_open(const struct nat *n, const struct session *s)
{
	return !session_has(s, SESSION_DYING) && !is_over(n, s);
}

/* Goes on with the walk over the list, from behind the one looked at last. */
static void end_those_over(struct nat *n)
{
	struct pinholes *p = &n->pinholes;

	for (unsigned looks = 0; looks < LOOKS; looks++) {
		uint32_t *link = p->at ? &session_at(n->arena, p->at)->next_pinhole : &p->first, index = *link;

		if (!index) {
			p->at = 0;
			return;
		}
		if (!is_over(n, session_at(n->arena, index))) {
			p->at = index;
			continue;
		}
		*link = session_at(n->arena, index)->next_pinhole;
		p->n--;
		nat_session_end(n, index);
	}
}

/* ---- open ---- */

static enum pinhole_result result_of(enum verdict refused)
{
	switch (refused) {
	case N_VERDICTS:
		return PINHOLE_OK;
	case VERDICT_drop_draining:
	case VERDICT_drop_no_port:
	case VERDICT_drop_no_block:
	case VERDICT_drop_block_limit:
		return PINHOLE_NO_PORT;
	case VERDICT_drop_lock_busy:
		return PINHOLE_LOCKED;
	case VERDICT_drop_no_memory:
	case VERDICT_drop_table_full:
		return PINHOLE_NO_ROOM;
	default:
		return PINHOLE_LIMIT;
	}
}

static enum pinhole_result may_open(const struct nat *n, const struct session *want)
{
	if (n->host || !n->configured || n->config.n_addresses == 0)
		return PINHOLE_NOT_READY;
	if (!nat_is_subscriber(n, want->realm, want->inside))
		return PINHOLE_NOT_SUBSCRIBER;
	if (nat_static_inside(n, want))
		return PINHOLE_STATIC;
	return nat_rule_for(n, want)->action == ACTION_TRANSLATE ? PINHOLE_OK : PINHOLE_NOT_BY_RULE;
}

static bool is_wanted(const struct session *s, const struct pinhole_request *r)
{
	return (!r->nat.net || r->nat.net == s->nat.net) && (!r->nat_port.net || r->nat_port.net == s->nat_port.net);
}

static void fill(struct session *s, const struct pinhole_request *r)
{
	s->inside = r->inside;
	s->inside_port = r->inside_port;
	s->realm = r->realm;
	s->l4 = r->l4;
}

/* Mapping and filter as for a first packet, but independent of endpoints. On success the intent stays open until it is
 * answered. */
static enum pinhole_result make(struct nat *n, const struct pinhole_request *r, uint32_t *index)
{
	struct session want = {.l4 = r->l4};
	enum verdict refused;

	fill(&want, r);
	struct session *s = nat_session_begin(n, &want, NULL, index, &refused);

	if (!s)
		return result_of(refused);
	fill(s, r);
	s->nat = r->nat;
	s->nat_port = r->nat_port;
	s->birth = birth_of(n->now_s, behaviour_of(ENDPOINT_INDEPENDENT, ENDPOINT_INDEPENDENT));
	atomic_store_explicit(&s->life, life_of(0), memory_order_relaxed);
	atomic_store_explicit(&s->expires_s, n->now_s + r->lifetime_s, memory_order_relaxed);
	session_set(s, SESSION_PINHOLE, 0);
	intent_begin(n, INTENT_BUILD, *index);
	enum pinhole_result result = result_of(nat_bind(n, *index, s, nat_rule_for(n, s), nat_random(n)));
	if (result == PINHOLE_OK && !is_wanted(s, r))
		result = PINHOLE_MAPPED;
	if (result != PINHOLE_OK)
		nat_session_end(n, *index);
	return result;
}

static uint32_t open_one(struct nat *n, const struct pinhole_request *r, struct pinhole_answer *a)
{
	struct session want = {.generation = 0};
	uint32_t index;

	fill(&want, r);
	a->result = r->l4 == L4_TCP || r->l4 == L4_UDP ? may_open(n, &want) : PINHOLE_NOT_BY_RULE;
	if (a->result == PINHOLE_OK)
		a->result = make(n, r, &index);
	return a->result == PINHOLE_OK ? index : 0;
}

/* ---- renew, close ---- */

/* Its lifetime is all that changes: the walk ends it, and nobody gets in meanwhile. */
static uint32_t set_lifetime(struct nat *n, const struct pinhole_request *r, struct pinhole_answer *a)
{
	uint32_t lifetime_s = r->action == PINHOLE_RENEW ? r->lifetime_s : 0;
	struct session *s = session_at(n->arena, r->index);

	a->result = PINHOLE_GONE;
	if (!slab_owned(n->arena, n->engine, SLAB_session, r->index) || s->generation != r->generation ||
		!session_is_pinhole(s) || !nat_pinhole_is_open(n, s))
		return 0;
	a->result = PINHOLE_OK;
	atomic_store_explicit(&s->expires_s, n->now_s + lifetime_s, memory_order_relaxed);
	return r->index;
}

/* ---- requests ---- */

static void answer(struct nat *n, uint32_t number, const struct pinhole_request *r)
{
	struct pinhole_answer a = {.result = PINHOLE_OK};
	uint32_t index = r->action == PINHOLE_OPEN ? open_one(n, r, &a) : set_lifetime(n, r, &a);

	if (index) {
		const struct session *s = session_at(n->arena, index);

		a.index = index;
		a.generation = s->generation;
		a.expires_s = s->expires_s;
		a.nat = s->nat;
		a.nat_port = s->nat_port;
	}
	if (index && r->action == PINHOLE_OPEN) {
		n->actor->intent.mapping = number; /* for settle_pinhole() */
		intent_step(n, INTENT_PINHOLE);
		nat_pinhole_add(n, index);
	}
	pinhole_done(n->pinhole_ring, number, &a);
	intent_done(n);
}

void nat_pinhole_slice(struct nat *n)
{
	struct pinhole_request r;
	uint32_t number = pinhole_next(n->pinhole_ring, &r);

	if (number)
		answer(n, number, &r);
	if (n->pinholes.first)
		end_those_over(n);
}
