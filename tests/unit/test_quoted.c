/* quoted: errors that quote packets of every kind against ones put together byte by byte, before and after. */
#include "pe/quoted.h"
#include "tests/unit/wire.h"

#include <stdlib.h>

enum { ROOM = 2048, MESSAGE_MAX = 1500, INNER_MAX = 600 };

/* What an error is made of. */
struct plan {
	enum side side;
	uint8_t type, code, protocol, echo;
	uint32_t router, back; /* the error's own addresses */
	uint32_t src, dst;     /* the quoted packet's */
	unsigned sport, dport; /* sport is the identifier of an echo */
	unsigned outer_header, inner_header, inner_size, quoted;
	unsigned extension; /* bytes behind the quote, which is then padded to words and its length said */
	unsigned flags;     /* the quoted packet's fragment word */
	bool no_sum;        /* UDP without a checksum */
};

static const uint8_t types[] = {3, 4, 11, 12};

/* ---- by bytes ---- */

/* The whole of the packet that is quoted, checksums right. `filler` makes its payload. */
static void inner_packet(const struct plan *m, const uint8_t *filler, uint8_t *ip)
{
	uint8_t *l4 = ip + m->inner_header;
	unsigned size = m->inner_size - m->inner_header;
	bool udp = m->protocol == 17, tcp = m->protocol == 6;

	ip_header(ip, m->inner_header, m->inner_size, m->protocol, m->src, m->dst);
	put16(ip + 4, get16(filler));
	put16(ip + 6, m->flags);
	ip_checksum(ip);
	memcpy(l4, filler, size);
	if (m->flags & 0x1fff)
		return;
	if (tcp || udp) {
		put16(l4, m->sport);
		put16(l4 + 2, m->dport);
		naive_put(l4 + (udp ? 6 : 16), l4, size, naive_pseudo(ip, size));
		if (udp && m->no_sum)
			put16(l4 + 6, 0);
		else if (udp && get16(l4 + 6) == 0)
			put16(l4 + 6, 0xffff);
	} else if (m->protocol == 1) {
		l4[0] = m->echo;
		put16(l4 + 4, m->echo == 8 ? m->sport : m->dport);
		naive_put(l4 + 2, l4, size, 0);
	}
}

/* The frame; its length. */
static uint32_t frame_of(const struct plan *m, const uint8_t *filler, uint8_t *b)
{
	uint8_t inner[INNER_MAX], *ip = b + ETH, *icmp = ip + m->outer_header;
	unsigned words = m->extension ? (m->quoted + 3) / 4 : 0;
	unsigned size = 8 + (words ? words * 4 : m->quoted) + m->extension;

	eth_header_put(b);
	ip_header(ip, m->outer_header, m->outer_header + size, 1, m->router, m->back);
	inner_packet(m, filler, inner);
	memset(icmp, 0, size);
	icmp[0] = m->type;
	icmp[1] = m->code;
	icmp[5] = (uint8_t)words;
	memcpy(icmp + 8, inner, m->quoted);
	memset(icmp + size - m->extension, 0x5a, m->extension);
	naive_put(icmp + 2, icmp, size, 0);
	return ETH + m->outer_header + size;
}

static unsigned least_l4(uint8_t protocol)
{
	return protocol == 6 ? 20 : 8;
}

static struct plan random_plan(struct rnd *r)
{
	static const uint8_t protocols[] = {1, 6, 17, 17, 47};
	struct plan m = {
		.side = rnd_below(r, 2),
		.type = types[rnd_below(r, 4)],
		.code = (uint8_t)rnd_below(r, 16),
		.protocol = protocols[rnd_below(r, 5)],
		.echo = rnd_one_in(r, 2) ? 8 : 0,
		.router = (uint32_t)rnd_next(r),
		.back = (uint32_t)rnd_next(r),
		.src = (uint32_t)rnd_next(r),
		.dst = (uint32_t)rnd_next(r),
		.sport = rnd_below(r, 65536),
		.dport = rnd_below(r, 65536),
		.outer_header = 20 + 4 * (rnd_one_in(r, 3) ? rnd_below(r, 11) : 0),
		.inner_header = 20 + 4 * (rnd_one_in(r, 2) ? rnd_below(r, 11) : 0),
		.no_sum = rnd_one_in(r, 4),
		.flags = rnd_one_in(r, 6) ? rnd_below(r, 65536) : rnd_below(r, 4) << 13,
	};
	unsigned least = m.inner_header + least_l4(m.protocol);

