/* ICMP errors: those that pass are translated with what they quote (RFC 5508 §4), and what is refused here is answered. */
#include "pe/nat_internal.h"

#include "common/csum.h"
#include "pe/icmp_error.h"
#include "pe/quoted.h"

#include <string.h>

/* ---- any engine's session, to read ---- */

/* True: `out` is that session, which lived from first to last. */
static bool copy_if_lives(const struct session *s, struct session *out)
{
	uint32_t generation = atomic_load_explicit(&s->generation, memory_order_acquire);

	nat_copy_changing(out, s);
	atomic_thread_fence(memory_order_acquire);
	return (generation & 1) && !session_has(s, SESSION_DYING) &&
	       atomic_load_explicit(&s->generation, memory_order_relaxed) == generation;
}

static bool copy_if(const struct nat *n, uint32_t index, enum dir dir, struct flow_key key, struct session *out)
{
	return copy_if_lives(session_at(n->arena, index), out) && flow_key_equal(session_key(out, dir), key);
}

static uint32_t find_in(const struct nat *n, const struct local_table *t, enum dir dir, struct flow_key key,
	uint64_t hash, struct session *out, local_place *place)
{
	unsigned cursor = 0;

	while ((*place = local_next(t, hash, &cursor))) {
		uint32_t index = local_index(atomic_load_explicit(*place, memory_order_acquire));

		if (slab_valid(n->arena, SLAB_session, index) && copy_if(n, index, dir, key, out))
			return index;
	}
	return 0;
}

uint32_t nat_find_in_tables(
	const struct nat *n, enum dir dir, struct flow_key key, struct session *out, local_place *place)
{
	uint64_t hash = flow_key_hash(key, n->seed);
	uint32_t index = find_in(n, &n->local[dir], dir, key, hash, out, place);

	for (unsigned e = 0; !index && e < n->arena->header->geometry.engines; e++) {
		struct local_table t = local_table_of(n->arena, e, dir);

		index = find_in(n, &t, dir, key, hash, out, place);
	}
	return index;
}

static uint32_t find_global(struct nat *n, enum dir dir, struct flow_key key, uint64_t hash, struct session *out)
{
	struct global_pair pair = global_pair_of(&n->sessions, hash);
	unsigned cursor = 0;
	uint32_t index;

	if (!global_may_have(&n->sessions, &pair) || !global_lock_pair(&n->sessions, &pair))
		return 0;
	while ((index = global_next(&n->sessions, &pair, &cursor)))
		if (copy_if(n, index, dir, key, out))
			break;
	global_unlock(&n->sessions, &pair);
	return index;
}

uint32_t nat_find_anywhere(struct nat *n, enum dir dir, struct flow_key key, struct session *out)
{
	local_place place;
	uint32_t index = nat_find_in_tables(n, dir, key, out, &place);

	return index ? index : find_global(n, dir, key, flow_key_hash(key, n->seed), out);
}

/* The session of the datagram that a quoted later fragment is of, while it is remembered (nat_fragment.c). */
static uint32_t find_by_fragment(
	const struct nat *n, const struct packet *p, const struct quoted *q, struct session *out)
{
	const struct fragment_key key = {.src = q->src,
		.dst = q->dst,
		.id = q->id,
		.protocol = q->protocol,
		.dir = (uint8_t)(FRAGMENT_LEAVES + dir_reverse((enum dir)q->dir)),
		.realm = q->dir == DIR_OUTBOUND ? p->vlan : 0};
	struct fragment word;

	if (!fragments_get(&n->fragments, &key, n->now, &word) || !slab_valid(n->arena, SLAB_session, word.session))
		return 0;
	bool same = copy_if_lives(session_at(n->arena, word.session), out) && out->generation == word.generation;

	return same ? word.session : 0;
}

static uint32_t find_quoted(struct nat *n, const struct packet *p, const struct quoted *q, struct session *out)
{
	return q->later_fragment ? find_by_fragment(n, p, q, out) : nat_find_anywhere(n, (enum dir)q->dir, q->key, out);
}

