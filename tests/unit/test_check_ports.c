/* The checker's rules of ports and blocks: for each one a corruption, found by that rule and no other, with the object named. */
#include "shm/blocks.h"
#include "tests/unit/check_scene.h"

static struct subscriber *subscriber_of(const struct scene *s, unsigned engine, uint32_t inside)
{
	return subscriber_at(s->b->arena, scene_part_of(s, engine, inside)->subscriber);
}

static void name_subscriber(struct scene *s, unsigned engine, uint32_t inside)
{
	snprintf(s->names, sizeof s->names, "subscriber %u (100.64.0.%u", scene_part_of(s, engine, inside)->subscriber,
		inside);
}

/* A table in plain order, of the address that `other` has its port of. */
/* Among the older tables of its address. */
static void name_older(const struct scene *s, uint32_t table)
{
	struct arena *a = s->b->arena;
	struct snapshot *c = (struct snapshot *)arena_region(a, ARENA_snapshots) + (a->header->config_generation & 1);

	for (uint32_t i = 0; i < c->n_addresses; i++)
		if (c->addresses[i].address.net == port_table_at(a, table)->address.net)
			c->addresses[i].older[0] = table;
}

static uint32_t plain_table(struct scene *s);

static struct block_wish wish_in(uint32_t table)
{
	return (struct block_wish){.table = table, .ports = 64, .first = 1984, .last = 4095};
}

static uint64_t make_block(struct scene *s, uint32_t inside)
{
	struct block_wish w = wish_in(plain_table(s));
	struct subscribers v = subscribers_view(s->b->arena, 0);

	w.last = 2047; /* the one that `other`'s port is in */
	return block_make(&v, subscriber_of(s, 0, inside), scene_part_of(s, 0, inside)->subscriber, &w);
}

static void break_intent_open_block(struct scene *s)
{
	s->b->nat[1].actor->intent.block = 7;
	snprintf(s->names, sizeof s->names, "engine 1");
}

static void break_block_listed(struct scene *s)
{
	struct block b = block_of_word(make_block(s, 1));

	b.first += 64;
	subscriber_of(s, 0, 1)->block[3] = block_word(b);
	name_subscriber(s, 0, 1);
}

static void break_block_listed_table(struct scene *s)
{
	subscriber_of(s, 0, 1)->block[3] = block_word((struct block){s->carrier, 2048, 64, 1});
	name_subscriber(s, 0, 1);
}

static void break_block_labelled(struct scene *s)
{
	make_block(s, 1);
	subscriber_of(s, 0, 1)->block[0] = 0;
	snprintf(s->names, sizeof s->names, "ports 198.51.100.");
}

static void break_block_overlap(struct scene *s)
{
	struct block b = block_of_word(make_block(s, 1));

	b.since_s++;
	subscriber_of(s, 0, 1)->block[1] = block_word(b);
	name_subscriber(s, 0, 1);
}

static void break_block_chunk(struct scene *s)
{
	struct block b = block_of_word(make_block(s, 1));

	port_table_at(s->b->arena, b.table)->chunk[PORTS_TCP][3000 / CHUNK_PORTS] = (uint64_t)CHUNK_BLOCK
										    << CHUNK_HOLDER;
	snprintf(s->names, sizeof s->names, "chunk %u (set 0) of port table %u", 3000 / CHUNK_PORTS, b.table);
}

static void break_block_chunk_free(struct scene *s)
{
	struct block b = block_of_word(make_block(s, 1));

	port_table_at(s->b->arena, b.table)->chunk[PORTS_OTHER][b.first / CHUNK_PORTS] = 0;
	snprintf(s->names, sizeof s->names, "chunk %u (set 1) of port table %u", b.first / CHUNK_PORTS, b.table);
}

static void break_block_hint(struct scene *s)
{
	port_table_at(s->b->arena, plain_table(s))->block[5] = 1;
	snprintf(s->names, sizeof s->names, "ports 198.51.100.");
}

/* A block of somebody else's over the port of a session. */
static void break_block_port(struct scene *s)
{
	struct block b = block_of_word(make_block(s, 1));
	struct port_table *t = port_table_at(s->b->arena, b.table);
	struct port_order o = port_hand_order(t);
	uint16_t port = be16_host(scene_at(s, s->other)->nat_port);
	_Atomic uint64_t intent = 0;

	assert_true(port_hand_put(scene_table_of(s, s->other), PORTS_OTHER, port));
	assert_true(ports_take_one(t, b.table, &o, PORTS_OTHER, port, true, 0, &intent));
	scene_name_session(s, s->other);
}

static void break_port_leaked(struct scene *s)
{
	struct port_table *t = scene_table_of(s, s->other);

	struct port_order o = port_hand_order(t);
	struct port_place p = port_place_of(&o, 2000);

	t->chunk[PORTS_TCP][p.chunk] |= 1ull << p.place;
	snprintf(s->names, sizeof s->names, "port 198.51.100.%u:2000 (tcp)", be32_host(t->address) & 0xff);
}

static void break_port_unmarked(struct scene *s)
{
	assert_true(
		port_hand_put(scene_table_of(s, s->other), PORTS_OTHER, be16_host(scene_at(s, s->other)->nat_port)));
	scene_name_session(s, s->other);
}

