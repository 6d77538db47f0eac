/* One packet with its session: what is written into it, and where it goes. */
#include "pe/mss.h"
#include "pe/nat_rewrite.h"
#include "pe/nat_tcp.h"

#include <string.h>

/* ---- rewrite ---- */

void nat_clamp_mss(const struct nat *n, struct packet *p, const struct flow *f)
{
	if (n->config.mss_clamp && (f->tcp & (TCP_OUT_SYN | TCP_IN_SYN)))
		mss_clamp(p->data + f->l4_at, f->size + sizeof(struct eth_header) - f->l4_at,
			(uint16_t)n->config.mss_clamp);
}

/* UDP-Lite's and DCCP's checksums cover the addresses (RFC 3828 §3.1, RFC 4340 §9.1); the zero that is never sent is theirs
 * as ones' complement has it. */
static void rewrite_other(uint8_t *l4, const struct flow *f, uint16_t delta)
{
	uint16_t is;

	if (!flow_covers_addresses(f->protocol))
		return;
	memcpy(&is, l4 + FLOW_COVERING_AT, sizeof is);
	is = csum_apply(is, delta);
	is = is ? is : 0xffff;
	memcpy(l4 + FLOW_COVERING_AT, &is, sizeof is);
}

/* Addresses, port and checksums. */
void nat_rewrite(struct nat *n, struct packet *p, const struct flow *f, const struct session *s)
{
	static const uint8_t checksum_at[N_L4] = {
		[L4_TCP] = offsetof(struct tcp_header, checksum),
		[L4_UDP] = offsetof(struct udp_header, checksum),
		[L4_ICMP] = offsetof(struct icmp_header, checksum),
	};
	struct ip4_header *ip = flow_ip4(p);
	uint8_t *l4 = p->data + f->l4_at;
	bool out = f->dir == DIR_OUTBOUND;

	ip->checksum = csum_apply(ip->checksum, delta_in(f->dir, s->l3_delta));
	if (out)
		ip->src = s->nat;
	else
		ip->dst = s->inside;
	if (f->port_at != FLOW_NO_PORT)
		memcpy(l4 + f->port_at, out ? &s->nat_port : &s->inside_port, sizeof(be16_t));
	if (f->l4 != L4_OTHER)
		rewrite_l4_checksum(f->l4, l4 + checksum_at[f->l4], delta_in(f->dir, s->l4_delta));
	else
		rewrite_other(l4, f, delta_in(f->dir, s->l3_delta));
	nat_clamp_mss(n, p, f);
	if (out)
		ip->checksum = csum_apply(ip->checksum, renumber(n, ip, session_key(s, DIR_INBOUND).a));
}

void nat_onto_link(struct packet *p, const struct link_header *link)
{
	struct ip4_header *ip = flow_ip4(p);

	memcpy(p->data, link, sizeof link->dst + sizeof link->src);
	ip->ttl--;
	ip->checksum = csum_apply(ip->checksum, CSUM_DELTA_TTL);
	p->out = link->side;
	p->vlan = link->vlan;
	p->forward = 1;
}

/* ---- one packet with its session ---- */

/* The session's adjacency, looked up again when the routes have changed since. */
static uint32_t next_hop_of(struct nat *n, struct session *s, const struct flow *f, enum verdict *refused)
{
	uint32_t cached = atomic_load_explicit(&s->next_hop[f->dir], memory_order_relaxed);

	if ((uint16_t)cached == (uint16_t)n->fib.generation && cached >> 16 != ADJACENCY_NONE)
		return cached >> 16;
	uint32_t i = nat_next_hop(n, f->dir, s->realm, f->dir == DIR_OUTBOUND ? s->remote : s->inside, refused);
	if (i != ADJACENCY_NONE)
		atomic_store_explicit(&s->next_hop[f->dir], nat_hop_word(n, i), memory_order_relaxed);
	return i;
}

