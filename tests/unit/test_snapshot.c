/* snapshot: compiled from a configuration, put in force, kept back while an engine lags; ports outlive it. */
#include "shm/blocks.h"
#include "shm/snapshot.h"
#include "tests/unit/port_tools.h"
#include "tests/unit/rnd.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum { POOL = 0xc6336400 }; /* 198.51.100.0 */

static struct config config_of(uint32_t n_addresses)
{
	struct config c = {.arena = {.engines = 2, .sessions = 1024, .huge_pages = HUGE_OFF},
		.n_pools = 2,
		.nat = {.udp_timeout_s = 300,
			.tcp_established_timeout_s = 7440,
			.tcp_opening_timeout_s = 240,
			.tcp_closing_timeout_s = 250,
			.icmp_timeout_s = 60,
			.port_first = 1024,
			.port_last = 65535}};

	c.net.n_prefixes = 2;
	c.net.prefixes[0] = (struct prefix){0x64400000, 10};
	c.net.prefixes[1] = (struct prefix){0x0a000000, 8};
	c.n_realms = 2;
	c.realms[0] = (struct config_realm){"a", 100, {{0x0b000000, 8}, {0x0a000000, 8}}, 2};
	c.realms[1] = (struct config_realm){"b", 7, {{0x0a000000, 16}}, 1};
	c.net.side[SIDE_OUTSIDE].rss =
		(struct rss){.mode = RSS_TOEPLITZ, .key_size = 40, .table_len = 2, .table = {0, 1}};
	c.pools[0].n_ranges = 1; /* all but one address; the last one in a pool of its own, far away */
	c.pools[0].ranges[0] = (struct address_range){POOL, POOL + n_addresses - 2};
	c.pools[1].n_ranges = 1;
	c.pools[1].ranges[0] = (struct address_range){0xfffffffe, 0xfffffffe};
	return c;
}

static struct snapshot *compiled(struct arena *a, const struct config *c)
{
	struct snapshot *s = malloc(sizeof *s);
	struct config_error err = {""};

	memset(s, 0xaa, sizeof *s);
	if (!snapshot_compile(a, c, s, &err))
		fail_msg("%s", err.text);
	return s;
}

static uint32_t tables_in(const struct arena *a)
{
	uint32_t n = 0;

	for (uint32_t i = 0; (i = slab_next_live(a, SLAB_port_table, i + 1));)
		n++;
	return n;
}

/* ---- compile ---- */

static void test_compile(void **state)
{
	struct arena *a = small_arena(4, 1);
	struct config c = config_of(5);
	struct snapshot *s = compiled(a, &c);

	static const struct snapshot_prefix prefixes[] = {{0, 0x0a000000, 8}, {0, 0x64400000, 10}, {7, 0x0a000000, 16},
		{100, 0x0a000000, 8}, {100, 0x0b000000, 8}};

	assert_int_equal(s->n_prefixes, 5);
	assert_memory_equal(s->prefixes, prefixes, sizeof prefixes);
	assert_int_equal(s->timeout_s[TIMEOUT_UDP], 300);
	assert_int_equal(s->timeout_s[TIMEOUT_ICMP], 60);
	assert_int_equal(s->timeout_s[TIMEOUT_TCP_OPENING], 240);
	assert_int_equal(s->timeout_s[TIMEOUT_TCP_CLOSING], 250);
	assert_int_equal(s->timeout_s[TIMEOUT_OTHER], 300);
	assert_int_equal(s->timeout_s[TIMEOUT_TCP_ESTABLISHED], 7440);
	assert_int_equal(s->port_first, 1024);
	assert_int_equal(s->port_last, 65535);
	assert_memory_equal(&s->rss[SIDE_OUTSIDE], &c.net.side[SIDE_OUTSIDE].rss, sizeof s->rss[0]);
	assert_int_equal(s->n_ranges, 2);
	assert_memory_equal(&s->ranges[1], &c.pools[1].ranges[0], sizeof s->ranges[0]);
	assert_int_equal(s->n_addresses, 5);
	for (uint32_t i = 0; i < 5; i++) {
		struct port_table *t = port_table_at(a, s->addresses[i].ports);

		assert_int_equal(be32_host(s->addresses[i].address), i < 4 ? POOL + i : 0xfffffffe);
		assert_int_equal(t->address.net, s->addresses[i].address.net);
		assert_true(slab_live(t));
		assert_int_equal(port_hand_used(t), 0);
		for (uint32_t j = 0; j < i; j++)
			assert_int_not_equal(s->addresses[j].ports, s->addresses[i].ports);
	}
	assert_int_equal(tables_in(a), 5);
	free(s);
	arena_close(a);
}

