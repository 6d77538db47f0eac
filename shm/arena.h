/* arena: the one POSIX shared-memory object all processes of an appliance share.
 *
 * What       a header, fixed regions, then pages of 2 MiB that slabs are cut from. Created by whichever process
 *            comes first, mapped by the others, wherever each likes: nothing in it is a pointer.
 * Units      bytes, pages of ARENA_PAGE bytes.
 * Ownership  struct arena (private memory) belongs to the process that opened it; the object itself lives until
 *            arena_remove. Who writes which region is said in the region's own header.
 * Calls      open, close, remove: any process, its main thread. The accessors: anyone.
 * Errors     open: NULL and one sentence in arena_error: other layout, truncated, other user's, no room, with the
 *            figures that would work.
 * Death      initialisation runs under an exclusive flock, which the kernel releases when its holder dies, and
 *            `magic` is stored last: an arena without magic is one whose maker died, and the next one starts afresh.
 *            A living engine holds a lock on the byte of its number (arena_claim): the kernel forgets it with the process.
 *
 * Byte map of the object:
 *      0  struct arena_header   4,096 bytes
 *   4096  regions in the order of ARENA_REGIONS, each on a 4 KiB boundary, where header.region says
 *    ...  pages, on a 2 MiB boundary
 */
#ifndef CORENAT_SHM_ARENA_H
#define CORENAT_SHM_ARENA_H

#include "common/config.h"
#include "common/units.h"

#include <stdatomic.h>
#include <stddef.h>

enum {
	ARENA_PAGE = 2 << 20,
	ARENA_VERSION_MAJOR = 1, /* differs: refused */
	ARENA_VERSION_MINOR = 0, /* fields only appended */
	ARENA_NAME_SIZE = 32,
	ARENA_PAGES_MAX = (1 << 13) - 1, /* a session's index fits 28 bits (local_table.h) */
};
#define ARENA_MAGIC 0x314e4743544e4f43u /* "CONTCGN1" */

/* Region, what lies in it, its header. */
#define ARENA_REGIONS(R)                                                                                               \
	R(actors, "who runs, counters, intents: engine.h")                                                             \
	R(nexthop, "routes, adjacencies, requests: nexthop.h")                                                         \
	R(snapshots, "configuration in force and the one before: snapshot.h")                                          \
	R(page_map, "owner and class of each page: slab.h")                                                            \
	R(sessions, "global session table: global_table.h")                                                            \
	R(mappings, "mapping table: global_table.h")                                                                   \
	R(filters, "filter table: global_table.h")                                                                     \
	R(subscribers, "subscriber table: subscriber.h")                                                               \
	R(fragments, "what first fragments decided for the later ones: fragments.h")                                   \
	R(clears, "which sessions are to end on request: clear.h")                                                     \
	R(events, "each engine's ring of events, and mgmtd's: event.h")                                                \
	R(pinholes, "each engine's requests for mappings with a lifetime: pinhole.h")                                  \
	R(locals, "each engine's outbound and inbound tables: local_table.h")                                          \
	R(parts, "each engine's table of its parts of subscribers: subscriber.h")                                      \
	R(pages, "what slabs are cut from: slab.h")

enum arena_region {
#define R(name, help) ARENA_##name,
	ARENA_REGIONS(R)
#undef R
		N_ARENA_REGIONS
};

struct arena_span {
	uint64_t offset, bytes;
};

/* What sizes everything; decided once, by the first process, from the configuration. */
struct arena_geometry {
	uint32_t engines;        /* 1..ENGINE_MAX */
	uint32_t sessions;       /* capacity, all engines together */
	uint32_t pages;          /* of ARENA_PAGE */
	uint32_t local_buckets;  /* of one local table */
	uint32_t global_buckets; /* of the global session table */
	uint32_t mapping_buckets;
	uint32_t subscribers;        /* capacity */
	uint32_t subscriber_buckets; /* of the subscriber table */
	uint32_t part_buckets;       /* of one engine's table of parts */
};

/* Legend  [I] fixed once magic is set  [G] magic itself, stored last, release  [M] mgmtd */
struct arena_header {
	_Atomic uint64_t magic;                    /*   0 [G] */
	uint16_t version_major;                    /*   8 [I] */
	uint16_t version_minor;                    /*  10 [I] */
	uint32_t layout;                           /*  12 [I] hash of the sizes and offsets of all shared structs */
	uint64_t bytes;                            /*  16 [I] of the whole object */
	uint64_t seed;                             /*  24 [I] of all hashes: keys are chosen by subscribers */
	struct arena_geometry geometry;            /*  32 [I] */
	uint32_t nodes;                            /*  68 [I] that pages are dealt to in turn, 1: no choice; numa.h */
	uint64_t created_ns;                       /*  72 [I] CLOCK_REALTIME */
	struct arena_span region[N_ARENA_REGIONS]; /*  80 [I] */
	_Alignas(CACHE_LINE) _Atomic uint32_t config_generation; /* 320 [M] snapshot in force; 0: none yet */
};
_Static_assert(offsetof(struct arena_header, geometry) == 32, "see map");
_Static_assert(offsetof(struct arena_header, region) == 80, "see map");
_Static_assert(offsetof(struct arena_header, config_generation) == 320, "see map");
_Static_assert(sizeof(struct arena_header) <= 4096, "the header's page");

/* One process's view. Private memory. */
struct arena {
	struct arena_header *header;
	uint8_t *base;
	uint64_t bytes;
	uint8_t *pages; /* where the region ARENA_pages begins, and its size: looked up for every packet */
	uint64_t pages_bytes;
	int fd; /* -1: private to this process and its children */
	char name[ARENA_NAME_SIZE];
	uint32_t nodes, node; /* that pages are dealt to; this process's own among them (arena_settle) */
	const char *backing;  /* for the log: "2 MiB pages, 412 of 412 MiB" */
	char backing_text[96];
};

struct arena_error {
	char text[512];
};

/* The geometry a configuration asks for. */
struct arena_geometry arena_plan(const struct config *c);

/* Maps the arena named in the configuration, making it if it is not there. An existing arena keeps its geometry. */
struct arena *arena_open(const struct config *c, struct arena_error *err);

/* Maps it only if it is there and sound; for tools. One that is being made is waited for, two seconds at most. */
struct arena *arena_attach(const char *name, struct arena_error *err);

/* An arena without a name, shared with children only: replay, tests, benchmarks. `seed` makes it repeatable. */
struct arena *arena_open_private(const struct arena_geometry *g, uint64_t seed, struct arena_error *err);

/* For an engine that is on its CPU for good: all of the arena is in this process's page tables, so that no packet meets a page
 * fault; pages of the CPU's node are taken first. Call it before traffic. */
void arena_settle(struct arena *a, unsigned cpu);

void arena_close(struct arena *a); /* NULL is fine */
int arena_remove(const char *name);

/* Checks everything read from a header another process wrote, before first use. 0, or the reason in err. */
bool arena_header_valid(const struct arena_header *h, uint64_t mapped, struct arena_error *err);

/* Claims the role `slot` (an engine number, or ENGINE_MAX for mgmtd) for this process until it exits: 0, or -EBUSY. */
int arena_claim(struct arena *a, unsigned slot);
/* Gives a claimed role back before the process ends. */
void arena_unclaim(struct arena *a, unsigned slot);
/* True when a living process other than the caller holds the role. Costs a system call. */
bool arena_claimed(const struct arena *a, unsigned slot);

static inline void *arena_region(const struct arena *a, enum arena_region r)
{
	return a->base + a->header->region[r].offset;
}

#endif
