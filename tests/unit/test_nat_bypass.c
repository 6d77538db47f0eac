/* Rules that exempt from translation, both ways, and the MSS of what passes: whole packets through the NAT core. */
#include "pe/miniature.h"
#include "pe/nat.h"
#include "tests/unit/wire.h"

#include <stdlib.h>

static const char document[] =
	"{\"arena\":{\"name\":\"/test-bypass\",\"engines\":1,\"sessions\":65536},"
	"\"inside\":{\"interface\":\"in\",\"prefixes\":[\"100.64.0.0/16\",\"10.1.0.0/16\"]},"
	"\"outside\":{\"interface\":\"out\"},"
	"\"pools\":[{\"name\":\"main\",\"addresses\":[\"198.51.100.0/31\"]}],"
	"\"nat\":{\"mss_clamp\":1200},"
	"\"rules\":["
	"{\"name\":\"cache\",\"inside\":[\"100.64.0.0/24\"],\"destination\":[\"203.0.113.64/"
	"26\"],\"action\":\"bypass\"},"
	"{\"name\":\"proxy\",\"inside\":[\"100.64.0.0/24\"],\"protocol\":\"tcp\",\"destination\":[\"203.0.113.8/32\"],"
	"\"port_first\":8080,\"port_last\":8081,\"action\":\"bypass\"},"
	"{\"name\":\"routed\",\"inside\":[\"10.0.0.0/8\"],\"action\":\"bypass\"}],"
	"\"static\":[{\"protocol\":\"any\",\"inside\":\"100.64.0.9\",\"nat\":\"198.51.100.1\"}]}";

#define SUB 0x64400002u   /* 100.64.0.2 */
#define FIXED 0x64400009u /* 100.64.0.9, mapped 1:1 */
#define OTHER 0x64400102u /* 100.64.1.2, of whom no rule speaks */
#define ROUTED 0x0a010203u
#define CACHE 0xcb007140u /* 203.0.113.64 */
#define PROXY 0xcb007108u
#define WEB 0xcb007102u

enum { ROOM = 2048, IP = ETH, L4 = ETH + 20, PROTO_GRE = 47 };

struct box {
	struct arena *arena;
	struct nat *nat;
	mono_t now;
	uint8_t bytes[ROOM], before[ROOM];
	struct packet packet;
};

static int set_up(void **state)
{
	struct box *b = calloc(1, sizeof *b);
	struct config *c = calloc(1, sizeof *c);
	struct config_error err;

	assert_true(b && c);
	if (!config_parse(c, document, strlen(document), &err))
		fail_msg("%s", err.text);
	b->arena = miniature_open(c, 1);
	b->nat = calloc(1, sizeof *b->nat);
	assert_true(b->arena && b->nat);
	b->now = (mono_t){span_s(1000).ns};
	nat_init(b->nat, b->arena, 0, 1, b->now);
	nat_configure(b->nat);
	nat_load_routes(b->nat);
	free(c);
	*state = b;
	return 0;
}

static int tear_down(void **state)
{
	struct box *b = *state;

	arena_close(b->arena);
	free(b->nat);
	free(b);
	return 0;
}

/* ---- packets ---- */

struct ends {
	uint32_t src, dst;
	uint16_t sport, dport;
};

static struct ends back(struct ends e)
{
	return (struct ends){e.dst, e.src, e.dport, e.sport};
}

static void finish(struct box *b, enum side side, unsigned size)
{
	eth_header_put(b->bytes);
	b->packet = (struct packet){.data = b->bytes, .len = ETH + size, .side = (uint8_t)side};
	memcpy(b->before, b->bytes, ROOM);
}

/* A segment with a timestamp-like option at an odd place and an MSS of 1460. */
static void make_tcp(struct box *b, enum side side, struct ends e, uint8_t flags)
{
	static const uint8_t options[8] = {1, 2, 4, 1460 >> 8, 1460 & 0xff, 1, 1, 0};
	unsigned size = 20 + 20 + sizeof options + 100;
	uint8_t *tcp = b->bytes + L4;

	memset(b->bytes, 0x5a, sizeof b->bytes);
	ip_header(b->bytes + IP, 20, size, PROTO_TCP, e.src, e.dst);
	put16(tcp, e.sport);
	put16(tcp + 2, e.dport);
	tcp[12] = (20 + sizeof options) / 4 << 4;
	tcp[13] = flags;
	memcpy(tcp + 20, options, sizeof options);
	naive_put(tcp + 16, tcp, size - 20, naive_pseudo(b->bytes + IP, size - 20));
	finish(b, side, size);
}

