/* Ports of static mappings are nobody else's: whatever way sessions are made, in bursts or not, straight or not, and
 * however many ports there are left. All others are given. */
#include "pe/miniature.h"
#include "pe/nat.h"
#include "tests/unit/rnd.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FRAME = 60, ETH = sizeof(struct eth_header), SEED = 5, ADDRESSES_MAX = 8, TEXT = 8192 };
#define INSIDE 0x64400002u /* 100.64.0.2 */
#define POOL 0xc6336400u   /* 198.51.100.0 */
#define REMOTE 0xcb007101u /* 203.0.113.1 */
#define SERVER 0x647f0000u /* 100.127.0.0: behind static mappings */
#define SERVER_TEXT "100.127.0."

struct box {
	struct arena *arena;
	struct nat *nat;
	mono_t now;
	unsigned addresses, n_static;
	uint16_t port_first, port_last;
	char statics[TEXT];
	bool fixed[2][ADDRESSES_MAX][65536]; /* UDP, TCP: by static mappings */
	bool given[2][ADDRESSES_MAX][65536];
	uint32_t flows; /* so many were tried */
	unsigned per_subscriber;
};

/* ---- configuration ---- */

static void add_static(struct box *b, bool tcp, unsigned address, uint16_t port, unsigned ports)
{
	size_t at = strlen(b->statics);

	snprintf(b->statics + at, TEXT - at,
		"%s{\"protocol\":\"%s\",\"inside\":\"" SERVER_TEXT
		"%u\",\"inside_port\":%u,\"nat\":\"198.51.100.%u\",\"nat_port\":%u,\"ports\":%u}",
		at ? "," : "", tcp ? "tcp" : "udp", address, port, address, port, ports);
	for (unsigned i = 0; i < ports; i++)
		b->fixed[tcp][address][port + i] = true;
	b->n_static++;
}

static void configure(struct box *b, const char *nat)
{
	static const char document[] = "{\"arena\":{\"engines\":1,\"sessions\":65536},\"inside\":{\"interface\":\"in\","
				       "\"prefixes\":[\"100.64.0.0/10\"]},"
				       "\"outside\":{\"interface\":\"out\"},\"pools\":[{\"name\":\"p\",\"addresses\":["
				       "\"198.51.100.0-198.51.100.%u\"]}],"
				       "\"nat\":{\"hold_s\":10,\"port_first\":%u,\"port_last\":%u%s},\"static\":[%s]}";
	static struct config c;
	static char text[TEXT + sizeof document + 200];
	struct config_error err;

	snprintf(text, sizeof text, document, b->addresses - 1, b->port_first, b->port_last, nat, b->statics);
	if (!config_parse(&c, text, strlen(text), &err))
		fail_msg("%s", err.text);
	if (b->arena) {
		assert_true(miniature_fill(b->arena, &c));
		assert_true(nat_configure(b->nat));
		return;
	}
	b->arena = miniature_open(&c, SEED);
	assert_non_null(b->arena);
	nat_init(b->nat, b->arena, 0, SEED, b->now);
	assert_true(nat_configure(b->nat));
	nat_load_routes(b->nat);
}

static struct box *box_open(unsigned addresses, uint16_t port_first, uint16_t port_last, unsigned per_subscriber)
{
	struct box *b = calloc(1, sizeof *b);

	assert_non_null(b);
	b->nat = calloc(1, sizeof *b->nat);
	assert_non_null(b->nat);
	b->now = mono_after((mono_t){0}, span_s(1000));
	b->addresses = addresses;
	b->port_first = port_first;
	b->port_last = port_last;
	b->per_subscriber = per_subscriber;
	return b;
}

static void box_close(struct box *b)
{
	arena_close(b->arena);
	free(b->nat);
	free(b);
}

/* ---- packets ---- */

