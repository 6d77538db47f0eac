/* nat_burst: a burst is what its packets are one by one. Two engines with the same sessions are given the same packets,
 * one packet by packet, the other in bursts of 1, 7, 32 and 64: verdicts and bytes are the same. The straight path is
 * taken by many of them, each thing that can be odd about a packet or its session by some. */
#include "common/csum.h"
#include "pe/miniature.h"
#include "pe/nat.h"
#include "tests/unit/rnd.h"

#include <stdlib.h>
#include <string.h>

enum { FLOWS = 96, FRAME = 96, ROUNDS = 400, SEEDS = 6, ETH = sizeof(struct eth_header), SEED = 5 };

static const char document[] =
	"{\"arena\":{\"engines\":1,\"sessions\":4096},\"inside\":{\"interface\":\"in\",\"prefixes\":[\"100.64.0.0/"
	"10\"],"
	"\"rss\":{\"mode\":\"single\"}},\"outside\":{\"interface\":\"out\",\"rss\":{\"mode\":\"single\"}},"
	"\"pools\":[{\"name\":\"p\",\"addresses\":[\"198.51.100.0/30\"]}],"
	"\"nat\":{\"icmp_rate\":100000,\"filtering\":\"address-and-port-dependent\"}}";

struct flow_ends {
	bool tcp;
	uint32_t inside, remote, nat;
	uint16_t inside_port, remote_port, nat_port;
};

struct twin {
	struct arena *arena;
	struct nat *nat;
};

struct duel {
	struct twin alone, burst;
	struct rnd rnd;
	struct flow_ends flow[FLOWS];
	mono_t now;
	unsigned forwarded, dropped;
};

/* Bytes for the packet, and room in front of it. */
struct frame {
	uint8_t room[VLAN_TAG_SIZE];
	uint8_t bytes[2048];
};

static struct twin twin_open(mono_t now)
{
	struct config c;
	struct config_error err;
	struct twin t;

	assert_true(config_parse(&c, document, strlen(document), &err));
	t.arena = miniature_open(&c, SEED);
	t.nat = calloc(1, sizeof *t.nat);
	assert_true(t.arena && t.nat);
	nat_init(t.nat, t.arena, 0, SEED, now);
	nat_configure(t.nat);
	nat_load_routes(t.nat);
	return t;
}

static void twin_close(struct twin *t)
{
	arena_close(t->arena);
	free(t->nat);
}

/* ---- packets ---- */

static uint32_t make(uint8_t *b, bool tcp, uint32_t src, uint32_t dst, uint16_t sport, uint16_t dport, uint8_t flags)
{
	struct eth_header eth = {.type = be16_of(ETHERTYPE_IPV4)};
	struct ip4_header ip = {.version_ihl = 0x45,
		.total_size = be16_of(FRAME - ETH),
		.id = be16_of(7),
		.ttl = 64,
		.protocol = tcp ? PROTO_TCP : PROTO_UDP,
		.checksum = 0x1234,
		.src = be32_of(src),
		.dst = be32_of(dst)};
	struct tcp_header l4 = {.src = be16_of(sport), .dst = be16_of(dport), .offset = 0x50, .flags = flags};

	l4.checksum = 0x5678;
	memset(b, 0, FRAME);
	memcpy(b, &eth, sizeof eth);
	memcpy(b + ETH, &ip, sizeof ip);
	memcpy(b + ETH + sizeof ip, &l4, sizeof l4);
	return FRAME;
}

/* Something that is odd about one packet in four. */
static uint32_t spoil(struct rnd *r, uint8_t *b, uint32_t len, bool tcp)
{
	static const uint8_t flags[] = {
		TCP_FLAG_FIN, TCP_FLAG_RST, TCP_FLAG_ACK | TCP_FLAG_FIN, TCP_FLAG_SYN | TCP_FLAG_ACK};
	struct ip4_header *ip = (struct ip4_header *)(b + ETH);

	switch (rnd_below(r, 32)) {
	case 0:
		ip->ttl = 1;
		return len;
	case 1:
		ip->fragment = be16_of(IP4_MF);
		return len;
	case 2:
		return rnd_below(r, len);
	case 3:
		b[12] ^= 0x88;
		return len;
	case 4:
		ip->total_size = be16_of((uint16_t)rnd_next(r));
		return len;
	case 5:
		ip->fragment = be16_of(IP4_DF);
		return len;
	case 6:
		memset(b + ETH + sizeof *ip + 6, 0, 2); /* no UDP checksum */
		return len;
	case 7:
		if (tcp)
			b[ETH + sizeof *ip + 13] = flags[rnd_below(r, sizeof flags)];
		return len;
	default:
		return len;
	}
}

