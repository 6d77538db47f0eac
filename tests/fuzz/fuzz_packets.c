/* Any packets, in any order, on any engine: each is decided once and comes back once, what is forwarded is the packet
 * with exactly the right fields changed, the arena stays sound, and when all is quiet nothing is left of it.
 *
 * An input is a program: one byte of operation (see enum), then its operands. The two engines run over a tiny appliance
 * whose ports, tables and pages run out soon. It is made once; each input starts from the same image of it, mapped
 * copy-on-write.
 */
#include "common/csum.h"
#include "pe/engine.h"
#include "pe/miniature.h"
#include "shm/check.h"
#include "tests/fuzz/fuzz.h"

#include <sys/mman.h>
#include <unistd.h>
#include <xxhash.h>

enum { ENGINES = 2, SESSIONS = 48, SUBSCRIBERS = 16, BURST = 64, ANSWERS = 8, FRAME_MAX = 512, OPERATIONS_MAX = 400 };
enum { PORT_FIRST = 2000, PORT_LAST = 2007 };

/* Bits of an operation. */
enum {
	OP_ENGINE = 1,
	OP_OUTSIDE = 2,
	OP_KIND = 4 | 8,
	OP_RAW = 0,    /* length, bytes */
	OP_FLOW = 4,   /* protocol and length, subscriber, remote, TCP flags: a packet that makes sense */
	OP_ANSWER = 8, /* which of the last sent to the outside, TCP flags: what its remote would answer */
	OP_TIME = 12,  /* logarithm of nanoseconds */
	OP_TURN = 16,  /* the engines run after this one; else it joins the burst */
	OP_RIGHT = 32, /* a raw frame gets right checksums */
};

/* A frame in the engines' hands, and as it was given. */
struct given {
	uint8_t *data; /* NULL: came back */
	uint32_t len;
	uint8_t side;
	uint8_t was[FRAME_MAX];
};

struct port {
	struct io io;
	struct packet queue[N_SIDES][BURST];
	unsigned n[N_SIDES];
};

static struct world {
	struct arena *arena;
	int image;
	struct engine *engine[ENGINES], *fresh[ENGINES];
	struct port port[ENGINES];
	mono_t now;
	struct given given[OPERATIONS_MAX + ENGINES]; /* of this input: a frame may be held for long */
	unsigned n_given, n_back, n_queued;
	struct given answer[ANSWERS]; /* the last frames sent to the outside */
	unsigned n_answers;
	uint64_t sent;
} world;

/* ---- frames ---- */

static uint16_t l4_sum(const struct ip4_header *ip, const uint8_t *l4, size_t size)
{
	struct {
		be32_t src, dst;
		uint8_t zero, protocol;
		be16_t size;
	} pseudo = {ip->src, ip->dst, 0, ip->protocol, be16_of((uint16_t)size)};
	uint32_t sum = ip->protocol == PROTO_ICMP ? 0 : (uint16_t)~csum_over(&pseudo, sizeof pseudo, 0);

	return csum_over(l4, size, sum);
}

/* Where things are in a frame that was forwarded or is to get checksums; false when it is too short for that. */
struct view {
	struct ip4_header *ip;
	uint8_t *l4;
	size_t header, size; /* of IPv4, of the transport */
	uint8_t *sum;        /* transport checksum */
};

static bool view_of(struct view *v, uint8_t *data, size_t len)
{
	size_t at, need, total;

	v->ip = (struct ip4_header *)(data + sizeof(struct eth_header));
	if (len < sizeof(struct eth_header) + sizeof *v->ip)
		return false;
	v->header = (v->ip->version_ihl & 15u) * 4u;
	total = be16_host(v->ip->total_size);
	at = v->ip->protocol == PROTO_TCP   ? offsetof(struct tcp_header, checksum)
	     : v->ip->protocol == PROTO_UDP ? offsetof(struct udp_header, checksum)
					    : offsetof(struct icmp_header, checksum);
	need = at + sizeof(uint16_t);
	if (v->header < sizeof *v->ip || total < v->header + need || total + sizeof(struct eth_header) > len)
		return false;
	v->l4 = (uint8_t *)v->ip + v->header;
	v->size = total - v->header;
	v->sum = v->l4 + at;
	return true;
}

