#include "tests/bench/workload.h"

#include "common/headers.h"
#include "common/log.h"
#include "pe/miniature.h"

#include <arpa/inet.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FIRST_PORT = 20000, REST_TURNS = 20000, SUBSCRIBERS_LEAST = 64 };
#define SUBSCRIBERS 0x64400000u /* 100.64.0.0/10, RFC 6598 */
#define POOL 0xc6120000u        /* 198.18.0.0/15, RFC 2544 */
#define PORTS 65536u
#define REMOTES 0xcb007100u /* 203.0.113.0/24, RFC 5737 */

/* ---- flows ---- */

static uint32_t rnd(struct workload *w)
{
	w->random ^= w->random << 13;
	w->random ^= w->random >> 7;
	w->random ^= w->random << 17;
	return (uint32_t)(w->random >> 32);
}

static void flows_make(struct workload *w, uint32_t first_subscriber)
{
	for (uint32_t i = 0; i < w->n; i++)
		w->flow[i] = (struct flow_record){
			.inside = SUBSCRIBERS + 16 + first_subscriber + i / PER_SUBSCRIBER,
			.inside_port = (uint16_t)(FIRST_PORT + i % PER_SUBSCRIBER),
			.remote = REMOTES + (rnd(w) & 0xff),
			.remote_port = (uint16_t)(1024 + (rnd(w) & 0x7fff)),
		};
}

void flows_shuffle(struct workload *w)
{
	for (uint32_t i = w->live - 1; i > 0; i--) {
		uint32_t j = (uint32_t)((uint64_t)rnd(w) * (i + 1) >> 32);
		struct flow_record f = w->flow[i];

		w->flow[i] = w->flow[j];
		w->flow[j] = f;
	}
	w->at = 0;
}

void flows_forget_refused(struct workload *w)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < w->n; i++)
		if (w->flow[i].nat)
			w->flow[n++] = w->flow[i];
	w->live = n;
}

static unsigned receiver_of(const struct workload *w, const struct flow_record *f)
{
	return steering_engine(&w->engine->nat.steering[SIDE_OUTSIDE], PROTO_UDP, be32_of(f->remote), be32_of(f->nat),
		be16_of(f->remote_port), be16_of(f->nat_port));
}

void flows_keep_home(struct workload *w)
{
	for (uint32_t i = 0; i < w->live; i++)
		if (w->flow[i].nat && receiver_of(w, &w->flow[i]) != w->engine->nat.engine)
			w->flow[i].nat = 0;
	flows_forget_refused(w);
}

struct flow_record *flows_next(struct workload *w)
{
	struct flow_record *f = &w->flow[w->at++];

