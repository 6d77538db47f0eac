/* flow: the parser against one that reads a byte at a time, on frames cut and damaged anywhere. */
#include "pe/flow.h"
#include "tests/unit/rnd.h"

#include <stdlib.h>
#include <string.h>

enum { ETH = 14, FRAME = 160, VLANS = 4096 };

/* ---- the naive parser ---- */

struct seen {
	enum verdict verdict;
	uint32_t src, dst;
	unsigned sport, dport, l4, l4_at, size, tcp;
};

static unsigned word(const uint8_t *b, unsigned at)
{
	return (unsigned)b[at] << 8 | b[at + 1];
}

static uint32_t address(const uint8_t *b, unsigned at)
{
	return (uint32_t)word(b, at) << 16 | word(b, at + 2);
}

static unsigned tcp_bits(unsigned flags, bool out)
{
	if (flags & 4)
		return TCP_RST;
	if (flags & 2)
		return out ? TCP_OUT_SYN : TCP_IN_SYN;
	return (out ? TCP_OUT_DATA : TCP_IN_DATA) | ((flags & 1) ? (out ? TCP_OUT_FIN : TCP_IN_FIN) : 0u);
}

/* From the transport header on. */
static enum verdict model_l4(struct seen *s, const uint8_t *b, unsigned protocol, bool out)
{
	unsigned at = s->l4_at, need = protocol == 6 ? 20 : 8;

	if (protocol != 1 && protocol != 6 && protocol != 17) { /* its number stands where ports do */
		s->l4 = L4_OTHER;
		s->sport = out ? protocol : 0;
		s->dport = out ? 0 : protocol;
		return N_VERDICTS;
	}
	s->l4 = protocol == 6 ? L4_TCP : protocol == 17 ? L4_UDP : L4_ICMP;
	if (at + need > ETH + s->size)
		return VERDICT_drop_short_l4;
	if (protocol != 1) {
		s->sport = word(b, at);
		s->dport = word(b, at + 2);
		s->tcp = protocol == 6 ? tcp_bits(b[at + 13], out) : 0;
		return N_VERDICTS;
	}
	if (b[at] != 8 && b[at] != 0)
		return VERDICT_drop_icmp_type;
	s->sport = b[at] == 8 ? word(b, at + 4) : 0; /* the identifier is who asked's */
	s->dport = b[at] == 8 ? 0 : word(b, at + 4);
	return N_VERDICTS;
}

static enum verdict model(struct seen *s, const uint8_t *b, unsigned len, bool out)
{
	if (len < ETH || word(b, 12) != 0x0800)
		return VERDICT_drop_not_ipv4;
	if (len < ETH + 20 || b[14] >> 4 != 4)
		return VERDICT_drop_short_l3;
	unsigned header = (b[14] & 15u) * 4;
	s->size = word(b, 16);
	s->l4_at = ETH + header;
	if (header < 20 || s->size < header || ETH + s->size > len)
		return VERDICT_drop_short_l3;
	if (word(b, 20) & 0x3fff)
		return VERDICT_drop_fragment;
	if (b[22] < 2)
		return VERDICT_drop_ttl;
	s->src = address(b, 26);
	s->dst = address(b, 30);
	return model_l4(s, b, b[23], out);
}

/* ---- comparing ---- */

static bool is_simple(const uint8_t *b, uint32_t len)
{
	return len >= ETH + 40 && b[14] == 0x45 && (b[23] == 17 || (b[23] == 6 && !(b[47] & 7)));
}

/* The short way says what the long one said, of all that is simple and of nothing else. */
static void compare_plain(uint64_t seed, uint64_t step, const struct packet *p, const struct flow *got)
{
	enum dir dir = p->side == SIDE_INSIDE ? DIR_OUTBOUND : DIR_INBOUND;
	struct flow f;

	memset(&f, 0xa5, sizeof f);
	CHECK_AT(seed, step, flow_parse_plain(&f, p, flow_plain[dir], dir) == (got && is_simple(p->data, p->len)));
	if (!got || !is_simple(p->data, p->len))
		return;
	CHECK_AT(seed, step, f.plain && !got->plain && flow_key_equal(f.key, got->key));
	CHECK_AT(seed, step, f.l4_at == got->l4_at && f.size == got->size);
	CHECK_AT(seed, step, f.l4 == got->l4 && f.protocol == got->protocol && f.dir == got->dir);
	CHECK_AT(seed, step, f.tcp == got->tcp && f.port_at == got->port_at && f.opens == got->opens);
}

