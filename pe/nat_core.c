/* The burst: parse all, look up all, translate all, then the few that have no session yet. */
#include "pe/nat_internal.h"

#include "common/csum.h"

#include <string.h>

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

/* ---- rewrite ---- */

/* The checksum field of a transport header, and whether zero means "none" there (UDP, RFC 768). */
static uint16_t *l4_checksum(const struct flow *f, uint8_t *l4)
{
	static const uint8_t at[N_L4] = {
		[L4_TCP] = offsetof(struct tcp_header, checksum),
		[L4_UDP] = offsetof(struct udp_header, checksum),
		[L4_ICMP] = offsetof(struct icmp_header, checksum),
	};

	return (uint16_t *)(l4 + at[f->l4]);
}

static void rewrite_l4_checksum(const struct flow *f, uint8_t *l4, uint16_t delta)
{
	uint16_t *field = l4_checksum(f, l4), is;

	memcpy(&is, field, sizeof is);
	if (f->l4 == L4_UDP && is == 0)
		return;
	is = csum_apply(is, delta);
	if (f->l4 == L4_UDP && is == 0)
		is = 0xffff;
	memcpy(field, &is, sizeof is);
}

/* Where the inside or NAT endpoint's port lies: ICMP has one identifier for both directions. */
static unsigned port_offset(const struct flow *f)
{
	if (f->l4 == L4_ICMP)
		return offsetof(struct icmp_header, id);
	return f->dir == DIR_OUTBOUND ? offsetof(struct udp_header, src) : offsetof(struct udp_header, dst);
}

static void rewrite(struct packet *p, const struct flow *f, const struct session *s, const struct link_header *link)
{
	struct ip4_header *ip = flow_ip4(p);
	uint8_t *l4 = p->data + f->l4_at;
	bool out = f->dir == DIR_OUTBOUND;
	uint16_t l3_delta = out ? s->l3_delta : (uint16_t)~s->l3_delta;
	uint16_t l4_delta = out ? s->l4_delta : (uint16_t)~s->l4_delta;

	memcpy(p->data, link, sizeof link->dst + sizeof link->src);
	ip->ttl--;
	ip->checksum = csum_apply(ip->checksum, (uint32_t)l3_delta + CSUM_DELTA_TTL);
	if (out)
		ip->src = s->nat;
	else
		ip->dst = s->inside;
	memcpy(l4 + port_offset(f), out ? &s->nat_port : &s->inside_port, sizeof(be16_t));
	rewrite_l4_checksum(f, l4, l4_delta);
}

/* ---- one packet with its session ---- */

/* The session's adjacency, looked up again when the routes have changed since. */
static uint32_t next_hop_of(struct nat *n, struct session *s, const struct flow *f, enum verdict *refused)
{
	uint32_t cached = atomic_load_explicit(&s->next_hop[f->dir], memory_order_relaxed);

	if ((uint16_t)cached == (uint16_t)n->fib.generation && cached >> 16 != ADJACENCY_NONE)
		return cached >> 16;
	uint32_t i = nat_next_hop(n, f->dir, f->dir == DIR_OUTBOUND ? s->remote : s->inside, refused);
	if (i != ADJACENCY_NONE)
		atomic_store_explicit(
			&s->next_hop[f->dir], i << 16 | (uint16_t)n->fib.generation, memory_order_relaxed);
	return i;
}

/* Asks for a neighbour that has no answer yet, and keeps one that is used fresh. */
static bool link_ready(struct nat *n, uint32_t index, const struct link_header *link)
{
	struct adjacency *a = &n->nexthop->adjacency[index];

	if (link->state != ADJACENCY_RESOLVED) {
		nexthop_request(n->nexthop, n->engine, link->side, a->address);
		return false;
	}
	if (!atomic_load_explicit(&a->used, memory_order_relaxed))
		atomic_store_explicit(&a->used, 1, memory_order_relaxed);
	return true;
}

static void note_tcp(struct session *s, uint8_t bits)
{
	if (bits & ~atomic_load_explicit(&s->tcp, memory_order_relaxed))
		atomic_fetch_or_explicit(&s->tcp, bits, memory_order_relaxed);
}

/* Translates; `as` is the verdict when all goes well. */
static enum verdict translate(struct nat *n, struct packet *p, const struct flow *f, local_place place, enum verdict as)
{
	struct session *s = session_at(n->arena, local_index(atomic_load_explicit(place, memory_order_relaxed)));
	enum verdict refused = VERDICT_drop_no_route;
	uint32_t hop = next_hop_of(n, s, f, &refused);

