/* Port blocks against a plain array: random steps by one thread, each judged; then engines as threads, and what is left. */
#include "shm/blocks.h"
#include "shm/shared_slab.h"
#include "tests/unit/rnd.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { ENGINES = 4, SUBSCRIBERS = 6, TABLES = 2, PORTS = 65536, HELD_MAX = 400 };

/* ---- the box: an arena with port tables and subscribers ---- */

struct box {
	struct arena *a;
	struct subscribers v[ENGINES];
	uint32_t table[TABLES], subscriber[SUBSCRIBERS];
	struct port_order plain;
	uint16_t *allowed;
};

static void build_table(void *object, void *context)
{
	struct port_table *t = object;

	(void)context;
	memset((uint8_t *)t + offsetof(struct port_table, address), 0,
		sizeof *t - offsetof(struct port_table, address));
	port_order_plain(&t->basis);
	memset((void *)t->unheld, 0xff, sizeof t->unheld);
}

static struct box *box_open(void)
{
	struct box *b = calloc(1, sizeof *b);
	enum part_refusal why;

	assert_non_null(b);
	b->a = tiny_arena(&(struct arena_geometry){.engines = ENGINES,
		.sessions = 1,
		.pages = 2 * ENGINES + 8,
		.local_buckets = 1,
		.global_buckets = 1,
		.mapping_buckets = 1,
		.subscribers = 64,
		.subscriber_buckets = 16,
		.part_buckets = 16});
	for (unsigned e = 0; e < ENGINES; e++)
		b->v[e] = subscribers_view(b->a, e);
	for (unsigned i = 0; i < TABLES; i++)
		assert_true((b->table[i] = shared_make(b->a, 0, SLAB_port_table, build_table, NULL)));
	for (unsigned i = 0; i < SUBSCRIBERS; i++)
		for (unsigned e = 0; e < ENGINES; e++)
			b->subscriber[i] =
				part_make(&b->v[e], (struct subscriber_key){be32_of(100 + i), 0}, 1, &why)->subscriber;
	assert_true(port_order_of(&b->plain, &port_table_at(b->a, b->table[0])->basis));
	b->allowed = calloc(N_CHUNKS, sizeof *b->allowed);
	return b;
}

static void box_close(struct box *b)
{
	arena_close(b->a);
	free(b->allowed);
	free(b);
}

static struct port_table *table_at(const struct box *b, unsigned i)
{
	return port_table_at(b->a, b->table[i]);
}

static struct subscriber *subscriber(const struct box *b, unsigned i)
{
	return subscriber_at(b->a, b->subscriber[i]);
}

static _Atomic uint64_t *intent_of(const struct box *b, unsigned engine)
{
	return &b->v[engine].actor->intent.block;
}

/* ---- the model ---- */

struct model {
	uint16_t first, last;
	uint8_t epoch;
	unsigned max; /* of blocks */
	struct {
		uint8_t owner[PORTS / GRANULE_PORTS]; /* subscriber + 1 */
		bool allowed[PORTS];
		struct {
			bool taken[PORTS], rests[PORTS];
			uint8_t freed[PORTS];
		} set[N_PORT_SETS];
	} table[TABLES];
	struct {
		unsigned table;
		enum port_set set;
		uint16_t port;
	} held[HELD_MAX];
	unsigned n_held;
};

static bool m_rests(const struct model *m, unsigned table, unsigned set, uint32_t port)
{
	return m->table[table].set[set].rests[port] && (uint8_t)(m->epoch - m->table[table].set[set].freed[port]) < 2;
}

static bool m_free(const struct model *m, unsigned table, unsigned set, uint32_t port)
{
	return m->table[table].allowed[port] && !m->table[table].set[set].taken[port] && !m_rests(m, table, set, port);
}

/* What could be made of the ports from `first` on: 0 nothing, 1 a block in which something rests, 2 a block. */
static unsigned m_run(const struct model *m, unsigned table, uint32_t first, uint32_t size)
{
	bool useful[N_PORT_SETS] = {false, false}, rests = false;

	for (uint32_t port = first; port < first + size; port++) {
		if (m->table[table].owner[port / GRANULE_PORTS])
			return 0;
		for (unsigned set = 0; set < N_PORT_SETS; set++) {
			if (m->table[table].set[set].taken[port])
				return 0;
			rests |= m_rests(m, table, set, port);
			useful[set] |= m_free(m, table, set, port);
		}
	}
	return useful[0] && useful[1] ? (rests ? 1 : 2) : 0;
}

