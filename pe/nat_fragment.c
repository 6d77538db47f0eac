/* Fragments (RFC 4787 REQ-14): the first one has the ports and decides; what it decided waits in the arena for the others,
 * whichever engine they land on, and those that come before it wait in their engine. */
#include "pe/nat_internal.h"

#include "common/csum.h"

#include <string.h>

static struct fragment_key key_of(const struct packet *p)
{
	const struct ip4_header *ip = flow_ip4(p);

	return (struct fragment_key){.src = ip->src,
		.dst = ip->dst,
		.id = ip->id,
		.protocol = ip->protocol,
		.dir = p->side == SIDE_INSIDE ? DIR_OUTBOUND : DIR_INBOUND,
		.realm = p->side == SIDE_INSIDE ? p->vlan : 0};
}

static bool is_first(const struct packet *p)
{
	return !(flow_ip4(p)->fragment.net & htons(IP4_FRAGMENT_MASK & ~IP4_MF));
}

/* ---- turned round ---- */

struct headers {
	unsigned size;
	uint8_t bytes[NAT_HEADERS_MAX];
};

static void save(struct headers *h, const struct packet *p)
{
	h->size = p->len < sizeof h->bytes ? p->len : sizeof h->bytes;
	memcpy(h->bytes, p->data, h->size);
}

/* A fragment to a NAT address has been rewritten on its way out, and comes in again: `pass` is first() or later(). One
 * that has to wait, or is refused, stays as it came. */
static enum verdict turn_round(struct nat *n, struct packet *p, const struct headers *before,
	enum verdict (*pass)(struct nat *, struct packet *))
{
	enum side side = p->side;

	p->side = SIDE_OUTSIDE;
	enum verdict verdict = pass(n, p);
	p->side = side;
	if (p->forward)
		return VERDICT_fwd_hairpin;
	memcpy(p->data, before->bytes, before->size);
	return verdict;
}

/* ---- the first ---- */

/* The session of a first fragment: this engine's, any engine's whole packets having landed there, or a new one. */
static uint32_t session_for(
	struct nat *n, const struct packet *p, const struct flow *f, struct session *copy, enum verdict *verdict)
{
	struct nat *host = n;
	local_place place = nat_find_hosted(&host, f);
	uint32_t index = 0;

	*verdict = f->dir == DIR_OUTBOUND ? VERDICT_fwd_out_hit : VERDICT_fwd_in_hit;
	if (!place) {
		index = nat_find_in_tables(n, f->dir, f->key, copy, &place);
		if (index) {
			nat_mark(n, p, f, place, index, copy->generation);
			return index;
		}
		*verdict = VERDICT_drop_fragment;
		if (f->tcp & (TCP_OUT_SYN | TCP_IN_SYN)) /* nobody cuts those but to deceive */
			return 0;
		n->of_fragment = true;
		place = nat_first_packet(n, f, verdict);
		n->of_fragment = false;
		if (!place)
			return 0;
	}
	nat_touch(host, p, f, place);
	index = local_index(atomic_load_explicit(place, memory_order_relaxed));
	nat_copy_fixed(copy, session_at(n->arena, index));
	return index;
}

static uint64_t pair_of(const struct nat *n, const struct fragment_key *key)
{
	return fragment_pair_hash(key->src, key->dst, key->realm, n->seed);
}

bool nat_fragment_is_known(const struct nat *n, const struct packet *p)
{
	struct fragment_key key = key_of(p);

	return fragment_pair_is_known(&n->fragment_pairs, pair_of(n, &key));
}

/* Strangers are not: whom a filter lets in may have made up its address. */
static void note_pair(struct nat *n, const struct fragment_key *key, uint32_t index)
{
	if (key->dir == DIR_OUTBOUND || (index && !nat_counts_unanswered(session_at(n->arena, index))))
		fragment_pair_note(&n->fragment_pairs, pair_of(n, key), n->now_s);
}

/* What replaces their source or destination; no session: nothing is replaced. And whose they are, for errors about them.
 * The packet is as it leaves. */
static void leave_word(
	struct nat *n, const struct fragment_key *key, uint32_t index, const struct session *s, const struct packet *p)
{
	const struct ip4_header *ip = flow_ip4(p);
	const struct fragment word = {
		.key = *key,
		.address = key->dir == DIR_OUTBOUND ? ip->src : ip->dst,
		.session = index,
		.generation = index ? s->generation : 0,
		.id = ip->id,
		.realm = index ? s->realm : 0,
	};

	note_pair(n, key, index);
	fragments_put(&n->fragments, &word, n->now, span_s(n->config.fragment_timeout_s));
	if (!index) /* errors about what is not translated need no word */
		return;
	struct fragment leaves = word;

