/* What the engine's core costs per packet, without any network: the real core over a private arena, fed from memory.
 *
 * N UDP sessions, 16 to a subscriber, each with a port of its own (so N mappings), the arena sized for exactly N and the
 * pool twice as large as needed. Packets come in blocks that fit the second-level cache, made outside the measured
 * stretch from a shuffled list of flows: the cost of making them is not in any figure, and neither is reading them from
 * memory, since a NIC too leaves them in a cache. A figure is the median over runs of the median over blocks.
 *
 * Prints a line for the meter and one for each measure; tests/bench/run makes rows of them. */
#include "common/args.h"
#include "common/headers.h"
#include "common/log.h"
#include "pe/engine.h"
#include "pe/miniature.h"
#include "tests/bench/meter.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <valgrind/callgrind.h>

enum {
	BLOCK = 512,      /* packets of a measured stretch: short, since some machines take the CPU away often */
	FRAME = 60,       /* bytes; 64 on the wire with the frame check sequence */
	FRAME_SPACE = 64, /* bytes */
	PER_SUBSCRIBER = 16,
	PER_ADDRESS = 32768, /* ports in use of a NAT address */
	FIRST_PORT = 20000,
	BLOCKS_MAX = 65536,
	RUNS_MAX = 99,
	SEED = 20260101,
};
#define SUBSCRIBERS 0x64400000u /* 100.64.0.0/10, RFC 6598 */
#define POOL 0xc6120000u        /* 198.18.0.0/15, RFC 2544 */
#define REMOTES 0xcb007100u     /* 203.0.113.0/24, RFC 5737 */

struct flow_record {
	uint32_t inside, remote, nat;
	uint16_t inside_port, remote_port, nat_port;
};

/* Packets made before the clock starts. */
struct block {
	struct packet packet[BLOCK];
	_Alignas(CACHE_LINE) uint8_t frame[BLOCK][FRAME_SPACE];
};

/* A packet source and sink for the engine's loop that does nothing but hand out the block. */
struct feed {
	struct io io;
	struct block *block;
	unsigned next, burst;
};

struct bench {
	struct config config;
	struct engine *engine;
	struct feed feed;
	struct block block;
	struct meter meter;
	struct flow_record *flow;
	uint32_t n, live, at; /* flows; those with a session, which come first; the next to send */
	uint32_t addresses;
	uint64_t random;
	mono_t now;
	unsigned runs, blocks;
};

/* What creating all sessions took. */
struct filling {
	double cycles, instructions; /* per packet */
	unsigned refused;
};

static uint32_t rnd(struct bench *b)
{
	b->random ^= b->random << 13;
	b->random ^= b->random >> 7;
	b->random ^= b->random << 17;
	return (uint32_t)(b->random >> 32);
}

/* ---- flows ---- */

static void flows_make(struct bench *b)
{
	for (uint32_t i = 0; i < b->n; i++)
		b->flow[i] = (struct flow_record){
			.inside = SUBSCRIBERS + 16 + i / PER_SUBSCRIBER,
			.inside_port = (uint16_t)(FIRST_PORT + i % PER_SUBSCRIBER),
			.remote = REMOTES + (rnd(b) & 0xff),
			.remote_port = (uint16_t)(1024 + (rnd(b) & 0x7fff)),
		};
}

static void flows_shuffle(struct bench *b)
{
	for (uint32_t i = b->live - 1; i > 0; i--) {
		uint32_t j = (uint32_t)((uint64_t)rnd(b) * (i + 1) >> 32);
		struct flow_record f = b->flow[i];

		b->flow[i] = b->flow[j];
		b->flow[j] = f;
	}
	b->at = 0;
}

/* ---- packets ---- */

/* Checksums hold anything but zero: the core updates them by difference and never looks. */
static void packet_make(
	struct block *block, unsigned i, enum side side, uint32_t src, uint32_t dst, uint16_t sport, uint16_t dport)
{
	uint8_t *at = block->frame[i];
	const struct eth_header eth = {.dst = {2, 0, 0, 0, 9, 1}, .src = {2, 0, 0, 0, 9, 2}, .type = be16_of(0x0800)};
	const struct ip4_header ip = {
		.version_ihl = 0x45,
		.total_size = be16_of(FRAME - sizeof eth),
		.ttl = 64,
		.protocol = PROTO_UDP,
		.checksum = 0x1234,
		.src = be32_of(src),
		.dst = be32_of(dst),
	};
	const struct udp_header udp = {be16_of(sport), be16_of(dport), be16_of(FRAME - sizeof eth - sizeof ip), 0x5678};

