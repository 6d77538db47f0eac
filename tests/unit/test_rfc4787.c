/* RFC 4787, NAT behavioural requirements for UDP, line by line: docs/rfc-conformance.md. */
#include "tests/unit/nat_lab.h"

#include <string.h>

enum { UDP = 17, MTU = 1500 };

static struct lab_end mapped(struct lab *l, struct lab_end inside, struct lab_end server)
{
	struct lab_packet p = lab_udp(inside, server), out = lab_ok(l, &p);

	assert_int_equal(out.side, SIDE_OUTSIDE);
	assert_true(lab_same(out.dst, server));
	return out.src;
}

/* The answer to what came out last from the server it went to. */
static void answered(struct lab *l, struct lab_end inside, struct lab_end nat, struct lab_end server)
{
	struct lab_packet back = lab_udp(server, nat), out = lab_ok(l, &back);

	assert_int_equal(out.side, SIDE_INSIDE);
	assert_true(lab_same(out.dst, inside) && lab_same(out.src, server));
}

/* ---- mapping ---- */

/* One socket, 600 destinations: one outside endpoint. */
static void test_4787_1(struct lab *l)
{
	struct lab_end host = lab_host(1, 5000), first = mapped(l, host, lab_server(1, 1));
	struct check_counts counts;

	for (unsigned server = 1; server <= 200; server++) {
		for (uint16_t port = 1; port <= 3; port++) {
			struct lab_end to = lab_server(server, port);

			assert_true(lab_same(mapped(l, host, to), first));
			answered(l, host, first, to);
		}
	}
	lab_check(l, &counts);
	assert_int_equal(counts.mappings, 1);
}

/* Whatever the protocol, a host keeps one address. */
static void test_4787_2(struct lab *l)
{
	for (unsigned host = 1; host <= 20; host++) {
		uint32_t address = mapped(l, lab_host(host, 5000), lab_server(1, 53)).address;
		struct lab_packet tcp = lab_tcp(lab_host(host, 40000), lab_server(2, 80), LAB_SYN);
		struct lab_packet ping = lab_ping(lab_host(host, 77), lab_server(3, 0).address);

		for (uint16_t port = 6000; port < 6010; port++)
			assert_int_equal(mapped(l, lab_host(host, port), lab_server(host + 1, 53)).address, address);
		assert_int_equal(lab_ok(l, &tcp).src.address, address);
		assert_int_equal(lab_ok(l, &ping).src.address, address);
	}
}

/* A pool of eight ports: eight owners, each with its own, and a ninth that is refused. */
static void test_4787_3(struct lab *l)
{
	struct lab_end nat[8];

	for (unsigned i = 0; i < 8; i++) {
		nat[i] = mapped(l, lab_host(i + 1, 5000), lab_server(1, 53));
		for (unsigned k = 0; k < i; k++)
			assert_false(lab_same(nat[i], nat[k]));
	}
	struct lab_packet ninth = lab_udp(lab_host(9, 5000), lab_server(1, 53));
	for (unsigned again = 0; again < 20; again++) {
		lab_send(l, &ninth);
		assert_true(l->n_out == 0 || l->seen[0].error);
	}
	for (unsigned i = 0; i < 8; i++)
		answered(l, lab_host(i + 1, 5000), nat[i], lab_server(1, 53));
}

/* ---- time ---- */

/* Alive one second before `idle_s` has passed, and gone after it and one pass of the sweep: who adopted the session
 * goes by its owner's word. */
static void lives(struct lab *l, struct lab_end host, struct lab_end server, double idle_s)
{
	struct lab_end nat = mapped(l, host, server);

	lab_pass(l, idle_s - 1);
	assert_true(lab_reaches(l, UDP, server, nat));
	lab_pass(l, 1 + LAB_SWEEP_S);
	assert_false(lab_reaches(l, UDP, server, nat));
}

static void test_4787_5(struct lab *l)
{
	struct lab_end host = lab_host(1, 5000), nat = mapped(l, host, lab_server(1, 5060));

	for (unsigned s = 0; s < 120; s += 10) {
		lab_pass(l, 10);
		answered(l, host, nat, lab_server(1, 5060));
	}
}

