/* sweep: what a slice of aging ends, and when it is told that there is nothing to end. */
#include "pe/nat_internal.h"
#include "tests/unit/check_box.h"

enum { SESSIONS = 2048, PORT_COUNT = 1000, IDLE_S = 60, MANY = 300, MOST_OF_A_SLICE = 40 };

static uint32_t used(const struct box *b)
{
	return b->nat[0].actor->slab[SLAB_session].used;
}

/* A flow of engine 0 whose replies come to that, too. */
static uint32_t make_home(struct box *b, unsigned *number)
{
	for (;;) {
		struct tuple t = tuple_of(L4_UDP, 16 + *number / 16, (uint16_t)(5000 + *number % 16), 1, 53);

		++*number;
		assert_int_equal(box_out(b, 0, t), VERDICT_fwd_out_new);
		for (uint32_t i = 0; (i = slab_next_live(b->arena, SLAB_session, i + 1));) {
			const struct session *s = session_at(b->arena, i);

			if (s->inside_port.net == be16_of(t.sport).net && s->inside.net == be32_of(t.src).net &&
				!session_has(s, SESSION_AWAY))
				return i;
		}
	}
}

/* A pass over one table of engine 0: what the other one would end later is not looked at. */
static bool sweep(struct box *b, enum dir dir, unsigned slices)
{
	struct nat *n = &b->nat[0];
	bool more = false;

	n->sweep = (struct sweep){.dir = dir, .started = b->now, .created = n->sweep.created};
	b->now = mono_after(b->now, dir == DIR_OUTBOUND ? span_ms(999) : span_ms(1999));
	for (unsigned i = 0; i < slices; i++)
		more = nat_housekeep(n, b->now);
	return more;
}

static local_place place_of(const struct box *b, uint32_t index, enum dir dir)
{
	const struct nat *n = &b->nat[0];
	struct ending x = nat_ending_of(n, index);

	return local_find(&n->local[dir], x.hash[dir], index);
}

/* Whichever of its entries the sweep meets first. */
static void test_either_entry_ends_it(void **state)
{
	for (int dir = 0; dir < N_DIRS; dir++) {
		struct box *b = box_open(SESSIONS, PORT_COUNT);
		unsigned number = 0;
		uint32_t index = make_home(b, &number);

		assert_true(slab_live(session_at(b->arena, index)));
		b->now = mono_after(b->now, span_s(IDLE_S + 1));
		sweep(b, (enum dir)dir, 64);
		assert_false(slab_live(session_at(b->arena, index)));
		box_pass(b, IDLE_S);
		expect_clean(b, NULL);
		box_close(b);
	}
}

/* Nothing comes back for long: its entry for that is told what the other one says, and is idle no more. */
static void test_idle_entry_of_a_session_in_use(void **state)
{
	struct box *b = box_open(SESSIONS, PORT_COUNT);
	unsigned number = 0;
	uint32_t index = make_home(b, &number);
	const struct session *s = session_at(b->arena, index);
	struct tuple t = tuple_of(L4_UDP, 16 + (number - 1) / 16, (uint16_t)(5000 + (number - 1) % 16), 1, 53);
	local_place back = place_of(b, index, DIR_INBOUND);

	for (unsigned i = 0; i < 4; i++) {
		b->now = mono_after(b->now, span_s(IDLE_S / 2));
		assert_int_equal(box_out(b, 0, t), VERDICT_fwd_out_hit);
	}
	assert_true(local_idle_s(*back, b->nat[0].now_s) >= 2 * IDLE_S);
	sweep(b, DIR_INBOUND, 64);
	assert_true(slab_live(s) && !session_has(s, SESSION_DYING));
	assert_true(local_idle_s(*back, b->nat[0].now_s) <= 2);
	expect_clean(b, NULL);
	b->now = mono_after(b->now, span_s(IDLE_S)); /* and that does not make it live longer */
	sweep(b, DIR_INBOUND, 64);
	assert_false(slab_live(s));
	box_close(b);
}

/* However many are over: some end in each slice, and the next one is due at once. */
static void test_slices_are_bounded(void **state)
{
	struct box *b = box_open(SESSIONS, PORT_COUNT);
	unsigned number = 0, slices = 0;

	for (unsigned i = 0; i < MANY; i++)
		make_home(b, &number);
	nat_housekeep(&b->nat[0], b->now); /* has seen them made */
	b->now = mono_after(b->now, span_s(IDLE_S + 10));
	for (uint32_t was = used(b); was; was = used(b), slices++) {
		bool more = nat_housekeep(&b->nat[0], b->now);

		assert_true(was - used(b) <= MOST_OF_A_SLICE);
		assert_true(more || was == used(b));
		if (was == used(b)) /* another pass: replies that were to land elsewhere */
			b->now = mono_after(b->now, span_ms(500));
		assert_true(slices < 10 * MANY);
	}
	assert_true(slices >= MANY / MOST_OF_A_SLICE);
	box_pass(b, 0);
	expect_clean(b, NULL);
	box_close(b);
}

/* Who carries a mapping and who uses it, all in one slice. */
static void test_carrier_and_users_end_together(void **state)
{
	struct box *b = box_open(SESSIONS, PORT_COUNT);
	struct check_counts counts;

	for (unsigned remote = 1; remote <= 12; remote++)
		assert_int_equal(box_out(b, 0, tuple_of(L4_UDP, 1, 5000, remote, 53)), VERDICT_fwd_out_new);
	box_pass(b, IDLE_S + 1);
	assert_int_equal(used(b), 0);
	expect_clean(b, &counts);
	assert_int_equal(counts.ports[PORTS_OTHER], 0);
	box_close(b);
}

/* What comes from the outside keeps a connection: its entry for the other direction is told. */
static void test_connection_heard_from_outside(void **state)
{
	struct box *b = box_open(SESSIONS, PORT_COUNT);
	uint32_t opening = b->config.nat.tcp_opening_timeout_s;
	struct tuple t = tuple_of(L4_TCP, 3, 5000, 1, 80);
	uint32_t made;

	assert_int_equal(box_out(b, 0, t), VERDICT_fwd_out_new);
	made = used(b);
	for (unsigned i = 0; i < 4; i++) {
		b->now = mono_after(b->now, span_s(opening / 2));
		box_in(b);
		for (unsigned turn = 0; turn < 64; turn++)
			nat_housekeep(&b->nat[0], b->now);
		assert_int_equal(used(b), made);
	}
	expect_clean(b, NULL);
	box_close(b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_either_entry_ends_it),
		cmocka_unit_test(test_idle_entry_of_a_session_in_use),
		cmocka_unit_test(test_slices_are_bounded),
		cmocka_unit_test(test_carrier_and_users_end_together),
		cmocka_unit_test(test_connection_heard_from_outside),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