	leaves.key = (struct fragment_key){.src = ip->src,
		.dst = ip->dst,
		.id = ip->id,
		.protocol = ip->protocol,
		.dir = (uint8_t)(FRAGMENT_LEAVES + key->dir),
		.realm = key->dir == DIR_INBOUND ? word.realm : 0};
	fragments_put(&n->fragments, &leaves, n->now, span_s(n->config.fragment_timeout_s));
}

static enum verdict first_bypassed(struct nat *n, struct packet *p, const struct flow *f)
{
	struct fragment_key key = key_of(p);
	enum verdict verdict = nat_bypass(n, p, f);

	if (p->forward)
		leave_word(n, &key, 0, NULL, p);
	return verdict;
}

static enum verdict first(struct nat *n, struct packet *p)
{
	struct fragment_key key = key_of(p);
	struct session s;
	struct flow f;
	enum verdict verdict = flow_parse_first(&f, p);

	if (verdict != N_VERDICTS)
		return verdict;
	f.hash = flow_key_hash(f.key, n->seed);
	if (f.dir == DIR_INBOUND && nat_is_subscriber(n, 0, key.dst))
		return nat_bypasses(n, &f) ? first_bypassed(n, p, &f) : VERDICT_drop_no_session;
	uint32_t index = session_for(n, p, &f, &s, &verdict);
	if (!index)
		return verdict == VERDICT_fwd_out_bypass ? first_bypassed(n, p, &f) : verdict;
	if (f.dir == DIR_OUTBOUND && nat_is_pool_address(n, s.remote)) {
		struct headers before;

		save(&before, p);
		nat_rewrite(n, p, &f, &s);
		leave_word(n, &key, index, &s, p);
		return turn_round(n, p, &before, first);
	}
	struct link_header link;
	enum verdict refused = nat_link_to(n, f.dir, s.realm, f.dir == DIR_OUTBOUND ? s.remote : s.inside, &link);
	if (refused == N_VERDICTS)
		refused = nat_fit(p, f.size, link.mtu);
	if (refused != N_VERDICTS)
		return refused;
	nat_rewrite(n, p, &f, &s);
	leave_word(n, &key, index, &s, p);
	nat_onto_link(p, &link);
	return verdict;
}

/* ---- the others ---- */

static bool still_there(const struct nat *n, const struct fragment *word)
{
	if (word->session == 0)
		return true;
	return slab_valid(n->arena, SLAB_session, word->session) &&
	       atomic_load_explicit(&session_at(n->arena, word->session)->generation, memory_order_acquire) ==
		       word->generation;
}

static void rewrite_addresses(struct packet *p, const struct fragment *word)
{
	struct ip4_header *ip = flow_ip4(p);
	bool out = word->key.dir == DIR_OUTBOUND;
	uint16_t delta = csum_delta32(0, out ? ip->src.net : ip->dst.net, word->address.net);

	ip->checksum = csum_apply(ip->checksum, csum_delta16(delta, ip->id.net, word->id.net));
	ip->id = word->id;
	if (out)
		ip->src = word->address;
	else
		ip->dst = word->address;
}

static enum verdict later(struct nat *n, struct packet *p)
{
	static const enum verdict hit[N_DIRS] = {VERDICT_fwd_out_hit, VERDICT_fwd_in_hit};
	static const enum verdict bypassed[N_DIRS] = {VERDICT_fwd_out_bypass, VERDICT_fwd_in_bypass};
	struct fragment_key key = key_of(p);
	struct fragment word;
	struct link_header link;

	if (!fragments_get(&n->fragments, &key, n->now, &word) || !still_there(n, &word))
		return p->waited ? VERDICT_drop_fragment_timeout : VERDICT_held_fragment;
	if (key.dir == DIR_OUTBOUND && nat_is_pool_address(n, key.dst)) {
		struct headers before;

		save(&before, p);
		rewrite_addresses(p, &word);
		return turn_round(n, p, &before, later);
	}
	enum verdict refused =
		nat_link_to(n, key.dir, word.realm, key.dir == DIR_OUTBOUND ? flow_ip4(p)->dst : word.address, &link);
	if (refused == N_VERDICTS)
		refused = nat_fit(p, be16_host(flow_ip4(p)->total_size), link.mtu);
	if (refused != N_VERDICTS)
		return refused;
	rewrite_addresses(p, &word);
	nat_onto_link(p, &link);
	return word.session ? hit[key.dir] : bypassed[key.dir];
}

enum verdict nat_fragment(struct nat *n, struct packet *p)
{
	if (!n->configured || !n->config.n_addresses)
		return VERDICT_drop_no_config;
	if (flow_ip4(p)->ttl <= 1)
		return VERDICT_drop_ttl;
	if (p->side == SIDE_INSIDE && !nat_is_subscriber(n, p->vlan, flow_ip4(p)->src))
		return VERDICT_drop_not_subscriber;
	return is_first(p) ? first(n, p) : later(n, p);
}
