/* The ways of choosing ports, through the engines, in virtual time: where ports lie, what is refused and how it is said,
 * when blocks grow, rest and go back, and what becomes of all that when the configuration changes under living sessions.
 * The checker looks at the arena after each of them. */
#include "tests/unit/nat_lab.h"

#include <string.h>

enum { UDP = 17, BLOCK = 64 };

static void check(struct lab *l)
{
	struct check_counts counts;

	lab_check(l, &counts);
}

/* ---- all of a pool ---- */

#define ONE "[{\"name\":\"main\",\"addresses\":[\"198.51.100.0\"],\"block_size\":64}]"
#define RANGE_128 "\"port_first\":2048,\"port_last\":2175,"
#define RESERVED "\"reserved_ports\":[\"2050\",\"2060-2069\"],"

/* 117 of 128 ports are given, each once, and no reserved one; then it is refused, for UDP and TCP apart. */
static void takes_all_but_reserved(struct lab *l)
{
	bool seen[2][128] = {{false}};

	for (unsigned i = 0; i < 117; i++) {
		struct lab_end is[2] = {
			lab_mapped(l, 1, (uint16_t)(5000 + i)), lab_mapped_tcp(l, 1, (uint16_t)(5000 + i))};

		for (int k = 0; k < 2; k++) {
			assert_in_range(is[k].port, 2048, 2175);
			assert_true(is[k].port != 2050 && (is[k].port < 2060 || is[k].port > 2069));
			assert_false(seen[k][is[k].port - 2048]);
			seen[k][is[k].port - 2048] = true;
		}
	}
	lab_unmapped(l, 1, 9000, l->config.nat.ports == PORTS_BLOCKS ? VERDICT_drop_block_limit : VERDICT_drop_no_port);
	check(l);
}

/* ---- blocks ---- */

#define BLOCKS "\"ports\":\"blocks\","
#define POOL_OF(rest) "[{\"name\":\"main\",\"addresses\":[\"198.51.100.0\"],\"block_size\":64" rest "}]"

/* A block is filled before there is another; TCP and UDP share it; the limit is the subscriber's. */
static void blocks_grow_to_their_limit(struct lab *l)
{
	bool used[1024] = {false};
	uint32_t address = lab_mapped(l, 1, 4999).address;
	unsigned n = 1;

	used[(lab_mapped(l, 1, 4999).port) / BLOCK] = true;
	for (unsigned i = 1; i < 3 * BLOCK; i++) {
		struct lab_end is = lab_mapped(l, 1, (uint16_t)(5000 + i));

		assert_int_equal(is.address, address);
		n += !used[is.port / BLOCK];
		used[is.port / BLOCK] = true;
		assert_int_equal(n, i / BLOCK + 1);
		assert_true(used[lab_mapped_tcp(l, 1, (uint16_t)(5000 + i)).port / BLOCK]);
	}
	lab_unmapped(l, 1, 9000, VERDICT_drop_block_limit);
	assert_int_equal(lab_counted(l, COUNTER_blocks_made), 3);
	assert_false(used[lab_mapped(l, 2, 5000).port / BLOCK]); /* another's is another */
	check(l);
}

/* Eight blocks there are: who comes ninth gets none, though most ports of them are free. */
static void blocks_are_a_subscribers_alone(struct lab *l)
{
	bool used[1024] = {false};

	for (unsigned host = 1; host <= 8; host++) {
		struct lab_end is = lab_mapped(l, host, 5000);

		assert_false(used[is.port / BLOCK]);
		used[is.port / BLOCK] = true;
	}
	lab_unmapped(l, 9, 5000, VERDICT_drop_no_block);
	for (unsigned i = 1; i < BLOCK; i++)
		lab_mapped(l, 1, (uint16_t)(5000 + i));
	lab_unmapped(l, 1, 6000, VERDICT_drop_no_block);
	check(l);
}

/* An empty block rests before another subscriber gets it, also when its subscriber is forgotten sooner. */
static void blocks_rest_and_go_back(struct lab *l)
{
	for (unsigned host = 1; host <= 8; host++)
		lab_mapped(l, host, 5000);
	lab_pass(l, 300 + LAB_SWEEP_S); /* sessions have ended; ports rest for 30 s to 60 s, blocks for 200 s more */
	for (unsigned i = 0; i < 11; i++) {
		lab_pass(l, 20);
		lab_unmapped(l, 9, 5000, VERDICT_drop_no_block);
	}
	lab_pass(l, 60);
	assert_int_equal(lab_counted(l, COUNTER_blocks_returned), 8);
	for (unsigned host = 11; host <= 18; host++)
		lab_mapped(l, host, 5000);
	check(l);
}

