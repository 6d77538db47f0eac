/* nat: the NAT core of one engine.
 *
 * What       translates bursts of packets between the inside and the outside: bytes, shared state and `now` in, a
 *            verdict per packet out. Pure: no clock, no system call, no logging (architecture: life of a packet).
 * Units      now in mono_t; idle times in whole seconds.
 * Ownership  struct nat is private to the engine's thread; the arena is shared by its own rules.
 * Calls      the engine's thread only; AF_XDP, replay, tests and benchmarks drive the very same calls.
 * Errors     a verdict for every packet; nothing else fails after nat_init.
 * Use        nat_init(nat, arena, engine, seed); nat_configure(nat); for (;;) { nat_burst(...); nat_housekeep(...); }
 */
#ifndef CORENAT_PE_NAT_H
#define CORENAT_PE_NAT_H

#include "common/steering.h"
#include "pe/fib.h"
#include "pe/flow.h"
#include "pe/fragment.h"
#include "pe/icmp_error.h"
#include "pe/rooms.h"
#include "shm/clear.h"
#include "shm/engine.h"
#include "shm/event.h"
#include "shm/fragments.h"
#include "shm/global_table.h"
#include "shm/local_idle.h"
#include "shm/pinhole.h"
#include "shm/port_view.h"
#include "shm/snapshot.h"
#include "shm/subscriber.h"

/* Sessions whose flow has ended but which still wait: for adopters to let go, or for the users of the mapping they
 * carry. Chained through session.waits; rebuilt from the pages after a restart. */
struct pending {
	uint32_t first, last, n;
};

/* A walk over this engine's tables, a slice at a time, that comes round once every period. */
struct sweep {
	enum dir dir;
	uint32_t bucket;
	mono_t started;   /* of the pass */
	uint64_t created; /* sessions, when the last slice ended */
};

/* The same over this engine's parts of subscribers. */
struct part_walk {
	uint32_t bucket;
	mono_t started;
	uint32_t generation; /* of the configuration, when this pass began */
	uint32_t done;       /* when the last whole pass began */
};

/* This engine's pinholes, chained through session.next_pinhole; and the walk over them that ends those whose time is up. */
struct pinholes {
	uint32_t first, n;
	uint32_t at; /* the one looked at last; 0: none, it begins */
};

/* The request to clear sessions that is under way, and the place in the walk over the engine's pages. */
struct clearing {
	uint32_t number; /* 0: none */
	uint32_t at;     /* session */
	struct session_filter filter;
};

enum { IP_ID_COUNTERS = 256 };

/* The pools' addresses in order, with this engine's view of their ports. */
struct nat_address {
	uint32_t host;
	uint16_t index; /* in config.addresses */
	uint16_t order; /* PORT_ORDER_* */
	uint32_t view;  /* slab index; 0: none yet */
	bool fixed;     /* has or had a static mapping: sessions of it hold no port */
};

/* Where the ports of an address are: the table that gives, and this engine's view of it. NULL: not looked for since the
 * configuration changed, which may have made the view another's. By the address's index in config.addresses. */
struct nat_lender {
	struct port_table *table;
	struct port_view *view;
	uint64_t barred[N_PORT_SETS]; /* bit: static mappings have ports of chunks whose number ends so */
};

/* Static mappings, for who makes sessions and has nothing to do with them. */
enum { NAT_STATIC_BITS = 1 << 15, NAT_BARRED_MAX = 1 << 15 };
struct nat_statics {
	uint64_t inside[NAT_STATIC_BITS / 64]; /* bit, by a hash: such an inside address may have one */
	uint64_t barred[NAT_BARRED_MAX]; /* address, protocol, chunk, and the ports of it that they have: n, sorted */
	uint32_t n;
	bool unlisted; /* there are more */
};

/* An address whose port table alone says what is behind its ports: no static mapping now or before, no subscriber's own
 * address, no older table. By a hash; address 0: none. */
