/* Looking ahead: what the first packets of a burst are going to touch is fetched before the first of them is handled, so
 * that their cache misses overlap. Nothing is taken, written or decided here; what is found out on the way is kept for the
 * making. Fetchers are inlined come what may (local_prefetch). */
#include "pe/nat_ports.h"
#include "pe/nat_rewrite.h"
#include "shm/global_inline.h"

#include <string.h>

#define FETCHER __attribute__((always_inline)) static inline

/* What consecutive packets have in common, mostly: looked at first. */
struct run {
	const struct snapshot_prefix *prefix; /* that holds the inside address; NULL: not yet known */
	const struct route *route;            /* by a gateway; NULL: not yet known */
	uint32_t hop;                         /* session.next_hop for it */
	uint64_t back, back_size;             /* places of the inside for which `hop_back` is known */
	uint32_t hop_back;                    /* session.next_hop for them; 0: not by a gateway that is known */
	uint8_t epoch;                        /* of ports that rest */
	bool plain;                           /* the configuration has nothing that makes sessions odd */
};

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

/* ---- is anything odd about it ---- */

static inline bool is_from_subscriber(const struct nat *n, struct run *run, const struct session *s)
{
	if (run->prefix && nat_prefix_has(run->prefix, s->realm, s->inside))
		return true;
	run->prefix = nat_prefix_of(n, s->realm, s->inside);
	return run->prefix != NULL;
}

/* A next hop that is known; false: it is to be asked for, or there is none. */
static inline bool find_hop(struct nat *n, struct run *run, const struct session *s, uint32_t *word)
{
	const struct route *r = fib_find_near(&n->fib, 0, be32_host(s->remote), &n->near[DIR_OUTBOUND].interval);

	if (!run->route || r != run->route) {
		uint32_t hop = nat_known_hop(n, DIR_OUTBOUND, s->realm, s->remote);

		if (hop == ADJACENCY_NONE)
			return false;
		run->hop = nat_hop_word(n, hop);
		run->route = r && r->kind == ROUTE_GATEWAY ? r : NULL;
	}
	*word = run->hop;
	return true;
}

/* The way to the inside, for all places of one interval of the routes. */
static void look_up_way_back(struct nat *n, struct run *run, const struct session *s)
{
	uint32_t *near = &n->near[DIR_INBOUND].interval, hop = ADJACENCY_NONE;
	const struct route *r = fib_find_near(&n->fib, s->realm, be32_host(s->inside), near);

	if (r && r->kind == ROUTE_GATEWAY)
		hop = nat_known_hop(n, DIR_INBOUND, s->realm, s->inside);
	run->hop_back = hop == ADJACENCY_NONE ? 0 : nat_hop_word(n, hop);
	run->back = n->fib.n ? n->fib.interval[*near].first : 0;
	run->back_size = *near + 1 < n->fib.n ? n->fib.interval[*near + 1].first - run->back : UINT64_MAX;
}

/* Behind a gateway it is the same for all, and the first reply goes the straight path like those to come; 0: nothing is known of
 * it, and the first reply finds it out. */
static inline uint32_t find_hop_back(struct nat *n, struct run *run, const struct session *s)
{
	uint64_t place = (uint64_t)s->realm << 32 | be32_host(s->inside);

	if (place - run->back >= run->back_size)
		look_up_way_back(n, run, s);
	return run->hop_back;
}

static inline bool rule_is_plain(const struct snapshot_rule *r)
{
	return r->action == ACTION_TRANSLATE && (r->ports == PORTS_SHUFFLED || r->ports == PORTS_ORDERED);
}

/* Where the mapping of the other inside port of its pair is, if there is one (nat_bind.c, endpoint_beside). */
FETCHER void look_for_neighbour(const struct nat *n, struct prospect *x)
{
	struct session other = x->s;

	other.inside_port = be16_of(be16_host(other.inside_port) ^ 1);
	x->neighbour = fetch_global(&n->mappings, flow_key_hash(mapping_key_of(x->rule->mapping, &other), n->seed));
	x->paired = true;
}

