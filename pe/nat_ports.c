/* NAT addresses and their ports: which address a mapping gets, which port, and how it is given back. */
#include "pe/nat_ports.h"
#include "pe/nat_internal.h"
#include "shm/blocks.h"

#include <stdlib.h>
#include <string.h>

enum { WAKE_WORDS = 8 }; /* of resting ports, per turn */

/* ---- what the configuration says ---- */

static int by_host(const void *x, const void *y)
{
	const struct nat_address *a = x, *b = y;

	return (a->host > b->host) - (a->host < b->host);
}

static bool is_reserved(const struct snapshot *c, uint32_t port)
{
	for (uint32_t i = 0; i < c->n_reserved; i++)
		if (port >= c->reserved[i].first && port <= c->reserved[i].last)
			return true;
	return false;
}

/* Ports below LOW_PORTS are given only to inside ports below it, and have chunks of their own; 0 never. */
static bool is_allowed(const struct snapshot *c, uint32_t port, bool low_chunk)
{
	if ((port < LOW_PORTS) != low_chunk || port == 0 || is_reserved(c, port))
		return false;
	if (low_chunk && c->preserve_range)
		return true;
	return port >= c->port_first && port <= c->port_last;
}

static void allow(struct port_rules *r, const struct snapshot *c)
{
	for (unsigned chunk = 0; chunk < N_CHUNKS; chunk++) {
		r->allowed[chunk] = 0;
		for (unsigned place = 0; place < CHUNK_PORTS; place++) {
			struct port_place p = {(uint16_t)chunk, (uint8_t)place};

			if (is_allowed(c, port_of_place(&r->order, p), chunk >= ORDER_CHUNKS))
				r->allowed[chunk] |= (uint16_t)(1u << place);
		}
	}
}

/* Where blocks are made, engines hold no chunk that they do not use. */
static bool makes_blocks(const struct snapshot *c)
{
	for (uint32_t i = 0; i < c->n_rules; i++)
		if (c->rules[i].ports == PORTS_BLOCKS || c->pools[c->rules[i].pool].overflow)
			return true;
	return false;
}

static void make_rules(struct nat *n, unsigned order)
{
	struct port_rules *r = &n->ports[order];
	const struct snapshot *c = &n->config;

	port_order_of(&r->order, &c->basis[order]);
	port_homes_of(&r->homes, &r->order, &n->steering[SIDE_OUTSIDE], n->engine);
	allow(r, c);
	r->engines = c->engines;
	r->engine = n->engine;
	port_deal(r, order == PORT_ORDER_PLAIN && makes_blocks(c) ? 0 : c->own_share_percent);
	r->hold_s = c->hold_s;
	r->hold_percent = c->hold_percent;
	r->version++;
}

static uint16_t order_of_address(const struct snapshot *c, uint32_t index)
{
	uint32_t pool = 0;

	while (pool + 1 < c->n_pools && index >= c->pools[pool + 1].first)
		pool++;
	return (uint16_t)c->pools[pool].order;
}

/* What is kept of an address that stays. */
static struct nat_address former_of(const struct nat_address *former, uint32_t n_former, uint32_t host)
{
	struct nat_address key = {.host = host};
	const struct nat_address *found = bsearch(&key, former, n_former, sizeof key, by_host);

	return found ? *found : key;
}

static void drop_view(struct nat *n, uint32_t view)
{
	slab_put(n->arena, &n->actor->slab[SLAB_port_view], SLAB_port_view, view);
}