/* The last address there is: a range that ends at the end of all numbers. */
static void test_last_address(void **state)
{
	struct arena *a = small_arena(1, 1);
	struct config c = config_of(2);
	struct snapshot *s;

	c.pools[1].ranges[0] = (struct address_range){UINT32_MAX - 2, UINT32_MAX};
	s = compiled(a, &c);
	assert_int_equal(s->n_addresses, 4);
	free(s);
	arena_close(a);
}

static void test_no_page_left(void **state)
{
	struct arena *a = small_arena(1, 1);
	uint32_t per = slab_per_page(SLAB_port_table);
	struct config c = config_of(per + 1);
	struct snapshot *s = malloc(sizeof *s);
	struct config_error err = {""};
	char figure[64];

	assert_false(snapshot_compile(a, &c, s, &err));
	snprintf(figure, sizeof figure, "port tables of %u of these %u addresses fit", per, per + 1);
	assert_non_null(strstr(err.text, "pools: no arena page left"));
	assert_non_null(strstr(err.text, figure));
	c = config_of(per + 1); /* the addresses that got a table keep it, and fit without the one too many */
	c.n_pools = 1;
	assert_true(snapshot_compile(a, &c, s, &err));
	assert_int_equal(s->n_addresses, per);
	assert_int_equal(tables_in(a), per);
	free(s);
	arena_close(a);
}

/* What counts is what the new configuration can have: not the tables that addresses gone from it left, and the addresses
 * behind the one that got none as well when they have one from before. */
static void test_no_page_left_after_addresses_went(void **state)
{
	struct arena *a = small_arena(1, 1);
	uint32_t per = slab_per_page(SLAB_port_table);
	struct config c = config_of(per);
	struct snapshot *s = malloc(sizeof *s);
	struct config_error err = {""};
	char figure[64];

	assert_true(snapshot_compile(a, &c, s, &err)); /* the last one is the second pool's */
	c.pools[0].ranges[0].first += 5;
	c.pools[0].ranges[0].last += 1;
	assert_false(snapshot_compile(a, &c, s, &err));
	snprintf(figure, sizeof figure, "tables of %u of these %u addresses fit; name at most %u", per - 5, per - 4,
		per - 5);
	assert_non_null(strstr(err.text, figure));

	/* Two of those that have one are excluded: they and their tables count no more. */
	c.pools[0].n_exclude = 1;
	c.pools[0].exclude[0] = (struct address_range){POOL + 20, POOL + 21};
	c.pools[0].ranges[0].last += 1;
	assert_false(snapshot_compile(a, &c, s, &err));
	snprintf(figure, sizeof figure, "tables of %u of these %u addresses fit; name at most %u", per - 7, per - 5,
		per - 7);
	assert_non_null(strstr(err.text, figure));
	free(s);
	arena_close(a);
}

/* ---- ports outlive a commit ---- */

static int take(struct arena *a, const struct snapshot *s, uint32_t i, uint16_t port)
{
	return port_hand_take(a, s->addresses[i].ports, PORTS_OTHER, port) ? port : -1;
}

