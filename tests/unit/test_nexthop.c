/* nexthop: neighbours against a list to the last place, copies never torn, writers that died half-way. */
#include "shm/nexthop.h"
#include "tests/unit/rnd.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static struct nexthop *nexthop_new(void)
{
	void *p = mmap(NULL, sizeof(struct nexthop), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	assert_ptr_not_equal(p, MAP_FAILED);
	return p;
}

static void nexthop_free(struct nexthop *nh)
{
	munmap(nh, sizeof *nh);
}

/* A link whose every byte follows from `n` and its side: what is torn shows. */
static struct link_header link_of(uint32_t n, enum side side)
{
	struct link_header l = {
		.mtu = (uint16_t)((n & 0xff) * 257), .side = (uint8_t)side, .state = ADJACENCY_RESOLVED};

	memset(l.dst, (int)(n & 0xff), sizeof l.dst);
	memset(l.src, (int)(n & 0xff), sizeof l.src);
	return l;
}

static bool whole(const struct link_header *l)
{
	struct link_header want = link_of(l->dst[0], l->side);

	want.state = l->state;
	return memcmp(l, &want, sizeof want) == 0;
}

/* ---- neighbours ---- */

struct model {
	be32_t address;
	enum side side;
	uint32_t index, n;
};

static void check_one(const struct nexthop *nh, const struct model *m, uint64_t seed)
{
	struct link_header want = link_of(m->n, m->side), got;

	CHECK_AT(seed, m->n, nexthop_find(nh, m->side, 0, m->address) == m->index);
	got = nexthop_read(nh, m->index);
	CHECK_AT(seed, m->n, memcmp(&got, &want, sizeof got) == 0);
}

static void test_against_a_list(void **state)
{
	enum { NEIGHBOURS = 300, STEPS = 5000 };

	for (uint64_t seed = 1; seed <= 10; seed++) {
		struct nexthop *nh = nexthop_new();
		struct model m[NEIGHBOURS] = {{{0}, 0, 0, 0}};
		struct rnd r = {seed};

		for (uint32_t i = 0; i < NEIGHBOURS; i++) { /* both sides of the same addresses, neighbours in number */
			m[i].address = be32_of(0x0a000001 + i / 2 * (i % 3 ? 1 : 65536));
			m[i].side = i % 2;
		}
		for (uint32_t step = 1; step <= STEPS; step++) {
			struct model *one = &m[rnd_below(&r, NEIGHBOURS)];
			struct link_header l = link_of(step, one->side);

			if (!one->index)
				CHECK_AT(seed, step, nexthop_find(nh, one->side, 0, one->address) == ADJACENCY_NONE);
			uint32_t i = nexthop_set_adjacency(nh, one->address, &l);
			CHECK_AT(seed, step, i != ADJACENCY_NONE && (!one->index || one->index == i));
			one->index = i;
			one->n = step;
			check_one(nh, one, seed);
		}
		for (uint32_t i = 0; i < NEIGHBOURS; i++)
			if (m[i].index)
				check_one(nh, &m[i], seed);
		nexthop_free(nh);
	}
}

/* Filled until a place is refused: every neighbour has an index of its own, and keeps it. */
static void test_full(void **state)
{
	struct nexthop *nh = nexthop_new();
	uint32_t *index = calloc(ADJACENCY_MAX + 1, sizeof *index), n = 0;
	bool *had = calloc(ADJACENCY_MAX, 1);
	struct rnd r = {4};
	be32_t *address = calloc(ADJACENCY_MAX + 1, sizeof *address);

	for (;; n++) {
		struct link_header l = link_of(n, SIDE_OUTSIDE);

		address[n] = be32_of((uint32_t)rnd_next(&r));
		index[n] = nexthop_set_adjacency(nh, address[n], &l);
		if (index[n] == ADJACENCY_NONE)
			break;
		assert_true(index[n] < ADJACENCY_MAX && !had[index[n]]);
		had[index[n]] = true;
	}
	assert_true(n > ADJACENCY_MAX / 2);
	print_message("first neighbour refused after %u of %u\n", n, ADJACENCY_MAX - 1);
	assert_int_equal(nexthop_find(nh, SIDE_OUTSIDE, 0, address[n]), ADJACENCY_NONE);
	for (uint32_t i = 0; i < n; i++)
		assert_int_equal(nexthop_find(nh, SIDE_OUTSIDE, 0, address[i]), index[i]);
	struct link_header l = link_of(77, SIDE_OUTSIDE); /* those that are in can still change */
	assert_int_equal(nexthop_set_adjacency(nh, address[0], &l), index[0]);
	free(index);
	free(had);
	free(address);
	nexthop_free(nh);
}

static void test_used(void **state)
{
	struct nexthop *nh = nexthop_new();

	assert_false(nexthop_take_used(nh, 9));
	atomic_store(&nh->adjacency[9].used, 1);
	assert_true(nexthop_take_used(nh, 9));
	assert_false(nexthop_take_used(nh, 9));
	nexthop_free(nh);
}

/* ---- torn copies ---- */

struct traffic {
	struct nexthop *nh;
	be32_t fixed; /* rewritten all the time */
	_Atomic bool done;
	_Atomic uint64_t resolved;
	uint64_t torn, lost;
};

static void *read_all(void *arg)
{
	struct traffic *w = arg;
	uint32_t index = nexthop_find(w->nh, SIDE_INSIDE, 0, w->fixed);

	while (!atomic_load(&w->done)) {
		struct link_header l = nexthop_read(w->nh, index);

		if (l.state == ADJACENCY_RESOLVED) {
			w->resolved++;
			w->torn += !whole(&l);
		}
		w->lost += nexthop_find(w->nh, SIDE_INSIDE, 0, w->fixed) != index;
	}
	return NULL;
}

/* The readers may not have been given a processor yet: written until each has read enough. */
static void test_copies_are_whole(void **state)
{
	enum { WRITES = 400000, READS = 1000 };
	struct traffic w[2] = {{.nh = nexthop_new(), .fixed = be32_of(0x0a000001)}};
	struct link_header l = link_of(0, SIDE_INSIDE);
	pthread_t reader[2];

	nexthop_set_adjacency(w[0].nh, w[0].fixed, &l);
	w[1].nh = w[0].nh;
	w[1].fixed = w[0].fixed;
	for (int i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&reader[i], NULL, read_all, &w[i]), 0);
	for (uint32_t n = 0; n < WRITES || w[0].resolved < READS || w[1].resolved < READS; n++) {
		be32_t other = be32_of(0x0a000100 + n % 5000); /* new ones come meanwhile */

		l = link_of(n, SIDE_INSIDE);
		nexthop_set_adjacency(w[0].nh, n % 8 ? w[0].fixed : other, &l);
	}
	for (int i = 0; i < 2; i++)
		atomic_store(&w[i].done, true);
	for (int i = 0; i < 2; i++)
		pthread_join(reader[i], NULL);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(w[i].torn, 0);
		assert_int_equal(w[i].lost, 0);
	}
	nexthop_free(w[0].nh);
}