void nat_ports_configure(struct nat *n)
{
	struct nat_address former[CONFIG_ADDRESSES_MAX];
	uint32_t n_former = n->n_addresses;

	memcpy(former, n->address, n_former * sizeof former[0]);
	n->n_addresses = n->config.n_addresses;
	n->older.n = 0;
	for (unsigned order = 0; order < N_PORT_ORDERS; order++)
		make_rules(n, order);
	for (uint32_t i = 0; i < n->n_addresses; i++) {
		uint32_t host = be32_host(n->config.addresses[i].address);

		n->address[i] = former_of(former, n_former, host);
		n->address[i].index = (uint16_t)i;
		n->address[i].order = order_of_address(&n->config, i);
	}
	qsort(n->address, n->n_addresses, sizeof n->address[0], by_host);
	for (uint32_t i = 0; i < n->n_addresses; i++)
		n->address_of[n->address[i].index] = (uint16_t)i;
	memset(n->lender, 0, sizeof n->lender);
	rooms_init(&n->rooms);
	nat_index_statics(n);
	for (uint32_t i = 0; i < n_former; i++)
		if (former[i].view && !bsearch(&former[i], n->address, n->n_addresses, sizeof former[0], by_host))
			drop_view(n, former[i].view);
}

void nat_ports_leave(struct nat *n)
{
	for (uint32_t i = 0; i < n->n_addresses; i++) {
		if (n->address[i].view)
			drop_view(n, n->address[i].view);
		n->address[i].view = 0;
		n->lender[i].view = NULL;
	}
	slab_give_back(n->arena, &n->actor->slab[SLAB_port_view]);
}

void nat_ports_attach(struct nat *n)
{
	slab_attach(n->arena, &n->actor->slab[SLAB_port_view], n->engine, SLAB_port_view, NULL, NULL);
	for (uint32_t i = 0; (i = slab_next_live(n->arena, SLAB_port_view, i + 1));)
		if (slab_owned(n->arena, n->engine, SLAB_port_view, i))
			drop_view(n, i);
}

/* ---- addresses ---- */

static struct nat_address *address_at(const struct nat *n, uint32_t index)
{
	return (struct nat_address *)&n->address[n->address_of[index]];
}

static const struct nat_address *find_address(const struct nat *n, be32_t address)
{
	uint32_t lo = 0, left = n->n_addresses, host = be32_host(address);

	/* Without a jump to guess wrong: any address is as likely as any other. */
	for (; left > 1; left -= left / 2)
		lo += left / 2 & -(uint32_t)(n->address[lo + left / 2].host <= host);
	return left && n->address[lo].host == host ? &n->address[lo] : NULL;
}

const struct nat_address *nat_find_address(const struct nat *n, be32_t address)
{
	return find_address(n, address);
}

bool nat_is_in_force(const struct nat *n, be32_t address)
{
	return find_address(n, address) != NULL;
}

/* Where packets are spread by their destination alone, the NAT address decides who gets the replies. */
uint32_t nat_place_home(const struct nat *n, const struct snapshot_pool *pool, uint32_t from)
{
	const struct steering *s = &n->steering[SIDE_OUTSIDE];

	for (uint32_t i = 0; s->sources == 0 && i < pool->usable; i++) {
		uint32_t at = (from + i) % pool->usable;

		if (steering_engine_addresses(s, (be32_t){0}, n->config.addresses[pool->first + at].address) ==
			n->engine)
			return at;
	}
	return pool->usable ? from % pool->usable : 0;
}

/* Paired: the subscriber's address, the same for all its mappings (RFC 4787 REQ-2). Arbitrary: any. */
static uint32_t first_pick(
	const struct nat *n, const struct session *s, const struct snapshot_rule *rule, uint32_t draw)
{
	const struct snapshot_pool *pool = &n->config.pools[rule->pool];

	if (rule->pooling == POOLING_ARBITRARY && pool->usable)
		return nat_place_home(n, pool, draw * 0x9e3779b1u >> 16);
	return nat_paired_place(n, s, rule);
}

/* ---- the orders of tables ---- */

/* The order in which a table lies, whoever made it. */
static const struct port_order *order_of(struct nat *n, const struct port_table *t)
{
	struct older_orders *k = &n->older;

	for (unsigned i = 0; i < N_PORT_ORDERS; i++)
		if (port_basis_equal(&t->basis, &n->config.basis[i]))
			return &n->ports[i].order;
	for (unsigned i = 0; i < k->n && i < SNAPSHOT_OLDER_MAX; i++)
		if (port_basis_equal(&t->basis, &k->basis[i]))
			return &k->order[i];
	unsigned at = k->n++ % SNAPSHOT_OLDER_MAX;

	k->basis[at] = t->basis;
	return port_order_of(&k->order[at], &t->basis) ? &k->order[at] : NULL;
}

