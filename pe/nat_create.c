/* Sessions made and adopted: the stages, and how each is undone. */
#include "pe/nat_internal.h"

#include "common/csum.h"

#include <string.h>

/* ---- next hops ---- */

static const enum side side_towards[N_DIRS] = {SIDE_OUTSIDE, SIDE_INSIDE};

uint32_t nat_next_hop(struct nat *n, enum dir dir, be32_t destination, enum verdict *refused)
{
	struct route r = fib_find(&n->fib, be32_host(destination));

	*refused = VERDICT_drop_no_route;
	if ((r.kind != ROUTE_GATEWAY && r.kind != ROUTE_ONLINK) || r.side != side_towards[dir])
		return ADJACENCY_NONE;
	be32_t hop = r.kind == ROUTE_GATEWAY ? be32_of(r.gateway) : destination;
	uint32_t i = nexthop_find(n->nexthop, r.side, hop);
	if (i == ADJACENCY_NONE) {
		nexthop_request(n->nexthop, n->engine, r.side, hop);
		*refused = VERDICT_held;
	}
	return i;
}

/* ---- stage: the mapping ---- */

static bool is_mapping_of(const struct session *m, const struct session *s)
{
	return slab_live(m) && session_has(m, SESSION_CARRIES) && flow_key_equal(mapping_key(m), mapping_key(s));
}

static uint32_t mapping_find(struct nat *n, const struct global_pair *pair, const struct session *s)
{
	unsigned cursor = 0;
	uint32_t i;

	while ((i = global_next(&n->mappings, pair, &cursor)))
		if (is_mapping_of(session_at(n->arena, i), s))
			return i;
	return 0;
}

static uint32_t next_random(struct nat *n)
{
	n->random ^= n->random << 13;
	n->random ^= n->random >> 7;
	n->random ^= n->random << 17;
	return (uint32_t)(n->random >> 32);
}

/* A port on the subscriber's address, the same for all its mappings (pooling paired, RFC 4787 REQ-2); on another address
 * only when that one is full. */
static bool take_port(struct nat *n, struct session *s)
{
	const struct snapshot *c = &n->config;
	uint32_t pick = (uint32_t)flow_key_hash((struct flow_key){s->inside.net, s->realm}, n->seed);

	for (uint32_t i = 0; i < c->n_addresses; i++) {
		const struct snapshot_address *to = &c->addresses[(pick + i) % c->n_addresses];
		int port = ports_take(port_table_at(n->arena, to->ports), to->ports, port_set_of(s->l4), c->port_first,
			c->port_last, next_random(n), &n->actor->intent.port);

		if (port >= 0) {
			s->nat = to->address;
			s->nat_port = be16_of((uint16_t)port);
			return true;
		}
	}
	return false;
}

/* ---- stage: what translation needs ---- */

static void compute_deltas(struct session *s)
{
	uint16_t port = csum_delta16(0, s->inside_port.net, s->nat_port.net);

	s->l3_delta = csum_delta32(0, s->inside.net, s->nat.net);
	/* ICMP has no pseudo header: its checksum does not cover the addresses. */
	s->l4_delta = s->l4 == L4_ICMP ? port : csum_fold((uint32_t)s->l3_delta + port);
}

static const uint8_t l4_protocol[N_L4] = {[L4_TCP] = PROTO_TCP, [L4_UDP] = PROTO_UDP, [L4_ICMP] = PROTO_ICMP};

static void decide_reply(struct nat *n, struct session *s)
{
	unsigned engine =
		steering_engine(&n->steering, l4_protocol[s->l4], s->remote, s->nat, s->remote_port, s->nat_port);

	if (engine != n->engine)
		session_set(s, SESSION_AWAY, 0);
	nat_counter(n, engine == n->engine ? COUNTER_replies_home : COUNTER_replies_away, 1);
}

static void complete(struct nat *n, struct session *s)
{
	compute_deltas(s);
	decide_reply(n, s);
	slab_publish(s);
}

/* Finds the inside endpoint's mapping and takes a reference, or makes one that `s` carries. One step for everybody: under
 * the lock of the mapping's buckets. */
static enum verdict map(struct nat *n, uint32_t index, struct session *s)
{
	struct global_pair pair;

	if (!global_lock(&n->mappings, flow_key_hash(mapping_key(s), n->seed), &pair))
		return VERDICT_drop_lock_busy;
	enum verdict refused = N_VERDICTS;
	uint32_t found = mapping_find(n, &pair, s);

	if (found) {
		struct session *m = session_at(n->arena, found);

		intent_refs(n, INTENT_MAPPING, found);
		atomic_fetch_add_explicit(&m->refs, 1, memory_order_relaxed);
		s->mapping = found;
		intent_step(n, INTENT_MAPPED);
		s->nat = m->nat;
		s->nat_port = m->nat_port;
		complete(n, s);
	} else if (!take_port(n, s)) {
		refused = VERDICT_drop_no_port;
	} else {
		s->mapping = index;
		session_set(s, SESSION_CARRIES, 0);
		complete(n, s);
		if (!global_insert(&n->mappings, &pair, index))
			refused = VERDICT_drop_table_full;
		nat_counter(n, COUNTER_mappings, 1);
		nat_counter(n, COUNTER_mappings_created, 1);
	}
	global_unlock(&n->mappings, &pair);
	return refused;
}

/* ---- stage: the session tables ---- */