static void make_udp(struct box *b, enum side side, struct ends e, unsigned size)
{
	uint8_t *udp = b->bytes + L4;

	memset(b->bytes, 0x5a, sizeof b->bytes);
	ip_header(b->bytes + IP, 20, size, PROTO_UDP, e.src, e.dst);
	put16(udp, e.sport);
	put16(udp + 2, e.dport);
	put16(udp + 4, size - 20);
	naive_put(udp + 6, udp, size - 20, naive_pseudo(b->bytes + IP, size - 20));
	finish(b, side, size);
}

/* Fragment `n` of a UDP datagram; the first one has the ports. */
static void make_fragment(struct box *b, enum side side, struct ends e, unsigned n)
{
	enum { SIZE = 20 + 64 };

	make_udp(b, side, e, SIZE);
	put16(b->bytes + IP + 4, 0x4711);
	put16(b->bytes + IP + 6, IP4_MF | n * 8);
	ip_checksum(b->bytes + IP);
	finish(b, side, SIZE);
}

/* An error from `e.src` to `e.dst` about a UDP packet. */
static void make_error(struct box *b, enum side side, struct ends e, struct ends about)
{
	enum { SIZE = 20 + 8 + 28 };
	uint8_t quoted[28], *icmp = b->bytes + L4;

	make_udp(b, side, about, sizeof quoted);
	memcpy(quoted, b->bytes + IP, sizeof quoted);
	ip_header(b->bytes + IP, 20, SIZE, PROTO_ICMP, e.src, e.dst);
	memset(icmp, 0, 8);
	icmp[0] = ICMP_TYPE_UNREACHABLE;
	icmp[1] = 3;
	memcpy(icmp + 8, quoted, sizeof quoted);
	naive_put(icmp + 2, icmp, SIZE - 20, 0);
	finish(b, side, SIZE);
}

/* ---- what becomes of them ---- */

static enum verdict pass(struct box *b)
{
	nat_burst(b->nat, &b->packet, 1, b->now);
	return b->packet.verdict;
}

static void assert_sums(const struct box *b)
{
	const uint8_t *ip = b->bytes + IP;
	unsigned size = get16(ip + 2) - 20;

	assert_int_equal(naive_sum(ip, 20, 0), 0xffff);
	if (ip[9] != PROTO_ICMP)
		assert_int_equal(naive_sum(ip + 20, size, naive_pseudo(ip, size)), 0xffff);
}

/* The TTL, the header checksum, and the Ethernet addresses are all that changed. */
static void assert_untouched(const struct box *b, enum side out)
{
	uint8_t want[ROOM];

	assert_true(b->packet.forward);
	assert_int_equal(b->packet.out, out);
	memcpy(want, b->before, ROOM);
	memcpy(want, b->bytes, 12);
	want[IP + 8]--;
	ip_checksum(want + IP);
	assert_memory_equal(want, b->bytes, ROOM);
}

static void assert_no_session(const struct box *b)
{
	assert_int_equal(b->nat->actor->slab[SLAB_session].used, 0);
	assert_int_equal(counter_get(&b->nat->actor->counters[COUNTER_sessions_created]), 0);
}

