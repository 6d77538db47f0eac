/* Bindings: the mapping of an inside endpoint, and the filter of a NAT endpoint. A session joins those there are, or carries
 * what it finds missing. Whoever changes a reference count, or the membership of a session in either table, holds the
 * lock of its mapping's buckets; a lock of the filter table is only ever taken inside of that. */
#include "pe/nat_events.h"
#include "pe/nat_internal.h"
#include "pe/nat_ports.h"

#include "pe/nat_rewrite.h"

#include <string.h>

static uint64_t hash_of(const struct nat *n, struct flow_key key)
{
	return flow_key_hash(key, n->seed);
}

/* ---- what translation needs ---- */

static uint8_t protocol_of(const struct session *s)
{
	static const uint8_t number[N_L4] = {[L4_TCP] = PROTO_TCP, [L4_UDP] = PROTO_UDP, [L4_ICMP] = PROTO_ICMP};

	return s->l4 == L4_OTHER ? (uint8_t)be16_host(s->inside_port) : number[s->l4];
}

/* Whose queue the session's reverse direction lands on. What is turned round comes in from the inside, from an address
 * that is not known here: any engine. */
static bool reverse_is_away(const struct nat *n, const struct session *s)
{
	if (n->single)
		return session_has(s, SESSION_HAIRPIN);
	if (session_origin(s) == DIR_INBOUND)
		return steering_engine(&n->steering[SIDE_INSIDE], protocol_of(s), s->inside, s->remote, s->inside_port,
			       s->remote_port) != n->engine;
	return session_has(s, SESSION_HAIRPIN) || steering_engine(&n->steering[SIDE_OUTSIDE], protocol_of(s), s->remote,
							  s->nat, s->remote_port, s->nat_port) != n->engine;
}

/* Fragments land by their addresses alone: the whole packets of an outbound flow that begins with one land on another
 * engine, which is to find the session. */
static bool is_astray(const struct nat *n, const struct session *s)
{
	return n->of_fragment && session_origin(s) == DIR_OUTBOUND && !session_has(s, SESSION_AWAY) &&
	       steering_engine(&n->steering[SIDE_INSIDE], protocol_of(s), s->inside, s->remote, s->inside_port,
		       s->remote_port) != n->engine;
}

/* Its owner keeps the direction in which its replies come home, and its own one is away: in the global table, to be adopted. It
 * is INBOUND, then, though it began inside, and counts as before (session_weight). */
static void turn_origin(struct session *s)
{
	atomic_fetch_or_explicit(&s->tcp, SEEN_ANSWERED, memory_order_relaxed);
	session_set(s, SESSION_INBOUND | SESSION_AWAY, 0);
}

void nat_complete(struct nat *n, struct session *s)
{
	nat_deltas(s);
	if (session_is_pinhole(s)) { /* it has no reverse */
		slab_publish(s);
		return;
	}
	if (nat_is_pool_address(n, s->remote))
		session_set(s, SESSION_HAIRPIN, 0);
	if (reverse_is_away(n, s))
		session_set(s, SESSION_AWAY, 0);
	nat_counter(n, session_has(s, SESSION_AWAY) ? COUNTER_replies_away : COUNTER_replies_home, 1);
	if (is_astray(n, s))
		turn_origin(s);
	slab_publish(s);
}

/* ---- finding ---- */

static uint32_t mapping_find(const struct nat *n, const struct global_pair *pair, struct flow_key key)
{
	unsigned cursor = 0;
	uint32_t i;

	while ((i = global_next(&n->mappings, pair, &cursor))) {
		const struct session *m = session_at(n->arena, i);

		if (slab_live(m) && session_has(m, SESSION_CARRIES) && flow_key_equal(mapping_key(m), key))
			return i;
	}
	return 0;
}

static uint32_t filter_find(const struct nat *n, const struct global_pair *pair, struct flow_key key)
{
	unsigned cursor = 0;
	uint32_t i;

	while ((i = global_next(&n->filters, pair, &cursor))) {
		const struct session *x = session_at(n->arena, i);

		if (slab_live(x) && session_has(x, SESSION_FILTERS) && flow_key_equal(filter_key(x), key))
			return i;
	}
	return 0;
}