/* New mappings move on to a fresh block in time, as long as there may be one; those there are stay. */
static void blocks_are_rotated(struct lab *l)
{
	struct lab_end is[4];

	for (unsigned i = 0; i < 4; i++) {
		is[i] = lab_mapped(l, 1, (uint16_t)(5000 + i));
		for (unsigned k = 0; k < i; k++) {
			assert_true(lab_same(lab_mapped(l, 1, (uint16_t)(5000 + k)), is[k]));
			if (i < 3)
				assert_true(is[i].port / BLOCK != is[k].port / BLOCK);
		}
		for (unsigned step = 0; step < 4; step++) { /* kept alive */
			lab_pass(l, 160);
			for (unsigned k = 0; k <= i; k++)
				lab_mapped(l, 1, (uint16_t)(5000 + k));
		}
	}
	assert_int_equal(lab_counted(l, COUNTER_blocks_made), 3);
	assert_true(is[3].port / BLOCK == is[0].port / BLOCK || is[3].port / BLOCK == is[1].port / BLOCK ||
		    is[3].port / BLOCK == is[2].port / BLOCK);
	check(l);
}

/* ---- refused as a whole ---- */

static void a_drained_pool_says_so(struct lab *l)
{
	struct lab_end before = lab_mapped(l, 1, 5000);
	struct lab_setup drained = l->setup;

	drained.pools = "[{\"name\":\"main\",\"addresses\":[\"198.51.100.0/30\"],\"block_size\":64,"
			"\"drain\":[\"198.51.100.0/30\"]}]";
	lab_configure(l, &drained);
	lab_unmapped(l, 2, 5000, VERDICT_drop_draining);
	lab_unmapped(l, 1, 5001, VERDICT_drop_draining);
	assert_true(lab_same(lab_mapped(l, 1, 5000), before));
	assert_true(lab_reaches(l, UDP, lab_server(9, 9), before));
	check(l);
}

/* ---- changes under living sessions ---- */

#define DEALT(rest)                                                                                                    \
	"\"rules\":[{\"name\":\"homes\",\"inside\":[\"100.64.0.0/"                                                     \
	"28\"],\"pool\":\"main\",\"ports\":\"deterministic\"" rest "}]"
#define OTHERS_FIRST                                                                                                   \
	"[{\"name\":\"more\",\"addresses\":[\"198.51.100.2\"],\"block_size\":64,\"blocks_max\":2},"                    \
	"{\"name\":\"main\",\"addresses\":[\"198.51.100.0/31\"]}]"

/* Mappings that were made, and must live on. */
struct living {
	struct lab *lab;
	unsigned n;
	struct {
		unsigned host;
		uint16_t port;
		struct lab_end nat;
	} at[512];
};

static struct living living;

static void live(struct lab *l)
{
	living = (struct living){.lab = l};
}

static void add(unsigned host, uint16_t port)
{
	struct lab_end is = lab_mapped(living.lab, host, port);

	for (unsigned i = 0; i < living.n; i++)
		assert_false(lab_same(living.at[i].nat, is));
	living.at[living.n].host = host;
	living.at[living.n].port = port;
	living.at[living.n++].nat = is;
}

/* Each is as it was, from both sides. */
static void still_there(void)
{
	for (unsigned i = 0; i < living.n; i++) {
		assert_true(lab_same(lab_mapped(living.lab, living.at[i].host, living.at[i].port), living.at[i].nat));
		assert_true(lab_reaches(living.lab, UDP, lab_server(1 + living.at[i].port % 5, 53), living.at[i].nat));
	}
	check(living.lab);
}

static void change_to(struct lab *l, const char *nat, const char *pools, const char *more)
{
	lab_configure(l, &(struct lab_setup){.nat = nat, .pools = pools, .more = more});
}

#define RANGE_512 "\"port_first\":2048,\"port_last\":2559,"

/* From any way to any other, on the same address, with a quarter of its ports in use: nobody is given what another has. */
static void modes_change_under_living_sessions(struct lab *l)
{
	static const char *const way[] = {
		"shuffled", "ordered", "shuffled", "blocks", "ordered", "blocks", "shuffled", "blocks", "shuffled"};
	char nat[256];

	live(l);
	for (unsigned i = 0; i < sizeof way / sizeof *way; i++) {
		snprintf(nat, sizeof nat, RANGE_512 "\"ports\":\"%s\"", way[i]);
		change_to(l, nat, ONE, NULL);
		check(l);
		if (!strcmp(way[i], "blocks")) /* room for blocks is what nobody has been in */
			continue;
		for (unsigned k = 0; k < 20; k++)
			add(1 + k % 4, (uint16_t)(5000 + i * 100 + k));
		still_there();
	}
}