/* A rule gives DNS a short life; what goes elsewhere keeps its own. A short one for other ports is refused. */
static void test_4787_5a(struct lab *l)
{
	static const char text[] = "{\"inside\":{\"interface\":\"in\",\"prefixes\":[\"100.64.0.0/"
				   "10\"]},\"outside\":{\"interface\":\"out\"},"
				   "\"pools\":[{\"name\":\"main\",\"addresses\":[\"198.51.100.0/30\"]}],"
				   "\"rules\":[{\"name\":\"short\",\"protocol\":\"udp\",\"timeout_s\":20}]}";
	struct config_error err;
	struct config c;

	lives(l, lab_host(1, 5000), lab_server(1, 53), 20);
	lives(l, lab_host(1, 5001), lab_server(1, 5060), 300);
	assert_false(config_parse(&c, text, sizeof text - 1, &err));
}

static void test_4787_5b(struct lab *l)
{
	lives(l, lab_host(1, 5000), lab_server(1, 5060), 777);
}

static void test_4787_5c(struct lab *l)
{
	lives(l, lab_host(1, 5000), lab_server(1, 5060), 300);
}

static void test_4787_6(struct lab *l)
{
	struct lab_end host = lab_host(1, 5000), server = lab_server(1, 5060), nat = mapped(l, host, server);

	for (unsigned i = 0; i < 5; i++) {
		lab_pass(l, 200);
		assert_true(lab_same(mapped(l, host, server), nat));
	}
	lab_pass(l, 250);
	answered(l, host, nat, server); /* which does not refresh */
	lab_pass(l, 60);
	assert_false(lab_reaches(l, UDP, server, nat));
}

/* Answers are outbound packets like any others: a host that only answers, always somebody new, stays reachable. */
static void test_4787_6_answers(struct lab *l)
{
	struct lab_end host = lab_host(1, 5000), nat = mapped(l, host, lab_server(1, 5060));

	for (unsigned i = 2; i < 12; i++) {
		lab_pass(l, 100);
		answered(l, host, nat, lab_server(i, 9000));
		assert_true(lab_same(mapped(l, host, lab_server(i, 9000)), nat));
	}
}

/* Inbound refresh, by option. */
static void test_4787_6a(struct lab *l)
{
	struct lab_end host = lab_host(1, 5000), server = lab_server(1, 5060), nat = mapped(l, host, server);

	for (unsigned i = 0; i < 5; i++) {
		lab_pass(l, 200);
		answered(l, host, nat, server);
	}
	lab_pass(l, 300 + LAB_SWEEP_S);
	assert_false(lab_reaches(l, UDP, server, nat));
}

/* ---- filtering ---- */

enum { INDEPENDENT, BY_ADDRESS, BY_BOTH, N_KINDS };

static const char *const behaviour[N_KINDS] = {
	"endpoint-independent", "address-dependent", "address-and-port-dependent"};

/* Who may send to the outside endpoint that was opened towards server 1, port 53. */
static void filters_as(struct lab *l, int filtering, struct lab_end nat)
{
	assert_true(lab_reaches(l, UDP, lab_server(1, 53), nat));
	assert_int_equal(lab_reaches(l, UDP, lab_server(1, 54), nat), filtering != BY_BOTH);
	assert_int_equal(lab_reaches(l, UDP, lab_server(2, 53), nat), filtering == INDEPENDENT);
	assert_int_equal(lab_reaches(l, UDP, lab_server(2, 99), nat), filtering == INDEPENDENT);
}

/* Each mapping behaviour with each filtering behaviour. */
static void test_4787_8(struct lab *l)
{
	for (int mapping = 0; mapping < N_KINDS; mapping++) {
		for (int filtering = 0; filtering < N_KINDS; filtering++) {
			uint16_t port = (uint16_t)(5000 + mapping * 10 + filtering);
			struct lab_end host = lab_host(1, port);
			char nat[160];

			snprintf(nat, sizeof nat, "\"mapping\":\"%s\",\"filtering\":\"%s\"", behaviour[mapping],
				behaviour[filtering]);
			lab_configure(l, &(struct lab_setup){.nat = nat});
			struct lab_end first = mapped(l, host, lab_server(1, 53));
			filters_as(l, filtering, first);
			assert_int_equal(lab_same(mapped(l, host, lab_server(1, 60)), first), mapping != BY_BOTH);
			assert_int_equal(lab_same(mapped(l, host, lab_server(3, 53)), first), mapping == INDEPENDENT);
		}
	}
}

/* ---- hairpinning ---- */

