/* RFC 5382, NAT behavioural requirements for TCP, line by line: docs/rfc-conformance.md. */
#include "tests/unit/nat_lab.h"

enum { TCP = 6, ESTABLISHED_S = 7440, TRANSITORY_S = 240 };

static struct lab_packet give(struct lab *l, struct lab_end src, struct lab_end dst, uint8_t flags)
{
	struct lab_packet p = lab_tcp(src, dst, flags);

	return lab_ok(l, &p);
}

/* An outbound segment; returns the NAT's end. */
static struct lab_end out(struct lab *l, struct lab_end host, struct lab_end server, uint8_t flags)
{
	struct lab_packet p = give(l, host, server, flags);

	assert_int_equal(p.side, SIDE_OUTSIDE);
	assert_true(lab_same(p.dst, server));
	return p.src;
}

static void in(struct lab *l, struct lab_end server, struct lab_end nat, struct lab_end host, uint8_t flags)
{
	struct lab_packet p = give(l, server, nat, flags);

	assert_int_equal(p.side, SIDE_INSIDE);
	assert_true(lab_same(p.dst, host) && lab_same(p.src, server));
}

/* The three-way handshake; returns the NAT's end. */
static struct lab_end opened(struct lab *l, struct lab_end host, struct lab_end server)
{
	struct lab_end nat = out(l, host, server, LAB_SYN);

	in(l, server, nat, host, LAB_SYN | LAB_ACK);
	assert_true(lab_same(out(l, host, server, LAB_ACK), nat));
	return nat;
}

static bool reaches(struct lab *l, struct lab_end server, struct lab_end nat)
{
	return lab_reaches(l, TCP, server, nat);
}

/* ---- mapping ---- */

static void test_5382_1(struct lab *l)
{
	struct lab_end host = lab_host(1, 40000), first = out(l, host, lab_server(1, 80), LAB_SYN);
	struct check_counts counts;

	for (unsigned server = 1; server <= 200; server++)
		for (uint16_t port = 80; port < 83; port++)
			assert_true(lab_same(opened(l, host, lab_server(server, port)), first));
	lab_check(l, &counts);
	assert_int_equal(counts.mappings, 1);
}

/* ---- sequences ---- */

struct step {
	enum dir dir;
	uint8_t flags;
};

enum { STEPS = 10, END = 0xff };

/* Segments that TCP allows in this order (RFC 9293 §3.5, §3.6): every one of them passes. */
static const struct {
	const char *name;
	struct step step[STEPS];
} sequences[] = {
	{"open, data, close by the client",
		{{DIR_OUTBOUND, LAB_SYN}, {DIR_INBOUND, LAB_SYN | LAB_ACK}, {DIR_OUTBOUND, LAB_ACK},
			{DIR_INBOUND, LAB_ACK}, {DIR_OUTBOUND, LAB_FIN | LAB_ACK}, {DIR_INBOUND, LAB_ACK},
			{DIR_INBOUND, LAB_FIN | LAB_ACK}, {DIR_OUTBOUND, LAB_ACK}, {0, END}}},
	{"close by the server, data after its FIN",
		{{DIR_OUTBOUND, LAB_SYN}, {DIR_INBOUND, LAB_SYN | LAB_ACK}, {DIR_OUTBOUND, LAB_ACK},
			{DIR_INBOUND, LAB_FIN | LAB_ACK}, {DIR_OUTBOUND, LAB_ACK}, {DIR_OUTBOUND, LAB_ACK},
			{DIR_INBOUND, LAB_ACK}, {DIR_OUTBOUND, LAB_FIN | LAB_ACK}, {DIR_INBOUND, LAB_ACK}, {0, END}}},
	{"simultaneous open, the SYNs cross",
		{{DIR_OUTBOUND, LAB_SYN}, {DIR_INBOUND, LAB_SYN}, {DIR_OUTBOUND, LAB_SYN | LAB_ACK},
			{DIR_INBOUND, LAB_SYN | LAB_ACK}, {DIR_OUTBOUND, LAB_ACK}, {DIR_INBOUND, LAB_ACK}, {0, END}}},
	{"simultaneous close", {{DIR_OUTBOUND, LAB_SYN}, {DIR_INBOUND, LAB_SYN | LAB_ACK}, {DIR_OUTBOUND, LAB_ACK},
				       {DIR_OUTBOUND, LAB_FIN | LAB_ACK}, {DIR_INBOUND, LAB_FIN | LAB_ACK},
				       {DIR_OUTBOUND, LAB_ACK}, {DIR_INBOUND, LAB_ACK}, {0, END}}},
	{"SYN repeated, SYN answered twice",
		{{DIR_OUTBOUND, LAB_SYN}, {DIR_OUTBOUND, LAB_SYN}, {DIR_INBOUND, LAB_SYN | LAB_ACK},
			{DIR_INBOUND, LAB_SYN | LAB_ACK}, {DIR_OUTBOUND, LAB_ACK}, {0, END}}},
	{"refused by the server, then again",
		{{DIR_OUTBOUND, LAB_SYN}, {DIR_INBOUND, LAB_RST | LAB_ACK}, {DIR_OUTBOUND, LAB_SYN},
			{DIR_INBOUND, LAB_SYN | LAB_ACK}, {DIR_OUTBOUND, LAB_ACK}, {0, END}}},
	{"met half-way: the appliance was started under a running connection",
		{{DIR_OUTBOUND, LAB_ACK}, {DIR_INBOUND, LAB_ACK}, {DIR_OUTBOUND, LAB_ACK}, {0, END}}},
	{"reused after close",
		{{DIR_OUTBOUND, LAB_SYN}, {DIR_INBOUND, LAB_SYN | LAB_ACK}, {DIR_OUTBOUND, LAB_FIN | LAB_ACK},
			{DIR_INBOUND, LAB_FIN | LAB_ACK}, {DIR_OUTBOUND, LAB_ACK}, {DIR_OUTBOUND, LAB_SYN},
			{DIR_INBOUND, LAB_SYN | LAB_ACK}, {DIR_OUTBOUND, LAB_ACK}, {0, END}}},
};
enum { N_SEQUENCES = sizeof sequences / sizeof sequences[0] };

