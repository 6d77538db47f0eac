/* fragment: what is cut and put together again is the same, whatever sizes, options and cuts of cuts. */
#include "pe/fragment.h"
#include "tests/unit/wire.h"

#include <stdlib.h>

enum { ROOM = 2048, PIECES = 512, SIZE_MAX_IP = 1800 };

/* ---- packets ---- */

/* Options of both kinds, those to be copied and the others, some NOPs; sometimes one whose length lies. */
static void random_options(struct rnd *r, uint8_t *at, unsigned room)
{
	memset(at, 0, room);
	while (room) {
		unsigned size = 2 + rnd_below(r, 9);

		if (rnd_one_in(r, 4) || size > room) {
			*at++ = 1;
			room--;
			continue;
		}
		at[0] = (uint8_t)((rnd_one_in(r, 2) ? 0x80 : 0) | (2 + rnd_below(r, 30)));
		at[1] = (uint8_t)(rnd_one_in(r, 40) ? rnd_below(r, 256) : size);
		noise(r, at + 2, size - 2);
		at += size;
		room -= size;
		if (rnd_one_in(r, 8))
			break; /* end of list, then zeroes */
	}
}

static uint32_t random_frame(struct rnd *r, uint8_t *b)
{
	unsigned header = 20 + 4 * (rnd_one_in(r, 2) ? rnd_below(r, 11) : 0);
	unsigned size = header + rnd_below(r, (rnd_one_in(r, 3) ? 100 : SIZE_MAX_IP) - header);
	uint8_t *ip = b + ETH;

	noise(r, b, ROOM);
	eth_header_put(b);
	ip_header(ip, header, size, (uint8_t)rnd_next(r), (uint32_t)rnd_next(r), (uint32_t)rnd_next(r));
	random_options(r, ip + 20, header - 20);
	put16(ip + 4, rnd_below(r, 65536));
	if (rnd_one_in(r, 3)) /* itself a fragment */
		put16(ip + 6, (rnd_one_in(r, 2) ? 0x2000 : 0) | rnd_below(r, 7900));
	ip_checksum(ip);
	return ETH + size + rnd_below(r, 10);
}

/* The options that later fragments carry, by a second reading of RFC 791. */
static unsigned copied(const uint8_t *ip, uint8_t *to)
{
	unsigned end = (ip[0] & 15u) * 4, n = 0;

	memset(to, 0, 40);
	for (unsigned at = 20; at < end && ip[at] != 0;) {
		if (ip[at] == 1) {
			at++;
			continue;
		}
		if (at + 1 == end || ip[at + 1] < 2 || at + ip[at + 1] > end)
			break;
		if (ip[at] >= 128)
			for (unsigned i = 0; i < ip[at + 1]; i++)
				to[n++] = ip[at + i];
		at += ip[at + 1];
	}
	return (n + 3) / 4 * 4;
}

/* ---- pieces ---- */

struct pieces {
	struct packet p[PIECES];
	unsigned n;
};

static void free_pieces(struct pieces *s)
{
	for (unsigned i = 0; i < s->n; i++)
		free(s->p[i].data);
	s->n = 0;
}

/* Cuts `p` and appends the pieces, each in a buffer of its own size, so that a sanitizer sees the end; how many. */
static unsigned split_into(struct pieces *s, const struct packet *p, uint16_t mtu)
{
	struct packet out[PIECES];
	uint8_t *buffers = malloc((size_t)PIECES * ROOM);
	unsigned n;

	assert_non_null(buffers);
	for (unsigned i = 0; i < PIECES; i++)
		out[i] = (struct packet){.data = buffers + (size_t)i * ROOM, .len = ROOM, .frame = i};
	n = fragment_split(p, mtu, out, PIECES - s->n);
	for (unsigned i = 0; i < n; i++) {
		struct packet *to = &s->p[s->n++];

		*to = out[i];
		to->data = malloc(to->len);
		assert_non_null(to->data);
		memcpy(to->data, out[i].data, to->len);
	}
	free(buffers);
	return n;
}

