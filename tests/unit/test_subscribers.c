/* Limits and pairing of subscribers, as packets see them, in virtual time. */
#include "shm/quota.h"
#include "tests/unit/nat_lab.h"

#include <string.h>

#define LIMITS(rest) "\"limits\":[{\"name\":\"all\"," rest "}]"

static enum verdict worst(struct lab *l, const struct lab_packet *p, enum verdict v)
{
	uint64_t before = lab_verdicts(l, v);

	lab_send(l, p);
	return lab_verdicts(l, v) == before + 1 ? v : N_VERDICTS;
}

static struct lab_packet udp_from(unsigned host, uint16_t port)
{
	return lab_udp(lab_host(host, port), lab_server(1 + port % 50, 5353));
}

/* How many of `n` new flows of one subscriber pass, each from a port of its own. */
static unsigned passing(struct lab *l, unsigned host, uint16_t from, unsigned n)
{
	unsigned passed = 0;

	for (unsigned i = 0; i < n; i++) {
		struct lab_packet p = udp_from(host, (uint16_t)(from + i));
		uint64_t refused =
			lab_verdicts(l, VERDICT_drop_limit_udp_ports) + lab_verdicts(l, VERDICT_drop_limit_sessions);

		lab_send(l, &p);
		passed +=
			lab_verdicts(l, VERDICT_drop_limit_udp_ports) + lab_verdicts(l, VERDICT_drop_limit_sessions) ==
			refused;
		lab_pass(l, 0.01); /* a turn: what others do not use comes back */
		if (lab_verdicts(l, VERDICT_drop_limit_udp_ports) + lab_verdicts(l, VERDICT_drop_limit_sessions) !=
			refused) {
			unsigned again = lab_send(l, &p); /* nobody is refused twice while under the limit */

			passed += again > 0 && l->seen[0].protocol == 17 && !l->seen[0].error;
		}
	}
	return passed;
}

static void configure(struct lab *l, const char *more, const char *pools)
{
	struct lab_setup setup = {.more = more, .pools = pools};

	lab_configure(l, &setup);
}

static void test_limit_is_exact(struct lab *l)
{
	assert_int_equal(passing(l, 1, 5000, 60), 20);
	assert_int_equal(passing(l, 2, 5000, 60), 20); /* each has its own */
	lab_check(l, &(struct check_counts){0});
}

static void test_freed_units_are_there_again(struct lab *l)
{
	assert_int_equal(passing(l, 1, 5000, 30), 20);
	lab_pass(l, 310);
	assert_int_equal(passing(l, 1, 6000, 30), 20);
}

/* Lowered below what is in use: nothing is cut, and nothing is given. Raised: the very next packet. */
static void test_lowered_and_raised(struct lab *l)
{
	assert_int_equal(passing(l, 1, 5000, 20), 20);
	configure(l, LIMITS("\"udp_ports\":5"), NULL);
	for (uint16_t port = 5000; port < 5020; port++) {
		struct lab_packet p = udp_from(1, port);

		lab_ok(l, &p);
	}
	struct lab_packet one_more = udp_from(1, 7000);
	assert_int_equal(worst(l, &one_more, VERDICT_drop_limit_udp_ports), VERDICT_drop_limit_udp_ports);
	configure(l, LIMITS("\"udp_ports\":21"), NULL);
	lab_ok(l, &one_more);
	struct lab_packet too_many = udp_from(1, 7001);
	assert_int_equal(worst(l, &too_many, VERDICT_drop_limit_udp_ports), VERDICT_drop_limit_udp_ports);
	configure(l, NULL, NULL);
	lab_ok(l, &too_many);
}

/* ---- groups ---- */

