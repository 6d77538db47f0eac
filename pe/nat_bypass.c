/* Packets that a rule exempts from translation (RFC 6888 REQ-6): routed as they are, both ways, without a session. Only
 * untagged subscribers can be exempt: addresses of a realm mean nothing outside of it, and rules are compiled so. */
#include "pe/nat_internal.h"

#include <string.h>

static const enum verdict bypassed[N_DIRS] = {VERDICT_fwd_out_bypass, VERDICT_fwd_in_bypass};

/* The flow as a session would have it, the subscriber being known outside by its own address. */
static struct session session_of(enum dir dir, struct flow_key key, enum l4 l4)
{
	unsigned inside = dir == DIR_OUTBOUND ? 0 : 1;
	be32_t address[2];
	be16_t port[2];

	memcpy(address, &key.a, sizeof address);
	memcpy(port, &key.b, sizeof port);
	return (struct session){.inside = address[inside],
		.remote = address[!inside],
		.inside_port = port[inside],
		.remote_port = port[!inside],
		.realm = (uint16_t)(key.b >> 32),
		.l4 = (uint8_t)l4};
}

static bool is_exempt(const struct nat *n, const struct session *s)
{
	return nat_is_subscriber(n, s->realm, s->inside) && !nat_is_pool_address(n, s->remote) &&
	       nat_rule_for(n, s)->action == ACTION_BYPASS && !nat_static_inside(n, s);
}

bool nat_bypasses(const struct nat *n, const struct flow *f)
{
	struct session s = session_of(f->dir, f->key, f->l4);

	return is_exempt(n, &s);
}

/* Next hop, MTU and TTL as for others. */
static enum verdict route(struct nat *n, struct packet *p, enum dir dir)
{
	struct link_header link;
	enum verdict refused = nat_link_to(n, dir, 0, flow_ip4(p)->dst, &link);

	if (refused == N_VERDICTS)
		refused = nat_fit(p, be16_host(flow_ip4(p)->total_size), link.mtu);
	if (refused != N_VERDICTS)
		return refused;
	nat_onto_link(p, &link);
	return bypassed[dir];
}

enum verdict nat_bypass(struct nat *n, struct packet *p, const struct flow *f)
{
	enum verdict verdict = route(n, p, f->dir);

	if (p->forward)
		nat_clamp_mss(n, p, f);
	return verdict;
}

/* An error's own addresses must be those of the flow, but for a router between here and the remote: else a subscriber
 * could quote itself an exemption. */
enum verdict nat_bypass_error(struct nat *n, struct packet *p, const struct quoted *q)
{
	const struct ip4_header *ip = flow_ip4(p);
	struct session s = session_of(q->dir, q->key, q->l4);
	bool ends_right = q->dir == DIR_OUTBOUND ? ip->src.net == s.inside.net && ip->dst.net == s.remote.net
						 : ip->dst.net == s.inside.net;

	return ends_right && is_exempt(n, &s) ? route(n, p, q->dir) : VERDICT_drop_no_session;
}

/* ---- what the XDP program must know ---- */

static bool prefix_holds(const struct snapshot_prefix *wide, const struct snapshot_prefix *p)
{
	return wide->len <= p->len && ((wide->addr ^ p->addr) & ~(uint32_t)(0xffffffffull >> wide->len)) == 0;
}

/* Whom the rule exempts of one subscriber prefix: it is the wider of the two, or lies within, or they have nothing in
 * common. */
static bool in_common(
	const struct snapshot_prefix *subscribers, const struct snapshot_rule *r, struct snapshot_prefix *out)
{
	struct snapshot_prefix inside = {r->realm, r->inside, (uint32_t)__builtin_popcount(r->inside_mask)};

	if (r->action != ACTION_BYPASS || subscribers->realm != r->realm)
		return false;
	*out = prefix_holds(&inside, subscribers) ? *subscribers : inside;
	return prefix_holds(subscribers, out);
}

unsigned nat_bypass_prefixes(const struct nat *n, struct snapshot_prefix out[NAT_BYPASS_PREFIXES])
{
	const struct snapshot *c = &n->config;
	unsigned found = 0;

	for (uint32_t i = 0; i < c->n_prefixes; i++) {
		bool whole = false; /* it is listed, and once is enough */

		for (uint32_t r = 0; r < c->n_rules && !whole; r++) {
			struct snapshot_prefix p;

			if (!in_common(&c->prefixes[i], &c->rules[r], &p))
				continue;
			whole = p.len == c->prefixes[i].len;
			out[found++] = p;
		}
	}
	assert(found <= NAT_BYPASS_PREFIXES);
	return found;
}