/* ---- errors that pass ---- */

/* Who the error is for now, and from. One that comes from the inside is sent in the name of the mapping (RFC 5508
 * REQ-5); one from outside keeps its source: a router between, or the remote itself. */
static void rewrite(struct packet *p, const struct quoted *q, const struct session *s)
{
	const struct ip4_header *ip = flow_ip4(p);

	if (q->dir == DIR_INBOUND)
		quoted_rewrite(p, q, ip->src, s->inside, s->inside, s->inside_port);
	else
		quoted_rewrite(p, q, s->nat, ip->dst, s->nat, s->nat_port);
}

static enum verdict pass_as(struct nat *n, struct packet *p, enum side side);

/* About a packet that was turned round: back in through the session of the other one inside. */
static enum verdict turn_round(struct nat *n, struct packet *p, const struct quoted *q, const struct session *s)
{
	uint8_t before[ICMP_ERROR_ROOM];
	uint32_t size = p->len < sizeof before ? p->len : sizeof before;

	memcpy(before, p->data, size);
	rewrite(p, q, s);
	enum verdict verdict = pass_as(n, p, SIDE_OUTSIDE);
	if (!p->forward)
		memcpy(p->data, before, size);
	return verdict;
}

/* Neither refreshes nor ends anything (RFC 5508 REQ-6, RFC 4787 REQ-12). */
static enum verdict pass_as(struct nat *n, struct packet *p, enum side side)
{
	static const enum verdict passed[N_DIRS] = {VERDICT_fwd_out_error, VERDICT_fwd_in_error};
	enum side received = p->side;
	struct session s;
	struct quoted q;

	p->side = side;
	enum verdict refused = quoted_parse(&q, p);
	p->side = received;
	if (refused != N_VERDICTS)
		return refused;
	if (!find_quoted(n, p, &q, &s))
		return nat_bypass_error(n, p, &q);
	if (q.dir == DIR_OUTBOUND && flow_ip4(p)->dst.net != q.src.net) /* told to somebody it is not about */
		return VERDICT_drop_no_session;
	if (q.dir == DIR_OUTBOUND && nat_is_pool_address(n, flow_ip4(p)->dst))
		return turn_round(n, p, &q, &s);
	struct link_header link;
	refused = nat_link_to(n, q.dir, s.realm, q.dir == DIR_OUTBOUND ? flow_ip4(p)->dst : s.inside, &link);
	if (refused != N_VERDICTS)
		return refused;
	rewrite(p, &q, &s);
	nat_onto_link(p, &link);
	return passed[q.dir];
}

enum verdict nat_pass_error(struct nat *n, struct packet *p)
{
	return n->configured ? pass_as(n, p, p->side) : VERDICT_drop_no_config;
}

/* ---- errors of our own ---- */

/* What a refused packet's sender is told. Code REFUSAL is what the configuration says (RFC 6888 REQ-11, RFC 5508 REQ-8). */
enum { REFUSAL = 255 };

