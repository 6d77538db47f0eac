/* The burst: parse all, look up all, translate all, then the few that have no session yet. */
#include "pe/nat_events.h"
#include "pe/nat_hit.h"
#include "pe/vlan.h"

/* ---- lookup ---- */

local_place nat_find_local(const struct nat *n, enum dir dir, struct flow_key key, uint64_t hash)
{
	unsigned cursor = 0;
	local_place place;

	while ((place = local_next(&n->local[dir], hash, &cursor))) {
		uint64_t e = atomic_load_explicit(place, memory_order_relaxed);

		if (flow_key_equal(session_key(session_at(n->arena, local_index(e)), dir), key))
			return place;
	}
	return NULL;
}

/* ---- the burst ---- */

/* What its stages hand to each other. */
struct burst {
	struct flow flow[BURST_MAX];
	uint64_t hash[BURST_MAX];
	struct local_found found[BURST_MAX];
	unsigned left[BURST_MAX], n_left;   /* those that are decided, but not by the straight path */
	unsigned first[BURST_MAX], n_first; /* those without a session */
};

static const enum verdict hit_verdict[N_DIRS] = {VERDICT_fwd_out_hit, VERDICT_fwd_in_hit};

/* True when the burst's lookup says all there is to say: no tag fitted, and nothing was entered since that could be it. */
static bool is_absent(const struct nat *n, const struct flow *f, const struct local_found *found)
{
	return !found->session && !n->guest && !nat_may_be_made(n, f->hash);
}

/* A packet whose session is new goes the straight path like those to come, if it is as plain. */
static bool goes_straight(
	struct straight *h, struct packet *p, const struct flow *f, local_place place, enum verdict verdict)
{
	if (verdict != VERDICT_fwd_out_new)
		return false;
	uint64_t e = atomic_load_explicit(place, memory_order_relaxed);

	return nat_leave_first(h, p, f, session_at(h->nat->arena, local_index(e)));
}

/* A session made straight away, if all is as foreseen; else by all cases. */
static local_place make(struct nat *n, const struct flow *f, enum verdict *verdict)
{
	local_place place;

	return f->dir == DIR_OUTBOUND && nat_make(n, f, &place, verdict) ? place : nat_first_packet(n, f, verdict);
}

/* A packet whose session is not in the local table, or was not when the burst was looked up. What comes to a subscriber's
 * own address has none. */
static enum verdict first_packet(
	struct straight *h, struct packet *p, const struct flow *f, const struct local_found *found)
{
	struct nat *n = h->nat;

	if (f->dir == DIR_INBOUND && nat_is_subscriber(n, 0, flow_ip4(p)->dst))
		return nat_bypasses(n, f) ? nat_bypass(n, p, f) : VERDICT_drop_no_session;

	local_place place = is_absent(n, f, found) ? NULL : nat_find_hosted(&n, f);
	enum verdict verdict = hit_verdict[f->dir];

	if (!place) {
		place = make(n, f, &verdict);
		if (place && goes_straight(h, p, f, place, verdict))
			return verdict;
	}
	if (!place && verdict == VERDICT_fwd_out_bypass)
		return nat_bypass(n, p, f);
	if (!place && verdict == VERDICT_drop_no_session && f->dir == DIR_INBOUND)
		return nat_unasked(n, f);
	return place ? nat_translate(n, p, f, place, verdict) : verdict;
}

/* Most frames have no tag: whether this one has is asked only when it looks like no IPv4 packet. */
static enum verdict parse(struct flow *f, struct packet *p)
{
	f->key = (struct flow_key){0, 0};
	f->plain = false;
	enum verdict refused = flow_parse(f, p);
	if (refused != VERDICT_drop_not_ipv4 || !vlan_is_tagged(p))
		return refused;
	refused = vlan_take(p);
	return refused == N_VERDICTS ? flow_parse(f, p) : refused;
}

/* Reads all, and has the buckets fetched that their sessions should be in. What is refused is looked up with the rest, and
 * not looked at again. The others' verdict is not set yet. */
static inline __attribute__((always_inline)) void burst_parse(const struct nat *n, const struct local_table *t,
	struct packet *burst, struct burst *b, unsigned count, enum dir dir)
{
	const struct plain_row *rows = flow_plain[dir];
	const uint64_t seed = n->seed;

	for (unsigned i = 0; i < count; i++) {
		if (!flow_parse_plain(&b->flow[i], &burst[i], rows, dir))
			burst[i].verdict = (uint8_t)parse(&b->flow[i], &burst[i]);
		b->hash[i] = flow_key_hash(b->flow[i].key, seed);
		local_begin(t, b->hash[i], &b->found[i]);
	}
}

/* The place whose session has the packet's key, among those whose tag fitted. */
static local_place find_fitting(
	const struct nat *n, const struct local_table *t, struct local_found found, const struct flow *f)
{
	local_place place;

	while ((place = local_fitting(t, &found))) {
		uint64_t e = atomic_load_explicit(place, memory_order_relaxed);

		if (e && flow_key_equal(session_key(session_at(n->arena, local_index(e)), f->dir), f->key))
			return place;
	}
	return NULL;
}