/* ---- writers that die ---- */

static void test_repair(void **state)
{
	struct nexthop *nh = nexthop_new();
	struct link_header l = link_of(5, SIDE_INSIDE);
	be32_t address = be32_of(0x0a000001);
	uint32_t i = nexthop_set_adjacency(nh, address, &l);

	atomic_fetch_add(&nh->adjacency[i].seq, 1); /* died just after */
	nh->adjacency[i].link.dst[0] = 99;
	assert_int_equal(nexthop_read(nh, i).state, ADJACENCY_UNRESOLVED);
	assert_int_equal(nexthop_find(nh, SIDE_INSIDE, 0, address), i);
	nexthop_repair(nh);
	assert_int_equal(nh->adjacency[i].seq % 2, 0);
	assert_int_equal(nexthop_read(nh, i).state, ADJACENCY_UNRESOLVED);
	assert_int_equal(nexthop_set_adjacency(nh, address, &l), i);
	assert_int_equal(nexthop_read(nh, i).state, ADJACENCY_RESOLVED);

	atomic_fetch_add(&nh->adjacency[i].seq, 1); /* or nobody repaired: the next write does as well */
	assert_int_equal(nexthop_set_adjacency(nh, address, &l), i);
	assert_int_equal(nexthop_read(nh, i).state, ADJACENCY_RESOLVED);
	nexthop_free(nh);
}

