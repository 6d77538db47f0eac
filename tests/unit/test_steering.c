/* Toeplitz against the published RSS verification vectors, and steering against the plain hash. */
#include "common/steering.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

/* The key of "Verifying the RSS Hash Calculation" (Microsoft, Windows driver documentation). */
static const uint8_t verification_key[40] = {
	0x6d,
	0x5a,
	0x56,
	0xda,
	0x25,
	0x5b,
	0x0e,
	0xc2,
	0x41,
	0x67,
	0x25,
	0x3d,
	0x43,
	0xa3,
	0x8f,
	0xb0,
	0xd0,
	0xca,
	0x2b,
	0xcb,
	0xae,
	0x7b,
	0x30,
	0xb4,
	0x77,
	0xcb,
	0x2d,
	0xa3,
	0x80,
	0x30,
	0xf2,
	0x0c,
	0x6a,
	0x42,
	0xb7,
	0x3b,
	0xbe,
	0xac,
	0x01,
	0xfa,
};

static const struct {
	const char *dst, *src;
	uint16_t dport, sport;
	uint32_t addresses, tuple; /* published hashes without and with ports */
} vectors[] = {
	{"161.142.100.80", "66.9.149.187", 1766, 2794, 0x323e8fc2, 0x51ccc178},
	{"65.69.140.83", "199.92.111.2", 4739, 14230, 0xd718262a, 0xc626b0ea},
	{"12.22.207.184", "24.19.198.95", 38024, 12898, 0xd2d0a5de, 0x5c2b394a},
	{"209.142.163.6", "38.27.205.30", 2217, 48228, 0x82989176, 0xafc7327f},
	{"202.188.127.2", "153.39.163.191", 1303, 44251, 0x5d1809c5, 0x10e828a2},
};
enum { N_VECTORS = sizeof(vectors) / sizeof(vectors[0]) };

static uint32_t next_random(uint32_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 17;
	*state ^= *state << 5;
	return *state;
}

static be32_t address(const char *text)
{
	struct in_addr in;

	assert_int_equal(inet_pton(AF_INET, text, &in), 1);
	return (be32_t){in.s_addr};
}

/* The 12 bytes of a tuple as they stand on the wire. */
static void tuple_bytes(uint8_t out[12], be32_t src, be32_t dst, be16_t sport, be16_t dport)
{
	memcpy(out, &src, 4);
	memcpy(out + 4, &dst, 4);
	memcpy(out + 8, &sport, 2);
	memcpy(out + 10, &dport, 2);
}

static void published_vectors(void **state)
{
	struct toeplitz t;

	(void)state;
	toeplitz_init(&t, verification_key, sizeof(verification_key));
	for (unsigned i = 0; i < N_VECTORS; i++) {
		be32_t src = address(vectors[i].src), dst = address(vectors[i].dst);
		be16_t sport = be16_of(vectors[i].sport), dport = be16_of(vectors[i].dport);
		uint8_t bytes[12];

		tuple_bytes(bytes, src, dst, sport, dport);
		assert_int_equal(toeplitz_hash(verification_key, 40, bytes, 8), vectors[i].addresses);
		assert_int_equal(toeplitz_hash(verification_key, 40, bytes, 12), vectors[i].tuple);
		assert_int_equal(toeplitz_addresses(&t, src, dst), vectors[i].addresses);
		assert_int_equal(toeplitz_tuple(&t, src, dst, sport, dport), vectors[i].tuple);
	}
}

/* A published IPv6 vector: 36 bytes of input use the key to its last bit. */
static void published_ipv6_vector(void **state)
{
	uint8_t bytes[36];

	(void)state;
	assert_int_equal(inet_pton(AF_INET6, "3ffe:2501:200:1fff::7", bytes), 1);
	assert_int_equal(inet_pton(AF_INET6, "3ffe:2501:200:3::1", bytes + 16), 1);
	memcpy(bytes + 32, (uint16_t[]){htons(2794), htons(1766)}, 4);
	assert_int_equal(toeplitz_hash(verification_key, 40, bytes, 32), 0x2cc18cd5);
	assert_int_equal(toeplitz_hash(verification_key, 40, bytes, 36), 0x40207d3d);
}

