/* The burst: parse all, look up all, translate all, then the few that have no session yet. */
#include "pe/nat_internal.h"
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

static const enum verdict hit_verdict[N_DIRS] = {VERDICT_fwd_out_hit, VERDICT_fwd_in_hit};

/* A packet whose session is not in the local table, or was not when the burst was looked up. What comes to a subscriber's
 * own address has none. */
static enum verdict first_packet(struct nat *n, struct packet *p, const struct flow *f)
{
	if (f->dir == DIR_INBOUND && nat_is_subscriber(n, 0, flow_ip4(p)->dst))
		return nat_bypasses(n, f) ? nat_bypass(n, p, f) : VERDICT_drop_no_session;

	local_place place = nat_find_hosted(&n, f);
	enum verdict verdict = hit_verdict[f->dir];

	if (!place)
		place = nat_first_packet(n, f, &verdict);
	if (!place && verdict == VERDICT_fwd_out_bypass)
		return nat_bypass(n, p, f);
	if (!place && verdict == VERDICT_drop_no_session && f->tcp == TCP_IN_SYN && f->opens && n->config.syn_hold_s)
		return VERDICT_held_syn;
	return place ? nat_translate(n, p, f, place, verdict) : verdict;
}

/* Most frames have no tag: whether this one has is asked only when it looks like no IPv4 packet. */
static enum verdict parse(struct flow *f, struct packet *p)
{
	enum verdict refused = flow_parse(f, p);

	if (refused != VERDICT_drop_not_ipv4 || !vlan_is_tagged(p))
		return refused;
	refused = vlan_take(p);
	return refused == N_VERDICTS ? flow_parse(f, p) : refused;
}

/* What is refused here keeps a hash of 0: looked up with the rest, and not looked at again. */
static void burst_parse(const struct nat *n, struct packet *burst, struct flow *flow, uint64_t *hash, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		burst[i].forward = 0;
		burst[i].mtu = 0;
		burst[i].verdict = (uint8_t)parse(&flow[i], &burst[i]);
		hash[i] = burst[i].verdict == N_VERDICTS ? flow_key_hash(flow[i].key, n->seed) : 0;
		flow[i].hash = hash[i];
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

/* Packets that are not forwarded as they stand: some are by another way, some are answered. */
static void odd_packet(struct nat *n, struct packet *p)
{
	if (p->verdict == VERDICT_drop_icmp_type)
		p->verdict = (uint8_t)nat_pass_error(n, p);
	else if (p->verdict == VERDICT_drop_fragment)
		p->verdict = (uint8_t)nat_fragment(n, p);
	if (p->waited && p->verdict == VERDICT_held)
		p->verdict = VERDICT_drop_next_hop;
	if (!p->forward)
		nat_answer(n, p);
}

void nat_burst(struct nat *n, struct packet *burst, unsigned count, mono_t now)
{
	const struct local_table *t = &n->local[burst->side == SIDE_INSIDE ? DIR_OUTBOUND : DIR_INBOUND];
	struct flow flow[BURST_MAX];
	uint64_t hash[BURST_MAX];
	struct local_found found[BURST_MAX];
	unsigned first[BURST_MAX], n_first = 0;

	assert(n && count <= BURST_MAX);
	for (struct nat *host = n; host; host = host->guest)
		nat_set_time(host, now);
	burst_parse(n, burst, flow, hash, count);
	local_lookup_burst(n->arena, t, hash, found, count);
	for (unsigned i = 0; i < count; i++) {
		const struct flow *f = &flow[i];

		if (burst[i].verdict != N_VERDICTS)
			continue;
		local_place place = find_fitting(n, t, found[i], f);
		if (place && nat_still_good(n, place))
			burst[i].verdict = (uint8_t)nat_translate(n, &burst[i], f, place, hit_verdict[f->dir]);
		else
			first[n_first++] = i;
	}
	if (n_first)
		nat_foresee(n, flow, first, n_first);
	for (unsigned i = 0; i < n_first; i++)
		burst[first[i]].verdict = (uint8_t)first_packet(n, &burst[first[i]], &flow[first[i]]);
	for (unsigned i = 0; i < count; i++)
		if (!burst[i].forward)
			odd_packet(n, &burst[i]);
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