/* Asks for a neighbour that has no answer yet, and keeps one that is used fresh. */
static bool link_ready(struct nat *n, uint32_t index, const struct link_header *link)
{
	struct adjacency *a = &n->nexthop->adjacency[index];

	if (link->state != ADJACENCY_RESOLVED) {
		nexthop_request(n->nexthop, n->engine, link->side, link->vlan, a->address);
		return false;
	}
	nexthop_use(a);
	return true;
}

enum verdict nat_link_to(struct nat *n, enum dir dir, uint16_t realm, be32_t destination, struct link_header *link)
{
	enum verdict refused;
	uint32_t hop = nat_next_hop(n, dir, realm, destination, &refused);

	if (hop == ADJACENCY_NONE)
		return refused;
	*link = nexthop_read(n->nexthop, hop);
	return link_ready(n, hop, link) ? N_VERDICTS : VERDICT_held;
}

enum verdict nat_fit(struct packet *p, uint16_t size, uint16_t mtu)
{
	if (size <= mtu)
		return N_VERDICTS;
	p->mtu = mtu;
	return flow_ip4(p)->fragment.net & htons(IP4_DF) ? VERDICT_drop_too_big : N_VERDICTS;
}

/* Bits are only ever added, but for two cases: data after a reset takes the reset back (RFC 7857 §2.3), and a SYN on a
 * connection that is over begins the next one. */
static void note_bits(struct session *s, uint8_t bits)
{
	uint8_t seen = atomic_load_explicit(&s->tcp, memory_order_relaxed);

	if (tcp_is_closed(seen) &&
		(bits & (TCP_OUT_SYN | TCP_IN_SYN))) /* another engine may set SEEN_ANSWERED right now */
		seen = atomic_fetch_and_explicit(&s->tcp, SEEN_ANSWERED, memory_order_relaxed) & SEEN_ANSWERED;
	else if ((seen & TCP_RST) && (bits & (TCP_OUT_DATA | TCP_IN_DATA)))
		atomic_fetch_and_explicit(&s->tcp, (uint8_t)~TCP_RST, memory_order_relaxed);
	if (bits & ~seen)
		atomic_fetch_or_explicit(&s->tcp, bits, memory_order_release);
}

/* False for a reset that cannot be meant: it passes, and is as if it had never been (RFC 5961 in spirit). */
static bool note_tcp(struct session *s, const struct packet *p, const struct flow *f)
{
	const struct tcp_header *tcp = (const struct tcp_header *)(p->data + f->l4_at);

	if (f->tcp == TCP_RST && !tcp_reset_fits(s, f->dir, tcp))
		return false;
	if (f->dir == DIR_OUTBOUND && f->tcp != TCP_RST)
		tcp_mark(s, tcp);
	note_bits(s, f->tcp);
	return true;
}

/* RFC 4787 REQ-6: what comes from the outside keeps only TCP alive, unless configured. */
static bool refreshes(const struct nat *n, const struct flow *f)
{
	return f->dir == DIR_OUTBOUND || f->l4 == L4_TCP || (f->l4 == L4_UDP && n->config.udp_inbound_refresh);
}

/* What shows that the inside wants what came: a reset says the contrary (RFC 7857 §7). */
static bool is_answer(const struct flow *f)
{
	return f->dir == DIR_OUTBOUND && f->tcp != TCP_RST;
}

void nat_touch(struct nat *n, const struct packet *p, const struct flow *f, local_place place)
{
	uint32_t index = local_index(atomic_load_explicit(place, memory_order_relaxed));
	struct session *s = session_at(n->arena, index);

	if (f->tcp && !note_tcp(s, p, f))
		return;
	if (is_answer(f))
		nat_note_answer(n, index, atomic_load_explicit(&s->generation, memory_order_relaxed));
	if (refreshes(n, f))
		local_touch(place, session_class(s), n->now_s);
}

void nat_mark(struct nat *n, const struct packet *p, const struct flow *f, local_place place, uint32_t index,
	uint32_t generation)
{
	struct session *s = session_at(n->arena, index);

	if (f->tcp && (session_has(s, SESSION_DYING) || !note_tcp(s, p, f)))
		return;
	if (refreshes(n, f))
		local_mark(place, index, n->now_s);
	if (is_answer(f))
		nat_note_answer(n, index, generation);
}