/* From one subscriber to the outside endpoint of another, and back; whether or not the first had a mapping before. */
static void hairpin(struct lab *l, struct lab_end a, struct lab_end b, bool mapped_before)
{
	struct lab_end nat_b = mapped(l, b, lab_server(1, 53)), nat_a = {0, 0};

	if (mapped_before)
		nat_a = mapped(l, a, lab_server(2, 53));
	struct lab_packet p = lab_udp(a, nat_b), out = lab_ok(l, &p);
	assert_int_equal(out.side, SIDE_INSIDE);
	assert_true(lab_same(out.dst, b));
	assert_int_equal(out.src.address & 0xffffff00u, LAB_POOL);
	if (mapped_before)
		assert_true(lab_same(out.src, nat_a));
	struct lab_packet back = lab_answer(&out);
	out = lab_ok(l, &back);
	assert_int_equal(out.side, SIDE_INSIDE);
	assert_true(lab_same(out.dst, a) && lab_same(out.src, nat_b));
	p = lab_udp(a, nat_b); /* and on */
	assert_true(lab_same(lab_ok(l, &p).dst, b));
}

static void test_4787_9(struct lab *l)
{
	for (unsigned i = 0; i < 8; i++)
		hairpin(l, lab_host(10 + i, 5000), lab_host(20 + i, 6000), false);
	hairpin(l, lab_host(1, 5000), lab_host(1, 5001), false); /* with itself, by another port */
}

/* The external source endpoint, the one the host shows to everybody. */
static void test_4787_9a(struct lab *l)
{
	for (unsigned i = 0; i < 8; i++)
		hairpin(l, lab_host(10 + i, 5000), lab_host(20 + i, 6000), true);
}

/* ---- under load ---- */

/* Ports nearly gone, then gone: who has a mapping keeps it, with the same filter. */
static void test_4787_11(struct lab *l)
{
	struct lab_end nat[40];

	for (unsigned i = 0; i < 40; i++) {
		struct lab_packet p = lab_udp(lab_host(i + 1, 5000), lab_server(1, 53));

		lab_send(l, &p);
		nat[i] = l->n_out && !l->seen[0].error ? l->seen[0].src : (struct lab_end){0, 0};
		assert_int_equal(nat[i].port != 0, i < 32);
	}
	for (unsigned i = 0; i < 32; i++) {
		assert_true(lab_same(mapped(l, lab_host(i + 1, 5000), lab_server(2, 53)), nat[i]));
		assert_true(lab_reaches(l, UDP, lab_server(2, 999), nat[i]));
		assert_false(lab_reaches(l, UDP, lab_server(3, 53), nat[i]));
	}
}

/* ---- ICMP ---- */

static const struct {
	uint8_t type, code;
} errors[] = {
	{LAB_UNREACHABLE, 0},
	{LAB_UNREACHABLE, LAB_CODE_HOST},
	{LAB_UNREACHABLE, LAB_CODE_PORT},
	{LAB_UNREACHABLE, LAB_CODE_TOO_BIG},
	{LAB_TIME_EXCEEDED, 0},
};

/* No error, however often and from whomever, ends the mapping. */
static void test_4787_12(struct lab *l)
{
	struct lab_end host = lab_host(1, 5000), server = lab_server(1, 53), nat = mapped(l, host, server);
	struct lab_frame about = l->out[0], error;

	for (unsigned i = 0; i < 50; i++) {
		lab_error(&about, server.address + i % 3, errors[i % 5].type, errors[i % 5].code, 28, &error);
		lab_send_frame(l, &error);
		answered(l, host, nat, server);
		assert_true(lab_same(mapped(l, host, server), nat));
	}
}

/* Errors of routers on the way get in, whatever the filter. */
static void test_4787_12a(struct lab *l)
{
	struct lab_end host = lab_host(1, 5000), server = lab_server(1, 53);

	mapped(l, host, server);
	struct lab_frame about = l->out[0], error;
	for (unsigned i = 0; i < sizeof errors / sizeof errors[0]; i++) {
		lab_error(&about, 0x08080808 + i, errors[i].type, errors[i].code, 28, &error);
		assert_int_equal(lab_send_frame(l, &error), 1);
		assert_int_equal(l->seen[0].src.address, 0x08080808 + i);
	}
}

/* Destination Unreachable reaches the host, about the packet as the host sent it. */
static void test_4787_12b(struct lab *l)
{
	struct lab_end host = lab_host(1, 5000), server = lab_server(1, 53);

	mapped(l, host, server);
	struct lab_frame about = l->out[0], sent = l->sent, error;
	lab_error(&about, server.address, LAB_UNREACHABLE, LAB_CODE_PORT, 576, &error);
	assert_int_equal(lab_send_frame(l, &error), 1);
	assert_int_equal(l->seen[0].side, SIDE_INSIDE);
	assert_int_equal(l->seen[0].dst.address, host.address);
	assert_int_equal(l->seen[0].type, LAB_UNREACHABLE);
	assert_int_equal(l->seen[0].code, LAB_CODE_PORT);
	assert_true(lab_quotes(&l->out[0], &sent));
}

