/* RFC 7857, updates to the NAT behavioural requirements, and the TCP lines of practice, line by line:
 * docs/rfc-conformance.md. */
#include "tests/unit/nat_lab.h"

#include <string.h>

enum { TCP = 6, UDP = 17, TRANSITORY_S = 240, TCP_AT = LAB_ETHERNET + 20 };

static struct lab_end mapped(struct lab *l, struct lab_end inside, struct lab_end server)
{
	struct lab_packet p = lab_udp(inside, server);

	return lab_ok(l, &p).src;
}

/* ---- a connection with sequence numbers ---- */

struct connection {
	struct lab *lab;
	struct lab_end host, server, nat;
	uint32_t seq[N_DIRS]; /* next of each end */
};

static struct lab_packet segment(struct connection *c, enum dir dir, uint8_t flags, unsigned payload)
{
	struct lab_packet p =
		dir == DIR_OUTBOUND ? lab_tcp(c->host, c->server, flags) : lab_tcp(c->server, c->nat, flags);

	p.seq = c->seq[dir];
	p.ack = flags & LAB_ACK ? c->seq[!dir] : 0;
	p.payload = (uint16_t)payload;
	return p;
}

static void says(struct connection *c, enum dir dir, uint8_t flags, unsigned payload)
{
	struct lab_packet p = segment(c, dir, flags, payload), out = lab_ok(c->lab, &p);

	assert_int_equal(out.side, dir == DIR_OUTBOUND ? SIDE_OUTSIDE : SIDE_INSIDE);
	if (dir == DIR_OUTBOUND)
		c->nat = out.src;
	else
		assert_true(lab_same(out.dst, c->host));
	c->seq[dir] += payload + !!(flags & (LAB_SYN | LAB_FIN));
}

static struct connection opened(struct lab *l, uint16_t port)
{
	struct connection c = {l, lab_host(1, port), lab_server(1, 80), {0, 0}, {1000000, 0xfffffff0u}};

	says(&c, DIR_OUTBOUND, LAB_SYN, 0);
	says(&c, DIR_INBOUND, LAB_SYN | LAB_ACK, 0);
	says(&c, DIR_OUTBOUND, LAB_ACK, 0);
	says(&c, DIR_OUTBOUND, LAB_ACK, 100);
	says(&c, DIR_INBOUND, LAB_ACK, 100);
	return c;
}

static bool alive(struct connection *c)
{
	struct lab_packet p = segment(c, DIR_INBOUND, LAB_ACK, 1);

	return lab_send(c->lab, &p) == 1 && c->lab->seen[0].side == SIDE_INSIDE;
}

static void closed(struct connection *c)
{
	says(c, DIR_OUTBOUND, LAB_FIN | LAB_ACK, 0);
	says(c, DIR_INBOUND, LAB_FIN | LAB_ACK, 0);
	says(c, DIR_OUTBOUND, LAB_ACK, 0);
}

/* ---- TCP states ---- */

/* Half closed it lives as long as when it was open; closed, no longer than transitory. */
static void test_7857_2_1(struct lab *l)
{
	struct connection half = opened(l, 40000), whole = opened(l, 40001), open = opened(l, 40002);

	says(&half, DIR_INBOUND, LAB_FIN | LAB_ACK, 0);
	says(&half, DIR_OUTBOUND, LAB_ACK, 0);
	closed(&whole);
	lab_pass(l, TRANSITORY_S + LAB_SWEEP_S);
	assert_false(alive(&whole));
	lab_pass(l, 7000);
	assert_true(alive(&half));
	assert_true(alive(&open));
}

/* Opening and closing each by its own time. */
static void test_7857_2_2(struct lab *l)
{
	struct connection closing = opened(l, 40000),
			  opening = {l, lab_host(1, 40001), lab_server(1, 80), {0, 0}, {7, 7}};

	closed(&closing);
	says(&opening, DIR_OUTBOUND, LAB_SYN, 0);
	lab_pass(l, 29);
	assert_true(alive(&closing));
	lab_pass(l, 30 + LAB_SWEEP_S);
	assert_false(alive(&closing));
	lab_pass(l, 30);
	assert_true(alive(&opening));
	opening.host.port++;
	says(&opening, DIR_OUTBOUND, LAB_SYN, 0);
	lab_pass(l, 100 + LAB_SWEEP_S);
	assert_false(alive(&opening));
}

