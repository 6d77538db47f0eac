/* check_internal: what the files of the checker share among themselves.
 *
 * check.c the looks and what is made of them; check_slab.c pages and slabs; check_table.c tables and locks;
 * check_session.c sessions and mappings; check_port.c ports; check_block.c blocks of ports; check_subscriber.c subscribers
 * and quotas; check_rest.c configuration, next hops, intents.
 */
#ifndef CORENAT_SHM_CHECK_INTERNAL_H
#define CORENAT_SHM_CHECK_INTERNAL_H

#include "shm/check.h"
#include "shm/subscriber.h"

/* A field somebody else may be writing, read once: what was checked is what is used. */
#define PEEK(field) (*(const volatile __typeof__(field) *)&(field))

/* What the look found in tables about a session, by its index. Zero for most of the array: pages never touched. */
struct tally {
	uint64_t adopted;       /* engines whose table of the reverse direction has it though that lands elsewhere */
	uint32_t referrers;     /* other sessions that name it as their parent, weighed as in refs */
	uint32_t referrers_mix; /* which they are: the same at two looks if they are */
	uint8_t local[N_DIRS], global, mapped, filters; /* entries; many count as 255 */
};
_Static_assert(sizeof(struct tally) == 24, "what check.h says it costs");

/* What the look found about a part and a subscriber, by index. */
struct part_tally {
	uint32_t used[N_QUOTAS]; /* by its sessions */
	uint32_t unanswered;     /* of these */
	uint8_t listed;
};

struct subscriber_tally {
	uint64_t parts; /* engines that have one */
	uint64_t out[N_QUOTAS];
	uint64_t mix; /* of the parts' bytes: the same at two looks if nothing moved */
	uint8_t listed;
};

/* A page as this look found it; by its number. */
struct page_note {
	bool owned; /* by a known actor, of a known class, and cut: its objects can be looked at */
	bool room;
	uint8_t actor, class;
	uint8_t listed; /* times on its owner's list of pages with room */
	uint32_t live;
	uint64_t mix; /* shared classes: of all generations; the same at two looks if nothing moved. Others: 0 */
};

enum { PORT_WORDS = 65536 / 64 }; /* of a bit for each port */

/* A live port table, and the ports of its address that sessions carry. */
struct port_use {
	be32_t address;
	uint32_t index;
	struct port_order order;
	uint64_t (*before)[PORT_WORDS];  /* [N_PORT_SETS]: taken before the sessions were looked at; NULL: none */
	uint64_t (*carried)[PORT_WORDS]; /* [N_PORT_SETS]; NULL: none yet. Of the address: in its first table */
	bool named;                      /* by the configuration in force */
	uint32_t *claimed;               /* [N_GRANULES]: the subscriber that lists a block there; NULL: none yet */
};

/* Violations as hashes of all they say; sorted between the looks. */
struct hash_list {
	uint64_t *hash;
	size_t n, room;
};

enum check_stage { STAGE_PAGES, STAGE_TABLES, STAGE_COUNT, STAGE_SESSIONS, STAGE_REST, N_STAGES };

struct check {
	const struct arena *a;
	enum check_mode mode;
	check_say say;
	void *context;
	struct check_counts *counts;
	uint64_t said;
	bool failed; /* no memory */

	/* Of one look. */
	bool speaks; /* the last: its violations count */
	struct hash_list before, now;
	bool stopped[ACTOR_MAX]; /* nobody is at it: what it has begun, it will not end */
	struct tally *tally;
	struct part_tally *part;
	struct subscriber_tally *subscriber;
	struct page_note *page;
	struct port_use *port;
	uint32_t n_ports;
};

/* ---- check.c ---- */

struct check_text check_textf(const char *format, ...) __attribute__((format(printf, 1, 2)));
struct check_text check_actor_text(uint64_t actor);
struct check_text check_endpoint_text(be32_t address, be16_t port);
struct check_text check_session_text(const struct check *c, uint32_t index, const struct session *s);

/* `tenant` tells apart what the texts do not: the object's generation, or 0 where it has none. */
void check_violated(struct check *c, enum check_rule rule, uint64_t tenant, struct check_text object,
	struct check_text fact, struct check_text other);
void check_progress(struct check *c, enum check_stage stage, uint64_t done, uint64_t of);
/* calloc, but at the end of memory the whole check fails. */
void *check_alloc(struct check *c, size_t n, size_t size);

/* A copy of the live session, whole; false when there is none. */
bool check_session_copy(const struct check *c, uint32_t index, struct session *out);

/* Who owns the page an object lies in. The object's page is known to be owned. */
static inline unsigned check_owner(const struct check *c, enum slab_class class, uint32_t index)
{
	return c->page[index / slab_per_page(class)].actor;
}

static inline bool check_known(const struct check *c, enum slab_class class, uint32_t index)
{
	uint32_t number = index / slab_per_page(class);

	return number >= 1 && number <= c->a->header->geometry.pages && c->page[number].owned &&
	       c->page[number].class == class;
}

/* ---- the stages, in this order ---- */

void check_pages(struct check *c);
void check_slabs(struct check *c);
void check_port_tables(struct check *c);
void check_tables(struct check *c);
void check_sessions(struct check *c);
void check_ports(struct check *c);
void check_rest(struct check *c);

/* ---- check_table.c ---- */

/* Counts a lock that is held, and says so when its holder is dead, or nothing runs. */
void check_lock(struct check *c, uint64_t holder, struct check_text object);

/* ---- check_subscriber.c ---- */

void check_subscriber_tables(struct check *c);
/* Counts a session at its engine's part of its subscriber. */
void check_session_counts(struct check *c, uint32_t index, const struct session *s);
void check_subscribers(struct check *c);

/* ---- check_port.c ---- */

/* Notes that a session carries its port. */
void check_port_carried(struct check *c, uint32_t index, const struct session *s);
/* Holds a carrier against the port table of its address. */
void check_port_of(struct check *c, uint32_t index, const struct session *s);
/* A live port table; NULL: none, or one whose ports cannot be told. */
struct port_use *check_port_table(const struct check *c, uint32_t index);

/* ---- check_block.c ---- */

/* Notes what a live subscriber lists. */
void check_block_list(struct check *c, uint32_t index);
/* When all lists are noted: what port tables say. */
void check_blocks(struct check *c);
/* Holds a carrier against the block that its port is in, in the table where it is taken. */
void check_block_port(struct check *c, uint32_t index, const struct session *s, const struct port_use *use);

#endif