/* A packet that the straight path did not take. False: it has no session here, as far as the burst's lookup found. */
static bool second_look(
	struct nat *n, struct packet *p, const struct flow *f, const struct local_table *t, struct local_found found)
{
	if (!f->plain && p->verdict != N_VERDICTS)
		return true;
	local_place place = find_fitting(n, t, found, f);
	if (!place || !nat_still_good(n, place))
		return false;
	p->verdict = (uint8_t)nat_translate(n, p, f, place, hit_verdict[f->dir]);
	return true;
}

/* Packets that are not forwarded as they stand: some are by another way, some are answered. */
static void odd_packet(struct nat *n, struct packet *p)
{
	if (p->verdict == VERDICT_drop_icmp_type)
		p->verdict = (uint8_t)nat_pass_error(n, p);
	else if (p->verdict == VERDICT_drop_fragment)
		p->verdict = (uint8_t)nat_fragment(n, p);
	if (p->waited && p->verdict == VERDICT_held)
		p->verdict = VERDICT_drop_next_hop;
	if (!p->forward) {
		nat_tell(n, p);
		nat_answer(n, p);
	}
}

static void burst_odd(struct nat *n, struct packet *burst, const unsigned *which, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		if (!burst[which[i]].forward)
			odd_packet(n, &burst[which[i]]);
}

/* Those that have no session yet. */
static void burst_first(struct straight *h, struct packet *burst, struct burst *b)
{
	struct prospect ahead[BURST_MAX];

	for (unsigned i = 0; i < b->n_first; i++) {
		b->flow[b->first[i]].hash = b->hash[b->first[i]];
		b->flow[b->first[i]].ahead = NULL;
	}
	nat_foresee(h->nat, b->flow, b->first, b->n_first, ahead);
	for (unsigned i = 0; i < b->n_first; i++) {
		struct packet *p = &burst[b->first[i]];

		p->verdict = (uint8_t)first_packet(h, p, &b->flow[b->first[i]], &b->found[b->first[i]]);
	}
}

/* Compiled once for each direction: what depends on it is decided then. */
static inline __attribute__((always_inline)) void burst_in(
	struct nat *n, struct packet *burst, unsigned count, enum dir dir)
{
	const struct local_table t = n->local[dir];
	struct straight h = nat_straight(n, dir);
	struct burst b;

	nat_made_none(n);
	burst_parse(n, &t, burst, &b, count, dir);
	local_lookup_burst(n->arena, &t, b.hash, b.found, count);
	b.n_left = b.n_first = 0;
	for (unsigned i = 0; i < count; i++) {
		if (b.flow[i].plain && b.found[i].session && nat_hit(&h, &burst[i], &b.flow[i], &b.found[i], dir))
			continue;
		burst[i].forward = 0;
		burst[i].mtu = 0;
		if ((!b.flow[i].plain || b.found[i].session) && second_look(n, &burst[i], &b.flow[i], &t, b.found[i]))
			b.left[b.n_left++] = i;
		else
			b.first[b.n_first++] = i;
	}
	if (dir == DIR_INBOUND && b.n_first)
		b.n_first = nat_drop_unasked(n, burst, b.flow, b.found, b.first, b.n_first);
	if (b.n_first)
		burst_first(&h, burst, &b);
	burst_odd(n, burst, b.left, b.n_left);
	burst_odd(n, burst, b.first, b.n_first);
}

void nat_burst(struct nat *n, struct packet *burst, unsigned count, mono_t now)
{
	assert(n && count <= BURST_MAX);
	for (struct nat *host = n; host; host = host->guest)
		nat_set_time(host, now);
	if (burst->side == SIDE_INSIDE)
		burst_in(n, burst, count, DIR_OUTBOUND);
	else
		burst_in(n, burst, count, DIR_INBOUND);
}

void nat_end_syn(struct nat *n, struct packet *p, mono_t now)
{
	struct session s;
	struct flow f;

	nat_set_time(n, now);
	p->verdict = VERDICT_drop_no_session;
	if (flow_parse(&f, p) != N_VERDICTS || nat_find_anywhere(n, f.dir, f.key, &s))
		return;
	p->verdict = VERDICT_drop_syn_unanswered;
	nat_answer(n, p);
}

void nat_host(struct nat *n, struct nat *guest)
{
	guest->host = n;
	guest->guest = n->guest;
	n->guest = guest;
}

void nat_unhost(struct nat *n, struct nat *guest)
{
	struct nat **link = &n->guest;

	while (*link != guest)
		link = &(*link)->guest;
	*link = guest->guest;
	guest->host = NULL;
}

void nat_count(struct nat *n, enum verdict v)
{
	n->verdicts[v]++;
}

void nat_flush_counters(struct nat *n)
{
	for (int v = 0; v < N_VERDICTS; v++) {
		if (n->verdicts[v])
			counter_add(&n->actor->verdicts[v], n->verdicts[v]);
		n->verdicts[v] = 0;
	}
}
