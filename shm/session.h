/* session: one flow, both directions, one cache line.
 *
 * What       what translation needs, computed once when the session is made. The session that created a mapping also
 *            carries it: `mapping` is then its own index, `refs` counts the other sessions that use it, and the object
 *            outlives its flow while there are any.
 * Units      wire byte order for addresses and ports; deltas are one's complement (RFC 1624 eqn. 3).
 * Ownership  the engine in `owner` frees it; see letters.
 * Calls      engines; readers copy and check the generation again.
 *
 * Publish    fill [I], slab_publish, then insert into tables (release): who finds it in a table sees it whole.
 * Retire     DYING (release), out of its tables, every adopter lets go (clears its bit), mapping let go, slab_put.
 * Death      owner: pe/nat_recover.c settles the intent. Adopter: its successor finds the bit and its own table as they
 *            were; INTENT_ADOPT names the one that may disagree.
 */
#ifndef CORENAT_SHM_SESSION_H
#define CORENAT_SHM_SESSION_H

#include "shm/slab.h"

#include <xxhash.h>

/* Protocols as the session knows them; also which of an address's two port tables they use. */
enum l4 { L4_TCP, L4_UDP, L4_ICMP, N_L4 };

/* What TCP has shown so far: bits only ever set, by either engine, so that no order of packets is wrong (RFC 7857 §2). */
enum {
	TCP_OUT_SYN = 1,
	TCP_IN_SYN = 2,
	TCP_OUT_FIN = 4,
	TCP_IN_FIN = 8,
	TCP_RST = 16,
	TCP_OUT_DATA = 32, /* any other segment: the handshake went on, or the flow was met half-way */
	TCP_IN_DATA = 64,
};

enum {
	SESSION_FLOW = 1,    /* in the session tables */
	SESSION_CARRIES = 2, /* in the mapping table: carries its own mapping and port */
	SESSION_AWAY = 4,    /* its replies land on another engine: global table */
	SESSION_DYING = 8,   /* the flow has ended: adopters, let go */
};

/* Legend  [G] slab generation  [F] while free or queued  [I] fixed once published  [O] owner engine only
 *         [A] atomic, any engine, rarely  [L] under the mapping's bucket lock */
struct session {
	_Atomic uint32_t generation;       /*  0 [G] */
	uint32_t link;                     /*  4 [F] */
	be32_t inside;                     /*  8 [I] */
	be32_t remote;                     /* 12 [I] the destination of the outbound direction */
	be32_t nat;                        /* 16 [I] */
	be16_t inside_port;                /* 20 [I] query identifier for ICMP */
	be16_t remote_port;                /* 22 [I] 0 for ICMP */
	be16_t nat_port;                   /* 24 [I] */
	uint16_t realm;                    /* 26 [I] */
	uint16_t l3_delta;                 /* 28 [I] outbound; inbound is its complement */
	uint16_t l4_delta;                 /* 30 [I] */
	_Atomic uint32_t next_hop[N_DIRS]; /* 32 [A] adjacency << 16 | low half of the route generation */
	uint32_t mapping;                  /* 40 [O] slab index of the session that carries the mapping; 0: none yet */
	_Atomic uint32_t refs;             /* 44 [L] other sessions that use the mapping carried here */
	_Atomic uint64_t adopters;         /* 48 [A] engines that hold it in their local table */
	uint32_t created_s;                /* 56 [I] CLOCK_MONOTONIC seconds */
	uint8_t l4;                        /* 60 [I] enum l4 */
	uint8_t owner;                     /* 61 [I] engine */
	_Atomic uint8_t flags;             /* 62 [O] SESSION_*; others read */
	_Atomic uint8_t tcp;               /* 63 [A] TCP_* */
};
_Static_assert(sizeof(struct session) == CACHE_LINE, "one line per session");
_Static_assert(offsetof(struct session, inside_port) == 20, "keys are compared as words");
_Static_assert(offsetof(struct session, next_hop) == 32, "see map");
_Static_assert(offsetof(struct session, adopters) == 48, "see map");

_Static_assert(ARENA_PAGE % sizeof(struct session) == 0, "a session's address takes no division (slab_offset)");

static inline struct session *session_at(const struct arena *a, uint32_t index)
{
	return slab_pointer(a, SLAB_session, index);
}

static inline bool session_has(const struct session *s, uint8_t flag)
{
	return atomic_load_explicit(&s->flags, memory_order_acquire) & flag;
}

/* A session's key in one direction, as two words; what tables hash and lookups compare. `b` holds the ports, the realm
 * (inside only), the protocol and the direction. */
struct flow_key {
	uint64_t a, b;
};

static inline struct flow_key flow_key_of(
	const void *addresses, const void *ports, uint16_t realm, enum l4 l4, enum dir dir)
{
	struct flow_key k;
	uint32_t p;

	__builtin_memcpy(&k.a, addresses, sizeof k.a);
	__builtin_memcpy(&p, ports, sizeof p);
	k.b = p | (uint64_t)realm << 32 | (uint64_t)l4 << 48 | (uint64_t)dir << 56;
	return k;
}

/* Outbound: inside, remote. Inbound: remote, nat. Both lie side by side in the struct. */
static inline struct flow_key session_key(const struct session *s, enum dir dir)
{
	return dir == DIR_OUTBOUND ? flow_key_of(&s->inside, &s->inside_port, s->realm, s->l4, dir)
				   : flow_key_of(&s->remote, &s->remote_port, 0, s->l4, dir);
}

/* The mapping's key: inside endpoint, whatever the destination (RFC 4787 REQ-1). */
static inline struct flow_key mapping_key(const struct session *s)
{
	return (struct flow_key){s->inside.net,
		s->inside_port.net | (uint64_t)s->realm << 32 | (uint64_t)s->l4 << 48 | (uint64_t)N_DIRS << 56};
}

static inline bool flow_key_equal(struct flow_key x, struct flow_key y)
{
	return ((x.a ^ y.a) | (x.b ^ y.b)) == 0;
}

/* Seeded: subscribers choose the keys. */
static inline uint64_t flow_key_hash(struct flow_key k, uint64_t seed)
{
	return XXH3_64bits_withSeed(&k, sizeof k, seed);
}

/* Owner only: one writer. */
static inline void session_set(struct session *s, uint8_t set, uint8_t clear)
{
	uint8_t f = atomic_load_explicit(&s->flags, memory_order_relaxed);

	atomic_store_explicit(&s->flags, (uint8_t)((f & ~clear) | set), memory_order_release);
}

#endif
