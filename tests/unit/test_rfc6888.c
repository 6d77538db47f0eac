/* RFC 6888, common requirements for carrier-grade NATs, line by line: docs/rfc-conformance.md. */
#include "tests/unit/nat_lab.h"

enum { TCP = 6, UDP = 17 };

static struct lab_end mapped(struct lab *l, struct lab_end inside, struct lab_end server)
{
	struct lab_packet p = lab_udp(inside, server);

	return lab_ok(l, &p).src;
}

static bool refused(struct lab *l, struct lab_end inside, struct lab_end server)
{
	struct lab_packet p = lab_udp(inside, server);

	lab_send(l, &p);
	return l->n_out == 0 || l->seen[0].error;
}

/* ---- pooling ---- */

static unsigned addresses_of(struct lab *l, unsigned host)
{
	uint32_t seen = 0;

	for (uint16_t port = 5000; port < 5040; port++)
		seen |= 1u << (mapped(l, lab_host(host, port), lab_server(1, 53)).address - LAB_POOL);
	return (unsigned)__builtin_popcount(seen);
}

/* Paired unless told otherwise; a rule changes it for one application. */
static void test_6888_2(struct lab *l)
{
	assert_int_equal(addresses_of(l, 1), 1);
	assert_int_equal(addresses_of(l, 2), 1);
	lab_configure(
		l, &(struct lab_setup){.more = "\"rules\":[{\"name\":\"dns\",\"protocol\":\"udp\",\"port_first\":53,"
					       "\"port_last\":53,\"pooling\":\"arbitrary\"}]"});
	assert_true(addresses_of(l, 3) > 1);
	struct lab_end first = mapped(l, lab_host(4, 5000), lab_server(1, 99));
	for (uint16_t port = 5001; port < 5040; port++)
		assert_int_equal(mapped(l, lab_host(4, port), lab_server(1, 99)).address, first.address);
	lab_configure(l, &(struct lab_setup){.nat = "\"pooling\":\"arbitrary\""});
	assert_true(addresses_of(l, 5) > 1);
}

/* Ranges that lie apart: every address of every one is used, and no other. */
static void test_6888_3(struct lab *l)
{
	bool used[256] = {false};
	unsigned n = 0;

	for (unsigned host = 1; host <= 400; host++) {
		uint32_t address = mapped(l, lab_host(host, 5000), lab_server(1, 53)).address;

		assert_int_equal(address & 0xffffff00u, LAB_POOL);
		n += !used[address & 0xff];
		used[address & 0xff] = true;
	}
	assert_int_equal(n, 8);
	assert_true(used[3] && used[16] && used[19] && used[77] && used[200] && used[201]);
	assert_true(used[17] && used[18]);
}

/* What is excluded of a range is not used. */
static void test_6888_3_exclude(struct lab *l)
{
	for (unsigned host = 1; host <= 200; host++) {
		uint32_t address = mapped(l, lab_host(host, 5000), lab_server(1, 53)).address;

		assert_in_range(address, LAB_POOL, LAB_POOL + 7);
		assert_false(address == LAB_POOL || address == LAB_POOL + 3 || address == LAB_POOL + 4);
	}
}

/* A drained address: who lives on it goes on, nobody new comes. */
static void test_6888_3_drain(struct lab *l)
{
	struct lab_end before[40];
	unsigned on_drained = 0;

	for (unsigned host = 0; host < 40; host++) {
		before[host] = mapped(l, lab_host(host + 1, 5000), lab_server(1, 53));
		on_drained += before[host].address == LAB_POOL + 1;
	}
	assert_true(on_drained > 0);
	lab_configure(l, &(struct lab_setup){.pools = "[{\"name\":\"main\",\"addresses\":[\"198.51.100.0/30\"],"
						      "\"drain\":[\"198.51.100.1\"]}]"});
	for (unsigned host = 0; host < 40; host++) {
		assert_true(lab_same(mapped(l, lab_host(host + 1, 5000), lab_server(2, 53)), before[host]));
		assert_true(lab_reaches(l, UDP, lab_server(1, 53), before[host]));
	}
	for (unsigned host = 100; host < 140; host++)
		assert_int_not_equal(mapped(l, lab_host(host, 5000), lab_server(1, 53)).address, LAB_POOL + 1);
}