	memcpy(at, &eth, sizeof eth);
	memcpy(at + sizeof eth, &ip, sizeof ip);
	memcpy(at + sizeof eth + sizeof ip, &udp, sizeof udp);
	block->packet[i] = (struct packet){.data = at, .frame = i, .len = FRAME, .side = (uint8_t)side};
}

static struct flow_record *next_flow(struct bench *b)
{
	struct flow_record *f = &b->flow[b->at++];

	if (b->at == b->live)
		b->at = 0;
	return f;
}

static void make_outbound(struct bench *b, unsigned i)
{
	const struct flow_record *f = next_flow(b);

	packet_make(&b->block, i, SIDE_INSIDE, f->inside, f->remote, f->inside_port, f->remote_port);
}

static void make_inbound(struct bench *b, unsigned i)
{
	const struct flow_record *f = next_flow(b);

	packet_make(&b->block, i, SIDE_OUTSIDE, f->remote, f->nat, f->remote_port, f->nat_port);
}

/* From a remote network no session knows, to a port that no mapping has. */
static void make_unknown(struct bench *b, unsigned i)
{
	uint32_t r = rnd(b), s = rnd(b);

	packet_make(&b->block, i, SIDE_OUTSIDE, 0x08000000u + (r & 0xffffff), POOL + s % b->addresses,
		(uint16_t)(r >> 16), (uint16_t)(1 + (s >> 17) % 1023));
}

/* ---- the measured stretch ---- */

static void through_core(struct bench *b, unsigned burst)
{
	for (unsigned i = 0; i < BLOCK; i += burst)
		nat_burst(&b->engine->nat, &b->block.packet[i], burst, b->now);
}

/* The same with everything the engine does around the core, bar its packet backend. */
static void through_loop(struct bench *b, unsigned burst)
{
	b->feed.next = 0;
	b->feed.burst = burst;
	while (b->feed.next < BLOCK)
		engine_turn(b->engine, b->now);
}

static unsigned feed_rx(struct io *io, enum side side, struct packet *burst, unsigned max)
{
	struct feed *f = (struct feed *)io;
	unsigned n = f->burst < max ? f->burst : max;

	if (f->next == BLOCK || f->block->packet[f->next].side != side)
		return 0;
	memcpy(burst, &f->block->packet[f->next], n * sizeof *burst);
	f->next += n;
	return n;
}

static unsigned feed_tx(struct io *io, enum side side, const struct packet *burst, unsigned n)
{
	struct feed *f = (struct feed *)io;

	/* What became of them is looked at afterwards. */
	for (unsigned i = 0; i < n; i++)
		f->block->packet[burst[i].frame].verdict = burst[i].verdict;
	return n;
}

static void feed_drop(struct io *io, const struct packet *burst, unsigned n)
{
	feed_tx(io, SIDE_INSIDE, burst, n);
}

static void feed_flush(struct io *io)
{
	(void)io;
}

/* ---- measures ---- */

struct measure {
	const char *name;
	void (*make)(struct bench *b, unsigned i);
	void (*work)(struct bench *b, unsigned burst);
	unsigned burst;
	enum verdict expect;
};

static const struct measure measures[] = {
	{"hit", make_outbound, through_core, 32, VERDICT_fwd_out_hit},
	{"hit_burst_1", make_outbound, through_core, 1, VERDICT_fwd_out_hit},
	{"hit_burst_64", make_outbound, through_core, 64, VERDICT_fwd_out_hit},
	{"hit_with_loop", make_outbound, through_loop, 32, VERDICT_fwd_out_hit},
	{"inbound", make_inbound, through_core, 32, VERDICT_fwd_in_hit},
	{"unknown", make_unknown, through_core, 32, VERDICT_drop_no_session},
};
static const struct measure create = {"create", make_outbound, through_core, 32, VERDICT_fwd_out_new};

/* Packets that met another fate; the first is told about when `fatal`. */
static unsigned astray(const struct bench *b, const struct measure *m, bool fatal)
{
	unsigned n = 0;

	for (unsigned i = 0; i < BLOCK; i++) {
		enum verdict v = b->block.packet[i].verdict;

		if (v != m->expect && n++ == 0 && fatal)
			log_error("%s: a packet's verdict is %s, not %s", m->name, verdict_info[v].name,
				verdict_info[m->expect].name);
	}
	return n;
}

