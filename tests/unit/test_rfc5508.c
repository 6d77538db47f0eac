/* RFC 5508, NAT behavioural requirements for ICMP, line by line: docs/rfc-conformance.md. */
#include "tests/unit/nat_lab.h"

#include <stdlib.h>
#include <string.h>

enum { ICMP = 1, TCP = 6, UDP = 17, ICMP_AT = LAB_ETHERNET + 20, QUOTE_AT = ICMP_AT + 8, ROUTER = 0x08080808 };

static const uint8_t protocols[] = {ICMP, TCP, UDP};
enum { N_PROTOCOLS = sizeof protocols };

static struct lab_packet of(uint8_t protocol, struct lab_end src, struct lab_end dst)
{
	if (protocol == ICMP)
		return lab_ping(src, dst.address);
	return protocol == TCP ? lab_tcp(src, dst, LAB_SYN) : lab_udp(src, dst);
}

/* What was sent and what came out of it: what errors are about. */
struct passage {
	struct lab_frame sent, out;
	struct lab_packet seen;
};

static void passes(struct lab *l, const struct lab_packet *p, struct passage *was)
{
	was->seen = lab_ok(l, p);
	was->sent = l->sent;
	was->out = l->out[0];
}

/* ---- frames changed by hand ---- */

static void add16(uint8_t *at, unsigned by)
{
	unsigned v = (unsigned)(at[0] << 8 | at[1]) + by;

	at[0] = (uint8_t)(v >> 8);
	at[1] = (uint8_t)v;
}

static unsigned port_unreachable(struct lab *l, const struct passage *about, uint32_t from, unsigned quoted)
{
	struct lab_frame error;

	lab_error(&about->out, from, LAB_UNREACHABLE, LAB_CODE_PORT, quoted, &error);
	return lab_send_frame(l, &error);
}

/* ---- queries ---- */

static void test_5508_1(struct lab *l)
{
	for (uint16_t id = 1; id < 60; id++) {
		struct lab_packet p = lab_ping(lab_host(id % 7 + 1, id), lab_server(id % 5, 0).address),
				  out = lab_ok(l, &p);
		struct lab_packet back = lab_answer(&out);

		assert_int_equal(out.type, LAB_ECHO);
		assert_int_equal(out.dst.address, p.dst.address);
		back = lab_ok(l, &back);
		assert_int_equal(back.type, LAB_ECHO_REPLY);
		assert_true(lab_same(back.dst, p.src));
	}
}

static void test_5508_1a(struct lab *l)
{
	struct lab_packet p = lab_ping(lab_host(1, 7), lab_server(1, 0).address);
	struct lab_end first = lab_ok(l, &p).src;

	for (unsigned i = 2; i < 200; i++) {
		p = lab_ping(lab_host(1, 7), lab_server(i, 0).address);
		assert_true(lab_same(lab_ok(l, &p).src, first));
	}
}

static void query_lives(struct lab *l, double idle_s)
{
	struct lab_packet p = lab_ping(lab_host(1, 7), lab_server(1, 0).address), out = lab_ok(l, &p);
	struct lab_packet back = lab_answer(&out);

	lab_pass(l, idle_s - 1);
	lab_ok(l, &back);
	lab_pass(l, 1 + LAB_SWEEP_S);
	lab_none(l, &back);
}

static void test_5508_2(struct lab *l)
{
	query_lives(l, 60);
	lab_configure(l, &(struct lab_setup){.nat = "\"icmp_timeout_s\":200"});
	query_lives(l, 200);
}

/* ---- what is checked ---- */

static void test_5508_3(struct lab *l)
{
	struct passage was;
	struct lab_packet p = lab_udp(lab_host(1, 5000), lab_server(1, 53));
	struct lab_frame error;

	passes(l, &p, &was);
	lab_error(&was.out, ROUTER, LAB_UNREACHABLE, LAB_CODE_PORT, 28, &error);
	add16(error.bytes + ICMP_AT + 2, 1);
	assert_int_equal(lab_send_frame(l, &error), 0);
}

static void test_5508_3a(struct lab *l)
{
	struct passage was;
	struct lab_packet p = lab_udp(lab_host(1, 5000), lab_server(1, 53));
	struct lab_frame error;

	passes(l, &p, &was);
	lab_error(&was.out, ROUTER, LAB_UNREACHABLE, LAB_CODE_PORT, 28, &error);
	add16(error.bytes + QUOTE_AT + 10, 1);
	lab_mend_transport(&error);
	assert_int_equal(lab_send_frame(l, &error), 0);
}

