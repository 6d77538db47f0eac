/* What engines tell (shm/event.h): refusals, who, why, how often and not too often; and port blocks, against what subscribers
 * list. On the five paths of the laboratory. */
#include "pe/nat_events.h"
#include "tests/crash/holdings.h"
#include "tests/unit/nat_lab.h"

#include <string.h>

enum { UDP = 17, BLOCK = 64, TOLD_MAX = 8192 };

/* ---- what was told ---- */

struct told {
	struct event e[TOLD_MAX];
	unsigned n;
};

static struct told told;

/* Takes what one engine told. */
static void hear(const struct lab *l, unsigned engine)
{
	struct events v = events_of(l->arena, engine);

	told.n = event_peek(&v, event_next(&v), told.e, TOLD_MAX);
	event_taken(&v, event_next(&v) + told.n);
	assert_int_equal(event_lost(&v), 0);
}

static void forget(const struct lab *l)
{
	for (unsigned e = 0; e < l->engines; e++)
		hear(l, e);
}

static bool is_from(const struct event *e, struct lab_end inside)
{
	return be32_host(e->inside) == inside.address && be16_host(e->inside_port) == inside.port;
}

/* ---- the reader of blocks, kept up while events are taken ---- */

static void agree(const struct lab *l)
{
	struct check_counts counts;

	assert_true(holdings_agree(l->arena));
	lab_check((struct lab *)l, &counts);
}

#define POOL_4 "[{\"name\":\"main\",\"addresses\":[\"198.51.100.0/30\"],\"block_size\":64,\"blocks_max\":2}]"
#define BLOCKS "\"ports\":\"blocks\",\"port_first\":2048,\"port_last\":2303,"

static void blocks_are_told(struct lab *l)
{
	unsigned given = 0, returned = 0;
	struct check_counts counts;

	for (unsigned host = 1; host <= 6; host++)
		for (unsigned i = 0; i < 70; i++)
			lab_mapped(l, host, (uint16_t)(5000 + i));
	agree(l);
	lab_pass(l, 100);
	lab_mapped(l, 1, 5000);
	for (unsigned i = 0; i < 8; i++) /* turns: each sees a few subscribers */
		lab_pass(l, 100);
	agree(l);
	lab_mapped(l, 2, 5000);
	agree(l);
	for (unsigned e = 0; e < l->engines; e++) {
		hear(l, e);
		for (unsigned i = 0; i < told.n; i++) {
			const struct event *x = &told.e[i];

			given += x->kind == EVENT_block_given;
			returned += x->kind == EVENT_block_returned;
			assert_true(x->ports == BLOCK && x->first % BLOCK == 0 && x->first >= 2048 && x->first <= 2303);
			assert_true(be32_host(x->nat) - LAB_POOL < 4 && be32_host(x->inside) - LAB_HOSTS <= 6);
			assert_true(x->time_ns <= l->now.ns && x->since_s <= x->time_ns / 1000000000u);
			if (x->kind == EVENT_block_given)
				assert_int_equal(x->since_s, x->time_ns / 1000000000u);
		}
	}
	assert_int_equal(given, lab_counted(l, COUNTER_blocks_made));
	assert_int_equal(returned, lab_counted(l, COUNTER_blocks_returned));
	lab_check(l, &counts);
	assert_true(given > 6 && returned > 6);
	assert_int_equal(given - returned, counts.blocks);
}

/* ---- a subscriber's limits ---- */

#define LIMITS(rest) "\"limits\":[{\"name\":\"all\"," rest "}]"

struct flood {
	enum verdict why;
	bool personal;
	uint16_t pool;
	unsigned host;
};

/* So many packets over three seconds of which all are refused. Each engine tells once a second of each subscriber, and the
 * last event has all but the rest of its second. */