enum { NAT_ALONE_SLOTS = 2 * CONFIG_ADDRESSES_MAX };
struct nat_alone {
	be32_t address;
	uint32_t order; /* PORT_ORDER_* */
	const struct port_table *table;
};

/* Orders of tables that are not given from any more; a few, kept because making one takes a while. */
struct older_orders {
	struct port_basis basis[SNAPSHOT_OLDER_MAX];
	struct port_order order[SNAPSHOT_OLDER_MAX];
	unsigned n;
};

/* What was entered in the local tables in this burst, by a bit of its hash: what the burst's lookup did not find, and has no
 * bit, is not there still. */
enum { MADE_WORDS = 16 };
struct nat_made {
	bool any;
	uint64_t bits[MADE_WORDS];
};

/* The second in which a refusal was told last, by verdict, and by pool: what comes in the same one is only counted. */
struct nat_told {
	uint64_t worth; /* verdicts that are told, a bit each */
	uint32_t at_s[N_VERDICTS];
	uint32_t pool_at_s[CONFIG_POOLS_MAX][N_VERDICTS];
};
_Static_assert(N_VERDICTS <= 64, "a bit each");

/* Room for sessions, as it was found a moment ago (nat_strangers.c). */
struct session_room {
	bool looked;
	uint32_t looked_s;
	uint64_t sessions; /* in own pages, and in those that are nobody's */
};

/* Where the last answer stood: hints, looked at first (nat_next_hop). */
struct near_hop {
	uint32_t interval;  /* of the routes */
	uint32_t adjacency; /* of the gateway */
};

/* ICMP errors of our own: each kind has a budget on each side, so that what the Internet sends takes nothing from subscribers,
 * and nothing else takes from "too big", by which the path's MTU is discovered (RFC 4787 REQ-13). */
enum icmp_kind { ICMP_TOO_BIG, ICMP_TOO_FAR, ICMP_REFUSED, N_ICMP_KINDS };
enum { ICMP_SHARES = 64, ICMP_FEW = 16 };

struct nat {
	struct arena *arena;
	struct actor *actor;
	unsigned engine;
	uint64_t seed;   /* of hashes */
	uint64_t random; /* state of the port randomiser */
	struct local_table local[N_DIRS];
	struct global_table sessions, mappings, filters;
	struct nexthop *nexthop;
	bool configured;
	bool single; /* the arena is for one engine: every reply comes home */
	struct snapshot config;
	struct steering steering[N_SIDES]; /* who receives what comes in on each side */
	be32_t own[N_SIDES][VLAN_MAX + 1]; /* the appliance's address on each side, in each realm; 0: it has none */
	struct nat_address address[CONFIG_ADDRESSES_MAX]; /* n_addresses of them, sorted */
	uint16_t address_of[CONFIG_ADDRESSES_MAX];        /* where config.addresses[i] is among them */
	uint32_t n_addresses;
	struct nat_lender lender[CONFIG_ADDRESSES_MAX];
	struct rooms rooms; /* which of them have something to give, by index */
	struct nat_statics statics;
	struct port_rules ports[N_PORT_ORDERS];
	struct older_orders older;
	struct nat_alone alone[NAT_ALONE_SLOTS];
	uint32_t wake_at; /* whose resting ports are looked at next */
	struct fib fib;
	struct pending pending;
	struct nat *guest; /* another engine's part, looked after by this one; chained */
	uint64_t tended;   /* engines taken out of the configuration whose guests have been here */
	struct nat *host;  /* of a guest: who looks after it */
	struct sweep sweep;
	struct local_limits limits; /* idle times that may end an entry */
	struct subscribers subscribers;
	struct subscriber_part *part; /* of the session being made */
	bool of_fragment;             /* it begins with a first fragment: its whole packets may land elsewhere */
	const struct prospect *ahead; /* what was found out about it; NULL: nothing */
	uint32_t unanswered;          /* own sessions begun from outside that are: of all parts together */
	struct session_room session_room;
	struct part_walk walk;
	const struct clear_ring *clears;
	struct clearing clearing;
	struct pinhole_ring *pinhole_ring;
	struct pinholes pinholes;
	mono_t now; /* of the burst or turn in hand */
	uint32_t now_s;
	struct icmp_budget icmp_budget[N_SIDES][N_ICMP_KINDS];
	struct icmp_budget icmp_share[ICMP_SHARES]; /* of what comes from the inside, by who sent it */
	struct fragments fragments;
	struct fragment_pairs fragment_pairs; /* of first ones that were translated here */
	uint16_t ip_id[IP_ID_COUNTERS];       /* next IPv4 identification, by addresses (RFC 6864 §5.3.1) */
	uint16_t ip_id_step;                  /* engines: each has its own numbers */
	struct nat_made made;
	struct near_hop near[N_DIRS];
	struct nat_told told;
	uint64_t verdicts[N_VERDICTS]; /* since the last nat_flush_counters */
};