static void make(uint8_t *b, bool tcp, uint32_t src, uint16_t sport)
{
	struct eth_header eth = {.type = be16_of(ETHERTYPE_IPV4)};
	struct ip4_header ip = {.version_ihl = 0x45,
		.total_size = be16_of(FRAME - ETH),
		.ttl = 64,
		.protocol = tcp ? PROTO_TCP : PROTO_UDP,
		.src = be32_of(src),
		.dst = be32_of(REMOTE)};
	struct tcp_header l4 = {.src = be16_of(sport), .dst = be16_of(80), .offset = 0x50, .flags = TCP_FLAG_SYN};

	if (!tcp)
		l4.seq = be32_of((FRAME - ETH - sizeof ip) << 16); /* the UDP length */
	memset(b, 0, FRAME);
	memcpy(b, &eth, sizeof eth);
	memcpy(b + ETH, &ip, sizeof ip);
	memcpy(b + ETH + sizeof ip, &l4, sizeof l4);
}

/* Notes the port that was given; nobody else may have it. */
static void note(struct box *b, bool tcp, const uint8_t *frame)
{
	const struct ip4_header *ip = (const struct ip4_header *)(frame + ETH);
	uint16_t port = be16_host(((const struct udp_header *)(ip + 1))->src);
	uint32_t address = be32_host(ip->src) - POOL;

	assert_true(address < b->addresses && port >= b->port_first && port <= b->port_last);
	assert_false(b->fixed[tcp][address][port]);
	assert_false(b->given[tcp][address][port]);
	b->given[tcp][address][port] = true;
}

/* A burst of new sessions, of the subscribers in turn; how many got a port. */
static unsigned burst_of(struct box *b, bool tcp, unsigned count)
{
	static uint8_t frame[BURST_MAX][FRAME];
	struct packet p[BURST_MAX];
	unsigned made = 0;

	for (unsigned i = 0; i < count; i++, b->flows++) {
		uint32_t of = b->flows / b->per_subscriber, which = b->flows % b->per_subscriber;

		make(frame[i], tcp, INSIDE + of, (uint16_t)(5000 + which));
		p[i] = (struct packet){.data = frame[i], .len = FRAME, .side = SIDE_INSIDE};
	}
	nat_burst(b->nat, p, count, b->now);
	for (unsigned i = 0; i < count; i++) {
		if (p[i].verdict == VERDICT_fwd_out_new) {
			made++;
			note(b, tcp, frame[i]);
		} else {
			assert_int_equal(p[i].verdict, VERDICT_drop_no_port);
		}
	}
	return made;
}

/* So many sessions that nothing is left; every port that is not a static mapping's was given. */
static void take_all(struct box *b, bool tcp, unsigned burst)
{
	unsigned made = 0, free = 0;

	for (unsigned a = 0; a < b->addresses; a++)
		for (unsigned port = b->port_first; port <= b->port_last; port++)
			free += !b->fixed[tcp][a][port];
	for (unsigned tried = 0; tried < free + 200; tried += burst)
		made += burst_of(b, tcp, burst);
	assert_int_equal(made, free);
}

/* All sessions end, and their ports have rested. */
static void pass(struct box *b)
{
	for (unsigned i = 0; i < 8000; i++) {
		b->now = mono_after(b->now, span_ms(100));
		nat_housekeep(b->nat, b->now);
	}
	assert_int_equal(b->nat->actor->slab[SLAB_session].used, 0);
	memset(b->given, 0, sizeof b->given);
}

/* ---- tests ---- */

static const char *const ways[] = {"", ",\"ports\":\"ordered\"", ",\"port_parity\":\"preserve\"",
	",\"port_range\":\"preserve\"", ",\"pooling\":\"arbitrary\"", ",\"filtering\":\"endpoint-independent\""};
static const unsigned bursts[] = {1, 7, 32, 64};
enum { N_WAYS = sizeof ways / sizeof ways[0] };