static const struct answer {
	uint8_t type, code;
	bool inside_only; /* what comes from the outside learns nothing of it */
} answers[N_VERDICTS] = {
	[VERDICT_drop_ttl] = {ICMP_TYPE_TIME_EXCEEDED, 0, false},
	[VERDICT_drop_too_big] = {ICMP_TYPE_UNREACHABLE, ICMP_CODE_TOO_BIG, false},
	[VERDICT_drop_syn_unanswered] = {ICMP_TYPE_UNREACHABLE, 3, false},
	[VERDICT_drop_no_route] = {ICMP_TYPE_UNREACHABLE, 0, true},
	[VERDICT_drop_next_hop] = {ICMP_TYPE_UNREACHABLE, 1, true},
	[VERDICT_drop_protocol] = {ICMP_TYPE_UNREACHABLE, 2, true},
	[VERDICT_drop_rule] = {ICMP_TYPE_UNREACHABLE, REFUSAL, true},
	[VERDICT_drop_no_port] = {ICMP_TYPE_UNREACHABLE, REFUSAL, true},
	[VERDICT_drop_block_limit] = {ICMP_TYPE_UNREACHABLE, REFUSAL, true},
	[VERDICT_drop_no_block] = {ICMP_TYPE_UNREACHABLE, REFUSAL, true},
	[VERDICT_drop_draining] = {ICMP_TYPE_UNREACHABLE, REFUSAL, true},
	[VERDICT_drop_limit_sessions] = {ICMP_TYPE_UNREACHABLE, REFUSAL, true},
	[VERDICT_drop_limit_tcp_ports] = {ICMP_TYPE_UNREACHABLE, REFUSAL, true},
	[VERDICT_drop_limit_udp_ports] = {ICMP_TYPE_UNREACHABLE, REFUSAL, true},
	[VERDICT_drop_limit_icmp] = {ICMP_TYPE_UNREACHABLE, REFUSAL, true},
	[VERDICT_drop_limit_memory] = {ICMP_TYPE_UNREACHABLE, REFUSAL, true},
	[VERDICT_drop_limit_rate] = {ICMP_TYPE_UNREACHABLE, REFUSAL, true},
	[VERDICT_drop_no_memory] = {ICMP_TYPE_UNREACHABLE, REFUSAL, true},
	[VERDICT_drop_table_full] = {ICMP_TYPE_UNREACHABLE, REFUSAL, true},
};

/* The appliance's address on that side; where it has none, one that the sender knows to be behind it. */
static be32_t answer_from(const struct nat *n, const struct packet *p)
{
	be32_t own = n->own[p->side][p->vlan];

	if (own.net)
		return own;
	return p->side == SIDE_OUTSIDE ? flow_ip4(p)->dst : n->config.addresses[0].address;
}

static enum icmp_kind kind_of(enum verdict why)
{
	return why == VERDICT_drop_too_big ? ICMP_TOO_BIG : why == VERDICT_drop_ttl ? ICMP_TOO_FAR : ICMP_REFUSED;
}

/* Of a budget nobody inside gets more than a quarter, or a few, while others want some: senders have shares by their address. */
static bool may_send(struct nat *n, const struct packet *p)
{
	uint32_t rate = n->config.icmp_rate, few = rate < ICMP_FEW ? rate : ICMP_FEW;
	uint32_t share = rate / 4 < few ? few : rate / 4;
	uint32_t at = (flow_ip4(p)->src.net * 0x9e3779b1u) / (uint32_t)((1ull << 32) / ICMP_SHARES);

	if (p->side == SIDE_INSIDE && !icmp_budget_take(&n->icmp_share[at], share, n->now))
		return false;
	return icmp_budget_take(&n->icmp_budget[p->side][kind_of((enum verdict)p->verdict)], rate, n->now);
}

void nat_answer(struct nat *n, struct packet *p)
{
	static const uint8_t refusal_code[] = {[REFUSAL_HOST_UNREACHABLE] = 1, [REFUSAL_PROHIBITED] = 13};
	const struct answer *a = &answers[p->verdict];
	uint8_t code = a->code;

	if (!a->type || !n->configured || !n->config.n_addresses || (a->inside_only && p->side == SIDE_OUTSIDE))
		return;
	if ((code == REFUSAL || p->verdict == VERDICT_drop_protocol) && n->config.refusal == REFUSAL_OFF)
		return;
	if (code == REFUSAL)
		code = refusal_code[n->config.refusal];
	if (!may_send(n, p)) {
		nat_counter(n, COUNTER_icmp_withheld, 1);
		return;
	}
	if (icmp_error_make(p, a->type, code, p->mtu, answer_from(n, p)))
		nat_counter(n, COUNTER_icmp_sent, 1);
}