/* ---- sizes ---- */

static void too_big(struct lab *l, struct lab_packet *p)
{
	p->payload = 1600;
	p->fragment = LAB_DF;
	struct lab_packet e = lab_refused(l, p);
	assert_int_equal(e.type, LAB_UNREACHABLE);
	assert_int_equal(e.code, LAB_CODE_TOO_BIG);
	assert_int_equal(e.mtu, MTU);
}

static void test_4787_13(struct lab *l)
{
	struct lab_end host = lab_host(1, 5000), server = lab_server(1, 53), nat = mapped(l, host, server);
	struct lab_packet out = lab_udp(host, server), in = lab_udp(server, nat);

	too_big(l, &out);
	too_big(l, &in);
	out.payload = MTU - 28;
	lab_ok(l, &out);
}

/* Whoever sends what has to be answered otherwise: junk from outside, or another subscriber. */
static void test_4787_13_junk(struct lab *l)
{
	struct lab_end host = lab_host(1, 5000), server = lab_server(1, 53), nat = mapped(l, host, server);
	struct lab_packet out = lab_udp(host, server),
			  junk[] = {lab_udp(lab_server(77, 1), nat), lab_udp(lab_host(2, 1), server)};
	struct lab_packet big = out;

	junk[0].ttl = junk[1].ttl = 1;
	big.payload = 1600;
	big.fragment = LAB_DF;
	for (unsigned i = 0; i < 100; i++) {
		for (unsigned k = 0; k < 80; k++)
			lab_send(l, &junk[k % 2]);
		lab_pass(l, 0.04);
		assert_int_equal(lab_send(l, &big), 1);
		assert_int_equal(l->seen[0].code, LAB_CODE_TOO_BIG);
	}
	out.ttl = 1; /* nor does one subscriber have all of what is for all of a kind */
	assert_int_equal(lab_send(l, &out), 1);
	assert_int_equal(l->seen[0].type, LAB_TIME_EXCEEDED);
}

/* Cut on the way, in order; put together it is what was sent. */
static void cut_on_the_way(struct lab *l, struct lab_packet *p)
{
	struct lab_frame whole;
	struct lab_packet seen;
	unsigned at = 0;

	p->payload = 3001;
	assert_int_equal(lab_send(l, p), 3);
	for (unsigned i = 0; i < 3; i++) {
		assert_true(l->seen[i].size <= MTU);
		assert_int_equal((l->seen[i].fragment & LAB_OFFSET) * 8u, at);
		at += l->out[i].size - LAB_ETHERNET - 20u;
	}
	assert_true(lab_join(l->out, 3, &whole));
	assert_null(lab_read(&whole, &seen));
	assert_int_equal(seen.payload, 3001);
}

static void test_4787_13a(struct lab *l)
{
	struct lab_end host = lab_host(1, 5000), server = lab_server(1, 53), nat = mapped(l, host, server);
	struct lab_packet out = lab_udp(host, server), in = lab_udp(server, nat);

	cut_on_the_way(l, &out);
	cut_on_the_way(l, &in);
}

/* ---- fragments ---- */

enum { PARTS = 4 };

static const uint8_t orders[][PARTS] = {{0, 1, 2, 3}, {3, 2, 1, 0}, {1, 0, 3, 2}, {2, 3, 0, 1}, {0, 3, 1, 2}};
enum { N_ORDERS = sizeof orders / sizeof orders[0] };

/* Sends a datagram in four fragments in the given order; what comes out must be the same datagram, translated.
 * `spread`: each to the next engine, wherever RSS would have it. */
static struct lab_packet in_parts(struct lab *l, const struct lab_packet *p, const uint8_t *order, bool spread)
{
	struct lab_frame *frame = calloc(2 + 2 * PARTS, sizeof *frame), *whole = frame, *part = frame + 1;
	struct lab_frame *got = part + PARTS, *joined = got + PARTS;
	unsigned n = 0;
	struct lab_packet seen;