/* One block; so much time passes with it as at four million packets per second. */
static void stretch(struct bench *b, const struct measure *m)
{
	for (unsigned i = 0; i < BLOCK; i++)
		m->make(b, i);
	b->now.ns += BLOCK * 250;
	meter_begin(&b->meter);
	m->work(b, m->burst);
	meter_end(&b->meter);
}

static void print_measure(
	const struct bench *b, const struct measure *m, double *cycles, double instructions, unsigned refused)
{
	double middle = median(cycles, b->runs); /* and sorts them */

	printf("%s sessions=%u burst=%u cycles=%.1f least=%.1f instructions=%.1f refused=%u runs=%u\n", m->name, b->n,
		m->burst, middle, cycles[0], instructions, refused, b->runs);
	fflush(stdout);
}

static bool run_measure(struct bench *b, const struct measure *m)
{
	double cycles[RUNS_MAX], instructions = 0;
	static double block[BLOCKS_MAX];

	for (unsigned run = 0; run < b->runs; run++) {
		meter_calibrate(&b->meter);
		for (unsigned i = 0; i < b->blocks; i++) {
			stretch(b, m);
			if (astray(b, m, true))
				return false;
			block[i] = b->meter.cycles / BLOCK;
			instructions += b->meter.instructions;
		}
		cycles[run] = median(block, b->blocks);
	}
	print_measure(b, m, cycles, instructions / ((double)b->runs * b->blocks * BLOCK), 0);
	return true;
}

/* ---- creating ---- */

/* Where the block's packets were sent from is where their replies go. */
static void note_nat_endpoints(struct bench *b, uint32_t first)
{
	for (unsigned i = 0; i < BLOCK; i++) {
		const uint8_t *at = b->block.frame[i] + sizeof(struct eth_header);
		const struct ip4_header *ip = (const struct ip4_header *)at;
		const struct udp_header *udp = (const struct udp_header *)(at + sizeof *ip);
		bool made = b->block.packet[i].verdict == create.expect;

		b->flow[first + i].nat = made ? be32_host(ip->src) : 0;
		b->flow[first + i].nat_port = be16_host(udp->src);
	}
}

/* Creates all sessions; false when more than one in a hundred was refused. */
static bool fill(struct bench *b, struct filling *f)
{
	double *block = calloc(b->n / BLOCK, sizeof *block);
	unsigned n = 0;

	if (!block)
		return false;
	*f = (struct filling){0};
	for (b->at = 0; n < b->n / BLOCK; n++) {
		stretch(b, &create);
		block[n] = b->meter.cycles / BLOCK;
		f->instructions += b->meter.instructions / b->n;
		f->refused += astray(b, &create, false);
		note_nat_endpoints(b, n * BLOCK);
	}
	f->cycles = median(block, n);
	free(block);
	if (f->refused > b->n / 100)
		log_error("create: %u of %u sessions were refused", f->refused, b->n);
	return f->refused <= b->n / 100;
}

/* Flows that got no session are no use for measuring hits. */
static void forget_refused(struct bench *b)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < b->n; i++)
		if (b->flow[i].nat)
			b->flow[n++] = b->flow[i];
	b->live = n;
}

/* Lets so much time pass that every session ends. */
static void expire(struct bench *b)
{
	b->now.ns += span_s(b->config.nat.udp_timeout_s + 1).ns;
	while (b->engine->nat.actor->slab[SLAB_session].used) {
		b->now.ns += 1000000;
		nat_housekeep(&b->engine->nat, b->now);
	}
}

static bool run_create(struct bench *b)
{
	double cycles[RUNS_MAX];
	struct filling f = {0};

	for (unsigned run = 0; run < b->runs; run++) {
		expire(b);
		meter_calibrate(&b->meter);
		if (!fill(b, &f))
			return false;
		cycles[run] = f.cycles;
	}
	print_measure(b, &create, cycles, f.instructions, f.refused);
	return true;
}

/* ---- set-up ---- */

