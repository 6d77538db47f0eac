/* Sessions made and adopted: the stages, and how each is undone. */
#include "pe/nat_internal.h"
#include "pe/nat_ports.h"

#include <string.h>

/* ---- next hops ---- */

static const enum side side_towards[N_DIRS] = {SIDE_OUTSIDE, SIDE_INSIDE};

/* As nat_next_hop; with `ask` a neighbour that is not known is asked for. */
static uint32_t find_hop(
	struct nat *n, enum dir dir, uint16_t realm, be32_t destination, bool ask, enum verdict *refused)
{
	uint16_t in = dir == DIR_INBOUND ? realm : 0;
	struct near_hop *near = &n->near[dir];
	const struct route *r = fib_find_near(&n->fib, in, be32_host(destination), &near->interval);

	*refused = VERDICT_drop_no_route;
	if (!r || (r->kind != ROUTE_GATEWAY && r->kind != ROUTE_ONLINK) || r->side != side_towards[dir])
		return ADJACENCY_NONE;
	be32_t hop = r->kind == ROUTE_GATEWAY ? be32_of(r->gateway) : destination;
	if (nexthop_is(n->nexthop, near->adjacency, r->side, in, hop))
		return near->adjacency;
	uint32_t i = nexthop_find(n->nexthop, r->side, in, hop);
	if (i == ADJACENCY_NONE) {
		if (ask)
			nexthop_request(n->nexthop, n->engine, r->side, in, hop);
		*refused = VERDICT_held;
		return i;
	}
	near->adjacency = i;
	return i;
}

uint32_t nat_next_hop(struct nat *n, enum dir dir, uint16_t realm, be32_t destination, enum verdict *refused)
{
	return find_hop(n, dir, realm, destination, true, refused);
}

uint32_t nat_known_hop(struct nat *n, enum dir dir, uint16_t realm, be32_t destination)
{
	enum verdict refused;

	return find_hop(n, dir, realm, destination, false, &refused);
}

/* ---- stage: the session tables ---- */

/* Nothing but this table keeps two hosts behind one NAT address apart who ask the same address of others with the same
 * identifier: no port is theirs. */
static bool has_rival(const struct nat *n, const struct session *s, enum dir dir, const struct global_pair *pair)
{
	struct flow_key key = session_key(s, dir);
	unsigned cursor = 0;
	uint32_t i;

	if (s->l4 != L4_ICMP || !session_has(s, SESSION_HAIRPIN))
		return false;
	while ((i = global_next(&n->sessions, pair, &cursor))) {
		const struct session *rival = session_at(n->arena, i);

		if (slab_live(rival) && !session_has(rival, SESSION_DYING) && session_origin(rival) != dir &&
			flow_key_equal(session_key(rival, dir), key))
			return true;
	}
	return false;
}

static bool insert_global(struct nat *n, uint32_t index, enum dir dir, uint64_t hash, enum verdict *refused)
{
	const struct session *s = session_at(n->arena, index);
	struct global_pair pair;
	bool ok = false;

	*refused = VERDICT_drop_lock_busy;
	if (!global_lock(&n->sessions, hash, &pair))
		return false;
	*refused = VERDICT_drop_no_port;
	if (!has_rival(n, s, dir, &pair)) {
		ok = global_insert(&n->sessions, &pair, index);
		*refused = VERDICT_drop_table_full;
	}
	global_unlock(&n->sessions, &pair);
	return ok;
}

local_place nat_enter_local(struct nat *n, uint32_t index, enum dir dir, uint64_t hash, enum timeout_class class)
{
	nat_note_made(n, hash);
	return local_insert(&n->local[dir], hash, index, class, n->now_s);
}

/* One whose origin is not the direction of its first packet (nat_complete): that one is away, and adopted here as by
 * whoever receives the rest. */
