/* guests: what an engine leaves behind that is taken out of the configuration. */
#include "pe/guests.h"
#include "tests/unit/check_box.h"

enum { SESSIONS = 1024, PORT_COUNT = 400, IDLE_S = 60 };

/* Engine 0 alone is configured from here on; engine 1 ran and is gone. */
static void take_out(struct box *b)
{
	b->nat[0].config.engines = 1;
	atomic_store(&actor_of(b->arena, 1)->incarnation, 1);
}

static void pass(struct box *b, uint32_t seconds)
{
	for (uint32_t turn = 0; turn < seconds * 50; turn++) {
		b->now = mono_after(b->now, span_ms(20));
		nat_housekeep(&b->nat[0], b->now);
		guests_tend(&b->nat[0], b->now);
	}
}

/* Its sessions translate from the first packet on, before it was tended once more. */
static void test_first_packet(void **state)
{
	struct box *b = box_open(SESSIONS, PORT_COUNT);
	struct tuple t = tuple_of(L4_UDP, 1, 5000, 1, 53);

	assert_int_equal(box_out(b, 1, t), VERDICT_fwd_out_new);
	take_out(b);
	guests_tend(&b->nat[0], b->now);
	assert_int_equal(box_out(b, 0, t), VERDICT_fwd_out_hit);
	assert_int_equal(box_give(b, 0, SIDE_OUTSIDE, &b->reply, 0), VERDICT_fwd_in_hit);
	guests_leave(&b->nat[0]);
	expect_clean(b, NULL);
	box_close(b);
}

/* A session of engine 0 whose reply engine 1 adopted: it ends in its time, and its port is free again. */
static void test_adopted_are_let_go(void **state)
{
	struct box *b = box_open(SESSIONS, PORT_COUNT);
	struct check_counts counts;
	unsigned adopted = 0;

	for (unsigned remote = 1; remote < 20; remote++) { /* of one mapping, whose port was chosen for the first */
		assert_int_equal(box_out(b, 0, tuple_of(L4_UDP, 1, 5000, remote, 53)), VERDICT_fwd_out_new);
		adopted += box_in(b) == VERDICT_fwd_in_adopted;
	}
	assert_true(adopted > 0);
	take_out(b);
	pass(b, IDLE_S + 10);
	expect_clean(b, &counts);
	assert_int_equal(counts.sessions, 0);
	assert_int_equal(counts.ports[PORTS_OTHER], 0);
	assert_null(b->nat[0].guest);
	box_close(b);
}

/* Named again, and taken out again: the second time as the first. */
static void test_twice(void **state)
{
	struct box *b = box_open(SESSIONS, PORT_COUNT);

	for (int round = 0; round < 2; round++) {
		take_out(b);
		guests_tend(&b->nat[0], b->now);
		assert_non_null(b->nat[0].guest);
		b->nat[0].config.engines = ENGINES;
		guests_tend(&b->nat[0], b->now);
		assert_null(b->nat[0].guest);
	}
	expect_clean(b, NULL);
	box_close(b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_first_packet),
		cmocka_unit_test(test_adopted_are_let_go),
		cmocka_unit_test(test_twice),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