/* By default four minutes for both. */
static void test_7857_2_2_default(struct lab *l)
{
	struct connection closing = opened(l, 40000),
			  opening = {l, lab_host(1, 40001), lab_server(1, 80), {0, 0}, {7, 7}};

	closed(&closing);
	says(&opening, DIR_OUTBOUND, LAB_SYN, 0);
	lab_pass(l, TRANSITORY_S - 1);
	assert_true(alive(&closing));
	assert_true(alive(&opening));
}

/* A reset passes, in either direction; state stays four minutes after it; data cancels it. */
static void test_7857_2_3(struct lab *l)
{
	for (enum dir dir = DIR_OUTBOUND; dir < N_DIRS; dir++) {
		struct connection ended = opened(l, (uint16_t)(40000 + dir)),
				  goes_on = opened(l, (uint16_t)(40010 + dir));

		says(&ended, dir, LAB_RST | LAB_ACK, 0);
		says(&goes_on, dir, LAB_RST | LAB_ACK, 0);
		lab_pass(l, TRANSITORY_S - 10);
		says(&goes_on, !dir, LAB_ACK, 10); /* the other end never saw it */
		says(&goes_on, dir, LAB_ACK, 10);
		lab_pass(l, 10 + LAB_SWEEP_S);
		assert_false(alive(&ended));
		lab_pass(l, 3000);
		assert_true(alive(&goes_on));
	}
}

/* ---- pooling ---- */

/* While a mapping of a host lives, its next one is on the same address, even when the pool has changed meanwhile. */
static void test_7857_4(struct lab *l)
{
	struct lab_end before[30];

	for (unsigned host = 0; host < 30; host++)
		before[host] = mapped(l, lab_host(host + 1, 5000), lab_server(1, 53));
	lab_configure(l, &(struct lab_setup){.pools = "[{\"name\":\"main\",\"addresses\":[\"198.51.100.0/28\"]}]"});
	for (unsigned host = 0; host < 30; host++) {
		struct lab_packet syn = lab_tcp(lab_host(host + 1, 7000), lab_server(1, 80), LAB_SYN);

		for (uint16_t port = 5001; port < 5005; port++)
			assert_int_equal(
				mapped(l, lab_host(host + 1, port), lab_server(1, 53)).address, before[host].address);
		assert_int_equal(lab_ok(l, &syn).src.address, before[host].address);
	}
}

/* ---- defaults ---- */

static void test_7857_5(struct lab *l)
{
	struct lab_end udp = mapped(l, lab_host(1, 5000), lab_server(1, 53));
	struct lab_packet syn = lab_tcp(lab_host(1, 5000), lab_server(1, 80), LAB_SYN);
	struct lab_end tcp = lab_ok(l, &syn).src;

	assert_true(lab_same(mapped(l, lab_host(1, 5000), lab_server(2, 54)), udp));
	syn = lab_tcp(lab_host(1, 5000), lab_server(2, 81), LAB_SYN);
	assert_true(lab_same(lab_ok(l, &syn).src, tcp));
	assert_true(lab_reaches(l, UDP, lab_server(9, 999), udp));
	assert_true(lab_reaches(l, TCP, lab_server(9, 999), tcp));
}

/* The filter of one protocol says nothing for the other: a mapping of UDP lets no TCP in. */
static void test_7857_6(struct lab *l)
{
	struct lab_end udp = mapped(l, lab_host(1, 5000), lab_server(1, 53));

	assert_true(lab_reaches(l, UDP, lab_server(9, 999), udp));
	assert_false(lab_reaches(l, TCP, lab_server(9, 999), udp));
}

/* ---- refresh ---- */

/* Outbound resets and ICMP errors that answer what came in keep nothing alive. */
static void test_7857_7(struct lab *l)
{
	struct lab_end host = lab_host(1, 5000), server = lab_server(1, 53), nat = mapped(l, host, server);
	struct lab_packet in = lab_udp(lab_server(2, 99), nat);
	struct lab_frame came, error;

	for (unsigned s = 0; s < 290; s += 10) {
		lab_pass(l, 10);
		lab_ok(l, &in);
		came = l->out[0];
		lab_error(&came, host.address, LAB_UNREACHABLE, LAB_CODE_PORT, 28, &error);
		assert_int_equal(lab_send_frame(l, &error), 1);
	}
	lab_pass(l, 30 + LAB_SWEEP_S);
	assert_false(lab_reaches(l, UDP, server, nat));
}

