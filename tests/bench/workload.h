/* workload: an engine fed from memory with packets of flows in random order, and what a stretch of them costs.
 *
 * What       N UDP flows, 16 to a subscriber, each with a port of its own (so as many mappings). Packets come in blocks that
 *            fit the second-level cache, made outside the measured stretch from a shuffled list of flows: the cost of making
 *            them is in no figure, and neither is reading them from memory, since a NIC too leaves them in a cache.
 * Units      cycles per packet; simulated time passes as at four million packets per second.
 * Ownership  a workload is one thread's; several, of different engines, may share an arena. It is large: allocate it.
 * Calls      workload_open and _close by one thread at a time; the rest by the workload's own.
 * Errors     false after one log line.
 * Use        a = workload_arena(&plan, &config); workload_open(w, a, &config, 0, 0, n); workload_fill(w, &f);
 *            flows_shuffle(w); workload_run(w, &measure, blocks, &result);
 */
#ifndef CORENAT_TESTS_BENCH_WORKLOAD_H
#define CORENAT_TESTS_BENCH_WORKLOAD_H

#include "pe/engine.h"
#include "tests/bench/meter.h"

enum {
	BLOCK = 512,      /* packets of a measured stretch: short, since some machines take the CPU away often */
	FRAME = 60,       /* bytes; 64 on the wire with the frame check sequence */
	FRAME_SPACE = 64, /* bytes */
	PER_SUBSCRIBER = 16,
	PORTS_PER_ADDRESS = 65535 - 1024 + 1,
	BURST_USUAL = 32,
	BLOCKS_MAX = 65536,
	REPLY_LAG = 64, /* blocks: replies come 8 ms after what they answer */
	SEED = 20260101,
};

struct flow_record {
	uint32_t inside, remote, nat; /* nat 0: there is no session */
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

struct workload {
	const struct config *config;
	struct engine *engine;
	struct feed feed;
	struct block block;
	struct meter meter;
	struct flow_record *flow;
	uint32_t n, live, at; /* flows; those with a session, which come first; the next to send */
	uint32_t addresses;   /* of the pool */
	uint64_t *taken;      /* a bit for each port of each address that some flow's mapping has; see ports_note */
	uint64_t random;
	mono_t now;
};

/* What the arena is made for. */
struct workload_plan {
	uint32_t sessions, addresses, engines;
	bool replies_to_0; /* all that comes from outside comes to engine 0, else everything is spread evenly */
	const char *nat;   /* more of the document's object "nat", or NULL */
	uint32_t statics;  /* static mappings */
};

struct measure {
	const char *name;
	void (*make)(struct workload *w, unsigned i);
	void (*work)(struct workload *w, unsigned burst);
	unsigned burst;
	enum verdict expect, expect_odd; /* of every second packet, when it is another */
};

/* Of a filling: its last fifth (tables as full as they are planned, from 80 % on), all of it, its first fifth. */
enum filled { AT_LOAD, THROUGHOUT, NEARLY_EMPTY, N_FILLED };

/* What creating sessions took, per session. */
struct filling {
	double create[N_FILLED], reply[N_FILLED]; /* cycles, medians over blocks */
	unsigned created, refused;
};

/* ---- flows and packets ---- */

void flows_shuffle(struct workload *w);
/* Flows that got no session are no use for measuring hits. */
void flows_forget_refused(struct workload *w);
/* Leaves out those whose replies another engine receives. */
void flows_keep_home(struct workload *w);
struct flow_record *flows_next(struct workload *w);

void make_outbound(struct workload *w, unsigned i);
void make_inbound(struct workload *w, unsigned i);
/* Which ports the flows have, for make_unknown: again whenever that changes. */
bool ports_note(struct workload *w);
/* From a remote network no session knows, to a port that no mapping has: any from 1 on, amid those that are taken. */
void make_unknown(struct workload *w, unsigned i);
/* Replies, and every second packet unknown. */
void make_half_unknown(struct workload *w, unsigned i);

/* ---- what is done with a block ---- */

void through_core(struct workload *w, unsigned burst);
/* The same with everything the engine does around the core, bar its packet backend. */
void through_loop(struct workload *w, unsigned burst);

/* One block, with the meter on. */
void stretch(struct workload *w, const struct measure *m);
/* Packets that met another fate; the first is told about when `fatal`. */
unsigned astray(const struct workload *w, const struct measure *m, bool fatal);

/* The median of so many blocks' cycles per packet; instructions add up. False when a packet went astray. */
bool workload_run(struct workload *w, const struct measure *m, unsigned blocks, double *cycles, double *instructions);

/* ---- sessions ---- */

extern const struct measure create_measure, reply_measure;

/* One block of new flows, from w->flow[at * BLOCK] on; notes their NAT endpoints. Returns how many were refused. */
unsigned create_block(struct workload *w, unsigned at);
/* The same by another measure of new flows. */
unsigned create_block_as(struct workload *w, unsigned at, const struct measure *m);
/* Creates all sessions, each followed by a reply when `replies`; false when more than one in a hundred was refused. */
bool workload_fill(struct workload *w, bool replies, struct filling *f);
/* Lets so much time pass that every session ends; their ports rest then (RFC 6888 REQ-8). */
void workload_expire(struct workload *w);
/* And so much more that none rests any longer. */
void workload_rest(struct workload *w);

/* ---- set-up ---- */

struct arena *workload_arena(const struct workload_plan *plan, struct config *c);
/* Engine `number` with flows of subscribers from the first-th on. */
bool workload_open(struct workload *w, struct arena *a, const struct config *c, unsigned number,
	uint32_t first_subscriber, uint32_t flows);
void workload_close(struct workload *w);
void pin_to(unsigned cpu);
/* Whether the name is in a comma-separated list; NULL lists all. */
bool is_listed(const char *list, const char *name);

#endif