/* The quoted packet had IPv4 options. */
static void test_5508_3b(struct lab *l)
{
	for (uint8_t words = 1; words <= 10; words += 3) {
		for (unsigned i = 0; i < N_PROTOCOLS; i++) {
			struct lab_packet p = of(protocols[i], lab_host(1, 5000), lab_server(1, 53));
			struct passage was;

			p.option_words = words;
			passes(l, &p, &was);
			assert_int_equal(port_unreachable(l, &was, ROUTER, 20 + words * 4u + 8), 1);
			assert_int_equal(l->seen[0].dst.address, p.src.address);
			assert_true(lab_same(l->seen[0].quote.src, p.src));
			assert_true(lab_quotes(&l->out[0], &was.sent));
		}
	}
}

/* A quote whose transport checksum is wrong, as it is when cut short, is not looked at: here a byte of data is spoilt. */
static void test_5508_3c(struct lab *l)
{
	for (unsigned i = 0; i < N_PROTOCOLS; i++) {
		struct lab_packet p = of(protocols[i], lab_host(1, 5000), lab_server(1, 53));
		struct passage was;

		p.payload = 64;
		passes(l, &p, &was);
		struct lab_frame error;
		lab_error(&was.out, ROUTER, LAB_UNREACHABLE, LAB_CODE_PORT, 40, &error);
		error.bytes[QUOTE_AT + 20 + 8 + (protocols[i] == TCP ? 8 : 0)] ^= 0x11;
		lab_mend_transport(&error);
		assert_int_equal(lab_send_frame(l, &error), 1);
		assert_int_equal(l->seen[0].dst.address, p.src.address);
	}
}

/* What RFC 4884 appends behind the quote is neither taken for the packet nor changed. */
static void test_5508_3d(struct lab *l)
{
	static const uint8_t extension[] = {0x20, 0, 0, 0, 0, 8, 1, 1, 0x12, 0x34, 0x51, 0x01};
	struct lab_packet p = lab_udp(lab_host(1, 5000), lab_server(1, 53));
	struct passage was;
	struct lab_frame error;

	p.payload = 300;
	passes(l, &p, &was);
	lab_error(&was.out, ROUTER, LAB_TIME_EXCEEDED, 0, 128, &error);
	memcpy(error.bytes + error.size, extension, sizeof extension);
	error.size = (uint16_t)(error.size + sizeof extension);
	error.bytes[ICMP_AT + 5] = 128 / 4; /* length of the quote, in words */
	add16(error.bytes + LAB_ETHERNET + 2, sizeof extension);
	lab_mend(&error);
	lab_mend_transport(&error);
	assert_int_equal(lab_send_frame(l, &error), 1);
	assert_int_equal(l->seen[0].dst.address, p.src.address);
	assert_int_equal(l->out[0].size, error.size);
	assert_memory_equal(l->out[0].bytes + l->out[0].size - sizeof extension, extension, sizeof extension);
}

/* ---- errors from outside ---- */

static const struct {
	uint8_t type, code;
} errors[] = {
	{LAB_UNREACHABLE, 0},
	{LAB_UNREACHABLE, LAB_CODE_HOST},
	{LAB_UNREACHABLE, LAB_CODE_PORT},
	{LAB_UNREACHABLE, LAB_CODE_TOO_BIG},
	{LAB_UNREACHABLE, LAB_CODE_PROHIBITED},
	{LAB_TIME_EXCEEDED, 0},
	{12, 0},
};
enum { N_ERRORS = sizeof errors / sizeof errors[0] };