/* True when a port is in use, or rests, in a table of another order. */
static bool is_busy_elsewhere(struct nat *n, const struct snapshot_address *a, enum port_set set, uint16_t port)
{
	uint8_t epoch = port_epoch(n->config.hold_s, n->now_s);

	for (unsigned i = 0; i < SNAPSHOT_OLDER_MAX && a->older[i]; i++) {
		const struct port_table *t = port_table_at(n->arena, a->older[i]);
		const struct port_order *o = order_of(n, t);

		if (!o)
			continue;
		struct port_place p = port_place_of(o, port);

		if (!(chunk_free(chunk_in_epoch(chunk_read(t, set, p.chunk), epoch)) >> p.place & 1))
			return true;
	}
	return false;
}

static const struct port_rules *rules_of(const struct nat *n, const struct snapshot_rule *rule)
{
	return &n->ports[n->config.pools[rule->pool].order];
}

/* ---- views ---- */

static bool is_stale(const struct nat *n, const struct port_view *v, uint32_t index, const struct port_rules *r)
{
	return v->version != r->version || v->table != n->config.addresses[index].ports;
}

/* What the view says anew may be found there. */
static void open_by_view(struct nat *n, uint32_t index, struct port_view *v, enum port_set set)
{
	bool news = port_view_has_news(v, set);

	if (!n->rooms.closed)
		return;
	for (unsigned kind = ROOM_PORTS + set; kind < ROOM_BLOCKS; kind += N_PORT_SETS) {
		if (news)
			rooms_open(&n->rooms, kind, index);
		if (port_view_is_unseen(v, set))
			rooms_unsee(&n->rooms, kind, index);
	}
}

/* One that is not there, or is of another time. NULL: no page left. */
static struct port_view *make_view(struct nat *n, uint32_t index, const struct port_rules *r)
{
	const struct snapshot_address *a = &n->config.addresses[index];
	struct nat_address *at = address_at(n, index);

	if (!at->view) {
		at->view = slab_take(n->arena, &n->actor->slab[SLAB_port_view], n->engine, SLAB_port_view);
		if (!at->view)
			return NULL;
		port_view_at(n->arena, at->view)->version = 0;
		slab_publish(port_view_at(n->arena, at->view));
	}
	struct port_view *v = port_view_at(n->arena, at->view);

	if (is_stale(n, v, index, r)) {
		port_view_make(v, port_table_at(n->arena, a->ports), a->ports, r, n->now_s);
		for (unsigned set = 0; set < N_PORT_SETS; set++)
			open_by_view(n, index, v, set);
	}
	n->lender[index].table = port_table_at(n->arena, a->ports);
	n->lender[index].view = v;
	return v;
}

/* This engine's view of an address; NULL: no page left. */
static inline struct port_view *view_of(struct nat *n, uint32_t index, const struct port_rules *r)
{
	struct port_view *v = n->lender[index].view;

	return v ? v : make_view(n, index, r);
}

/* ---- taking ---- */

static inline bool hashes_ports(const struct nat *n, enum l4 l4)
{
	const struct steering *s = &n->steering[SIDE_OUTSIDE];

	return (l4 == L4_TCP && s->tcp) || (l4 == L4_UDP && s->udp);
}

static inline bool wants_low(const struct nat *n, const struct session *s)
{
	return n->config.preserve_range && s->l4 != L4_ICMP && be16_host(s->inside_port) < LOW_PORTS;
}

static inline void make_wish(
	struct port_wish *w, const struct nat *n, const struct session *s, be32_t nat, uint32_t draw)
{
	const struct toeplitz *t = &n->steering[SIDE_OUTSIDE].hash;

	w->draw = draw;
	w->port = 0;
	w->glance = false;
	w->by_port = hashes_ports(n, s->l4);
	w->hash = w->by_port ? toeplitz_tuple(t, s->remote, nat, s->remote_port, (be16_t){0}) : 0;
	w->low = wants_low(n, s);
	w->odd = (int8_t)(s->l4 != L4_ICMP && n->config.preserve_parity ? be16_host(s->inside_port) & 1 : -1);
}

