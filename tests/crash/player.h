/* player: an engine under random traffic, for the churn of processes and of threads.
 *
 * What       one engine's NAT core with packets from a small universe of flows: new ones, hits, closing ones, and the
 *            replies that remotes send to what any engine forwarded, each to the engine its RSS chooses.
 * Units      a turn is one burst per side and one housekeeping slice.
 * Ownership  a player belongs to one thread or process. The wire is shared by all: only atomic words.
 * Calls      player_turn: its thread. Errors  none.
 *
 * The universe slides with time, so that flows are left to idle out: at second t, subscribers from t * SLIDE on are
 * active. Few endpoints and many remotes: mappings are shared, also between engines.
 */
#ifndef CORENAT_TESTS_PLAYER_H
#define CORENAT_TESTS_PLAYER_H

#include "tests/crash/traffic.h"
#include "tests/unit/rnd.h"

enum {
	WIRE_SLOTS = 256,
	PLAYER_BURST = 16,
	ACTIVE = 24, /* subscribers at a time */
	SLIDE = 8,   /* subscribers per second of idle time; they come round after SUBSCRIBER_MAX */
	SUBSCRIBER_MAX = 4096,
	INSIDE_PORTS = 2,
	REMOTE_GROUPS = 2, /* remotes of an endpoint, for each engine */
};

/* Replies on their way, lost when overwritten. A word: valid | l4:2 | remote:8 | remote port:16 | NAT:8 | port:16 */
struct wire {
	_Atomic uint64_t reply[ENGINE_MAX][WIRE_SLOTS];
};

struct player {
	struct nat nat;
	struct wire *wire;
	struct rnd rnd;
	bool quiet; /* sends nothing: what there is may end */
	uint64_t forwarded;
};

static inline uint64_t wire_word(const struct tuple *t)
{
	return 1ull << 63 | (uint64_t)t->l4 << 48 | (uint64_t)(t->src & 0xff) << 40 | (uint64_t)t->sport << 24 |
	       (uint64_t)(t->dst & 0xff) << 16 | t->dport;
}

static inline struct tuple wire_tuple(uint64_t w)
{
	return (struct tuple){REMOTES | (uint32_t)(w >> 40 & 0xff), POOL | (uint32_t)(w >> 16 & 0xff),
		(uint16_t)(w >> 24), (uint16_t)w, (uint8_t)(w >> 48 & 3)};
}

static inline uint8_t random_flags(struct rnd *r)
{
	static const uint8_t flags[] = {
		TCP_FLAG_SYN, TCP_FLAG_ACK, TCP_FLAG_ACK, TCP_FLAG_FIN | TCP_FLAG_ACK, TCP_FLAG_RST};

	return flags[rnd_below(r, sizeof flags)];
}

/* One whose outbound packets this engine receives: the remote is chosen so that a sum says so, in place of the inside
 * interface's RSS. One endpoint's flows go to different engines. */
static inline struct tuple random_flow(struct player *p)
{
	uint32_t engines = p->nat.arena->header->geometry.engines;
	uint32_t subscriber = (p->nat.now_s * SLIDE + rnd_below(&p->rnd, ACTIVE)) % SUBSCRIBER_MAX;
	uint32_t port = 1000 + rnd_below(&p->rnd, INSIDE_PORTS);
	uint32_t remote = (p->nat.engine + (ENGINE_MAX * engines - (subscriber + port) % engines)) % engines;

	return tuple_of((enum l4)rnd_below(&p->rnd, L4_OTHER), subscriber, (uint16_t)port,
		1 + remote + engines * rnd_below(&p->rnd, REMOTE_GROUPS), (uint16_t)(80 + rnd_below(&p->rnd, 2)));
}

static inline void play_inside(struct player *p, mono_t now)
{
	struct frame frame[PLAYER_BURST];
	struct packet burst[PLAYER_BURST];
	unsigned n = 0;

	for (; n < PLAYER_BURST; n++) {
		struct tuple t = random_flow(p);

		frame_make(&frame[n], &t, SIDE_INSIDE, random_flags(&p->rnd));
		burst[n] = frame[n].packet;
	}
	nat_burst(&p->nat, burst, n, now);
	for (unsigned i = 0; i < n; i++) {
		nat_count(&p->nat, (enum verdict)burst[i].verdict);
		if (!burst[i].forward)
			continue;
		struct tuple reply = frame_reply(&frame[i]);
		unsigned to = tuple_engine(&p->nat.steering[SIDE_OUTSIDE], &reply);

		atomic_store_explicit(
			&p->wire->reply[to][rnd_below(&p->rnd, WIRE_SLOTS)], wire_word(&reply), memory_order_relaxed);
		p->forwarded++;
	}
}

static inline void play_outside(struct player *p, mono_t now)
{
	struct frame frame[PLAYER_BURST];
	struct packet burst[PLAYER_BURST];
	unsigned n = 0;

	for (int i = 0; i < PLAYER_BURST; i++) {
		_Atomic uint64_t *slot = &p->wire->reply[p->nat.engine][rnd_below(&p->rnd, WIRE_SLOTS)];
		uint64_t w = atomic_load_explicit(slot, memory_order_relaxed);

		if (!w)
			continue;
		struct tuple t = wire_tuple(w);

		frame_make(&frame[n], &t, SIDE_OUTSIDE, random_flags(&p->rnd));
		burst[n] = frame[n].packet;
		n++;
		if (rnd_one_in(&p->rnd, 4))
			atomic_store_explicit(slot, 0, memory_order_relaxed);
	}
	nat_burst(&p->nat, burst, n, now);
	for (unsigned i = 0; i < n; i++)
		nat_count(&p->nat, (enum verdict)burst[i].verdict);
}

/* What live.c does between turns. */
static inline void player_look(struct player *p)
{
	struct nat *n = &p->nat;

	if (nat_configure(n))
		atomic_store_explicit(&n->actor->config_ack, n->config.generation, memory_order_release);
	if (nat_load_routes(n))
		atomic_store_explicit(&n->actor->routes_ack, n->fib.generation, memory_order_release);
}

static inline void player_start(
	struct player *p, struct arena *a, struct wire *wire, unsigned engine, uint64_t seed, mono_t now)
{
	memset(p, 0, sizeof *p);
	p->wire = wire;
	p->rnd = (struct rnd){seed};
	nat_init(&p->nat, a, engine, seed, now);
	player_look(p);
}

static inline void player_turn(struct player *p, mono_t now)
{
	player_look(p);
	if (!p->quiet) {
		play_inside(p, now);
		play_outside(p, now);
	}
	nat_housekeep(&p->nat, now);
	nat_flush_counters(&p->nat);
}

#endif