/* Random ones: single ports, ranges, none on the last address. */
static void add_some(struct box *b, struct rnd *r)
{
	for (unsigned i = 0; i < 12; i++) {
		uint16_t port = (uint16_t)(b->port_first + 40 * i + rnd_below(r, 20));

		add_static(b, rnd_one_in(r, 2), rnd_below(r, b->addresses - 1), port,
			rnd_one_in(r, 3) ? 1 + rnd_below(r, 20) : 1);
	}
}

static void test_never_given(void **state)
{
	for (unsigned way = 0; way < N_WAYS; way++) {
		for (unsigned i = 0; i < sizeof bursts / sizeof bursts[0]; i++) {
			struct rnd r = {1 + way * 10 + i};
			struct box *b = box_open(3, 2000, 2511, i % 2 ? 16 : 1);

			add_some(b, &r);
			configure(b, ways[way]);
			take_all(b, false, bursts[i]);
			take_all(b, true, bursts[i]);
			pass(b);
			take_all(b, true, bursts[i]);
			box_close(b);
		}
	}
}

/* One is added while somebody has its port: he keeps it, and nobody gets it after him. */
static void test_added_while_in_use(void **state)
{
	for (unsigned burst = 1; burst <= 32; burst += 31) {
		struct box *b = box_open(1, 2000, 2255, 16);

		add_static(b, true, 0, 2100, 1); /* of the other protocol */
		configure(b, "");
		take_all(b, false, burst);
		add_static(b, false, 0, 2010, 3);
		configure(b, "");
		pass(b);
		take_all(b, false, burst);
		box_close(b);
	}
}

/* And one that goes leaves its port to all. */
static void test_taken_away(void **state)
{
	struct box *b = box_open(2, 2000, 2127, 16);

	add_static(b, false, 0, 2010, 30);
	configure(b, "");
	take_all(b, false, 32);
	b->statics[0] = 0;
	memset(b->fixed, 0, sizeof b->fixed);
	configure(b, "");
	pass(b);
	take_all(b, false, 32);
	box_close(b);
}

/* Of ranges on so many addresses that their ports are not all listed. */
static void test_more_than_are_listed(void **state)
{
	struct box *b = box_open(ADDRESSES_MAX, 2000, 65535, 16);

	for (unsigned a = 0; a < ADDRESSES_MAX; a++) {
		add_static(b, false, a, 2100, 63000);
		add_static(b, true, a, 2050 + 7 * a, 63000);
	}
	configure(b, "");
	assert_true(b->nat->statics.unlisted);
	take_all(b, true, 32);
	box_close(b);
}

/* A subscriber's other ports are as anybody's. */
static void test_whose_subscribers(void **state)
{
	struct box *b = box_open(2, 2000, 2511, 16);
	uint8_t frame[FRAME];
	struct packet p = {.data = frame, .len = FRAME, .side = SIDE_INSIDE};

	add_static(b, true, 1, 2100, 8);
	configure(b, "");
	for (unsigned i = 0; i < 4; i++) { /* known by then, so it could go the straight way */
		make(frame, true, SERVER + 1, (uint16_t)(2098 + i * 2));
		p = (struct packet){.data = frame, .len = FRAME, .side = SIDE_INSIDE};
		nat_burst(b->nat, &p, 1, b->now);
		const struct ip4_header *ip = (const struct ip4_header *)(frame + ETH);
		uint16_t port = be16_host(((const struct udp_header *)(ip + 1))->src);

		assert_int_equal(p.verdict, VERDICT_fwd_out_new);
		if (i)
			assert_true(be32_host(ip->src) == POOL + 1 && port == 2098 + i * 2);
		else
			note(b, true, frame);
	}
	box_close(b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_never_given),
		cmocka_unit_test(test_added_while_in_use),
		cmocka_unit_test(test_taken_away),
		cmocka_unit_test(test_more_than_are_listed),
		cmocka_unit_test(test_whose_subscribers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