static unsigned udp_limit(struct lab *l, struct lab_end host)
{
	unsigned passed = 0;

	for (unsigned i = 0; i < 40; i++) {
		struct lab_packet p = lab_udp((struct lab_end){host.address, (uint16_t)(5000 + i)}, lab_server(1, 99));

		for (unsigned tries = 0; tries < 2; tries++) {
			if (lab_send(l, &p) == 1 && !l->seen[0].error) {
				passed++;
				break;
			}
			lab_pass(l, 0.001);
		}
	}
	return passed;
}

/* The first group that holds a subscriber decides; what it does not say it inherits; who is in none has no limit. */
static void test_groups(struct lab *l)
{
	assert_int_equal(udp_limit(l, lab_host(3, 0)), 3);        /* "few" */
	assert_int_equal(udp_limit(l, lab_host(0x100, 0)), 12);   /* "some", which inherits from "few" its sessions */
	assert_int_equal(udp_limit(l, lab_host(0x10000, 0)), 40); /* none */
}

/* ---- the reserve ---- */

static unsigned passes(struct lab *l, uint16_t from, unsigned n, uint16_t to)
{
	unsigned passed = 0;

	for (unsigned i = 0; i < n; i++) {
		struct lab_packet p = lab_udp(lab_host(1, (uint16_t)(from + i)), lab_server(1 + i, to));

		for (unsigned tries = 0; tries < 2; tries++) {
			if (lab_send(l, &p) == 1 && !l->seen[0].error) {
				passed++;
				break;
			}
			lab_pass(l, 0.001);
		}
	}
	return passed;
}

/* Ten ports, four of them for DNS. */
static void test_reserve(struct lab *l)
{
	assert_int_equal(passes(l, 5000, 20, 99), 6);
	assert_int_equal(passes(l, 6000, 20, 53), 4);
	lab_pass(l, 310);
	assert_int_equal(passes(l, 5000, 5, 53), 5); /* of all there are */
	assert_int_equal(passes(l, 6000, 20, 99), 1);
	assert_int_equal(passes(l, 7000, 20, 53), 4);
}

/* ---- what comes from outside ---- */

/* Sessions that somebody outside begins, and that are answered, count as well as others. */
static void test_inbound_counts(struct lab *l)
{
	struct lab_packet p = lab_udp(lab_host(1, 5000), lab_server(1, 99));
	struct lab_end nat = lab_ok(l, &p).src;
	unsigned passed = 0;

	for (unsigned i = 0; i < 30; i++) {
		for (unsigned tries = 0; tries < 2; tries++) {
			bool reached = lab_reaches(l, 17, lab_server(10 + i, 1000), nat);

			struct lab_packet back = lab_udp(lab_host(1, 5000), lab_server(10 + i, 1000));

			passed += reached;
			if (reached)
				lab_ok(l, &back);
			lab_pass(l, 0.001);
			if (reached)
				break;
		}
	}
	assert_int_equal(passed, 8 - 1);
	assert_true(lab_verdicts(l, VERDICT_drop_limit_sessions) >= 22);
}

/* ---- pairing ---- */

static uint32_t address_of(struct lab *l, unsigned host, uint16_t port)
{
	struct lab_packet p = lab_udp(lab_host(host, port), lab_server(1, 99));

	return lab_ok(l, &p).src.address;
}

/* Its address is drained: what lives on it goes on, new mappings have another one, all the same one. Once more usable it
 * stays with the new one. Idle, it is forgotten. */
static void test_drained_address_is_replaced(struct lab *l)
{
	static const char drained[] =
		"[{\"name\":\"main\",\"addresses\":[\"198.51.100.0/30\"],\"drain\":[\"198.51.100.%u\"]}]";
	uint32_t old = address_of(l, 1, 5000);
	char pools[200];

	snprintf(pools, sizeof pools, drained, old & 0xff);
	configure(l, NULL, pools);
	assert_int_equal(address_of(l, 1, 5000), old);
	uint32_t new = address_of(l, 1, 5001);
	assert_int_not_equal(new, old);
	for (uint16_t port = 5002; port < 5030; port++)
		assert_int_equal(address_of(l, 1, port), new);
	configure(l, NULL, NULL);
	for (uint16_t port = 5030; port < 5060; port++)
		assert_int_equal(address_of(l, 1, port), new);
	lab_pass(l, 1000);
	assert_int_equal(address_of(l, 1, 5000), old); /* as for the first time */
}