/* From a router on the way and from the server itself; quoting much or little; for every protocol. */
static void test_5508_4(struct lab *l)
{
	static const unsigned quoted[] = {28, 40, 548};

	for (unsigned i = 0; i < N_PROTOCOLS * N_ERRORS * 3 * 2; i++) {
		uint8_t protocol = protocols[i % N_PROTOCOLS], type = errors[i / N_PROTOCOLS % N_ERRORS].type;
		uint8_t code = errors[i / N_PROTOCOLS % N_ERRORS].code;
		struct lab_packet p = of(protocol, lab_host(1 + i % 9, (uint16_t)(5000 + i)), lab_server(1, 53));
		uint32_t from = i % 2 ? ROUTER : p.dst.address;
		struct passage was;
		struct lab_frame error;

		p.payload = 700;
		passes(l, &p, &was);
		lab_error(&was.out, from, type, code, quoted[i / N_PROTOCOLS / N_ERRORS % 3], &error);
		assert_int_equal(lab_send_frame(l, &error), 1);
		const struct lab_packet *e = &l->seen[0];
		assert_int_equal(e->side, SIDE_INSIDE);
		assert_int_equal(e->src.address, from);
		assert_int_equal(e->dst.address, p.src.address);
		assert_true(e->type == type && e->code == code);
		assert_true(lab_same(e->quote.src, p.src) && lab_same(e->quote.dst, p.dst));
		assert_true(lab_quotes(&l->out[0], &was.sent));
	}
}

/* About a packet that no session sent: silence. */
static void test_5508_4_silent(struct lab *l)
{
	for (unsigned i = 0; i < N_PROTOCOLS; i++) {
		struct lab_packet p = of(protocols[i], (struct lab_end){LAB_POOL + 1, 5000}, lab_server(1, 53));
		struct passage was;

		p.side = SIDE_OUTSIDE;
		lab_build(&p, &was.out);
		assert_int_equal(port_unreachable(l, &was, ROUTER, 28), 0);
	}
}

/* ---- errors from inside ---- */

/* The host refuses what came in; the server learns it, about the packet as the server sent it, from an outside address. */
static void test_5508_5(struct lab *l)
{
	for (unsigned i = 0; i < N_PROTOCOLS * 4; i++) {
		struct lab_packet p =
			of(protocols[i % N_PROTOCOLS], lab_host(1, (uint16_t)(5000 + i)), lab_server(1, 53));
		struct lab_packet out = lab_ok(l, &p), back = lab_answer(&out);
		struct passage was;

		back.payload = 300;
		passes(l, &back, &was);
		assert_int_equal(port_unreachable(l, &was, p.src.address, i % 2 ? 28 : 576), 1);
		const struct lab_packet *e = &l->seen[0];
		assert_int_equal(e->side, SIDE_OUTSIDE);
		assert_int_equal(e->dst.address, p.dst.address);
		assert_true(e->type == LAB_UNREACHABLE && e->code == LAB_CODE_PORT);
		assert_true(lab_same(e->quote.dst, out.src) && lab_same(e->quote.src, out.dst));
		assert_true(lab_quotes(&l->out[0], &was.sent));
	}
}

/* The outer source: the mapped address, when the error comes from the host itself, also of one that is mapped 1:1. */
static void test_5508_5c(struct lab *l)
{
	struct lab_packet p = lab_udp(lab_host(1, 5000), lab_server(1, 53)), out = lab_ok(l, &p),
			  back = lab_answer(&out);
	struct passage was;

	assert_int_equal(out.src.address, LAB_POOL + 2);
	passes(l, &back, &was);
	assert_int_equal(port_unreachable(l, &was, p.src.address, 28), 1);
	assert_int_equal(l->seen[0].src.address, LAB_POOL + 2);
	passes(l, &back, &was);
	assert_int_equal(port_unreachable(l, &was, LAB_HOSTS + 0x10001, 28), 1); /* a router inside */
	assert_false(lab_is_inside(l->seen[0].src.address));
	p = lab_udp(lab_host(2, 5000), lab_server(1, 53));
	out = lab_ok(l, &p);
	back = lab_answer(&out);
	passes(l, &back, &was);
	assert_int_equal(port_unreachable(l, &was, p.src.address, 28), 1);
	assert_int_equal(l->seen[0].src.address & 0xffffff00u, LAB_POOL);
}

/* About a packet that no session brought: silence, and no inside address outside. */
static void test_5508_5_silent(struct lab *l)
{
	struct lab_packet p = lab_udp(lab_server(1, 53), lab_host(1, 5000));
	struct passage was;

	p.side = SIDE_INSIDE;
	lab_build(&p, &was.out);
	assert_int_equal(port_unreachable(l, &was, lab_host(1, 0).address, 28), 0);
}

/* ---- errors and lifetimes ---- */

