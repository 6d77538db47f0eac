/* realms: subscribers behind VLANs with the same addresses, each as if it were alone. */
#include "tests/unit/nat_lab.h"

#include <stdlib.h>
#include <string.h>

enum { A = 100, B = 200, ROUTER = LAB_SERVERS + 250 };
static const uint16_t realms[] = {0, A, B};
enum { N_REALMS = 3 };

#define REALMS                                                                                                         \
	"\"realms\":[{\"name\":\"a\",\"vlan\":100,\"prefixes\":[\"100.64.0.0/10\"]},"                                  \
	"{\"name\":\"b\",\"vlan\":200,\"prefixes\":[\"100.64.0.0/16\",\"10.0.0.0/8\"]}]"

static struct lab_packet in_realm(uint16_t realm, struct lab_packet p)
{
	p.vlan = realm;
	return p;
}

/* One packet of each realm from the same endpoint to the same server: what came out. */
static void send_same(struct lab *l, struct lab_packet p, struct lab_packet out[N_REALMS])
{
	for (unsigned r = 0; r < N_REALMS; r++) {
		p.vlan = realms[r];
		out[r] = lab_ok(l, &p);
		assert_int_equal(out[r].vlan, 0);
		for (unsigned i = 0; i < r; i++)
			assert_false(lab_same(out[i].src, out[r].src));
	}
}

/* ---- the same endpoint in three realms ---- */

static void each_answer_comes_home(struct lab *l, struct lab_packet p)
{
	struct lab_packet out[N_REALMS];

	for (int round = 0; round < 2; round++) {
		send_same(l, p, out);
		for (unsigned r = N_REALMS; r-- > 0;) {
			struct lab_packet back = lab_answer(&out[r]);

			back = lab_ok(l, &back);
			assert_int_equal(back.side, SIDE_INSIDE);
			assert_int_equal(back.vlan, realms[r]);
			assert_int_equal(back.dst.address, p.src.address);
		}
	}
}

static void test_4787_7(struct lab *l)
{
	struct check_counts counts;

	each_answer_comes_home(l, lab_udp(lab_host(1, 5000), lab_server(1, 53)));
	each_answer_comes_home(l, lab_tcp(lab_host(1, 5000), lab_server(1, 80), LAB_SYN));
	each_answer_comes_home(l, lab_ping(lab_host(1, 7), lab_server(1, 0).address));
	lab_check(l, &counts);
	assert_int_equal(counts.flows - l->before.flows, 3 * N_REALMS);
	assert_int_equal(counts.mappings - l->before.mappings, 3 * N_REALMS);
}

/* A stranger writes to the mapping of each. */
static void test_strangers_reach_their_realm(struct lab *l)
{
	struct lab_packet out[N_REALMS];

	send_same(l, lab_udp(lab_host(1, 5000), lab_server(1, 53)), out);
	for (unsigned r = 0; r < N_REALMS; r++) {
		struct lab_packet p = lab_udp(lab_server(9, 99), out[r].src), in = lab_ok(l, &p);

		assert_int_equal(in.vlan, realms[r]);
		assert_true(lab_same(in.dst, lab_host(1, 5000)));
	}
}

/* From one realm to another, by the NAT address: even to its own address. */
static void test_hairpin_between_realms(struct lab *l)
{
	struct lab_packet out[N_REALMS];

	send_same(l, lab_udp(lab_host(1, 5000), lab_server(1, 53)), out);
	for (unsigned from = 0; from < N_REALMS; from++)
		for (unsigned to = 0; to < N_REALMS; to++) {
			struct lab_packet p =
				in_realm(realms[from], lab_udp(lab_host(2, (uint16_t)(6000 + to)), out[to].src));
			struct lab_packet in = lab_ok(l, &p), back;

			assert_int_equal(in.vlan, realms[to]);
			assert_true(lab_same(in.dst, lab_host(1, 5000)));
			assert_false(lab_is_inside(in.src.address));
			back = lab_answer(&in);
			back = lab_ok(l, &back);
			assert_int_equal(back.vlan, realms[from]);
			assert_true(lab_same(back.dst, p.src));
		}
}

/* ---- who is a subscriber ---- */

static void not_passed(struct lab *l, const struct lab_packet *p, enum verdict v)
{
	uint64_t before = lab_verdicts(l, v);

	lab_none(l, p);
	assert_int_equal(lab_verdicts(l, v), before + 1);
}