static local_place insert_turned(struct nat *n, uint32_t index, struct session *s, const struct flow *f, uint64_t hash,
	enum timeout_class class, enum verdict *refused)
{
	if (!insert_global(n, index, f->dir, f->hash, refused))
		return NULL;
	*refused = VERDICT_drop_table_full;
	if (!nat_enter_local(n, index, session_origin(s), hash, class))
		return NULL;
	atomic_fetch_or_explicit(&s->adopters, 1ull << n->engine, memory_order_acq_rel);
	return nat_enter_local(n, index, f->dir, f->hash, class);
}

/* The direction of the packet in hand last: once it is there, the owner finds the session. Its place, or NULL and why. */
static local_place insert(struct nat *n, uint32_t index, struct session *s, const struct flow *f, enum verdict *refused)
{
	enum dir reverse = dir_reverse(f->dir);
	enum timeout_class class = session_class(s);
	const struct prospect *x = nat_as_foreseen(n, s);
	uint64_t hash = x ? x->reverse : flow_key_hash(session_key(s, reverse), n->seed);

	session_set(s, SESSION_FLOW, 0);
	nat_counter(n, COUNTER_sessions_created, 1);
	*refused = VERDICT_drop_table_full;
	if (session_origin(s) != f->dir)
		return insert_turned(n, index, s, f, hash, class, refused);
	if (session_has(s, SESSION_AWAY)) {
		if (!insert_global(n, index, reverse, hash, refused))
			return NULL;
	} else if (!nat_enter_local(n, index, reverse, hash, class)) {
		return NULL;
	}
	return nat_enter_local(n, index, f->dir, f->hash, class);
}

/* ---- creating, either direction ---- */

struct session *nat_session_begin(struct nat *n, const struct session *want, struct subscriber_part *foreseen,
	uint32_t *index, enum verdict *refused)
{
	*refused = nat_quota_session(n, want, foreseen);
	if (*refused != N_VERDICTS)
		return NULL;
	*index = slab_take(n->arena, &n->actor->slab[SLAB_session], n->engine, SLAB_session);
	if (!*index) {
		nat_quota_session_back(n, want, n->part);
		*refused = VERDICT_drop_no_memory;
		return NULL;
	}
	struct session *s = session_at(n->arena, *index);

	memset((uint8_t *)s + sizeof s->generation, 0, sizeof *s - sizeof s->generation);
	s->l4 = want->l4;
	s->owner = (uint8_t)n->engine;
	return s;
}

static struct session *session_begin(struct nat *n, const struct flow *f, const struct session *want,
	struct subscriber_part *part, uint32_t *index, enum verdict *refused)
{
	struct session *s = nat_session_begin(n, want, part, index, refused);

	if (s)
		atomic_store_explicit(&s->tcp, f->tcp, memory_order_relaxed);
	return s;
}

local_place nat_session_finish(struct nat *n, const struct flow *f, uint32_t index, enum verdict refused,
	enum verdict as, enum verdict *verdict)
{
	local_place place = NULL;

	if (refused == N_VERDICTS) {
		intent_step(n, INTENT_INSERT);
		place = insert(n, index, session_at(n->arena, index), f, &refused);
	}
	if (place)
		intent_done(n);
	else
		nat_session_end(n, index);
	*verdict = place ? as : refused;
	return place;
}

enum timeout_class nat_timeout_of(const struct snapshot_rule *rule, enum l4 l4)
{
	static const uint8_t own[N_L4] = {[L4_TCP] = TIMEOUT_TCP_ESTABLISHED,
		[L4_UDP] = TIMEOUT_UDP,
		[L4_ICMP] = TIMEOUT_ICMP,
		[L4_OTHER] = TIMEOUT_OTHER};

	return (enum timeout_class)(rule->timeout < N_TIMEOUTS ? rule->timeout : own[l4]);
}

uint32_t nat_behaviour_for(const struct snapshot_rule *rule)
{
	return behaviour_of(rule->mapping, rule->filtering);
}

/* ---- from the inside ---- */

static void fill_outbound(struct session *s, const struct flow *f)
{
	s->realm = flow_realm(f);
	memcpy(&s->inside, &f->key.a, sizeof f->key.a);
	memcpy(&s->inside_port, &f->key.b, 2 * sizeof(be16_t));
	s->l4 = f->l4;
}