	assert_non_null(frame);
	lab_build(p, whole);
	assert_int_equal(lab_cut(whole, ((p->payload + 8u) / 32 + 1) * 8, part, PARTS), PARTS);
	for (unsigned i = 0; i < PARTS; i++) {
		unsigned engine = spread ? i % l->engines : lab_engine_of(l, &part[order[i]]);

		lab_send_at(l, engine, &part[order[i]]);
		for (unsigned k = 0; k < l->n_out; k++, n++) {
			assert_true(n < PARTS);
			got[n] = l->out[k];
		}
	}
	lab_pass(l, 0.1); /* those that another engine keeps until the first one has come by */
	for (unsigned k = 0; k < l->n_out; k++, n++) {
		assert_true(n < PARTS);
		got[n] = l->out[k];
	}
	assert_int_equal(n, PARTS);
	assert_true(lab_join(got, n, joined));
	assert_null(lab_read(joined, &seen));
	assert_int_equal(seen.payload, p->payload);
	free(frame);
	return seen;
}

static void both_ways_in_parts(struct lab *l, bool spread)
{
	struct lab_end host = lab_host(1, 5000), server = lab_server(1, 53), nat = mapped(l, host, server);

	for (unsigned i = 0; i < N_ORDERS; i++) {
		struct lab_packet out = lab_udp(host, server), in = lab_udp(server, nat);

		out.payload = in.payload = (uint16_t)(1000 + 101 * i);
		out.id = in.id = (uint16_t)(100 + i + spread * N_ORDERS); /* none twice within their lifetime */
		assert_true(lab_same(in_parts(l, &out, orders[i], spread).src, nat));
		assert_true(lab_same(in_parts(l, &in, orders[i], spread).dst, host));
	}
}

static void test_4787_14(struct lab *l)
{
	both_ways_in_parts(l, false);
	both_ways_in_parts(l, true);
}

/* Datagrams in parts keep a mapping alive like whole ones, on whichever engine they land. */
static void test_4787_6_parts(struct lab *l)
{
	for (unsigned i = 0; i < 8; i++) {
		struct lab_end host = lab_host(1 + i, 5000), server = lab_server(1, 53), nat = mapped(l, host, server);
		struct lab_packet p = lab_udp(host, server);

		p.payload = 1200;
		for (unsigned k = 0; k < 3; k++) {
			lab_pass(l, 200);
			p.id++;
			in_parts(l, &p, orders[0], false);
		}
		assert_true(lab_reaches(l, UDP, server, nat));
	}
}

/* Between two hosts, the first datagram in parts and those after it whole, which mostly land on other engines. */
static void test_4787_9_parts(struct lab *l)
{
	struct lab_end other = lab_host(99, 7), nat = mapped(l, other, lab_server(1, 53));

	for (unsigned i = 0; i < 16; i++) {
		struct lab_packet p = lab_udp(lab_host(1 + i, 5000), nat), seen;

		p.payload = 1200;
		p.id = (uint16_t)(1 + i);
		struct lab_end shown = in_parts(l, &p, orders[i % N_ORDERS], false).src;
		p.payload = 100;
		for (unsigned k = 0; k < 3; k++) { /* the answer first: its engine then knows the flow */
			struct lab_packet answer = lab_udp(other, shown);

			seen = lab_ok(l, &answer);
			assert_true(lab_same(seen.dst, lab_host(1 + i, 5000)) && lab_same(seen.src, nat));
			seen = lab_ok(l, &p);
			assert_true(lab_same(seen.dst, other) && lab_same(seen.src, shown));
		}
	}
}

/* A datagram in parts may also be the first that a host sends. */
static void test_4787_14_first(struct lab *l)
{
	for (unsigned i = 0; i < N_ORDERS; i++) {
		struct lab_packet p = lab_udp(lab_host(1 + i, 5000), lab_server(1, 53));

		p.payload = 1200;
		in_parts(l, &p, orders[i], false);
	}
}

/* A flow that begins with a datagram in parts is one session, though parts and whole datagrams land on different engines. Its
 * replies find it, too, and it lasts as long as either kind is sent, from wherever. */