	m.inner_size = least + rnd_below(r, INNER_MAX - least + 1);
	m.quoted = m.inner_header + 8 + rnd_below(r, m.inner_size - m.inner_header - 8 + 1);
	if (m.type != 4 && rnd_one_in(r, 3))
		m.extension = 4 + rnd_below(r, 60);
	if (m.extension && m.quoted < m.inner_size)
		m.quoted &= ~3u; /* routers cut there; padding could not be told from the packet */
	return m;
}

/* ---- reading ---- */

static enum l4 l4_expected(uint8_t protocol)
{
	return protocol == 6 ? L4_TCP : protocol == 17 ? L4_UDP : protocol == 1 ? L4_ICMP : L4_OTHER;
}

/* The key of the session that the quoted packet belongs to, as its owner would make it. */
static struct flow_key key_expected(const struct plan *m, bool ports)
{
	bool outside = m->side == SIDE_OUTSIDE;
	struct session s = {.l4 = (uint8_t)l4_expected(m->protocol)};
	unsigned sport = ports ? m->sport : 0, dport = ports ? m->dport : 0; /* none of GRE's */

	if (m->protocol == 1) /* the identifier belongs to who asked */
		*(m->echo == 8 ? &dport : &sport) = 0;
	unsigned ours = outside ? sport : dport, theirs = outside ? dport : sport;

	if (m->protocol == 47) /* no ports: the number at our end */
		ours = 47;
	s.remote = be32_of(outside ? m->dst : m->src);
	s.remote_port = be16_of((uint16_t)theirs);
	s.nat = s.inside = be32_of(outside ? m->src : m->dst);
	s.nat_port = s.inside_port = be16_of((uint16_t)ours);
	return session_key(&s, outside ? DIR_INBOUND : DIR_OUTBOUND);
}

static bool has_ports(const struct plan *m)
{
	return m->protocol != 47 && !(m->flags & 0x1fff);
}

/* A copy that ends where the frame ends, so that a sanitizer sees it. */
static struct packet packet_of(const uint8_t *b, uint32_t len, enum side side)
{
	struct packet p = {.data = malloc(len ? len : 1), .len = len, .side = (uint8_t)side};

	assert_non_null(p.data);
	memcpy(p.data, b, len);
	return p;
}

static enum verdict parse_copy(const uint8_t *b, uint32_t len, enum side side, struct quoted *q)
{
	struct packet p = packet_of(b, len, side);
	enum verdict v = quoted_parse(q, &p);

	assert_memory_equal(p.data, b, len);
	free(p.data);
	return v;
}

static void test_reads_the_session(void **state)
{
	for (uint64_t seed = 1; seed <= 20000; seed++) {
		struct rnd r = {seed};
		struct plan m = random_plan(&r);
		uint8_t filler[INNER_MAX], b[ROOM];
		struct quoted q;

		noise(&r, filler, sizeof filler);
		uint32_t len = frame_of(&m, filler, b);
		CHECK_AT(seed, len, parse_copy(b, len, m.side, &q) == N_VERDICTS);
		CHECK_AT(seed, len, q.l4 == l4_expected(m.protocol) && q.protocol == m.protocol);
		CHECK_AT(seed, len, q.later_fragment == (m.protocol != 47 && (m.flags & 0x1fff)));
		CHECK_AT(seed, len, be32_host(q.src) == m.src && be32_host(q.dst) == m.dst);
		CHECK_AT(seed, len, be16_host(q.id) == get16(filler));
		CHECK_AT(seed, len, flow_key_equal(q.key, key_expected(&m, has_ports(&m))));
		CHECK_AT(seed, len, q.ip_at == ETH + m.outer_header + 8u && q.l4_at == q.ip_at + m.inner_header);
	}
}