/* All that must be so before anything is acquired. fwd_out_bypass: nothing is to be. */
static enum verdict may_create(
	struct nat *n, const struct flow *f, struct session *want, const struct snapshot_rule **rule)
{
	enum verdict refused;

	if (!n->configured || n->config.n_addresses == 0)
		return VERDICT_drop_no_config;
	if (!nat_is_subscriber(n, want->realm, want->inside))
		return VERDICT_drop_not_subscriber;
	*rule = f->ahead && f->ahead->outbound ? f->ahead->rule : nat_rule_for(n, want);
	if ((*rule)->action == ACTION_BYPASS && nat_bypasses(n, f))
		return VERDICT_fwd_out_bypass;
	if (!f->opens)
		return VERDICT_drop_no_session;
	if ((*rule)->action == ACTION_DROP)
		return VERDICT_drop_rule;
	if (nat_is_pool_address(n, want->remote))
		return N_VERDICTS;
	uint32_t hop = nat_next_hop(n, DIR_OUTBOUND, want->realm, want->remote, &refused);
	want->next_hop[DIR_OUTBOUND] = nat_hop_word(n, hop);
	return hop == ADJACENCY_NONE ? refused : N_VERDICTS;
}

static enum verdict bind_static(struct nat *n, struct session *s, const struct snapshot_static *to)
{
	s->nat = be32_of(to->nat);
	s->nat_port = to->l4 == N_L4 ? s->inside_port
				     : be16_of((uint16_t)(be16_host(s->inside_port) - to->inside_port + to->nat_port));
	atomic_store_explicit(&s->mapping, MAPPING_STATIC, memory_order_relaxed);
	nat_complete(n, s);
	return N_VERDICTS;
}

/* A query to the NAT address of somebody inside is for whoever has its identifier there (RFC 7857 §12, RFC 5508 REQ-7). A
 * query has one identifier for both ends: it stays as it is, here and when it comes in again, and only the addresses
 * are translated, so it takes nobody's port. */
static bool is_turned_query(const struct nat *n, const struct session *s)
{
	return s->l4 == L4_ICMP && nat_is_pool_address(n, s->remote) &&
	       !nat_static_nat(n, s->remote, s->inside_port, L4_ICMP);
}

static enum verdict bind_query(struct nat *n, struct session *s, const struct snapshot_rule *rule, uint32_t draw)
{
	const struct snapshot_address *from = nat_first_address(n, s, rule, draw);

	if (!from)
		return VERDICT_drop_no_port;
	s->nat = from->address;
	s->nat_port = s->inside_port;
	atomic_store_explicit(&s->mapping, MAPPING_STATIC, memory_order_relaxed);
	nat_complete(n, s);
	return N_VERDICTS;
}

static enum verdict bind_outbound(struct nat *n, uint32_t index, struct session *s, const struct snapshot_rule *rule,
	const struct snapshot_static *fixed, uint32_t draw)
{
	if (fixed)
		return bind_static(n, s, fixed);
	draw = draw ? draw : nat_random(n);
	return is_turned_query(n, s) ? bind_query(n, s, rule, draw) : nat_bind(n, index, s, rule, draw);
}

static local_place create_outbound(struct nat *n, const struct flow *f, enum verdict *verdict)
{
	const struct snapshot_rule *rule = NULL;
	struct session want = {.l4 = f->l4};
	uint32_t index;

	fill_outbound(&want, f);
	*verdict = may_create(n, f, &want, &rule);
	if (*verdict != N_VERDICTS)
		return NULL;
	const struct snapshot_static *fixed = nat_static_inside(n, &want);

	*verdict = VERDICT_drop_protocol;
	if (!fixed && f->l4 == L4_OTHER)
		return NULL;
	struct session *s = session_begin(n, f, &want, f->ahead ? f->ahead->part : NULL, &index, verdict);
	if (!s)
		return NULL;
	fill_outbound(s, f);
	s->next_hop[DIR_OUTBOUND] = want.next_hop[DIR_OUTBOUND];
	atomic_store_explicit(&s->life, life_of(nat_timeout_of(rule, f->l4)), memory_order_relaxed);
	s->birth = birth_of(n->now_s, nat_behaviour_for(rule));
	intent_begin(n, INTENT_BUILD, index);
	n->ahead = f->ahead;
	uint32_t draw = f->ahead && f->ahead->outbound ? f->ahead->draw : 0;
	enum verdict refused = bind_outbound(n, index, s, rule, fixed, draw);
	local_place place = nat_session_finish(n, f, index, refused, VERDICT_fwd_out_new, verdict);
	n->ahead = NULL;
	return place;
}