/* Nor do packets that come in, whoever sends them, always somebody new. */
static void test_7857_7_many(struct lab *l)
{
	struct lab_end nat = mapped(l, lab_host(1, 5000), lab_server(1, 53));

	for (unsigned i = 2; i < 30; i++) {
		lab_pass(l, 10);
		assert_true(lab_reaches(l, UDP, lab_server(i, 99), nat));
	}
	lab_pass(l, 20 + LAB_SWEEP_S);
	assert_false(lab_reaches(l, UDP, lab_server(100, 99), nat));
}

/* The same for a reset: it opens no connection's time, and does not start the idle time of one again. */
static void test_7857_7_rst(struct lab *l)
{
	struct lab_packet syn = lab_tcp(lab_host(1, 5000), lab_server(1, 80), LAB_SYN);
	struct lab_end nat = lab_ok(l, &syn).src;

	for (unsigned s = 0; s < 230; s += 10) {
		struct lab_packet in = lab_tcp(lab_server(2, 99), nat, LAB_SYN), out;
		struct lab_packet rst = lab_tcp(lab_host(1, 5000), lab_server(2, 99), LAB_RST | LAB_ACK);

		lab_pass(l, 10);
		lab_ok(l, &in);
		out = lab_ok(l, &rst);
		assert_true(lab_same(out.src, nat));
	}
	lab_pass(l, 2 * TRANSITORY_S + LAB_SWEEP_S);
	assert_false(lab_reaches(l, TCP, lab_server(3, 1), nat));
}

/* However long strangers knock, and whoever they are. */
static void test_7857_7_rst_many(struct lab *l)
{
	struct lab_packet syn = lab_tcp(lab_host(1, 5000), lab_server(1, 80), LAB_SYN);
	struct lab_end nat = lab_ok(l, &syn).src;

	for (unsigned i = 2; i < 5; i++) {
		struct lab_packet rst = lab_tcp(lab_host(1, 5000), lab_server(i, 99), LAB_RST | LAB_ACK);

		lab_pass(l, 70);
		assert_true(lab_reaches(l, TCP, lab_server(i, 99), nat));
		lab_ok(l, &rst);
	}
	lab_pass(l, TRANSITORY_S - 3 * 70 + LAB_SWEEP_S);
	assert_false(lab_reaches(l, TCP, lab_server(100, 99), nat));
}

/* ---- ports ---- */

/* Ports that follow one another tell nothing: of 200 in a row few are neighbours, and they lie all over the range. */
static void test_7857_9(struct lab *l)
{
	unsigned neighbours = 0, last = 0, low = 65535, high = 0;

	for (uint16_t port = 5000; port < 5200; port++) {
		unsigned nat = mapped(l, lab_host(1, port), lab_server(1, 53)).port;

		neighbours += nat - last + 2 <= 4;
		low = nat < low ? nat : low;
		high = nat > high ? nat : high;
		last = nat;
	}
	assert_true(neighbours < 10);
	assert_true(low < 8192 && high > 57344);
}

/* ---- IPv4 identification ---- */

/* Hosts that share an address may use the same identification towards one server: their fragments must differ in it. */
static void test_7857_10(struct lab *l)
{
	enum { HOSTS = 8 };
	uint16_t id[HOSTS];

	for (unsigned i = 0; i < HOSTS; i++) {
		struct lab_packet p = lab_udp(lab_host(1 + i, 5000), lab_server(1, 53));
		struct lab_frame whole, part[2];
		struct lab_packet got[2];

		p.payload = 800;
		p.id = 4242;
		lab_build(&p, &whole);
		assert_int_equal(lab_cut(&whole, 408, part, 2), 2);
		for (unsigned k = 0; k < 2; k++) {
			assert_int_equal(lab_send_frame(l, &part[k]), 1);
			got[k] = l->seen[0];
		}
		assert_int_equal(got[0].id, got[1].id);
		id[i] = got[0].id;
		for (unsigned k = 0; k < i; k++)
			assert_int_not_equal(id[k], id[i]);
	}
}