static void test_ports_outlive_commits(void **state)
{
	struct arena *a = small_arena(4, 1);
	struct config c = config_of(5);
	struct snapshot *one = compiled(a, &c), *two;

	assert_int_equal(snapshot_commit(a, one), 1);
	for (uint32_t i = 0; i < 5; i++)
		assert_int_equal(take(a, one, i, (uint16_t)(2000 + i)), 2000 + i);

	c.pools[0].ranges[0].first += 2; /* two go, two come */
	c.pools[0].ranges[0].last += 2;
	two = compiled(a, &c);
	assert_int_equal(snapshot_commit(a, two), 2);
	for (uint32_t i = 0; i < 2; i++) {
		assert_int_equal(two->addresses[i].address.net, one->addresses[i + 2].address.net);
		assert_int_equal(two->addresses[i].ports, one->addresses[i + 2].ports);
		assert_int_equal(take(a, two, i, (uint16_t)(2002 + i)), -1);
	}
	assert_int_equal(two->addresses[4].ports, one->addresses[4].ports);
	for (uint32_t i = 2; i < 4; i++)
		assert_int_equal(port_hand_used(port_table_at(a, two->addresses[i].ports)), 0);
	assert_int_equal(take(a, one, 0, 2000), -1); /* what left the pool may still have live sessions */
	free(two);

	c = config_of(5); /* and back: the bits are as they were */
	two = compiled(a, &c);
	assert_memory_equal(two->addresses, one->addresses, one->n_addresses * sizeof one->addresses[0]);
	assert_int_equal(take(a, two, 1, 2001), -1);
	free(two);
	free(one);
	arena_close(a);
}

/* ---- what leaves ---- */

static uint32_t commit_compiled(struct arena *a, const struct config *c, struct snapshot *out)
{
	struct snapshot *s = compiled(a, c);
	int64_t generation = snapshot_commit(a, s);

	assert_true(generation > 0);
	*out = *s;
	free(s);
	return (uint32_t)generation;
}

/* Two addresses go; a port is in use on the first one, and a session without a port is on the second one. */
struct leaving {
	struct arena *a;
	struct config c;
	struct snapshot is;
	uint32_t table[2], session;
};

static struct leaving *two_leave(void)
{
	struct leaving *l = calloc(1, sizeof *l);

	l->a = small_arena(4, 1);
	l->c = config_of(5);
	l->c.nat.hold_s = 100;
	commit_compiled(l->a, &l->c, &l->is);
	for (unsigned i = 0; i < 2; i++)
		l->table[i] = l->is.addresses[i].ports;
	assert_int_equal(take(l->a, &l->is, 0, 2000), 2000);
	l->session = slab_take(l->a, &actor_of(l->a, 0)->slab[SLAB_session], 0, SLAB_session);
	session_at(l->a, l->session)->nat = be32_of(POOL + 1);
	slab_publish(session_at(l->a, l->session));
	l->c.pools[0].ranges[0].first += 2;
	assert_int_equal(commit_compiled(l->a, &l->c, &l->is), 2);
	return l;
}

static void leaving_close(struct leaving *l)
{
	arena_close(l->a);
	free(l);
}

static void expect_leaving(const struct leaving *l, unsigned n, uint32_t first)
{
	const struct snapshot *s = &l->is;

	assert_int_equal(s->n_leaving, n);
	for (unsigned i = 0; i < n; i++) {
		assert_int_equal(be32_host(s->addresses[s->n_addresses + i].address), first + i);
		assert_int_equal(s->addresses[s->n_addresses + i].ports, l->table[first + i - POOL]);
	}
	assert_int_equal(s->n_ranges, 2 + (n != 0));
	if (n) {
		assert_int_equal(s->ranges[2].first, first);
		assert_int_equal(s->ranges[2].last, first + n - 1);
	}
}

/* The port rests from this time on. */
static void free_the_port(const struct leaving *l, uint8_t epoch)
{
	struct port_table *t = port_table_at(l->a, l->table[0]);
	struct port_order o = port_hand_order(t);
	uint64_t word;

	assert_true(chunk_put(t, PORTS_OTHER, port_place_of(&o, 2000), true, epoch, &word));
}

static void test_what_leaves_drains(void **state)
{
	struct leaving *l = two_leave();

	expect_leaving(l, 2, POOL);
	assert_int_equal(snapshot_drain(l->a, 1000), 0);
	free_the_port(l, 10);
	assert_int_equal(snapshot_drain(l->a, 1199), 0); /* it rests */
	assert_int_equal(snapshot_drain(l->a, 1200), 1);
	assert_int_equal(snapshot_free_drained(l->a), 0); /* it is in force still */
	assert_int_equal(commit_compiled(l->a, &l->c, &l->is), 3);
	expect_leaving(l, 1, POOL + 1);
	assert_int_equal(tables_in(l->a), 5);
	assert_int_equal(snapshot_free_drained(l->a), 1);
	assert_int_equal(tables_in(l->a), 4);
	slab_put(l->a, &actor_of(l->a, 0)->slab[SLAB_session], SLAB_session, l->session);
	assert_int_equal(snapshot_drain(l->a, 1200), 1);
	commit_compiled(l->a, &l->c, &l->is);
	expect_leaving(l, 0, 0);
	assert_int_equal(snapshot_free_drained(l->a), 1);
	assert_int_equal(snapshot_free_drained(l->a), 0);
	assert_int_equal(tables_in(l->a), 3);
	leaving_close(l);
}

