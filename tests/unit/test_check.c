/* The checker: clean at every stage of what the NAT core really does, also while it does it. */
#include "tests/unit/check_box.h"

#include <pthread.h>

/* ---- what the core does is sound ---- */

static void test_stages(void **state)
{
	struct box *b = box_open(1024, PORTS);
	struct check_counts n;

	expect_clean(b, &n);
	assert_int_equal(n.sessions, 0);
	assert_int_equal(n.port_tables, ADDRESSES);
	assert_int_equal(n.addresses, ADDRESSES);
	assert_int_equal(n.adjacencies, N_SIDES);
	assert_int_equal(n.looks, 1);

	for (unsigned i = 0; i < 6; i++) { /* six endpoints, three flows each, from either engine */
		for (unsigned remote = 1; remote <= 3; remote++)
			assert_int_equal(
				box_out(b, (i + remote) % ENGINES, tuple_of(i % L4_OTHER, i, 5000, remote, 53)),
				VERDICT_fwd_out_new);
		expect_clean(b, &n);
		assert_int_equal(n.flows, 3 * (i + 1));
		assert_int_equal(n.mappings, i + 1);
		assert_int_equal(n.references, 2 * (i + 1));
	}
	assert_int_equal(n.ports[PORTS_TCP], 2);
	assert_int_equal(n.ports[PORTS_OTHER], 4);
	assert_true(n.away > 0 && n.away < n.flows);
	assert_int_equal(n.global_entries, n.away);
	assert_int_equal(n.local_entries, 2 * n.flows - n.away);

	for (unsigned i = 0; i < 6; i++) /* replies: those that land elsewhere adopt */
		for (unsigned remote = 1; remote <= 3; remote++) {
			assert_int_equal(
				box_out(b, (i + remote) % ENGINES, tuple_of(i % L4_OTHER, i, 5000, remote, 53)),
				VERDICT_fwd_out_hit);
			box_in(b);
		}
	expect_clean(b, &n);
	assert_int_equal(n.adoptions, n.away);

	for (unsigned e = 0; e < ENGINES; e++) /* engines restart: all is found again */
		assert_int_equal(nat_init(&b->nat[e], b->arena, e, 9, b->now) > 0, 1);
	expect_clean(b, &n);
	assert_int_equal(n.flows, 18);
	for (unsigned e = 0; e < ENGINES; e++)
		nat_configure(&b->nat[e]);

	for (unsigned s = 0; s < 40; s++) { /* and idles out, in steps */
		box_pass(b, 10);
		expect_clean(b, &n);
	}
	assert_int_equal(n.sessions, 0);
	assert_int_equal(n.ports[PORTS_TCP] + n.ports[PORTS_OTHER], 0);
	assert_int_equal(n.local_entries + n.global_entries + n.mapping_entries, 0);
	box_close(b);
}

/* Carriers that outlive their flow, sessions that outlive their owner's wish. */
static void test_waiting(void **state)
{
	struct box *b = box_open(1024, PORTS);
	struct check_counts n;
	bool waited = false;

	for (unsigned turn = 0; turn < 30; turn++) {
		box_out(b, turn % ENGINES, tuple_of(L4_UDP, turn % 4, 5000, turn, 53));
		box_in(b);
		box_pass(b, 4);
		expect_clean(b, &n);
		waited |= n.dying > 0;
	}
	assert_true(waited);
	box_close(b);
}

/* Replies land at the owner though its model of the network card said elsewhere: it adopts its own session, and must let
 * go of it in the end. */
static void test_replies_astray(void **state)
{
	struct box *b = box_open(1024, PORTS);
	struct check_counts n;

	for (unsigned remote = 1; remote <= 16; remote++) {
		box_out(b, 0, tuple_of(remote % L4_OTHER, 1, 5000, remote, 53));
		box_give(b, 0, SIDE_OUTSIDE, &b->reply, TCP_FLAG_SYN | TCP_FLAG_ACK);
		if (remote % 2) /* and some where they should as well */
			box_in(b);
	}
	expect_clean(b, &n);
	assert_true(n.away > 0 && n.adoptions > n.away);
	for (unsigned s = 0; s < 20; s++) {
		box_pass(b, 30);
		expect_clean(b, &n);
	}
	assert_int_equal(n.sessions, 0);
	box_close(b);
}

static void test_random_traffic(void **state)
{
	for (uint64_t seed = 1; seed <= (UNDER_TSAN ? 1 : 4); seed++) {
		struct box *b = box_open(64, 16); /* tables so small that they fill up */
		struct rnd r = {seed};
		struct check_counts n;

		for (unsigned step = 0; step < 3000; step++) {
			struct tuple t = tuple_of(rnd_below(&r, L4_OTHER), rnd_below(&r, 40),
				(uint16_t)(5000 + rnd_below(&r, 2)), 1 + rnd_below(&r, 6), 53);

			/* A flow keeps its engine, as it does with a hash over its addresses. */
			if (box_give(b, (t.src ^ t.dst) % ENGINES, SIDE_INSIDE, &t, TCP_FLAG_ACK) <= N_VERDICTS &&
				rnd_one_in(&r, 2))
				box_in(b);
			if (rnd_one_in(&r, 40))
				box_pass(b, rnd_below(&r, 30));
			if (step % 100 == 0)
				expect_clean(b, &n);
		}
		expect_clean(b, &n);
		for (unsigned s = 0; s < 20; s++)
			box_pass(b, 30);
		expect_clean(b, &n);
		assert_int_equal(n.sessions, 0);
		box_close(b);
	}
}

/* ---- live ---- */

