/* nat_hit: the straight path, of packets whose session is here and needs nothing but what was computed when it was made.
 *
 * What       whatever may be odd about packet, session, time or next hop is one comparison each. A packet that passes
 *            them all is translated here; one that does not is left as it is for the second look (nat_core.c), which
 *            knows all cases and decides these alike.
 * Calls      nat_core.c, once per packet of a burst.
 */
#ifndef CORENAT_PE_NAT_HIT_H
#define CORENAT_PE_NAT_HIT_H

#include "pe/nat_rewrite.h"
#include "pe/nat_tcp.h"

/* What a burst's packets have in common, by value: no store to a packet can be taken for a change of it. */
struct straight {
	struct nat *nat;
	const uint32_t *timeout_s;
	uint32_t now_s, now_ahead; /* as local_seen and local_fresh want it */
	bool refreshes[N_L4];      /* whether the direction keeps a session alive (RFC 4787 REQ-6) */
	uint32_t hop;              /* session.next_hop of those that leave by `link`; 0: not yet known */
	struct link_header link;   /* read once for a run of packets */
};

static inline struct straight nat_straight(struct nat *n, enum dir dir)
{
	return (struct straight){
		.nat = n,
		.timeout_s = n->config.timeout_s,
		.now_s = n->now_s & LOCAL_SEEN_MASK,
		.now_ahead = n->now_s + LOCAL_AHEAD_S,
		.refreshes = {[L4_TCP] = true, [L4_UDP] = dir == DIR_OUTBOUND || n->config.udp_inbound_refresh},
	};
}

/* What a session's last word must hold, by protocol: neither ending nor turned round, and of a connection both ends were
 * heard, and neither's end. */
enum { STEADY_FLAGS = SESSION_DYING | SESSION_HAIRPIN };
enum { TCP_ENDS = TCP_RST | TCP_OUT_FIN | TCP_IN_FIN, TCP_HEARD = TCP_OUT_DATA | TCP_IN_DATA };

static const struct {
	uint32_t care, want;
} steady[] = {
	[L4_TCP] = {SESSION_STATE(UINT8_MAX, STEADY_FLAGS, TCP_ENDS | TCP_HEARD), SESSION_STATE(L4_TCP, 0, TCP_HEARD)},
	[L4_UDP] = {SESSION_STATE(UINT8_MAX, STEADY_FLAGS, 0), SESSION_STATE(L4_UDP, 0, 0)},
};

static inline bool is_steady(uint32_t state, enum l4 l4)
{
	return ((state ^ steady[l4].want) & steady[l4].care) == 0;
}

/* Reads the adjacency; false when it is another generation's, or has no answer yet. */
static inline bool take_hop(struct straight *h, uint32_t hop, enum dir dir)
{
	const enum side side = dir == DIR_OUTBOUND ? SIDE_OUTSIDE : SIDE_INSIDE;
	uint32_t index = hop >> 16;

	if ((uint16_t)hop != (uint16_t)h->nat->fib.generation || index == ADJACENCY_NONE)
		return false;
	h->link = nexthop_read(h->nat->nexthop, index);
	h->hop = h->link.state == ADJACENCY_RESOLVED && h->link.side == side && (dir == DIR_INBOUND || !h->link.vlan)
			 ? hop
			 : 0;
	if (h->hop)
		nexthop_use(&h->nat->nexthop->adjacency[index]);
	return h->hop != 0;
}

/* Addresses, port, TTL, identification; each checksum is written once. */
static inline void rewrite_plain(
	struct nat *n, struct plain_headers *to, const struct flow *f, const struct session *s, enum dir dir)
{
	uint32_t delta = CSUM_DELTA_TTL + delta_in(dir, s->l3_delta);

	if (dir == DIR_OUTBOUND) {
		to->ip.src = s->nat;
		to->tcp.src = s->nat_port;
		delta += renumber(n, &to->ip, session_key(s, DIR_INBOUND).a);
	} else {
		to->ip.dst = s->inside;
		to->tcp.dst = s->inside_port;
	}
	to->ip.ttl--;
	to->ip.checksum = csum_apply(to->ip.checksum, delta);
	rewrite_l4_checksum(f->l4, (uint8_t *)&to->tcp + f->checksum_at, delta_in(dir, s->l4_delta));
}

/* By the session's next hop: what that takes is at hand, and the packet fits. */
static inline bool finds_link(struct straight *h, const struct flow *f, const struct session *s, enum dir dir)
{
	uint32_t hop = atomic_load_explicit(&s->next_hop[dir], memory_order_relaxed);

	return (hop == h->hop || take_hop(h, hop, dir)) && f->size <= h->link.mtu;
}

static inline void leave(
	const struct straight *h, struct packet *p, const struct flow *f, const struct session *s, enum dir dir)
{
	struct plain_headers *frame = (struct plain_headers *)p->data;

	rewrite_plain(h->nat, frame, f, s, dir);
	memcpy(&frame->eth, &h->link, sizeof h->link.dst + sizeof h->link.src);
	p->out = dir == DIR_OUTBOUND ? SIDE_OUTSIDE : SIDE_INSIDE;
	p->verdict = dir == DIR_OUTBOUND ? VERDICT_fwd_out_hit : VERDICT_fwd_in_hit;
	p->forward = 1;
	p->waited = 0;
	p->vlan = dir == DIR_OUTBOUND ? 0 : h->link.vlan;
	p->mtu = 0;
}

/* True: the packet is on its way. */
static inline __attribute__((always_inline)) bool nat_hit(
	struct straight *h, struct packet *p, const struct flow *f, const struct local_found *found, enum dir dir)
{
	uint64_t e = atomic_load_explicit(found->place, memory_order_relaxed);
	struct session *s = found->session;

	if (e != found->entry) /* let go by a packet before it, and perhaps somebody else's by now: not to be read */
		return false;
	uint32_t state = atomic_load_explicit(&s->state, memory_order_acquire);

	if (!flow_key_equal(session_key(s, dir), f->key) || !is_steady(state, f->l4) ||
		!local_fresh(e, h->now_ahead, h->timeout_s[local_class(e)]))
		return false;
	uint32_t life = atomic_load_explicit(&s->life, memory_order_relaxed);
	if ((life & LIFE_UNANSWERED) && (dir == DIR_OUTBOUND || h->refreshes[f->l4]))
		return false;
	if (!finds_link(h, f, s, dir))
		return false;
	uint64_t seen = local_seen(e, life & LIFE_TIMEOUT_MASK, h->now_s);
	if (seen != e && (dir == DIR_OUTBOUND || h->refreshes[f->l4]))
		atomic_store_explicit(found->place, seen, memory_order_release);
	if (dir == DIR_OUTBOUND && f->l4 == L4_TCP)
		tcp_mark(s, &((struct plain_headers *)p->data)->tcp);
	leave(h, p, f, s, dir);
	return true;
}

/* The same of the packet that has just made its session, to the outside: nothing is to be asked that a session could have
 * come to since. A connection's is no plain one. */
static inline bool nat_leave_first(struct straight *h, struct packet *p, const struct flow *f, const struct session *s)
{
	if (!f->plain || f->l4 != L4_UDP || session_has(s, SESSION_HAIRPIN) || !finds_link(h, f, s, DIR_OUTBOUND))
		return false;
	leave(h, p, f, s, DIR_OUTBOUND);
	return true;
}

#endif