/* One that comes back has the table it had: also one that has drained, and is not freed yet. */
static void test_what_leaves_comes_back(void **state)
{
	struct leaving *l = two_leave();

	free_the_port(l, 10);
	assert_int_equal(snapshot_drain(l->a, 1200), 1);
	l->c.pools[0].ranges[0].first -= 2;
	commit_compiled(l->a, &l->c, &l->is);
	expect_leaving(l, 0, 0);
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(l->is.addresses[i].ports, l->table[i]);
	assert_int_equal(snapshot_free_drained(l->a), 0);
	assert_int_equal(snapshot_drain(l->a, 1200), 0); /* what is given from does not drain */
	assert_int_equal(tables_in(l->a), 5);
	leaving_close(l);
}

/* Whoever may be about to touch it: an engine that died, and is not succeeded yet. */
static void test_intents_keep_tables(void **state)
{
	struct leaving *l = two_leave();
	struct intent *in = &actor_of(l->a, 1)->intent;

	free_the_port(l, 10);
	assert_int_equal(snapshot_drain(l->a, 1200), 1);
	commit_compiled(l->a, &l->c, &l->is);
	atomic_store(&in->port, port_name(l->table[0], PORTS_TCP, 2000));
	assert_int_equal(snapshot_free_drained(l->a), 0);
	atomic_store(&in->port, 0);
	atomic_store(&in->block, block_word((struct block){l->table[0], 2048, 64, 1}));
	assert_int_equal(snapshot_free_drained(l->a), 0);
	atomic_store(&in->block, 0);
	assert_int_equal(snapshot_free_drained(l->a), 1);
	leaving_close(l);
}

/* A block of a subscriber's keeps its table, with no port in use. */
static void test_labels_keep_tables(void **state)
{
	struct leaving *l = two_leave();

	free_the_port(l, 10);
	atomic_store(&port_table_at(l->a, l->table[0])->block_of[40], 5);
	assert_int_equal(snapshot_drain(l->a, 1200), 0);
	atomic_store(&port_table_at(l->a, l->table[0])->block_of[40], 0);
	atomic_store(&port_table_at(l->a, l->table[0])->chunk[PORTS_TCP][9], (uint64_t)CHUNK_BLOCK << CHUNK_HOLDER);
	assert_int_equal(snapshot_drain(l->a, 1200), 0);
	atomic_store(&port_table_at(l->a, l->table[0])->chunk[PORTS_TCP][9], 0);
	assert_int_equal(snapshot_drain(l->a, 1200), 1);
	leaving_close(l);
}

/* The NIC has another key, so that ports lie in another order. */
static void turn_key(struct config *c, unsigned seed)
{
	struct rss *r = &c->net.side[SIDE_OUTSIDE].rss;
	struct rnd rnd = {seed + 1};

	for (unsigned i = 0; i < r->key_size; i++)
		r->key[i] = (uint8_t)rnd_below(&rnd, 256);
}

/* Orders that come and go: the former ones are kept as long as something is in them, two at most. */
static void test_orders_drain(void **state)
{
	struct arena *a = small_arena(4, 1);
	struct config c = config_of(2);
	struct snapshot *is = malloc(sizeof *is), *refused = malloc(sizeof *refused);
	struct config_error err = {""};
	uint32_t table[3];

	c.nat.ports = PORTS_SHUFFLED;
	for (uint8_t i = 0; i < 3; i++) {
		turn_key(&c, i);
		commit_compiled(a, &c, is);
		table[i] = is->addresses[0].ports;
		assert_int_equal(take(a, is, 0, (uint16_t)(2000 + i)), 2000 + i);
	}
	assert_int_equal(is->addresses[0].older[0] + is->addresses[0].older[1], table[0] + table[1]);
	turn_key(&c, 3);
	assert_false(snapshot_compile(a, &c, refused, &err));
	assert_non_null(strstr(err.text, "order of ports changed more than 2 times"));
	assert_true(port_hand_put(port_table_at(a, table[1]), PORTS_OTHER, 2001));
	assert_int_equal(snapshot_drain(a, 1000), 3); /* and two of the other address, which has none in use */
	commit_compiled(a, &c, is);
	assert_int_equal(is->addresses[0].older[0] + is->addresses[0].older[1], table[0] + table[2]);
	assert_int_equal(snapshot_free_drained(a), 3); /* what the refused one had made is used */
	free(is);
	free(refused);
	arena_close(a);
}

