/* subscriber: who sends from the inside, one object each, and each engine's part of it.
 *
 * What       a subscriber is a realm and an inside address. Its object holds what all engines share: the NAT addresses it
 *            is paired with, its port blocks, the limits in force and how much of each is out with the engines. A part
 *            is one engine's: what it uses and may use (quota.h). Both are made on first touch and go when idle.
 * Units      quota units: sessions, ports, identifiers, QUOTA_MEMORY_UNIT bytes, new sessions.
 * Ownership  subscribers and records: the shared allocator, found by the global table. Parts: their engine, found by its
 *            own table; others read, and never write.
 * Calls      part_find of the own engine: per new session, no lock. The rest: first touch, idling out, changes of limits.
 * Errors     part_make: NULL and why. Locks are tried for a bounded time (global_table.h): busy, refuse, never wait.
 * Use        p = part_find(&v, v.parts, key); if (!p) p = part_make(&v, key, now_s, &why);
 *
 * Lives      a part lives while it has anything in use or was touched lately. Its bit in subscriber.parts is set before
 *            it is made and cleared after it is gone, under the buckets' lock; so a subscriber with no bit has no part,
 *            gives its blocks back if it has any still, and goes unless it has a record. Thus an address stays paired,
 *            and blocks are kept, while any mapping of its lives.
 * Order      buckets of the table, then the subscriber's lock, then the shared allocator's.
 * Death      the intent names the subscriber (engine.h) from before the first lock to after the last. The successor, with
 *            its tables' locks released, makes bit, part and table agree, counts `out` anew from the parts, and releases
 *            the subscriber (subscribers_settle). What its parts use it counts from its sessions (pe/nat_recover.c).
 */
#ifndef CORENAT_SHM_SUBSCRIBER_H
#define CORENAT_SHM_SUBSCRIBER_H

#include "shm/engine.h"
#include "shm/event.h"
#include "shm/global_table.h"
#include "shm/local_table.h"

/* Quota, name for people and in JSON, unit, help. One table: a new quota is a new row. */
#define QUOTAS(Q)                                                                                                      \
	Q(sessions, "sessions", "sessions there may be at once")                                                       \
	Q(tcp_ports, "ports", "TCP ports in use at once")                                                              \
	Q(udp_ports, "ports", "UDP ports in use at once")                                                              \
	Q(icmp_ids, "identifiers", "ICMP query identifiers in use at once")                                            \
	Q(memory, "units", "memory of its sessions")                                                                   \
	Q(rate, "sessions", "new sessions that may be made now")

enum quota {
#define Q(name, unit, help) QUOTA_##name,
	QUOTAS(Q)
#undef Q
		N_QUOTAS
};

struct quota_info {
	const char *name, *unit, *help;
};

extern const struct quota_info quota_info[N_QUOTAS];

enum {
	QUOTA_UNLIMITED = 1 << 30, /* more than there can be: no limit is a limit like others */
	QUOTA_MEMORY_UNIT = 32,    /* bytes */
	/* What a session takes: itself, its entries in two local tables, in the mapping and the filter table. */
	QUOTA_SESSION_MEMORY = (64 + 2 * 8 + 2 * 8) / QUOTA_MEMORY_UNIT,
	SUBSCRIBER_PAIRS = 4,
	SUBSCRIBER_BLOCKS = 8,
	SUBSCRIBER_NAME_SIZE = 32,
};
_Static_assert(QUOTA_SESSION_MEMORY *QUOTA_MEMORY_UNIT == 96, "units divide it");

/* What one subscriber may have. */
struct limits {
	uint32_t of[N_QUOTAS]; /* of rate: how many at a stroke */
	uint32_t per_s;        /* new sessions; 0: any number */
	uint32_t reserved;     /* of its TCP ports, and of its UDP ports: for listed destination ports only */
};

struct subscriber_key {
	be32_t inside;
	uint16_t realm;
};

/* Legend  [G] slab generation  [F] while free  [I] fixed once published  [L] under the lock
 *         [B] under the locks of its buckets  [A] under the lock, atomic: engines read it without */