static void make_right(uint8_t *data, size_t len)
{
	struct view v;
	uint16_t sum;

	if (!view_of(&v, data, len))
		return;
	v.ip->checksum = 0;
	v.ip->checksum = csum_over(v.ip, v.header, 0);
	memset(v.sum, 0, sizeof sum);
	sum = l4_sum(v.ip, v.l4, v.size);
	if (v.ip->protocol == PROTO_UDP && sum == 0)
		sum = 0xffff;
	memcpy(v.sum, &sum, sizeof sum);
}

static bool no_sum(const struct view *v)
{
	return v->ip->protocol == PROTO_UDP && v->sum[0] == 0 && v->sum[1] == 0;
}

static bool is_fragment(const struct view *v)
{
	return be16_host(v->ip->fragment) & IP4_FRAGMENT_MASK;
}

static bool is_later_fragment(const struct view *v)
{
	return be16_host(v->ip->fragment) & IP4_OFFSET_MASK;
}

static bool is_error(const struct view *v)
{
	return v->ip->protocol == PROTO_ICMP && !is_later_fragment(v) && v->l4[0] != ICMP_ECHO_REQUEST &&
	       v->l4[0] != ICMP_ECHO_REPLY;
}

/* Right stays right, and wrong stays wrong: the receiver shall see it. A fragment's checksum is of more than is here. */
static void check_sums(const struct view *was, const struct view *is)
{
	FUZZ_EXPECT((csum_over(was->ip, was->header, 0) == 0) == (csum_over(is->ip, is->header, 0) == 0));
	if (is_fragment(was))
		return;
	FUZZ_EXPECT(no_sum(was) == no_sum(is));
	if (!no_sum(was))
		FUZZ_EXPECT((l4_sum(was->ip, was->l4, was->size) == 0) == (l4_sum(is->ip, is->l4, is->size) == 0));
}

/* Takes over into `was` what translation of the ports may change. */
static void allow_ports(const struct view *was, const struct view *is, bool src, bool dst)
{
	bool icmp = is->ip->protocol == PROTO_ICMP;

	memcpy(was->sum, is->sum, sizeof(uint16_t));
	if (icmp)
		memcpy(was->l4 + offsetof(struct icmp_header, id), is->l4 + offsetof(struct icmp_header, id),
			sizeof(be16_t));
	if (!icmp && src)
		memcpy(was->l4 + offsetof(struct udp_header, src), is->l4 + offsetof(struct udp_header, src),
			sizeof(be16_t));
	if (!icmp && dst)
		memcpy(was->l4 + offsetof(struct udp_header, dst), is->l4 + offsetof(struct udp_header, dst),
			sizeof(be16_t));
}

/* What comes from the inside gets another source, what leaves to the inside another destination; what is turned round
 * both. Errors have more changed in what they quote. */
static void check_only_changed(const struct given *g, enum side to, const struct view *was, const struct view *is)
{
	bool src = g->side == SIDE_INSIDE, dst = to == SIDE_INSIDE;

	FUZZ_EXPECT(is->ip->ttl == was->ip->ttl - 1);
	if (is_error(was))
		return;
	was->ip->ttl--;
	was->ip->checksum = is->ip->checksum;
	if (src && !(be16_host(was->ip->fragment) & IP4_DF))
		was->ip->id = is->ip->id; /* RFC 6864 */
	if (src)
		was->ip->src = is->ip->src;
	if (dst)
		was->ip->dst = is->ip->dst;
	if (!is_later_fragment(was))
		allow_ports(was, is, src, dst);
	FUZZ_EXPECT(memcmp(was->ip, is->ip, g->len - sizeof(struct eth_header)) == 0);
}

static void check_nat_port(const struct view *is)
{
	be16_t port;

	memcpy(&port, is->l4 + (is->ip->protocol == PROTO_ICMP ? offsetof(struct icmp_header, id) : 0), sizeof port);
	FUZZ_EXPECT(be16_host(port) >= PORT_FIRST && be16_host(port) <= PORT_LAST);
}

/* A query that is turned round keeps its identifier. */
static void check_endpoint(const struct given *g, enum side to, const struct view *is)
{
	uint32_t src = be32_host(is->ip->src), dst = be32_host(is->ip->dst);
	bool keeps = is_later_fragment(is) || (is->ip->protocol == PROTO_ICMP && (is_error(is) || to == g->side));

	if (to == SIDE_INSIDE)
		FUZZ_EXPECT(dst >> 22 == 0x64400000u >> 22);
	if (g->side == SIDE_OUTSIDE)
		return;
	FUZZ_EXPECT(src >> 1 == 0xc6336400u >> 1);
	if (!keeps)
		check_nat_port(is);
}