/* Whole datagrams that may yet be cut (DF clear) get identifications of their own, too; two hosts, one number. */
static void test_7857_10_whole(struct lab *l)
{
	uint16_t id[2];

	for (unsigned i = 0; i < 2; i++) {
		struct lab_packet p = lab_udp(lab_host(1 + i, 5000), lab_server(1, 53));

		p.id = 4242;
		id[i] = lab_ok(l, &p).id;
	}
	assert_int_not_equal(id[0], id[1]);
}

/* ---- ICMP ---- */

/* A query's mapping goes with its last session: the identifier is free again. */
static void test_7857_11(struct lab *l)
{
	struct lab_packet p = lab_ping(lab_host(1, 7), lab_server(1, 0).address);
	struct check_counts counts;

	lab_ok(l, &p);
	lab_pass(l, 60 + LAB_SWEEP_S);
	lab_check(l, &counts);
	assert_int_equal(counts.mappings, l->before.mappings);
	assert_int_equal(counts.ports[PORTS_OTHER], l->before.ports[PORTS_OTHER]);
}

/* ---- practice ---- */

/* No option is touched, but the MSS of a SYN that is larger than configured. */
static void test_tcp_a(struct lab *l)
{
	static const uint8_t options[] = {2, 4, 0x05, 0xb4, 4, 2, 8, 10, 1, 2, 3, 4, 0, 0, 0, 0, 1, 3, 3, 7};
	struct lab_packet p = lab_tcp(lab_host(1, 40000), lab_server(1, 80), LAB_SYN);
	struct lab_frame f;

	/* The options lie where data would: only the header's length says what they are. */
	p.payload = sizeof options;
	lab_build(&p, &f);
	uint8_t *tcp = f.bytes + TCP_AT;
	memcpy(tcp + 20, options, sizeof options);
	tcp[12] = 10 << 4;
	lab_mend_transport(&f);
	assert_int_equal(lab_send_frame(l, &f), 1);
	assert_int_equal(l->seen[0].mss, 1400);
	assert_memory_equal(l->out[0].bytes + TCP_AT + 24, options + 4, sizeof options - 4);
	p = lab_tcp(lab_host(1, 40000), lab_server(1, 80), LAB_SYN);
	p.mss = 1200; /* never raised */
	assert_int_equal(lab_ok(l, &p).mss, 1200);
	lab_configure(l, &(struct lab_setup){0});
	p.mss = 9000; /* off: left alone */
	assert_int_equal(lab_ok(l, &p).mss, 9000);
}

/* ---- resets (TCP-b) ---- */

/* A reset that is `off` from the sender's next sequence number passes like any other. */
static void resets(struct connection *c, enum dir dir, uint32_t off)
{
	struct lab_packet p = segment(c, dir, LAB_RST, 0);

	p.seq += off;
	struct lab_packet out = lab_ok(c->lab, &p);
	assert_int_equal(out.seq, p.seq);
	assert_int_equal(out.flags, LAB_RST);
}

/* Out of the blue, as from one who guesses: ends nothing, whichever end it pretends to come from. */
static void test_tcp_b(struct lab *l)
{
	static const uint32_t far[] = {0x40000000u, 0x80000000u, 0xc0000000u, 0x02000000u, 0xfe000000u};
	struct connection c = opened(l, 40000);

	for (unsigned i = 0; i < 2 * sizeof far / sizeof far[0]; i++) {
		resets(&c, i & 1 ? DIR_INBOUND : DIR_OUTBOUND, far[i / 2]);
		lab_pass(l, 2 * TRANSITORY_S);
		assert_true(alive(&c));
	}
	says(&c, DIR_OUTBOUND, LAB_ACK, 10);
}