static void test_prefixes_are_the_realms_own(struct lab *l)
{
	struct lab_end far = {LAB_HOSTS + (1 << 16), 5000};
	struct lab_packet p = in_realm(A, lab_udp(far, lab_server(1, 53)));

	lab_ok(l, &p);
	p.vlan = B; /* 100.64/16 only */
	not_passed(l, &p, VERDICT_drop_not_subscriber);
	p.vlan = 300; /* nobody's */
	not_passed(l, &p, VERDICT_drop_not_subscriber);
	p = lab_udp((struct lab_end){10u << 24 | 5, 5000}, lab_server(1, 53));
	p.side = SIDE_INSIDE;
	not_passed(l, &p, VERDICT_drop_not_subscriber);
	p.vlan = B;
	lab_ok(l, &p);
}

static void test_odd_tags(struct lab *l)
{
	struct lab_packet p = lab_udp(lab_host(1, 5000), lab_server(1, 53)), out = lab_ok(l, &p);
	struct lab_packet back = lab_answer(&out);
	uint64_t before = lab_verdicts(l, VERDICT_drop_vlan);
	struct lab_frame f;

	p.vlan = 0x6000 | A; /* with a priority: the same realm */
	assert_false(lab_same(lab_ok(l, &p).src, out.src));
	p.vlan = 0x6000; /* only a priority: as if untagged */
	assert_true(lab_same(lab_ok(l, &p).src, out.src));
	p.vlan = 4095;
	lab_none(l, &p);
	back.vlan = A; /* the outside has no realms */
	lab_none(l, &back);
	p.vlan = A;
	lab_build(&p, &f); /* two tags */
	memmove(f.bytes + 16, f.bytes + 12, f.size - 12u);
	memcpy(f.bytes + 12, "\x81\0\0\x64", 4);
	f.size += 4;
	assert_int_equal(lab_send_at(l, 0, &f), 0);
	assert_int_equal(lab_verdicts(l, VERDICT_drop_vlan), before + 3);
}

/* ---- ICMP errors ---- */

static void test_own_errors(struct lab *l)
{
	for (unsigned r = 0; r < N_REALMS; r++) {
		struct lab_packet p = in_realm(realms[r], lab_udp(lab_host(1, 5000), lab_server(1, 53)));

		p.ttl = 1;
		assert_int_equal(lab_refused(l, &p).type, LAB_TIME_EXCEEDED);
	}
}

/* From the Internet about what each realm sent, and from each realm about what it got. */
static void test_errors_that_pass(struct lab *l)
{
	struct lab_packet out[N_REALMS];
	struct lab_frame sent[N_REALMS], error, got;

	for (unsigned r = 0; r < N_REALMS; r++) {
		struct lab_packet p = in_realm(realms[r], lab_udp(lab_host(1, 5000), lab_server(1, 53)));

		out[r] = lab_ok(l, &p);
		sent[r] = l->out[0];
	}
	for (unsigned r = 0; r < N_REALMS; r++) {
		lab_error(&sent[r], ROUTER, LAB_UNREACHABLE, LAB_CODE_PORT, 28, &error);
		assert_int_equal(lab_send_frame(l, &error), 1);
		assert_int_equal(l->seen[0].vlan, realms[r]);
		assert_true(lab_same(l->seen[0].quote.src, lab_host(1, 5000)));

		struct lab_packet back = lab_answer(&out[r]);

		lab_ok(l, &back);
		got = l->out[0];
		lab_error(&got, LAB_HOSTS + 1, LAB_UNREACHABLE, LAB_CODE_PORT, 28, &error);
		assert_int_equal(lab_send_frame(l, &error), 1);
		assert_int_equal(l->seen[0].side, SIDE_OUTSIDE);
		assert_int_equal(l->seen[0].vlan, 0);
		assert_int_equal(l->seen[0].src.address, out[r].src.address);
		assert_true(lab_same(l->seen[0].quote.dst, out[r].src));
	}
}

/* ---- fragments ---- */

/* The same datagram of all realms at once, identification and all: the last fragment first. */
static void fragments_do_not_mix(struct lab *l, bool first_comes_last)
{
	struct lab_frame whole[N_REALMS], part[N_REALMS][2], came[N_REALMS][2];
	unsigned n[N_REALMS] = {0};
	uint32_t nat[N_REALMS];
	struct lab_packet got;

	for (unsigned r = 0; r < N_REALMS; r++) {
		struct lab_packet p = in_realm(realms[r], lab_udp(lab_host(1, 5000), lab_server(1, 53)));

		p.payload = 100;
		nat[r] = lab_ok(l, &p).src.port;
		lab_build(&p, &whole[r]);
		assert_int_equal(lab_cut(&whole[r], 64, part[r], 2), 2);
	}
	for (unsigned step = 0; step < 2; step++)
		for (unsigned r = 0; r < N_REALMS; r++) {
			unsigned out = lab_send_frame(l, &part[r][first_comes_last ? 1 - step : step]);

			for (unsigned i = 0; i < out; i++)
				came[r][n[r]++] = l->out[i];
			out = lab_pass(l, 0.1); /* what waits is tried again */
			for (unsigned i = 0; i < out && n[r] < 2; i++)
				came[r][n[r]++] = l->out[i];
		}
	for (unsigned r = 0; r < N_REALMS; r++) {
		assert_int_equal(n[r], 2);
		assert_true(lab_join(came[r], 2, &whole[r]));
		assert_null(lab_read(&whole[r], &got));
		assert_int_equal(got.src.port, nat[r]);
		assert_int_equal(got.vlan, 0);
	}
}