struct subscriber {
	_Atomic uint32_t generation;                      /*   0 [G] */
	uint32_t link;                                    /*   4 [F] */
	be32_t inside;                                    /*   8 [I] */
	uint16_t realm;                                   /*  12 [I] */
	uint16_t reserved;                                /*  14 */
	_Atomic uint32_t epoch;                           /*  16 [A] another one: the limits may have changed */
	uint32_t limits_from;                             /*  20 [L] generation of the configuration they are of */
	_Atomic uint64_t parts;                           /*  24 [B] engines that may have a part */
	_Atomic uint32_t pair[SUBSCRIBER_PAIRS];          /*  32 [A] paired NAT addresses, be32_t; 0: none */
	uint32_t created_s;                               /*  48 [I] CLOCK_MONOTONIC */
	_Atomic uint32_t record;                          /*  52 [A] slab index of its record; 0: it has none */
	uint32_t reserved_b[2];                           /*  56 */
	_Atomic uint32_t lock;                            /*  64 [A] holder + 1; 0: free */
	uint32_t tokens;                                  /*  68 [L] new sessions that may be drawn */
	uint64_t refilled_ns;                             /*  72 [L] up to when tokens were added */
	uint32_t out[N_QUOTAS];                           /*  80 [L] what all parts together may use */
	struct limits limits;                             /* 104 [L] in force */
	uint32_t reserved_c[6];                           /* 136 */
	_Atomic uint64_t block[SUBSCRIBER_BLOCKS];        /* 160 [A] its port blocks (blocks.h); 0: none */
	_Atomic uint32_t block_used_s[SUBSCRIBER_BLOCKS]; /* 224 [A] when a port of it was seen in use last */
};
_Static_assert(sizeof(struct subscriber) == 256, "its row in SLAB_CLASSES");
_Static_assert(offsetof(struct subscriber, parts) == 24, "see map");
_Static_assert(offsetof(struct subscriber, lock) == CACHE_LINE, "what is read all the time lies before it");
_Static_assert(offsetof(struct subscriber, block) == 160, "see map");

/* What is known of a subscriber by name: it stays when idle. */
struct subscriber_record {
	_Atomic uint32_t generation;     /*   0 [G] */
	uint32_t link;                   /*   4 [F] */
	char name[SUBSCRIBER_NAME_SIZE]; /*   8 [I] the customer's; terminated */
	uint32_t given;                  /*  40 [I] limits that count here instead of its group's: bit enum quota, */
	uint32_t reserved;               /*  44      LIMIT_GIVEN_* */
	struct limits limits;            /*  48 [I] */
	uint32_t reserved_b[12];         /*  80 */
};
_Static_assert(sizeof(struct subscriber_record) == 128, "its row in SLAB_CLASSES");

enum { LIMIT_GIVEN_PER_S = 1 << N_QUOTAS, LIMIT_GIVEN_RESERVED = 2 << N_QUOTAS };

/* What an engine uses of a quota, and what it may: part of the subscriber's `out`. Of rate: what was made since this was
 * looked at last; it is gone then from both. */
struct part_amount {
	_Atomic uint32_t used; /* [S] */
	_Atomic uint32_t have; /* [S] changed under the subscriber's lock */
};

struct part_refusals {
	_Atomic uint32_t count, since_s, last_s; /* [S] since: the first of those that came without a long pause */
};

/* Legend  [G] slab generation  [F] while free  [I] fixed once published  [O] its engine  [S] its engine; anyone reads */
struct subscriber_part {
	_Atomic uint32_t generation; /*   0 [G] */
	union {
		uint32_t link; /*   4 [F] */
		struct {
			_Atomic uint16_t
				unanswered;       /*   4 [S] own sessions begun from outside that are (LIFE_COUNTED) */
			uint16_t unanswered_most; /*   6 [O] how many there may be; from when it is configured on */
		};
	};
	be32_t inside;                       /*   8 [I] */
	uint16_t realm;                      /*  12 [I] */
	uint8_t engine;                      /*  14 [I] */
	_Atomic uint8_t tight;               /*  15 [S] bit enum quota: no unit is kept that is not in use */
	uint32_t subscriber;                 /*  16 [I] slab index */
	uint32_t configured;                 /*  20 [O] generation of the configuration last looked at; 0: none yet */
	uint32_t epoch;                      /*  24 [O] the subscriber's */
	uint32_t touched_s;                  /*  28 [O] */
	struct part_amount amount[N_QUOTAS]; /*  32 [S] */
	uint32_t dry_turn;                   /*  80 [O] the turn in which those of `dry` were found used up */
	uint16_t dry;                        /*  84 [O] bit enum quota; shifted by 8: for ordinary requests only */
	uint16_t group;                      /*  86 [O] of limits, of the configuration last looked at */
	uint32_t picked_from;                /*  88 [O] generation of the configuration of pick[] */
	uint32_t pick[SUBSCRIBER_PAIRS];     /*  92 [O] pool << 16 | place of the paired address in it + 1; 0: none */
	struct part_refusals refused_blocks; /* 108 [S] another block of ports */
	struct part_refusals refused[N_QUOTAS]; /* 120 [S] */
};
_Static_assert(sizeof(struct subscriber_part) == 192, "its row in SLAB_CLASSES");
_Static_assert(offsetof(struct subscriber_part, amount) == 32, "see map");
_Static_assert(offsetof(struct subscriber_part, refused_blocks) == 108, "see map");