/* ---- references ---- */

static bool has_room(const struct session *parent)
{
	return (atomic_load_explicit(&parent->refs, memory_order_relaxed) & REF_USERS_MASK) != REF_USERS_MASK;
}

static void refer(struct nat *n, struct session *s, uint32_t parent)
{
	intent_refs(n, INTENT_MAPPING, parent);
	atomic_fetch_add_explicit(&session_at(n->arena, parent)->refs, session_weight(s), memory_order_relaxed);
	atomic_store_explicit(&s->mapping, parent, memory_order_relaxed);
	intent_step(n, INTENT_MAPPED);
}

bool nat_drop_parent(struct nat *n, struct session *s)
{
	uint32_t mapping = atomic_load_explicit(&s->mapping, memory_order_relaxed);
	struct session *parent = session_at(n->arena, mapping);
	struct global_pair pair;

	if (!global_lock(&n->mappings, hash_of(n, mapping_key(parent)), &pair))
		return false;
	intent_refs(n, INTENT_UNMAPPING, mapping);
	atomic_fetch_sub_explicit(&parent->refs, session_weight(s), memory_order_relaxed);
	atomic_store_explicit(&s->mapping, 0, memory_order_relaxed);
	intent_step(n, INTENT_UNMAPPED);
	global_unlock(&n->mappings, &pair);
	return true;
}

/* With the bucket locked: the session is that one, and has that parent. If so both stay until it is unlocked, since to
 * leave its parent it needs the lock. */
static bool is_still_child(const struct session *s, uint32_t generation, uint32_t mapping)
{
	return atomic_load_explicit(&s->generation, memory_order_acquire) == generation &&
	       atomic_load_explicit(&s->mapping, memory_order_relaxed) == mapping;
}

bool nat_count_answered(struct nat *n, uint32_t index, uint32_t generation)
{
	struct session *s = session_at(n->arena, index);
	uint32_t mapping = atomic_load_explicit(&s->mapping, memory_order_relaxed);
	struct global_pair pair;
	struct session is;

	if (!slab_valid(n->arena, SLAB_session, mapping))
		return false;
	struct session *parent = session_at(n->arena, mapping);

	/* Of a session that this engine only met, the parent may be somebody else's by now: then it is no child of it, and
	 * whatever was locked was locked in vain. */
	nat_copy_changing(&is, parent);
	if (!global_lock(&n->mappings, hash_of(n, mapping_key(&is)), &pair))
		return false;
	bool counts = is_still_child(s, generation, mapping);

	if (!counts || atomic_load_explicit(&s->tcp, memory_order_relaxed) & SEEN_ANSWERED) { /* another was faster */
		global_unlock(&n->mappings, &pair);
		return counts;
	}
	n->actor->intent.session = index;
	intent_refs(n, INTENT_ANSWERED, mapping);
	atomic_fetch_add_explicit(&parent->refs, REF_OUTBOUND, memory_order_relaxed);
	atomic_fetch_or_explicit(&s->tcp, SEEN_ANSWERED, memory_order_relaxed);
	intent_done(n);
	global_unlock(&n->mappings, &pair);
	return true;
}

/* ---- joining and carrying, the mapping's buckets being locked ---- */

/* Who carries the session's filter; 0: nobody, and the mapping's lock keeps it so. False: lock busy. */
static bool find_filter(struct nat *n, const struct session *s, uint32_t *carrier)
{
	struct global_pair pair;

	if (!global_lock(&n->filters, hash_of(n, filter_key(s)), &pair))
		return false;
	*carrier = filter_find(n, &pair, filter_key(s));
	global_unlock(&n->filters, &pair);
	return true;
}

/* False for one that is its own filter. */
static bool shares_filter(const struct session *s)
{
	return session_filtering(s) != ADDRESS_AND_PORT_DEPENDENT;
}

/* It holds its mapping already: whoever finds the filter relies on that, also when the session dies right after. A filter
 * that nobody has yet nobody else can be entering, since that takes the mapping. */