struct worker {
	struct box *b;
	unsigned engine;
	_Atomic bool *stop;
	_Atomic uint64_t packets;
};

static void give(struct worker *w, enum side side, const struct tuple *t, mono_t now)
{
	struct frame f;

	frame_make(&f, t, side, TCP_FLAG_SYN);
	nat_burst(&w->b->nat[w->engine], &f.packet, 1, now);
}

/* To the NAT endpoint of a flow: from another port of its remote, which may have an answer, or from a subscriber. */
static void others_write(struct worker *w, struct tuple reply, const struct tuple *flow, mono_t now)
{
	struct tuple stranger = reply, answer = *flow, turned = *flow;

	stranger.sport = answer.dport = 5001;
	turned.src ^= 1;
	turned.dst = reply.dst;
	turned.dport = reply.dport;
	if (flow->l4 != L4_UDP)
		return;
	if (tuple_engine(&w->b->outside, &stranger) == w->engine)
		give(w, SIDE_OUTSIDE, &stranger, now);
	if (w->packets % 2)
		give(w, SIDE_INSIDE, &answer, now);
	if (w->packets % 3 == 0)
		give(w, SIDE_INSIDE, &turned, now);
}

/* An engine under load, its flows coming and going in real time made fast. */
static void *work(void *context)
{
	struct worker *w = context;
	struct nat *n = &w->b->nat[w->engine];
	struct rnd r = {w->engine + 1};
	mono_t now = w->b->now;

	while (!*w->stop) {
		struct frame f;
		struct tuple t = tuple_of(rnd_below(&r, L4_OTHER), rnd_below(&r, 400), 5000,
			1 + rnd_below(&r, 50) * ENGINES + w->engine, 53);

		now = mono_after(now, span_ms(20));
		atomic_store(&n->actor->heartbeat_ns, now.ns);
		frame_make(&f, &t, SIDE_INSIDE, TCP_FLAG_ACK);
		nat_burst(n, &f.packet, 1, now);
		if (f.packet.forward && rnd_one_in(&r, 2)) { /* its own engine's or not: adoptions and misses */
			struct tuple reply = frame_reply(&f);

			if (tuple_engine(&w->b->outside, &reply) == w->engine) {
				frame_make(&f, &reply, SIDE_OUTSIDE, TCP_FLAG_ACK);
				nat_burst(n, &f.packet, 1, now);
			}
			others_write(w, reply, &t, now);
		}
		if (w->packets++ % 8 == 0)
			nat_housekeep(n, now);
	}
	return NULL;
}

/* Clean while two engines create, share, and end; and clean exactly once they stand still. */
static void test_live(void **state)
{
	enum { CHECKS = 8, PACKETS = 5000 };
	struct box *b = box_open(20000, 2000);
	struct worker w[ENGINES];
	pthread_t thread[ENGINES];
	_Atomic bool stop = false;
	struct check_counts n;
	uint64_t in_flight = 0;

	for (unsigned e = 0; e < ENGINES; e++) {
		w[e] = (struct worker){b, e, &stop, 0};
		assert_int_equal(pthread_create(&thread[e], NULL, work, &w[e]), 0);
	}
	for (unsigned i = 0; i < CHECKS && !UNDER_TSAN; i++) { /* it reads what others write, by design */
		struct said s = box_ask(b, CHECK_LIVE, &n);

		if (s.n)
			fail_msg("check %u: %u violations, the last: %s", i, s.n, s.last);
		in_flight += n.in_flight;
	}
	while (w[0].packets < PACKETS || w[1].packets < PACKETS)
		nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
	stop = true;
	for (unsigned e = 0; e < ENGINES; e++)
		pthread_join(thread[e], NULL);
	print_message("%llu packets meanwhile, %llu passing disagreements\n",
		(unsigned long long)w[0].packets + w[1].packets, (unsigned long long)in_flight);
	expect_clean(b, &n);
	box_close(b);
}

/* An engine that stands still for a second and a half in the middle of a change, and then goes on. */
static void *finish_late(void *context)
{
	struct box *b = context;
	struct page *p = arena_region(b->arena, ARENA_page_map); /* the first, engine 0's */

	nanosleep(&(struct timespec){.tv_sec = 1, .tv_nsec = 500000000}, NULL);
	p->used--;
	atomic_fetch_add(&actor_of(b->arena, 0)->heartbeat_ns, 1);
	return NULL;
}

static void test_one_that_stands_still(void **state)
{
	struct box *b = box_open(1024, PORTS);
	struct page *p = arena_region(b->arena, ARENA_page_map); /* the first, engine 0's */
	struct check_counts n;
	pthread_t thread;

	if (UNDER_TSAN) /* it reads what others write, by design */
		skip();
	assert_int_equal(box_out(b, 0, tuple_of(L4_UDP, 1, 5000, 1, 53)), VERDICT_fwd_out_new);
	atomic_store(&actor_of(b->arena, 0)->heartbeat_ns, 1);
	p->used++;
	assert_int_equal(pthread_create(&thread, NULL, finish_late, b), 0);
	struct said s = box_ask(b, CHECK_LIVE, &n);

	pthread_join(thread, NULL);
	if (s.n)
		fail_msg("%u violations, the last: %s", s.n, s.last);
	assert_true(n.in_flight > 0);
	expect_clean(b, &n);
	box_close(b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_stages),
		cmocka_unit_test(test_waiting),
		cmocka_unit_test(test_replies_astray),
		cmocka_unit_test(test_random_traffic),
		cmocka_unit_test(test_live),
		cmocka_unit_test(test_one_that_stands_still),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