/* A page of port tables used before by someone else: a new table starts empty. */
static void test_new_tables_are_empty(void **state)
{
	struct arena *a = small_arena(1, 1);
	struct config c = config_of(3);
	struct snapshot *s;

	memset(arena_region(a, ARENA_pages), 0xff, ARENA_PAGE);
	s = compiled(a, &c);
	for (uint32_t i = 0; i < 3; i++) {
		const struct port_table *t = port_table_at(a, s->addresses[i].ports);

		assert_int_equal(port_hand_used(t), 0);
		for (int set = 0; set < N_PORT_SETS; set++)
			for (unsigned c2 = 0; c2 < N_CHUNKS; c2++)
				assert_int_equal(t->chunk[set][c2], 0);
	}
	free(s);
	arena_close(a);
}

/* ---- commit and read ---- */

static void test_generations(void **state)
{
	struct arena *a = small_arena(1, 1);
	struct config c = config_of(2);
	struct snapshot *got = malloc(sizeof *got), *s;

	assert_false(snapshot_read(a, got));
	assert_false(snapshot_news(a, 0));
	for (uint32_t g = 1; g < 20; g++) {
		c.nat.udp_timeout_s = 1000 + g;
		s = compiled(a, &c);
		assert_int_equal(snapshot_commit(a, s), g);
		assert_true(snapshot_news(a, g - 1));
		assert_false(snapshot_news(a, g));
		assert_true(snapshot_read(a, got));
		s->generation = g;
		assert_memory_equal(got, s, sizeof *got);
		free(s);
	}
	free(got);
	arena_close(a);
}

/* A snapshot whose every word says which generation it is. */
static void stamp(struct snapshot *s, uint32_t g)
{
	uint32_t *word = (uint32_t *)s;

	for (size_t i = 0; i < sizeof *s / sizeof *word; i++)
		word[i] = g;
}

struct traffic {
	struct arena *a;
	_Atomic bool done;
	uint64_t torn;
	_Atomic uint64_t reads;
};

static void *read_all(void *arg)
{
	struct traffic *w = arg;
	struct snapshot *s = malloc(sizeof *s);
	const uint32_t *word = (const uint32_t *)s;

	while (!atomic_load(&w->done)) {
		bool same = snapshot_read(w->a, s);

		for (size_t i = 0; same && i < sizeof *s / sizeof *word; i++)
			same = word[i] == s->generation;
		w->reads++;
		w->torn += !same;
	}
	free(s);
	return NULL;
}

/* Nothing holds these commits back (a private arena knows no claims): a copy overtaken by two is made again. Plain memory
 * by design, so not for the thread sanitizer. */
static void test_copies_are_whole(void **state)
{
	struct traffic w = {.a = small_arena(1, 1)};
	struct snapshot *s = malloc(sizeof *s);
	pthread_t reader;

	if (UNDER_TSAN)
		skip();
	stamp(s, 1);
	assert_int_equal(snapshot_commit(w.a, s), 1);
	assert_int_equal(pthread_create(&reader, NULL, read_all, &w), 0);
	for (uint32_t g = 2; g < 30000 || !w.reads; g++) { /* until the reader had its turn */
		stamp(s, g);
		assert_int_equal(snapshot_commit(w.a, s), g);
	}
	atomic_store(&w.done, true);
	pthread_join(reader, NULL);
	assert_int_equal(w.torn, 0);
	free(s);
	arena_close(w.a);
}

/* ---- engines that lag ---- */

static struct config named;

