/* Looking ahead: what the first packets of a burst are going to touch is fetched before the first of them is handled, so
 * that their cache misses overlap. Nothing is taken, written or decided here; what is found out on the way is kept for the
 * making. Fetchers are inlined come what may (local_prefetch). */
#include "pe/nat_internal.h"
#include "pe/nat_ports.h"

#include <string.h>

#define FETCHER __attribute__((always_inline)) static inline

FETCHER void fetch_line(const void *p)
{
	__builtin_prefetch(p, 1);
}

FETCHER struct global_pair fetch_global(const struct global_table *t, uint64_t hash)
{
	struct global_pair pair = global_pair_of(t, hash);

	fetch_line(&t->bucket[pair.first]);
	fetch_line(&t->bucket[pair.second]);
	return pair;
}

FETCHER uint64_t hash_of_subscriber(const struct nat *n, const struct prospect *x)
{
	return subscriber_hash(n->arena, (struct subscriber_key){x->s.inside, x->s.realm});
}

/* The mapping's buckets. */
static void look(struct nat *n, struct flow *f, struct prospect *x)
{
	x->outbound = f->dir == DIR_OUTBOUND && n->config.n_addresses != 0;
	x->sure = false;
	x->port = 0;
	x->part = NULL;
	x->sessions = fetch_global(&n->sessions, f->hash);
	f->ahead = x;
	if (!x->outbound)
		return;
	x->draw = nat_random(n);
	x->s = (struct session){.l4 = f->l4, .realm = flow_realm(f)};
	memcpy(&x->s.inside, &f->key.a, sizeof f->key.a);
	memcpy(&x->s.inside_port, &f->key.b, 2 * sizeof(be16_t));
	x->rule = nat_rule_for(n, &x->s);
	x->s.birth = birth_of(n->now_s, nat_behaviour_for(x->rule));
	x->mapping = fetch_global(&n->mappings, flow_key_hash(mapping_key(&x->s), n->seed));
	local_prefetch(&n->subscribers.parts, hash_of_subscriber(n, x));
}

/* What is most likely its subscriber's part: the first whose tag fits. */
static void look_for_part(const struct nat *n, struct prospect *x)
{
	const struct local_table *t = &n->subscribers.parts;

	if (!x->outbound)
		return;
	uint64_t hash = hash_of_subscriber(n, x);
	uint32_t bucket = local_first(t, hash);
	unsigned fits = local_match(t, bucket, local_hash_tag(hash));

	if (!fits)
		return;
	uint64_t e = atomic_load_explicit(&t->bucket[bucket].entry[__builtin_ctz(fits)], memory_order_acquire);

	x->part = part_at(n->arena, local_index(e));
	fetch_line(x->part);
	fetch_line((const uint8_t *)x->part + CACHE_LINE);
}

/* Its subscriber's part: what it may have, and where it is paired; and so the word of its port. */
static void look_at_part(struct nat *n, struct prospect *x)
{
	if (!x->outbound)
		return;
	if (!x->part || !part_is_of(x->part, (struct subscriber_key){x->s.inside, x->s.realm}) || !slab_live(x->part))
		x->part = nat_part_of(n, &x->s);
	if (x->part)
		__builtin_prefetch(subscriber_at(n->arena, x->part->subscriber));
	n->part = x->part; /* asked for its paired address */
	nat_aim_port(n, x);
}

/* The port will most likely be the one that is free now: its filter, and where the reverse direction is entered. */
static void look_further(const struct nat *n, struct prospect *x)
{
	if (!x->outbound || !nat_foresee_port(n, x))
		return;
	if (session_filtering(&x->s) != ADDRESS_AND_PORT_DEPENDENT)
		x->filter = fetch_global(&n->filters, flow_key_hash(filter_key(&x->s), n->seed));
	x->reverse = flow_key_hash(session_key(&x->s, DIR_INBOUND), n->seed);
	local_prefetch(&n->local[DIR_INBOUND], x->reverse);
	if (n->config.engines > 1)
		fetch_global(&n->sessions, x->reverse);
}

void nat_foresee(struct nat *n, struct flow *flow, const unsigned *first, unsigned count, struct prospect *x)
{
	if (!n->configured || count < 2)
		return;
	for (unsigned i = 0; i < count; i++)
		look(n, &flow[first[i]], &x[i]);
	for (unsigned i = 0; i < count; i++)
		look_for_part(n, &x[i]);
	for (unsigned i = 0; i < count; i++)
		look_at_part(n, &x[i]);
	for (unsigned i = 0; i < count; i++)
		look_further(n, &x[i]);
}
