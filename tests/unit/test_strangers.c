/* Strangers: who may begin a session from the outside, and how many such sessions a subscriber and an engine put up with
 * before the inside has answered (issue 4; shared design: NAT sessions, mappings and filters). */
#include "common/headers.h"
#include "tests/unit/nat_lab.h"

enum { TCP = PROTO_TCP, UDP = PROTO_UDP };

#define FILTERS(kind)                                                                                                  \
	&(struct lab_setup)                                                                                            \
	{                                                                                                              \
		.nat = "\"filtering\":\"" kind "\""                                                                    \
	}

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

	lab_configure(l, &(struct lab_setup){.more = "\"rules\":[{\"name\":\"dns\",\"port_first\":53,\"port_last\":53,"
						     "\"filtering\":\"address-and-port-dependent\"}]"});
	assert_true(lab_same(goes_out(l, host, lab_server(2, 80)), nat));
	assert_true(lab_reaches(l, UDP, lab_server(9, 9), nat));
	assert_false(lab_reaches(l, UDP, lab_server(9, 53), nat));
}

/* ---- how many may begin, until the inside answers ---- */

static struct lab_end stranger(unsigned i)
{
	return (struct lab_end){0x01000000 + i, 7};
}

static bool sends(struct lab *l, struct lab_end inside, struct lab_end to)
{
	struct lab_packet p = lab_udp(inside, to);

	return lab_send(l, &p) == 1 && !l->seen[0].error;
}

/* How many of these strangers' datagrams come in; whose, in came[] unless that is NULL. */
static unsigned let_in(struct lab *l, unsigned first, unsigned n, struct lab_end nat, bool *came)
{
	unsigned in = 0;

	for (unsigned i = 0; i < n; i++) {
		bool is_in = lab_reaches(l, UDP, stranger(first + i), nat);

		in += is_in;
		if (came)
			came[i] = is_in;
	}
	return in;
}

static unsigned own(struct lab *l, unsigned host, unsigned n)
{
	unsigned made = 0;

	for (unsigned i = 0; i < n; i++)
		made += sends(l, lab_host(host, (uint16_t)(6000 + i)), lab_server(1, 443));
	return made;
}

static uint64_t unanswered(struct lab *l)
{
	lab_pass(l, 0.01);
	return lab_counted(l, COUNTER_sessions_unanswered);
}

/* A quarter of what the subscriber may have; engines have equal shares, and where they are used alone no more than that. */
static void test_quarter(struct lab *l)
{
	struct lab_end host = lab_host(1, 5000), nat = goes_out(l, host, lab_server(1, 53));
	bool came[300];
	unsigned in = let_in(l, 0, 300, nat, came);

	assert_in_range(in, 25 / l->engines, 25);
	assert_int_equal(unanswered(l), in);
	assert_true(lab_verdicts(l, VERDICT_drop_limit_unanswered) >= 300 - in);
	assert_int_equal(own(l, 1, 20), 20);
	assert_int_equal(let_in(l, 0, 300, nat, NULL), in); /* those that have a session */
	for (unsigned i = 0; i < 300; i++) {
		assert_true(!came[i] || sends(l, host, stranger(i)));
		lab_pass(l, 0.001);
	}
	assert_int_equal(unanswered(l), 0);
	assert_int_equal(let_in(l, 1000, 300, nat, NULL), in);
	assert_int_equal(unanswered(l), in);
}

static void test_bound_of_its_own(struct lab *l)
{
	struct lab_end host = lab_host(1, 5000), nat = goes_out(l, host, lab_server(1, 53));
	unsigned in = let_in(l, 0, 100, nat, NULL);

	assert_in_range(in, 8 / l->engines, 8);
	lab_configure(l, &(struct lab_setup){.nat = "\"unanswered\":16"});
	unsigned more = let_in(l, 200, 100, nat, NULL);
	assert_in_range(in + more, 16 / l->engines, 16);
	assert_true(more > 0);
	lab_configure(l, &(struct lab_setup){.nat = "\"unanswered\":4"});
	assert_int_equal(let_in(l, 400, 100, nat, NULL), 0);
	assert_int_equal(unanswered(l), in + more);
}

/* Each of a server's clients is answered, and so none waits for another, wherever the answers land. */
static void serve(struct lab *l, uint8_t protocol, struct lab_end inside, struct lab_end nat)
{
	for (unsigned i = 0; i < 100; i++) {
		struct lab_packet back = protocol == TCP ? lab_tcp(inside, stranger(i), LAB_SYN | LAB_ACK)
							 : lab_udp(inside, stranger(i));

		assert_true(lab_reaches(l, protocol, stranger(i), nat));
		lab_ok(l, &back);
		lab_pass(l, 0.01);
	}
	assert_int_equal(unanswered(l), 0);
}

static void test_server(struct lab *l)
{
	serve(l, TCP, lab_host(1, 80), (struct lab_end){LAB_POOL + 1, 8080});
	serve(l, UDP, lab_host(1, 53), (struct lab_end){LAB_POOL + 1, 5353});
}

