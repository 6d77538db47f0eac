/* Ports by subscriber: computed from the inside address, or from blocks that are the subscriber's alone. */
#include "pe/nat_internal.h"
#include "pe/nat_ports.h"
#include "shm/blocks.h"

static int wanted_parity(const struct nat *n, const struct session *s)
{
	return n->config.preserve_parity && s->l4 != L4_ICMP ? be16_host(s->inside_port) & 1 : -1;
}

/* A port in [first, last] of the address, at random; of the wanted parity if there is one. */
static int take_in(struct nat *n, const struct snapshot_address *a, const struct session *s, uint16_t first,
	uint16_t last, bool in_block, uint32_t draw)
{
	const struct port_rules *r = &n->ports[PORT_ORDER_PLAIN];
	struct port_table *t = port_table_at(n->arena, a->ports);
	struct barring barring;
	const struct port_bar *bar = nat_port_bar(&barring, n, a, &r->order, s->l4);
	enum port_set set = port_set_of(s->l4);
	uint8_t epoch = port_epoch(r->hold_s, n->now_s);
	int odd = wanted_parity(n, s), port = -1;

	if (odd >= 0)
		port = ports_take_in(t, a->ports, &r->order, set, first, last, r->allowed, bar, odd, in_block, draw,
			epoch, &n->actor->intent.port);
	if (port < 0)
		port = ports_take_in(t, a->ports, &r->order, set, first, last, r->allowed, bar, -1, in_block, draw,
			epoch, &n->actor->intent.port);
	return port;
}

static void put_back(struct nat *n, const struct snapshot_address *a, const struct session *s, int port)
{
	ports_put(port_table_at(n->arena, a->ports), &n->ports[PORT_ORDER_PLAIN].order, port_set_of(s->l4),
		(uint16_t)port);
	atomic_store_explicit(&n->actor->intent.port, 0, memory_order_release);
}

/* ---- computed (RFC 7422) ---- */

static bool take_computed(
	struct nat *n, struct session *s, const struct snapshot_pool *pool, uint32_t draw, uint16_t beside)
{
	const struct deterministic *d = &n->config.deterministic[pool->deterministic - 1];
	struct deterministic_ports p;

	if (!deterministic_forward(d, be32_host(s->inside), &p))
		return false;
	if (beside >= p.first && beside <= p.last && be32_host(s->nat) == p.nat &&
		nat_take_beside(n, s, pool, beside, NULL))
		return true;
	const struct snapshot_address *a = nat_usable_address(n, be32_of(p.nat));
	int port = a ? take_in(n, a, s, p.first, p.last, false, draw) : -1;

	if (port < 0)
		return false;
	s->nat = a->address;
	s->nat_port = be16_of((uint16_t)port);
	return true;
}

bool nat_computes_port(const struct nat *n, const struct session *s, const struct snapshot_pool *pool)
{
	struct deterministic_ports p;
	uint16_t port = be16_host(s->nat_port);

	return pool->deterministic &&
	       deterministic_forward(&n->config.deterministic[pool->deterministic - 1], be32_host(s->inside), &p) &&
	       p.nat == be32_host(s->nat) && port >= p.first && port <= p.last;
}

enum verdict nat_take_deterministic(
	struct nat *n, struct session *s, const struct snapshot_pool *pool, uint32_t draw, uint16_t beside)
{
	if (pool->deterministic && take_computed(n, s, pool, draw, beside))
		return N_VERDICTS;
	if (!pool->overflow)
		return VERDICT_drop_no_port;
	return nat_take_from_blocks(n, s, pool->overflow - 1, draw, beside);
}

/* ---- blocks ---- */

/* The address in force whose table it is, and that gives new mappings of this pool. */
static const struct snapshot_address *address_of(const struct nat *n, const struct snapshot_pool *pool, uint32_t table)
{
	const struct port_table *t = port_table_at(n->arena, table);
	const struct snapshot_address *a = nat_usable_address(n, t->address);
	uint32_t index = a ? (uint32_t)(a - n->config.addresses) : UINT32_MAX;

	return a && a->ports == table && index >= pool->first && index - pool->first < pool->usable ? a : NULL;
}

static uint32_t age(const struct nat *n, struct block b)
{
	return n->now_s > b.since_s ? n->now_s - b.since_s : 0;
}

/* Of this pool as it is now: others are left to drain, and do not count. */
static bool is_current(const struct nat *n, const struct snapshot_pool *pool, struct block b)
{
	return b.ports == pool->block_size && b.first >= n->config.port_first && block_last(b) <= n->config.port_last &&
	       address_of(n, pool, b.table);
}