static uint32_t random_packet(struct duel *d, uint8_t *b, enum side side)
{
	struct rnd *r = &d->rnd;
	const struct flow_ends *f = &d->flow[rnd_below(r, FLOWS)];
	bool junk = side == SIDE_OUTSIDE && rnd_one_in(r, 3);
	uint16_t port = junk ? (uint16_t)rnd_next(r) : f->nat_port;
	uint32_t len = side == SIDE_INSIDE
			       ? make(b, f->tcp, f->inside, f->remote, f->inside_port, f->remote_port, TCP_FLAG_ACK)
			       : make(b, f->tcp, f->remote + junk, f->nat, f->remote_port, port, TCP_FLAG_ACK);

	return spoil(r, b, len, f->tcp);
}

/* ---- comparing ---- */

static struct packet packet_of(struct frame *f, const uint8_t *bytes, uint32_t len, enum side side)
{
	memcpy(f->bytes, bytes, FRAME);
	return (struct packet){.data = f->bytes, .len = len, .side = (uint8_t)side, .verdict = 99, .mtu = 99};
}

/* Fragments come last in a burst, so identifications may be given in another order: taken out, checksum and all. */
static void forget_identification(const struct packet *p)
{
	struct ip4_header *ip = (struct ip4_header *)(p->data + ETH);

	if (!p->forward)
		return;
	ip->checksum = csum_apply(ip->checksum, csum_delta16(0, ip->id.net, 0));
	ip->id = be16_of(0);
}

static void one_burst(struct duel *d, unsigned count, uint64_t seed, unsigned round)
{
	static struct frame left[BURST_MAX], right[BURST_MAX];
	enum side side = rnd_below(&d->rnd, N_SIDES);
	struct packet alone[BURST_MAX], burst[BURST_MAX];
	uint8_t bytes[FRAME];

	for (unsigned i = 0; i < count; i++) {
		uint32_t len = random_packet(d, bytes, side);

		alone[i] = packet_of(&left[i], bytes, len, side);
		burst[i] = packet_of(&right[i], bytes, len, side);
	}
	for (unsigned i = 0; i < count; i++)
		nat_burst(d->alone.nat, &alone[i], 1, d->now);
	nat_burst(d->burst.nat, burst, count, d->now);
	for (unsigned i = 0; i < count; i++) {
		const struct packet *a = &alone[i], *b = &burst[i];

		CHECK_AT(seed, round, a->verdict == b->verdict && a->forward == b->forward);
		CHECK_AT(seed, round, a->len == b->len && a->mtu == b->mtu && a->vlan == b->vlan);
		CHECK_AT(seed, round, !a->forward || a->out == b->out);
		forget_identification(a);
		forget_identification(b);
		CHECK_AT(seed, round, memcmp(a->data, b->data, a->len) == 0);
		d->forwarded += a->forward;
		d->dropped += !a->forward;
	}
}

/* Opened one by one in both, from both ends. */
static void open_flows(struct duel *d)
{
	struct twin *twins[] = {&d->alone, &d->burst};

	for (unsigned i = 0; i < FLOWS; i++) {
		struct flow_ends *f = &d->flow[i];

		*f = (struct flow_ends){.tcp = i % 2,
			.inside = 0x64400002 + i / 4,
			.remote = 0xcb007101 + i % 3,
			.inside_port = (uint16_t)(5000 + i),
			.remote_port = 80};
		for (unsigned t = 0; t < 2; t++) {
			struct frame frame;
			struct packet p = {.data = frame.bytes, .side = SIDE_INSIDE};
			uint8_t flags = TCP_FLAG_SYN;

			p.len = make(frame.bytes, f->tcp, f->inside, f->remote, f->inside_port, f->remote_port, flags);
			nat_burst(twins[t]->nat, &p, 1, d->now);
			assert_int_equal(p.verdict, VERDICT_fwd_out_new);
			const struct plain_headers *h = (const struct plain_headers *)frame.bytes;
			f->nat = be32_host(h->ip.src);
			f->nat_port = be16_host(h->tcp.src);
		}
	}
}

static void test_bursts_are_their_packets(void **state)
{
	static const unsigned sizes[] = {1, 7, 32, 64};

	for (uint64_t seed = 1; seed <= SEEDS; seed++) {
		struct duel d = {.rnd = {seed}, .now = mono_after((mono_t){0}, span_s(1000))};

		d.alone = twin_open(d.now);
		d.burst = twin_open(d.now);
		open_flows(&d);
		for (unsigned round = 0; round < ROUNDS; round++) {
			d.now = mono_after(d.now, span_ms(rnd_below(&d.rnd, 200)));
			one_burst(&d, sizes[round % 4], seed, round);
		}
		assert_true(d.forwarded > 3000 && d.dropped > 1000);
		twin_close(&d.alone);
		twin_close(&d.burst);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_bursts_are_their_packets),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