/* ---- from the outside ---- */

static void fill_inbound(struct session *s, const struct flow *f)
{
	memcpy(&s->remote, &f->key.a, sizeof f->key.a);
	memcpy(&s->remote_port, &f->key.b, 2 * sizeof(be16_t));
	session_set(s, SESSION_INBOUND, 0);
}

/* Where the answers come from. */
static void fill_inside(struct session *s, const struct session *from)
{
	s->inside = from->inside;
	s->inside_port = from->inside_port;
	s->realm = from->realm;
}

static void fill_static(struct session *s, const struct snapshot_static *fixed)
{
	uint16_t offset = (uint16_t)(be16_host(s->nat_port) - fixed->nat_port);

	s->realm = (uint16_t)fixed->realm;
	s->inside = be32_of(fixed->inside);
	s->inside_port = fixed->l4 == N_L4 ? s->nat_port : be16_of((uint16_t)(fixed->inside_port + offset));
}

/* An inside endpoint may have several NAT endpoints (mappings that depend on the remote address, rules). The sender who
 * writes to a second one is not let in while this engine would send the answers by the first: its table has one session
 * per key. */
static local_place answers_at(struct nat *n, const struct session *want)
{
	struct flow_key key = session_key(want, DIR_OUTBOUND);
	local_place place = nat_find_local(n, DIR_OUTBOUND, key, flow_key_hash(key, n->seed));

	return place && nat_still_good(n, place) ? place : NULL;
}

static bool is_of(const struct nat *n, local_place place, const struct flow *f)
{
	const struct session *s = session_at(n->arena, local_index(atomic_load_explicit(place, memory_order_relaxed)));

	return flow_key_equal(session_key(s, f->dir), f->key);
}

/* TCP has its own time for connections that are not open; others do not depend on the session of who sent first. */
static uint32_t life_of_asked(const struct nat *n, enum timeout_class class, enum l4 l4)
{
	bool brief = l4 == L4_UDP && n->config.timeout_s[TIMEOUT_UNANSWERED] < n->config.timeout_s[class];

	return life_of(class) | (brief ? LIFE_BRIEF : 0);
}

static local_place make_inbound(struct nat *n, const struct flow *f, const struct session *want, uint32_t carrier,
	const struct session *copy, enum verdict *verdict)
{
	const struct snapshot_rule *rule = nat_rule_for(n, want);
	enum verdict refused = N_VERDICTS;
	struct subscriber_part *part;
	uint32_t index;

	*verdict = rule->action == ACTION_DROP ? VERDICT_drop_rule : nat_may_ask(n, want, &part);
	struct session *s = *verdict == N_VERDICTS ? session_begin(n, f, want, part, &index, verdict) : NULL;
	if (!s)
		return NULL;
	fill_inbound(s, f);
	fill_inside(s, want);
	nat_quota_asked(n, s, life_of_asked(n, nat_timeout_of(rule, f->l4), f->l4));
	s->birth = birth_of(n->now_s, carrier ? behaviour_of(session_mapping(copy), ADDRESS_AND_PORT_DEPENDENT) : 0);
	intent_begin(n, INTENT_BUILD, index);
	if (carrier) {
		refused = nat_bind_inbound(n, s, carrier, copy);
	} else {
		atomic_store_explicit(&s->mapping, MAPPING_STATIC, memory_order_relaxed);
		nat_complete(n, s);
	}
	return nat_session_finish(n, f, index, refused, VERDICT_fwd_in_new, verdict);
}