static void test_both_ways_without_a_session(void **state)
{
	struct box *b = *state;
	const struct ends e = {SUB, CACHE, 5000, 53};

	make_udp(b, SIDE_INSIDE, e, 100);
	assert_int_equal(pass(b), VERDICT_fwd_out_bypass);
	assert_untouched(b, SIDE_OUTSIDE);
	make_udp(b, SIDE_OUTSIDE, back(e), 100);
	assert_int_equal(pass(b), VERDICT_fwd_in_bypass);
	assert_untouched(b, SIDE_INSIDE);
	/* No state: also what opens nothing, from either side, and protocols without ports. */
	make_tcp(b, SIDE_INSIDE, e, TCP_FLAG_RST);
	assert_int_equal(pass(b), VERDICT_fwd_out_bypass);
	assert_untouched(b, SIDE_OUTSIDE);
	make_tcp(b, SIDE_OUTSIDE, back(e), TCP_FLAG_ACK);
	assert_int_equal(pass(b), VERDICT_fwd_in_bypass);
	make_udp(b, SIDE_OUTSIDE, back(e), 100);
	b->bytes[IP + 9] = PROTO_GRE;
	ip_checksum(b->bytes + IP);
	finish(b, SIDE_OUTSIDE, 100);
	assert_int_equal(pass(b), VERDICT_fwd_in_bypass);
	assert_untouched(b, SIDE_INSIDE);
	assert_no_session(b);
}

static void test_what_does_not_match_is_as_ever(void **state)
{
	struct box *b = *state;
	const struct ends e = {SUB, WEB, 5000, 80}, other = {OTHER, CACHE, 5000, 80};

	make_tcp(b, SIDE_OUTSIDE, back(e), TCP_FLAG_SYN); /* refused at once: it is for no NAT address */
	assert_int_equal(pass(b), VERDICT_drop_no_session);
	assert_false(b->packet.forward);
	make_udp(b, SIDE_OUTSIDE, back(other), 100);
	assert_int_equal(pass(b), VERDICT_drop_no_session);
	assert_no_session(b);
	make_tcp(b, SIDE_INSIDE, e, TCP_FLAG_SYN);
	assert_int_equal(pass(b), VERDICT_fwd_out_new);
	make_tcp(b, SIDE_INSIDE, other, TCP_FLAG_SYN);
	assert_int_equal(pass(b), VERDICT_fwd_out_new);
	assert_int_equal(get32(b->bytes + IP + 12) & ~1u, 0xc6336400);
}

static void test_ports_are_the_remotes(void **state)
{
	struct box *b = *state;

	make_tcp(b, SIDE_INSIDE, (struct ends){SUB, PROXY, 80, 8080}, TCP_FLAG_ACK);
	assert_int_equal(pass(b), VERDICT_fwd_out_bypass);
	make_tcp(b, SIDE_OUTSIDE, (struct ends){PROXY, SUB, 8081, 80}, TCP_FLAG_ACK);
	assert_int_equal(pass(b), VERDICT_fwd_in_bypass);
	make_tcp(b, SIDE_OUTSIDE, (struct ends){PROXY, SUB, 80, 8080}, TCP_FLAG_ACK);
	assert_int_equal(pass(b), VERDICT_drop_no_session);
	make_udp(b, SIDE_OUTSIDE, (struct ends){PROXY, SUB, 8080, 80}, 100);
	assert_int_equal(pass(b), VERDICT_drop_no_session);
	assert_no_session(b);
	make_udp(b, SIDE_INSIDE, (struct ends){SUB, PROXY, 80, 8080}, 100);
	assert_int_equal(pass(b), VERDICT_fwd_out_new);
}

static void test_static_and_hairpin_go_first(void **state)
{
	struct box *b = *state;

	make_udp(b, SIDE_INSIDE, (struct ends){FIXED, CACHE, 5000, 53}, 100);
	assert_int_equal(pass(b), VERDICT_fwd_out_new);
	assert_int_equal(get32(b->bytes + IP + 12), 0xc6336401);
	make_udp(b, SIDE_OUTSIDE, (struct ends){CACHE, FIXED, 53, 5000}, 100);
	assert_int_equal(pass(b), VERDICT_drop_no_session);
	make_udp(b, SIDE_INSIDE, (struct ends){ROUTED, 0xc6336401, 5000, 53}, 100);
	assert_int_equal(pass(b), VERDICT_fwd_hairpin);
	assert_int_equal(get32(b->bytes + IP + 16), FIXED);
	make_udp(b, SIDE_INSIDE, (struct ends){ROUTED, WEB, 5000, 53}, 100);
	assert_int_equal(pass(b), VERDICT_fwd_out_bypass);
}