/* ---- the packet backend: every frame in memory of exactly its size ---- */

static void comes_back(const struct packet *p)
{
	struct given *g = &world.given[p->frame];

	FUZZ_EXPECT(p->frame < world.n_given && g->data == p->data && g->len == p->len);
	free(g->data);
	g->data = NULL;
	world.n_back++;
}

static void keep_answer(const struct packet *p)
{
	struct given *a = &world.answer[world.n_answers++ % ANSWERS];

	a->len = p->len;
	memcpy(a->was, p->data, p->len);
}

static unsigned port_rx(struct io *io, enum side side, struct packet *burst, unsigned max)
{
	struct port *p = (struct port *)io;
	unsigned n = p->n[side];

	FUZZ_EXPECT(n <= max);
	memcpy(burst, p->queue[side], n * sizeof *burst);
	p->n[side] = 0;
	return n;
}

static unsigned port_tx(struct io *io, enum side side, const struct packet *burst, unsigned n)
{
	struct view was, is;

	for (unsigned i = 0; i < n; i++) {
		struct given *g = &world.given[burst[i].frame];

		FUZZ_EXPECT(burst[i].out == side && burst[i].data[4] == 1 + side && burst[i].data[10] == 1 + side);
		FUZZ_EXPECT(view_of(&was, g->was, g->len) && view_of(&is, burst[i].data, burst[i].len));
		check_sums(&was, &is);
		check_endpoint(g, side, &is);
		check_only_changed(g, side, &was, &is);
		if (side == SIDE_OUTSIDE)
			keep_answer(&burst[i]);
		comes_back(&burst[i]);
	}
	world.sent += n;
	return n;
}

static void port_drop(struct io *io, const struct packet *burst, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		FUZZ_EXPECT(memcmp(burst[i].data, world.given[burst[i].frame].was, burst[i].len) == 0);
		comes_back(&burst[i]);
	}
}

static void port_flush(struct io *io)
{
}

static const struct io_ops port_ops = {.rx = port_rx, .tx = port_tx, .drop = port_drop, .flush = port_flush};

/* ---- the appliance ---- */

static struct arena *make_arena(void)
{
	static const char text[] = "{\"arena\":{\"engines\":2},"
				   "\"inside\":{\"interface\":\"in\",\"prefixes\":[\"100.64.0.0/10\"]},"
				   "\"outside\":{\"interface\":\"out\"},"
				   "\"pools\":[{\"name\":\"main\",\"addresses\":[\"198.51.100.0/31\"]}],"
				   "\"nat\":{\"port_first\":2000,\"port_last\":2007,"
				   "\"icmp_rate\":0}}"; /* no answers: frames have no room beyond their ends */
	static struct config c;
	struct config_error err;
	struct arena *a;

	FUZZ_EXPECT(config_parse(&c, text, sizeof text - 1, &err));
	c.arena.sessions = SESSIONS;
	c.arena.subscribers = SUBSCRIBERS;
	a = miniature_open(&c, 1);
	FUZZ_EXPECT(a != NULL);
	return a;
}

/* All come back but those that the engines say they hold. */
static void turn_engines(void)
{
	unsigned held = 0;

	for (unsigned e = 0; e < ENGINES; e++) {
		engine_turn(world.engine[e], world.now);
		held += world.engine[e]->n_held + world.engine[e]->fragments.n + world.engine[e]->n_syns;
	}
	FUZZ_EXPECT(world.n_back + held == world.n_given);
	world.n_queued = 0;
}

static void give(unsigned op, const uint8_t *data, size_t len)
{
	struct given *g = &world.given[world.n_given];
	struct port *p = &world.port[op & OP_ENGINE];

	*g = (struct given){malloc(len), (uint32_t)len, (op & OP_OUTSIDE) ? SIDE_OUTSIDE : SIDE_INSIDE, {0}};
	FUZZ_EXPECT(g->data || !len);
	if (len)
		memcpy(g->data, data, len);
	if (op & OP_RIGHT)
		make_right(g->data, len);
	if (len)
		memcpy(g->was, g->data, len);
	p->queue[g->side][p->n[g->side]++] =
		(struct packet){.data = g->data, .frame = world.n_given, .len = g->len, .side = g->side};
	world.n_given++;
	if (++world.n_queued == BURST || (op & OP_TURN))
		turn_engines();
}