/* One that the chooser does not know of: static mappings, and what is in use or rests in another order. */
bool nat_port_is_barred(struct nat *n, const struct snapshot_address *a, enum l4 l4, uint16_t port)
{
	bool some = n->lender[a - n->config.addresses].barred[port_set_of(l4)];

	return (some && nat_static_nat(n, a->address, be16_of(port), l4)) ||
	       (a->older[0] && is_busy_elsewhere(n, a, port_set_of(l4), port));
}

/* On the address that gives new mappings; NULL: it is not in force, or drains. */
const struct snapshot_address *nat_usable_address(const struct nat *n, be32_t address)
{
	const struct nat_address *at = find_address(n, address);
	const struct snapshot *c = &n->config;

	for (uint32_t i = 0; at && i < c->n_pools; i++)
		if (at->index >= c->pools[i].first && at->index - c->pools[i].first < c->pools[i].usable)
			return &c->addresses[at->index];
	return NULL;
}

bool nat_take_beside(
	struct nat *n, struct session *s, const struct snapshot_pool *pool, uint16_t port, const struct subscriber *who)
{
	const struct nat_address *at = find_address(n, s->nat);

	if (!at || at->index < pool->first || at->index - pool->first >= pool->usable)
		return false;
	const struct snapshot_address *a = &n->config.addresses[at->index];
	const struct port_rules *r = &n->ports[at->order];
	struct port_table *t = port_table_at(n->arena, a->ports);
	struct port_place p = port_place_of(&r->order, port);

	if (!(r->allowed[p.chunk] >> p.place & 1) || nat_port_is_barred(n, a, s->l4, port) ||
		(who && !block_covers(who, a->ports, port)) ||
		!ports_take_one(t, a->ports, &r->order, port_set_of(s->l4), port, who != NULL,
			port_epoch(r->hold_s, n->now_s), &n->actor->intent.port))
		return false;
	if (who && !block_covers(who, a->ports, port)) { /* given back meanwhile (blocks.h, Taking) */
		ports_put(t, &r->order, port_set_of(s->l4), port);
		atomic_store_explicit(&n->actor->intent.port, 0, memory_order_release);
		return false;
	}
	s->nat_port = be16_of(port);
	return true;
}

static uint16_t barred_in(void *context, unsigned chunk)
{
	const struct barring *x = context;
	uint32_t mask = nat_static_ports(x->n, (uint32_t)(x->a - x->n->config.addresses), x->l4, chunk);

	for (unsigned place = 0; x->a->older[0] && place < CHUNK_PORTS; place++) {
		struct port_place p = {(uint16_t)chunk, (uint8_t)place};

		if (is_busy_elsewhere(x->n, x->a, port_set_of(x->l4), port_of_place(x->order, p)))
			mask |= 1u << place;
	}
	return (uint16_t)mask;
}

const struct port_bar *nat_port_bar(
	struct barring *x, struct nat *n, const struct snapshot_address *a, const struct port_order *o, enum l4 l4)
{
	*x = (struct barring){n, a, o, l4, {barred_in, x}};
	return n->lender[a - n->config.addresses].barred[port_set_of(l4)] || a->older[0] ? &x->bar : NULL;
}

/* By a glance only, or also by a look at the whole address. */
static int take_of(
	struct nat *n, uint32_t index, const struct port_rules *r, const struct session *s, uint32_t draw, bool look)
{
	const struct snapshot_address *a = &n->config.addresses[index];
	struct port_wish w;
	struct barring barring;
	const struct port_bar *bar = nat_port_bar(&barring, n, a, &r->order, s->l4);
	struct port_view *v = view_of(n, index, r);

	make_wish(&w, n, s, a->address, draw);
	w.glance = !look;
	w.port = n->ahead && n->ahead->outbound ? n->ahead->port.port : 0;
	return v ? port_view_take(v, port_table_at(n->arena, a->ports), r, bar, port_set_of(s->l4), &w, n->now,
			   &n->actor->intent.port)
		 : -1;
}

