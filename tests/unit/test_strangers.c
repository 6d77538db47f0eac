/* Strangers: who may begin a session from the outside, and how many such sessions a subscriber and an engine put up with
 * before the inside has answered (issue 4; shared design: NAT sessions, mappings and filters). */
#include "common/headers.h"
#include "tests/unit/nat_lab.h"

enum { TCP = PROTO_TCP, UDP = PROTO_UDP };

#define FILTERS(kind) &(struct lab_setup){.nat = "\"filtering\":\"" kind "\""}

static struct lab_end goes_out(struct lab *l, struct lab_end inside, struct lab_end server)
{
	struct lab_packet p = lab_udp(inside, server);

	return lab_ok(l, &p).src;
}

/* ---- filters, changed while a mapping is in use ---- */

static void test_filter_tightened(struct lab *l)
{
	struct lab_end host = lab_host(1, 5000), nat = goes_out(l, host, lab_server(1, 53));

	assert_true(lab_reaches(l, UDP, lab_server(8, 9), nat));
	lab_configure(l, FILTERS("address-and-port-dependent"));
	assert_true(lab_reaches(l, UDP, lab_server(1, 53), nat));
	assert_true(lab_reaches(l, UDP, lab_server(8, 9), nat)); /* what there is lives on */
	assert_false(lab_reaches(l, UDP, lab_server(8, 10), nat));
	for (unsigned i = 0; i < 100; i++) {
		assert_true(lab_same(goes_out(l, host, lab_server(2 + i % 2, 53)), nat));
		lab_pass(l, 100);
	}
	assert_false(lab_reaches(l, UDP, lab_server(9, 9), nat));
	assert_false(lab_reaches(l, UDP, lab_server(3, 54), nat));
	assert_true(lab_reaches(l, UDP, lab_server(3, 53), nat));
}

/* New outbound sessions enter the filters that the new behaviour needs, though the mapping has a wider one. */
static void test_filter_by_address(struct lab *l)
{
	struct lab_end host = lab_host(1, 5000), nat = goes_out(l, host, lab_server(1, 53));

	lab_configure(l, FILTERS("address-dependent"));
	assert_false(lab_reaches(l, UDP, lab_server(2, 99), nat));
	assert_true(lab_same(goes_out(l, host, lab_server(2, 53)), nat));
	assert_true(lab_reaches(l, UDP, lab_server(2, 99), nat));
	assert_false(lab_reaches(l, UDP, lab_server(3, 99), nat));
}

static void test_filter_loosened(struct lab *l)
{
	struct lab_end host = lab_host(1, 5000), nat = goes_out(l, host, lab_server(1, 53));

	assert_false(lab_reaches(l, UDP, lab_server(9, 9), nat));
	lab_configure(l, FILTERS("endpoint-independent"));
	assert_true(lab_reaches(l, UDP, lab_server(1, 99), nat)); /* by the filter there is */
	assert_false(lab_reaches(l, UDP, lab_server(9, 9), nat));
	assert_true(lab_same(goes_out(l, host, lab_server(2, 53)), nat));
	assert_true(lab_reaches(l, UDP, lab_server(9, 9), nat));
	lab_configure(l, FILTERS("address-dependent"));
	assert_false(lab_reaches(l, UDP, lab_server(7, 9), nat));
	assert_true(lab_reaches(l, UDP, lab_server(1, 98), nat));
}

/* A rule's exception is as wide as it was made, whoever writes to it; until the rule goes. */
static void test_filter_of_rule(struct lab *l)
{
	struct lab_end host = lab_host(1, 5000), nat = goes_out(l, host, lab_server(1, 5060));

	assert_true(lab_reaches(l, UDP, lab_server(9, 9), nat));
	lab_configure(l, FILTERS("address-and-port-dependent"));
	assert_false(lab_reaches(l, UDP, lab_server(9, 10), nat));
}

/* Who began the mapping falls under a stricter rule by now; others use it under the one that is as wide as before. */
static void test_filter_of_others(struct lab *l)
{
	struct lab_end host = lab_host(1, 5000), nat = goes_out(l, host, lab_server(1, 53));

	lab_configure(l, &(struct lab_setup){
				 .more = "\"rules\":[{\"name\":\"dns\",\"port_first\":53,\"port_last\":53,"
					 "\"filtering\":\"address-and-port-dependent\"}]"});
	assert_true(lab_same(goes_out(l, host, lab_server(2, 80)), nat));
	assert_true(lab_reaches(l, UDP, lab_server(9, 9), nat));
	assert_false(lab_reaches(l, UDP, lab_server(9, 53), nat));
}

int main(void)
{
	static const struct lab_test tests[] = {
		LAB_TEST(test_filter_tightened),
		LAB_TEST(test_filter_by_address),
		LAB_TEST(test_filter_loosened, .nat = "\"filtering\":\"address-dependent\""),
		LAB_TEST(test_filter_of_rule, .nat = "\"filtering\":\"address-and-port-dependent\"",
			.more = "\"rules\":[{\"name\":\"sip\",\"port_first\":5060,\"port_last\":5060,"
				"\"filtering\":\"endpoint-independent\"}]"),
		LAB_TEST(test_filter_of_others),
	};

	return LAB_TESTS(tests);
}
