/* port_order: against plain Toeplitz hashing of whole tuples. */
#include "common/port_order.h"
#include "tests/unit/rnd.h"

#include <string.h>

static void random_rss(struct rnd *r, struct rss *rss, unsigned engines)
{
	memset(rss, 0, sizeof *rss);
	rss->mode = RSS_TOEPLITZ;
	rss->key_size = 40;
	for (unsigned i = 0; i < 40; i++)
		rss->key[i] = (uint8_t)rnd_next(r);
	rss->table_len = (uint16_t)(1u << rnd_below(r, SLOT_BITS_MAX + 1));
	for (unsigned i = 0; i < rss->table_len; i++)
		rss->table[i] = (uint8_t)rnd_below(r, engines);
}

/* Keys that repeat themselves lose rank: every second byte 0, all bytes alike, no bit at all under the port. */
static void weaken(struct rss *rss, unsigned how)
{
	if (how == 1)
		memset(rss->key, 0x6d, sizeof rss->key);
	if (how == 2)
		for (unsigned i = 0; i < sizeof rss->key; i += 2)
			rss->key[i] = rss->key[i + 1] = i & 2 ? 0x6d : 0x5a;
	if (how == 3)
		memset(rss->key + 9, 0, sizeof rss->key - 9);
}

static void each_position_once(const struct port_order *o)
{
	static bool had[65536];

	memset(had, 0, sizeof had);
	for (uint32_t p = 0; p < 65536; p++) {
		uint16_t port = port_at(o, p);

		assert_false(had[port]);
		had[port] = true;
		assert_int_equal(port_position(o, port), p);
	}
}

/* Ports of a slot contribute alike, whatever else is in the packet; those of two slots do not. */
static void slots_are_told_apart(const struct port_order *o, const struct steering *s)
{
	uint32_t slots = 1u << o->slot_bits;
	be16_t none = {0};

	for (uint32_t p = 0; p < 65536; p++) {
		uint32_t slot = p / CHUNK_PORTS & (slots - 1);
		uint32_t is = toeplitz_ports(&s->hash, none, be16_of(port_at(o, p))) & s->mask;
		uint32_t first = toeplitz_ports(&s->hash, none, be16_of(port_at(o, slot * CHUNK_PORTS))) & s->mask;

		assert_int_equal(is, first);
		if (slot)
			assert_int_not_equal(is, 0);
	}
}

static void homes_are_home(
	struct rnd *r, const struct port_order *o, const struct steering *s, unsigned engines, uint64_t seed)
{
	struct port_homes h;
	unsigned engine = rnd_below(r, engines);

	port_homes_of(&h, o, s, engine);
	for (unsigned flow = 0; flow < 50; flow++) {
		be32_t remote = {(uint32_t)rnd_next(r)}, nat = {(uint32_t)rnd_next(r)};
		be16_t port = {(uint16_t)rnd_next(r)};
		uint32_t hash = toeplitz_tuple(&s->hash, remote, nat, port, (be16_t){0});

		for (unsigned i = 0; i < 200; i++) {
			uint32_t position = rnd_below(r, 65536), chunk = position / CHUNK_PORTS;
			unsigned to = steering_engine(s, 17, remote, nat, port, be16_of(port_at(o, position)));
			bool home = port_homes_word(&h, hash, chunk / 64) >> chunk % 64 & 1;

			CHECK_AT(seed, flow, home == (to == engine));
		}
	}
}

static void test_random_keys(void **state)
{
	for (uint64_t seed = 1; seed <= 60; seed++) {
		struct rnd r = {seed};
		unsigned engines = 1 + rnd_below(&r, ENGINE_MAX);
		struct port_basis b;
		struct port_order o;
		struct steering s;
		struct rss rss;

		random_rss(&r, &rss, engines);
		weaken(&rss, seed % 8);
		assert_int_equal(steering_init(&s, &rss, engines), 0);
		port_order_shuffle(&b, &rss);
		assert_true(port_order_of(&o, &b));
		each_position_once(&o);
		slots_are_told_apart(&o, &s);
		homes_are_home(&r, &o, &s, engines, seed);
	}
}

/* With the customary key every slot of a table of 128 has 512 ports, and every chunk has even and odd ports in turn. */
static void test_customary_key(void **state)
{
	static const uint8_t key[40] = {0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43,
		0xa3, 0x8f, 0xb0, 0xd0, 0xca, 0x2b, 0xcb, 0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3, 0x80, 0x30,
		0xf2, 0x0c, 0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa};
	struct rss rss = {.mode = RSS_TOEPLITZ, .key_size = 40};
	struct port_basis b;
	struct port_order o;

	memcpy(rss.key, key, sizeof key);
	for (unsigned bits = 6; bits <= SLOT_BITS_MAX; bits++) {
		rss.table_len = (uint16_t)(1u << bits);
		port_order_shuffle(&b, &rss);
		assert_int_equal(b.slot_bits, bits);
		assert_true(port_order_of(&o, &b));
		assert_int_equal(o.odd, 0xaaaa);
	}
}

static void test_plain(void **state)
{
	struct rss rss = {.mode = RSS_SINGLE};
	struct port_basis plain, single;
	struct port_order o;

	port_order_plain(&plain);
	port_order_shuffle(&single, &rss);
	assert_true(port_basis_equal(&plain, &single));
	assert_true(port_order_of(&o, &plain));
	for (uint32_t p = 0; p < 65536; p++)
		assert_int_equal(port_at(&o, p), p);
}

static void test_no_basis(void **state)
{
	struct port_basis b;
	struct port_order o;

	port_order_plain(&b);
	b.port[7] = b.port[3] ^ b.port[9];
	b.port[9] ^= b.port[3];
	b.port[3] = b.port[7] ^ b.port[9];
	assert_false(port_order_of(&o, &b));
	memset(&b, 0, sizeof b);
	assert_false(port_order_of(&o, &b));
	port_order_plain(&b);
	b.slot_bits = SLOT_BITS_MAX + 1;
	assert_false(port_order_of(&o, &b));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_random_keys),
		cmocka_unit_test(test_customary_key),
		cmocka_unit_test(test_plain),
		cmocka_unit_test(test_no_basis),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