static unsigned m_best(const struct model *m, unsigned table, uint32_t size)
{
	unsigned best = 0;

	for (uint32_t first = (m->first + size - 1) / size * size; first + size - 1 <= m->last; first += size) {
		unsigned is = m_run(m, table, first, size);

		best = is > best ? is : best;
	}
	return best;
}

/* ---- steps ---- */

static unsigned listed(const struct subscriber *s)
{
	unsigned n = 0;

	for (unsigned i = 0; i < SUBSCRIBER_BLOCKS; i++)
		n += block_listed(s, i) != 0;
	return n;
}

static void step_make(struct box *b, struct model *m, struct rnd *rnd, uint64_t seed, uint64_t step)
{
	unsigned who = rnd_below(rnd, SUBSCRIBERS), table = rnd_below(rnd, TABLES), e = rnd_below(rnd, ENGINES);
	uint32_t size = GRANULE_PORTS << rnd_below(rnd, rnd_below(rnd, 8) ? 3 : 7);
	struct subscriber *s = subscriber(b, who);
	unsigned had = listed(s), best = m_best(m, table, size);
	struct block_wish w = {b->table[table], size, m->first, m->last, b->allowed, NULL, (uint32_t)rnd_next(rnd),
		m->epoch, (uint32_t)step};

	CHECK_AT(seed, step, subscriber_lock(&b->v[e], s));
	uint64_t word = block_make(&b->v[e], s, b->subscriber[who], &w);
	struct block made = block_of_word(word);

	CHECK_AT(seed, step, *intent_of(b, e) == 0);
	subscriber_unlock(&b->v[e], s);
	CHECK_AT(seed, step, (word != 0) == (best > 0 && had < SUBSCRIBER_BLOCKS));
	if (!word)
		return;
	CHECK_AT(seed, step, listed(s) == had + 1 && block_word(made) == word);
	CHECK_AT(seed, step, made.table == b->table[table] && made.ports == size && made.first % size == 0);
	CHECK_AT(seed, step, made.first >= m->first && block_last(made) <= m->last && made.since_s == step);
	CHECK_AT(seed, step, m_run(m, table, made.first, size) == best);
	for (uint32_t g = made.first / GRANULE_PORTS; g < (made.first + size) / GRANULE_PORTS; g++)
		m->table[table].owner[g] = (uint8_t)(who + 1);
	if (had + 1 > m->max)
		m->max = had + 1;
}

static unsigned table_number(const struct box *b, uint32_t index)
{
	return index == b->table[1];
}

static bool m_taken_in(const struct model *m, unsigned table, struct block x)
{
	for (uint32_t port = x.first; port < x.first + x.ports; port++)
		if (m->table[table].set[0].taken[port] || m->table[table].set[1].taken[port])
			return true;
	return false;
}

static void step_give_back(struct box *b, struct model *m, struct rnd *rnd, uint64_t seed, uint64_t step)
{
	unsigned who = rnd_below(rnd, SUBSCRIBERS), i = rnd_below(rnd, SUBSCRIBER_BLOCKS), e = rnd_below(rnd, ENGINES);
	struct subscriber *s = subscriber(b, who);
	uint64_t word = block_listed(s, i);
	struct block x = block_of_word(word);
	unsigned table = table_number(b, x.table);

	if (!word)
		return;
	bool taken = m_taken_in(m, table, x);
	CHECK_AT(seed, step, block_is_used(b->a, x, m->epoch, false) == taken);
	CHECK_AT(seed, step, subscriber_lock(&b->v[e], s));
	CHECK_AT(seed, step, block_give_back(&b->v[e], s, b->subscriber[who], i) == !taken);
	CHECK_AT(seed, step, *intent_of(b, e) == 0);
	subscriber_unlock(&b->v[e], s);
	CHECK_AT(seed, step, block_listed(s, i) == (taken ? word : 0));
	for (uint32_t g = x.first / GRANULE_PORTS; !taken && g < (x.first + x.ports) / GRANULE_PORTS; g++)
		m->table[table].owner[g] = 0;
}