	if (w->at == w->live)
		w->at = 0;
	return f;
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

void make_outbound(struct workload *w, unsigned i)
{
	const struct flow_record *f = flows_next(w);

	packet_make(&w->block, i, SIDE_INSIDE, f->inside, f->remote, f->inside_port, f->remote_port);
}

void make_inbound(struct workload *w, unsigned i)
{
	const struct flow_record *f = flows_next(w);

	packet_make(&w->block, i, SIDE_OUTSIDE, f->remote, f->nat, f->remote_port, f->nat_port);
}

bool ports_note(struct workload *w)
{
	free(w->taken);
	w->taken = calloc(w->addresses, PORTS / 8);
	for (uint32_t i = 0; w->taken && i < w->live; i++) {
		uint32_t bit = (w->flow[i].nat - POOL) * PORTS + w->flow[i].nat_port;

		w->taken[bit / 64] |= 1ull << bit % 64;
	}
	return w->taken != NULL;
}

/* Some port is free, since a pool is planned half full. */
void make_unknown(struct workload *w, unsigned i)
{
	uint32_t r = rnd(w), bit;

	do
		bit = (uint32_t)((uint64_t)rnd(w) * w->addresses * PORTS >> 32);
	while (bit % PORTS == 0 || w->taken[bit / 64] >> bit % 64 & 1);
	packet_make(&w->block, i, SIDE_OUTSIDE, 0x08000000u + (r & 0xffffff), POOL + bit / PORTS, (uint16_t)(r >> 16),
		(uint16_t)(bit % PORTS));
}

void make_half_unknown(struct workload *w, unsigned i)
{
	if (i % 2)
		make_unknown(w, i);
	else
		make_inbound(w, i);
}

/* ---- the measured stretch ---- */

void through_core(struct workload *w, unsigned burst)
{
	for (unsigned i = 0; i < BLOCK; i += burst)
		nat_burst(&w->engine->nat, &w->block.packet[i], burst, w->now);
}

/* The same with everything the engine does around the core, bar its packet backend. */
void through_loop(struct workload *w, unsigned burst)
{
	w->feed.next = 0;
	w->feed.burst = burst;
	while (w->feed.next < BLOCK)
		engine_turn(w->engine, w->now);
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

/* ---- stretches ---- */

unsigned astray(const struct workload *w, const struct measure *m, bool fatal)
{
	unsigned n = 0;

	for (unsigned i = 0; i < BLOCK; i++) {
		enum verdict v = w->block.packet[i].verdict, expected = i % 2 ? m->expect_odd : m->expect;

		if (v != expected && n++ == 0 && fatal)
			log_error("%s: a packet's verdict is %s, not %s", m->name, verdict_info[v].name,
				verdict_info[expected].name);
	}
	return n;
}

/* So much time passes with it as at four million packets per second. */
void stretch(struct workload *w, const struct measure *m)
{
	for (unsigned i = 0; i < BLOCK; i++)
		m->make(w, i);
	w->now.ns += BLOCK * 250;
	meter_begin(&w->meter);
	m->work(w, m->burst);
	meter_end(&w->meter);
}

bool workload_run(struct workload *w, const struct measure *m, unsigned blocks, double *cycles, double *instructions)
{
	double *block = calloc(blocks, sizeof *block);
	unsigned n = 0;

	if (!block)
		return false;
	meter_calibrate(&w->meter);
	for (; n < blocks; n++) {
		stretch(w, m);
		if (astray(w, m, true))
			break;
		block[n] = w->meter.cycles / BLOCK;
		*instructions += w->meter.instructions;
	}
	*cycles = median(block, n);
	free(block);
	return n == blocks;
}

/* ---- sessions ---- */

const struct measure create_measure = {
	"create", make_outbound, through_core, BURST_USUAL, VERDICT_fwd_out_new, VERDICT_fwd_out_new};
const struct measure reply_measure = {
	"reply", make_inbound, through_core, BURST_USUAL, VERDICT_fwd_in_hit, VERDICT_fwd_in_hit};

/* Where the block's packets were sent from is where their replies go. */
static void note_nat_endpoints(struct workload *w, uint32_t first)
{
	for (unsigned i = 0; i < BLOCK; i++) {
		const uint8_t *at = w->block.frame[i] + sizeof(struct eth_header);
		const struct ip4_header *ip = (const struct ip4_header *)at;
		const struct udp_header *udp = (const struct udp_header *)(at + sizeof *ip);
		bool made = w->block.packet[i].verdict == create_measure.expect;

		w->flow[first + i].nat = made ? be32_host(ip->src) : 0;
		w->flow[first + i].nat_port = be16_host(udp->src);
	}
}

unsigned create_block_as(struct workload *w, unsigned at, const struct measure *m)
{
	w->at = at * BLOCK;
	stretch(w, m);
	note_nat_endpoints(w, at * BLOCK);
	return astray(w, m, false);
}

unsigned create_block(struct workload *w, unsigned at)
{
	return create_block_as(w, at, &create_measure);
}

/* The replies to an earlier block; 0 cycles when some of that one's packets were refused. */
static double reply_cycles(struct workload *w, unsigned at)
{
	w->at = at * BLOCK;
	stretch(w, &reply_measure);
	return astray(w, &reply_measure, false) ? 0 : w->meter.cycles / BLOCK;
}

/* Medians of v[0..n), which came in this order. */
static void by_filling(double *v, unsigned n, double out[N_FILLED])
{
	unsigned fifth = (n + 4) / 5;

	/* The whole last: it sorts. */
	out[AT_LOAD] = median(v + n - fifth, fifth);
	out[NEARLY_EMPTY] = median(v, fifth);
	out[THROUGHOUT] = median(v, n);
}

bool workload_fill(struct workload *w, bool replies, struct filling *f)
{
	unsigned blocks = w->n / BLOCK, n_replies = 0;
	double *create = calloc(2 * (size_t)blocks, sizeof *create), *reply = create + blocks;

	if (!create)
		return false;
	*f = (struct filling){0};
	w->live = w->n;
	for (unsigned i = 0; i < blocks; i++) {
		f->refused += create_block(w, i);
		create[i] = w->meter.cycles / BLOCK;
		if (replies && i >= REPLY_LAG)
			reply[n_replies++] = reply_cycles(w, i - REPLY_LAG);
	}
	f->created = blocks * BLOCK - f->refused;
	by_filling(create, blocks, f->create);
	by_filling(reply, n_replies, f->reply);
	free(create);
	if (f->refused > w->n / 100)
		log_error("create: %u of %u sessions were refused", f->refused, w->n);
	return f->refused <= w->n / 100;
}

void workload_expire(struct workload *w)
{
	w->now.ns += span_s(w->config->nat.udp_timeout_s + 1).ns;
	while (w->engine->nat.actor->slab[SLAB_session].used) {
		w->now.ns += 1000000;
		nat_housekeep(&w->engine->nat, w->now);
	}
}

void workload_rest(struct workload *w)
{
	/* Two hold times at most, in turns of the housekeeping, which wakes resting ports a few at a time. */
	for (unsigned i = 0; i < REST_TURNS; i++) {
		w->now.ns += 2 * span_s(w->config->nat.hold_s + 1).ns / REST_TURNS;
		nat_housekeep(&w->engine->nat, w->now);
	}
}

/* ---- set-up ---- */

static uint32_t subscribers_of(const struct workload_plan *plan)
{
	uint32_t n = plan->sessions / PER_SUBSCRIBER;

	return n > SUBSCRIBERS_LEAST ? n : SUBSCRIBERS_LEAST;
}

/* Two rules, of which the second matches, and limits that nobody reaches: what an appliance has at least. */
static void list_rules(FILE *f)
{
	fputs("\"rules\":[{\"destination\":[\"192.0.2.0/24\"],\"action\":\"bypass\"},{\"inside\":[\"100.64.0.0/10\"]}],"
	      "\"limits\":[{\"name\":\"usual\",\"inside\":[\"100.64.0.0/10\"],\"sessions\":4000,\"udp_ports\":2000}],",
		f);
}

/* For subscribers that have flows too, on all addresses in turn. */
static void list_statics(FILE *f, const struct workload_plan *plan)
{
	for (uint32_t i = 0; i < plan->statics; i++) {
		struct in_addr inside = {htonl(SUBSCRIBERS + 16 + i)}, nat = {htonl(POOL + i % plan->addresses)};
		char from[INET_ADDRSTRLEN], to[INET_ADDRSTRLEN];

		fprintf(f,
			"%s{\"protocol\":\"udp\",\"inside\":\"%s\",\"inside_port\":80,\"nat\":\"%s\",\"nat_port\":%u}",
			i ? "," : "", inet_ntop(AF_INET, &inside, from, sizeof from),
			inet_ntop(AF_INET, &nat, to, sizeof to), 2000 + i / plan->addresses);
	}
}

static void write_document(FILE *f, const struct workload_plan *plan)
{
	static const char document[] =
		"{\"arena\":{\"engines\":%u,\"sessions\":%u,\"subscribers\":%u},"
		"\"inside\":{\"interface\":\"in\",\"prefixes\":[\"100.64.0.0/10\"],\"rss\":{%s}},"
		"\"outside\":{\"interface\":\"out\",\"rss\":{%s}},\"nat\":{%s},"
		"\"pools\":[{\"name\":\"main\",\"addresses\":[\"198.18.0.0-198.18.%u.%u\"]}],";
	static const char single[] = "\"mode\":\"single\"";
	const char *rss = plan->replies_to_0 ? single : "";
	uint32_t last = plan->addresses - 1;

	fprintf(f, document, plan->engines, plan->sessions, subscribers_of(plan), rss, rss, plan->nat ? plan->nat : "",
		last >> 8, last & 0xff);
	list_rules(f);
	fputs("\"static\":[", f);
	list_statics(f, plan);
	fputs("]}", f);
}

static bool configure(const struct workload_plan *plan, struct config *c)
{
	struct config_error err = {"no memory"};
	char *text = NULL;
	size_t size;
	FILE *f = open_memstream(&text, &size);

	if (f)
		write_document(f, plan);
	bool ok = f && fclose(f) == 0 && config_parse(c, text, size, &err);

	free(text);
	if (!ok)
		log_error("%s", err.text);
	return ok;
}

struct arena *workload_arena(const struct workload_plan *plan, struct config *c)
{
	return configure(plan, c) ? miniature_open(c, SEED) : NULL;
}

static uint32_t addresses_of(const struct config *c)
{
	return c->pools[0].ranges[0].last - c->pools[0].ranges[0].first + 1;
}

bool workload_open(struct workload *w, struct arena *a, const struct config *c, unsigned number,
	uint32_t first_subscriber, uint32_t flows)
{
	static const struct io_ops ops = {.rx = feed_rx, .tx = feed_tx, .drop = feed_drop, .flush = feed_flush};

	w->config = c;
	w->n = w->live = flows - flows % BLOCK;
	w->flow = calloc(w->n, sizeof *w->flow);
	w->engine = calloc(1, sizeof *w->engine);
	if (!w->flow || !w->engine)
		return false;
	w->random = SEED + number;
	w->addresses = addresses_of(c);
	w->feed = (struct feed){.io = {&ops}, .block = &w->block};
	w->now = mono_after((mono_t){0}, span_s(1000));
	engine_init(w->engine, a, number, &w->feed.io, SEED, w->now);
	nat_configure(&w->engine->nat);
	nat_load_routes(&w->engine->nat);
	meter_open(&w->meter);
	flows_make(w, first_subscriber);
	flows_shuffle(w);
	return true;
}

void workload_close(struct workload *w)
{
	if (w->engine)
		meter_close(&w->meter);
	free(w->engine);
	free(w->taken);
	free(w->flow);
}

void pin_to(unsigned cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	if (sched_setaffinity(0, sizeof set, &set) != 0)
		log_warning("cannot run on CPU %u alone", cpu);
}

bool is_listed(const char *list, const char *name)
{
	size_t len = strlen(name);

	for (const char *at = list; at && (at = strstr(at, name)); at += len)
		if ((at == list || at[-1] == ',') && (at[len] == 0 || at[len] == ','))
			return true;
	return !list;
}