static int fresh_name(void **state)
{
	named = config_of(3);
	snprintf(named.arena.name, sizeof named.arena.name, "/corenat-test-%d", (int)getpid());
	return 0;
}

static int remove_object(void **state)
{
	shm_unlink(named.arena.name);
	return 0;
}

/* An engine that claims its role, says so, and acknowledges what it is told to. */
static void engine_process(unsigned n, int ready, int order)
{
	struct arena_error err;
	struct arena *a = arena_open(&named, &err);
	uint32_t g;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (!a || arena_claim(a, n) != 0)
		_exit(1);
	do
		(void)!write(ready, "", 1);
	while (read(order, &g, sizeof g) == sizeof g && (atomic_store(&actor_of(a, n)->config_ack, g), true));
	_exit(0);
}

struct engine {
	pid_t pid;
	int ready, order;
};

static void engine_wait(const struct engine *e)
{
	char c;

	assert_int_equal(read(e->ready, &c, 1), 1);
}

static struct engine engine_start(unsigned n)
{
	int ready[2], order[2];

	assert_int_equal(pipe(ready) | pipe(order), 0);
	struct engine e = {fork(), ready[0], order[1]};
	if (e.pid == 0) {
		close(ready[0]);
		close(order[1]);
		engine_process(n, ready[1], order[0]);
	}
	close(ready[1]);
	close(order[0]);
	engine_wait(&e);
	return e;
}

static void engine_acknowledge(const struct engine *e, uint32_t g)
{
	assert_int_equal(write(e->order, &g, sizeof g), sizeof g);
	engine_wait(e);
}

static void engine_kill(const struct engine *e)
{
	kill(e->pid, SIGKILL);
	assert_int_equal(waitpid(e->pid, NULL, 0), e->pid);
	close(e->ready);
	close(e->order);
}

static void test_waits_for_living_engines(void **state)
{
	struct arena_error err = {""};
	struct arena *a = arena_open(&named, &err);
	struct snapshot *s;

	if (!a)
		fail_msg("%s", err.text);
	s = compiled(a, &named);
	struct engine e0 = engine_start(0), e1 = engine_start(1);

	assert_int_equal(snapshot_commit(a, s), 1); /* the first replaces nothing */
	assert_int_equal(snapshot_commit(a, s), -EBUSY);
	engine_acknowledge(&e0, 1);
	assert_int_equal(snapshot_commit(a, s), -EBUSY); /* the other one */
	assert_false(snapshot_is_settled(a));
	assert_int_equal(snapshot_free_drained(a), 0);
	engine_acknowledge(&e1, 1);
	assert_int_equal(snapshot_commit(a, s), 2);
	engine_acknowledge(&e0, 2);
	assert_int_equal(snapshot_commit(a, s), -EBUSY);
	assert_int_equal(a->header->config_generation, 2); /* refused: nothing has changed */
	engine_kill(&e1);                                  /* the dead hold nobody up */
	assert_int_equal(snapshot_commit(a, s), 3);
	e1 = engine_start(1); /* a successor has acknowledged nothing yet, whatever its predecessor did */
	assert_int_equal(snapshot_commit(a, s), -EBUSY);
	engine_acknowledge(&e0, 3);
	engine_acknowledge(&e1, 3);
	assert_int_equal(snapshot_commit(a, s), 4);
	engine_kill(&e0);
	engine_kill(&e1);
	assert_int_equal(snapshot_commit(a, s), 5);
	free(s);
	arena_close(a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_compile),
		cmocka_unit_test(test_last_address),
		cmocka_unit_test(test_no_page_left),
		cmocka_unit_test(test_no_page_left_after_addresses_went),
		cmocka_unit_test(test_ports_outlive_commits),
		cmocka_unit_test(test_what_leaves_drains),
		cmocka_unit_test(test_what_leaves_comes_back),
		cmocka_unit_test(test_intents_keep_tables),
		cmocka_unit_test(test_labels_keep_tables),
		cmocka_unit_test(test_orders_drain),
		cmocka_unit_test(test_new_tables_are_empty),
		cmocka_unit_test(test_generations),
		cmocka_unit_test(test_copies_are_whole),
		cmocka_unit_test_setup_teardown(test_waits_for_living_engines, fresh_name, remove_object),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