/* By options that make some sessions odd: it has a static mapping, or its port is of a range of its own. */
__attribute__((noinline)) static bool is_special(const struct nat *n, struct prospect *x)
{
	const struct session *s = &x->s;

	if (n->config.preserve_parity && s->l4 == L4_UDP && x->rule->mapping == ENDPOINT_INDEPENDENT)
		look_for_neighbour(n, x);
	return (n->config.preserve_range && be16_host(s->inside_port) < LOW_PORTS) ||
	       (nat_may_be_static(n, s) && nat_static_inside(n, s));
}

/* All that can be told before its part and its port are looked at. Fills in what the session has of it. */
static inline bool is_clear(struct nat *n, struct run *run, const struct flow *f, struct prospect *x)
{
	uint32_t hop;

	if ((!run->plain && is_special(n, x)) || !f->opens || (f->l4 != L4_TCP && f->l4 != L4_UDP) ||
		!rule_is_plain(x->rule) || !is_from_subscriber(n, run, &x->s) || nat_is_pool_address(n, x->s.remote) ||
		!find_hop(n, run, &x->s, &hop))
		return false;
	x->s.owner = (uint8_t)n->engine;
	atomic_init(&x->s.tcp, f->tcp);
	atomic_init(&x->s.life, life_of(nat_timeout_of(x->rule, f->l4)));
	atomic_init(&x->s.next_hop[DIR_OUTBOUND], hop);
	atomic_init(&x->s.next_hop[DIR_INBOUND], find_hop_back(n, run, &x->s));
	return true;
}

/* ---- stages ---- */

/* The mapping's buckets. */
FETCHER void look(struct nat *n, struct run *run, struct flow *f, struct prospect *x)
{
	x->outbound = f->dir == DIR_OUTBOUND && n->config.n_addresses != 0;
	x->sure = false;
	x->clear = false;
	x->paired = false;
	x->epoch = run->epoch;
	x->port.port = 0;
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
	x->s.birth = birth_of(n->now_s, behaviour_of(x->rule->mapping, x->rule->filtering));
	x->mapping = fetch_global(&n->mappings, flow_key_hash(mapping_key_of(x->rule->mapping, &x->s), n->seed));
	x->subscriber = subscriber_hash(n->arena, (struct subscriber_key){x->s.inside, x->s.realm});
	local_prefetch(&n->subscribers.parts, x->subscriber);
	x->clear = is_clear(n, run, f, x);
}

/* What is most likely its subscriber's part: the first whose tag fits. */
FETCHER void look_for_part(const struct nat *n, struct prospect *x)
{
	const struct local_table *t = &n->subscribers.parts;

	if (!x->outbound)
		return;
	uint32_t bucket = local_first(t, x->subscriber);
	unsigned fits = local_match(t, bucket, local_hash_tag(x->subscriber));

	if (!fits)
		return;
	uint64_t e = atomic_load_explicit(&t->bucket[bucket].entry[__builtin_ctz(fits)], memory_order_acquire);

	x->part = part_at(n->arena, local_index(e));
	fetch_line(x->part);
	fetch_line((const uint8_t *)x->part + CACHE_LINE);
}

/* Its subscriber's part: what it may have, and where it is paired; and so the word of its port. */
FETCHER void look_at_part(struct nat *n, struct prospect *x)
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

/* Whether its replies land on another engine; the wish for a port has hashed all but that. */
static inline bool reply_is_away(const struct nat *n, const struct prospect *x)
{
	const struct steering *s = &n->steering[SIDE_OUTSIDE];
	const struct session *o = &x->s;

	if (n->single)
		return false;
	if (x->wish.by_port)
		return s->table[(x->wish.hash ^ toeplitz_ports(&s->hash, (be16_t){0}, o->nat_port)) & s->mask] !=
		       n->engine;
	return steering_engine(s, o->l4 == L4_TCP ? PROTO_TCP : PROTO_UDP, o->remote, o->nat, o->remote_port,
		       o->nat_port) != n->engine;
}

