/* Looking ahead: what the first packets of a burst are going to touch is fetched before the first of them is handled, so
 * that their cache misses overlap. Hints only: nothing is taken, written or decided here. */
#include "pe/nat_internal.h"
#include "pe/nat_ports.h"

#include <string.h>

/* What is known of a session to come. */
struct prospect {
	struct session s;
	bool outbound;
	const struct snapshot_rule *rule;
};

static void fetch_line(const void *p)
{
	__builtin_prefetch(p, 1);
}

static void fetch_global(const struct nat *n, const struct global_table *t, struct flow_key key)
{
	struct global_pair pair = global_pair_of(t, flow_key_hash(key, n->seed));

	fetch_line(&t->bucket[pair.first]);
	fetch_line(&t->bucket[pair.second]);
}

/* The mapping's buckets. */
static void look(struct nat *n, struct flow *f, struct prospect *x)
{
	x->outbound = f->dir == DIR_OUTBOUND && n->config.n_addresses != 0;
	fetch_global(n, &n->sessions, f->key);
	if (!x->outbound)
		return;
	f->draw = nat_random(n);
	x->s = (struct session){.l4 = f->l4, .realm = flow_realm(f)};
	memcpy(&x->s.inside, &f->key.a, sizeof f->key.a);
	memcpy(&x->s.inside_port, &f->key.b, 2 * sizeof(be16_t));
	x->rule = nat_rule_for(n, &x->s);
	x->s.birth = birth_of(n->now_s, nat_behaviour_for(x->rule));
	fetch_global(n, &n->mappings, mapping_key(&x->s));
	local_prefetch(
		&n->subscribers.parts, subscriber_hash(n->arena, (struct subscriber_key){x->s.inside, x->s.realm}));
}

/* Its subscriber's part: what it may have, and where it is paired. */
static void look_at_part(const struct nat *n, struct flow *f, const struct prospect *x)
{
	f->part = x->outbound ? nat_part_of(n, &x->s) : NULL;
	if (!f->part)
		return;
	fetch_line((const uint8_t *)f->part + CACHE_LINE);
	__builtin_prefetch(subscriber_at(n->arena, f->part->subscriber));
}

/* The port will most likely be the one that is free now: its filter, and where the reverse direction is entered. */
static void look_further(struct nat *n, struct flow *f, struct prospect *x)
{
	struct flow_key reverse;

	n->part = f->part; /* asked for its paired address */
	if (!x->outbound || !nat_foresee_port(n, &x->s, x->rule, f->draw))
		return;
	f->foreseen = be16_host(x->s.nat_port);
	if (session_filtering(&x->s) != ADDRESS_AND_PORT_DEPENDENT)
		fetch_global(n, &n->filters, filter_key(&x->s));
	reverse = session_key(&x->s, DIR_INBOUND);
	local_prefetch(&n->local[DIR_INBOUND], flow_key_hash(reverse, n->seed));
	if (n->config.engines > 1)
		fetch_global(n, &n->sessions, reverse);
}

void nat_foresee(struct nat *n, struct flow *flow, const unsigned *first, unsigned count)
{
	struct prospect x[BURST_MAX];

	if (!n->configured || count < 2)
		return;
	for (unsigned i = 0; i < count; i++)
		look(n, &flow[first[i]], &x[i]);
	for (unsigned i = 0; i < count; i++)
		look_at_part(n, &flow[first[i]], &x[i]);
	for (unsigned i = 0; i < count; i++)
		look_further(n, &flow[first[i]], &x[i]);
}
