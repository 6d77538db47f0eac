/* What drivers answer about RSS, in the shapes that common ones have, becomes what steering follows, or a sentence. The judge
 * is the queue of a packet, computed bit by bit from the answer itself. */
#include "common/rss_nic.h"
#include "common/steering.h"
#include "tests/unit/rnd.h"

#include <linux/ethtool.h>
#include <stdlib.h>
#include <string.h>

enum { TOEPLITZ = 1, XOR = 2, CRC32 = 4, SYMMETRIC = 1, SDFN = RXH_IP_SRC | RXH_IP_DST | RXH_L4_B_0_1 | RXH_L4_B_2_3 };
enum { SD = RXH_IP_SRC | RXH_IP_DST, ENGINES = 4, LARGEST = 16384 };

/* The answer to ETHTOOL_GRSSH. */
struct answer {
	struct ethtool_rxfh head;
	uint8_t rest[LARGEST * sizeof(uint32_t) + 256];
};
_Static_assert(offsetof(struct answer, rest) == sizeof(struct ethtool_rxfh), "as the kernel lays it out");

static struct answer answer;
static struct config_error wrong;
static struct rss rss;

static uint32_t *table_of(struct answer *a)
{
	return (uint32_t *)(void *)a->rest;
}

static uint8_t *key_of(struct answer *a)
{
	return a->rest + a->head.indir_size * sizeof(uint32_t);
}

/* `deal`: queues in turn, as `ethtool -X equal`; else at random. */
static void answer_make(uint32_t entries, uint32_t key_size, bool deal, uint64_t seed)
{
	struct rnd r = {seed};

	memset(&answer, 0, sizeof answer);
	answer.head = (struct ethtool_rxfh){
		.cmd = ETHTOOL_GRSSH, .indir_size = entries, .key_size = key_size, .hfunc = TOEPLITZ};
	for (uint32_t i = 0; i < entries; i++)
		table_of(&answer)[i] = deal ? i % ENGINES : rnd_below(&r, ENGINES);
	for (uint32_t i = 0; i < key_size; i++)
		key_of(&answer)[i] = (uint8_t)rnd_below(&r, 256);
}

static bool take_with(size_t size)
{
	return rss_of_nic(&rss, "eth7", ENGINES, &answer, size, &wrong);
}

static bool take(void)
{
	memset(&rss, 0xaa, sizeof rss);
	return take_with(sizeof answer.head + answer.head.indir_size * sizeof(uint32_t) + answer.head.key_size);
}

/* Toeplitz as its definition has it. */
static uint32_t hash_of(const uint8_t *key, const uint8_t *data, unsigned size)
{
	uint32_t hash = 0;

	for (unsigned i = 0; i < size * 8; i++)
		for (unsigned b = 0; (data[i / 8] >> (7 - i % 8) & 1) && b < 32; b++)
			hash ^= (uint32_t)(key[(i + b) / 8] >> (7 - (i + b) % 8) & 1) << (31 - b);
	return hash;
}

static void expect_queues(const uint64_t *seed)
{
	static struct steering s;
	struct rnd r = {*seed};

	rss.ports = RSS_PORTS_TCP_UDP;
	assert_int_equal(steering_init(&s, &rss, ENGINES), 0);
	for (unsigned i = 0; i < 200; i++) {
		uint8_t data[12];

		for (unsigned b = 0; b < sizeof data; b++)
			data[b] = (uint8_t)rnd_below(&r, 256);
		be32_t from, to;
		be16_t ports[2];

		memcpy(&from, data, 4);
		memcpy(&to, data + 4, 4);
		memcpy(ports, data + 8, 4);
		uint32_t queue = table_of(&answer)[hash_of(key_of(&answer), data, 12) & (answer.head.indir_size - 1)];

		assert_int_equal(steering_engine(&s, IPPROTO_UDP, from, to, ports[0], ports[1]), queue);
		queue = table_of(&answer)[hash_of(key_of(&answer), data, 8) & (answer.head.indir_size - 1)];
		assert_int_equal(steering_engine_addresses(&s, from, to), queue);
	}
}

/* Table and key as the drivers in Linux have them. */
static void test_shapes(void **state)
{
	static const struct {
		const char *driver;
		uint32_t entries, key;
	} shape[] = {{"ixgbe 82599", 128, 40}, {"ixgbe X550", 64, 40}, {"igb", 128, 40}, {"mlx5", 256, 40},
		{"mlx5", 2048, 40}, {"i40e", 512, 52}, {"ice", 2048, 52}, {"iavf", 64, 52}, {"bnxt", 128, 40},
		{"ena", 128, 40}, {"virtio", 16, 40}, {"hns3", 512, 40}, {"sfc", 128, 40}, {"one queue", 1, 40},
		{"a short key", 128, 16}, {"a long one", 128, 64}};

	(void)state;
	for (unsigned i = 0; i < sizeof shape / sizeof *shape; i++)
		for (uint64_t seed = 1; seed <= 4; seed++) {
			answer_make(shape[i].entries, shape[i].key, seed % 2, i * 10 + seed);
			if (!take())
				fail_msg("%s: %s", shape[i].driver, wrong.text);
			assert_int_equal(rss.mode, RSS_TOEPLITZ);
			assert_int_equal(rss.table_len, shape[i].entries);
			assert_true(rss.key_size == 40 || rss.key_size == RSS_KEY_SIZE);
			expect_queues(&seed);
		}
}