static bool m_any(const struct model *m, unsigned table, enum port_set set, uint16_t first, uint16_t last, bool block)
{
	for (uint32_t port = first; port <= last; port++)
		if (m_free(m, table, set, port) && (m->table[table].owner[port / GRANULE_PORTS] != 0) == block)
			return true;
	return false;
}

/* In a block of somebody's, or beside all blocks. */
static void step_take(struct box *b, struct model *m, struct rnd *rnd, uint64_t seed, uint64_t step)
{
	struct block x = block_of_word(
		block_listed(subscriber(b, rnd_below(rnd, SUBSCRIBERS)), rnd_below(rnd, SUBSCRIBER_BLOCKS)));
	bool in_block = x.table != 0;
	unsigned table = in_block ? table_number(b, x.table) : rnd_below(rnd, TABLES);
	uint16_t first = in_block ? x.first : m->first, last = in_block ? block_last(x) : m->last;
	enum port_set set = rnd_below(rnd, N_PORT_SETS);
	_Atomic uint64_t intent = 0;

	if (m->n_held == HELD_MAX || (!in_block && !rnd_one_in(rnd, 8)))
		return;
	int port = ports_take_in(table_at(b, table), b->table[table], &b->plain, set, first, last, b->allowed, NULL, -1,
		in_block, (uint32_t)rnd_next(rnd), m->epoch, &intent);
	CHECK_AT(seed, step, (port >= 0) == m_any(m, table, set, first, last, in_block));
	if (port < 0)
		return;
	CHECK_AT(seed, step, port >= first && port <= last && m_free(m, table, set, (uint32_t)port));
	CHECK_AT(seed, step, (m->table[table].owner[port / GRANULE_PORTS] != 0) == in_block);
	m->table[table].set[set].taken[port] = true;
	m->held[m->n_held].table = table;
	m->held[m->n_held].set = set;
	m->held[m->n_held++].port = (uint16_t)port;
}

static void step_put(struct box *b, struct model *m, struct rnd *rnd, uint64_t seed, uint64_t step)
{
	unsigned i = rnd_below(rnd, m->n_held), table = m->held[i].table;
	enum port_set set = m->held[i].set;
	uint16_t port = m->held[i].port;
	bool rest = rnd_below(rnd, 2);
	uint64_t word;

	CHECK_AT(seed, step, chunk_put(table_at(b, table), set, port_place_of(&b->plain, port), rest, m->epoch, &word));
	m->held[i] = m->held[--m->n_held];
	m->table[table].set[set].taken[port] = false;
	m->table[table].set[set].rests[port] = rest;
	m->table[table].set[set].freed[port] = m->epoch;
}

static void compare(const struct box *b, const struct model *m, uint64_t seed, uint64_t step)
{
	for (unsigned i = 0; i < TABLES; i++) {
		const struct port_table *t = table_at(b, i);

		for (uint32_t port = 0; port < PORTS; port++) {
			unsigned owner = m->table[i].owner[port / GRANULE_PORTS], set = port & 1;
			uint64_t word = chunk_read(t, set, block_chunk(port));

			CHECK_AT(seed, step, block_owner(t, (uint16_t)port) == (owner ? b->subscriber[owner - 1] : 0));
			CHECK_AT(seed, step, (t->block[port / 4096] >> port / 64 % 64 & 1) == (owner != 0));
			CHECK_AT(seed, step, (chunk_holder(word) == CHUNK_BLOCK) == (owner != 0));
			CHECK_AT(seed, step, chunk_is_noted(t, (enum port_set)set, block_chunk(port)) == (owner == 0));
			CHECK_AT(seed, step, (word >> port % 16 & 1) == m->table[i].set[set].taken[port]);
			for (unsigned s = 0; s < SUBSCRIBERS; s++)
				CHECK_AT(seed, step,
					block_covers(subscriber(b, s), b->table[i], (uint16_t)port) ==
						(owner == s + 1));
		}
	}
}