/* The very port that was foreseen, where the choice would begin with it anyway. */
static bool take_foreseen(struct nat *n, struct session *s, const struct snapshot_rule *rule)
{
	const struct prospect *x = n->ahead;

	if (!x || !x->sure || !x->port.port || n->config.addresses[x->address].older[0] ||
		!port_view_take_one(x->view, port_table_at(n->arena, x->view->table), rules_of(n, rule),
			port_set_of(s->l4), x->port.port, n->now_s, &n->actor->intent.port))
		return false;
	s->nat = x->s.nat;
	s->nat_port = x->s.nat_port;
	return true;
}

static struct room_walk walk_of(const struct nat *n, const struct session *s, uint32_t pool, uint32_t pick)
{
	const struct snapshot_pool *p = &n->config.pools[pool];

	return (struct room_walk){.rooms = (struct rooms *)&n->rooms,
		.kind = port_set_of(s->l4) + (wants_low(n, s) ? ROOM_LOW : ROOM_PORTS),
		.pool = pool,
		.n_pools = n->config.n_pools,
		.first = p->first,
		.usable = p->usable,
		.pick = pick < p->usable ? pick : pick % p->usable,
		.now = n->now};
}

struct taking {
	struct nat *n;
	struct session *s;
	const struct port_rules *r;
	uint32_t draw;
};

static enum room_answer take_at(void *context, uint32_t index, bool look)
{
	const struct taking *x = context;
	int port = take_of(x->n, index, x->r, x->s, x->draw, look);
	struct port_view *v = x->n->lender[index].view;

	if (port < 0)
		return v && port_view_has_news(v, port_set_of(x->s->l4)) ? ROOM_MORE : ROOM_NONE;
	x->s->nat = x->n->config.addresses[index].address;
	x->s->nat_port = be16_of((uint16_t)port);
	return ROOM_TAKEN;
}

/* On another address than the first only when that one is full. */
static enum verdict take_shared(struct nat *n, struct session *s, const struct snapshot_rule *rule, uint32_t draw)
{
	if (take_foreseen(n, s, rule))
		return N_VERDICTS;
	const struct snapshot_pool *pool = &n->config.pools[rule->pool];

	if (!pool->usable)
		return pool->n ? VERDICT_drop_draining : VERDICT_drop_no_port;
	struct taking x = {n, s, rules_of(n, rule), draw};
	struct room_walk w = walk_of(n, s, rule->pool, first_pick(n, s, rule, draw));

	w.take = take_at;
	w.context = &x;
	return rooms_walk(&w) ? N_VERDICTS : VERDICT_drop_no_port;
}

/* A newer configuration is in force than this engine has, and gives from another table (snapshot.h, Tables): then the port
 * goes back, and the sender tries again. */
bool nat_keep_taken(struct nat *n, const struct session *s)
{
	uint64_t name = atomic_load_explicit(&n->actor->intent.port, memory_order_relaxed);
	uint32_t table = (uint32_t)(name >> 32);

	if (snapshot_gives(n->arena, s->nat, table))
		return true;
	struct port_table *t = port_table_at(n->arena, table);

	ports_put(t, order_of(n, t), port_set_of(s->l4), be16_host(s->nat_port));
	atomic_store_explicit(&n->actor->intent.port, 0, memory_order_release);
	return false;
}

static enum verdict take_port(
	struct nat *n, struct session *s, const struct snapshot_rule *rule, uint32_t draw, struct beside beside)
{
	s->nat = beside.address;
	if (rule->ports == PORTS_DETERMINISTIC)
		return nat_take_deterministic(n, s, &n->config.pools[rule->pool], draw, beside.port);
	if (rule->ports == PORTS_BLOCKS)
		return nat_take_from_blocks(n, s, rule->pool, draw, beside.port);
	if (beside.port && nat_take_beside(n, s, &n->config.pools[rule->pool], beside.port, NULL))
		return N_VERDICTS;
	return take_shared(n, s, rule, draw);
}

enum verdict nat_take_port(
	struct nat *n, struct session *s, const struct snapshot_rule *rule, uint32_t draw, struct beside beside)
{
	enum verdict refused = take_port(n, s, rule, draw, beside);