static void refused_for_3s(struct lab *l, struct flood f)
{
	unsigned events = 0;

	lab_pass(l, 1.0 - (double)(l->now.ns % 1000000000u) / 1e9); /* a second begins */
	forget(l);
	for (unsigned i = 0; i < 300; i++) {
		struct lab_packet p = lab_udp(lab_host(f.host, (uint16_t)(20000 + i)), lab_server(7, 77));

		lab_send(l, &p);
		lab_pass(l, 0.0095);
	}
	for (unsigned e = 0; e < l->engines; e++) {
		uint64_t last = 0, total = 0;

		hear(l, e);
		for (unsigned i = 0; i < told.n; i++) {
			const struct event *x = &told.e[i];

			assert_true(x->kind == EVENT_refusal && x->verdict == f.why && x->protocol == UDP);
			assert_true(x->personal == f.personal && x->pool == f.pool);
			assert_true(is_from(x, lab_host(f.host, be16_host(x->inside_port))));
			assert_true(
				be32_host(x->remote) == lab_server(7, 77).address && be16_host(x->remote_port) == 77);
			assert_true(x->total > total && x->time_ns / 1000000000u > last);
			total = x->total;
			last = x->time_ns / 1000000000u;
		}
		assert_true(told.n <= 3);
		events += told.n;
	}
	assert_in_range(events, 3, 3 * l->engines);
}

static void limits_are_told(struct lab *l)
{
	for (unsigned i = 0; i < 5; i++)
		lab_mapped(l, 1, (uint16_t)(5000 + i));
	lab_pass(l, 0.1);
	refused_for_3s(l, (struct flood){VERDICT_drop_limit_udp_ports, true, 0, 1});
}

/* Two at once: each has its own event each second. */
static void each_subscriber_is_told(struct lab *l)
{
	bool seen[3] = {false};

	for (unsigned host = 1; host <= 2; host++)
		for (unsigned i = 0; i < 5; i++)
			lab_mapped(l, host, (uint16_t)(5000 + i));
	lab_pass(l, 0.1);
	forget(l);
	for (unsigned i = 0; i < 200; i++) {
		struct lab_packet p = lab_udp(lab_host(1 + i % 2, (uint16_t)(20000 + i)), lab_server(7, 77));

		lab_send(l, &p);
	}
	for (unsigned e = 0; e < l->engines; e++) {
		hear(l, e);
		assert_true(told.n <= 4); /* the clock may have passed a second */
		for (unsigned i = 0; i < told.n; i++)
			seen[be32_host(told.e[i].inside) - LAB_HOSTS] = true;
	}
	assert_true(seen[1] && seen[2]);
}

static void block_limit_is_told(struct lab *l)
{
	for (unsigned i = 0; i < 2 * BLOCK; i++)
		lab_mapped(l, 1, (uint16_t)(5000 + i));
	refused_for_3s(l, (struct flood){VERDICT_drop_block_limit, true, 0, 1});
}

/* ---- a pool ---- */

static void no_block_is_told(struct lab *l)
{
	for (unsigned host = 1; host <= 16; host++)
		lab_mapped(l, host, 5000);
	refused_for_3s(l, (struct flood){VERDICT_drop_no_block, false, 1, 20});
}

static void no_port_is_told(struct lab *l)
{
	for (unsigned i = 0; i < 8; i++)
		lab_mapped(l, 1, (uint16_t)(5000 + i));
	refused_for_3s(l, (struct flood){VERDICT_drop_no_port, false, 1, 2});
}

static void draining_is_told(struct lab *l)
{
	struct lab_setup drained = l->setup;

	drained.pools = "[{\"name\":\"main\",\"addresses\":[\"198.51.100.0\"],\"drain\":[\"198.51.100.0\"]}]";
	lab_configure(l, &drained);
	refused_for_3s(l, (struct flood){VERDICT_drop_draining, false, 1, 2});
}

/* ---- whatever else there is ---- */

