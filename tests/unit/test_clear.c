/* Clearing sessions on request: the ring, the engines' walks, and deaths half-way. Virtual time, two engines. */
#include "pe/guests.h"
#include "pe/nat_internal.h"
#include "shm/clear.h"
#include "tests/unit/check_box.h"

#include <errno.h>

enum { SESSIONS = 8192, PORT_COUNT = 4000 };

static struct session_filter filter_inside(uint32_t subscriber)
{
	return (struct session_filter){.inside = be32_of(SUBSCRIBERS + subscriber), .fields = FILTER_INSIDE};
}

/* Sessions of `subscriber` to as many remotes, made by both engines in turn. */
static void make(struct box *b, uint32_t subscriber, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		assert_int_equal(
			box_out(b, i % ENGINES, tuple_of(L4_UDP, subscriber, 5000, i % 200, (uint16_t)(53 + i / 200))),
			VERDICT_fwd_out_new);
}

static unsigned flows_of(const struct box *b, uint32_t subscriber)
{
	struct session_filter f = filter_inside(subscriber);
	unsigned n = 0;

	for (uint32_t i = 0; (i = slab_next_live(b->arena, SLAB_session, i + 1));)
		n += filter_matches(&f, session_at(b->arena, i));
	return n;
}

static uint32_t post(struct box *b, struct session_filter f)
{
	int64_t number = clear_post(b->arena, &f, b->now);

	assert_true(number > 0);
	return (uint32_t)number;
}

static uint64_t yet_to_do(const struct box *b, uint32_t number)
{
	struct clear_waits w = clear_waits(b->arena, number);

	return w.running | w.stopped;
}

/* Turns of one engine until it has done all; a millisecond each. */
static void work(struct box *b, unsigned engine)
{
	unsigned turns = 0;

	do {
		b->now = mono_after(b->now, span_ms(1));
		nat_housekeep(&b->nat[engine], b->now);
		assert_true(++turns < 10000);
	} while (b->nat[engine].actor->clear_done != clear_ring_of(b->arena)->last);
}

static uint64_t cleared(const struct box *b)
{
	uint64_t n = 0;

	for (unsigned e = 0; e < ENGINES; e++)
		n += counter_get(&b->nat[e].actor->counters[COUNTER_sessions_cleared]);
	return n;
}

/* ---- the ring ---- */

static void test_filters(void **state)
{
	struct session s = {.inside = be32_of(1),
		.nat = be32_of(2),
		.remote = be32_of(3),
		.inside_port = be16_of(4),
		.nat_port = be16_of(5),
		.remote_port = be16_of(6),
		.l4 = L4_UDP,
		.realm = 100,
		.flags = SESSION_FLOW};
	struct session_filter same = {
		s.inside, s.nat, s.remote, s.inside_port, s.nat_port, s.remote_port, s.l4, 255, 0, 100, {0}};

	for (unsigned fields = 1; fields <= 255; fields++) {
		struct session_filter f = same;

		f.fields = (uint8_t)fields;
		assert_true(filter_matches(&f, &s));
		f.inside.net ^= 1u;
		assert_int_equal(filter_matches(&f, &s), !(fields & FILTER_INSIDE));
		f = (struct session_filter){.fields = (uint8_t)fields, .l4 = L4_UDP};
		assert_int_equal(filter_matches(&f, &s), fields == FILTER_L4);
	}
	s.flags = 0;
	assert_false(filter_matches(&same, &s)); /* it carries for others only */
}

static void test_ring(void **state)
{
	struct box *b = box_open(SESSIONS, PORT_COUNT);
	struct clear_ring *ring = clear_ring_of(b->arena);
	struct session_filter f = {.fields = 0}, got;

	assert_int_equal(clear_post(b->arena, &f, b->now), -EINVAL);
	assert_int_equal(clear_next(ring, 0, &got), 0);
	for (uint32_t i = 1; i <= 3 * CLEAR_SLOTS; i++) { /* nobody has sessions: nobody is waited for */
		assert_int_equal(post(b, filter_inside(i)), i);
		assert_int_equal(clear_next(ring, i - 1, &got), i);
		assert_int_equal(be32_host(got.inside), SUBSCRIBERS + i);
		assert_int_equal(got.until, 1000);
		assert_int_equal(yet_to_do(b, i), 0);
	}
	assert_int_equal(clear_next(ring, 0, &got), 2 * CLEAR_SLOTS + 1); /* those before are gone */
	assert_int_equal(clear_next(ring, 3 * CLEAR_SLOTS, &got), 0);
	assert_int_equal(clear_next(ring, UINT32_MAX - 5, &got), 2 * CLEAR_SLOTS + 1); /* nonsense is survived */

	work(b, 0);
	work(b, 1);
	make(b, 1, 2);
	uint32_t first = post(b, filter_inside(100));
	assert_int_equal(yet_to_do(b, first), 3);
	for (unsigned i = 1; i < CLEAR_SLOTS; i++)
		post(b, filter_inside(100));
	f = filter_inside(100);
	assert_int_equal(clear_post(b->arena, &f, b->now), -EBUSY);
	work(b, 0);
	assert_int_equal(yet_to_do(b, first), 2);
	assert_int_equal(clear_post(b->arena, &f, b->now), -EBUSY);
	work(b, 1);
	assert_int_equal(yet_to_do(b, first), 0);
	assert_int_equal(post(b, f), first + CLEAR_SLOTS);
	expect_clean(b, NULL);
	box_close(b);
}