/* Errors every ten seconds, from both sides: the session ends when it would have without them, and not before. */
static void test_5508_6(struct lab *l)
{
	struct lab_packet p = lab_udp(lab_host(1, 5000), lab_server(1, 53)), back;
	struct passage outbound, inbound;

	passes(l, &p, &outbound);
	back = lab_answer(&outbound.seen);
	passes(l, &back, &inbound);
	for (unsigned s = 10; s <= 290; s += 10) {
		lab_pass(l, 10);
		assert_int_equal(port_unreachable(l, &outbound, ROUTER, 28), 1);
		assert_int_equal(port_unreachable(l, &inbound, p.src.address, 28), 1);
	}
	lab_pass(l, 9);
	lab_ok(l, &back);
	lab_pass(l, 1 + LAB_SWEEP_S);
	lab_none(l, &back);
	assert_int_equal(port_unreachable(l, &outbound, ROUTER, 28), 0);
}

/* ---- hairpinning ---- */

/* A subscriber's packet to another's outside endpoint is refused there: the first learns it, about its own packet. */
static void test_5508_7(struct lab *l)
{
	for (unsigned i = 0; i < 12; i++) {
		uint8_t protocol = i % 2 ? UDP : TCP;
		struct lab_end a = lab_host(10 + i, 5000), b = lab_host(30 + i, 6000);
		struct lab_packet p = of(protocol, b, lab_server(1, 80));
		struct lab_end nat_b = lab_ok(l, &p).src;
		struct passage was;

		p = of(protocol, a, nat_b);
		p.payload = 200;
		passes(l, &p, &was);
		assert_true(lab_same(was.seen.dst, b));
		assert_int_equal(port_unreachable(l, &was, b.address, i % 3 ? 28 : 576), 1);
		const struct lab_packet *e = &l->seen[0];
		assert_int_equal(e->side, SIDE_INSIDE);
		assert_int_equal(e->dst.address, a.address);
		assert_int_equal(e->src.address, nat_b.address);
		assert_true(lab_same(e->quote.src, a) && lab_same(e->quote.dst, nat_b));
		assert_true(lab_quotes(&l->out[0], &was.sent));
	}
}

/* From one subscriber to `nat`, behind which another is; the identifier it is asked with is the NAT end's. */
static void ask(struct lab *l, struct lab_end asks, struct lab_end nat, uint32_t behind)
{
	struct lab_packet p = lab_ping((struct lab_end){asks.address, nat.port}, nat.address), out = lab_ok(l, &p);

	assert_int_equal(out.side, SIDE_INSIDE);
	assert_int_equal(out.dst.address, behind);
	assert_int_equal(out.type, LAB_ECHO);
	struct lab_packet back = lab_answer(&out);
	out = lab_ok(l, &back);
	assert_int_equal(out.dst.address, asks.address);
	assert_int_equal(out.dst.port, nat.port);
	assert_int_equal(out.src.address, nat.address);
}

/* Echo through hairpin: to the address of a host that is mapped 1:1. */
static void test_5508_7_query(struct lab *l)
{
	for (uint16_t i = 0; i < 8; i++)
		ask(l, lab_host(10u + i, 70), (struct lab_end){LAB_POOL + 2, (uint16_t)(70 + i)}, LAB_HOSTS + 1);
}

/* The same where ports are translated, too: to the outside identifier that a query opened (RFC 7857 §12). */
static void test_5508_7_query_port(struct lab *l)
{
	for (uint16_t i = 0; i < 8; i++) {
		struct lab_end b = lab_host(30u + i, 80);
		struct lab_packet p = lab_ping(b, lab_server(1, 0).address);

		ask(l, lab_host(10u + i, 70), lab_ok(l, &p).src, b.address);
	}
}

/* By identifier only hosts inside get through, and not against what the rules say of filters; one host's own address is
 * no exception. What nobody has is refused. */