/* Its owner counts it among the unanswered ones of its subscriber. */
static inline bool session_is_counted(const struct session *s)
{
	return !session_has(s, SESSION_DYING) && (atomic_load_explicit(&s->life, memory_order_relaxed) &
							 (LIFE_LIVES | LIFE_COUNTED)) == (LIFE_LIVES | LIFE_COUNTED);
}

/* An actor's view; private memory. */
struct subscribers {
	struct arena *arena;
	struct actor *actor;
	unsigned number; /* the actor's */
	unsigned engines;
	struct local_table parts;  /* the engine's own; of mgmtd: none */
	struct global_table table; /* all subscribers */
	struct events events;      /* the actor's ring */
	mono_t now;                /* what events are stamped with: set by who calls */
	uint32_t turn;             /* of housekeeping */
	uint32_t stray;            /* while settling: a part that may be in no table */
};

struct subscribers subscribers_view(struct arena *a, unsigned actor);
struct local_table subscriber_parts_of(const struct arena *a, unsigned engine);
struct global_table subscriber_table_of(const struct arena *a, unsigned actor);

static inline struct subscriber *subscriber_at(const struct arena *a, uint32_t index)
{
	return slab_pointer(a, SLAB_subscriber, index);
}

static inline struct subscriber_part *part_at(const struct arena *a, uint32_t index)
{
	return slab_pointer(a, SLAB_part, index);
}

static inline struct subscriber_record *record_at(const struct arena *a, uint32_t index)
{
	return slab_pointer(a, SLAB_record, index);
}

static inline uint64_t subscriber_hash(const struct arena *a, struct subscriber_key k)
{
	return flow_key_hash((struct flow_key){k.inside.net, k.realm}, a->header->seed);
}

static inline bool part_is_of(const struct subscriber_part *p, struct subscriber_key k)
{
	return p->inside.net == k.inside.net && p->realm == k.realm;
}

/* The part in this table; NULL: none. Another engine's may be gone a moment later, unless its subscriber is locked. */
struct subscriber_part *part_find(
	const struct arena *a, const struct local_table *parts, struct subscriber_key key, uint64_t hash);

enum part_refusal { PART_BUSY, PART_NO_MEMORY, PART_TABLE_FULL };

/* Makes the own engine's part, and the subscriber if need be. It may use nothing yet. */
struct subscriber_part *part_make(
	struct subscribers *v, struct subscriber_key key, uint32_t now_s, enum part_refusal *why);
/* Ends a part that uses nothing; its subscriber too when that was the last. False: busy. */
bool part_end(struct subscribers *v, struct subscriber_part *p);

static inline uint32_t part_index(const struct arena *a, const struct subscriber_part *p)
{
	uint64_t at = (uint64_t)((const uint8_t *)p - a->pages);

	return (uint32_t)((at / ARENA_PAGE + 1) * slab_per_page(SLAB_part) + at % ARENA_PAGE / sizeof *p);
}

/* Locks a subscriber that cannot vanish meanwhile: the caller has a part of it, or its buckets. False: busy. */
bool subscriber_lock(struct subscribers *v, struct subscriber *s);
void subscriber_unlock(struct subscribers *v, struct subscriber *s);

/* With its buckets locked: the subscriber's index, or 0. */
uint32_t subscriber_find(const struct subscribers *v, const struct global_pair *pair, struct subscriber_key key);

/* ---- by name: mgmtd ---- */

/* Makes the subscriber known by name, with these limits of its own, or changes them. -ENOMEM, -EBUSY. */
int subscriber_record_set(struct subscribers *v, struct subscriber_key key, const struct subscriber_record *want);
/* Forgets the name. -ENOENT, -EBUSY. */
int subscriber_record_drop(struct subscribers *v, struct subscriber_key key);

/* ---- after a restart ---- */

/* The engine's parts: they use nothing until their sessions are counted. Then what the predecessor was in the middle of.
 * The table's locks are released. Mgmtd too: it has no parts, and drops records that nobody has. */
void subscribers_settle(struct subscribers *v);

#endif