static void play(struct lab *l, const struct step *s, struct lab_end host, struct lab_end server)
{
	struct lab_end nat = {0, 0};

	for (; s->flags != END; s++) {
		if (s->dir == DIR_OUTBOUND)
			nat = out(l, host, server, s->flags);
		else
			in(l, server, nat, host, s->flags);
	}
}

static void test_5382_2(struct lab *l)
{
	for (unsigned i = 0; i < N_SEQUENCES; i++)
		for (uint16_t port = 0; port < 4; port++)
			play(l, sequences[i].step, lab_host(1 + i, (uint16_t)(40000 + port)), lab_server(1, 80));
	lab_pass(l, 20);
	assert_int_equal(l->n_out, 0);
}

/* Simultaneous open seen from behind a strict filter: the SYN from outside comes first, and is dropped; the host's own
 * opens, and the outside's next passes. */
static void test_5382_2_strict(struct lab *l)
{
	struct lab_end host = lab_host(1, 40000), nat = out(l, host, lab_server(1, 80), LAB_SYN);
	struct lab_packet syn = lab_tcp(lab_server(2, 90), nat, LAB_SYN);

	lab_none(l, &syn);
	assert_true(lab_same(out(l, host, lab_server(2, 90), LAB_SYN), nat));
	in(l, lab_server(2, 90), nat, host, LAB_SYN);
	out(l, host, lab_server(2, 90), LAB_SYN | LAB_ACK);
	in(l, lab_server(2, 90), nat, host, LAB_SYN | LAB_ACK);
	out(l, host, lab_server(2, 90), LAB_ACK);
	lab_pass(l, 20);
	assert_int_equal(l->n_out, 0);
}

/* A connection from outside to a mapped endpoint is one like any other. */
static void test_5382_2_inbound(struct lab *l)
{
	struct lab_end host = lab_host(1, 40000), nat = out(l, host, lab_server(1, 80), LAB_SYN);

	for (unsigned i = 2; i < 10; i++) {
		struct lab_end peer = lab_server(i, 5555);

		in(l, peer, nat, host, LAB_SYN);
		assert_true(lab_same(out(l, host, peer, LAB_SYN | LAB_ACK), nat));
		in(l, peer, nat, host, LAB_ACK);
	}
	lab_pass(l, ESTABLISHED_S - 100);
	for (unsigned i = 2; i < 10; i++)
		in(l, lab_server(i, 5555), nat, host, LAB_ACK);
}

/* ---- filtering ---- */