static void op_raw(unsigned op, struct input *in)
{
	const uint8_t *data;
	size_t len = input_byte(in);

	len = input_bytes(in, &data, len);
	give(op, data, len);
}

/* A whole packet from a few bits of each: few subscribers, ports and remotes, so that flows meet. */
static void op_flow(unsigned op, struct input *in)
{
	static const uint8_t protocols[] = {PROTO_TCP, PROTO_UDP, PROTO_ICMP, PROTO_UDP};
	uint8_t frame[sizeof(struct eth_header) + sizeof(struct ip4_header) + sizeof(struct tcp_header) + 63] = {0};
	uint8_t kind = input_byte(in), who = input_byte(in), whom = input_byte(in), flags = input_byte(in);
	bool out = !(op & OP_OUTSIDE);
	uint8_t protocol = protocols[kind & 3];
	size_t size = sizeof(struct ip4_header) + sizeof(struct tcp_header) + (kind >> 2);
	struct eth_header eth = {.type = be16_of(ETHERTYPE_IPV4)};
	uint32_t inside = 0x64400000u | (who & 15), nat = 0xc6336400u | (who & 1), remote = 0xcb007100u | (whom & 7);
	uint16_t port[2] = {(uint16_t)(out ? 5000 + (who >> 4 & 3) : 53 + (whom >> 3 & 3)),
		(uint16_t)(out ? 53 + (whom >> 3 & 3) : PORT_FIRST + (who >> 1 & 7))};
	struct ip4_header ip = {.version_ihl = 0x45,
		.total_size = be16_of((uint16_t)size),
		.ttl = 64,
		.protocol = protocol,
		.src = be32_of(out ? inside : remote),
		.dst = be32_of(!out || (whom & 0x80) ? nat : remote)};
	struct tcp_header tcp = {be16_of(port[0]), be16_of(port[1]), .offset = 5 << 4, .flags = flags};
	struct icmp_header icmp = {out ? ICMP_ECHO_REQUEST : ICMP_ECHO_REPLY, 0, 0, be16_of(port[!out]), {0}};

	memcpy(frame, &eth, sizeof eth);
	memcpy(frame + sizeof eth, &ip, sizeof ip);
	if (protocol == PROTO_ICMP)
		memcpy(frame + sizeof eth + sizeof ip, &icmp, sizeof icmp);
	else
		memcpy(frame + sizeof eth + sizeof ip, &tcp, sizeof tcp);
	give(op | OP_RIGHT, frame, sizeof eth + size);
}

static void op_answer(unsigned op, struct input *in)
{
	uint8_t which = input_byte(in), flags = input_byte(in);
	struct given g;
	struct view v;
	be32_t address;
	uint8_t port[2];

	if (!world.n_answers)
		return;
	g = world.answer[which % (world.n_answers < ANSWERS ? world.n_answers : ANSWERS)];
	FUZZ_EXPECT(view_of(&v, g.was, g.len));
	address = v.ip->src;
	v.ip->src = v.ip->dst;
	v.ip->dst = address;
	v.ip->ttl = 64;
	if (v.ip->protocol == PROTO_ICMP) {
		v.l4[0] = ICMP_ECHO_REPLY;
	} else {
		memcpy(port, v.l4, 2);
		memcpy(v.l4, v.l4 + 2, 2);
		memcpy(v.l4 + 2, port, 2);
	}
	if (v.ip->protocol == PROTO_TCP)
		v.l4[offsetof(struct tcp_header, flags)] = flags;
	give(op | OP_OUTSIDE | OP_RIGHT, g.was, g.len);
}

/* Up to two hours at once: a live engine never sleeps as long. */
static void op_time(struct input *in)
{
	turn_engines();
	world.now.ns += 1ull << input_byte(in) % 43;
	turn_engines();
}

/* ---- the end ---- */

static void print_violation(void *context, const struct check_violation *v)
{
	fprintf(stderr, "%s: %s: %s; %s\n", check_rule_info[v->rule].name, v->object.text, v->fact[0].text,
		v->fact[1].text);
}

static uint64_t verdicts(unsigned from, unsigned to)
{
	uint64_t n = 0;

	for (unsigned e = 0; e < ENGINES; e++)
		for (unsigned v = from; v < to; v++)
			n += counter_get(&actor_of(world.arena, e)->verdicts[v]);
	return n;
}

