/* check: proves an arena sound: every object accounted for, reachable by its keys, and by nothing else.
 *
 * What       looks at the whole arena and holds what its parts say of each other against the rules below. Each
 *            disagreement is a violation: the object, the rule, and the two facts.
 * Units      counts of objects.
 * Ownership  the arena is only read; what the look needs besides (24 bytes per session, 28 per part of
 *            a subscriber, 72 per subscriber, 4 KiB per port table with blocks) is private and freed at the end.
 * Calls      any process that has the arena mapped: main threads of tools and tests. Takes seconds for millions of
 *            sessions. `say` is called from inside.
 * Errors     check_arena: the number of violations, or -ENOMEM. Whatever garbage a crashed writer left, it neither
 *            crashes nor loops: indexes are checked before use, walks are bounded.
 * Use        struct check_counts counts;
 *            if (check_arena(a, CHECK_EXACT, print_violation, NULL, &counts) != 0) fail();
 *
 * CHECK_EXACT  nothing runs, or nothing is in the middle of a step: every disagreement counts, no lock may be held, no
 *            intent open.
 * CHECK_LIVE   the box works meanwhile. A disagreement counts when three looks find it with the very same facts about
 *            the very same tenants of the objects; between two looks every living actor has come round its loop, or was
 *            waited for, five seconds long, so that what was in flight at one look is done at the next. Locks and
 *            intents count when their holder is dead: one whose role nobody holds (arena.h). In a private arena nobody
 *            is dead.
 * Price      figures that move all the time (use counts under traffic) can hide a violation of theirs from a live
 *            check; nothing moves in an exact one.
 *
 * Ending     a session marked DYING may already have left, or never reached, tables it would otherwise be in: its owner
 *            goes on at its next turn. So for these, "exactly once" means "at most once".
 */
#ifndef CORENAT_SHM_CHECK_H
#define CORENAT_SHM_CHECK_H

#include "shm/engine.h"
#include "shm/ports.h"

/* Rule, what it demands. */
#define CHECK_RULES(R)                                                                                                 \
	R(page_owner, "a page is free, or belongs to an actor there is, for a class such actors allocate")             \
	R(page_cut, "a page that has an owner is cut for that owner")                                                  \
	R(page_free_list, "a page's free list holds each of its free objects once, and nothing else")                  \
	R(page_used, "a page's use count is the number of its live objects")                                           \
	R(page_top, "no object of a page has a generation above the highest the page gave")                            \
	R(slab_partial, "an actor's list of pages with room holds each page of its that has room once")                \
	R(slab_count, "an actor's counts of pages and objects are what its pages hold")                                \
	R(slab_remote, "an actor's remote list holds live objects of its own, each once")                              \
	R(lock_held, "no lock is held by the dead; at rest none is held at all")                                       \
	R(intent_open, "no change begun by the dead is unsettled; at rest none is open at all")                        \
	R(session_owner, "a session names the engine whose page it lies in")                                           \
	R(session_flags, "a session has a protocol and flags there are")                                               \
	R(session_leaked, "a live session has a flow, or is a pinhole, or is ending and waits for something")          \
	R(session_outbound, "a flow that begins or lands there is in its owner's outbound table exactly once")         \
	R(session_inbound, "a flow that begins or lands there is in its owner's inbound table exactly once")           \
	R(session_global, "a flow whose replies land elsewhere is in the global session table exactly once")           \
	R(session_adopters, "an engine is an adopter of a session if its table of the reverse has it once")            \
	R(session_unique, "one engine's outbound table has one session per key")                                       \
	R(session_mapping, "a session's mapping is carried by a live session of the same inside endpoint")             \
	R(mapping_listed, "a session that carries a mapping is in the mapping table exactly once")                     \
	R(filter_listed, "a session that carries a filter is in the filter table exactly once")                        \
	R(filter_unique, "the filter table has one filter per key")                                                    \
	R(filter_entry, "a filter table's entry names a live session, where its hash belongs")                         \
	R(mapping_refs, "a mapping's reference count is the number of other sessions that use it")                     \
	R(mapping_unique, "the mapping table has one mapping per inside endpoint")                                     \
	R(local_entry, "a local table's entry names a live session of the engine's, where its hash belongs")           \
	R(global_entry, "a global session entry names a live session, where its hash belongs")                         \
	R(mapping_entry, "a mapping table's entry names a live session, where its hash belongs")                       \
	R(session_part, "a live session's engine has a part of its subscriber")                                        \
	R(part_listed, "a part of a subscriber is in its engine's table of parts exactly once")                        \
	R(part_entry, "a table of parts' entry names a live part of the engine's, where its hash belongs")             \
	R(part_subscriber, "a part names the live subscriber of its key")                                              \
	R(part_used, "what a part says it uses is what its sessions use")                                              \
	R(part_unanswered, "a part counts those of its sessions that began outside and are not known to be answered")  \
	R(part_within, "a part uses no more than it may")                                                              \
	R(subscriber_listed, "a live subscriber is in the subscriber table exactly once")                              \
	R(subscriber_entry, "a subscriber table's entry names a live subscriber, where its hash belongs")              \
	R(subscriber_unique, "the subscriber table has one subscriber per realm and inside address")                   \
	R(subscriber_parts, "the engines that a subscriber says may have parts are those that have")                   \
	R(quota_sum, "what a subscriber gave out of each quota is what its parts may use together")                    \
	R(record_owner, "a record of a subscriber belongs to one that is live")                                        \
	R(port_leaked, "a port that is taken is carried by a live session")                                            \
	R(port_unmarked, "a port that is carried is taken in its address's port table")                                \
	R(port_shared, "a port is carried by one session only")                                                        \
	R(port_twice, "a port is taken in one of its address's tables only")                                           \
	R(port_holder, "a chunk of ports is held by an engine there is, by a block, or by nobody")                     \
	R(block_listed, "what a subscriber lists is a block of a table there is, and labelled with it")                \
	R(block_labelled, "ports labelled with a subscriber are in a block that it lists")                             \
	R(block_overlap, "no two blocks overlap")                                                                      \
	R(block_chunk, "a chunk is held by a block if its ports are labelled, and only then")                          \
	R(block_hint, "the hint says which ports are labelled")                                                        \
	R(block_port, "a port in a block is carried by a session of the block's subscriber")                           \
	R(port_table_valid, "a port table's order is one")                                                             \
	R(port_table_unique, "an address has one port table of an order")                                              \
	R(port_table_named, "a port table with ports in use is named by the configuration in force")                   \
	R(clear_valid, "the newest request to clear is in its place, and no engine has done more than was asked")      \
	R(pinhole_valid, "no engine has answered more requests for pinholes than were made, nor is behind by more")    \
	R(event_valid, "no more events are in a ring than fit, and each is of a kind that engines tell")               \
	R(snapshot_valid, "the configuration in force is the generation it says, within its bounds")                   \
	R(snapshot_address, "each address in force has a live port table of its own")                                  \
	R(nexthop_seq, "no adjacency is left in the middle of a write")