/* ---- turned round ---- */

/* The sender's session may be a guest's; the other one is anybody's, or made by the host. */
static enum verdict turn_round(struct nat *n, struct packet *p)
{
	enum side side = p->side;
	struct flow f;

	if (n->host)
		n = n->host;
	p->side = SIDE_OUTSIDE;
	enum verdict verdict = flow_parse(&f, p);
	p->side = side;
	if (verdict != N_VERDICTS)
		return verdict;
	f.hash = flow_key_hash(f.key, n->seed);
	local_place place = nat_find_hosted(&n, &f);
	if (!place)
		place = nat_first_packet(n, &f, &verdict);
	return place ? nat_translate(n, p, &f, place, VERDICT_fwd_hairpin) : verdict;
}

/* To a NAT address: out through the sender's session, and back in through the one of who has that address, so that both
 * see each other's NAT endpoint (RFC 4787 REQ-9). A packet that has to wait, or is refused, stays as it came. */
static enum verdict hairpin(struct nat *n, struct packet *p, const struct flow *f, struct session *s, local_place place)
{
	unsigned size = p->len < NAT_HEADERS_MAX ? p->len : NAT_HEADERS_MAX;
	uint8_t before[NAT_HEADERS_MAX];

	memcpy(before, p->data, size);
	nat_touch(n, p, f, place);
	nat_rewrite(n, p, f, s);
	enum verdict verdict = turn_round(n, p);
	if (!p->forward)
		memcpy(p->data, before, size);
	return verdict;
}

/* ---- all of it ---- */

enum verdict nat_translate(struct nat *n, struct packet *p, const struct flow *f, local_place place, enum verdict as)
{
	struct session *s = session_at(n->arena, local_index(atomic_load_explicit(place, memory_order_relaxed)));
	enum verdict refused = VERDICT_drop_no_route;

	if (f->dir == DIR_OUTBOUND && session_has(s, SESSION_HAIRPIN))
		return hairpin(n, p, f, s, place);
	uint32_t hop = next_hop_of(n, s, f, &refused);

	if (hop == ADJACENCY_NONE)
		return refused;
	struct link_header link = nexthop_read(n->nexthop, hop);
	if (!link_ready(n, hop, &link))
		return VERDICT_held;
	if (f->size > link.mtu) {
		refused = nat_fit(p, f->size, link.mtu);
		if (refused != N_VERDICTS)
			return refused;
	}
	nat_touch(n, p, f, place);
	nat_rewrite(n, p, f, s);
	nat_onto_link(p, &link);
	return as;
}

/* ---- is it still there ---- */

/* A session found may have ended meanwhile: idle too long and not yet swept, or let go by its owner. */
bool nat_still_good(struct nat *n, local_place place)
{
	uint64_t e = atomic_load_explicit(place, memory_order_relaxed);
	uint32_t index = local_index(e);
	struct session *s = session_at(n->arena, index);
	bool mine = s->owner == n->engine;

	if (!mine && session_has(s, SESSION_DYING)) {
		nat_session_let_go(n, index);
		return false;
	}
	if (!mine || !n->configured || local_idle_s(e, n->now_s) < n->config.timeout_s[local_class(e)])
		return true;
	if (nat_session_idle(n, index)) {
		nat_session_end(n, index);
		return false;
	}
	/* An inbound entry that inbound packets do not refresh: it takes over when the other direction was seen. */
	local_touch(place, session_class(s), n->now_s - nat_refreshed_ago(n, index));
	return true;
}

/* The engine's part in which the flow has a session: its own, or a guest's. */
local_place nat_find_hosted(struct nat **n, const struct flow *f)
{
	for (struct nat *host = *n; host; host = host->guest) {
		local_place place = nat_find_local(host, f->dir, f->key, f->hash);

		if (place && nat_still_good(host, place)) {
			*n = host;
			return place;
		}
	}
	return NULL;
}