static void precomputed_equals_plain(void **state)
{
	uint32_t seed = 7;
	uint8_t key[52], bytes[12];
	struct toeplitz t;

	(void)state;
	for (unsigned round = 0; round < 20; round++) {
		for (unsigned i = 0; i < sizeof(key); i++)
			key[i] = (uint8_t)next_random(&seed);
		toeplitz_init(&t, key, sizeof(key));
		for (unsigned step = 0; step < 500; step++) {
			be32_t src = {next_random(&seed)}, dst = {next_random(&seed)};
			be16_t sport = {(uint16_t)next_random(&seed)};
			be16_t dport = {(uint16_t)next_random(&seed)};

			tuple_bytes(bytes, src, dst, sport, dport);
			assert_int_equal(toeplitz_tuple(&t, src, dst, sport, dport),
				toeplitz_hash(key, sizeof(key), bytes, sizeof(bytes)));
		}
	}
}

static void hash_is_linear(void **state)
{
	be32_t src = be32_of(0xc6336407), dst = be32_of(0xcb007109), none = {0};
	be16_t port = be16_of(40000), remote = be16_of(53), zero = {0};
	struct toeplitz t;

	(void)state;
	toeplitz_init(&t, verification_key, sizeof(verification_key));
	assert_int_equal(toeplitz_tuple(&t, src, dst, remote, port),
		toeplitz_tuple(&t, src, dst, remote, zero) ^ toeplitz_tuple(&t, none, none, zero, port));
}

static struct rss test_rss(unsigned table_len, unsigned engines)
{
	struct rss rss = {.mode = RSS_TOEPLITZ, .key_size = 40};

	memcpy(rss.key, verification_key, 40);
	rss.table_len = (uint16_t)table_len;
	for (unsigned i = 0; i < table_len; i++)
		rss.table[i] = (uint8_t)(i % engines);
	return rss;
}

static void table_gives_the_engine(void **state)
{
	struct rss rss = test_rss(128, 3);
	static struct steering s;

	(void)state;
	assert_int_equal(steering_init(&s, &rss, 3), 0);
	for (unsigned i = 0; i < N_VECTORS; i++) {
		be32_t src = address(vectors[i].src), dst = address(vectors[i].dst);
		be16_t sport = be16_of(vectors[i].sport), dport = be16_of(vectors[i].dport);
		unsigned by_tuple = vectors[i].tuple % 128 % 3;
		unsigned by_addresses = vectors[i].addresses % 128 % 3;

		assert_int_equal(steering_engine(&s, IPPROTO_TCP, src, dst, sport, dport), by_tuple);
		assert_int_equal(steering_engine(&s, IPPROTO_UDP, src, dst, sport, dport), by_tuple);
		assert_int_equal(steering_engine(&s, IPPROTO_ICMP, src, dst, sport, dport), by_addresses);
		assert_int_equal(steering_engine(&s, IPPROTO_GRE, src, dst, sport, dport), by_addresses);
		assert_int_equal(steering_engine_addresses(&s, src, dst), by_addresses);
	}
}

static void single_is_always_engine_0(void **state)
{
	struct rss rss = test_rss(128, 4);
	static struct steering s;
	uint32_t seed = 3;

	(void)state;
	rss.mode = RSS_SINGLE;
	assert_int_equal(steering_init(&s, &rss, 4), 0);
	for (unsigned i = 0; i < 1000; i++)
		assert_int_equal(steering_engine(&s, i % 2 ? IPPROTO_UDP : IPPROTO_ICMP, (be32_t){next_random(&seed)},
					 (be32_t){next_random(&seed)}, be16_of(i), be16_of(53)),
			0);
}