/* One address for each pool in use, at the same time; the fifth pool is paired by the hash alone. */
static void test_pools_pair_each(struct lab *l)
{
	uint32_t of[6] = {0};

	for (uint16_t port = 5000; port < 5060; port++)
		for (unsigned pool = 0; pool < 6; pool++) {
			struct lab_packet p = lab_udp(
				lab_host(1, (uint16_t)(port + 100 * pool)), lab_server(1, (uint16_t)(1000 + pool)));
			uint32_t address = lab_ok(l, &p).src.address;

			assert_int_equal(address >> 2 & 0x3f, pool); /* its four addresses */
			if (!of[pool])
				of[pool] = address;
			assert_int_equal(address, of[pool]);
		}
}

/* ---- idling out ---- */

static void test_idle_subscribers_go(struct lab *l)
{
	struct check_counts c;

	for (unsigned host = 1; host <= 20; host++)
		address_of(l, host, 5000);
	lab_check(l, &c);
	assert_int_equal(c.subscribers, 20);
	assert_in_range(c.parts, 20, 20 * l->engines);
	lab_pass(l, 305); /* sessions are gone, subscribers not yet */
	lab_check(l, &c);
	assert_int_equal(c.sessions, 0);
	assert_int_equal(c.subscribers, 20);
	for (unsigned i = 0; i < 20; i++) /* some turns: each sees a few places */
		lab_pass(l, 20);
	lab_check(l, &c);
	assert_int_equal(c.subscribers, 0);
	assert_int_equal(c.parts, 0);
}

#define RULE(n)                                                                                                        \
	"{\"name\":\"r" #n "\",\"protocol\":\"udp\",\"port_first\":100" #n ",\"port_last\":100" #n ",\"pool\":\"p" #n  \
	"\"}"
#define POOL_OF(n, first) "{\"name\":\"p" #n "\",\"addresses\":[\"198.51.100." #first "/30\"]}"

int main(void)
{
	static const struct lab_test tests[] = {
		LAB_TEST(test_limit_is_exact, .more = LIMITS("\"udp_ports\":20")),
		LAB_TEST(test_freed_units_are_there_again, .more = LIMITS("\"sessions\":20")),
		LAB_TEST(test_lowered_and_raised, .more = LIMITS("\"udp_ports\":20")),
		LAB_TEST(test_groups, .more = "\"limits\":["
					      "{\"name\":\"few\",\"inside\":[\"100.64.0.0/24\"],\"udp_ports\":3,"
					      "\"sessions\":12},"
					      "{\"name\":\"some\",\"inside\":[\"100.64.0.0/16\"],\"udp_ports\":30,"
					      "\"inherits\":\"few\"}]"),
		LAB_TEST(test_reserve, .more = LIMITS("\"udp_ports\":10,\"reserved_ports\":4,\"reserved_for\":[53]")),
		LAB_TEST(test_inbound_counts, .more = LIMITS("\"sessions\":8")),
		LAB_TEST(test_drained_address_is_replaced),
		LAB_TEST(test_pools_pair_each,
			.more = "\"rules\":[" RULE(0) "," RULE(1) "," RULE(2) "," RULE(3) "," RULE(4) "," RULE(5) "]",
			.pools = "[" POOL_OF(0, 0) "," POOL_OF(1, 4) "," POOL_OF(2, 8) "," POOL_OF(3, 12) "," POOL_OF(
				4, 16) "," POOL_OF(5, 20) "]"),
		LAB_TEST(test_idle_subscribers_go),
	};

	return LAB_TESTS(tests);
}