/* Takes over engine `engine`'s part of the arena, settling what a predecessor left half-done. `random` seeds the choice
 * of ports. Returns the number of sessions found. */
uint32_t nat_init(struct nat *n, struct arena *a, unsigned engine, uint64_t random, mono_t now);

/* Takes the configuration in force, if there is one; true when it is a new one. */
bool nat_configure(struct nat *n);

/* Takes the routes in force; true when they are new. */
bool nat_load_routes(struct nat *n);

/* Translates burst[0..count), all received on the same side, count <= BURST_MAX: each gets forward, out and verdict.
 * Bytes are changed only where forward is set, but that a VLAN tag is taken off (packet.h). */
void nat_burst(struct nat *n, struct packet *burst, unsigned count, mono_t now);

/* Whether the addresses of a fragment that waits are known to send each other such datagrams: of first ones that the inside
 * sent, or was sent in a flow that it takes part in. */
bool nat_fragment_is_known(const struct nat *n, const struct packet *p);

/* The time of an unsolicited SYN that was held is up: when the connection was opened from the inside meanwhile it is
 * forgotten, else answered (RFC 5382 REQ-4). */
void nat_end_syn(struct nat *n, struct packet *p, mono_t now);

/* One bounded slice of aging, and of ending what somebody asked to. True: many sessions are over just now, and the next
 * slice is due at the next turn; else it is in a millisecond. */
bool nat_housekeep(struct nat *n, mono_t now);

/* Looks after the sessions of an engine that was taken out of the configuration: its packets are translated, its sessions
 * age, and nothing new is made in its name. `guest` was nat_init'ed with that engine's number by the same thread. */
void nat_host(struct nat *n, struct nat *guest);
/* Of a guest: lets all of other engines' sessions go. Whoever receives their packets now adopts them anew. */
void nat_let_all_go(struct nat *guest);
/* Throws the engine's views of ports away, and gives their pages back. */
void nat_ports_leave(struct nat *n);
/* Of a guest without sessions: ends its parts of subscribers. False: some are busy. */
bool nat_quota_leave(struct nat *guest);
/* Takes the guest off the chain again. */
void nat_unhost(struct nat *n, struct nat *guest);

/* The subscribers that rules exempt from translation, whose own addresses are therefore known outside: what the XDP program
 * must hand over besides the pools. Returns how many prefixes. A subscriber prefix may be there by parts. */
enum { NAT_BYPASS_PREFIXES = CONFIG_PREFIXES_MAX + SNAPSHOT_RULES_MAX };
unsigned nat_bypass_prefixes(const struct nat *n, struct snapshot_prefix out[NAT_BYPASS_PREFIXES]);

/* Counts a packet's last word: after transmission, which may still fail. */
void nat_count(struct nat *n, enum verdict v);
/* Adds the verdicts counted since the last call to the engine's block. */
void nat_flush_counters(struct nat *n);

#endif