/* ---- rewriting ---- */

static bool sums_right(const struct plan *m, const uint8_t *b, uint32_t len)
{
	const uint8_t *ip = b + ETH, *icmp = ip + m->outer_header, *quote = icmp + 8;

	return naive_sum(ip, m->outer_header, 0) == 0xffff &&
	       naive_sum(icmp, len - ETH - m->outer_header, 0) == 0xffff &&
	       naive_sum(quote, m->inner_header, 0) == 0xffff;
}

/* The quoted packet's own checksum, with the bytes that were not quoted put behind again. */
static bool quoted_sum_right(const struct plan *m, const uint8_t *filler, const uint8_t *b)
{
	const uint8_t *quote = b + ETH + m->outer_header + 8;
	unsigned at = m->protocol == 6 ? 16 : m->protocol == 17 ? 6 : 2, size = m->inner_size - m->inner_header;
	uint8_t whole[INNER_MAX], *l4 = whole + m->inner_header;

	if (!has_ports(m) || m->quoted < m->inner_header + at + 2)
		return true;
	inner_packet(m, filler, whole);
	memcpy(whole, quote, m->quoted);
	if (m->protocol == 17 && get16(l4 + at) == 0)
		return m->no_sum;
	return naive_sum(l4, size, m->protocol == 1 ? 0 : naive_pseudo(whole, size)) == 0xffff;
}

/* All but the checksums, which are judged by themselves: one's complement has two zeroes. */
static void blank_sums(const struct plan *m, uint8_t *b)
{
	uint8_t *icmp = b + ETH + m->outer_header, *l4 = icmp + 8 + m->inner_header;
	unsigned at = m->protocol == 6 ? 16 : m->protocol == 17 ? 6 : 2;

	put16(b + ETH + 10, 0);
	put16(icmp + 2, 0);
	put16(icmp + 8 + 10, 0);
	if (has_ports(m) && m->quoted >= m->inner_header + at + 2)
		put16(l4 + at, 0);
}

static struct plan rewritten(const struct plan *m, struct rnd *r)
{
	struct plan to = *m;
	bool outside = m->side == SIDE_OUTSIDE;

	to.router = (uint32_t)rnd_next(r);
	to.back = (uint32_t)rnd_next(r);
	*(outside ? &to.src : &to.dst) = rnd_one_in(r, 8) ? 0xffffffff : (uint32_t)rnd_next(r);
	if (m->protocol != 1 || outside == (m->echo == 8)) /* an identifier of the other end's stays */
		*(outside ? &to.sport : &to.dport) = rnd_below(r, 65536);
	return to;
}

static void rewrite_to(struct packet *p, const struct quoted *q, const struct plan *to)
{
	bool outside = to->side == SIDE_OUTSIDE;

	quoted_rewrite(p, q, be32_of(to->router), be32_of(to->back), be32_of(outside ? to->src : to->dst),
		be16_of((uint16_t)(outside ? to->sport : to->dport)));
}

