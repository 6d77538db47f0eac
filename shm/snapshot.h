/* snapshot: the configuration as engines use it.
 *
 * What       an immutable compilation of struct config with the port tables of its addresses. Two slots; the arena
 *            header's config_generation names the one in force by its low bit.
 * Units      seconds, host-order addresses in ranges, wire order in addresses[].
 * Ownership  mgmtd writes the slot not in force; engines copy the one in force into private memory.
 * Calls      compile, commit, drain, free: mgmtd (or the process that owns a private arena). read, acknowledge, gives: engines.
 * Errors     compile: false and a sentence. commit: -EBUSY while a living engine still uses the generation before.
 *
 * Publish    fill the spare slot, then config_generation + 1 (release).
 * Read       generation (acquire), copy, acquire fence, generation again: changed => try again.
 * Retire     a slot is written again only when every living engine has acknowledged the generation that replaced it.
 * Tables     every port table that may have something in it is named: given from (ports), of another order (older), or of an
 *            address that left the configuration (behind n_addresses). Engines touch no others.
 *            Engines take up a configuration one after the other, so for a moment one gives from a table that another has
 *            as an older one. So whoever took a port looks at the generation in force afterwards, and at what it gives from
 *            when it is a newer one: another table means that the port goes back. Either the taker sees the new generation,
 *            or whoever uses that sees the port taken: taking, this look, publishing and taking up are in one order (seq_cst).
 *            So what a table that is not given from any more has in it only gets less once all have acknowledged that.
 * Draining   when they have, and a table has nothing in it, and no session has its address: its mark (drained) is the generation in
 *            force. The next compile leaves it out. When all have acknowledged that one, and no actor's intent names it, it is
 *            freed. A mark means nothing under another generation, so dying on the way leaves what the next one does again.
 * Death      mgmtd dying while it fills the spare slot: nobody reads it. An engine dying unacknowledged holds nobody up.
 */
#ifndef CORENAT_SHM_SNAPSHOT_H
#define CORENAT_SHM_SNAPSHOT_H

#include "common/deterministic.h"
#include "shm/engine.h"
#include "shm/ports.h"
#include "shm/subscriber.h"

/* The table ports are taken from, and those of other orders in which some are still in use. */
enum { SNAPSHOT_OLDER_MAX = 2 };
struct snapshot_address {
	be32_t address;
	uint32_t ports; /* port table's slab index; of an address that left, any of its tables */
	uint32_t older[SNAPSHOT_OLDER_MAX];
};

/* In which order the ports of a pool's addresses lie (port_order.h). */
enum { PORT_ORDER_PLAIN, PORT_ORDER_SHUFFLED, N_PORT_ORDERS };

enum {
	/* What is left of a pool's ranges: each one excluded cuts one in two at most. */
	SNAPSHOT_RANGES_MAX = CONFIG_POOLS_MAX * 2 * CONFIG_RANGES_MAX + CONFIG_ADDRESSES_MAX,
	SNAPSHOT_PREFIXES_MAX = CONFIG_PREFIXES_MAX + CONFIG_REALMS_MAX * CONFIG_REALM_PREFIXES_MAX,
	SNAPSHOT_RULES_MAX = CONFIG_RULE_PAIRS_MAX + 1, /* and the one that matches everything */
	SNAPSHOT_GROUPS_MAX = CONFIG_LIMITS_MAX + 1,    /* and that of all others, without limits */
	SNAPSHOT_HOLDS_MAX = CONFIG_LIMITS_MAX * CONFIG_LIMIT_PREFIXES_MAX + 1,
};

/* Which idle time applies; kept in four bits of a local table entry. */
enum timeout_class {
	TIMEOUT_UDP,
	TIMEOUT_ICMP,
	TIMEOUT_TCP_OPENING,
	TIMEOUT_TCP_ESTABLISHED,
	TIMEOUT_TCP_CLOSING,
	TIMEOUT_OTHER,      /* protocols without ports */
	TIMEOUT_UNANSWERED, /* UDP from outside, until the inside answers (LIFE_BRIEF) */
	TIMEOUT_RULE_FIRST, /* from here on: what rules say */
	N_TIMEOUTS = TIMEOUT_RULE_FIRST + CONFIG_RULE_TIMEOUTS_MAX
};
_Static_assert(N_TIMEOUTS == 16, "four bits");

/* Subscribers. Those of one realm do not overlap. */
struct snapshot_prefix {
	uint32_t realm; /* VLAN id; 0: untagged */
	uint32_t addr;  /* host order */
	uint32_t len;
};

/* One rule with one of its inside prefixes and one of its destination prefixes. */
struct snapshot_rule {
	uint32_t inside, inside_mask; /* host order, like all here */
	uint32_t remote, remote_mask;
	uint16_t port_first, port_last; /* of the remote; 0 to 65535 for protocols without ports */
	uint8_t protocols;              /* bit enum l4 */
	uint8_t action;                 /* enum rule_action */
	uint8_t mapping, filtering;     /* enum behaviour, never the default */
	uint8_t pooling;                /* enum pooling, never the default */
	uint8_t pool;
	uint8_t timeout;            /* class; N_TIMEOUTS: the protocol's */
	uint8_t ports;              /* enum ports_mode, never the default */
	uint16_t realm, realm_mask; /* of the session's; mask 0: any */
};
_Static_assert(sizeof(struct snapshot_rule) == 32, "no holes: snapshots are compared");