static void test_fragments(struct lab *l)
{
	fragments_do_not_mix(l, false);
	lab_pass(l, 10);
	fragments_do_not_mix(l, true);
}

/* What comes in fragments from the outside gets its tag on each. */
static void test_fragments_inwards(struct lab *l)
{
	struct lab_packet out[N_REALMS];
	struct lab_frame whole, part[2];

	send_same(l, lab_udp(lab_host(1, 5000), lab_server(1, 53)), out);
	for (unsigned r = 0; r < N_REALMS; r++) {
		struct lab_packet back = lab_answer(&out[r]);

		back.payload = 100;
		back.id = (uint16_t)(7 + r);
		lab_build(&back, &whole);
		assert_int_equal(lab_cut(&whole, 64, part, 2), 2);
		for (unsigned i = 0; i < 2; i++) {
			assert_int_equal(lab_send_frame(l, &part[i]), 1);
			assert_int_equal(l->seen[0].vlan, realms[r]);
		}
	}
}

/* ---- next hops ---- */

static void set_router(struct lab *l, enum side side, uint16_t realm, enum adjacency_state state, uint16_t mtu)
{
	struct nexthop *nh = arena_region(l->arena, ARENA_nexthop);
	be32_t router = be32_of(side == SIDE_INSIDE ? 0xc0000202 : 0xc0000201); /* of pe/miniature.c */
	uint32_t i = nexthop_find(nh, side, realm, router);

	assert_int_not_equal(i, ADJACENCY_NONE);
	struct link_header link = nexthop_read(nh, i);

	link.state = state;
	link.mtu = mtu;
	nexthop_set_adjacency(nh, router, &link);
}

/* Only the router of one realm is silent; what is for it waits, and goes out with its tag. */
static void test_held_inwards(struct lab *l)
{
	struct lab_packet out[N_REALMS];

	send_same(l, lab_udp(lab_host(1, 5000), lab_server(1, 53)), out);
	set_router(l, SIDE_INSIDE, A, ADJACENCY_UNRESOLVED, 1500);
	for (unsigned r = 0; r < N_REALMS; r++) {
		struct lab_packet back = lab_answer(&out[r]);

		assert_int_equal(lab_send(l, &back), realms[r] != A);
	}
	set_router(l, SIDE_INSIDE, A, ADJACENCY_RESOLVED, 1500);
	assert_int_equal(lab_pass(l, 0.5), 1);
	assert_int_equal(l->seen[0].vlan, A);
}

/* What waits for the way out keeps its realm: for its session, or for the error. */
static void test_held_outwards(struct lab *l)
{
	struct lab_packet p = in_realm(A, lab_udp(lab_host(1, 5000), lab_server(1, 53)));

	set_router(l, SIDE_OUTSIDE, 0, ADJACENCY_UNRESOLVED, 1500);
	lab_none(l, &p);
	set_router(l, SIDE_OUTSIDE, 0, ADJACENCY_RESOLVED, 1500);
	assert_int_equal(lab_pass(l, 0.5), 1);
	assert_int_equal(l->seen[0].side, SIDE_OUTSIDE);
	struct lab_packet back = lab_answer(&l->seen[0]);
	assert_int_equal(lab_ok(l, &back).vlan, A);
	set_router(l, SIDE_OUTSIDE, 0, ADJACENCY_UNRESOLVED, 1500);
	lab_none(l, &p);
	assert_int_equal(lab_pass(l, 2), 1);
	assert_true(l->seen[0].error);
	assert_int_equal(l->seen[0].vlan, A);
	assert_int_equal(l->seen[0].dst.address, p.src.address);
	set_router(l, SIDE_OUTSIDE, 0, ADJACENCY_RESOLVED, 1500);
}

/* Each piece of a packet that is cut has the tag. */
static void test_cut(struct lab *l)
{
	struct lab_packet p = in_realm(B, lab_udp(lab_host(1, 5000), lab_server(1, 53))), out = lab_ok(l, &p), got;
	struct lab_packet back = lab_answer(&out);
	struct lab_frame whole;

	set_router(l, SIDE_INSIDE, B, ADJACENCY_RESOLVED, 600);
	back.payload = 1400;
	assert_int_equal(lab_send(l, &back), 3);
	assert_true(lab_join(l->out, 3, &whole));
	assert_null(lab_read(&whole, &got));
	assert_int_equal(whole.vlan, B);
	assert_true(lab_same(got.dst, p.src));
	set_router(l, SIDE_INSIDE, B, ADJACENCY_RESOLVED, 1500);
}