static void test_4787_14_one_session(struct lab *l)
{
	uint64_t before = lab_counted(l, COUNTER_sessions_created);

	for (unsigned i = 0; i < 16; i++) {
		struct lab_packet p = lab_udp(lab_host(1 + i, 5000), lab_server(1, 53));

		p.payload = 1200;
		p.id = (uint16_t)(1 + i);
		struct lab_end nat = in_parts(l, &p, orders[i % N_ORDERS], false).src;
		for (unsigned k = 0; k < 6; k++) { /* parts or whole alone for longer than the idle time */
			lab_pass(l, 200);
			p.payload = k < 3 ? 10 : 1200;
			p.id = (uint16_t)(100 + 10 * i + k);
			assert_true(lab_same(k < 3 ? lab_ok(l, &p).src : in_parts(l, &p, orders[0], false).src, nat));
			struct lab_packet in = lab_udp(p.dst, nat);
			assert_true(lab_same(lab_ok(l, &in).dst, p.src));
		}
		assert_int_equal(lab_counted(l, COUNTER_sessions_created) - before, i + 1);
	}
}

/* ---- floods of fragments ---- */

/* Later fragments whose first one never comes. */
struct flood {
	struct lab_end to;
	unsigned n, sources; /* at each go, and how many sources take turns */
	double pause_s;      /* thereafter */
	unsigned sent;
};

/* How many packets came out meanwhile: of a datagram that was waiting, never its own. */
static unsigned send_flood(struct lab *l, struct flood *f)
{
	unsigned out = 0;

	for (unsigned i = 0; i < f->n; i++, f->sent++) {
		struct lab_packet p = lab_udp((struct lab_end){0x01000000 + f->sent % f->sources, 53}, f->to);

		p.fragment = 100;
		p.id = (uint16_t)f->sent;
		out += lab_send(l, &p);
	}
	return out;
}

/* What may wait never exceeds what the configuration says, in all and of one source. */
static void check_bounds(const struct lab *l)
{
	for (unsigned e = 0; e < l->engines; e++) {
		const struct fragment_waits *w = &l->engine[e]->fragments;

		assert_true(w->n <= 256);
		for (unsigned i = 0; i < FRAGMENT_COUNTERS; i++)
			assert_true(w->of_source[i].n <= 16);
	}
}

/* A datagram in parts, with some of the flood between any two of them: whether all of it came through. */
static bool passes_flood(struct lab *l, struct flood *f, const struct lab_packet *p, const uint8_t *order)
{
	struct lab_frame part[PARTS], whole;
	unsigned n = 0;

	lab_build(p, &whole);
	assert_int_equal(lab_cut(&whole, ((p->payload + 8u) / 32 + 1) * 8, part, PARTS), PARTS);
	for (unsigned i = 0; i < PARTS; i++) {
		n += lab_send_frame(l, &part[order[i]]);
		n += send_flood(l, f);
		n += lab_pass(l, f->pause_s);
	}
	check_bounds(l);
	return n + lab_pass(l, 0.01) == PARTS;
}

/* Datagrams of servers not heard of before, each in another order. How many came through. */
static unsigned strangers_through(struct lab *l, struct flood *f, unsigned n)
{
	unsigned through = 0;

	for (unsigned i = 0; i < n; i++) {
		struct lab_packet p = lab_udp(lab_server(100 + i, 53), f->to);

		p.payload = 1200;
		p.id = (uint16_t)(60000 + i);
		through += passes_flood(l, f, &p, orders[i % N_ORDERS]);
	}
	return through;
}

/* Whole datagrams are not hurt, and when the flood is over fragments are as before. */
static void test_4787_14a(struct lab *l)
{
	struct lab_end host = lab_host(1, 5000), server = lab_server(1, 53), nat = mapped(l, host, server);
	struct flood one = {.to = nat, .n = 100, .sources = 1}, many = {.to = nat, .n = 100, .sources = 1 << 20};
	struct lab_packet in = lab_udp(server, nat);

	for (unsigned i = 0; i < 20; i++) {
		assert_int_equal(send_flood(l, i % 2 ? &many : &one), 0);
		answered(l, host, nat, server);
	}
	check_bounds(l);
	lab_pass(l, 3); /* those that waited are forgotten */
	assert_int_equal(l->n_out, 0);
	in.payload = 1200;
	in_parts(l, &in, orders[0], false);
	in_parts(l, &in, orders[1], false);
}

/* One source, as fast as can be: it waits for itself. */
static void test_4787_14a_one(struct lab *l)
{
	struct flood f = {.to = lab_mapped(l, 1, 5000), .n = 500, .sources = 1};

	assert_int_equal(strangers_through(l, &f, 3 * N_ORDERS), 3 * N_ORDERS);
}