/* Its part of addresses[]; those behind the usable ones are drained, or 1:1 and thus taken. */
struct snapshot_pool {
	uint32_t first, n;
	uint32_t usable; /* that give new mappings */
	uint32_t order;  /* PORT_ORDER_* */
	uint32_t block_size, blocks_max, block_hold_s, active_block_s;
	uint32_t overflow;      /* the pool whose blocks take what does not fit, + 1; 0: refused */
	uint32_t deterministic; /* place in deterministic[] + 1; 0: it is not dealt so */
};

struct snapshot_static {
	uint32_t inside, nat; /* host order */
	uint16_t inside_port, nat_port, ports;
	uint8_t l4; /* enum l4; N_L4: whole address, all protocols, ports all 0 */
	uint8_t reserved;
	uint32_t realm; /* of `inside` */
};
_Static_assert(sizeof(struct snapshot_static) == 20, "no holes: snapshots are compared");

/* Limits of a group of subscribers. */
struct snapshot_group {
	struct limits limits;
	uint32_t n_reserved_for;
	uint16_t reserved_for[CONFIG_RESERVED_FOR_MAX]; /* destination ports */
};

/* Whom a group holds: one of its prefixes. */
struct snapshot_hold {
	uint32_t inside, inside_mask; /* host order */
	uint16_t realm, realm_mask;   /* mask 0: any */
	uint32_t group;
};

struct snapshot {
	uint32_t generation;
	uint32_t engines; /* that run; those of the arena beyond are adopted by these */
	uint32_t n_prefixes;
	uint32_t n_addresses;
	uint32_t n_leaving; /* behind those: not in the configuration any more, but something lives there still */
	uint32_t n_ranges;
	uint32_t n_pools;
	uint32_t n_rules;  /* at least one: the last matches everything */
	uint32_t n_static; /* in each of the two arrays */
	uint32_t timeout_s[N_TIMEOUTS];
	uint16_t port_first, port_last;
	uint32_t preserve_range, preserve_parity; /* 0 or 1 */
	uint32_t hold_s, hold_percent;
	uint32_t own_share_percent;
	uint32_t n_reserved;
	struct port_range reserved[CONFIG_RESERVED_MAX];
	struct port_basis basis[N_PORT_ORDERS];
	uint32_t udp_inbound_refresh; /* 0 or 1 */
	uint32_t syn_hold_s;
	uint32_t refusal; /* enum refusal */
	uint32_t icmp_rate;
	uint32_t mss_clamp; /* 0: none */
	uint32_t fragments_held;
	uint32_t fragments_per_source;
	uint32_t fragment_timeout_s;
	uint32_t subscriber_idle_s;
	uint32_t unanswered; /* sessions begun from outside that one subscriber may have */
	uint32_t n_groups;
	uint32_t n_holds; /* at least one: the last holds everybody */
	struct rss rss[N_SIDES];
	struct snapshot_prefix prefixes[SNAPSHOT_PREFIXES_MAX]; /* sorted by realm, addr */
	struct address_range ranges[SNAPSHOT_RANGES_MAX]; /* of all pools, and what leaves: the XDP program must know */
	struct snapshot_pool pools[CONFIG_POOLS_MAX];
	uint32_t n_deterministic;
	struct deterministic deterministic[CONFIG_POOLS_MAX];
	struct snapshot_address addresses[CONFIG_ADDRESSES_MAX];     /* n_addresses, and n_leaving sorted by address */
	struct snapshot_rule rules[SNAPSHOT_RULES_MAX];              /* the first that matches decides */
	struct snapshot_static static_by_inside[CONFIG_STATICS_MAX]; /* sorted by inside, realm, l4, inside_port */
	struct snapshot_static static_by_nat[CONFIG_STATICS_MAX];    /* sorted by nat, l4, nat_port */
	struct snapshot_group groups[SNAPSHOT_GROUPS_MAX];
	struct snapshot_hold holds[SNAPSHOT_HOLDS_MAX]; /* the first that holds a subscriber decides */
};

/* The group that holds a subscriber; there always is one. */
uint32_t snapshot_group_of(const struct snapshot *s, struct subscriber_key key);

/* Finds or makes the port table of each address: those of an address that was in force before keep their bits. An address
 * that left the configuration stays as one that leaves, with its tables, until it has drained. */
bool snapshot_compile(struct arena *a, const struct config *c, struct snapshot *out, struct config_error *err);

/* Puts it in force and returns its generation, or -EBUSY. */
int64_t snapshot_commit(struct arena *a, const struct snapshot *s);

/* True when a generation newer than `seen` is in force: one load, for the loop. */
static inline bool snapshot_news(const struct arena *a, uint32_t seen)
{
	return atomic_load_explicit(&a->header->config_generation, memory_order_acquire) != seen;
}

/* Copies what is in force; false when nothing ever was. */
bool snapshot_read(const struct arena *a, struct snapshot *out);

/* True when all living engines use the generation in force. */
bool snapshot_is_settled(const struct arena *a);

/* Whether a port just taken in that table stays: the configuration in force, which is another one than the taker's, still gives
 * the address's ports from it. */
bool snapshot_gives(const struct arena *a, be32_t address, uint32_t table);

/* After taking a port, before it is used. */
static inline bool snapshot_port_stays(const struct arena *a, uint32_t seen, be32_t address, uint32_t table)
{
	return atomic_load_explicit(&a->header->config_generation, memory_order_seq_cst) == seen ||
	       snapshot_gives(a, address, table);
}

/* Marks tables that have drained, and still are in force; how many. 0 as well when engines have not settled. `now_s`: of the
 * monotonic clock. */
unsigned snapshot_drain(struct arena *a, uint32_t now_s);

/* Frees tables that the configuration in force does not name; how many. 0 as well when engines have not settled. No
 * compiled configuration may wait to be committed. */
unsigned snapshot_free_drained(struct arena *a);

#endif