	return refused == N_VERDICTS && !nat_keep_port(n, s) ? VERDICT_drop_draining : refused;
}

const struct snapshot_address *nat_first_address(
	const struct nat *n, const struct session *s, const struct snapshot_rule *rule, uint32_t draw)
{
	const struct snapshot_pool *pool = &n->config.pools[rule->pool];

	return pool->usable ? &n->config.addresses[pool->first + first_pick(n, s, rule, draw) % pool->usable] : NULL;
}

/* A given port, as far as the rule's mode lets this subscriber have it. */
static enum verdict take_given(struct nat *n, struct session *s, const struct snapshot_rule *rule)
{
	const struct nat_address *at = find_address(n, s->nat);
	const struct snapshot_pool *pool = &n->config.pools[rule->pool];
	uint16_t port = be16_host(s->nat_port);

	if (!at || at->index < pool->first || at->index - pool->first >= pool->usable)
		return VERDICT_drop_no_port;
	uint32_t owner = block_owner(port_table_at(n->arena, n->config.addresses[at->index].ports), port);

	if (rule->ports == PORTS_BLOCKS && owner != n->part->subscriber)
		return VERDICT_drop_no_port;
	if (rule->ports == PORTS_DETERMINISTIC && !nat_computes_port(n, s, pool))
		return VERDICT_drop_no_port;
	const struct subscriber *who = owner ? subscriber_at(n->arena, n->part->subscriber) : NULL;

	return nat_take_beside(n, s, pool, port, who) ? N_VERDICTS : VERDICT_drop_no_port;
}

/* On the address that is wanted. Modes that give each subscriber its own do not let it choose. */
static enum verdict take_on(struct nat *n, struct session *s, const struct snapshot_rule *rule, uint32_t draw)
{
	const struct nat_address *at = find_address(n, s->nat);
	const struct snapshot_pool *pool = &n->config.pools[rule->pool];
	int port = -1;

	if (at && at->index >= pool->first && at->index - pool->first < pool->usable)
		port = take_of(n, at->index, rules_of(n, rule), s, draw, true);
	if (port < 0)
		return VERDICT_drop_no_port;
	s->nat_port = be16_of((uint16_t)port);
	return N_VERDICTS;
}

static enum verdict take_wanted(struct nat *n, struct session *s, const struct snapshot_rule *rule, uint32_t draw)
{
	const struct snapshot_address *first = nat_first_address(n, s, rule, draw);
	bool shared = rule->ports == PORTS_SHUFFLED || rule->ports == PORTS_ORDERED;

	if (!first)
		return VERDICT_drop_draining;
	if (!s->nat_port.net)
		return shared ? take_on(n, s, rule, draw) : take_port(n, s, rule, draw, (struct beside){{0}, 0});
	if (!s->nat.net)
		s->nat = first->address;
	return take_given(n, s, rule);
}

enum verdict nat_take_wanted(struct nat *n, struct session *s, const struct snapshot_rule *rule, uint32_t draw)
{
	enum verdict refused = take_wanted(n, s, rule, draw);

	return refused == N_VERDICTS && !nat_keep_port(n, s) ? VERDICT_drop_draining : refused;
}

/* The choice passes by addresses that are closed: so does who looks ahead. False: there is no other. */
static bool pass_by_closed(struct nat *n, struct prospect *x, uint32_t pool)
{
	const struct snapshot_pool *p = &n->config.pools[pool];
	struct room_walk w = walk_of(n, &x->s, pool, x->address - p->first);
	uint32_t place = rooms_next_open(&w);

	if (place < p->usable)
		x->address = p->first + place;
	return place < p->usable;
}