static void run_model(uint64_t seed, uint64_t steps, unsigned *max)
{
	struct model *m = calloc(1, sizeof *m);
	struct box *b = box_open();
	struct rnd rnd = {seed};
	uint32_t size = 64 << rnd_below(&rnd, 9);

	m->first = (uint16_t)(rnd_below(&rnd, 3) ? rnd_below(&rnd, PORTS - size + 1) : rnd_below(&rnd, 2048));
	m->last = (uint16_t)(m->first + size - 1);
	for (uint32_t port = 1; port < PORTS; port++)
		if (seed % 3 || port % 64 < 40 || port / 64 % 5)
			b->allowed[block_chunk(port)] |= (uint16_t)(1u << port % CHUNK_PORTS);
	for (uint32_t port = 0; port < PORTS; port++)
		for (unsigned i = 0; i < TABLES; i++)
			m->table[i].allowed[port] = b->allowed[block_chunk(port)] >> port % CHUNK_PORTS & 1;
	for (uint64_t step = 1; step <= steps; step++) {
		uint32_t kind = rnd_below(&rnd, 100);

		if (kind < 15)
			step_make(b, m, &rnd, seed, step);
		else if (kind < 40)
			step_give_back(b, m, &rnd, seed, step);
		else if (kind < 42)
			m->epoch++;
		else if (kind < 70)
			step_take(b, m, &rnd, seed, step);
		else if (m->n_held)
			step_put(b, m, &rnd, seed, step);
		if (step % (steps / 4) == 0)
			compare(b, m, seed, step);
	}
	*max = m->max > *max ? m->max : *max;
	free(m);
	box_close(b);
}

static void test_against_an_array(void **state)
{
	unsigned max = 0;

	for (uint64_t seed = 1; seed <= (UNDER_TSAN ? 10 : 60); seed++)
		run_model(seed, 2000, &max);
	assert_int_equal(max, SUBSCRIBER_BLOCKS); /* some had as many as there can be */
}

/* ---- particulars ---- */

static uint64_t make(struct box *b, unsigned who, uint32_t size, uint16_t first, uint16_t last, uint32_t draw)
{
	struct block_wish w = {b->table[0], size, first, last, NULL, NULL, draw, 0, 1};

	return block_make(&b->v[0], subscriber(b, who), b->subscriber[who], &w);
}

/* Every block of every size is had once, and then none, whatever the range begins and ends with. */
static void test_exhaustion(void **state)
{
	for (uint32_t size = GRANULE_PORTS; size <= BLOCK_PORTS_MAX; size *= 2) {
		struct box *b = box_open();
		uint32_t n = 0, draw = size;
		struct subscriber *s = subscriber(b, 0);

		while (make(b, 0, size, 1024, 65535, draw += 77777)) {
			n++;
			if (listed(s) == SUBSCRIBER_BLOCKS) /* they stay labelled: only the list is emptied */
				memset((void *)s->block, 0, sizeof s->block);
		}
		assert_int_equal(n, (65536 - (1024 + size - 1) / size * size) / size);
		assert_int_equal(*intent_of(b, 0), 0);
		box_close(b);
	}
}

/* A whole address in sixteen blocks, ports below 1024 as well; and a range that no block fits in. */
static void test_edges(void **state)
{
	struct box *b = box_open();

	assert_int_equal(make(b, 0, 4096, 1024, 5119, 1), 0);
	assert_int_equal(make(b, 0, 64, 1000, 1090, 1) >> BLOCK_GRANULE & (N_GRANULES - 1), 1024 / 64);
	assert_int_equal(make(b, 0, 64, 1000, 1090, 1), 0);
	assert_int_equal(block_of_word(make(b, 1, 4096, 61440, 65535, 9)).first, 61440);
	assert_int_equal(block_last(block_of_word(block_listed(subscriber(b, 1), 0))), 65535);
	assert_int_equal(block_of_word(make(b, 2, 64, 0, 63, 9)).first, 0);
	assert_int_equal(chunk_holder(chunk_read(table_at(b, 0), PORTS_TCP, ORDER_CHUNKS)), CHUNK_BLOCK);
	assert_int_equal(chunk_holder(chunk_read(table_at(b, 0), PORTS_TCP, 0)), CHUNK_UNHELD);
	box_close(b);
}