static void compare(uint64_t seed, uint64_t step, const uint8_t *frame, uint32_t len, enum side side)
{
	uint8_t *exact = malloc(len ? len : 1); /* so that a sanitizer sees the end */
	struct seen want = {0};
	struct flow got;

	memset(&got, 0xa5, sizeof got);
	assert_non_null(exact);
	memcpy(exact, frame, len);
	struct packet p = {.data = exact,
		.len = len,
		.side = (uint8_t)side,
		.vlan = side == SIDE_INSIDE && seed % 2 ? (uint16_t)(seed % VLANS) : 0};
	want.verdict = model(&want, exact, len, side == SIDE_INSIDE);
	CHECK_AT(seed, step, flow_parse(&got, &p) == want.verdict);
	CHECK_AT(seed, step, memcmp(exact, frame, len) == 0);
	compare_plain(seed, step, &p, want.verdict == N_VERDICTS ? &got : NULL);
	free(exact);
	if (want.verdict != N_VERDICTS)
		return;
	be32_t addresses[2] = {be32_of(want.src), be32_of(want.dst)};
	be16_t ports[2] = {be16_of((uint16_t)want.sport), be16_of((uint16_t)want.dport)};
	enum dir dir = side == SIDE_INSIDE ? DIR_OUTBOUND : DIR_INBOUND;
	CHECK_AT(seed, step, flow_key_equal(got.key, flow_key_of(addresses, ports, p.vlan, want.l4, dir)));
	CHECK_AT(seed, step, got.dir == dir && got.l4 == want.l4 && got.l4_at == want.l4_at);
	CHECK_AT(seed, step, got.size == want.size && got.tcp == want.tcp);
}

/* A frame that parses: any protocol, options, flags, padding behind the packet. */
static uint32_t random_frame(struct rnd *r, uint8_t *b, enum side side)
{
	static const uint8_t protocols[] = {1, 6, 17};
	unsigned header = 20 + 4 * (rnd_one_in(r, 3) ? rnd_below(r, 11) : 0);
	unsigned size = header + 20 + rnd_below(r, FRAME - ETH - 60 - 20 - 8);

	for (unsigned i = 0; i < FRAME; i++)
		b[i] = (uint8_t)rnd_next(r);
	b[12] = 8;
	b[13] = 0;
	b[14] = (uint8_t)(0x40 | header / 4);
	b[16] = 0;
	b[17] = (uint8_t)size;
	b[20] &= 0xc0; /* neither fragment nor offset; the other two bits are nobody's business */
	b[21] = 0;
	b[22] = (uint8_t)(2 + rnd_below(r, 254));
	b[23] = protocols[rnd_below(r, 3)];
	if (b[23] == 1)
		b[ETH + header] = side == SIDE_INSIDE ? 8 : 0;
	return ETH + size + rnd_below(r, 9);
}

static void test_whole_frames(void **state)
{
	for (uint64_t seed = 1; seed <= 20000; seed++) {
		struct rnd r = {seed};
		uint8_t b[FRAME];
		enum side side = rnd_below(&r, N_SIDES);
		uint32_t len = random_frame(&r, b, side);
		struct packet p = {.data = b, .len = len, .side = (uint8_t)side};
		struct flow f;

		CHECK_AT(seed, len, flow_parse(&f, &p) == N_VERDICTS);
		compare(seed, len, b, len, side);
	}
}

static void test_cut_anywhere(void **state)
{
	for (uint64_t seed = 1; seed <= 300; seed++) {
		struct rnd r = {seed};
		uint8_t b[FRAME];
		enum side side = rnd_below(&r, N_SIDES);
		uint32_t len = random_frame(&r, b, side);

		for (uint32_t cut = 0; cut <= len; cut++)
			compare(seed, cut, b, cut, side);
	}
}

/* Every value of every byte of the headers. */
static void test_damaged_anywhere(void **state)
{
	for (uint64_t seed = 1; seed <= 12; seed++) {
		struct rnd r = {seed};
		uint8_t b[FRAME];
		enum side side = rnd_below(&r, N_SIDES);
		uint32_t len = random_frame(&r, b, side);

		for (unsigned at = 12; at < ETH + 60; at++) {
			uint8_t was = b[at];

			for (unsigned v = 0; v < 256; v++) {
				b[at] = (uint8_t)v;
				compare(seed, at << 8 | v, b, len, side);
			}
			b[at] = was;
		}
	}
}

static void test_noise(void **state)
{
	uint8_t b[FRAME];

	for (uint64_t seed = 1; seed <= 20000; seed++) {
		struct rnd r = {seed};

		for (unsigned i = 0; i < FRAME; i++)
			b[i] = (uint8_t)rnd_next(&r);
		if (rnd_one_in(&r, 2)) {
			b[12] = 8;
			b[13] = 0;
			b[14] = 0x45;
			b[16] = 0;
		}
		compare(seed, 0, b, rnd_below(&r, FRAME + 1), rnd_below(&r, N_SIDES));
	}
}

/* What an inbound packet is looked up by is what its outbound packets' session has. */
static void test_reply_finds_its_session(void **state)
{
	static const uint8_t udp[] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0,
		0, 203, 0, 113, 2, 198, 51, 100, 1, 0, 53, 4, 1, 0, 8, 0, 0};
	uint8_t b[sizeof udp];
	struct packet p = {.data = b, .len = sizeof b, .side = SIDE_OUTSIDE};
	struct session s = {.remote = be32_of(0xcb007102u),
		.nat = be32_of(0xc6336401u),
		.remote_port = be16_of(53),
		.nat_port = be16_of(1025),
		.l4 = L4_UDP};
	struct flow f;

	memcpy(b, udp, sizeof b);
	assert_int_equal(flow_parse(&f, &p), N_VERDICTS);
	assert_true(flow_key_equal(f.key, session_key(&s, DIR_INBOUND)));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_whole_frames),
		cmocka_unit_test(test_cut_anywhere),
		cmocka_unit_test(test_damaged_anywhere),
		cmocka_unit_test(test_noise),
		cmocka_unit_test(test_reply_finds_its_session),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