enum verdict nat_enter_filter(struct nat *n, uint32_t index, struct session *s)
{
	const struct prospect *x = nat_as_foreseen(n, s);
	struct global_pair pair = x ? x->filter : global_pair_of(&n->filters, hash_of(n, filter_key(s)));

	session_set(s, SESSION_FILTERS, 0);
	if (global_enter(&n->filters, &pair, index))
		return N_VERDICTS;
	if (!global_lock_pair(&n->filters, &pair))
		return VERDICT_drop_lock_busy;
	bool entered = global_insert(&n->filters, &pair, index);
	global_unlock(&n->filters, &pair);
	return entered ? N_VERDICTS : VERDICT_drop_table_full;
}

static bool filters_for(const struct session *m, const struct session *s)
{
	return session_has(m, SESSION_FILTERS) && flow_key_equal(filter_key(m), filter_key(s));
}

/* Uses the mapping that `found` carries, through the carrier of its filter where there is another. */
static enum verdict join(struct nat *n, uint32_t index, struct session *s, uint32_t found)
{
	const struct session *m = session_at(n->arena, found);
	uint32_t filter = 0;

	s->nat = m->nat;
	s->nat_port = m->nat_port;
	nat_complete(n, s);
	bool wants_filter = shares_filter(s) && !filters_for(m, s);
	if (wants_filter && !find_filter(n, s, &filter))
		return VERDICT_drop_lock_busy;
	uint32_t parent = filter ? filter : found;
	if (!has_room(session_at(n->arena, parent)))
		return VERDICT_drop_table_full;
	refer(n, s, parent);
	return wants_filter && !filter ? nat_enter_filter(n, index, s) : N_VERDICTS;
}

static enum verdict carry(struct nat *n, uint32_t index, struct session *s, const struct global_pair *pair,
	const struct snapshot_rule *rule, uint32_t draw, struct beside beside)
{
	enum verdict refused = nat_quota_port(n, s, rule);

	if (refused != N_VERDICTS)
		return refused;
	refused = s->nat.net || s->nat_port.net ? nat_take_wanted(n, s, rule, draw)
						: nat_take_port(n, s, rule, draw, beside);
	if (refused != N_VERDICTS) {
		nat_tell_pool(n, s, rule->pool, refused);
		nat_quota_port_back(n, s, n->part);
		return refused;
	}
	atomic_store_explicit(&s->mapping, index, memory_order_relaxed);
	session_set(s, SESSION_CARRIES, 0);
	nat_complete(n, s);
	nat_counter(n, COUNTER_mappings, 1);
	nat_counter(n, COUNTER_mappings_created, 1);
	if (shares_filter(s))
		refused = nat_enter_filter(n, index, s);
	if (refused == N_VERDICTS && !global_insert(&n->mappings, pair, index))
		refused = VERDICT_drop_table_full;
	return refused;
}

static bool wants_neighbour(const struct nat *n, const struct session *s)
{
	return n->config.preserve_parity && s->l4 == L4_UDP && session_mapping(s) == ENDPOINT_INDEPENDENT;
}

/* The NAT endpoint beside that of the neighbouring inside port, for pairs of RTP and RTCP (RFC 4787 §4.2.2). One of the other
 * parity has none: it was mapped before parity counted, or when there was no other port. */
static struct beside endpoint_beside(struct nat *n, const struct session *s)
{
	struct session other = {.inside = s->inside, .realm = s->realm, .l4 = s->l4, .birth = s->birth};
	struct beside beside = {{0}, 0};
	struct global_pair pair;

	other.inside_port = be16_of(be16_host(s->inside_port) ^ 1);
	struct flow_key key = mapping_key(&other);

	if (!global_lock(&n->mappings, hash_of(n, key), &pair))
		return beside;
	uint32_t found = mapping_find(n, &pair, key);

	if (found) {
		beside.address = session_at(n->arena, found)->nat;
		beside.port = be16_host(session_at(n->arena, found)->nat_port) ^ 1;
	}
	global_unlock(&n->mappings, &pair);
	return (beside.port ^ be16_host(s->inside_port)) & 1 ? (struct beside){{0}, 0} : beside;
}