/* A table of more than CoreNAT's entries that is dealt in turn. */
static void test_large_table_that_repeats(void **state)
{
	uint64_t seed = 9;

	(void)state;
	answer_make(LARGEST, 40, true, 1);
	assert_true(take());
	assert_int_equal(rss.table_len, ENGINES);
	expect_queues(&seed);
	answer_make(LARGEST, 40, false, 1);
	assert_false(take());
	assert_non_null(strstr(wrong.text, "eth7: its RSS table has 16384 entries"));
}

static void expect_refused(const char *because)
{
	assert_false(take());
	if (strncmp(wrong.text, "eth7: ", 6) != 0 || !strstr(wrong.text, because))
		fail_msg("\"%s\" does not say \"%s\"", wrong.text, because);
}

static void test_refused(void **state)
{
	(void)state;
	answer_make(128, 40, true, 1);
	answer.head.hfunc = XOR;
	expect_refused("hash function is XOR; CoreNAT can follow Toeplitz: `ethtool -X eth7 hfunc toeplitz`");
	answer.head.hfunc = CRC32;
	expect_refused("hash function is CRC32");
	answer.head.hfunc = 0;
	expect_refused("hash function is one that is not known");
	answer.head.hfunc = TOEPLITZ;
	answer.head.rsvd8[0] = SYMMETRIC;
	expect_refused("symmetric");
	answer_make(128, 0, true, 1);
	expect_refused("shows no RSS key (0 bytes)");
	answer_make(128, 8, true, 1);
	expect_refused("shows no RSS key (8 bytes)");
	answer_make(128, 40, true, 1);
	memset(key_of(&answer), 0, 40);
	expect_refused("shows no RSS key (40 bytes, all zero)");
	answer_make(0, 40, true, 1);
	expect_refused("shows no RSS table");
	answer_make(96, 40, true, 1);
	expect_refused("has 96 entries");
	answer_make(128, 40, true, 1);
	table_of(&answer)[77] = ENGINES;
	expect_refused("entry 77 of its RSS table names queue 4, which has no engine (arena.engines: 4)");
}

/* Sizes that the bytes are not there for. */
static void test_short_answers(void **state)
{
	(void)state;
	answer_make(128, 40, true, 1);
	for (size_t size = 0; size < sizeof answer.head + 128 * sizeof(uint32_t) + 40; size += 4)
		assert_false(take_with(size));
	answer.head.indir_size = UINT32_MAX;
	answer.head.key_size = UINT32_MAX;
	assert_false(take_with(sizeof answer));
	assert_non_null(strstr(wrong.text, "too short"));
}

static void test_fields(void **state)
{
	static const struct {
		uint64_t tcp, udp;
		bool ok;
		enum rss_mode mode;
		enum rss_ports ports;
	} row[] = {{SDFN, SDFN, true, RSS_TOEPLITZ, RSS_PORTS_TCP_UDP}, {SDFN, SD, true, RSS_TOEPLITZ, RSS_PORTS_TCP},
		{SD, SDFN, true, RSS_TOEPLITZ, RSS_PORTS_UDP}, {SD, SD, true, RSS_TOEPLITZ, RSS_PORTS_NONE},
		{RXH_IP_DST, RXH_IP_DST, true, RSS_DESTINATION, RSS_PORTS_NONE}, {RXH_IP_DST, SD, false, 0, 0},
		{SDFN, 0, false, 0, 0}, {RXH_IP_SRC, RXH_IP_SRC, false, 0, 0}, {SD | RXH_L4_B_0_1, SD, false, 0, 0},
		{RXH_DISCARD, SD, false, 0, 0}};

	(void)state;
	for (unsigned i = 0; i < sizeof row / sizeof *row; i++) {
		rss = (struct rss){.mode = RSS_TOEPLITZ};
		assert_int_equal(rss_fields_of_nic(&rss, "eth7", &row[i].tcp, &row[i].udp, &wrong), row[i].ok);
		if (!row[i].ok)
			assert_non_null(strstr(wrong.text, "eth7: it does not hash"));
		if (!row[i].ok)
			continue;
		assert_int_equal(rss.mode, row[i].mode);
		assert_int_equal(rss.ports, row[i].ports);
	}
	rss = (struct rss){.mode = RSS_TOEPLITZ, .ports = RSS_PORTS_UDP}; /* a driver that does not say */
	assert_true(rss_fields_of_nic(&rss, "eth7", NULL, &row[0].udp, &wrong));
	assert_int_equal(rss.ports, RSS_PORTS_UDP);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_shapes),
		cmocka_unit_test(test_large_table_that_repeats),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_short_answers),
		cmocka_unit_test(test_fields),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