/* ---- exemptions ---- */

/* By destination address and port: what is exempt goes out as it came, and its answer in. */
static void test_6888_6(struct lab *l)
{
	struct lab_packet p = lab_udp(lab_host(1, 5000), lab_server(7, 53)), out = lab_ok(l, &p);

	assert_int_equal(out.side, SIDE_OUTSIDE);
	assert_true(lab_same(out.src, p.src) && lab_same(out.dst, p.dst));
	assert_int_equal(out.ttl, p.ttl - 1);
	struct lab_packet back = lab_answer(&out);
	back = lab_ok(l, &back);
	assert_int_equal(back.side, SIDE_INSIDE);
	assert_true(lab_same(back.dst, p.src) && lab_same(back.src, p.dst));
	p = lab_udp(lab_host(1, 5000), lab_server(7, 54)); /* another port: translated */
	assert_int_equal(lab_ok(l, &p).src.address & 0xffffff00u, LAB_POOL);
	p = lab_udp(lab_host(1, 5000), lab_server(8, 53)); /* another destination */
	assert_int_equal(lab_ok(l, &p).src.address & 0xffffff00u, LAB_POOL);
	p = lab_udp(lab_host(1, 5000), lab_server(9, 53)); /* one that is to be dropped */
	lab_send(l, &p);
	assert_true(l->n_out == 0 || l->seen[0].error);
}

/* Whom a rule cuts off from the subscriber reaches him neither by a mapping that others made, nor by a static one, and gets no
 * answer from him. */
static void test_6888_6_inbound(struct lab *l)
{
	struct lab_end nat = mapped(l, lab_host(1, 5000), lab_server(1, 53)), fixed = {LAB_POOL + 1, 8080};
	struct lab_packet back = lab_tcp(lab_host(1, 80), lab_server(9, 53), LAB_SYN | LAB_ACK);

	assert_true(lab_reaches(l, UDP, lab_server(8, 53), nat));
	assert_true(lab_reaches(l, TCP, lab_server(8, 53), fixed));
	assert_false(lab_reaches(l, UDP, lab_server(9, 53), nat));
	assert_false(lab_reaches(l, TCP, lab_server(9, 53), fixed));
	lab_send(l, &back);
	assert_true(l->n_out == 0 || l->seen[0].error);
}

/* ---- filtering ---- */

static void test_6888_7(struct lab *l)
{
	struct lab_end nat = mapped(l, lab_host(1, 5000), lab_server(1, 53));
	struct lab_packet syn = lab_tcp(lab_host(1, 5000), lab_server(1, 80), LAB_SYN);

	assert_true(lab_reaches(l, UDP, lab_server(2, 99), nat));
	assert_true(lab_reaches(l, TCP, lab_server(2, 99), lab_ok(l, &syn).src));
}

/* ---- subscribers' own mappings ---- */

/* A published service: reached from anywhere before the host ever spoke, and the host's answers come from there. */
static void published(struct lab *l, uint8_t protocol, struct lab_end host, struct lab_end nat)
{
	struct lab_packet p =
		protocol == TCP ? lab_tcp(lab_server(3, 999), nat, LAB_SYN) : lab_udp(lab_server(3, 999), nat);
	struct lab_packet in = lab_ok(l, &p);

	assert_int_equal(in.side, SIDE_INSIDE);
	assert_true(lab_same(in.dst, host) && lab_same(in.src, p.src));
	struct lab_packet back = lab_answer(&in);
	assert_true(lab_same(lab_ok(l, &back).src, nat));
	lab_pass(l, 100000);
	assert_true(lab_reaches(l, protocol, lab_server(4, 1), nat)); /* it never ends */
}

static void test_6888_9(struct lab *l)
{
	published(l, TCP, lab_host(1, 80), (struct lab_end){LAB_POOL + 1, 8080});
	published(l, UDP, lab_host(2, 6005), (struct lab_end){LAB_POOL + 1, 7005}); /* within a range */
	published(l, UDP, lab_host(3, 4321), (struct lab_end){LAB_POOL + 3, 4321}); /* 1:1 */
	published(l, TCP, lab_host(3, 22), (struct lab_end){LAB_POOL + 3, 22});
	assert_false(lab_reaches(l, UDP, lab_server(4, 1), (struct lab_end){LAB_POOL + 1, 7010}));
	for (unsigned host = 10; host < 60; host++) /* nobody else is put on an address that is one host's own */
		assert_int_not_equal(mapped(l, lab_host(host, 5000), lab_server(1, 53)).address, LAB_POOL + 3);
	assert_int_equal(mapped(l, lab_host(3, 5000), lab_server(1, 53)).address, LAB_POOL + 3);
}