/* Whether new mappings go into a block first of all. */
static bool is_active(const struct nat *n, const struct snapshot_pool *pool, struct block b)
{
	return is_current(n, pool, b) && (!pool->active_block_s || age(n, b) < pool->active_block_s);
}

/* A port taken in a block counts when the block is the subscriber's still (blocks.h, Taking). */
static bool take_in_block(struct nat *n, struct session *s, const struct snapshot_pool *pool, struct subscriber *who,
	unsigned i, bool active, uint32_t draw)
{
	uint64_t word = block_listed(who, i);
	struct block b = block_of_word(word);
	const struct snapshot_address *a = word ? address_of(n, pool, b.table) : NULL;

	if (!a || is_active(n, pool, b) != active)
		return false;
	int port = take_in(n, a, s, b.first, block_last(b), true, draw);
	if (port < 0)
		return false;
	if (block_listed(who, i) != word) {
		put_back(n, a, s, port);
		return false;
	}
	s->nat = a->address;
	s->nat_port = be16_of((uint16_t)port);
	return true;
}

/* The first ones are filled first, so that the last ones fall empty when there is less to do. */
static bool take_in_any(struct nat *n, struct session *s, const struct snapshot_pool *pool, struct subscriber *who,
	bool active, uint32_t draw)
{
	for (unsigned i = 0; i < SUBSCRIBER_BLOCKS; i++)
		if (take_in_block(n, s, pool, who, i, active, draw))
			return true;
	return false;
}

static bool may_have_more(const struct nat *n, const struct snapshot_pool *pool, const struct subscriber *who)
{
	unsigned found = 0, listed = 0;

	for (unsigned i = 0; i < SUBSCRIBER_BLOCKS; i++) {
		uint64_t word = block_listed(who, i);

		listed += word != 0;
		found += word && is_current(n, pool, block_of_word(word));
	}
	return listed < SUBSCRIBER_BLOCKS && found < pool->blocks_max;
}

static bool make_on(struct nat *n, const struct session *s, const struct snapshot_pool *pool, struct subscriber *who,
	const struct snapshot_address *a)
{
	const struct port_rules *r = &n->ports[PORT_ORDER_PLAIN];
	struct barring barring;
	struct block_wish w = {.table = a->ports,
		.ports = pool->block_size,
		.first = n->config.port_first,
		.last = n->config.port_last,
		.allowed = r->allowed,
		.bar = nat_port_bar(&barring, n, a, &r->order, s->l4),
		.draw = nat_random(n),
		.epoch = port_epoch(r->hold_s, n->now_s),
		.now_s = n->now_s};

	n->subscribers.now = n->now;
	return block_make(&n->subscribers, who, n->part->subscriber, &w) != 0;
}

struct blocking {
	struct nat *n;
	const struct session *s;
	const struct snapshot_pool *pool;
	struct subscriber *who;
};

static enum room_answer make_at(void *context, uint32_t index, bool look)
{
	const struct blocking *x = context;

	return make_on(x->n, x->s, x->pool, x->who, &x->n->config.addresses[index]) ? ROOM_TAKEN : ROOM_NONE;
}

/* Under the subscriber's lock: on its own address, or on the next that has room. */
static enum verdict make_block(
	struct nat *n, const struct session *s, uint32_t pool_index, struct subscriber *who, uint32_t pick)
{
	const struct snapshot_pool *pool = &n->config.pools[pool_index];
	struct blocking x = {n, s, pool, who};
	const struct room_walk w = {.rooms = &n->rooms,
		.kind = ROOM_BLOCKS + port_set_of(s->l4),
		.pool = pool_index,
		.n_pools = n->config.n_pools,
		.first = pool->first,
		.usable = pool->usable,
		.pick = pick % pool->usable,
		.now = n->now,
		.take = make_at,
		.context = &x};

	if (!may_have_more(n, pool, who))
		return VERDICT_drop_block_limit;
	if (!rooms_walk(&w))
		return VERDICT_drop_no_block;
	nat_counter(n, COUNTER_blocks_made, 1);
	return N_VERDICTS;
}

/* Tells lists apart; 0: there are none. */
static uint64_t list_of(const struct subscriber *who)
{
	uint64_t mix = 0;

	for (unsigned i = 0; i < SUBSCRIBER_BLOCKS; i++)
		mix = mix * 31 + block_listed(who, i);
	return mix;
}