/* An engine that has first choice of a chunk and nothing in it keeps no block from being made. */
static void test_held_by_an_engine(void **state)
{
	struct box *b = box_open();
	struct port_table *t = table_at(b, 0);
	_Atomic uint64_t intent = 0;
	uint64_t word;

	assert_true(
		chunk_take(t, b->table[0], &b->plain, PORTS_TCP, block_chunk(2048), 1, 0, 3, 0, &intent, &word) >= 0);
	assert_int_equal(make(b, 0, 64, 2048, 2111, 0), 0);
	assert_true(chunk_put(t, PORTS_TCP, port_place_of(&b->plain, 2048), false, 0, &word));
	assert_int_equal(chunk_holder(word), 3);
	assert_true(make(b, 0, 64, 2048, 2111, 0) != 0);
	assert_int_equal(
		chunk_take(t, b->table[0], &b->plain, PORTS_TCP, block_chunk(2048), 1, 0, 3, 0, &intent, &word), -1);
	box_close(b);
}

/* The last part takes the blocks with it, not the last but one. */
static void test_leaving(void **state)
{
	struct box *b = box_open();
	struct subscriber *s = subscriber(b, 3);
	struct subscriber_key key = {s->inside, s->realm};

	assert_true(make(b, 3, 256, 4096, 8191, 5) && make(b, 3, 64, 4096, 8191, 6));
	for (unsigned e = 0; e < ENGINES; e++) {
		struct local_table *parts = &b->v[e].parts;

		assert_int_equal(listed(s), 2);
		assert_true(part_end(&b->v[e], part_find(b->a, parts, key, subscriber_hash(b->a, key))));
	}
	assert_false(slab_live(s));
	for (unsigned g = 0; g < N_GRANULES; g++)
		assert_int_equal(table_at(b, 0)->block_of[g], 0);
	box_close(b);
}

/* ---- threads ---- */

enum { T_FIRST = 2048, T_LAST = T_FIRST + 1023, T_HELD = 24 };

struct shared {
	struct box *b;
	_Atomic uint32_t owner[N_PORT_SETS][PORTS]; /* subscriber's index, or UINT32_MAX beside all blocks */
	_Atomic uint64_t made, returned, taken, late;
};

struct worker {
	struct shared *x;
	unsigned engine;
	uint64_t steps;
	struct rnd rnd;
	struct {
		enum port_set set;
		uint16_t port;
	} held[T_HELD];
	unsigned n_held;
	pthread_t thread;
};

static void t_change(struct worker *w, unsigned who)
{
	struct box *b = w->x->b;
	struct subscriber *s = subscriber(b, who);
	struct block_wish wish = {b->table[0], GRANULE_PORTS << rnd_below(&w->rnd, 3), T_FIRST, T_LAST, NULL, NULL,
		(uint32_t)rnd_next(&w->rnd), 0, rnd_below(&w->rnd, 2)};
	unsigned i = rnd_below(&w->rnd, SUBSCRIBER_BLOCKS);

	if (!subscriber_lock(&b->v[w->engine], s))
		return;
	if (block_listed(s, i))
		w->x->returned += block_give_back(&b->v[w->engine], s, b->subscriber[who], i);
	else
		w->x->made += block_make(&b->v[w->engine], s, b->subscriber[who], &wish) != 0;
	subscriber_unlock(&b->v[w->engine], s);
}

static void t_own(struct worker *w, enum port_set set, uint16_t port, uint32_t owner)
{
	assert_int_equal(atomic_exchange(&w->x->owner[set][port], owner), 0);
	w->held[w->n_held].set = set;
	w->held[w->n_held++].port = port;
	w->x->taken++;
}

