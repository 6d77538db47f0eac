/* session: one flow, both directions, one cache line.
 *
 * What       what translation needs, computed once when the session is made. The session that created a binding, be it
 *            the mapping of an inside endpoint or the filter of a NAT endpoint, also carries it: `refs` counts the other
 *            sessions that use what it carries, and the object outlives its flow while there are any. Each session names
 *            one parent in `mapping`: the filter's carrier, which itself names the mapping's, or the mapping's.
 *            A session has an origin: the direction of its first packet. Its owner has that direction in its local
 *            table; the reverse direction too, or, where it lands elsewhere (AWAY), the global table has it.
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

#include <string.h>

/* Protocols as the session knows them; also which of an address's two port tables they use. OTHER is every protocol
 * without ports: its number stands where they have theirs. */
enum l4 { L4_TCP, L4_UDP, L4_ICMP, L4_OTHER, N_L4 };

/* What TCP has shown so far: bits only ever set, by either engine, so that no order of packets is wrong (RFC 7857 §2). */
enum {
	TCP_OUT_SYN = 1,
	TCP_IN_SYN = 2,
	TCP_OUT_FIN = 4,
	TCP_IN_FIN = 8,
	TCP_RST = 16,
	TCP_OUT_DATA = 32, /* any other segment: the handshake went on, or the flow was met half-way */
	TCP_IN_DATA = 64,
	SEEN_ANSWERED = 128, /* any protocol, origin inbound: counts for its parent like one of origin outbound */
};

enum {
	SESSION_FLOW = 1,      /* in the session tables */
	SESSION_CARRIES = 2,   /* in the mapping table: carries its own mapping and port */
	SESSION_AWAY = 4,      /* its reverse direction lands on another engine: global table */
	SESSION_DYING = 8,     /* the flow has ended: adopters, let go */
	SESSION_FILTERS = 16,  /* in the filter table: who may send to its NAT endpoint */
	SESSION_INBOUND = 32,  /* origin: from outside; or pe/nat_bind.c, turn_origin */
	SESSION_HAIRPIN = 64,  /* its remote is a NAT address: turned round, not sent out (RFC 4787 REQ-9) */
	SESSION_PINHOLE = 128, /* alone: no flow, but a mapping for a time, open to anybody (pinhole.h). With INBOUND: a
				* flow let in by one, whose answers do not keep that open */
};

/* The parent of a session under a static mapping. Not an index. */
#define MAPPING_STATIC UINT32_MAX

/* refs: users in the low half; of these, in the high half, those that sent from the inside (origin outbound, or
 * answered): only they keep a mapping open for new senders (RFC 4787 REQ-6). */
enum { REF_USER = 1, REF_OUTBOUND = 1 << 16, REF_USERS_MASK = 0xffff };

/* Legend  [G] slab generation  [F] while free or queued  [I] fixed once published  [O] owner engine only
 *         [A] atomic, any engine, rarely  [L] under the mapping's bucket lock */
struct session {
	_Atomic uint32_t generation; /*  0 [G] */
	union {
		uint32_t link;          /*  4 [F] */
		_Atomic uint32_t waits; /*  4 [O] while DYING and waiting: the next that waits */
		_Atomic uint32_t life; /*  4 [A] while it lives: see "life"; afterwards any number without LIFE_LIVES */
	};
	be32_t inside;      /*  8 [I] */
	be32_t remote;      /* 12 [I] the destination of the outbound direction */
	be32_t nat;         /* 16 [I] */
	be16_t inside_port; /* 20 [I] query identifier for ICMP */
	be16_t remote_port; /* 22 [I] 0 for ICMP */
	be16_t nat_port;    /* 24 [I] */
	uint16_t realm;     /* 26 [I] */
	uint16_t l3_delta;  /* 28 [I] outbound; inbound is its complement */
	uint16_t l4_delta;  /* 30 [I] */
	union {
		_Atomic uint32_t next_hop[N_DIRS];  /* 32 [A] adjacency << 16 | low half of the route generation */
		struct {                            /* of a pinhole, which goes nowhere */
			_Atomic uint32_t expires_s; /* 32 [O] others read; CLOCK_MONOTONIC */
			uint32_t next_pinhole;      /* 36 [O] in its owner's list; made anew after a restart */
		};
	};
	_Atomic uint32_t mapping;  /* 40 [O] the parent's index, or its own; MAPPING_STATIC; 0: none yet. Others read */
	_Atomic uint32_t refs;     /* 44 [L] other sessions that use what is carried here, see REF_USER */
	_Atomic uint64_t adopters; /* 48 [A] engines that hold it in their local table */
	uint32_t birth;            /* 56 [I] CLOCK_MONOTONIC seconds << 4 | behaviour_of() */
	union {
		struct {
			uint8_t l4;            /* 60 [I] enum l4 */
			uint8_t owner;         /* 61 [I] engine */
			_Atomic uint8_t flags; /* 62 [O] SESSION_*; others read */
			_Atomic uint8_t tcp;   /* 63 [A] TCP_* */
		};
		_Atomic uint32_t state; /* 60 [A] all four, to be read at once: SESSION_STATE */
	};
};
_Static_assert(sizeof(struct session) == CACHE_LINE, "one line per session");
_Static_assert(offsetof(struct session, inside_port) == 20, "keys are compared as words");
_Static_assert(offsetof(struct session, next_hop) == 32, "see map");
_Static_assert(offsetof(struct session, adopters) == 48, "see map");
_Static_assert(ARENA_PAGE % sizeof(struct session) == 0, "a session's address takes no division (slab_offset)");