static void wrong_tables_are_refused(void **state)
{
	struct rss rss = test_rss(128, 4);
	static struct steering s;

	(void)state;
	assert_int_equal(steering_init(&s, &rss, 3), -EINVAL);
	rss.table_len = 100;
	assert_int_equal(steering_init(&s, &rss, 4), -EINVAL);
	rss.table_len = 0;
	assert_int_equal(steering_init(&s, &rss, 4), -EINVAL);
	rss = test_rss(RSS_TABLE_MAX, 4);
	assert_int_equal(steering_init(&s, &rss, 4), 0);
}

/* Flows spread evenly over the engines with the customary key and table. */
static void flows_spread_evenly(void **state)
{
	struct rss rss = test_rss(128, 4);
	static struct steering s;
	unsigned seen[4] = {0};

	(void)state;
	assert_int_equal(steering_init(&s, &rss, 4), 0);
	for (unsigned i = 0; i < 40000; i++)
		seen[steering_engine(&s, IPPROTO_UDP, be32_of(0x64400000 + i / 100), be32_of(0xcb007101 + i % 7),
			be16_of((uint16_t)(1024 + i)), be16_of(443))]++;
	for (unsigned i = 0; i < 4; i++)
		assert_in_range(seen[i], 8500, 11500);
}

/* Fields that do not count change nothing; those that do change what they should. */
static void test_fields(void **state)
{
	static const struct {
		enum rss_mode mode;
		enum rss_ports ports;
		bool source, tcp, udp;
	} rows[] = {
		{RSS_TOEPLITZ, RSS_PORTS_TCP_UDP, true, true, true},
		{RSS_TOEPLITZ, RSS_PORTS_TCP, true, true, false},
		{RSS_TOEPLITZ, RSS_PORTS_UDP, true, false, true},
		{RSS_TOEPLITZ, RSS_PORTS_NONE, true, false, false},
		{RSS_DESTINATION, RSS_PORTS_TCP_UDP, false, false, false},
		{RSS_SINGLE, RSS_PORTS_TCP_UDP, false, false, false},
	};

	for (unsigned row = 0; row < sizeof rows / sizeof rows[0]; row++) {
		struct rss rss = {.mode = rows[row].mode, .ports = rows[row].ports, .key_size = 40, .table_len = 128};
		bool source = false, tcp = false, udp = false;
		struct steering s;
		be32_t dst = {7};

		for (unsigned i = 0; i < 40; i++)
			rss.key[i] = (uint8_t)(i * 37 + 11);
		for (unsigned i = 0; i < rss.table_len; i++)
			rss.table[i] = (uint8_t)(i % 8);
		assert_int_equal(steering_init(&s, &rss, 8), 0);
		for (uint16_t i = 1; i < 200; i++) {
			be32_t a = {i}, b = {i * 7919u};
			be16_t p = {i}, q = {(uint16_t)(i * 31)};

			source |= steering_engine_addresses(&s, a, dst) != steering_engine_addresses(&s, b, dst);
			tcp |= steering_engine(&s, IPPROTO_TCP, a, dst, p, q) !=
			       steering_engine(&s, IPPROTO_TCP, a, dst, q, p);
			udp |= steering_engine(&s, IPPROTO_UDP, a, dst, p, q) !=
			       steering_engine(&s, IPPROTO_UDP, a, dst, q, p);
		}
		assert_int_equal(source, rows[row].source);
		assert_int_equal(tcp, rows[row].tcp);
		assert_int_equal(udp, rows[row].udp);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(published_vectors),
		cmocka_unit_test(published_ipv6_vector),
		cmocka_unit_test(precomputed_equals_plain),
		cmocka_unit_test(hash_is_linear),
		cmocka_unit_test(table_gives_the_engine),
		cmocka_unit_test(single_is_always_engine_0),
		cmocka_unit_test(wrong_tables_are_refused),
		cmocka_unit_test(flows_spread_evenly),
		cmocka_unit_test(test_fields),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