static void test_5508_7_query_filter(struct lab *l)
{
	struct lab_end b = lab_host(30, 80);
	struct lab_packet p = lab_ping(b, lab_server(1, 0).address), out = lab_ok(l, &p);
	struct lab_packet stranger =
		lab_ping((struct lab_end){lab_server(1, 0).address, out.src.port}, out.src.address);
	struct lab_packet guess =
		lab_ping((struct lab_end){lab_host(10, 0).address, (uint16_t)(out.src.port ^ 1)}, out.src.address);

	lab_none(l, &stranger);
	lab_none(l, &guess);
	ask(l, b, out.src, b.address);
	ask(l, lab_host(11, 0), out.src, b.address);
	lab_configure(l, &(struct lab_setup){.nat = "\"icmp_timeout_s\":60,\"filtering\":\"address-dependent\""});
	p = lab_ping(lab_host(31, 80), lab_server(1, 0).address);
	struct lab_end strict = lab_ok(l, &p).src;
	guess = lab_ping((struct lab_end){lab_host(10, 0).address, strict.port}, strict.address);
	lab_none(l, &guess);
}

/* Two hosts behind one address who ask with the same identifier could not be told apart by the answers: the second is
 * refused while the first is there. Nothing of it takes a port. */
static void test_5508_7_query_two(struct lab *l)
{
	struct lab_end b = lab_host(30, 80);
	struct lab_packet p = lab_ping(b, lab_server(1, 0).address);
	struct lab_end nat = lab_ok(l, &p).src;
	struct check_counts counts;

	ask(l, lab_host(10, 0), nat, b.address);
	struct lab_packet second = lab_ping((struct lab_end){lab_host(11, 0).address, nat.port}, nat.address);
	lab_refused(l, &second);
	ask(l, lab_host(10, 0), nat, b.address);
	lab_check(l, &counts);
	assert_int_equal(counts.ports[PORTS_OTHER], 1);
	lab_pass(l, 40); /* the first goes on, whatever becomes of the mapping it was let in by */
	ask(l, lab_host(10, 0), nat, b.address);
	lab_pass(l, 40);
	ask(l, lab_host(10, 0), nat, b.address);
	lab_pass(l, 60 + LAB_SWEEP_S);
	lab_none(l, &second);
	lab_ok(l, &p);
}

/* An error about a hairpinned query gets back to who asked. */
static void test_5508_7_query_error(struct lab *l)
{
	struct lab_end b = lab_host(30, 80), a = lab_host(10, 0);
	struct lab_packet p = lab_ping(b, lab_server(1, 0).address);
	struct lab_end nat = lab_ok(l, &p).src;
	struct lab_frame about, error;

	a.port = nat.port;
	p = lab_ping(a, nat.address);
	lab_ok(l, &p);
	about = l->out[0];
	struct lab_frame sent = l->sent;
	lab_error(&about, b.address, LAB_TIME_EXCEEDED, 0, 28, &error);
	assert_int_equal(lab_send_frame(l, &error), 1);
	assert_int_equal(l->seen[0].side, SIDE_INSIDE);
	assert_int_equal(l->seen[0].dst.address, a.address);
	assert_int_equal(l->seen[0].src.address, nat.address);
	assert_true(lab_quotes(&l->out[0], &sent));
}

/* ---- refusals ---- */

static void fill(struct lab *l)
{
	for (unsigned i = 0; i < 8; i++) {
		struct lab_packet p = lab_udp(lab_host(i + 1, 5000), lab_server(1, 53));

		lab_ok(l, &p);
	}
}

/* No port left: told so, by the code that is configured, by an address that is not the subscriber's to know. */
static void test_5508_8(struct lab *l)
{
	struct lab_packet ninth = lab_udp(lab_host(9, 5000), lab_server(1, 53));

	fill(l);
	struct lab_packet e = lab_refused(l, &ninth);
	assert_int_equal(e.type, LAB_UNREACHABLE);
	assert_int_equal(e.code, LAB_CODE_PROHIBITED);
	assert_int_not_equal(e.src.address, ninth.src.address);
}

/* No more of them than the rate allows, and none when they are off. */
static void test_5508_8_rate(struct lab *l)
{
	struct lab_packet ninth = lab_udp(lab_host(9, 5000), lab_server(1, 53));
	unsigned answers = 0;

	fill(l);
	lab_pass(l, 10);
	for (unsigned i = 0; i < 500; i++)
		answers += lab_send(l, &ninth);
	assert_in_range(answers, 1, 11);
	lab_pass(l, 10);
	assert_int_equal(lab_send(l, &ninth), 1);
}

static void test_5508_8_off(struct lab *l)
{
	struct lab_packet ninth = lab_udp(lab_host(9, 5000), lab_server(1, 53));

	fill(l);
	lab_none(l, &ninth);
}