/* A verdict that says that something was wanting is told, whoever forgets to; others are not. */
static void all_of_want_are_told(struct lab *l)
{
	struct nat *n = &l->engine[0]->nat;
	struct lab_packet p = lab_udp(lab_host(1, 5000), lab_server(1, 53));
	struct lab_frame f;
	struct packet packet = {.data = f.bytes, .side = SIDE_INSIDE};

	lab_build(&p, &f);
	packet.len = f.size;
	for (unsigned v = 0; v < N_VERDICTS; v++) {
		bool want = !strcmp(verdict_info[v].class, "resource") || v == VERDICT_drop_no_config;

		lab_pass(l, 1.1);
		forget(l);
		packet.verdict = (uint8_t)v;
		nat_tell(n, &packet);
		nat_tell(n, &packet);
		hear(l, 0);
		assert_int_equal(told.n, want);
		if (!want)
			continue;
		assert_true(told.e[0].verdict == v && told.e[0].time_ns == n->now.ns && told.e[0].total == 1);
		assert_true(v == VERDICT_drop_tx_full || (is_from(&told.e[0], p.src) && told.e[0].protocol == UDP));
	}
}

/* What is cut short, or odd, is told as far as it can be read. */
static void any_bytes_are_told(struct lab *l)
{
	struct nat *n = &l->engine[0]->nat;
	struct rnd rnd = {7};
	uint8_t bytes[80];

	for (unsigned i = 0; i < 2000; i++) {
		struct packet p = {
			.data = bytes, .side = (uint8_t)rnd_below(&rnd, 2), .verdict = VERDICT_drop_hold_full};

		for (unsigned b = 0; b < sizeof bytes; b++)
			bytes[b] = (uint8_t)rnd_next(&rnd);
		if (rnd_one_in(&rnd, 2))
			bytes[14] = (uint8_t)(0x40 | rnd_below(&rnd, 16));
		p.len = rnd_below(&rnd, sizeof bytes + 1);
		n->told.at_s[p.verdict] = UINT32_MAX;
		nat_tell(n, &p);
	}
	hear(l, 0);
	assert_int_equal(told.n, 2000);
}

/* Nobody reads: what does not fit is counted, to a unit, and packets go on. */
static void what_is_lost_is_counted(struct lab *l)
{
	struct nat *n = &l->engine[0]->nat;
	struct packet p = {.side = SIDE_INSIDE, .verdict = VERDICT_drop_tx_full};

	forget(l);
	for (unsigned i = 0; i < EVENT_SLOTS + 100; i++) {
		n->told.at_s[p.verdict] = UINT32_MAX;
		nat_tell(n, &p);
	}
	assert_int_equal(event_lost(&n->subscribers.events), 100);
	lab_mapped(l, 1, 5000);
}

int main(void)
{
	const struct lab_test tests[] = {
		LAB_TEST(blocks_are_told, .nat = BLOCKS "\"subscriber_idle_s\":60,\"hold_s\":30", .pools = POOL_4),
		LAB_TEST(limits_are_told, .more = LIMITS("\"udp_ports\":5")),
		LAB_TEST(each_subscriber_is_told, .more = LIMITS("\"udp_ports\":5")),
		LAB_TEST(block_limit_is_told, .nat = BLOCKS "\"hold_s\":30", .pools = POOL_4),
		LAB_TEST(no_block_is_told, .nat = BLOCKS "\"hold_s\":30", .pools = POOL_4),
		LAB_TEST(no_port_is_told, .nat = "\"port_first\":2000,\"port_last\":2007",
			.pools = "[{\"name\":\"main\",\"addresses\":[\"198.51.100.0\"]}]"),
		LAB_TEST(draining_is_told, .pools = "[{\"name\":\"main\",\"addresses\":[\"198.51.100.0\"]}]"),
		LAB_TEST(all_of_want_are_told),
		LAB_TEST(any_bytes_are_told),
		LAB_TEST(what_is_lost_is_counted),
	};

	return LAB_TESTS(tests);
}