static void test_rewrites_everything(void **state)
{
	for (uint64_t seed = 1; seed <= 20000; seed++) {
		struct rnd r = {seed};
		struct plan m = random_plan(&r), to = rewritten(&m, &r);
		uint8_t filler[INNER_MAX], b[ROOM], want[ROOM];
		struct quoted q;

		noise(&r, filler, sizeof filler);
		uint32_t len = frame_of(&m, filler, b);
		struct packet p = packet_of(b, len, m.side);
		CHECK_AT(seed, len, quoted_parse(&q, &p) == N_VERDICTS);
		rewrite_to(&p, &q, &to);
		frame_of(&to, filler, want);
		CHECK_AT(seed, len, p.len == len && sums_right(&m, p.data, len));
		CHECK_AT(seed, len, quoted_sum_right(&to, filler, p.data));
		if (m.protocol == 6 && m.quoted == m.inner_header + 17) /* half a checksum is left alone */
			want[ETH + m.outer_header + 8 + m.quoted - 1] = p.data[ETH + m.outer_header + 8 + m.quoted - 1];
		blank_sums(&m, p.data);
		blank_sums(&m, want);
		CHECK_AT(seed, len, memcmp(p.data, want, len) == 0);
		free(p.data);
	}
}

/* ---- what is not to be translated ---- */

static struct plan plain_plan(uint8_t protocol)
{
	return (struct plan){.side = SIDE_OUTSIDE,
		.type = 3,
		.code = 1,
		.protocol = protocol,
		.echo = 8,
		.router = 0xcb007101,
		.back = 0xc6336401,
		.src = 0xc6336401,
		.dst = 0xcb007105,
		.sport = 4000,
		.dport = 53,
		.outer_header = 20,
		.inner_header = 24,
		.inner_size = 60,
		.quoted = 60};
}

static enum verdict verdict_of(const struct plan *m)
{
	uint8_t filler[INNER_MAX] = {0}, b[ROOM];
	struct quoted q;

	return parse_copy(b, frame_of(m, filler, b), m->side, &q);
}

static void test_types(void **state)
{
	for (unsigned type = 0; type < 256; type++) {
		struct plan m = plain_plan(17);
		bool error = type == 3 || type == 4 || type == 11 || type == 12;

		m.type = (uint8_t)type;
		assert_int_equal(verdict_of(&m), error ? N_VERDICTS : VERDICT_drop_icmp_type);
		m = plain_plan(1);
		m.echo = (uint8_t)type; /* of the quoted message: an error about an error is none */
		assert_int_equal(verdict_of(&m), type == 0 || type == 8 ? N_VERDICTS : VERDICT_drop_icmp_quote);
	}
}