static void victim(struct nexthop *nh)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (uint32_t n = 0;; n++) {
		struct link_header l = link_of(n, n % 2);

		nexthop_set_adjacency(nh, be32_of(0x0a000000 + n / 2 % 50), &l);
	}
}

static void test_killed_at_any_moment(void **state)
{
	struct nexthop *nh = nexthop_new();
	struct rnd r = {8};
	unsigned repaired = 0;

	for (uint64_t round = 1; round <= 100; round++) {
		pid_t pid = fork();

		if (pid == 0)
			victim(nh);
		nanosleep(&(struct timespec){.tv_nsec = (long)rnd_below(&r, 3000000)}, NULL);
		kill(pid, SIGKILL);
		assert_int_equal(waitpid(pid, NULL, 0), pid);
		for (uint32_t i = 1; i < ADJACENCY_MAX; i++)
			repaired += nh->adjacency[i].seq % 2;
		nexthop_repair(nh);
		for (uint32_t i = 1; i < ADJACENCY_MAX; i++) {
			struct link_header l = nexthop_read(nh, i);

			CHECK_AT(round, i, nh->adjacency[i].seq % 2 == 0);
			CHECK_AT(round, i, l.state != ADJACENCY_RESOLVED || whole(&l));
		}
	}
	print_message("died inside a write: %u of 100\n", repaired);
	for (uint32_t n = 0; n < 100; n++) { /* all of it can be used */
		struct link_header l = link_of(n, n % 2);
		uint32_t i = nexthop_set_adjacency(nh, be32_of(0x0a000000 + n / 2), &l);

		assert_int_equal(nexthop_read(nh, i).state, ADJACENCY_RESOLVED);
	}
	nexthop_free(nh);
}

/* ---- routes ---- */

static void fill_routes(struct route_set *s, uint32_t g)
{
	s->n = 1 + g * 37 % ROUTES_MAX;
	for (uint32_t i = 0; i < s->n; i++)
		s->route[i] = (struct route){.prefix = g, .gateway = i, .length = 32, .kind = ROUTE_GATEWAY};
}

static bool routes_are(const struct route_set *s, uint32_t g)
{
	bool same = s->n == 1 + g * 37 % ROUTES_MAX;

	for (uint32_t i = 0; same && i < s->n; i++)
		same = s->route[i].prefix == g && s->route[i].gateway == i;
	return same;
}

static void test_route_generations(void **state)
{
	struct nexthop *nh = nexthop_new();
	struct route_set *got = malloc(sizeof *got);

	assert_int_equal(nexthop_read_routes(nh, got), 0);
	assert_int_equal(got->n, 0);
	for (uint32_t g = 1; g < 600; g++) {
		struct route_set *spare = nexthop_spare_routes(nh);

		assert_ptr_not_equal(spare, &nh->routes[nh->generation & 1]); /* never what is being read */
		fill_routes(spare, g);
		nexthop_read_routes(nh, got);
		assert_true(g == 1 || routes_are(got, g - 1)); /* half-filled is never named */
		nexthop_publish_routes(nh);
		assert_int_equal(nexthop_read_routes(nh, got), g);
		assert_true(routes_are(got, g));
	}
	nh->routes[nh->generation & 1].n = UINT32_MAX; /* what another process wrote may be anything */
	nexthop_read_routes(nh, got);
	assert_int_equal(got->n, ROUTES_MAX);
	free(got);
	nexthop_free(nh);
}