/* life: the rule's idle time (enum timeout_class, fixed); of a session from outside, whether it is answered and counted; for
 * TCP where the inside is in either stream, the top bits of the last sequence and acknowledgement number it sent, rewritten
 * about once a megabyte: they tell a reset that fits from one that is guessed (pe/nat_tcp.h). The outside never writes them.
 * Two may write this word: the engine where outbound packets land, marks, and the first answer, by compare-exchange; the
 * owner, which clears LIFE_COUNTED by one instruction, and at the end puts the session into a list: `waits`, a plain store.
 * LIFE_LIVES decides, since no slab index has that bit: the exchange fails on any word that is `waits` or `link`; if it came
 * first, the owner's store overwrites it. At worst a later session has that very word, and a mark or an answer it never had. */
enum {
	LIFE_TIMEOUT_MASK = 15,
	LIFE_SEQ_AT = 4,  /* first bit of LIFE_MARK_BITS */
	LIFE_ACK_AT = 16, /* the same */
	LIFE_MARK_BITS = 12,
	LIFE_UNANSWERED = 1 << 28, /* from outside, and nothing was sent back yet */
	LIFE_BRIEF = 1 << 30,      /* with that: its idle time is TIMEOUT_UNANSWERED until then */
	LIFE_COUNTED = 1 << 29,    /* the owner counts it as unanswered; not of one that is DYING */
};
#define LIFE_LIVES (1u << 31)
#define LIFE_MARK_MASK ((1u << LIFE_MARK_BITS) - 1)
#define LIFE_MARKS (LIFE_MARK_MASK << LIFE_SEQ_AT | LIFE_MARK_MASK << LIFE_ACK_AT)

static inline uint32_t life_of(uint32_t timeout)
{
	return LIFE_LIVES | timeout;
}

static inline struct session *session_at(const struct arena *a, uint32_t index)
{
	return slab_pointer(a, SLAB_session, index);
}

static inline bool session_has(const struct session *s, uint8_t flag)
{
	return atomic_load_explicit(&s->flags, memory_order_acquire) & flag;
}

/* session.state when the bytes but for the owner's are these. */
#define SESSION_STATE(l4, flags, tcp) ((uint32_t)(l4) | (uint32_t)(flags) << 16 | (uint32_t)(tcp) << 24)
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "SESSION_STATE");

/* A session's key in one direction, as two words; what tables hash and lookups compare. `b` holds the ports, the realm
 * (inside only), the protocol and the kind: a direction, or which binding. */
struct flow_key {
	uint64_t a, b;
};

static inline struct flow_key flow_key_of(
	const void *addresses, const void *ports, uint16_t realm, enum l4 l4, uint8_t kind)
{
	struct flow_key k;
	uint32_t p;

	memcpy(&k.a, addresses, sizeof k.a);
	memcpy(&p, ports, sizeof p);
	k.b = p | (uint64_t)realm << 32 | (uint64_t)l4 << 48 | (uint64_t)kind << 56;
	return k;
}

/* Outbound: inside, remote. Inbound: remote, nat. Both lie side by side in the struct. */
static inline struct flow_key session_key(const struct session *s, enum dir dir)
{
	return dir == DIR_OUTBOUND ? flow_key_of(&s->inside, &s->inside_port, s->realm, s->l4, dir)
				   : flow_key_of(&s->remote, &s->remote_port, 0, s->l4, dir);
}

enum { N_BEHAVIOURS = ADDRESS_AND_PORT_DEPENDENT + 1 };

/* Mapping and filtering in one number (enum behaviour of config.h, RFC 4787 §4.1, §5). */
static inline uint32_t behaviour_of(enum behaviour mapping, enum behaviour filtering)
{
	return (uint32_t)mapping * N_BEHAVIOURS + filtering;
}