void nat_aim_port(struct nat *n, struct prospect *x)
{
	const struct snapshot_rule *rule = x->rule;
	const struct snapshot_pool *pool = &n->config.pools[rule->pool];

	x->view = NULL;
	if (!pool->usable || rule->ports == PORTS_BLOCKS || rule->ports == PORTS_DETERMINISTIC)
		return;
	bool picked = rule->pooling != POOLING_ARBITRARY && nat_is_picked(n, x->part, rule->pool);
	uint32_t pick = picked ? (x->part->pick[rule->pool % SUBSCRIBER_PAIRS] & UINT16_MAX) - 1
			       : first_pick(n, &x->s, rule, x->draw);
	const struct port_rules *r = rules_of(n, rule);

	x->sure = picked || rule->pooling == POOLING_ARBITRARY;
	x->address = pool->first + (pick < pool->usable ? pick : pick % pool->usable);
	x->rules = r;
	if (!rooms_is_open(&n->rooms, ROOM_PORTS + port_set_of(x->s.l4), x->address) &&
		!pass_by_closed(n, x, rule->pool))
		return;
	x->view = view_of(n, x->address, r);
	if (!x->view)
		return;
	make_wish(&x->wish, n, &x->s, n->config.addresses[x->address].address, x->draw);
	x->table = n->lender[x->address].table;
	x->aim = port_aim(x->view, x->table, r, port_set_of(x->s.l4), &x->wish, x->epoch);
}

/* ---- whose port it is ---- */

bool nat_port_is_idle(const struct nat *n, const struct flow *f)
{
	be32_t address[2];
	be16_t port[2];

	memcpy(address, &f->key.a, sizeof address);
	memcpy(port, &f->key.b, sizeof port);
	if (f->l4 == L4_ICMP && nat_is_pool_address(n, address[0])) /* queries that are turned round take no port */
		return false;
	const struct nat_address *at = find_address(n, address[1]);

	struct global_pair pair = global_pair_of(&n->sessions, f->hash);

	/* A session whose static mapping was removed lives on, and its replies may not have come by here yet. */
	if (!at || (at->fixed && global_may_have(&n->sessions, &pair)))
		return false;
	const struct snapshot_address *a = &n->config.addresses[at->index];
	const struct port_table *t = port_table_at(n->arena, a->ports);

	if (ports_is_taken(t, &n->ports[at->order].order, port_set_of(f->l4), be16_host(port[1])))
		return false;
	return !nat_port_is_barred((struct nat *)n, a, f->l4, be16_host(port[1]));
}

static bool is_taken_in(struct nat *n, uint32_t table, const struct session *s)
{
	const struct port_table *t = port_table_at(n->arena, table);
	const struct port_order *o = order_of(n, t);

	return o && ports_is_taken(t, o, port_set_of(s->l4), be16_host(s->nat_port));
}

/* What the configuration says of an address, also of one that leaves; NULL: nothing. */
static const struct snapshot_address *known_address(const struct nat *n, be32_t address, const struct nat_address **at)
{
	const struct snapshot *c = &n->config;
	uint32_t lo = c->n_addresses, end = lo + c->n_leaving, hi = end, host = be32_host(address);

	*at = find_address(n, address);
	if (*at)
		return &c->addresses[(*at)->index];
	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;

		if (be32_host(c->addresses[mid].address) < host)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < end && c->addresses[lo].address.net == address.net ? &c->addresses[lo] : NULL;
}

/* In the table that its address gives from, most likely. */
static bool is_taken_now(const struct nat *n, const struct nat_address *at, const struct session *s)
{
	const struct port_table *t = port_table_at(n->arena, n->config.addresses[at->index].ports);

	return ports_is_taken(t, &n->ports[at->order].order, port_set_of(s->l4), be16_host(s->nat_port));
}

/* The table in which the session's port is taken, among all of its address. */
static struct port_seat seat_of(struct nat *n, const struct session *s, const struct nat_address *known)
{
	struct port_seat seat = {known ? known : find_address(n, s->nat), 0};

	if (seat.at && is_taken_now(n, seat.at, s)) {
		seat.table = n->config.addresses[seat.at->index].ports;
		return seat;
	}
	const struct snapshot_address *a = known_address(n, s->nat, &seat.at);

	if (a && is_taken_in(n, a->ports, s))
		seat.table = a->ports;
	for (unsigned i = 0; a && !seat.table && i < SNAPSHOT_OLDER_MAX && a->older[i]; i++)
		if (is_taken_in(n, a->older[i], s))
			seat.table = a->older[i];
	return seat;
}