/* ---- what the configuration says ---- */

static void test_rules_by_realm(struct lab *l)
{
	for (unsigned r = 0; r < N_REALMS; r++) {
		struct lab_packet p = in_realm(realms[r], lab_udp(lab_host(1, 5000), lab_server(1, 53)));

		if (realms[r] == A)
			assert_int_equal(lab_refused(l, &p).code, LAB_CODE_HOST);
		else
			assert_int_equal(lab_ok(l, &p).src.address, LAB_POOL + (realms[r] == B ? 16 : 0));
	}
}

/* A realm's addresses mean nothing outside: only the untagged are exempt. */
static void test_bypass_is_for_the_untagged(struct lab *l)
{
	for (unsigned r = 0; r < N_REALMS; r++) {
		struct lab_packet p = in_realm(realms[r], lab_udp(lab_host(1, 5000), lab_server(1, 53)));
		struct lab_packet out = lab_ok(l, &p), back = lab_answer(&out);

		assert_int_equal(lab_same(out.src, p.src), realms[r] == 0);
		assert_int_equal(lab_ok(l, &back).vlan, realms[r]);
	}
}

static void test_statics_by_realm(struct lab *l)
{
	static const struct {
		uint16_t realm;
		struct lab_end nat;
	} rows[] = {{0, {LAB_POOL, 80}}, {A, {LAB_POOL, 81}}, {B, {LAB_POOL + 1, 8080}}};

	for (unsigned i = 0; i < 3; i++) {
		struct lab_packet p = lab_udp(lab_server(1, 99), rows[i].nat), in = lab_ok(l, &p), back;

		assert_int_equal(in.vlan, rows[i].realm);
		assert_true(lab_same(in.dst, lab_host(1, 8080)));
		back = lab_answer(&in);
		assert_true(lab_same(lab_ok(l, &back).src, rows[i].nat));
		p = in_realm(rows[i].realm, lab_udp(lab_host(1, 8080), lab_server(2, 53)));
		assert_true(lab_same(lab_ok(l, &p).src, rows[i].nat));
	}
}

int main(void)
{
	static const struct lab_test tests[] = {
		LAB_TEST(test_4787_7, .more = REALMS),
		LAB_TEST(test_strangers_reach_their_realm, .more = REALMS),
		LAB_TEST(test_hairpin_between_realms, .more = REALMS),
		LAB_TEST(test_prefixes_are_the_realms_own, .more = REALMS),
		LAB_TEST(test_odd_tags, .more = REALMS),
		LAB_TEST(test_own_errors, .more = REALMS),
		LAB_TEST(test_errors_that_pass, .more = REALMS),
		LAB_TEST(test_fragments, .more = REALMS),
		LAB_TEST(test_fragments_inwards, .more = REALMS),
		LAB_TEST(test_held_inwards, .more = REALMS),
		LAB_TEST(test_held_outwards, .more = REALMS),
		LAB_TEST(test_cut, .more = REALMS),
		LAB_TEST(test_rules_by_realm,
			.pools = "[{\"name\":\"one\",\"addresses\":[\"198.51.100.0\"]},"
				 "{\"name\":\"two\",\"addresses\":[\"198.51.100.16\"]}]",
			.more = REALMS ",\"rules\":[{\"realm\":\"a\",\"action\":\"drop\"},{\"realm\":\"untagged\"},"
				       "{\"realm\":\"any\",\"pool\":\"two\"}]"),
		LAB_TEST(test_bypass_is_for_the_untagged, .bypass = true,
			.more = REALMS ",\"rules\":[{\"action\":\"bypass\"}]"),
		LAB_TEST(test_statics_by_realm, .more = REALMS
						",\"static\":["
						"{\"protocol\":\"udp\",\"inside\":\"100.64.0.1\",\"inside_port\":8080,"
						"\"nat\":\"198.51.100.0\",\"nat_port\":80},"
						"{\"protocol\":\"udp\",\"realm\":\"a\",\"inside\":\"100.64.0.1\","
						"\"inside_port\":8080,\"nat\":\"198.51.100.0\",\"nat_port\":81},"
						"{\"protocol\":\"any\",\"realm\":\"b\",\"inside\":\"100.64.0.1\","
						"\"nat\":\"198.51.100.1\"}]"),
	};

	return LAB_TESTS(tests);
}