/* Ports that were in use one by one are blocks when they are free, whoever used them, and the other way round. */
static void drained_ports_become_blocks(struct lab *l)
{
	for (unsigned i = 0; i < 512; i++)
		lab_mapped(l, 1 + i % 4, (uint16_t)(5000 + i));
	change_to(l, RANGE_512 BLOCKS "\"hold_s\":30", ONE, NULL);
	lab_unmapped(l, 20, 5000, VERDICT_drop_no_block);
	lab_pass(l, 300 + LAB_SWEEP_S);
	lab_pass(l, 60 + LAB_SWEEP_S);
	for (unsigned host = 11; host <= 18; host++)
		lab_mapped(l, host, 5000);
	check(l);
	change_to(l, RANGE_512 "\"ports\":\"ordered\",\"hold_s\":30", ONE, NULL);
	lab_pass(l, 300 + LAB_SWEEP_S);
	lab_pass(l, 60 + 120 + 2 * LAB_SWEEP_S); /* and the block's time */
	for (unsigned i = 0; i < 512; i++)
		lab_mapped(l, 1 + i % 4, (uint16_t)(5000 + i));
	check(l);
}

/* A drained subscriber's blocks of the former size go back; a living one's serve it until they are empty. */
static void block_sizes_change_under_living_sessions(struct lab *l)
{
	live(l);
	for (unsigned host = 1; host <= 4; host++)
		for (unsigned i = 0; i < 10; i++)
			add(host, (uint16_t)(5000 + i));
	change_to(l, BLOCKS "\"hold_s\":30",
		"[{\"name\":\"main\",\"addresses\":[\"198.51.100.0\"],\"block_size\":256}]", NULL);
	still_there();
	for (unsigned host = 1; host <= 4; host++)
		for (unsigned i = 0; i < 10; i++)
			add(host, (uint16_t)(6000 + i));
	still_there();
	assert_int_equal(lab_counted(l, COUNTER_blocks_made), 8);
	for (unsigned round = 0; round < 4; round++) { /* only the second half is kept alive */
		lab_pass(l, 160);
		for (unsigned i = 40; i < living.n; i++)
			lab_mapped(l, living.at[i].host, living.at[i].port);
	}
	assert_int_equal(lab_counted(l, COUNTER_blocks_returned), 4);
	check(l);
}

/* To a pool of other addresses, and back. */
static void pools_change_under_living_sessions(struct lab *l)
{
	static const char *const other = "[{\"name\":\"main\",\"addresses\":[\"198.51.100.8/30\"],\"block_size\":64}]";
	struct lab_setup was = l->setup, now = was;

	live(l);
	for (unsigned host = 1; host <= 8; host++)
		for (unsigned i = 0; i < 5; i++)
			add(host, (uint16_t)(5000 + i));
	now.pools = other;
	lab_configure(l, &now);
	still_there();
	for (unsigned host = 21; host <= 28; host++) {
		add(host, 5000);
		assert_in_range(living.at[living.n - 1].nat.address, LAB_POOL + 8, LAB_POOL + 11);
	}
	still_there();
	lab_configure(l, &was);
	for (unsigned host = 31; host <= 38; host++)
		add(host, 5000);
	still_there();
}

/* To computed ports and back: those of old mappings are nobody's new ones, and what was computed stays. */
static void dealing_begins_and_ends_under_living_sessions(struct lab *l)
{
	live(l);
	for (unsigned i = 0; i < 60; i++)
		add(1 + i % 15, (uint16_t)(5000 + i));
	for (unsigned round = 1; round <= 2; round++) {
		change_to(l, RANGE_512 "\"ports\":\"shuffled\"", OTHERS_FIRST, DEALT(""));
		still_there();
		for (unsigned i = 0; i < 15; i++)
			add(1 + i, (uint16_t)(5000 + round * 200 + i));
		still_there();
		change_to(l, RANGE_512 "\"ports\":\"ordered\"", OTHERS_FIRST, NULL);
		still_there();
		for (unsigned i = 0; i < 15; i++)
			add(1 + i, (uint16_t)(5100 + round * 200 + i));
		still_there();
	}
}

/* Where range and parity are kept, in changing ways. */
static void range_and_parity_are_kept(struct lab *l)
{
	static const char *const way[] = {"shuffled", "ordered", "blocks"};
	char nat[256];

	for (unsigned w = 0; w < 3; w++) {
		snprintf(nat, sizeof nat, "\"port_range\":\"preserve\",\"port_parity\":\"preserve\",\"ports\":\"%s\"",
			way[w]);
		change_to(l, nat, NULL, NULL);
		for (unsigned i = 0; i < 40; i++) {
			uint16_t low = (uint16_t)(300 + 50 * w + i), high = (uint16_t)(5000 + 50 * w + i);
			struct lab_end is = lab_mapped(l, 1 + i, low);

			assert_true(is.port < 1024 || w == 2); /* a block's ports are from 1024 up */
			assert_int_equal(is.port & 1, low & 1);
			is = lab_mapped(l, 1 + i, high);
			assert_true(is.port >= 1024);
			assert_int_equal(is.port & 1, high & 1);
		}
		check(l);
	}
}

