/* Ports by subscriber: computed from the inside address, or from blocks that are the subscriber's alone. */
#include "pe/nat_internal.h"
#include "shm/blocks.h"

enum { BARRED_TRIES = 32 }; /* of ports that static mappings own, or that are in use in another order */

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
	enum port_set set = port_set_of(s->l4);
	int odd = wanted_parity(n, s);

	for (unsigned tries = 0; tries < BARRED_TRIES; tries++) {
		int port = ports_take_in(t, a->ports, &r->order, set, first, last, r->allowed, odd, in_block, draw,
			port_epoch(r->hold_s, n->now_s), &n->actor->intent.port);

		if (port < 0 && odd < 0)
			return -1;
		if (port >= 0 && !nat_port_is_barred(n, a, s->l4, (uint16_t)port))
			return port;
		if (port >= 0)
			ports_put(t, &r->order, set, (uint16_t)port);
		else
			odd = -1;
		draw = nat_random(n);
	}
	return -1;
}

static void put_back(struct nat *n, const struct snapshot_address *a, const struct session *s, int port)
{
	ports_put(port_table_at(n->arena, a->ports), &n->ports[PORT_ORDER_PLAIN].order, port_set_of(s->l4), (uint16_t)port);
	atomic_store_explicit(&n->actor->intent.port, 0, memory_order_release);
}

/* ---- computed (RFC 7422) ---- */

static bool take_computed(struct nat *n, struct session *s, const struct snapshot_pool *pool, uint32_t draw, uint16_t beside)
{
	const struct deterministic *d = &n->config.deterministic[pool->deterministic - 1];
	struct deterministic_ports p;

	if (!deterministic_forward(d, be32_host(s->inside), &p))
		return false;
	if (beside >= p.first && beside <= p.last && be32_host(s->nat) == p.nat && nat_take_beside(n, s, pool, beside, 0))
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

/* Whether new mappings go into a block as the configuration is now. */
static bool is_active(const struct nat *n, const struct snapshot_pool *pool, struct block b)
{
	return b.ports == pool->block_size && (!pool->active_block_s || age(n, b) < pool->active_block_s);
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
	int port = take_in(n, a, s, b.first, (uint16_t)(b.first + b.ports - 1), true, draw);
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

static bool take_in_any(struct nat *n, struct session *s, const struct snapshot_pool *pool, struct subscriber *who,
	bool active, uint32_t draw)
{
	for (unsigned i = 0; i < SUBSCRIBER_BLOCKS; i++)
		if (take_in_block(n, s, pool, who, (draw + i) % SUBSCRIBER_BLOCKS, active, draw))
			return true;
	return false;
}

static bool has_port(const struct subscriber *who, uint32_t table, uint16_t port)
{
	for (unsigned i = 0; i < SUBSCRIBER_BLOCKS; i++) {
		struct block b = block_of_word(block_listed(who, i));

		if (b.table && b.table == table && port >= b.first && (uint32_t)(port - b.first) < b.ports)
			return true;
	}
	return false;
}

/* As take_in_block, for one given port. */
static bool take_beside(struct nat *n, struct session *s, const struct snapshot_pool *pool,
	const struct subscriber *who, uint16_t port)
{
	if (!port || !nat_take_beside(n, s, pool, port, n->part->subscriber))
		return false;
	const struct snapshot_address *a = nat_usable_address(n, s->nat);

	if (has_port(who, a->ports, port))
		return true;
	put_back(n, a, s, port);
	return false;
}

/* Blocks of this pool in their present size. */
static unsigned blocks_of(const struct nat *n, const struct snapshot_pool *pool, const struct subscriber *who)
{
	unsigned found = 0;

	for (unsigned i = 0; i < SUBSCRIBER_BLOCKS; i++) {
		struct block b = block_of_word(block_listed(who, i));

		found += b.table && b.ports == pool->block_size && address_of(n, pool, b.table);
	}
	return found;
}

/* Under the subscriber's lock: on its own address, or on the next that has room. */
static enum verdict make_block(
	struct nat *n, const struct session *s, uint32_t pool_index, struct subscriber *who, uint32_t draw)
{
	const struct snapshot_pool *pool = &n->config.pools[pool_index];
	uint32_t pick = nat_paired_in(n, s, pool_index);

	if (blocks_of(n, pool, who) >= pool->blocks_max)
		return VERDICT_drop_block_limit;
	for (uint32_t i = 0; i < pool->usable; i++) {
		uint32_t table = n->config.addresses[pool->first + (pick + i) % pool->usable].ports;

		if (block_make(n->arena, who, n->part->subscriber, table, pool->block_size, n->config.port_first,
			    n->config.port_last, draw, n->now_s, &n->actor->intent.block)) {
			nat_counter(n, COUNTER_blocks_made, 1);
			return N_VERDICTS;
		}
	}
	return VERDICT_drop_no_block;
}

/* In active blocks; else in a new one; else in any the subscriber has. */
enum verdict nat_take_from_blocks(
	struct nat *n, struct session *s, uint32_t pool_index, uint32_t draw, uint16_t beside)
{
	const struct snapshot_pool *pool = &n->config.pools[pool_index];
	struct subscriber *who = subscriber_at(n->arena, n->part->subscriber);

	if (!pool->usable)
		return VERDICT_drop_draining;
	if (take_beside(n, s, pool, who, beside))
		return N_VERDICTS;
	if (take_in_any(n, s, pool, who, true, draw))
		return N_VERDICTS;
	if (!subscriber_lock(&n->subscribers, who))
		return VERDICT_drop_lock_busy;
	enum verdict refused = make_block(n, s, pool_index, who, draw);

	subscriber_unlock(&n->subscribers, who);
	if (take_in_any(n, s, pool, who, true, draw) || take_in_any(n, s, pool, who, false, draw))
		return N_VERDICTS;
	return refused == N_VERDICTS ? VERDICT_drop_no_port : refused;
}

/* ---- given back ---- */

static uint32_t hold_of(const struct nat *n, uint32_t table)
{
	for (uint32_t i = 0; i < n->config.n_pools; i++)
		if (address_of(n, &n->config.pools[i], table))
			return n->config.pools[i].block_hold_s;
	return 0; /* of an address that gives nothing any more */
}

static void give_back(struct nat *n, const struct subscriber_part *p, struct subscriber *who, unsigned i)
{
	if (!subscriber_lock(&n->subscribers, who))
		return;
	if (block_listed(who, i) && block_give_back(n->arena, who, p->subscriber, i, &n->actor->intent.block))
		nat_counter(n, COUNTER_blocks_returned, 1);
	subscriber_unlock(&n->subscribers, who);
}

/* A block that nothing was in for its hold time goes back; one of a subscriber whose engine leaves, at once. */
bool nat_tend_blocks(struct nat *n, const struct subscriber_part *p, bool leaves)
{
	struct subscriber *who = subscriber_at(n->arena, p->subscriber);
	bool some = false;

	for (unsigned i = 0; i < SUBSCRIBER_BLOCKS; i++) {
		uint64_t word = block_listed(who, i);
		struct block b = block_of_word(word);
		uint32_t used_s = atomic_load_explicit(&who->block_used_s[i], memory_order_relaxed);

		if (!word)
			continue;
		if (!leaves && block_is_used(n->arena, b, port_epoch(n->config.hold_s, n->now_s), true))
			atomic_store_explicit(&who->block_used_s[i], n->now_s, memory_order_relaxed);
		else if (leaves || n->now_s - used_s >= hold_of(n, b.table))
			give_back(n, p, who, i);
		some |= block_listed(who, i) != 0;
	}
	return some;
}