/* One that is meant is believed, wherever in the streams, and somewhat off: what is lost or late before it is not known here. */
static void test_tcp_b_meant(struct lab *l)
{
	static const uint32_t off[N_DIRS][3] = {{0, 0xff800000u, 0x00800000u}, {0, 0, 0x00800000u}};

	for (unsigned i = 0; i < 6; i++) {
		enum dir dir = i & 1 ? DIR_INBOUND : DIR_OUTBOUND;
		struct connection c = opened(l, (uint16_t)(40000 + i));

		for (unsigned mib = 0; mib < 5; mib++)
			for (int d = 0; d < N_DIRS; d++) {
				c.seq[d] += 1u << 29; /* all round, and beyond: two windows a step */
				says(&c, (enum dir)d, LAB_ACK, 100);
			}
		says(&c, DIR_OUTBOUND, LAB_ACK, 0);
		resets(&c, dir, off[dir][i / 2]);
		lab_pass(l, TRANSITORY_S + LAB_SWEEP_S);
		assert_false(alive(&c));
	}
}

/* Who sends data where his reset will be has prepared nothing: the host inside does not acknowledge that. */
static void test_tcp_b_prepared(struct lab *l)
{
	struct connection c = opened(l, 40000);
	struct lab_packet data = segment(&c, DIR_INBOUND, LAB_ACK, 100);

	data.seq += 0x30000000u;
	data.ack += 0x30000000u;
	lab_ok(l, &data);
	resets(&c, DIR_INBOUND, 0x30000000u);
	lab_pass(l, 2 * TRANSITORY_S);
	assert_true(alive(&c));
}

/* What answers a SYN has to acknowledge it. */
static void test_tcp_b_refused(struct lab *l)
{
	for (unsigned right = 0; right < 2; right++) {
		struct connection c = {
			l, lab_host(1, (uint16_t)(40000 + right)), lab_server(1, 80), {0, 0}, {0x12345678, 0}};

		says(&c, DIR_OUTBOUND, LAB_SYN, 0);
		struct lab_packet p = segment(&c, DIR_INBOUND, LAB_RST | LAB_ACK, 0);
		p.ack += right ? 0 : 0x10000000u;
		lab_ok(l, &p);
		lab_pass(l, 30 + LAB_SWEEP_S);
		assert_int_equal(alive(&c), !right);
	}
}

/* UDP without a checksum stays without; every other is right (nat_lab proves each), also where it comes out as zero. */
static void test_tcp_c(struct lab *l)
{
	struct lab_packet p = lab_udp(lab_host(1, 5000), lab_server(1, 53)), out;

	p.no_checksum = true;
	out = lab_ok(l, &p);
	assert_true(out.no_checksum);
	struct lab_packet back = lab_answer(&out);
	back.no_checksum = true;
	assert_true(lab_ok(l, &back).no_checksum);
	p.no_checksum = false;
	for (unsigned payload = 0; payload < 300; payload++) {
		p.payload = (uint16_t)payload;
		assert_false(lab_ok(l, &p).no_checksum);
	}
}

int main(void)
{
	static const struct lab_test tests[] = {
		LAB_TEST(test_7857_2_1),
		LAB_TEST(test_7857_2_2, .nat = "\"tcp_opening_timeout_s\":100,\"tcp_closing_timeout_s\":30"),
		LAB_TEST(test_7857_2_2_default),
		LAB_TEST(test_7857_2_3),
		LAB_TEST(test_7857_4),
		LAB_TEST(test_7857_5),
		LAB_TEST(test_7857_6),
		LAB_TEST(test_7857_7),
		LAB_TEST(test_7857_7_many),
		LAB_TEST(test_7857_7_rst),
		LAB_TEST(test_7857_7_rst_many),
		LAB_TEST(test_7857_9),
		LAB_TEST(test_7857_10, .pools = "[{\"name\":\"main\",\"addresses\":[\"198.51.100.0\"]}]"),
		LAB_TEST(test_7857_10_whole, .pools = "[{\"name\":\"main\",\"addresses\":[\"198.51.100.0\"]}]"),
		LAB_TEST(test_7857_11),
		LAB_TEST(test_tcp_a, .nat = "\"mss_clamp\":1400"),
		LAB_TEST(test_tcp_b),
		LAB_TEST(test_tcp_b_meant),
		LAB_TEST(test_tcp_b_prepared),
		LAB_TEST(test_tcp_b_refused, .nat = "\"tcp_opening_timeout_s\":100,\"tcp_closing_timeout_s\":30"),
		LAB_TEST(test_tcp_c),
	};

	return LAB_TESTS(tests);
}