/* A protocol without ports: where a host has an address of its own; elsewhere refused. */
static void test_6888_1(struct lab *l)
{
	struct lab_packet p = lab_portless(LAB_PROTO_GRE, LAB_HOSTS + 3, LAB_SERVERS + 1), out = lab_ok(l, &p);

	assert_int_equal(out.src.address, LAB_POOL + 3);
	assert_int_equal(out.protocol, LAB_PROTO_GRE);
	struct lab_packet back = lab_answer(&out);
	back = lab_ok(l, &back);
	assert_int_equal(back.dst.address, LAB_HOSTS + 3);
	p = lab_portless(LAB_PROTO_GRE, LAB_SERVERS + 9, LAB_POOL + 3); /* from outside first */
	assert_int_equal(lab_ok(l, &p).dst.address, LAB_HOSTS + 3);
	p = lab_portless(LAB_PROTO_GRE, LAB_HOSTS + 4, LAB_SERVERS + 1);
	lab_send(l, &p);
	assert_true(l->n_out == 0 || l->seen[0].error);
	p = lab_portless(LAB_PROTO_GRE, LAB_SERVERS + 1, LAB_POOL + 1);
	lab_none(l, &p);
}

/* What a checksum over the addresses, the protocol and all that follows the IPv4 header leaves: 0 when it is right. */
static uint16_t left_over(const struct lab_frame *f)
{
	const uint8_t *ip = f->bytes + LAB_ETHERNET, *l4 = ip + 20;
	unsigned bytes = f->size - LAB_ETHERNET - 20u;
	uint32_t sum = ip[9] + bytes;

	for (unsigned i = 12; i < 20; i += 2)
		sum += (uint32_t)ip[i] << 8 | ip[i + 1];
	for (unsigned i = 0; i < bytes; i++)
		sum += (uint32_t)l4[i] << (i % 2 ? 0 : 8);
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

/* DCCP or UDP-Lite of one who has an address to himself, its checksum (RFC 4340 section 9.1, RFC 3828 section 3.1) right. */
static void build_covered(uint8_t protocol, uint32_t src, uint32_t dst, struct lab_frame *f)
{
	enum { COVERING_AT = 6 };
	struct lab_packet p = lab_portless(protocol, src, dst);
	uint8_t *at = f->bytes + LAB_ETHERNET + 20 + COVERING_AT;

	p.payload = 41;
	lab_build(&p, f);
	for (unsigned i = LAB_ETHERNET + 20; i < f->size; i++)
		f->bytes[i] = (uint8_t)(i * 37);
	memset(at - 2, 0, 4); /* it covers all of the datagram */
	uint16_t sum = left_over(f);
	at[0] = (uint8_t)(sum >> 8);
	at[1] = (uint8_t)sum;
	assert_int_equal(left_over(f), 0);
}

/* Checksums that cover the addresses stay right, both ways, and in what an error quotes (RFC 5508 REQ-3, REQ-4). */
static void test_6888_1_covered(struct lab *l)
{
	static const uint8_t protocols[] = {33, 136};

	for (unsigned i = 0; i < sizeof protocols; i++) {
		struct lab_frame sent, out, back, error;

		build_covered(protocols[i], LAB_HOSTS + 3, LAB_SERVERS + 1, &sent);
		assert_int_equal(lab_send_frame(l, &sent), 1);
		out = l->out[0];
		assert_int_equal(l->seen[0].src.address, LAB_POOL + 3);
		assert_int_equal(left_over(&out), 0);
		build_covered(protocols[i], LAB_SERVERS + 1, LAB_POOL + 3, &back);
		assert_int_equal(lab_send_frame(l, &back), 1);
		assert_int_equal(l->seen[0].dst.address, LAB_HOSTS + 3);
		assert_int_equal(left_over(&l->out[0]), 0);
		lab_error(&out, LAB_SERVERS + 1, LAB_UNREACHABLE, LAB_CODE_PORT, 576, &error);
		assert_int_equal(lab_send_frame(l, &error), 1);
		assert_true(lab_quotes(&l->out[0], &sent));
		sent.bytes[LAB_ETHERNET + 3] = 20 + 7; /* too short for a checksum */
		sent.size = LAB_ETHERNET + 20 + 7;
		lab_mend(&sent);
		assert_int_equal(lab_send_frame(l, &sent), 0);
	}
}

/* ---- no resources ---- */

static void fill(struct lab *l, struct lab_end nat[8])
{
	for (unsigned i = 0; i < 8; i++)
		nat[i] = mapped(l, lab_host(i + 1, 5000), lab_server(1, 53));
}

static void test_6888_11a(struct lab *l)
{
	struct lab_end nat[8];

	fill(l, nat);
	for (unsigned i = 0; i < 10; i++)
		assert_true(refused(l, lab_host(9 + i, 5000), lab_server(1, 53)));
	lab_pass(l, 300 + LAB_SWEEP_S); /* and when ports are free again, it is served */
	assert_false(refused(l, lab_host(9, 5000), lab_server(1, 53)));
}

/* Beside a static range that takes nearly all ports of the address, each of those left is found. */
static void test_6888_3_statics(struct lab *l)
{
	for (unsigned i = 0; i < 20; i++)
		assert_false(refused(l, lab_host(1 + i, 5000), lab_server(1, 53)));
	assert_true(refused(l, lab_host(30, 5000), lab_server(1, 53)));
}

static void test_6888_11b(struct lab *l)
{
	struct lab_packet ninth = lab_udp(lab_host(9, 5000), lab_server(1, 53));
	struct lab_end nat[8];

	fill(l, nat);
	struct lab_packet e = lab_refused(l, &ninth);
	assert_int_equal(e.type, LAB_UNREACHABLE);
	assert_int_equal(e.code, LAB_CODE_HOST);
}

/* Never a live mapping ended to make room. */
static void test_6888_11d(struct lab *l)
{
	struct lab_end nat[8];

	fill(l, nat);
	for (unsigned round = 0; round < 20; round++) {
		for (unsigned i = 9; i < 60; i++)
			assert_true(refused(l, lab_host(i, 5000), lab_server(1, 53)));
		lab_pass(l, 20);
		for (unsigned i = 0; i < 8; i++) {
			assert_true(lab_same(mapped(l, lab_host(i + 1, 5000), lab_server(1, 53)), nat[i]));
			assert_true(lab_reaches(l, UDP, lab_server(1, 53), nat[i]));
		}
	}
}

#define EIGHT "\"port_first\":2000,\"port_last\":2007"
#define ONE "[{\"name\":\"main\",\"addresses\":[\"198.51.100.0\"]}]"
#define BLOCKS_OF_64 "[{\"name\":\"main\",\"addresses\":[\"198.51.100.0/30\"],\"block_size\":64}]"
#define STATICS                                                                                                        \
	"\"static\":["                                                                                                 \
	"{\"protocol\":\"tcp\",\"inside\":\"100.64.0.1\",\"inside_port\":80,\"nat\":\"198.51.100.1\",\"nat_port\":"    \
	"8080},"                                                                                                       \
	"{\"protocol\":\"udp\",\"inside\":\"100.64.0.2\",\"inside_port\":6000,\"nat\":\"198.51.100.1\",\"nat_port\":"  \
	"7000,"                                                                                                        \
	"\"ports\":10},"                                                                                               \
	"{\"protocol\":\"any\",\"inside\":\"100.64.0.3\",\"nat\":\"198.51.100.3\"}]"

/* Sessions by a static mapping that is removed live on, also when their replies come to an engine that has seen none of
 * them yet; whoever writes anew is refused. */
static void test_6888_1_removed(struct lab *l)
{
	const struct lab_packet sent[] = {lab_tcp(lab_host(1, 80), lab_server(1, 443), LAB_SYN),
		lab_udp(lab_host(2, 6003), lab_server(2, 53)), lab_udp(lab_host(3, 777), lab_server(3, 53)),
		lab_ping(lab_host(3, 9), lab_server(1, 0).address)};
	enum { N = sizeof sent / sizeof sent[0] };
	struct lab_packet out[N];

	for (unsigned i = 0; i < N; i++)
		out[i] = lab_ok(l, &sent[i]);
	assert_true(lab_same(out[0].src, (struct lab_end){LAB_POOL + 1, 8080}));
	lab_configure(l, &(struct lab_setup){0});
	for (unsigned i = 0; i < N; i++) {
		struct lab_packet back = lab_answer(&out[i]);

		assert_int_equal(lab_ok(l, &back).dst.address, sent[i].src.address);
	}
	assert_false(lab_reaches(l, TCP, lab_server(9, 1), out[0].src));
	assert_false(lab_reaches(l, UDP, lab_server(9, 1), out[1].src));
	assert_false(lab_reaches(l, UDP, lab_server(9, 1), out[2].src));
}

/* ---- ports rest ---- */

static unsigned refused_of_8(struct lab *l)
{
	unsigned n = 0;

	for (unsigned i = 0; i < 8; i++)
		n += refused(l, lab_host(20 + i, 5000), lab_server(1, 53));
	return n;
}

/* A freed port rests for hold_s at least, and twice that at most. */
static void test_6888_8(struct lab *l)
{
	struct lab_end nat[8];

	fill(l, nat);
	lab_pass(l, 300 + LAB_SWEEP_S);
	for (unsigned i = 0; i < 9; i++) {
		assert_int_equal(refused_of_8(l), 8);
		lab_pass(l, 6);
	}
	lab_pass(l, 66 + LAB_SWEEP_S);
	assert_int_equal(refused_of_8(l), 0);
}

/* No more than the share may rest: what is too much is woken by chunks, when there is need. Without a time nothing rests. */
static void test_6888_8_share(struct lab *l)
{
	struct lab_end nat[8];

	fill(l, nat);
	lab_pass(l, 300 + LAB_SWEEP_S);
	assert_in_range(refused_of_8(l), 0, 2);
}

static void test_6888_8_off(struct lab *l)
{
	struct lab_end nat[8];

	fill(l, nat);
	lab_pass(l, 300 + LAB_SWEEP_S);
	assert_int_equal(refused_of_8(l), 0);
}

/* A connection that was seen to end has waited already. */
static void test_6888_8_tcp(struct lab *l)
{
	for (unsigned i = 0; i < 8; i++) {
		struct lab_packet p = lab_tcp(lab_host(1 + i, 5000), lab_server(1, 80), LAB_SYN), out = lab_ok(l, &p);
		struct lab_packet back = lab_answer(&out);

		back.flags = LAB_SYN | LAB_ACK;
		lab_ok(l, &back);
		p.flags = back.flags = LAB_FIN | LAB_ACK;
		lab_ok(l, &p);
		lab_ok(l, &back);
	}
	lab_pass(l, 240 + LAB_SWEEP_S);
	for (unsigned i = 0; i < 8; i++) {
		struct lab_packet p = lab_tcp(lab_host(20 + i, 5000), lab_server(1, 80), LAB_SYN);

		lab_ok(l, &p);
	}
}

/* ---- the trade between utilisation, volume of logs, and ports that cannot be guessed ---- */

/* Every port there is is given before anybody is refused. */
static void test_6888_13(struct lab *l)
{
	for (unsigned i = 0; i < 128; i++)
		assert_false(refused(l, lab_host(1 + i, 5000), lab_server(1 + i % 9, 53)));
	assert_true(refused(l, lab_host(200, 5000), lab_server(1, 53)));
}

/* What is logged is a block, not a mapping: 3 for 150 mappings. */
static void test_6888_14(struct lab *l)
{
	for (unsigned i = 0; i < 150; i++)
		mapped(l, lab_host(1, (uint16_t)(5000 + i)), lab_server(1 + i % 9, 53));
	assert_int_equal(lab_counted(l, COUNTER_blocks_made), 3);
	unsigned told = 0;
	for (unsigned n = 0; n < l->engines; n++)
		told += (unsigned)atomic_load(&events_of(l->arena, n).ring->head);
	assert_int_equal(told, 3);
}

/* Also within a block, the next port is not told by those before: no step between two of a row is frequent. */
static void test_6888_15(struct lab *l)
{
	unsigned step[64] = {0};
	uint16_t last = 0;

	for (unsigned host = 1; host <= 6; host++)
		for (unsigned i = 0; i < 60; i++) {
			uint16_t port = mapped(l, lab_host(host, (uint16_t)(5000 + i)), lab_server(1, 53)).port;

			step[(uint16_t)(port - last) % 64]++;
			last = port;
		}
	for (unsigned i = 0; i < 64; i++)
		assert_true(step[i] < 40);
}

/* ---- limits ---- */

#define LIMITS(rest) "\"limits\":[{\"name\":\"all\"," rest "}]"

/* How many of 40 packets, each new in its own way, pass. A refused one is sent again after a turn of every engine: what
 * others have and do not use is there by then. */
static unsigned pass_of_40(struct lab *l, struct lab_packet (*packet)(unsigned i))
{
	unsigned passed = 0;

	for (unsigned i = 0; i < 40; i++) {
		struct lab_packet p = packet(i);

		for (unsigned tries = 0; tries < 2; tries++) {
			bool out = lab_send(l, &p) == 1 && !l->seen[0].error;

			passed += out;
			if (out)
				break;
			lab_pass(l, 0.001);
		}
	}
	return passed;
}

static struct lab_packet new_udp(unsigned i)
{
	return lab_udp(lab_host(1, (uint16_t)(5000 + i)), lab_server(1 + i, 5353));
}

static struct lab_packet new_tcp(unsigned i)
{
	return lab_tcp(lab_host(1, (uint16_t)(5000 + i)), lab_server(1 + i, 80), LAB_SYN);
}

static struct lab_packet new_ping(unsigned i)
{
	return lab_ping(lab_host(1, (uint16_t)(5000 + i)), LAB_SERVERS + 1 + i);
}

/* One port, many remotes: a session each, and no port more. */
static struct lab_packet more_remotes(unsigned i)
{
	return lab_udp(lab_host(1, 5000), lab_server(1 + i, 5353));
}

static struct lab_packet of_host_2(unsigned i)
{
	return lab_udp(lab_host(2, (uint16_t)(5000 + i)), lab_server(1 + i, 5353));
}

static void test_6888_4(struct lab *l)
{
	assert_int_equal(pass_of_40(l, new_udp), 15);
	assert_int_equal(pass_of_40(l, more_remotes), 40);
	assert_int_equal(pass_of_40(l, of_host_2), 15);
	assert_true(lab_verdicts(l, VERDICT_drop_limit_udp_ports) >= 50);
	lab_pass(l, 310);
	assert_int_equal(pass_of_40(l, new_udp), 15);
}

/* Each kind has its own limit; the sender is told as of other refusals (REQ-11). */
static void test_6888_4_each(struct lab *l)
{
	assert_int_equal(pass_of_40(l, new_udp), 7);
	assert_int_equal(pass_of_40(l, new_tcp), 5);
	assert_int_equal(pass_of_40(l, new_ping), 3);
	assert_true(lab_verdicts(l, VERDICT_drop_limit_tcp_ports) >= 35);
	assert_true(lab_verdicts(l, VERDICT_drop_limit_icmp) >= 37);
	struct lab_packet one = new_udp(39);
	struct lab_packet error = lab_refused(l, &one);
	assert_int_equal(error.type, LAB_UNREACHABLE);
	assert_int_equal(error.code, LAB_CODE_HOST);
}

static void test_6888_5_sessions(struct lab *l)
{
	assert_int_equal(pass_of_40(l, more_remotes), 11);
	assert_int_equal(pass_of_40(l, new_tcp), 0);
	assert_true(lab_verdicts(l, VERDICT_drop_limit_sessions) >= 29);
}

/* 96 bytes a session: ten in a KiB. */
static void test_6888_5_memory(struct lab *l)
{
	assert_int_equal(pass_of_40(l, new_udp), 10);
	assert_true(lab_verdicts(l, VERDICT_drop_limit_memory) >= 30);
}

/* Twenty at a stroke, then ten a second. */
static void test_6888_5_rate(struct lab *l)
{
	assert_in_range(pass_of_40(l, more_remotes), 20, 21);
	assert_true(lab_verdicts(l, VERDICT_drop_limit_rate) >= 19);
	lab_pass(l, 1);
	assert_in_range(pass_of_40(l, new_tcp), 9, 11);
	lab_pass(l, 60);
	assert_in_range(pass_of_40(l, new_ping), 20, 21);
}

int main(void)
{
	static const struct lab_test tests[] = {
		LAB_TEST(test_6888_1, .more = STATICS),
		LAB_TEST(test_6888_1_removed, .more = STATICS),
		LAB_TEST(test_6888_1_covered, .more = STATICS),
		LAB_TEST(test_6888_2),
		LAB_TEST(test_6888_3_statics, .nat = "\"port_first\":2000,\"port_last\":2999", .pools = ONE,
			.more = "\"static\":[{\"protocol\":\"udp\",\"inside\":\"100.64.9.9\",\"nat\":\"198.51.100.0\","
				"\"inside_port\":2000,\"nat_port\":2000,\"ports\":980}]"),
		LAB_TEST(test_6888_3,
			.pools = "[{\"name\":\"main\",\"addresses\":[\"198.51.100.3\",\"198.51.100.16/30\","
				 "\"198.51.100.77\",\"198.51.100.200-198.51.100.201\"]}]"),
		LAB_TEST(test_6888_3_exclude, .pools =
						      "[{\"name\":\"main\",\"addresses\":[\"198.51.100.0/29\"],"
						      "\"exclude\":[\"198.51.100.0\",\"198.51.100.3-198.51.100.4\"]}]"),
		LAB_TEST(test_6888_3_drain),
		LAB_TEST(test_6888_4, .more = LIMITS("\"udp_ports\":15")),
		LAB_TEST(test_6888_4_each, .more = LIMITS("\"udp_ports\":7,\"tcp_ports\":5,\"icmp_ids\":3")),
		LAB_TEST(test_6888_5_sessions, .more = LIMITS("\"sessions\":11")),
		LAB_TEST(test_6888_5_memory, .more = LIMITS("\"memory_kib\":1")),
		LAB_TEST(test_6888_5_rate, .more = LIMITS("\"new_sessions_per_s\":10,\"burst\":20")),
		LAB_TEST(test_6888_6_inbound,
			.more = "\"rules\":[{\"name\":\"no\",\"destination\":[\"203.0.113.9/"
				"32\"],\"action\":\"drop\"}],"
				"\"static\":[{\"protocol\":\"tcp\",\"inside\":\"100.64.0.1\",\"inside_port\":80,"
				"\"nat\":\"198.51.100.1\",\"nat_port\":8080}]"),
		LAB_TEST(test_6888_6,
			.more = "\"rules\":[{\"name\":\"local\",\"destination\":[\"203.0.113.7/"
				"32\"],\"protocol\":\"udp\","
				"\"port_first\":53,\"port_last\":53,\"action\":\"bypass\"},"
				"{\"name\":\"no\",\"destination\":[\"203.0.113.9/32\"],\"action\":\"drop\"}]",
			.bypass = true),
		LAB_TEST(test_6888_7),
		LAB_TEST(test_6888_8, .nat = EIGHT ",\"hold_s\":60,\"hold_percent\":100", .pools = ONE),
		LAB_TEST(test_6888_8_share, .nat = EIGHT ",\"hold_percent\":25", .pools = ONE),
		LAB_TEST(test_6888_8_off, .nat = EIGHT ",\"hold_s\":0", .pools = ONE),
		LAB_TEST(test_6888_8_tcp, .nat = EIGHT ",\"hold_percent\":100", .pools = ONE),
		LAB_TEST(test_6888_9, .more = STATICS),
		LAB_TEST(test_6888_11a, .nat = EIGHT, .pools = ONE),
		LAB_TEST(test_6888_11b, .nat = EIGHT, .pools = ONE),
		LAB_TEST(test_6888_11d, .nat = EIGHT, .pools = ONE),
		LAB_TEST(test_6888_13, .nat = "\"port_first\":2000,\"port_last\":2127", .pools = ONE),
		LAB_TEST(test_6888_14, .nat = "\"ports\":\"blocks\"", .pools = BLOCKS_OF_64),
		LAB_TEST(test_6888_15, .nat = "\"ports\":\"blocks\"", .pools = BLOCKS_OF_64),
	};

	return LAB_TESTS(tests);
}