const struct nat_address *nat_fetch_port(const struct nat *n, const struct session *s)
{
	const struct nat_address *at = find_address(n, s->nat);

	if (!at)
		return NULL;
	const struct port_table *t = port_table_at(n->arena, n->config.addresses[at->index].ports);
	struct port_place p = port_place_of(&n->ports[at->order].order, be16_host(s->nat_port));
	enum port_set set = port_set_of(s->l4);

	__builtin_prefetch(&t->chunk[set][p.chunk], 1);
	if (at->view)
		port_view_fetch(port_view_at(n->arena, at->view), &n->ports[at->order], set, p.chunk);
	return at;
}

struct port_seat nat_intend_port(struct nat *n, const struct session *s, const struct nat_address *known)
{
	struct port_seat seat = seat_of(n, s, known);

	atomic_store_explicit(&n->actor->intent.port, port_name(seat.table, port_set_of(s->l4), be16_host(s->nat_port)),
		memory_order_release);
	return seat;
}

/* A TCP connection that was seen to end has waited out its time already (RFC 6888 REQ-8). */
static bool must_rest(const struct session *s)
{
	return s->l4 != L4_TCP || !tcp_is_closed(atomic_load_explicit(&s->tcp, memory_order_relaxed));
}

/* The rules of a table that is given from; NULL: it is of another order. */
static const struct port_rules *rules_for(const struct nat *n, const struct port_table *t, struct port_seat seat)
{
	if (seat.at && n->config.addresses[seat.at->index].ports == seat.table)
		return &n->ports[seat.at->order];
	for (unsigned i = 0; i < N_PORT_ORDERS; i++)
		if (port_basis_equal(&t->basis, &n->config.basis[i]))
			return &n->ports[i];
	return NULL;
}

/* In a table that is given from no more. The port rests there all the same: it is barred in the others meanwhile. */
static void put_elsewhere(struct nat *n, struct port_table *t, const struct session *s)
{
	struct port_place p = port_place_of(order_of(n, t), be16_host(s->nat_port));
	uint64_t word;

	chunk_put(t, port_set_of(s->l4), p, n->config.hold_s && must_rest(s), port_epoch(n->config.hold_s, n->now_s),
		&word);
}

void nat_free_port(struct nat *n, const struct session *s, struct port_seat seat)
{
	if (seat.table) {
		struct port_table *t = port_table_at(n->arena, seat.table);
		const struct port_rules *r = rules_for(n, t, seat);
		struct port_view *v = seat.at && seat.at->view ? port_view_at(n->arena, seat.at->view) : NULL;
		uint16_t port = be16_host(s->nat_port);

		if (v && (v->table != seat.table || !r || v->version != r->version))
			v = NULL;
		if (r)
			port_view_put(v, t, r, port_set_of(s->l4), port, must_rest(s), n->now_s);
		else
			put_elsewhere(n, t, s);
		if (v)
			open_by_view(n, seat.at->index, v, port_set_of(s->l4));
	}
	atomic_store_explicit(&n->actor->intent.port, 0, memory_order_release);
}

/* ---- in every turn ---- */

/* Views are brought up to date also where none is asked for one any more: what it holds and does not use must become
 * blocks, say. */
void nat_ports_slice(struct nat *n)
{
	for (unsigned looked = 0; looked < WAKE_WORDS && n->n_addresses; looked++) {
		struct nat_address *at = &n->address[n->wake_at % n->n_addresses];
		struct port_view *v = at->view ? port_view_at(n->arena, at->view) : NULL;

		if (v) {
			const struct port_rules *r = &n->ports[at->order];

			if (is_stale(n, v, at->index, r)) {
				view_of(n, at->index, r);
				return;
			}
			port_view_wake(v, port_table_at(n->arena, v->table), r, WAKE_WORDS, n->now_s);
			for (unsigned set = 0; set < N_PORT_SETS; set++)
				open_by_view(n, at->index, v, set);
			if (v->rest_at)
				return;
		}
		n->wake_at++;
	}
}