static bool insert_global(struct nat *n, uint32_t index, const struct session *s, enum verdict *refused)
{
	struct global_pair pair;

	*refused = VERDICT_drop_lock_busy;
	if (!global_lock(&n->sessions, flow_key_hash(session_key(s, DIR_INBOUND), n->seed), &pair))
		return false;
	bool ok = global_insert(&n->sessions, &pair, index);
	global_unlock(&n->sessions, &pair);
	*refused = VERDICT_drop_table_full;
	return ok;
}

static enum verdict insert(struct nat *n, uint32_t index, struct session *s, uint64_t hash)
{
	enum timeout_class class = session_class(s);
	enum verdict refused = VERDICT_drop_table_full;

	session_set(s, SESSION_FLOW, 0);
	nat_counter(n, COUNTER_sessions_created, 1);
	if (session_has(s, SESSION_AWAY)) {
		if (!insert_global(n, index, s, &refused))
			return refused;
	} else if (!local_insert(&n->local[DIR_INBOUND], flow_key_hash(session_key(s, DIR_INBOUND), n->seed), index,
			   class, n->now_s)) {
		return refused;
	}
	return local_insert(&n->local[DIR_OUTBOUND], hash, index, class, n->now_s) ? N_VERDICTS
										   : VERDICT_drop_table_full;
}

/* ---- creating ---- */

static bool is_subscriber(const struct nat *n, be32_t address)
{
	uint32_t host = be32_host(address);

	for (uint32_t i = 0; i < n->config.n_prefixes; i++) {
		const struct prefix *p = &n->config.prefixes[i];

		if (((host ^ p->addr) & ~(uint32_t)(0xffffffffull >> p->len)) == 0)
			return true;
	}
	return false;
}

static void session_fill(const struct nat *n, struct session *s, const struct flow *f)
{
	memset((uint8_t *)s + sizeof s->generation, 0, sizeof *s - sizeof s->generation);
	memcpy(&s->inside, &f->key.a, sizeof f->key.a);
	memcpy(&s->inside_port, &f->key.b, 2 * sizeof(be16_t));
	s->l4 = f->l4;
	s->owner = (uint8_t)n->engine;
	s->created_s = n->now_s;
	atomic_store_explicit(&s->tcp, f->tcp, memory_order_relaxed);
}

/* All that must be so before anything is acquired. */
static enum verdict may_create(struct nat *n, const struct flow *f)
{
	struct session want;
	enum verdict refused;

	memcpy(&want.inside, &f->key.a, sizeof f->key.a);
	if (!n->configured || n->config.n_addresses == 0)
		return VERDICT_drop_no_config;
	if (!is_subscriber(n, want.inside))
		return VERDICT_drop_not_subscriber;
	if (nat_next_hop(n, DIR_OUTBOUND, want.remote, &refused) == ADJACENCY_NONE)
		return refused;
	return N_VERDICTS;
}

local_place nat_create(struct nat *n, const struct flow *f, enum verdict *verdict)
{
	struct slab *slab = &n->actor->slab[SLAB_session];

	*verdict = may_create(n, f);
	if (*verdict != N_VERDICTS)
		return NULL;
	uint32_t index = slab_take(n->arena, slab, n->engine, SLAB_session);
	if (!index) {
		*verdict = VERDICT_drop_no_memory;
		return NULL;
	}
	struct session *s = session_at(n->arena, index);

	session_fill(n, s, f);
	intent_begin(n, INTENT_BUILD, index);
	*verdict = map(n, index, s);
	if (*verdict == N_VERDICTS) {
		intent_step(n, INTENT_INSERT);
		*verdict = insert(n, index, s, f->hash);
	}
	if (*verdict != N_VERDICTS) {
		nat_session_end(n, index);
		return NULL;
	}
	intent_done(n);
	*verdict = VERDICT_fwd_out_new;
	return local_find(&n->local[DIR_OUTBOUND], f->hash, index);
}

/* ---- adopting ---- */

/* With the bucket locked. One that is ending is still there when its owner could not get the lock: not to be adopted. */
static uint32_t find_to_adopt(struct nat *n, const struct flow *f, const struct global_pair *pair)
{
	unsigned cursor = 0;
	uint32_t i;

	while ((i = global_next(&n->sessions, pair, &cursor))) {
		const struct session *s = session_at(n->arena, i);

		if (slab_live(s) && !session_has(s, SESSION_DYING) &&
			flow_key_equal(session_key(s, DIR_INBOUND), f->key))
			return i;
	}
	return 0;
}

local_place nat_adopt(struct nat *n, const struct flow *f, enum verdict *verdict)
{
	struct global_pair pair;

	*verdict = VERDICT_drop_no_session;
	if (!global_lock(&n->sessions, f->hash, &pair)) {
		*verdict = VERDICT_drop_lock_busy;
		return NULL;
	}
	uint32_t index = find_to_adopt(n, f, &pair);
	if (index) {
		intent_begin(n, INTENT_ADOPT, index);
		atomic_fetch_or_explicit(
			&session_at(n->arena, index)->adopters, 1ull << n->engine, memory_order_acq_rel);
	}
	global_unlock(&n->sessions, &pair);
	if (!index)
		return NULL;
	if (!local_insert(
		    &n->local[DIR_INBOUND], f->hash, index, session_class(session_at(n->arena, index)), n->now_s)) {
		nat_session_let_go(n, index);
		*verdict = VERDICT_drop_table_full;
		return NULL;
	}
	intent_done(n);
	nat_counter(n, COUNTER_sessions_adopted, 1);
	*verdict = VERDICT_fwd_in_adopted;
	return local_find(&n->local[DIR_INBOUND], f->hash, index);
}