static void test_ttl_and_mtu(void **state)
{
	struct box *b = *state;
	const struct ends e = {SUB, CACHE, 5000, 53};

	make_udp(b, SIDE_INSIDE, e, 100);
	b->bytes[IP + 8] = 1;
	ip_checksum(b->bytes + IP);
	assert_int_equal(pass(b), VERDICT_drop_ttl);
	make_udp(b, SIDE_OUTSIDE, back(e), 1600);
	assert_int_equal(pass(b), VERDICT_fwd_in_bypass);
	assert_int_equal(b->packet.mtu, 1500); /* cut on its way out */
	make_udp(b, SIDE_OUTSIDE, back(e), 1600);
	put16(b->bytes + IP + 6, IP4_DF);
	ip_checksum(b->bytes + IP);
	assert_int_equal(pass(b), VERDICT_drop_too_big);
	assert_int_equal(b->bytes[L4], ICMP_TYPE_UNREACHABLE);
	assert_int_equal(b->packet.out, SIDE_OUTSIDE);
	make_udp(b, SIDE_INSIDE, (struct ends){SUB, CACHE, 5000, 53}, 100);
	assert_int_equal(pass(b), VERDICT_fwd_out_bypass);
	assert_no_session(b);
}

static void test_fragments(void **state)
{
	struct box *b = *state;
	const struct ends e = {SUB, CACHE, 5000, 53};

	make_fragment(b, SIDE_OUTSIDE, back(e), 1);
	assert_int_equal(pass(b), VERDICT_held_fragment);
	for (unsigned n = 0; n < 3; n++) {
		make_fragment(b, SIDE_OUTSIDE, back(e), n);
		assert_int_equal(pass(b), VERDICT_fwd_in_bypass);
		assert_untouched(b, SIDE_INSIDE);
		make_fragment(b, SIDE_INSIDE, e, n);
		assert_int_equal(pass(b), VERDICT_fwd_out_bypass);
		assert_untouched(b, SIDE_OUTSIDE);
	}
	make_fragment(b, SIDE_OUTSIDE, (struct ends){WEB, SUB, 53, 5000}, 0);
	assert_int_equal(pass(b), VERDICT_drop_no_session);
	assert_no_session(b);
}

static void test_errors(void **state)
{
	struct box *b = *state;
	const struct ends e = {SUB, CACHE, 5000, 53}, router = {WEB, SUB, 0, 0};

	make_error(b, SIDE_INSIDE, e, back(e));
	assert_int_equal(pass(b), VERDICT_fwd_out_bypass);
	assert_untouched(b, SIDE_OUTSIDE);
	make_error(b, SIDE_OUTSIDE, router, e);
	assert_int_equal(pass(b), VERDICT_fwd_in_bypass);
	assert_untouched(b, SIDE_INSIDE);
	/* Whoever quotes an exempt flow of another's, or sends its error elsewhere, is not exempt. */
	make_error(b, SIDE_INSIDE, (struct ends){OTHER, CACHE, 0, 0}, back(e));
	assert_int_equal(pass(b), VERDICT_drop_no_session);
	make_error(b, SIDE_INSIDE, (struct ends){SUB, WEB, 0, 0}, back(e));
	assert_int_not_equal(pass(b), VERDICT_fwd_out_bypass);
	assert_false(b->packet.forward);
	make_error(b, SIDE_OUTSIDE, (struct ends){WEB, OTHER, 0, 0}, e);
	assert_int_not_equal(pass(b), VERDICT_fwd_in_bypass);
	assert_false(b->packet.forward);
	assert_no_session(b);
}

/* ---- the MSS ---- */

static unsigned mss_of(const struct box *b)
{
	return get16(b->bytes + L4 + 23);
}