/* When all from 1024 up are in use, those below stay for inside ports below, of which two are not reserved. */
static void low_ports_are_kept_for_low_ones(struct lab *l)
{
	for (unsigned i = 0; i < 128; i++)
		assert_in_range(lab_mapped(l, 1 + i % 4, (uint16_t)(5000 + i)).port, 2048, 2175);
	lab_unmapped(l, 1, 9000, VERDICT_drop_no_port);
	assert_in_range(lab_mapped(l, 1, 80).port, 500, 501);
	lab_unmapped(l, 1, 9001, VERDICT_drop_no_port);
	assert_in_range(lab_mapped(l, 1, 81).port, 500, 501);
	lab_unmapped(l, 1, 82, VERDICT_drop_no_port);
	check(l);
}

#define LOW_LEFT "\"reserved_ports\":[\"1-499\",\"502-1023\"],\"port_range\":\"preserve\","

int main(void)
{
	static const struct lab_test tests[] = {
		LAB_TEST(takes_all_but_reserved, .nat = RANGE_128 RESERVED "\"ports\":\"shuffled\"", .pools = ONE),
		LAB_TEST(takes_all_but_reserved, .nat = RANGE_128 RESERVED "\"ports\":\"ordered\"", .pools = ONE),
		LAB_TEST(takes_all_but_reserved, .nat = RANGE_128 RESERVED "\"ports\":\"blocks\"",
			.pools = POOL_OF(",\"blocks_max\":2")),
		LAB_TEST(blocks_grow_to_their_limit, .nat = BLOCKS RANGE_512 "\"hold_s\":30",
			.pools = POOL_OF(",\"blocks_max\":3")),
		LAB_TEST(blocks_are_a_subscribers_alone, .nat = BLOCKS RANGE_512 "\"hold_s\":30", .pools = ONE),
		LAB_TEST(blocks_rest_and_go_back, .nat = BLOCKS RANGE_512 "\"hold_s\":30,\"subscriber_idle_s\":86400",
			.pools = POOL_OF(",\"block_hold_s\":200")),
		LAB_TEST(blocks_rest_and_go_back, .nat = BLOCKS RANGE_512 "\"hold_s\":30,\"subscriber_idle_s\":1",
			.pools = POOL_OF(",\"block_hold_s\":200")),
		LAB_TEST(blocks_are_rotated, .nat = BLOCKS RANGE_512 "\"hold_s\":30",
			.pools = POOL_OF(",\"blocks_max\":3,\"active_block_s\":600")),
		LAB_TEST(a_drained_pool_says_so, .nat = "\"ports\":\"shuffled\""),
		LAB_TEST(a_drained_pool_says_so, .nat = "\"ports\":\"ordered\""),
		LAB_TEST(a_drained_pool_says_so, .nat = "\"ports\":\"blocks\""),
		LAB_TEST(modes_change_under_living_sessions, .nat = RANGE_512 "\"ports\":\"ordered\"", .pools = ONE),
		LAB_TEST(drained_ports_become_blocks, .nat = RANGE_512 "\"ports\":\"ordered\",\"hold_s\":30",
			.pools = ONE),
		LAB_TEST(block_sizes_change_under_living_sessions, .nat = BLOCKS "\"hold_s\":30", .pools = ONE),
		LAB_TEST(pools_change_under_living_sessions, .nat = "\"ports\":\"shuffled\""),
		LAB_TEST(pools_change_under_living_sessions, .nat = "\"ports\":\"ordered\""),
		LAB_TEST(pools_change_under_living_sessions, .nat = "\"ports\":\"blocks\"",
			.pools = "[{\"name\":\"main\",\"addresses\":[\"198.51.100.0/30\"],\"block_size\":64}]"),
		LAB_TEST(dealing_begins_and_ends_under_living_sessions, .nat = RANGE_512 "\"ports\":\"ordered\"",
			.pools = OTHERS_FIRST),
		LAB_TEST(range_and_parity_are_kept, .nat = "\"hold_s\":30"),
		LAB_TEST(low_ports_are_kept_for_low_ones, .nat = RANGE_128 LOW_LEFT "\"ports\":\"shuffled\"",
			.pools = ONE),
		LAB_TEST(low_ports_are_kept_for_low_ones, .nat = RANGE_128 LOW_LEFT "\"ports\":\"ordered\"",
			.pools = ONE),
	};

	return LAB_TESTS(tests);
}