/* Every port is taken, then one is freed behind its owner's back, and another endpoint gets it. */
static void break_port_shared(struct scene *s)
{
	unsigned inside = 20;

	while (box_out(s->b, 1, tuple_of(L4_UDP, inside, 6000, 1, 53)) == VERDICT_fwd_out_new)
		inside++;
	expect_clean(s->b, NULL);
	assert_true(
		port_hand_put(scene_table_of(s, s->other), PORTS_OTHER, be16_host(scene_at(s, s->other)->nat_port)));
	s->b->now = mono_after(s->b->now, span_ms(25)); /* what was full is looked through again */
	assert_int_equal(box_out(s->b, 1, tuple_of(L4_UDP, inside, 6000, 2, 53)), VERDICT_fwd_out_new);
	*scene_global_place(&s->b->nat[0].filters, scene_newest(s->b, 1)) =
		0; /* a port's filter would be there twice as well */
	session_set(scene_at(s, scene_newest(s->b, 1)), 0, SESSION_FILTERS);
	scene_name_session(s, scene_newest(s->b, 1));
}

/* A table more of an address that has one. */
static void build_like(void *object, void *context)
{
	const struct port_table *like = context;
	struct port_table *t = object;

	memset((uint8_t *)t + offsetof(struct port_table, address), 0,
		sizeof *t - offsetof(struct port_table, address));
	t->address = like->address;
	t->basis = like->basis;
}

static uint32_t one_more_table(struct scene *s)
{
	return shared_make(s->b->arena, ACTOR_MGMTD, SLAB_port_table, build_like, scene_table_of(s, s->other));
}

static uint32_t plain_table(struct scene *s)
{
	uint32_t i = one_more_table(s);

	port_order_plain(&port_table_at(s->b->arena, i)->basis);
	name_older(s, i);
	return i;
}

static void break_port_table_unique(struct scene *s)
{
	snprintf(s->names, sizeof s->names, "port table %u", one_more_table(s));
}

static void break_port_table_valid(struct scene *s)
{
	uint32_t i = one_more_table(s);

	memset(port_table_at(s->b->arena, i)->basis.port, 0, sizeof(uint16_t[2]));
	snprintf(s->names, sizeof s->names, "port table %u", i);
}

/* In another order, but taken there too. */
static void break_port_twice(struct scene *s)
{
	uint32_t i = one_more_table(s);
	struct port_table *t = port_table_at(s->b->arena, i);
	uint16_t was = t->basis.port[5], port = be16_host(scene_at(s, s->other)->nat_port);
	char text[INET_ADDRSTRLEN];

	t->basis.port[5] = t->basis.port[6];
	t->basis.port[6] = was;
	name_older(s, i);
	assert_true(port_hand_take(s->b->arena, i, PORTS_OTHER, port));
	inet_ntop(AF_INET, &t->address, text, sizeof text);
	snprintf(s->names, sizeof s->names, "port %s:%u", text, port);
}

/* Taken in a table that no engine looks at. */
static void break_port_table_named(struct scene *s)
{
	uint32_t i = one_more_table(s);

	struct port_table *t = scene_table_of(s, s->other);
	uint16_t port = be16_host(scene_at(s, s->other)->nat_port);
	struct port_order order;

	assert_true(port_order_of(&order, &t->basis));
	assert_true(ports_put(t, &order, PORTS_OTHER, port));
	port_order_plain(&port_table_at(s->b->arena, i)->basis);
	assert_true(port_hand_take(s->b->arena, i, PORTS_OTHER, port));
	snprintf(s->names, sizeof s->names, "port table %u", i);
}

static void break_port_holder(struct scene *s)
{
	struct port_table *t = scene_table_of(s, s->other);

	t->chunk[PORTS_TCP][17] |= 60ull << CHUNK_HOLDER;
	snprintf(s->names, sizeof s->names, "chunk 17 (tcp)");
}

static const struct corruption corruptions[] = {
	{BREAK_TOO(intent_open, block)},
	{BREAK(block_listed)},
	{BREAK_TOO(block_listed, table)},
	{BREAK(block_labelled)},
	{BREAK(block_overlap)},
	{BREAK(block_chunk)},
	{BREAK_TOO(block_chunk, free)},
	{BREAK(block_hint)},
	{BREAK(block_port)},
	{BREAK(port_leaked)},
	{BREAK(port_unmarked)},
	{BREAK(port_shared)},
	{BREAK(port_table_unique)},
	{BREAK(port_table_valid)},
	{BREAK(port_table_named)},
	{BREAK(port_twice)},
	{BREAK(port_holder)},
};
enum { N_CORRUPTIONS = sizeof corruptions / sizeof corruptions[0] };

static void test_each_rule(void **state)
{
	bool tried[N_CHECK_RULES] = {false};

	scene_try_each(corruptions, N_CORRUPTIONS, tried);
	for (int r = FIRST_OF_PORTS; r <= LAST_OF_PORTS; r++)
		if (!tried[r])
			fail_msg("no corruption for %s", check_rule_info[r].name);
}

static void test_each_rule_live(void **state)
{
	scene_try_live(corruptions, N_CORRUPTIONS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_each_rule),
		cmocka_unit_test(test_each_rule_live),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