	if (hop == ADJACENCY_NONE)
		return refused;
	struct link_header link = nexthop_read(n->nexthop, hop);
	if (!link_ready(n, hop, &link))
		return VERDICT_held;
	if (f->size > link.mtu)
		return VERDICT_drop_too_big;
	if (f->tcp)
		note_tcp(s, f->tcp);
	if (f->dir == DIR_OUTBOUND || f->l4 == L4_TCP) /* RFC 4787 REQ-6: inbound packets refresh nothing else */
		local_touch(place, session_class(s), n->now_s);
	rewrite(p, f, s, &link);
	p->out = link.side;
	p->forward = 1;
	return as;
}

/* ---- the burst ---- */

/* A session found may have ended meanwhile: idle too long and not yet swept, or let go by its owner. */
static bool still_good(struct nat *n, local_place place)
{
	uint64_t e = atomic_load_explicit(place, memory_order_relaxed);
	uint32_t index = local_index(e);
	struct session *s = session_at(n->arena, index);
	bool mine = s->owner == n->engine;

	if (!mine && session_has(s, SESSION_DYING)) {
		nat_session_let_go(n, index);
		return false;
	}
	if (!mine || local_idle_s(e, n->now_s) < n->config.timeout_s[local_class(e)])
		return true;
	if (nat_session_idle(n, index)) {
		nat_session_end(n, index);
		return false;
	}
	/* An inbound entry that inbound packets do not refresh: it takes over when the other direction was seen. */
	local_touch(place, local_class(e), n->now_s - nat_outbound_seen_ago(n, index));
	return true;
}

static const enum verdict hit_verdict[N_DIRS] = {VERDICT_fwd_out_hit, VERDICT_fwd_in_hit};

/* The engine's part in which the flow has a session: its own, or a guest's. */
static local_place find_hosted(struct nat **n, const struct flow *f)
{
	for (struct nat *host = *n; host; host = host->guest) {
		local_place place = nat_find_local(host, f->dir, f->key, f->hash);

		if (place && still_good(host, place)) {
			*n = host;
			return place;
		}
	}
	return NULL;
}

/* A packet whose session is not in the local table, or was not when the burst was looked up. */
static enum verdict first_packet(struct nat *n, struct packet *p, const struct flow *f)
{
	local_place place = find_hosted(&n, f);
	enum verdict verdict = hit_verdict[f->dir];

	if (!place)
		place = f->dir == DIR_OUTBOUND ? nat_create(n, f, &verdict) : nat_adopt(n, f, &verdict);
	return place ? translate(n, p, f, place, verdict) : verdict;
}

/* What is refused here keeps a hash of 0: looked up with the rest, and not looked at again. */
static void burst_parse(const struct nat *n, struct packet *burst, struct flow *flow, uint64_t *hash, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		burst[i].forward = 0;
		burst[i].verdict = (uint8_t)flow_parse(&flow[i], &burst[i]);
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

void nat_burst(struct nat *n, struct packet *burst, unsigned count, mono_t now)
{
	const struct local_table *t = &n->local[burst->side == SIDE_INSIDE ? DIR_OUTBOUND : DIR_INBOUND];
	struct flow flow[BURST_MAX];
	uint64_t hash[BURST_MAX];
	struct local_found found[BURST_MAX];
	unsigned first[BURST_MAX], n_first = 0;

	assert(count <= BURST_MAX);
	for (struct nat *host = n; host; host = host->guest)
		host->now_s = (uint32_t)(now.ns / 1000000000u);
	burst_parse(n, burst, flow, hash, count);
	local_lookup_burst(n->arena, t, hash, found, count);
	for (unsigned i = 0; i < count; i++) {
		const struct flow *f = &flow[i];

		if (burst[i].verdict != N_VERDICTS)
			continue;
		local_place place = find_fitting(n, t, found[i], f);
		if (place && still_good(n, place))
			burst[i].verdict = (uint8_t)translate(n, &burst[i], f, place, hit_verdict[f->dir]);
		else
			first[n_first++] = i;
	}
	for (unsigned i = 0; i < n_first; i++)
		burst[first[i]].verdict = (uint8_t)first_packet(n, &burst[first[i]], &flow[first[i]]);
}

void nat_host(struct nat *n, struct nat *guest)
{
	guest->guest = n->guest;
	n->guest = guest;
}

void nat_unhost(struct nat *n, struct nat *guest)
{
	struct nat **link = &n->guest;

	while (*link != guest)
		link = &(*link)->guest;
	*link = guest->guest;
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