/* Looks at every object there could be, which takes a hundred times as long as all else: for one input in 64. */
static bool is_chosen(const uint8_t *data, size_t size)
{
	return XXH3_64bits(data, size) % 64 == 0;
}

static void check_sound(struct check_counts *counts)
{
	FUZZ_EXPECT(check_arena(world.arena, CHECK_EXACT, print_violation, NULL, counts) == 0);
}

/* Everything idles out. */
static void drain(void)
{
	for (int pass = 0; pass < 24; pass++) {
		world.now = mono_after(world.now, span_s(pass == 0 ? 7500 : 3));
		turn_engines();
	}
	for (unsigned e = 0; e < ENGINES; e++)
		FUZZ_EXPECT(actor_of(world.arena, e)->slab[SLAB_session].used == 0);
}

static void check_nothing_left(void)
{
	struct check_counts counts;

	check_sound(&counts);
	FUZZ_EXPECT(counts.sessions == 0 && counts.mappings == 0);
	FUZZ_EXPECT(counts.ports[0] == 0 && counts.ports[1] == 0);
}

/* ---- starting ---- */

static void make_world(void)
{
	world.arena = make_arena();
	world.now = (mono_t){1000000000000u};
	for (unsigned e = 0; e < ENGINES; e++) {
		world.port[e].io.ops = &port_ops;
		world.engine[e] = calloc(1, sizeof *world.engine[e]);
		world.fresh[e] = calloc(1, sizeof *world.fresh[e]);
		FUZZ_EXPECT(world.engine[e] && world.fresh[e]);
		engine_init(world.engine[e], world.arena, e, &world.port[e].io, e + 1, world.now);
		FUZZ_EXPECT(nat_configure(&world.engine[e]->nat) && nat_load_routes(&world.engine[e]->nat));
	}
	for (unsigned e = 0; e < ENGINES; e++) /* so that its first page is cut */
		op_flow(e | OP_TURN, &(struct input){NULL, NULL});
	FUZZ_EXPECT(world.sent == ENGINES);
	drain();
	check_nothing_left();
	for (unsigned e = 0; e < ENGINES; e++)
		memcpy(world.fresh[e], world.engine[e], sizeof *world.fresh[e]);
	world.image = memfd_create("corenat-fuzz", MFD_CLOEXEC);
	FUZZ_EXPECT(world.image >= 0);
	for (uint64_t at = 0; at < world.arena->bytes;) {
		ssize_t n = write(world.image, world.arena->base + at, world.arena->bytes - at);

		FUZZ_EXPECT(n > 0);
		at += (uint64_t)n;
	}
}

static void restore_world(void)
{
	static mono_t start;

	if (!world.arena) {
		make_world();
		start = world.now;
	}
	FUZZ_EXPECT(mmap(world.arena->base, world.arena->bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED,
			    world.image, 0) == world.arena->base);
	for (unsigned e = 0; e < ENGINES; e++)
		memcpy(world.engine[e], world.fresh[e], sizeof *world.fresh[e]);
	world.now = start;
	world.n_answers = world.n_given = world.n_back = world.n_queued = 0;
	world.sent = 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = {data, data + size};
	bool thorough = FUZZ_REPLAYS || is_chosen(data, size);
	struct check_counts counts;

	restore_world();
	uint64_t decided = verdicts(0, VERDICT_held), forwarded = verdicts(0, VERDICT_drop_no_session);

	for (int i = 0; i < OPERATIONS_MAX && in.at < in.end; i++) {
		unsigned op = input_byte(&in);

		switch (op & OP_KIND) {
		case OP_RAW:
			op_raw(op, &in);
			break;
		case OP_FLOW:
			op_flow(op, &in);
			break;
		case OP_ANSWER:
			op_answer(op, &in);
			break;
		default:
			op_time(&in);
		}
	}
	turn_engines();
	if (thorough)
		check_sound(&counts);
	drain();
	FUZZ_EXPECT(world.n_back == world.n_given);
	FUZZ_EXPECT(verdicts(0, VERDICT_held) - decided == world.n_given);
	FUZZ_EXPECT(verdicts(0, VERDICT_drop_no_session) - forwarded == world.sent);
	if (thorough)
		check_nothing_left();
	return 0;
}