/* What must hold of a piece by itself. */
static void check_piece(uint64_t seed, const struct packet *p, const uint8_t *frame, unsigned mtu, bool first)
{
	const uint8_t *ip = p->data + ETH, *was = frame + ETH;
	unsigned header = (ip[0] & 15u) * 4, size = get16(ip + 2);
	uint8_t options[40];

	CHECK_AT(seed, mtu, p->len == ETH + size && size <= mtu && header >= 20 && size >= header);
	CHECK_AT(seed, mtu, naive_sum(ip, header, 0) == 0xffff);
	CHECK_AT(seed, mtu, memcmp(p->data, frame, ETH) == 0);
	CHECK_AT(seed, mtu, ip[1] == was[1] && memcmp(ip + 4, was + 4, 2) == 0 && memcmp(ip + 8, was + 8, 2) == 0);
	CHECK_AT(seed, mtu, memcmp(ip + 12, was + 12, 8) == 0);
	CHECK_AT(seed, mtu, p->side == SIDE_OUTSIDE && p->out == 3 && p->verdict == 5 && p->forward == 1);
	if (first) {
		CHECK_AT(seed, mtu, header == (was[0] & 15u) * 4 && memcmp(ip + 20, was + 20, header - 20) == 0);
	} else {
		CHECK_AT(seed, mtu, header == 20 + copied(was, options));
		CHECK_AT(seed, mtu, memcmp(ip + 20, options, header - 20) == 0);
	}
}

/* Puts the pieces together, in whatever order they are, and compares with the packet they came from. */
static void check_whole(uint64_t seed, const struct pieces *s, const uint8_t *frame)
{
	static uint8_t payload[65536 + 8], seen[65536 + 8];
	const uint8_t *was = frame + ETH;
	unsigned header = (was[0] & 15u) * 4, bytes = get16(was + 2) - header, from = (get16(was + 6) & 0x1fff) * 8;
	unsigned lasts = 0, total = 0;

	memset(seen, 0, sizeof seen);
	for (unsigned i = 0; i < s->n; i++) {
		const uint8_t *ip = s->p[i].data + ETH;
		unsigned h = (ip[0] & 15u) * 4, n = get16(ip + 2) - h, at = (get16(ip + 6) & 0x1fff) * 8;
		bool end = at + n == from + bytes;

		CHECK_AT(seed, i, at >= from && at + n <= from + bytes);
		CHECK_AT(seed, i, (get16(ip + 6) & 0xc000) == (get16(was + 6) & 0xc000));
		CHECK_AT(seed, i, ((get16(ip + 6) & 0x2000) != 0) == (!end || (get16(was + 6) & 0x2000)));
		CHECK_AT(seed, i, end || n % 8 == 0);
		for (unsigned b = 0; b < n; b++)
			CHECK_AT(seed, i, !seen[at + b]++);
		memcpy(payload + at, ip + h, n);
		total += n;
		lasts += end;
	}
	CHECK_AT(seed, total, total == bytes && lasts == 1);
	CHECK_AT(seed, total, memcmp(payload + from, was + header, bytes) == 0);
}