/* ---- the walk ---- */

static void test_only_what_is_meant_ends(void **state)
{
	struct box *b = box_open(SESSIONS, PORT_COUNT);
	struct check_counts n;

	make(b, 1, 100);
	make(b, 2, 100);
	uint32_t number = post(b, filter_inside(1));
	assert_int_equal(flows_of(b, 1), 100);
	work(b, 0);
	assert_int_equal(flows_of(b, 1), 50); /* each its own */
	work(b, 1);
	assert_int_equal(yet_to_do(b, number), 0);
	assert_int_equal(flows_of(b, 1), 0);
	assert_int_equal(flows_of(b, 2), 100);
	assert_int_equal(cleared(b), 100);
	for (int turn = 0; turn < 3000; turn++) /* adopters let go, whose mapping it was goes last */
		for (unsigned e = 0; e < ENGINES; e++)
			nat_housekeep(&b->nat[e], b->now = mono_after(b->now, span_ms(1)));
	expect_clean(b, &n);
	assert_int_equal(n.sessions, 100);
	assert_int_equal(n.ports[PORTS_OTHER], 1); /* subscriber 2's */
	box_close(b);
}

static void test_by_nat_remote_and_protocol(void **state)
{
	struct box *b = box_open(SESSIONS, PORT_COUNT);
	struct session_filter f = {.remote = be32_of(REMOTES + 7), .fields = FILTER_REMOTE};

	make(b, 1, 100);
	assert_int_equal(box_out(b, 0, tuple_of(L4_TCP, 3, 80, 8, 80)), VERDICT_fwd_out_new);
	post(b, f);
	work(b, 1);
	assert_int_equal(cleared(b), 1);
	post(b, (struct session_filter){.l4 = L4_TCP, .fields = FILTER_L4});
	work(b, 0);
	assert_int_equal(cleared(b), 2);
	post(b, (struct session_filter){.l4 = L4_TCP,
			.remote = be32_of(REMOTES + 9),
			.fields = FILTER_L4 | FILTER_REMOTE}); /* both at once: none */
	work(b, 0);
	work(b, 1);
	assert_int_equal(cleared(b), 2);
	struct session_filter nat = {.nat = be32_of(b->reply.dst), .fields = FILTER_NAT};
	assert_int_equal(box_out(b, 0, tuple_of(L4_UDP, 1, 5000, 150, 53)), VERDICT_fwd_out_new);
	nat.nat = be32_of(b->reply.dst);
	post(b, nat);
	work(b, 0);
	work(b, 1);
	assert_int_equal(flows_of(b, 1), 0);
	expect_clean(b, NULL);
	box_close(b);
}

/* One turn ends a few, whatever is asked: the rest in the turns that follow. */
static void test_slices_are_bounded(void **state)
{
	struct box *b = box_open(SESSIONS, PORT_COUNT);
	unsigned most = 0, turns = 0;

	make(b, 1, 4000);
	post(b, filter_inside(1));
	do {
		uint64_t before = cleared(b);

		nat_clear_slice(&b->nat[0]);
		if (cleared(b) - before > most)
			most = (unsigned)(cleared(b) - before);
		turns++;
	} while (b->nat[0].clearing.number);
	assert_int_equal(cleared(b), 2000);
	assert_true(most <= 32);
	assert_true(turns >= 2000 / 32);
	expect_clean(b, NULL);
	box_close(b);
}

static void test_younger_sessions_stay(void **state)
{
	struct box *b = box_open(SESSIONS, PORT_COUNT);

	make(b, 1, 10);
	post(b, filter_inside(1));
	b->now = mono_after(b->now, span_s(1));
	assert_int_equal(box_out(b, 0, tuple_of(L4_UDP, 1, 6000, 1, 53)), VERDICT_fwd_out_new);
	work(b, 0);
	work(b, 1);
	assert_int_equal(flows_of(b, 1), 1);
	expect_clean(b, NULL);
	box_close(b);
}