/* Endpoint-independent by default; the others by option; and TCP by a rule of its own. */
static void test_5382_3(struct lab *l)
{
	struct lab_end nat = opened(l, lab_host(1, 40000), lab_server(1, 80));

	assert_true(reaches(l, lab_server(2, 99), nat));
	lab_configure(l, &(struct lab_setup){.nat = "\"filtering\":\"address-dependent\""});
	nat = opened(l, lab_host(1, 40001), lab_server(1, 80));
	assert_true(reaches(l, lab_server(1, 99), nat));
	assert_false(reaches(l, lab_server(2, 80), nat));
	lab_configure(l, &(struct lab_setup){.more = "\"rules\":[{\"name\":\"tcp\",\"protocol\":\"tcp\",\"filtering\":"
						     "\"address-and-port-dependent\"}]"});
	nat = opened(l, lab_host(1, 40002), lab_server(1, 80));
	assert_false(reaches(l, lab_server(1, 99), nat));
	struct lab_packet udp = lab_udp(lab_host(1, 40002), lab_server(1, 80));
	assert_true(lab_reaches(l, 17, lab_server(2, 99), lab_ok(l, &udp).src));
}

/* ---- unsolicited SYNs ---- */

static unsigned drop_hold(struct lab *l, struct lab_end from, struct lab_end nat)
{
	struct lab_packet syn = lab_tcp(from, nat, LAB_SYN);

	lab_none(l, &syn);
	return lab_pass(l, 5.9);
}

/* Six seconds of silence, then Port Unreachable about the SYN. */
static void test_5382_4(struct lab *l)
{
	struct lab_end nat = out(l, lab_host(1, 40000), lab_server(1, 80), LAB_SYN), from = lab_server(2, 90);

	assert_int_equal(drop_hold(l, from, nat), 0);
	struct lab_frame syn = l->sent;
	assert_int_equal(lab_pass(l, 1), 1);
	assert_int_equal(l->seen[0].side, SIDE_OUTSIDE);
	assert_int_equal(l->seen[0].dst.address, from.address);
	assert_true(l->seen[0].error);
	assert_int_equal(l->seen[0].type, LAB_UNREACHABLE);
	assert_int_equal(l->seen[0].code, LAB_CODE_PORT);
	assert_true(lab_quotes(&l->out[0], &syn));
	assert_int_equal(lab_pass(l, 20), 0);
}

/* The host opens the connection meanwhile: the SYN that was held is forgotten. */
static void test_5382_4_open(struct lab *l)
{
	struct lab_end host = lab_host(1, 40000), nat = out(l, host, lab_server(1, 80), LAB_SYN),
		       from = lab_server(2, 90);

	assert_int_equal(drop_hold(l, from, nat), 0);
	out(l, host, from, LAB_SYN);
	assert_int_equal(lab_pass(l, 20), 0);
}

/* To a port that nobody has: the same. Bounded: ten thousand of them do no harm. */
static void test_5382_4_flood(struct lab *l)
{
	struct lab_end host = lab_host(1, 40000), server = lab_server(1, 80), nat = opened(l, host, server);

	for (unsigned i = 0; i < 10000; i++) {
		struct lab_packet syn = lab_tcp((struct lab_end){0x01000000 + i, 90}, nat, LAB_SYN);

		syn.dst.port ^= 1;
		lab_send(l, &syn);
		if (i % 1000 == 0)
			in(l, server, nat, host, LAB_ACK);
	}
	lab_pass(l, 20);
	in(l, server, nat, host, LAB_ACK);
}

/* ---- time ---- */

/* Silent for `idle_s` less one second it is alive; after that and one pass of the sweep it is gone. */
static void lives(struct lab *l, struct lab_end server, struct lab_end nat, double idle_s)
{
	lab_pass(l, idle_s - 1);
	assert_true(reaches(l, server, nat));
	lab_pass(l, idle_s + LAB_SWEEP_S);
	assert_false(reaches(l, server, nat));
}

static void test_5382_5(struct lab *l)
{
	lives(l, lab_server(1, 80), opened(l, lab_host(1, 40000), lab_server(1, 80)), ESTABLISHED_S);
}

/* Transitory: before the handshake is complete. */
static void test_5382_5_opening(struct lab *l)
{
	struct lab_end server = lab_server(1, 80), host = lab_host(1, 40000), nat = out(l, host, server, LAB_SYN);

	lab_pass(l, TRANSITORY_S - 1);
	in(l, server, nat, host, LAB_SYN | LAB_ACK);
	nat = out(l, lab_host(2, 40000), server, LAB_SYN);
	lab_pass(l, TRANSITORY_S + LAB_SWEEP_S);
	assert_false(reaches(l, server, nat));
}

/* ---- the rest ---- */