enum verdict nat_bind(struct nat *n, uint32_t index, struct session *s, const struct snapshot_rule *rule, uint32_t draw)
{
	struct beside beside = wants_neighbour(n, s) ? endpoint_beside(n, s) : (struct beside){{0}, 0};
	bool ahead = n->ahead && n->ahead->outbound;
	struct global_pair pair = ahead ? n->ahead->mapping : global_pair_of(&n->mappings, hash_of(n, mapping_key(s)));

	if (!global_lock_pair(&n->mappings, &pair))
		return VERDICT_drop_lock_busy;
	uint32_t found = global_has_none(&n->mappings, &pair) ? 0 : mapping_find(n, &pair, mapping_key(s));
	enum verdict refused = found ? join(n, index, s, found) : carry(n, index, s, &pair, rule, draw, beside);
	global_unlock(&n->mappings, &pair);
	return refused;
}

/* ---- what comes from the outside ---- */

/* Plain stores may change it meanwhile, which the thread sanitizer rightly calls a race. */
__attribute__((no_sanitize("thread"))) void nat_copy_changing(struct session *to, const struct session *from)
{
	const uint64_t *word = (const void *)from;
	uint64_t *out = (void *)to;

	for (unsigned i = 0; i < sizeof *from / sizeof *word; i++)
		out[i] = __atomic_load_n(&word[i], __ATOMIC_RELAXED);
}

void nat_copy_fixed(struct session *to, const struct session *from)
{
	to->generation = atomic_load_explicit(&from->generation, memory_order_acquire);
	to->inside = from->inside;
	to->remote = from->remote;
	to->nat = from->nat;
	to->inside_port = from->inside_port;
	to->remote_port = from->remote_port;
	to->nat_port = from->nat_port;
	to->realm = from->realm;
	to->l3_delta = from->l3_delta;
	to->l4_delta = from->l4_delta;
	to->birth = from->birth;
	to->l4 = from->l4;
}

/* A filter lets new senders in while the rules in force would have one as wide, whenever it was made: for its carrier, or,
 * since others may have joined that under other rules, for what the inside would send this sender. A pinhole was asked for:
 * no rule is (see pinhole_is_open). */
static bool is_in_force(const struct nat *n, const struct session *copy, bool pinhole, const struct flow *f)
{
	struct session answer;

	if (pinhole || nat_rule_for(n, copy)->filtering <= session_filtering(copy))
		return true;
	answer = *copy;
	memcpy(&answer.remote, &f->key.a, sizeof answer.remote);
	memcpy(&answer.remote_port, &f->key.b, sizeof answer.remote_port);
	return nat_rule_for(n, &answer)->filtering <= session_filtering(copy);
}

/* Who may send: a copy of the filter's carrier as it was under its bucket's lock. */
static uint32_t carrier_for(
	struct nat *n, struct flow_key key, const struct flow *f, struct session *copy, enum verdict *verdict)
{
	struct global_pair pair;
	bool pinhole = false;

	if (!global_lock(&n->filters, hash_of(n, key), &pair)) {
		*verdict = VERDICT_drop_lock_busy;
		return 0;
	}
	uint32_t found = filter_find(n, &pair, key);
	if (found) {
		pinhole = session_is_pinhole(session_at(n->arena, found));
		nat_copy_fixed(copy, session_at(n->arena, found));
	}
	global_unlock(&n->filters, &pair);
	return found && is_in_force(n, copy, pinhole, f) ? found : 0;
}

uint32_t nat_filter_for(struct nat *n, const struct flow *f, struct session *copy, enum verdict *verdict)
{
	static const enum behaviour kinds[] = {ENDPOINT_INDEPENDENT, ADDRESS_DEPENDENT};
	be32_t address[2];
	be16_t port[2];

	memcpy(address, &f->key.a, sizeof address);
	memcpy(port, &f->key.b, sizeof port);
	*verdict = VERDICT_drop_no_session;
	if (f->l4 == L4_ICMP) { /* queries from the Internet are for nobody here */
		if (!nat_is_pool_address(n, address[0]))
			return 0;
		port[1] = port[0];
	}
	for (unsigned i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
		struct flow_key key = filter_key_of(kinds[i], address[0], port[0], address[1], port[1], f->l4);
		uint32_t found = carrier_for(n, key, f, copy, verdict);

		if (found)
			return found;
	}
	return 0;
}