/* In a block more. Another engine may have made one while the lock was waited for: `list` is as it was before. */
static enum verdict take_in_new(
	struct nat *n, struct session *s, uint32_t pool_index, struct subscriber *who, uint64_t list, uint32_t draw)
{
	const struct snapshot_pool *pool = &n->config.pools[pool_index];

	if (!subscriber_lock(&n->subscribers, who))
		return VERDICT_drop_lock_busy;
	bool done = list_of(who) != list && take_in_any(n, s, pool, who, true, draw);
	enum verdict refused = done ? N_VERDICTS : make_block(n, s, pool_index, who, nat_paired_in(n, s, pool_index));

	if (!done && refused == N_VERDICTS && !take_in_any(n, s, pool, who, true, draw))
		refused = VERDICT_drop_no_port;
	subscriber_unlock(&n->subscribers, who);
	return refused;
}

/* In active blocks; else in a new one; else in any the subscriber has. */
enum verdict nat_take_from_blocks(struct nat *n, struct session *s, uint32_t pool_index, uint32_t draw, uint16_t beside)
{
	const struct snapshot_pool *pool = &n->config.pools[pool_index];
	struct subscriber *who = subscriber_at(n->arena, n->part->subscriber);
	uint64_t list = list_of(who);

	if (!pool->usable)
		return VERDICT_drop_draining;
	if (beside && nat_take_beside(n, s, pool, beside, who))
		return N_VERDICTS;
	if (take_in_any(n, s, pool, who, true, draw))
		return N_VERDICTS;
	enum verdict refused = take_in_new(n, s, pool_index, who, list, draw);

	if (refused != N_VERDICTS && take_in_any(n, s, pool, who, false, draw))
		return N_VERDICTS;
	return refused;
}

/* ---- given back ---- */

static uint32_t hold_of(const struct nat *n, uint32_t table)
{
	for (uint32_t i = 0; i < n->config.n_pools; i++)
		if (address_of(n, &n->config.pools[i], table))
			return n->config.pools[i].block_hold_s;
	return 0; /* of an address that gives nothing any more */
}

/* There is a block to be had on its address. */
static void open_table(struct nat *n, uint32_t table)
{
	const struct snapshot_address *a = nat_usable_address(n, port_table_at(n->arena, table)->address);

	for (unsigned set = 0; a && set < N_PORT_SETS; set++)
		rooms_open(&n->rooms, ROOM_BLOCKS + set, (uint32_t)(a - n->config.addresses));
}

/* Unless another engine did, and perhaps a new one is in its place. */
static void give_back(struct nat *n, const struct subscriber_part *p, struct subscriber *who, unsigned i, uint64_t word)
{
	if (!subscriber_lock(&n->subscribers, who))
		return;
	if (block_listed(who, i) == word && block_give_back(&n->subscribers, who, p->subscriber, i)) {
		nat_counter(n, COUNTER_blocks_returned, 1);
		open_table(n, block_of_word(word).table);
	}
	subscriber_unlock(&n->subscribers, who);
}

/* Engines' clocks differ by a moment. */
static bool is_over(const struct nat *n, uint32_t since_s, uint32_t time_s)
{
	return n->now_s >= since_s && n->now_s - since_s >= time_s;
}

unsigned nat_tend_blocks(struct nat *n, const struct subscriber_part *p)
{
	struct subscriber *who = subscriber_at(n->arena, p->subscriber);
	unsigned looks = 0;

	for (unsigned i = 0; i < SUBSCRIBER_BLOCKS; i++) {
		uint64_t word = block_listed(who, i);
		struct block b = block_of_word(word);
		uint32_t used_s = atomic_load_explicit(&who->block_used_s[i], memory_order_relaxed);

		if (!word)
			continue;
		if (block_is_used(n->arena, b, port_epoch(n->config.hold_s, n->now_s), true)) {
			if (used_s != n->now_s)
				atomic_store_explicit(&who->block_used_s[i], n->now_s, memory_order_relaxed);
			looks++;
			continue;
		}
		looks += b.ports * N_PORT_SETS / CHUNK_PORTS / (CACHE_LINE / sizeof(uint64_t));
		if (is_over(n, used_s, hold_of(n, b.table)))
			give_back(n, p, who, i, word);
	}
	return looks;
}

/* Two parts that end at once may both think that the other one stays: then blocks go before their time. */
bool nat_holds_blocks(const struct nat *n, const struct subscriber_part *p)
{
	const struct subscriber *who = subscriber_at(n->arena, p->subscriber);

	return list_of(who) != 0 && atomic_load_explicit(&who->parts, memory_order_acquire) == 1ull << n->engine;
}