/* As pe/nat_blocks.c does: taken, and looked at the list again. */
static void t_take(struct worker *w, unsigned who)
{
	struct box *b = w->x->b;
	struct port_table *t = table_at(b, 0);
	unsigned i = rnd_below(&w->rnd, SUBSCRIBER_BLOCKS);
	enum port_set set = rnd_below(&w->rnd, N_PORT_SETS);
	uint64_t word = block_listed(subscriber(b, who), i);
	struct block x = block_of_word(word);
	bool in_block = word != 0;
	_Atomic uint64_t intent = 0;

	if (w->n_held == T_HELD || (!in_block && !rnd_one_in(&w->rnd, 16)))
		return;
	int port = ports_take_in(t, b->table[0], &b->plain, set, in_block ? x.first : T_FIRST,
		in_block ? block_last(x) : T_LAST, NULL, NULL, -1, in_block, (uint32_t)rnd_next(&w->rnd), 0, &intent);
	if (port < 0)
		return;
	if (in_block && block_listed(subscriber(b, who), i) != word) {
		w->x->late++;
		assert_true(ports_put(t, &b->plain, set, (uint16_t)port));
		return;
	}
	if (in_block)
		assert_int_equal(block_owner(t, (uint16_t)port), b->subscriber[who]);
	t_own(w, set, (uint16_t)port, in_block ? b->subscriber[who] : UINT32_MAX);
}

/* While it is taken its block stays. */
static void t_put(struct worker *w)
{
	struct box *b = w->x->b;
	struct port_table *t = table_at(b, 0);
	unsigned i = rnd_below(&w->rnd, w->n_held);
	enum port_set set = w->held[i].set;
	uint16_t port = w->held[i].port;
	uint32_t owner = atomic_exchange(&w->x->owner[set][port], 0);

	assert_true(owner != 0);
	if (owner != UINT32_MAX) {
		assert_int_equal(block_owner(t, port), owner);
		assert_true(chunk_holder(chunk_read(t, set, block_chunk(port))) == CHUNK_BLOCK);
	}
	w->held[i] = w->held[--w->n_held];
	assert_true(ports_put(t, &b->plain, set, port));
}

static void *t_run(void *context)
{
	struct worker *w = context;

	for (uint64_t step = 0; step < w->steps; step++) {
		unsigned who = rnd_below(&w->rnd, SUBSCRIBERS), kind = rnd_below(&w->rnd, 8);

		if (kind < 2)
			t_change(w, who);
		else if (kind < 5)
			t_take(w, who);
		else if (w->n_held)
			t_put(w);
	}
	while (w->n_held)
		t_put(w);
	return NULL;
}

static void expect_nothing_left(const struct box *b)
{
	const struct port_table *t = table_at(b, 0);

	for (unsigned g = 0; g < N_GRANULES; g++)
		assert_true(t->block_of[g] == 0 && !(t->block[g / 64] >> g % 64 & 1));
	for (unsigned set = 0; set < N_PORT_SETS; set++)
		for (unsigned c = 0; c < N_CHUNKS; c++)
			assert_int_equal(t->chunk[set][c], 0);
}

static void test_threads(void **state)
{
	struct shared *x = calloc(1, sizeof *x);
	struct worker w[ENGINES];

	x->b = box_open();
	for (unsigned e = 0; e < ENGINES; e++) {
		w[e] = (struct worker){.x = x, .engine = e, .steps = UNDER_TSAN ? 30000 : 400000, .rnd = {e + 1}};
		assert_int_equal(pthread_create(&w[e].thread, NULL, t_run, &w[e]), 0);
	}
	for (unsigned e = 0; e < ENGINES; e++)
		pthread_join(w[e].thread, NULL);
	for (unsigned who = 0; who < SUBSCRIBERS; who++)
		for (unsigned i = 0; i < SUBSCRIBER_BLOCKS; i++)
			if (block_listed(subscriber(x->b, who), i))
				assert_true(
					block_give_back(&x->b->v[0], subscriber(x->b, who), x->b->subscriber[who], i));
	expect_nothing_left(x->b);
	assert_true(x->made > 100 && x->returned > 100 && x->taken > 1000);
	print_message("%llu blocks made, %llu given back while it ran, %llu ports taken, %llu of them too late\n",
		(unsigned long long)x->made, (unsigned long long)x->returned, (unsigned long long)x->taken,
		(unsigned long long)x->late);
	box_close(x->b);
	free(x);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_against_an_array),
		cmocka_unit_test(test_exhaustion),
		cmocka_unit_test(test_edges),
		cmocka_unit_test(test_held_by_an_engine),
		cmocka_unit_test(test_leaving),
		cmocka_unit_test(test_threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