/* Who is behind the NAT endpoint that a packet without a session is for: by a static mapping, or by a filter that lets its
 * sender in, whose carrier the session is to have as its parent. A query has none: it was let in by an identifier, and
 * goes to no port. */
static bool find_inside(struct nat *n, const struct flow *f, struct session *want, uint32_t *carrier,
	struct session *copy, enum verdict *verdict)
{
	const struct snapshot_static *fixed = nat_static_nat(n, want->nat, want->nat_port, f->l4);

	*carrier = 0;
	if (fixed) {
		fill_static(want, fixed);
		return true;
	}
	uint32_t found = nat_filter_for(n, f, copy, verdict);
	if (!found)
		return false;
	fill_inside(want, copy);
	if (f->l4 == L4_ICMP)
		want->inside_port = want->nat_port;
	else
		*carrier = found;
	return true;
}

/* A packet that no session knows. */
static local_place create_inbound(struct nat *n, const struct flow *f, enum verdict *verdict)
{
	struct session want = {.l4 = f->l4}, copy = {.l4 = f->l4};
	uint32_t carrier;

	*verdict = VERDICT_drop_no_session;
	if (!n->configured || !f->opens)
		return NULL;
	fill_inbound(&want, f);
	if (!find_inside(n, f, &want, &carrier, &copy, verdict))
		return NULL;
	local_place answers = answers_at(n, &want);
	if (!answers)
		return make_inbound(n, f, &want, carrier, &copy, verdict);
	/* Made by a fragment on another engine, this very flow is known here by its answers. */
	bool same = is_of(n, answers, f);
	*verdict = same ? VERDICT_fwd_in_hit : VERDICT_drop_no_session;
	return same ? answers : NULL;
}

/* ---- adopting ---- */

/* With the bucket locked. One that is ending is still there when its owner could not get the lock: not to be adopted. */
static uint32_t find_to_adopt(struct nat *n, const struct flow *f, const struct global_pair *pair)
{
	unsigned cursor = 0;
	uint32_t i;

	while ((i = global_next(&n->sessions, pair, &cursor))) {
		const struct session *s = session_at(n->arena, i);

		if (slab_live(s) && !session_has(s, SESSION_DYING) && session_origin(s) != f->dir &&
			flow_key_equal(session_key(s, f->dir), f->key))
			return i;
	}
	return 0;
}

static const enum verdict adopted_verdict[N_DIRS] = {VERDICT_fwd_out_adopted, VERDICT_fwd_in_adopted};

/* The session whose reverse direction this is; N_VERDICTS when there is none. */
static local_place adopt(struct nat *n, const struct flow *f, enum verdict *verdict)
{
	struct global_pair pair = f->ahead ? f->ahead->sessions : global_pair_of(&n->sessions, f->hash);

	*verdict = N_VERDICTS;
	if (!global_may_have(&n->sessions, &pair))
		return NULL;
	if (!global_lock_pair(&n->sessions, &pair)) {
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
	enum timeout_class class = session_class(session_at(n->arena, index));
	local_place place = nat_enter_local(n, index, f->dir, f->hash, class);
	if (!place) {
		nat_session_let_go(n, index);
		*verdict = VERDICT_drop_table_full;
		return NULL;
	}
	intent_done(n);
	nat_counter(n, COUNTER_sessions_adopted, 1);
	*verdict = adopted_verdict[f->dir];
	return place;
}

local_place nat_first_packet(struct nat *n, const struct flow *f, enum verdict *verdict)
{
	*verdict = VERDICT_drop_no_session;
	if (f->dir == DIR_INBOUND && n->configured && nat_port_is_idle(n, f))
		return NULL;
	local_place place = adopt(n, f, verdict);
	if (*verdict != N_VERDICTS)
		return place;
	return f->dir == DIR_OUTBOUND ? create_outbound(n, f, verdict) : create_inbound(n, f, verdict);
}