/* The session that carries a mapping others use: its flow ends at once, the mapping when they do. */
static void test_a_cleared_carrier_stays_for_its_users(void **state)
{
	struct box *b = box_open(SESSIONS, PORT_COUNT);
	struct check_counts n;

	assert_int_equal(box_out(b, 0, tuple_of(L4_UDP, 1, 5000, 1, 53)), VERDICT_fwd_out_new);
	assert_int_equal(box_out(b, 0, tuple_of(L4_UDP, 1, 5000, 2, 53)), VERDICT_fwd_out_new);
	post(b, (struct session_filter){.remote = be32_of(REMOTES + 1), .fields = FILTER_REMOTE});
	work(b, 0);
	assert_int_equal(flows_of(b, 1), 1);
	expect_clean(b, &n);
	assert_int_equal(n.mappings, 1);
	post(b, filter_inside(1));
	work(b, 0);
	box_pass(b, 0);
	expect_clean(b, &n);
	assert_int_equal(n.mappings + n.sessions + n.ports[PORTS_OTHER], 0);
	box_close(b);
}

/* ---- deaths ---- */

static void test_mgmtd_dies_half_way(void **state)
{
	struct box *b = box_open(SESSIONS, PORT_COUNT);
	struct clear_ring *ring = clear_ring_of(b->arena);

	make(b, 1, 10);
	make(b, 2, 10);
	uint32_t number = post(b, filter_inside(3)) + 1;
	struct clear_slot *next = &ring->slot[number % CLEAR_SLOTS];

	for (int how = 0; how < 2; how++) { /* in the middle of the words; and with only `last` to write */
		next->number = how ? number : 0;
		memset((void *)next->word, how ? 0xff : 0, sizeof next->word);
		work(b, 0);
		work(b, 1);
		assert_int_equal(flows_of(b, 1) + flows_of(b, 2), 20);
		assert_int_equal(b->nat[0].actor->clear_done, number - 1);
		expect_clean(b, NULL);
	}
	assert_int_equal(post(b, filter_inside(1)), number);
	work(b, 0);
	work(b, 1);
	assert_int_equal(flows_of(b, 1), 0);
	assert_int_equal(flows_of(b, 2), 10);
	box_close(b);
}

/* What stands in the ring is taken for what it says, and never for everything. */
static void test_a_filter_of_nothing_ends_nothing(void **state)
{
	struct box *b = box_open(SESSIONS, PORT_COUNT);

	make(b, 1, 10);
	uint32_t number = post(b, filter_inside(1));
	memset((void *)clear_ring_of(b->arena)->slot[number % CLEAR_SLOTS].word, 0, sizeof(struct session_filter));
	work(b, 0);
	work(b, 1);
	assert_int_equal(flows_of(b, 1), 10);
	assert_int_equal(yet_to_do(b, number), 0);
	box_close(b);
}

static void test_engine_dies_in_its_walk(void **state)
{
	struct box *b = box_open(SESSIONS, PORT_COUNT);

	make(b, 1, 1000);
	uint32_t number = post(b, filter_inside(1));
	for (int death = 0; death < 5; death++) {
		nat_clear_slice(&b->nat[0]);
		assert_true(yet_to_do(b, number) & 1);
		nat_init(&b->nat[0], b->arena, 0, 9, b->now);
		nat_configure(&b->nat[0]);
		nat_load_routes(&b->nat[0]);
		expect_clean(b, NULL);
	}
	assert_in_range(cleared(b), 5, 499);
	work(b, 0);
	assert_int_equal(yet_to_do(b, number), 2);
	assert_int_equal(flows_of(b, 1), 500);
	assert_int_equal(cleared(b), 500);
	box_close(b);
}

/* An engine that runs no more, looked after by another: by the very same walk. */
static void test_guests_sessions_end_too(void **state)
{
	struct box *b = box_open(SESSIONS, PORT_COUNT);

	make(b, 1, 100);
	uint32_t number = post(b, filter_inside(1));
	b->nat[0].config.engines = 1;
	for (int turn = 0; turn < 100; turn++) {
		b->now = mono_after(b->now, span_ms(20));
		nat_housekeep(&b->nat[0], b->now);
		guests_tend(&b->nat[0], b->now);
	}
	assert_int_equal(yet_to_do(b, number), 0);
	assert_int_equal(flows_of(b, 1), 0);
	guests_leave(&b->nat[0]);
	expect_clean(b, NULL);
	box_close(b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_filters),
		cmocka_unit_test(test_ring),
		cmocka_unit_test(test_only_what_is_meant_ends),
		cmocka_unit_test(test_by_nat_remote_and_protocol),
		cmocka_unit_test(test_slices_are_bounded),
		cmocka_unit_test(test_younger_sessions_stay),
		cmocka_unit_test(test_a_cleared_carrier_stays_for_its_users),
		cmocka_unit_test(test_mgmtd_dies_half_way),
		cmocka_unit_test(test_a_filter_of_nothing_ends_nothing),
		cmocka_unit_test(test_engine_dies_in_its_walk),
		cmocka_unit_test(test_guests_sessions_end_too),
	};

	return cmocka_run_group_tests_name("clear", tests, NULL, NULL);
}