static bool is_used_from_inside(const struct session *carrier)
{
	return atomic_load_explicit(&carrier->refs, memory_order_relaxed) >= REF_OUTBOUND;
}

/* A pinhole's filter outlives its time while others use it. It stays open for those who went out by it, if the rules would
 * have given them such a filter; who was let in by it does not count. */
static bool pinhole_is_open(const struct nat *n, const struct session *carrier)
{
	return nat_pinhole_is_open(n, carrier) ||
	       (is_used_from_inside(carrier) && nat_rule_for(n, carrier)->filtering == ENDPOINT_INDEPENDENT);
}

/* New senders are let in while somebody inside uses the mapping: what was only sent to it does not keep it open. */
static bool is_open(const struct nat *n, const struct session *carrier)
{
	if (session_is_pinhole(carrier))
		return pinhole_is_open(n, carrier);
	return (session_has(carrier, SESSION_FLOW) && !session_has(carrier, SESSION_DYING)) ||
	       is_used_from_inside(carrier);
}

enum verdict nat_bind_inbound(struct nat *n, struct session *s, uint32_t found, const struct session *copy)
{
	struct session *carrier = session_at(n->arena, found);
	enum verdict refused = VERDICT_drop_no_session;
	struct global_pair pair;

	if (!global_lock(&n->mappings, hash_of(n, mapping_key(copy)), &pair))
		return VERDICT_drop_lock_busy;
	if (slab_live(carrier) && carrier->generation == copy->generation && session_has(carrier, SESSION_FILTERS) &&
		is_open(n, carrier)) {
		refused = has_room(carrier) ? N_VERDICTS : VERDICT_drop_table_full;
		nat_complete(n, s);
	}
	if (refused == N_VERDICTS && session_is_pinhole(carrier))
		session_set(s, SESSION_PINHOLE, 0);
	if (refused == N_VERDICTS)
		refer(n, s, found);
	global_unlock(&n->mappings, &pair);
	return refused;
}

/* ---- ending ---- */

void nat_foresee_bindings(const struct nat *n, struct ending *x)
{
	x->mapping = global_pair_of(&n->mappings, hash_of(n, mapping_key(x->s)));
	x->filter = global_pair_of(&n->filters, hash_of(n, filter_key(x->s)));
}

static bool leave_filters(struct nat *n, const struct ending *x)
{
	if (!global_lock_pair(&n->filters, &x->filter))
		return false;
	global_remove(&n->filters, &x->filter, x->index);
	global_unlock(&n->filters, &x->filter);
	return true;
}

static bool is_used(const struct session *s)
{
	return atomic_load_explicit(&s->refs, memory_order_relaxed) != 0;
}

bool nat_end_bindings(struct nat *n, const struct ending *x)
{
	struct session *s = x->s;
	bool carries = session_has(s, SESSION_CARRIES);
	struct port_seat seat = {NULL, 0};

	if (is_used(s) || !global_lock_pair(&n->mappings, &x->mapping))
		return false;
	bool ends = !is_used(s);

	/* Out of the mapping table first: who still finds the filter finds a mapping that is not open. */
	if (ends && carries) {
		global_remove(&n->mappings, &x->mapping, x->index);
		seat = nat_intend_port(n, s, x->address);
	}
	if (ends && session_has(s, SESSION_FILTERS))
		ends = leave_filters(n, x);
	if (ends)
		session_set(s, 0, SESSION_CARRIES | SESSION_FILTERS);
	global_unlock(&n->mappings, &x->mapping);
	if (ends && carries) {
		nat_free_port(n, s, seat);
		nat_quota_port_back(n, s, x->part);
		nat_counter(n, COUNTER_mappings, -1);
	}
	return ends;
}