struct route_traffic {
	struct nexthop *nh;
	_Atomic bool done;
	_Atomic uint64_t reads;
	uint64_t torn;
};

static void *read_routes(void *arg)
{
	struct route_traffic *w = arg;
	struct route_set *got = malloc(sizeof *got);

	while (!atomic_load(&w->done)) {
		uint32_t g = nexthop_read_routes(w->nh, got);

		w->reads++;
		w->torn += g != 0 && !routes_are(got, g);
	}
	free(got);
	return NULL;
}

/* Publishing as fast as can be: a copy that was overtaken is made again, never used. Plain memory by design (the second
 * look at the generation decides), so not for the thread sanitizer. */
static void test_route_copies_are_whole(void **state)
{
	struct route_traffic w = {.nh = nexthop_new()};
	pthread_t reader;

	if (UNDER_TSAN)
		skip();
	assert_int_equal(pthread_create(&reader, NULL, read_routes, &w), 0);
	for (uint32_t g = 1; g <= 30000 || w.reads < 10; g++) {
		fill_routes(nexthop_spare_routes(w.nh), g);
		nexthop_publish_routes(w.nh);
	}
	atomic_store(&w.done, true);
	pthread_join(reader, NULL);
	assert_int_equal(w.torn, 0);
	nexthop_free(w.nh);
}

/* ---- requests ---- */

static void test_requests_full_and_wrapping(void **state)
{
	struct nexthop *nh = nexthop_new();
	struct nexthop_request q;
	struct rnd r = {6};

	nh->ring[3].head = nh->ring[3].tail = UINT32_MAX - 700; /* the counters run over in the middle */
	for (uint32_t round = 0, in = 0, out = 0; round < 3000; round++) {
		for (uint32_t n = rnd_below(&r, 400); n; n--) {
			bool room = in - out < NEXTHOP_REQUESTS;

			CHECK_AT(6, round, nexthop_request(nh, 3, in % 2, 0, be32_of(in)) == room);
			in += room;
		}
		for (uint32_t n = rnd_below(&r, 400); n; n--) {
			bool any = in != out;

			CHECK_AT(6, round, nexthop_next_request(nh, 3, &q) == any);
			if (any) {
				CHECK_AT(6, round, be32_host(q.address) == out && q.side == out % 2);
				out++;
			}
		}
	}
	assert_false(nexthop_next_request(nh, 2, &q)); /* each engine has its own */
	assert_false(nexthop_next_request(nh, 4, &q));
	nexthop_free(nh);
}

enum { REQUESTS = 200000 };

static void *ask(void *arg)
{
	for (uint32_t n = 0; n < REQUESTS;)
		if (nexthop_request(arg, 0, n % 2, 0, be32_of(n)))
			n++;
		else
			sched_yield();
	return NULL;
}

static void test_requests_between_threads(void **state)
{
	struct nexthop *nh = nexthop_new();
	struct nexthop_request q;
	pthread_t engine;

	assert_int_equal(pthread_create(&engine, NULL, ask, nh), 0);
	for (uint32_t n = 0; n < REQUESTS;)
		if (nexthop_next_request(nh, 0, &q)) {
			CHECK_AT(0, n, be32_host(q.address) == n && q.side == n % 2);
			n++;
		} else {
			sched_yield();
		}
	pthread_join(engine, NULL);
	nexthop_free(nh);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_against_a_list),
		cmocka_unit_test(test_full),
		cmocka_unit_test(test_used),
		cmocka_unit_test(test_copies_are_whole),
		cmocka_unit_test(test_repair),
		cmocka_unit_test(test_killed_at_any_moment),
		cmocka_unit_test(test_route_generations),
		cmocka_unit_test(test_route_copies_are_whole),
		cmocka_unit_test(test_requests_full_and_wrapping),
		cmocka_unit_test(test_requests_between_threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