/* The port will most likely be the one that is free now. False: none is known. */
static inline bool foresee_port(const struct nat *n, const struct run *run, struct prospect *x)
{
	if (!x->view)
		return false;
	uint32_t barred =
		x->aim.chunk < 0 ? 0 : nat_static_ports(n, x->address, (enum l4)x->s.l4, (unsigned)x->aim.chunk);

	x->port = port_peek(x->aim, x->table, x->rules, port_set_of(x->s.l4), &x->wish, run->epoch, barred);
	x->s.nat = n->config.addresses[x->address].address;
	x->s.nat_port = be16_of(x->port.port);
	return x->port.port != 0;
}

/* With the port: its filter, and where the reverse direction is entered. */
FETCHER void look_further(const struct nat *n, const struct run *run, struct prospect *x)
{
	bool away;

	if (!x->outbound || !foresee_port(n, run, x)) {
		x->clear = false;
		return;
	}
	if (x->rule->filtering != ADDRESS_AND_PORT_DEPENDENT) {
		struct flow_key key = filter_key_of(
			x->rule->filtering, x->s.remote, x->s.remote_port, x->s.nat, x->s.nat_port, x->s.l4);

		x->filter = global_pair_of(&n->filters, flow_key_hash(key, n->seed));
		fetch_line(&n->filters.bucket[x->filter.home]);
	}
	x->reverse = flow_key_hash(session_key(&x->s, DIR_INBOUND), n->seed);
	x->clear = x->clear && x->sure && x->part && !n->config.addresses[x->address].older[0];
	away = reply_is_away(n, x);
	if (away)
		fetch_global(&n->sessions, x->reverse);
	else
		local_prefetch(&n->local[DIR_INBOUND], x->reverse);
	if (!x->clear)
		return;
	nat_deltas(&x->s);
	atomic_init(&x->s.flags, away ? SESSION_AWAY : 0);
}

/* Whether tables are so full that buckets are: as far as can be told by this engine's. */
static bool is_crowded(const struct nat *n)
{
	return n->actor->slab[SLAB_session].used > (uint64_t)n->local[DIR_OUTBOUND].n * LOCAL_ENTRIES * 5 / 8;
}

/* Then what is full of the buckets that are fetched by now needs others. */
FETCHER void look_for_other(const struct nat *n, const struct flow *f, const struct prospect *x)
{
	if (!x->clear)
		return;
	global_fetch_room(&n->mappings, &x->mapping);
	local_fetch_room(&n->local[DIR_OUTBOUND], f->hash);
	local_fetch_other(&n->local[DIR_INBOUND], x->reverse);
	if (x->rule->filtering != ADDRESS_AND_PORT_DEPENDENT && !global_empty(&n->filters, x->filter.home))
		fetch_line(&n->filters.bucket[x->filter.first ^ x->filter.second ^ x->filter.home]);
}

FETCHER void look_for_room(const struct nat *n, const struct prospect *x)
{
	if (!x->clear)
		return;
	local_fetch_room(&n->local[DIR_INBOUND], x->reverse);
	if (x->rule->filtering != ADDRESS_AND_PORT_DEPENDENT && !global_empty(&n->filters, x->filter.home))
		global_fetch_room(&n->filters, &x->filter);
}

void nat_foresee(struct nat *n, struct flow *flow, const unsigned *first, unsigned count, struct prospect *x)
{
	struct run run = {.epoch = port_epoch(n->config.hold_s, n->now_s),
		.plain = n->config.n_static == 0 && !n->config.preserve_parity && !n->config.preserve_range};

	if (!n->configured)
		return;
	for (unsigned i = 0; i < count; i++)
		look(n, &run, &flow[first[i]], &x[i]);
	for (unsigned i = 0; i < count; i++)
		look_for_part(n, &x[i]);
	for (unsigned i = 0; i < count; i++)
		look_at_part(n, &x[i]);
	for (unsigned i = 0; i < count; i++)
		look_further(n, &run, &x[i]);
	if (!is_crowded(n))
		return;
	for (unsigned i = 0; i < count; i++)
		look_for_other(n, &flow[first[i]], &x[i]);
	for (unsigned i = 0; i < count; i++)
		look_for_room(n, &x[i]);
}
