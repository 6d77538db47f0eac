/* player: an engine under random traffic, for the churn of processes and of threads.
 *
 * What       one engine's NAT core with packets from a small universe of flows: new ones, hits, closing ones, some to
 *            NAT endpoints; and what comes of them on the wire: replies to what any engine forwarded, strangers that
 *            write to NAT endpoints they see or to the static mapping, answers to them. Each to the engine its RSS chooses.
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

/* What is to come in on each side of each engine, lost when overwritten. A word: valid | l4:2 | src:14 | dst:14 | source
 * port:16 | destination port:16 */
struct wire {
	_Atomic uint64_t slot[N_SIDES][ENGINE_MAX][WIRE_SLOTS];
};

struct player {
	struct nat nat;
	struct wire *wire;
	struct rnd rnd;
	bool quiet; /* sends nothing: what there is may end */
	uint64_t forwarded;
};

/* In 14 bits: whose address, and which. */
static const uint32_t realm_base[] = {SUBSCRIBERS, POOL, REMOTES};
enum { REALM_BITS = 12 };

static inline uint64_t wire_address(uint32_t a)
{
	uint64_t realm = 0;

	while (a - realm_base[realm] >= 1u << REALM_BITS)
		realm++;
	return realm << REALM_BITS | (a - realm_base[realm]);
}

static inline uint32_t wire_host(uint64_t bits)
{
	return realm_base[bits >> REALM_BITS & 3] + (uint32_t)(bits & ((1u << REALM_BITS) - 1));
}

static inline uint64_t wire_word(const struct tuple *t)
{
	return 1ull << 63 | (uint64_t)t->l4 << 60 | wire_address(t->src) << 46 | wire_address(t->dst) << 32 |
	       (uint64_t)t->sport << 16 | t->dport;
}

static inline struct tuple wire_tuple(uint64_t w)
{
	return (struct tuple){
		wire_host(w >> 46), wire_host(w >> 32), (uint16_t)(w >> 16), (uint16_t)w, (uint8_t)(w >> 60 & 3)};
}

/* Puts a packet on the wire of the engine where it lands. */
static inline void wire_put(struct player *p, enum side side, const struct tuple *t)
{
	unsigned to = tuple_engine(&p->nat.steering[side], t);

	atomic_store_explicit(
		&p->wire->slot[side][to][rnd_below(&p->rnd, WIRE_SLOTS)], wire_word(t), memory_order_relaxed);
}

/* Takes one, or leaves it for a repetition. False: none there. */
static inline bool wire_take(struct player *p, enum side side, struct tuple *t)
{
	_Atomic uint64_t *slot = &p->wire->slot[side][p->nat.engine][rnd_below(&p->rnd, WIRE_SLOTS)];
	uint64_t w = atomic_load_explicit(slot, memory_order_relaxed);

	if (!w)
		return false;
	*t = wire_tuple(w);
	if (rnd_one_in(&p->rnd, 4))
		atomic_store_explicit(slot, 0, memory_order_relaxed);
	return true;
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

/* Somebody writes to the NAT endpoint that a reply goes to: the same remote from another port, another remote, or a
 * subscriber. Now and then to the static mapping. */
static inline void stranger_appears(struct player *p, struct tuple t)
{
	struct tuple fixed = {REMOTES + rnd_below(&p->rnd, 8), POOL, 5000, FIXED_PORT, L4_UDP};
	uint32_t subscriber = (p->nat.now_s * SLIDE + rnd_below(&p->rnd, ACTIVE)) % SUBSCRIBER_MAX;

	if (t.l4 == L4_ICMP || rnd_one_in(&p->rnd, 16))
		t = fixed;
	else if (rnd_one_in(&p->rnd, 2))
		t.src = REMOTES + 100 + rnd_below(&p->rnd, 8);
	else if (rnd_one_in(&p->rnd, 2))
		t.src = SUBSCRIBERS + subscriber;
	t.sport = (uint16_t)(5000 + rnd_below(&p->rnd, 2));
	wire_put(p, t.src - SUBSCRIBERS < SUBSCRIBER_MAX ? SIDE_INSIDE : SIDE_OUTSIDE, &t);
}

/* One flow's next packet: out of the blue, or off the wire. */
static inline bool next_packet(struct player *p, enum side side, struct tuple *t)
{
	if (side == SIDE_INSIDE && !rnd_one_in(&p->rnd, 4)) {
		*t = random_flow(p);
		return true;
	}
	return wire_take(p, side, t);
}

/* What a forwarded packet is answered with: from where it went. */
static inline void answer(struct player *p, enum side side, const struct frame *f)
{
	struct tuple reply = frame_reply(f);

	if (f->packet.out == SIDE_OUTSIDE) {
		wire_put(p, SIDE_OUTSIDE, &reply);
		if (rnd_one_in(&p->rnd, 8))
			stranger_appears(p, reply);
	} else if (reply.l4 != L4_ICMP && rnd_one_in(&p->rnd, side == SIDE_INSIDE ? 1 : 2)) {
		wire_put(p, SIDE_INSIDE, &reply);
	}
}

static inline void play(struct player *p, enum side side, mono_t now)
{
	struct frame frame[PLAYER_BURST];
	struct packet burst[PLAYER_BURST];
	unsigned n = 0;

	for (int i = 0; i < PLAYER_BURST; i++) {
		struct tuple t;

		if (!next_packet(p, side, &t))
			continue;
		frame_make(&frame[n], &t, side, random_flags(&p->rnd));
		burst[n] = frame[n].packet;
		n++;
	}
	if (!n)
		return;
	nat_burst(&p->nat, burst, n, now);
	for (unsigned i = 0; i < n; i++) {
		nat_count(&p->nat, (enum verdict)burst[i].verdict);
		frame[i].packet = burst[i];
		if (burst[i].verdict >= VERDICT_drop_rule) /* what is sent of these is an ICMP error */
			continue;
		answer(p, side, &frame[i]);
		p->forwarded++;
	}
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
		play(p, SIDE_INSIDE, now);
		play(p, SIDE_OUTSIDE, now);
	}
	while (nat_housekeep(&p->nat, now))
		; /* all that is over by now */
	nat_flush_counters(&p->nat);
}

#endif