/* RFC 5508 REQ-3: any damage to the message, whatever it hits. */
static void test_wrong_icmp_checksum(void **state)
{
	uint8_t filler[INNER_MAX] = {0}, b[ROOM];
	struct plan m = plain_plan(6);
	uint32_t len = frame_of(&m, filler, b);
	struct quoted q;

	for (uint32_t bit = (ETH + 20 + 1) * 8; bit < len * 8; bit++) { /* not the type: that is said first */
		b[bit / 8] ^= (uint8_t)(1u << bit % 8);
		assert_int_equal(parse_copy(b, len, m.side, &q), VERDICT_drop_icmp_checksum);
		b[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
	assert_int_equal(parse_copy(b, len, m.side, &q), N_VERDICTS);
}

/* RFC 5508 REQ-3a, REQ-3c: the quoted header's checksum counts, the quoted transport's does not. */
static void test_wrong_quoted_checksums(void **state)
{
	uint8_t filler[INNER_MAX] = {0}, b[ROOM];
	struct plan m = plain_plan(6);
	uint32_t len = frame_of(&m, filler, b);
	uint8_t *icmp = b + ETH + 20;
	struct quoted q;

	for (unsigned bit = 8 * 8; bit < (8 + m.inner_size) * 8; bit++) {
		bool header = bit < (8 + m.inner_header) * 8;

		icmp[bit / 8] ^= (uint8_t)(1u << bit % 8);
		naive_put(icmp + 2, icmp, len - ETH - 20, 0);
		assert_int_equal(parse_copy(b, len, m.side, &q), header ? VERDICT_drop_icmp_quote : N_VERDICTS);
		icmp[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
}

/* Quotes and messages of every length; RFC 792 wants 8 bytes behind the header. */
static void test_cut_anywhere(void **state)
{
	static const uint8_t protocols[] = {1, 6, 17, 47};

	for (unsigned k = 0; k < 4; k++) {
		struct plan m = plain_plan(protocols[k]);
		unsigned needs = m.inner_header + (protocols[k] == 47 ? 0 : 8);
		uint8_t filler[INNER_MAX] = {0}, b[ROOM];
		struct quoted q;

		for (m.quoted = 0; m.quoted <= 60; m.quoted++) {
			assert_int_equal(verdict_of(&m), m.quoted < needs ? VERDICT_drop_icmp_quote : N_VERDICTS);
			m.extension = 40; /* does not lend the quote what it lacks, but for padding */
			unsigned padded = m.quoted < m.inner_header ? 0 : (m.quoted + 3) / 4 * 4;

			if (m.quoted)
				assert_int_equal(verdict_of(&m), padded < needs ? VERDICT_drop_icmp_quote : N_VERDICTS);
			m.extension = 0;
		}
		m.quoted = 60;
		uint32_t len = frame_of(&m, filler, b);
		for (uint32_t cut = 0; cut < len; cut++)
			assert_int_not_equal(parse_copy(b, cut, m.side, &q), N_VERDICTS);
	}
}

static void test_outer_header(void **state)
{
	uint8_t filler[INNER_MAX] = {0}, b[ROOM];
	struct plan m = plain_plan(17);
	uint32_t len = frame_of(&m, filler, b);
	struct quoted q;

	put16(b + ETH + 6, 0x2000);
	assert_int_equal(parse_copy(b, len, m.side, &q), VERDICT_drop_fragment);
	put16(b + ETH + 6, 0x4000);
	assert_int_equal(parse_copy(b, len, m.side, &q), N_VERDICTS);
	b[ETH + 9] = 17;
	assert_int_equal(parse_copy(b, len, m.side, &q), VERDICT_drop_protocol);
	b[ETH + 9] = 1;
	put16(b + ETH + 2, 27);
	assert_int_equal(parse_copy(b, len, m.side, &q), VERDICT_drop_short_l4);
}

/* Whatever bytes: no crash, and what is accepted can be rewritten and is accepted again. */
static void test_noise(void **state)
{
	unsigned accepted = 0;

	for (uint64_t seed = 1; seed <= 20000; seed++) {
		struct rnd r = {seed};
		struct plan m = random_plan(&r);
		uint8_t filler[INNER_MAX], b[ROOM];
		struct quoted q;

		noise(&r, filler, sizeof filler);
		uint32_t len = frame_of(&m, filler, b);
		uint8_t *ip = b + ETH, *icmp = ip + m.outer_header, *quote = icmp + 8;

		for (unsigned n = rnd_below(&r, 4); n; n--) /* damage, then sums as if meant */
			quote[rnd_below(&r, m.quoted)] = (uint8_t)rnd_next(&r);
		icmp[5] = rnd_one_in(&r, 4) ? (uint8_t)rnd_next(&r) : icmp[5];
		if ((quote[0] & 15u) * 4 <= m.quoted && (quote[0] & 15u) * 4 >= 20)
			ip_checksum(quote);
		naive_put(icmp + 2, icmp, len - ETH - m.outer_header, 0);
		struct packet p = packet_of(b, len, m.side);
		if (quoted_parse(&q, &p) == N_VERDICTS) {
			struct plan to = rewritten(&m, &r);

			accepted++;
			rewrite_to(&p, &q, &to);
			CHECK_AT(seed, len, quoted_parse(&q, &p) == N_VERDICTS);
		}
		free(p.data);
	}
	assert_true(accepted > 5000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_reads_the_session),
		cmocka_unit_test(test_rewrites_everything),
		cmocka_unit_test(test_types),
		cmocka_unit_test(test_wrong_icmp_checksum),
		cmocka_unit_test(test_wrong_quoted_checksums),
		cmocka_unit_test(test_cut_anywhere),
		cmocka_unit_test(test_outer_header),
		cmocka_unit_test(test_noise),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