/* Each fragment another source, at 1,000 a second, and at as many as fill all places while a datagram's parts come. */
static void test_4787_14a_many(struct lab *l)
{
	struct flood steady = {.to = lab_mapped(l, 1, 5000), .n = 20, .sources = 1 << 20, .pause_s = 0.02}, fast;

	for (unsigned i = 0; i < 100; i++) {
		send_flood(l, &steady);
		lab_pass(l, steady.pause_s);
	}
	assert_int_equal(strangers_through(l, &steady, 4 * N_ORDERS), 4 * N_ORDERS);
	fast = (struct flood){.to = steady.to, .n = 80, .sources = 1 << 20, .sent = steady.sent};
	assert_int_equal(strangers_through(l, &fast, 4 * N_ORDERS), 4 * N_ORDERS);
}

/* Of two that have exchanged such datagrams before no flood by others takes any, however fast. */
static void test_4787_14a_known(struct lab *l)
{
	struct lab_end host = lab_host(1, 5000), server = lab_server(1, 53), nat = mapped(l, host, server);
	struct flood f = {.to = nat, .n = 0, .sources = 1 << 20};

	for (unsigned i = 0; i <= 2 * N_ORDERS; i++, f.n = 1000) {
		struct lab_packet in = lab_udp(server, nat), out = lab_udp(host, server);

		in.payload = out.payload = 1200;
		in.id = out.id = (uint16_t)(60000 + i);
		assert_true(passes_flood(l, &f, &in, orders[i % N_ORDERS]));
		assert_true(passes_flood(l, &f, &out, orders[i % N_ORDERS]));
	}
}

/* ---- ports ---- */

/* Ports below 1024 stay below it, and others above, whatever the protocol. */
static void test_4787_3a(struct lab *l)
{
	for (unsigned i = 0; i < 40; i++) {
		struct lab_packet syn = lab_tcp(lab_host(1 + i, (uint16_t)(600 + i)), lab_server(1, 80), LAB_SYN);

		assert_in_range(mapped(l, lab_host(1 + i, (uint16_t)(1 + i)), lab_server(1, 53)).port, 1, 1023);
		assert_in_range(mapped(l, lab_host(1 + i, (uint16_t)(1023 - i)), lab_server(1, 53)).port, 1, 1023);
		assert_in_range(lab_ok(l, &syn).src.port, 1, 1023);
		assert_in_range(mapped(l, lab_host(1 + i, (uint16_t)(1024 + i)), lab_server(1, 53)).port, 1024, 65535);
		assert_in_range(mapped(l, lab_host(1 + i, (uint16_t)(60000 + i)), lab_server(1, 53)).port, 1024, 65535);
	}
}

/* Even stays even and odd odd; while it lasts, as RFC 4787 says: a port of the other kind is better than none. */
static void test_4787_4(struct lab *l)
{
	for (unsigned i = 0; i < 60; i++) {
		uint16_t port = (uint16_t)(5000 + 7 * i);
		struct lab_packet syn = lab_tcp(lab_host(1 + i, port), lab_server(1, 80), LAB_SYN);

		assert_int_equal(mapped(l, lab_host(1 + i, port), lab_server(1, 53)).port & 1, port & 1);
		assert_int_equal(lab_ok(l, &syn).src.port & 1, port & 1);
	}
}

/* Eight ports, four of each kind: the fifth even one is given an odd port. With several engines perhaps an earlier one,
 * too: another engine's chunk is looked into only when there is no port at all. */
static void test_4787_4_short(struct lab *l)
{
	for (unsigned i = 0; i < 8; i++) {
		unsigned odd = mapped(l, lab_host(1 + i, 5000), lab_server(1, 53)).port & 1;

		if (l->engines == 1)
			assert_int_equal(odd, i >= 4);
	}
}

/* RTP and RTCP (RFC 4787 section 4.2.2): the neighbour's neighbour, whichever of the two speaks first. */
static void test_4787_4_pair(struct lab *l)
{
	for (unsigned i = 0; i < 40; i++) {
		uint16_t first = (uint16_t)(5000 + 2 * i + i % 2), second = first ^ 1;
		struct lab_end rtp = mapped(l, lab_host(1 + i, first), lab_server(1, 53));
		struct lab_end rtcp = mapped(l, lab_host(1 + i, second), lab_server(2, 54));

		assert_int_equal(rtcp.address, rtp.address);
		assert_int_equal(rtcp.port, rtp.port ^ 1);
		assert_int_equal(rtp.port & 1, first & 1);
	}
}