static void test_mss_of_what_is_translated(void **state)
{
	struct box *b = *state;
	struct ends e = {SUB, WEB, 5000, 80};

	make_tcp(b, SIDE_INSIDE, e, TCP_FLAG_SYN);
	assert_int_equal(pass(b), VERDICT_fwd_out_new);
	assert_int_equal(mss_of(b), 1200);
	assert_sums(b);
	struct ends reply = {WEB, get32(b->bytes + IP + 12), 80, (uint16_t)get16(b->bytes + L4)};
	make_tcp(b, SIDE_OUTSIDE, reply, TCP_FLAG_SYN | TCP_FLAG_ACK);
	assert_int_equal(pass(b), VERDICT_fwd_in_hit);
	assert_int_equal(mss_of(b), 1200);
	assert_sums(b);
	make_tcp(b, SIDE_INSIDE, e, TCP_FLAG_ACK); /* an option of no meaning there */
	assert_int_equal(pass(b), VERDICT_fwd_out_hit);
	assert_int_equal(mss_of(b), 1460);
	assert_sums(b);
	b->nat->config.mss_clamp = 1461;
	make_tcp(b, SIDE_INSIDE, e, TCP_FLAG_SYN);
	assert_int_equal(pass(b), VERDICT_fwd_out_hit);
	assert_int_equal(mss_of(b), 1460);
	b->nat->config.mss_clamp = 0;
	make_tcp(b, SIDE_INSIDE, e, TCP_FLAG_SYN);
	assert_int_equal(pass(b), VERDICT_fwd_out_hit);
	assert_int_equal(mss_of(b), 1460);
	assert_sums(b);
}

static void test_mss_of_what_is_not(void **state)
{
	struct box *b = *state;
	const struct ends e = {SUB, CACHE, 5000, 80};

	make_tcp(b, SIDE_INSIDE, e, TCP_FLAG_SYN);
	assert_int_equal(pass(b), VERDICT_fwd_out_bypass);
	assert_int_equal(mss_of(b), 1200);
	assert_sums(b);
	make_tcp(b, SIDE_OUTSIDE, back(e), TCP_FLAG_SYN | TCP_FLAG_ACK);
	assert_int_equal(pass(b), VERDICT_fwd_in_bypass);
	assert_int_equal(mss_of(b), 1200);
	assert_sums(b);
}

/* A SYN that is turned round and refused at the other end is as it came: the MSS too. */
static void test_mss_of_a_refused_hairpin(void **state)
{
	struct box *b = *state;

	make_tcp(b, SIDE_INSIDE, (struct ends){SUB, 0xc6336400, 5000, 80}, TCP_FLAG_SYN);
	assert_int_equal(pass(b), VERDICT_drop_no_session);
	assert_memory_equal(b->bytes, b->before, ROOM);
}

/* ---- what the XDP program is told ---- */

static void test_prefixes(void **state)
{
	struct box *b = *state;
	struct snapshot_prefix p[NAT_BYPASS_PREFIXES];
	unsigned n = nat_bypass_prefixes(b->nat, p), wide = 0, narrow = 0;

	for (unsigned i = 0; i < n; i++) {
		wide += p[i].addr == 0x0a010000 && p[i].len == 16; /* the rule says 10.0.0.0/8 */
		narrow += p[i].addr == 0x64400000 && p[i].len == 24;
	}
	assert_int_equal(wide, 1);
	assert_int_equal(narrow, 2); /* two rules */
	assert_int_equal(n, 3);
	b->nat->config.rules[0].inside_mask = b->nat->config.rules[0].inside = 0; /* anybody */
	assert_int_equal(nat_bypass_prefixes(b->nat, p), 2);
	assert_true(p[0].len == 16 && p[1].len == 16);
	for (uint32_t r = 0; r < b->nat->config.n_rules; r++)
		b->nat->config.rules[r].action = ACTION_DROP;
	assert_int_equal(nat_bypass_prefixes(b->nat, p), 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(test_both_ways_without_a_session),
		TEST(test_what_does_not_match_is_as_ever),
		TEST(test_ports_are_the_remotes),
		TEST(test_static_and_hairpin_go_first),
		TEST(test_ttl_and_mtu),
		TEST(test_fragments),
		TEST(test_errors),
		TEST(test_mss_of_what_is_translated),
		TEST(test_mss_of_what_is_not),
		TEST(test_mss_of_a_refused_hairpin),
		TEST(test_prefixes),
	};

	return cmocka_run_group_tests_name("nat_bypass", tests, NULL, NULL);
}