static bool configure(struct bench *b)
{
	static const char document[] =
		"{\"arena\":{\"engines\":1,\"sessions\":%u},"
		"\"inside\":{\"interface\":\"in\",\"prefixes\":[\"100.64.0.0/10\"],\"rss\":{\"mode\":\"single\"}},"
		"\"outside\":{\"interface\":\"out\",\"rss\":{\"mode\":\"single\"}},"
		"\"pools\":[{\"name\":\"main\",\"addresses\":[\"198.18.0.0-198.18.%u.%u\"]}]}";
	char text[sizeof document + 64];
	struct config_error err;

	b->addresses = b->n / PER_ADDRESS + 1;
	snprintf(text, sizeof text, document, b->n, (b->addresses - 1) >> 8, (b->addresses - 1) & 0xff);
	if (config_parse(&b->config, text, strlen(text), &err))
		return true;
	log_error("%s", err.text);
	return false;
}

static bool open_engine(struct bench *b)
{
	static const struct io_ops ops = {.rx = feed_rx, .tx = feed_tx, .drop = feed_drop, .flush = feed_flush};
	struct arena *a;

	b->flow = calloc(b->n, sizeof *b->flow);
	b->engine = calloc(1, sizeof *b->engine);
	if (!b->flow || !b->engine || !configure(b))
		return false;
	a = miniature_open(&b->config, SEED);
	if (!a)
		return false;
	b->feed = (struct feed){.io = {&ops}, .block = &b->block};
	b->now = mono_after((mono_t){0}, span_s(1000));
	engine_init(b->engine, a, 0, &b->feed.io, SEED, b->now);
	nat_configure(&b->engine->nat);
	nat_load_routes(&b->engine->nat);
	printf("meter source=%s tsc_ghz=%.3f core_ghz=%.3f memory=\"%s\" bytes_per_session=%.1f\n", b->meter.source,
		b->meter.tsc_ghz, b->meter.core_ghz, a->backing, (double)a->bytes / b->n);
	return true;
}

static void pin_to(unsigned cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	if (sched_setaffinity(0, sizeof set, &set) != 0)
		log_warning("cannot run on CPU %u alone", cpu);
}

static bool wanted(const char *list, const char *name)
{
	size_t len = strlen(name);

	for (const char *at = list; at && (at = strstr(at, name)); at += len)
		if ((at == list || at[-1] == ',') && (at[len] == 0 || at[len] == ','))
			return true;
	return !list;
}

static bool run_all(struct bench *b, const char *list)
{
	struct filling first;

	flows_make(b);
	b->live = b->n;
	flows_shuffle(b);
	if (!fill(b, &first)) /* touches all memory for the first time */
		return false;
	CALLGRIND_START_INSTRUMENTATION;
	CALLGRIND_ZERO_STATS;
	if (wanted(list, create.name) && !run_create(b))
		return false;
	forget_refused(b);
	flows_shuffle(b);
	for (unsigned i = 0; i < sizeof measures / sizeof measures[0]; i++)
		if (wanted(list, measures[i].name) && !run_measure(b, &measures[i]))
			return false;
	return true;
}

int main(int argc, char **argv)
{
	static struct bench b = {.n = 1 << 20, .random = SEED, .runs = 5, .blocks = 512};
	static const char *list;
	static unsigned cpu;
	const struct arg args[] = {
		{"sessions", "N", "how many, 1048576", .number = &b.n, .min = 4096, .max = 1u << 26},
		{"measure", "LIST", "some of them: create,hit,…", .text = &list},
		{"runs", "N", "of each measure, 5", .number = &b.runs, .min = 1, .max = RUNS_MAX},
		{"blocks", "N", "of 512 packets in a run, 512", .number = &b.blocks, .min = 1, .max = BLOCKS_MAX},
		{"cpu", "N", "run on this CPU alone, 0", .number = &cpu, .max = CPU_SETSIZE - 1},
		{0},
	};
	int status = args_parse(argc, argv, "bench_engine", "cycles per packet of the NAT core", args, NULL);
	bool ok;

	if (status != ARGS_RUN)
		return status;
	log_open("bench_engine");
	pin_to(cpu);
	meter_open(&b.meter);
	b.n -= b.n % BLOCK;
	ok = open_engine(&b) && run_all(&b, list);
	if (b.engine)
		arena_close(b.engine->nat.arena);
	free(b.engine);
	free(b.flow);
	meter_close(&b.meter);
	return ok ? 0 : 1;
}