/* When it was made, in 28 bits: eight years. */
static inline uint32_t birth_of(uint32_t created_s, uint32_t behaviour)
{
	return created_s << 4 | behaviour;
}

static inline uint32_t session_created_s(const struct session *s)
{
	return s->birth >> 4;
}

static inline enum behaviour session_mapping(const struct session *s)
{
	return (enum behaviour)((s->birth & 15) / N_BEHAVIOURS);
}

static inline enum behaviour session_filtering(const struct session *s)
{
	return (enum behaviour)((s->birth & 15) % N_BEHAVIOURS);
}

/* What of the remote endpoint a binding's key holds. */
static inline be32_t behaviour_address(enum behaviour b, be32_t remote)
{
	return b == ENDPOINT_INDEPENDENT ? (be32_t){0} : remote;
}

static inline be16_t behaviour_port(enum behaviour b, be16_t port)
{
	return b == ADDRESS_AND_PORT_DEPENDENT ? port : (be16_t){0};
}

/* The mapping's key: the inside endpoint, and what the behaviour adds of the remote one. */
static inline struct flow_key mapping_key_of(enum behaviour b, const struct session *s)
{
	struct {
		be32_t inside, remote;
		be16_t inside_port, remote_port;
	} k = {s->inside, behaviour_address(b, s->remote), s->inside_port, behaviour_port(b, s->remote_port)};

	return flow_key_of(&k.inside, &k.inside_port, s->realm, s->l4, (uint8_t)(N_DIRS + b));
}

static inline struct flow_key mapping_key(const struct session *s)
{
	return mapping_key_of(session_mapping(s), s);
}

/* A filter's key: who may send to a NAT endpoint. */
static inline struct flow_key filter_key_of(
	enum behaviour b, be32_t remote, be16_t remote_port, be32_t nat, be16_t nat_port, enum l4 l4)
{
	struct {
		be32_t remote, nat;
		be16_t remote_port, nat_port;
	} k = {behaviour_address(b, remote), nat, behaviour_port(b, remote_port), nat_port};

	return flow_key_of(&k.remote, &k.remote_port, 0, l4, (uint8_t)(N_DIRS + N_BEHAVIOURS + b));
}

static inline struct flow_key filter_key(const struct session *s)
{
	return filter_key_of(session_filtering(s), s->remote, s->remote_port, s->nat, s->nat_port, s->l4);
}

/* The direction of its first packet. */
static inline enum dir session_origin(const struct session *s)
{
	return session_has(s, SESSION_INBOUND) ? DIR_INBOUND : DIR_OUTBOUND;
}

static inline enum dir dir_reverse(enum dir d)
{
	return d == DIR_OUTBOUND ? DIR_INBOUND : DIR_OUTBOUND;
}

static inline bool session_is_pinhole(const struct session *s)
{
	uint8_t flags = atomic_load_explicit(&s->flags, memory_order_acquire);

	return (flags & (SESSION_PINHOLE | SESSION_INBOUND)) == SESSION_PINHOLE;
}

/* What a session counts for at its parent (REF_USER). */
static inline uint32_t session_weight(const struct session *s)
{
	bool outbound = session_origin(s) == DIR_OUTBOUND ||
			(atomic_load_explicit(&s->tcp, memory_order_relaxed) & SEEN_ANSWERED);

	return outbound ? REF_USER + REF_OUTBOUND : REF_USER;
}

static inline bool flow_key_equal(struct flow_key x, struct flow_key y)
{
	return ((x.a ^ y.a) | (x.b ^ y.b)) == 0;
}

static inline uint64_t multiply_fold(uint64_t x, uint64_t y)
{
	__uint128_t product = (__uint128_t)x * y;

	return (uint64_t)product ^ (uint64_t)(product >> 64);
}

/* Seeded, since subscribers choose the keys: each word meets a secret of its own before they are multiplied, so nobody
 * who does not know the seed can name two keys that collide more often than by chance. A CRC would be as cheap, but it
 * is linear: keys that collide do so under every seed. The second round spreads what the first leaves in few bits; both
 * ends of the result are used, the upper one for the bucket, the lower one as the tag. (The construction is wyhash's.) */
static inline uint64_t flow_key_hash(struct flow_key k, uint64_t seed)
{
	uint64_t other = (seed << 32 | seed >> 32) ^ 0x9e3779b97f4a7c15u;

	return multiply_fold(multiply_fold(k.a ^ seed, k.b ^ other), 0xd6e8feb86659fd93u);
}

/* Owner only: one writer. */
static inline void session_set(struct session *s, uint8_t set, uint8_t clear)
{
	uint8_t f = atomic_load_explicit(&s->flags, memory_order_relaxed);

	atomic_store_explicit(&s->flags, (uint8_t)((f & ~clear) | set), memory_order_release);
}

#endif