static void test_cut_and_put_together(void **state)
{
	unsigned cut = 0;

	for (uint64_t seed = 1; seed <= 3000; seed++) {
		struct rnd r = {seed};
		uint8_t b[ROOM], before[ROOM];
		struct packet p = {
			.data = b, .len = random_frame(&r, b), .side = 1, .out = 3, .verdict = 5, .forward = 1};
		uint16_t mtu = (uint16_t)(68 + rnd_below(&r, rnd_one_in(&r, 2) ? 60 : 1500)), less;
		struct pieces s = {.n = 0}, again = {.n = 0};

		memcpy(before, b, ROOM);
		CHECK_AT(seed, mtu, split_into(&s, &p, mtu) > 0);
		CHECK_AT(seed, mtu, memcmp(b, before, ROOM) == 0);
		CHECK_AT(seed, mtu, s.n == 1 || get16(b + ETH + 2) > mtu);
		for (unsigned i = 0; i < s.n; i++) {
			check_piece(seed, &s.p[i], b, mtu, i == 0);
			CHECK_AT(seed, i,
				i == 0 || (get16(s.p[i].data + ETH + 6) & 0x1fff) >
						  (get16(s.p[i - 1].data + ETH + 6) & 0x1fff));
		}
		check_whole(seed, &s, b);
		less = (uint16_t)(68 + rnd_below(&r, mtu - 67)); /* a narrower link behind this one */
		for (unsigned i = 0; i < s.n; i++)
			CHECK_AT(seed, less, split_into(&again, &s.p[i], less) > 0);
		check_whole(seed, &again, b);
		cut += s.n > 1;
		free_pieces(&s);
		free_pieces(&again);
	}
	assert_true(cut > 1000);
}

/* ---- what is not cut ---- */

static uint32_t plain_frame(uint8_t *b, unsigned size, unsigned word)
{
	memset(b, 0, ROOM);
	eth_header_put(b);
	ip_header(b + ETH, 20, size, 17, 1, 2);
	put16(b + ETH + 6, word);
	ip_checksum(b + ETH);
	return ETH + size;
}

static unsigned cuts(uint8_t *b, uint32_t len, uint16_t mtu, uint32_t room, unsigned max)
{
	uint8_t buffer[4][ROOM];
	struct packet p = {.data = b, .len = len}, out[4];

	for (unsigned i = 0; i < 4; i++)
		out[i] = (struct packet){.data = buffer[i], .len = room};
	return fragment_split(&p, mtu, out, max);
}

static void test_refusals(void **state)
{
	uint8_t b[ROOM];
	uint32_t len = plain_frame(b, 1020, 0);

	assert_int_equal(cuts(b, len, 520, ROOM, 4), 3);
	assert_int_equal(cuts(b, len, 524, ROOM, 4), 2);
	assert_int_equal(cuts(b, len, 524, ROOM, 2), 2);
	assert_int_equal(cuts(b, len, 524, ROOM, 1), 0);
	assert_int_equal(cuts(b, len, 524, ROOM, 0), 0);
	assert_int_equal(cuts(b, len, 531, ETH + 524, 4), 2); /* rounded down to units of 8 */
	assert_int_equal(cuts(b, len, 531, ETH + 523, 4), 0);
	assert_int_equal(cuts(b, len, 1020, ROOM, 1), 1);
	assert_int_equal(cuts(b, len, 27, ROOM, 4), 0);
	assert_int_equal(cuts(b, len, 19, ROOM, 4), 0);
	assert_int_equal(cuts(b, len - 1, 524, ROOM, 4), 0);
	b[ETH + 12] ^= 1; /* damaged on its way */
	assert_int_equal(cuts(b, len, 524, ROOM, 4), 0);
	assert_int_equal(cuts(b, plain_frame(b, 1020, 0x4000), 524, ROOM, 4), 0);
	assert_int_equal(cuts(b, plain_frame(b, 20, 0), 20, ROOM, 1), 1);
	assert_int_equal(cuts(b, plain_frame(b, 20, 0), 19, ROOM, 1), 0);
	assert_int_equal(cuts(b, plain_frame(b, 27, 8191), 524, ROOM, 4), 1);
	assert_int_equal(
		cuts(b, plain_frame(b, 1020, 8191 - 124), 524, ROOM, 4), 0); /* more than a datagram can hold */
	assert_int_equal(cuts(b, plain_frame(b, 1012, 8191 - 124), 524, ROOM, 4), 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cut_and_put_together),
		cmocka_unit_test(test_refusals),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
