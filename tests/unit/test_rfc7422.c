/* RFC 7422, deterministic NAT, through the engines: docs/rfc-conformance.md. The calculation itself: test_deterministic.c. */
#include "tests/unit/nat_lab.h"

#include "common/deterministic.h"

enum { BLOCK = 64 };

static void check(struct lab *l)
{
	struct check_counts counts;

	lab_check(l, &counts);
}

#define RANGE_512 "\"port_first\":2048,\"port_last\":2559,"
#define RESERVED "\"reserved_ports\":[\"2050\",\"2060-2069\"],"
#define DEALT(rest)                                                                                                    \
	"\"rules\":[{\"name\":\"homes\",\"inside\":[\"100.64.0.0/"                                                     \
	"28\"],\"pool\":\"main\",\"ports\":\"deterministic\"" rest "}]"
#define OTHERS_FIRST                                                                                                   \
	"[{\"name\":\"more\",\"addresses\":[\"198.51.100.2\"],\"block_size\":64,\"blocks_max\":2},"                    \
	"{\"name\":\"main\",\"addresses\":[\"198.51.100.0/31\"]}]"

static struct deterministic computed;

static bool is_reserved(uint16_t port)
{
	return port == 2050 || (port >= 2060 && port <= 2069);
}

/* The engines give what the calculator says, all of it, and nothing else; and it tells whose it was. */
static void test_7422_ae(struct lab *l)
{
	struct deterministic_ports p;
	unsigned given = 0;
	uint32_t who;

	assert_int_equal(deterministic_of_rule(&l->config, 0, &computed), 0);
	for (unsigned host = 1; host < 16; host += 3) {
		assert_true(deterministic_forward(&computed, LAB_HOSTS + host, &p));
		for (unsigned i = 0; i < p.usable; i++) {
			struct lab_end is = i % 2 ? lab_mapped_tcp(l, host, (uint16_t)(5000 + i))
						  : lab_mapped(l, host, (uint16_t)(5000 + i));

			given++;
			assert_int_equal(is.address, p.nat);
			assert_in_range(is.port, p.first, p.last);
			assert_false(is_reserved(is.port));
			assert_true(deterministic_reverse(&computed, is.address, is.port, &who));
			assert_int_equal(who, LAB_HOSTS + host);
		}
		for (unsigned i = 1; i < p.usable; i += 2) /* all of the other kind's, too */
			lab_mapped(l, host, (uint16_t)(5000 + i));
		lab_unmapped(l, host, 9000, VERDICT_drop_no_port);
	}
	assert_true(given >= 5 * 22);
	check(l);
}

/* What does not fit is in blocks of the other pool, up to their limit. */
static void test_7422_ao(struct lab *l)
{
	struct deterministic_ports p;

	assert_int_equal(deterministic_of_rule(&l->config, 0, &computed), 0);
	assert_true(deterministic_forward(&computed, LAB_HOSTS + 1, &p));
	for (unsigned i = 0; i < p.usable; i++)
		assert_int_equal(lab_mapped(l, 1, (uint16_t)(5000 + i)).address, p.nat);
	assert_int_equal(lab_counted(l, COUNTER_blocks_made), 0);
	for (unsigned i = 0; i < 2 * BLOCK; i++)
		assert_int_equal(lab_mapped(l, 1, (uint16_t)(7000 + i)).address, LAB_POOL + 2);
	assert_int_equal(lab_counted(l, COUNTER_blocks_made), 2);
	lab_unmapped(l, 1, 9000, VERDICT_drop_block_limit);
	check(l);
}

/* The overflow's blocks are told, and nothing of what is computed. */
static void test_7422_al(struct lab *l)
{
	struct deterministic_ports p;
	unsigned told = 0;

	assert_int_equal(deterministic_of_rule(&l->config, 0, &computed), 0);
	assert_true(deterministic_forward(&computed, LAB_HOSTS + 1, &p));
	for (unsigned i = 0; i < p.usable + BLOCK; i++)
		lab_mapped(l, 1, (uint16_t)(5000 + i));
	for (unsigned n = 0; n < l->engines; n++) {
		struct events v = events_of(l->arena, n);
		struct event e;

		for (; event_peek(&v, event_next(&v), &e, 1); event_taken(&v, event_next(&v) + 1), told++)
			assert_true(e.kind == EVENT_block_given && be32_host(e.inside) == LAB_HOSTS + 1 &&
				    be32_host(e.nat) == LAB_POOL + 2 && e.ports == BLOCK);
	}
	assert_int_equal(told, 1);
}

int main(void)
{
	static const struct lab_test tests[] = {
		LAB_TEST(test_7422_ae, .nat = RANGE_512 RESERVED "\"hold_s\":30", .pools = OTHERS_FIRST,
			.more = DEALT("")),
		LAB_TEST(test_7422_ae, .nat = RANGE_512 RESERVED "\"hold_s\":30", .pools = OTHERS_FIRST,
			.more = DEALT(",\"order\":\"spread\",\"ports_per_subscriber\":32")),
		LAB_TEST(test_7422_ao, .nat = "\"ports\":\"blocks\"," RANGE_512 "\"hold_s\":30", .pools = OTHERS_FIRST,
			.more = DEALT(",\"overflow\":\"more\"")),
		LAB_TEST(test_7422_al, .nat = "\"ports\":\"blocks\"," RANGE_512 "\"hold_s\":30", .pools = OTHERS_FIRST,
			.more = DEALT(",\"overflow\":\"more\"")),
	};

	return LAB_TESTS(tests);
}