/* An eighth of what an engine is planned for is all that strangers get of it, whoever they write to. */
static void test_arena_stays(struct lab *l)
{
	unsigned in = 0;

	for (unsigned h = 0; h < 8; h++)
		in += let_in(l, 1000 * h, 500, goes_out(l, lab_host(1 + h, 5000), lab_server(1, 53)), NULL);
	assert_in_range(in, 1024 / 8 / l->engines, 1024 / 8);
	assert_true(lab_verdicts(l, VERDICT_drop_room_kept) >= 4000 - in);
	for (unsigned i = 0; i < 50; i++)
		assert_int_equal(own(l, 100 + i, 1), 1);
	assert_int_equal(lab_verdicts(l, VERDICT_drop_table_full) + lab_verdicts(l, VERDICT_drop_no_memory), 0);
}

/* What is left of a table that is nearly full is the inside's: of the engine where strangers land. */
static void test_last_room(struct lab *l)
{
	struct lab_end nat = goes_out(l, lab_host(1, 5000), lab_server(1, 53));
	unsigned h = 0;

	if (l->path != LAB_ALONE && l->path != LAB_HOME)
		return; /* there the tables of another one fill first, or both by halves */
	while (h < 100 && lab_reaches(l, UDP, stranger(h), nat)) {
		assert_int_equal(own(l, 2 + h, 20), 20);
		h++;
	}
	assert_in_range(h, 10, 50);
	assert_int_equal(lab_verdicts(l, VERDICT_drop_room_kept), 1);
	assert_int_equal(own(l, 200, 20), 20);
}

/* ---- how long ---- */

static bool begins(struct lab *l, uint8_t protocol, struct lab_end from, struct lab_end nat)
{
	uint64_t before = lab_verdicts(l, VERDICT_fwd_in_new);

	assert_true(lab_reaches(l, protocol, from, nat));
	return lab_verdicts(l, VERDICT_fwd_in_new) > before;
}

static void test_brief(struct lab *l)
{
	struct lab_end host = lab_host(1, 5000), nat = goes_out(l, host, lab_server(1, 53));

	assert_true(begins(l, UDP, stranger(1), nat));
	assert_true(begins(l, UDP, stranger(2), nat));
	assert_true(sends(l, host, stranger(2)));
	lab_pass(l, 29);
	assert_int_equal(unanswered(l), 1);
	assert_false(begins(l, UDP, stranger(1), nat)); /* which does not keep it */
	lab_pass(l, 1 + LAB_SWEEP_S);
	assert_int_equal(unanswered(l), 0);
	assert_false(begins(l, UDP, stranger(2), nat));
	lab_pass(l, 200);
	assert_false(begins(l, UDP, stranger(2), nat));
	assert_true(begins(l, UDP, stranger(1), nat));
	assert_true(sends(l, host, stranger(1))); /* late, and by the same mapping */
	assert_true(lab_same(goes_out(l, host, lab_server(3, 53)), nat));
}

/* By option what comes in keeps it, for as short a time. */
static void test_brief_refreshed(struct lab *l)
{
	struct lab_end nat = goes_out(l, lab_host(1, 5000), lab_server(1, 53));

	assert_true(begins(l, UDP, stranger(1), nat));
	for (unsigned i = 0; i < 5; i++) {
		lab_pass(l, 20);
		assert_false(begins(l, UDP, stranger(1), nat));
	}
	lab_pass(l, 30 + LAB_SWEEP_S);
	assert_true(begins(l, UDP, stranger(1), nat));
}

/* A connection that is not open has its four minutes (RFC 5382 REQ-5). */
static void test_brief_not_tcp(struct lab *l)
{
	struct lab_end nat = lab_mapped_tcp(l, 1, 5000);

	assert_true(begins(l, TCP, stranger(1), nat));
	lab_pass(l, 230);
	assert_false(begins(l, TCP, stranger(1), nat));
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
		LAB_TEST(test_quarter, .more = "\"limits\":[{\"name\":\"all\",\"sessions\":100}]"),
		LAB_TEST(test_bound_of_its_own, .nat = "\"unanswered\":8"),
		LAB_TEST(test_server, .nat = "\"unanswered\":4",
			.more = "\"static\":[{\"protocol\":\"tcp\",\"inside\":\"100.64.0.1\",\"inside_port\":80,"
				"\"nat\":\"198.51.100.1\",\"nat_port\":8080},{\"protocol\":\"udp\",\"inside\":"
				"\"100.64.0.1\",\"inside_port\":53,\"nat\":\"198.51.100.1\",\"nat_port\":5353}]"),
		LAB_TEST(test_arena_stays),
		LAB_TEST(test_last_room),
		LAB_TEST(test_brief),
		LAB_TEST(test_brief_refreshed, .nat = "\"udp_inbound_refresh\":\"on\""),
		LAB_TEST(test_brief_not_tcp),
	};

	return LAB_TESTS(tests);
}