enum check_rule {
#define R(name, help) CHECK_##name,
	CHECK_RULES(R)
#undef R
		N_CHECK_RULES
};

struct check_rule_info {
	const char *name, *help;
};

extern const struct check_rule_info check_rule_info[N_CHECK_RULES];

enum check_mode { CHECK_EXACT, CHECK_LIVE };

enum { CHECK_LOOKS = 3, CHECK_TEXT = 112 };

struct check_text {
	char text[CHECK_TEXT];
};

struct check_violation {
	enum check_rule rule;
	struct check_text object; /* "session 65537 (udp 100.64.0.2:5000 -> 203.0.113.2:53, engine 1)" */
	struct check_text fact[2];
};

typedef void (*check_say)(void *context, const struct check_violation *v);

/* Legend  [P] progress: another thread may read it meanwhile; the rest is of the last look */
struct check_counts {
	_Atomic uint32_t look;    /* [P] 1..CHECK_LOOKS */
	_Atomic uint32_t percent; /* [P] of this look */
	uint32_t looks;           /* taken in all */
	uint64_t in_flight;       /* disagreements of the first look that were gone later */
	uint64_t violations[N_CHECK_RULES];
	uint32_t pages_free;
	uint32_t pages[ACTOR_MAX][N_SLAB_CLASSES];
	uint64_t sessions;           /* live */
	uint64_t flows, away, dying; /* of them */
	uint64_t adoptions;          /* sessions in other engines' inbound tables */
	uint64_t mappings, filters;
	uint64_t inbound;    /* flows of inbound origin */
	uint64_t pinholes;   /* not ending */
	uint64_t references; /* sessions that use a mapping they do not carry */
	uint64_t local_entries, global_entries, mapping_entries, filter_entries;
	uint64_t locks, intents;              /* held, open */
	uint64_t subscribers, parts, records; /* live */
	uint64_t subscriber_entries, part_entries;
	uint32_t port_tables;
	uint64_t ports[N_PORT_SETS]; /* taken */
	uint64_t blocks;             /* of ports, listed */
	uint64_t granules;           /* of blocks, labelled */
	uint32_t addresses;          /* in force */
	uint32_t adjacencies;
	uint64_t events; /* not yet taken by mgmtd */
};

int64_t check_arena(
	const struct arena *a, enum check_mode mode, check_say say, void *context, struct check_counts *out);

#endif