static void test_5382_7(struct lab *l)
{
	struct lab_end nat[8];

	for (unsigned i = 0; i < 8; i++) {
		nat[i] = opened(l, lab_host(i + 1, 40000), lab_server(1 + i % 2, 80));
		for (unsigned k = 0; k < i; k++)
			assert_false(lab_same(nat[i], nat[k]));
	}
	for (unsigned i = 0; i < 20; i++) {
		struct lab_packet ninth = lab_tcp(lab_host(9, 40000), lab_server(3, 80), LAB_SYN);

		lab_send(l, &ninth);
		assert_true(l->n_out == 0 || l->seen[0].error);
	}
	for (unsigned i = 0; i < 8; i++)
		in(l, lab_server(1 + i % 2, 80), nat[i], lab_host(i + 1, 40000), LAB_ACK);
}

/* A connection between two subscribers by the outside endpoint of one; each sees the other's outside endpoint. */
static void test_5382_8(struct lab *l)
{
	for (unsigned i = 0; i < 8; i++) {
		struct lab_end a = lab_host(10 + i, 40000), b = lab_host(30 + i, 8080);
		struct lab_end nat_b = out(l, b, lab_server(1, 80), LAB_SYN),
			       nat_a = out(l, a, lab_server(2, 80), LAB_SYN);
		static const uint8_t flags[] = {
			LAB_SYN, LAB_SYN | LAB_ACK, LAB_ACK, LAB_ACK, LAB_FIN | LAB_ACK, LAB_FIN | LAB_ACK, LAB_ACK};

		for (unsigned k = 0; k < sizeof flags; k++) {
			bool from_a = k % 2 == 0;
			struct lab_packet p = give(l, from_a ? a : b, from_a ? nat_b : nat_a, flags[k]);

			assert_int_equal(p.side, SIDE_INSIDE);
			assert_true(lab_same(p.dst, from_a ? b : a));
			assert_true(lab_same(p.src, from_a ? nat_a : nat_b));
		}
	}
}

static void test_5382_9(struct lab *l)
{
	struct lab_end host = lab_host(1, 40000), server = lab_server(1, 80);

	out(l, host, server, LAB_SYN);
	struct lab_frame sent = l->sent, about = l->out[0], error;
	for (uint8_t code = 0; code < 16; code++) {
		lab_error(&about, 0x08080808, LAB_UNREACHABLE, code, 28, &error);
		assert_int_equal(lab_send_frame(l, &error), 1);
		assert_int_equal(l->seen[0].side, SIDE_INSIDE);
		assert_int_equal(l->seen[0].code, code);
		assert_int_equal(l->seen[0].dst.address, host.address);
		assert_true(lab_quotes(&l->out[0], &sent));
		assert_int_equal(l->seen[0].mtu, code == LAB_CODE_TOO_BIG ? LAB_LINK_MTU : 0);
	}
}

static void test_5382_10(struct lab *l)
{
	struct lab_end host = lab_host(1, 40000), server = lab_server(1, 80), nat = opened(l, host, server);
	struct lab_frame about = l->out[0], error;

	for (unsigned i = 0; i < 50; i++) {
		lab_error(&about, server.address + i % 2, i % 3 ? LAB_UNREACHABLE : LAB_TIME_EXCEEDED,
			i % 3 ? (uint8_t)(i % 16) : 0, 28, &error);
		lab_send_frame(l, &error);
	}
	lab_pass(l, ESTABLISHED_S - 10);
	in(l, server, nat, host, LAB_ACK);
	assert_true(lab_same(out(l, host, server, LAB_ACK), nat));
}

#define STRICT "\"filtering\":\"address-and-port-dependent\""

int main(void)
{
	static const struct lab_test tests[] = {
		LAB_TEST(test_5382_1),
		LAB_TEST(test_5382_2),
		LAB_TEST(test_5382_2_strict, .nat = STRICT),
		LAB_TEST(test_5382_2_inbound),
		LAB_TEST(test_5382_3),
		LAB_TEST(test_5382_4, .nat = STRICT),
		LAB_TEST(test_5382_4_open, .nat = STRICT),
		LAB_TEST(test_5382_4_flood),
		LAB_TEST(test_5382_5),
		LAB_TEST(test_5382_5_opening),
		LAB_TEST(test_5382_7, .nat = "\"port_first\":2000,\"port_last\":2007",
			.pools = "[{\"name\":\"main\",\"addresses\":[\"198.51.100.0\"]}]"),
		LAB_TEST(test_5382_8),
		LAB_TEST(test_5382_9),
		LAB_TEST(test_5382_10),
	};

	return LAB_TESTS(tests);
}