/* ---- types ---- */

/* Time Exceeded for a packet whose time ends here: from an address of the appliance. */
static void test_5508_10a(struct lab *l)
{
	for (unsigned i = 0; i < N_PROTOCOLS; i++) {
		struct lab_packet p = of(protocols[i], lab_host(1, 5000), lab_server(1, 53));

		p.ttl = 1;
		struct lab_packet e = lab_refused(l, &p);
		assert_int_equal(e.type, LAB_TIME_EXCEEDED);
		assert_int_equal(e.code, 0);
		assert_int_not_equal(e.src.address, p.src.address);
		p.ttl = 2;
		assert_int_equal(lab_ok(l, &p).ttl, 1);
	}
	struct lab_packet out = lab_udp(lab_host(1, 5000), lab_server(1, 53)), seen = lab_ok(l, &out);
	struct lab_packet back = lab_answer(&seen);
	back.ttl = 1;
	assert_int_equal(lab_refused(l, &back).type, LAB_TIME_EXCEEDED);
}

/* Other types from either side, and errors about errors: nothing comes out, nothing is left behind. */
static void test_5508_11(struct lab *l)
{
	for (unsigned type = 1; type < 256; type++) {
		struct lab_packet p = lab_ping(lab_host(1, 7), lab_server(1, 0).address), q = p;

		if (type == LAB_ECHO || type == LAB_UNREACHABLE || type == 4 || type == LAB_TIME_EXCEEDED || type == 12)
			continue;
		p.type = (uint8_t)type;
		lab_none(l, &p);
		q.side = SIDE_OUTSIDE;
		q.src = (struct lab_end){p.dst.address, 7};
		q.dst.address = LAB_POOL + 1;
		q.type = (uint8_t)type;
		lab_none(l, &q);
	}
	struct lab_packet redirect = lab_udp(lab_host(1, 5000), lab_server(1, 53));
	struct lab_frame error;
	lab_ok(l, &redirect);
	struct lab_frame about = l->out[0];
	lab_error(&about, ROUTER, 5, 1, 28, &error);
	assert_int_equal(lab_send_frame(l, &error), 0);
}

#define EIGHT "\"port_first\":2000,\"port_last\":2007"
#define ONE "[{\"name\":\"main\",\"addresses\":[\"198.51.100.0\"]}]"

int main(void)
{
	static const struct lab_test tests[] = {
		LAB_TEST(test_5508_1),
		LAB_TEST(test_5508_1a),
		LAB_TEST(test_5508_2),
		LAB_TEST(test_5508_3),
		LAB_TEST(test_5508_3a),
		LAB_TEST(test_5508_3b),
		LAB_TEST(test_5508_3c),
		LAB_TEST(test_5508_3d),
		LAB_TEST(test_5508_4, .nat = "\"filtering\":\"address-and-port-dependent\""),
		LAB_TEST(test_5508_4_silent),
		LAB_TEST(test_5508_5),
		LAB_TEST(test_5508_5c, .more = "\"static\":[{\"protocol\":\"any\",\"inside\":\"100.64.0.1\",\"nat\":"
					       "\"198.51.100.2\"}]"),
		LAB_TEST(test_5508_5_silent),
		LAB_TEST(test_5508_6),
		LAB_TEST(test_5508_7),
		LAB_TEST(test_5508_7_query, .more = "\"static\":[{\"protocol\":\"any\",\"inside\":\"100.64.0.1\","
						    "\"nat\":\"198.51.100.2\"}]"),
		LAB_TEST(test_5508_7_query_port),
		LAB_TEST(test_5508_7_query_filter),
		LAB_TEST(test_5508_7_query_two, .nat = "\"icmp_timeout_s\":60", .pools = ONE),
		LAB_TEST(test_5508_7_query_error),
		LAB_TEST(test_5508_8, .nat = EIGHT ",\"refusal\":\"prohibited\"", .pools = ONE),
		LAB_TEST(test_5508_8_rate, .nat = EIGHT ",\"icmp_rate\":10", .pools = ONE),
		LAB_TEST(test_5508_8_off, .nat = EIGHT ",\"refusal\":\"off\"", .pools = ONE),
		LAB_TEST(test_5508_10a),
		LAB_TEST(test_5508_11),
	};

	return LAB_TESTS(tests);
}