/* Parity counts from now on: what was mapped before, half of it with the other one, gives its neighbour no port of that. */
static void test_4787_4_begun(struct lab *l)
{
	unsigned other = 0;

	for (unsigned i = 0; i < 40; i++)
		other += (mapped(l, lab_host(1 + i, (uint16_t)(5000 + i)), lab_server(1, 53)).port ^ i) & 1;
	assert_in_range(other, 1, 40);
	lab_configure(l, &(struct lab_setup){.nat = "\"port_parity\":\"preserve\""});
	for (unsigned i = 0; i < 40; i++) {
		uint16_t port = (uint16_t)(5000 + i) ^ 1;

		assert_int_equal(mapped(l, lab_host(1 + i, port), lab_server(1, 53)).port & 1, port & 1);
	}
}

#define ONE "[{\"name\":\"main\",\"addresses\":[\"198.51.100.0\"]}]"
#define PRESERVE "\"port_parity\":\"preserve\","
#define DEALT                                                                                                          \
	"\"rules\":[{\"name\":\"homes\",\"inside\":[\"100.64.0.0/25\"],\"ports\":\"deterministic\"},"                  \
	"{\"name\":\"no\",\"action\":\"drop\"}]"

int main(void)
{
	static const struct lab_test tests[] = {
		LAB_TEST(test_4787_1),
		LAB_TEST(test_4787_2),
		LAB_TEST(test_4787_3, .nat = "\"port_first\":2000,\"port_last\":2007",
			.pools = "[{\"name\":\"main\",\"addresses\":[\"198.51.100.0\"]}]"),
		LAB_TEST(test_4787_3a, .nat = "\"port_range\":\"preserve\""),
		LAB_TEST(test_4787_3a, .nat = "\"port_range\":\"preserve\",\"ports\":\"ordered\""),
		LAB_TEST(test_4787_4, .nat = "\"port_parity\":\"preserve\""),
		LAB_TEST(test_4787_4, .nat = PRESERVE "\"ports\":\"ordered\""),
		LAB_TEST(test_4787_4, .nat = PRESERVE "\"ports\":\"blocks\""),
		LAB_TEST(test_4787_4, .nat = PRESERVE "\"ports\":\"shuffled\"", .more = DEALT),
		LAB_TEST(test_4787_4_short, .nat = PRESERVE "\"port_first\":2000,\"port_last\":2007", .pools = ONE),
		LAB_TEST(test_4787_4_pair, .nat = "\"port_parity\":\"preserve\""),
		LAB_TEST(test_4787_4_pair, .nat = PRESERVE "\"ports\":\"ordered\""),
		LAB_TEST(test_4787_4_pair, .nat = PRESERVE "\"ports\":\"blocks\""),
		LAB_TEST(test_4787_4_pair, .nat = PRESERVE "\"ports\":\"shuffled\"", .more = DEALT),
		LAB_TEST(test_4787_4_begun),
		LAB_TEST(test_4787_5),
		LAB_TEST(test_4787_5a,
			.more = "\"rules\":[{\"name\":\"dns\",\"protocol\":\"udp\",\"port_first\":53,\"port_last\":53,"
				"\"timeout_s\":20}]"),
		LAB_TEST(test_4787_5b, .nat = "\"udp_timeout_s\":777"),
		LAB_TEST(test_4787_5c),
		LAB_TEST(test_4787_6),
		LAB_TEST(test_4787_6_answers),
		LAB_TEST(test_4787_6a, .nat = "\"udp_inbound_refresh\":\"on\""),
		LAB_TEST(test_4787_8),
		LAB_TEST(test_4787_9),
		LAB_TEST(test_4787_9a),
		LAB_TEST(test_4787_11,
			.nat = "\"port_first\":2000,\"port_last\":2007,\"filtering\":\"address-dependent\""),
		LAB_TEST(test_4787_12),
		LAB_TEST(test_4787_12a, .nat = "\"filtering\":\"address-and-port-dependent\""),
		LAB_TEST(test_4787_12b),
		LAB_TEST(test_4787_13),
		LAB_TEST(test_4787_13_junk, .nat = "\"icmp_rate\":200"),
		LAB_TEST(test_4787_13a),
		LAB_TEST(test_4787_14),
		LAB_TEST(test_4787_14_first),
		LAB_TEST(test_4787_14_one_session),
		LAB_TEST(test_4787_6_parts),
		LAB_TEST(test_4787_9_parts),
		LAB_TEST(test_4787_14a),
		LAB_TEST(test_4787_14a_one),
		LAB_TEST(test_4787_14a_many),
		LAB_TEST(test_4787_14a_known),
	};

	return LAB_TESTS(tests);
}
