/* nexthop: routes and adjacencies, mirrored from the kernel for the engines.
 *
 * What       an adjacency is a neighbour on one side, inside in one realm: its address and the Ethernet header that
 *            reaches it. A route maps a destination prefix, in one realm, to a gateway, to the link, or to the
 *            appliance itself. A realm is the VLAN id of its interface; 0: the interface of the side itself.
 * Units      addresses in network order (be32_t) in adjacencies, host order in routes; MTU in bytes of IPv4.
 * Ownership  mgmtd writes adjacencies and routes; engines read them, set `used`, and post requests.
 * Calls      as said at each function. None blocks, none allocates.
 * Errors     ADJACENCY_NONE when absent or full.
 *
 * Adjacencies: the array is itself an open-addressed hash of (side, realm, address); an index, once given, names that
 * neighbour for the life of the arena, so sessions cache indexes.
 *   publish  seq odd (relaxed), release fence, write [Q] fields, seq even (release).
 *            [Q] fields are written and copied as atomic words: mgmtd alone may use their plain names.
 *   read     seq (acquire), copy [Q] fields, acquire fence, seq again: odd or different => try again, bounded.
 *   Death    mgmtd dying inside a write leaves seq odd: readers see "unresolved" and hold packets; the next mgmtd
 *            rewrites every adjacency it finds (nexthop_repair).
 * Routes: two sets; `generation` names the current one (its low bit).
 *   publish  fill the other set, then generation + 1 (release). A half-written set is never named.
 *   read     generation (acquire), copy, acquire fence, generation again: changed => try again.
 * Requests: one ring per engine, single producer (engine), single consumer (mgmtd); full => dropped, the engine
 * asks again with the next packet.
 */
#ifndef CORENAT_SHM_NEXTHOP_H
#define CORENAT_SHM_NEXTHOP_H

#include "common/units.h"

#include <stdatomic.h>
#include <stddef.h>

enum {
	ADJACENCY_NONE = 0,
	ADJACENCY_MAX = 1 << 16, /* index 0 names nothing */
	ROUTES_MAX = 8192,
	NEXTHOP_REQUESTS = 256, /* per engine; a power of two */
	MAC_SIZE = 6,
};

enum adjacency_state {
	ADJACENCY_FREE,
	ADJACENCY_UNRESOLVED, /* asked for, not answered */
	ADJACENCY_RESOLVED,
	ADJACENCY_FAILED, /* the kernel gave up; asked again when used */
};

/* What is written in front of a forwarded packet, and the limit on its size. */
struct link_header {
	uint8_t dst[MAC_SIZE], src[MAC_SIZE]; /* in wire order: copied in one go */
	uint16_t mtu;
	uint16_t side : 1, state : 3, vlan : 12;
};

/* Legend  [S] mgmtd, odd while it writes  [Q] under seq  [U] engines set, mgmtd clears */
struct adjacency {
	_Atomic uint32_t seq; /*  0 [S] */
	union {
		be32_t address;                /*  4 [Q] */
		_Atomic uint32_t address_word; /*    [Q] */
	};
	union {
		struct link_header link;       /*  8 [Q] */
		_Atomic uint64_t link_word[2]; /*    [Q] */
	};
	_Atomic uint32_t used; /* 24 [U] 1 since mgmtd last looked: keep it fresh in the kernel */
	uint8_t reserved[36];
};
_Static_assert(sizeof(struct adjacency) == CACHE_LINE, "one cache line per adjacency");
_Static_assert(offsetof(struct adjacency, used) == 24, "see map");
_Static_assert(sizeof(struct link_header) == 16, "two words");

enum route_kind {
	ROUTE_NONE,   /* unreachable, blackhole, prohibit: no way there */
	ROUTE_LOCAL,  /* the appliance itself, or broadcast: the kernel's business */
	ROUTE_ONLINK, /* next hop is the destination */
	ROUTE_GATEWAY,
};

struct route {
	uint32_t prefix;  /* host order, host bits zero */
	uint32_t gateway; /* host order; ROUTE_GATEWAY only */
	uint8_t length;
	uint8_t kind; /* enum route_kind */
	uint8_t side; /* enum side of the interface it leaves by, or whose address it is; N_SIDES: no interface of ours */
	uint8_t reserved;
	uint32_t realm; /* in which it holds: that of the interface it leaves by */
};

struct route_set {
	uint32_t n;
	struct route route[ROUTES_MAX]; /* any order; engines sort their copy */
};

struct nexthop_request {
	be32_t address;
	uint16_t side;
	uint16_t realm;
};

struct nexthop_ring {
	_Alignas(CACHE_LINE) _Atomic uint32_t head; /* engine */
	_Alignas(CACHE_LINE) _Atomic uint32_t tail; /* mgmtd */
	struct nexthop_request request[NEXTHOP_REQUESTS];
};

struct nexthop {
	_Alignas(CACHE_LINE) _Atomic uint32_t generation; /* of the routes; 0: none yet */
	struct route_set routes[2];
	struct nexthop_ring ring[ENGINE_MAX];
	_Alignas(CACHE_LINE) struct adjacency adjacency[ADJACENCY_MAX];
};

/* ---- mgmtd ---- */

/* The set to fill before nexthop_publish_routes; contents are left over from two generations ago. */
struct route_set *nexthop_spare_routes(struct nexthop *nh);
void nexthop_publish_routes(struct nexthop *nh);
/* Writes what is known of a neighbour, finding or taking its place. ADJACENCY_NONE when the table is full. */
uint32_t nexthop_set_adjacency(struct nexthop *nh, be32_t address, const struct link_header *link);
/* First call of a starting mgmtd: completes writes a dead predecessor left half-done, as unresolved. */
void nexthop_repair(struct nexthop *nh);
/* The next question of engine `e`; false when there is none. */
bool nexthop_next_request(struct nexthop *nh, unsigned e, struct nexthop_request *out);
/* True when some engine used adjacency `i` since the last call. */
bool nexthop_take_used(struct nexthop *nh, uint32_t i);

/* ---- engines ---- */

/* Copies the routes and returns their generation. */
uint32_t nexthop_read_routes(const struct nexthop *nh, struct route_set *out);
bool nexthop_request(struct nexthop *nh, unsigned e, enum side side, uint16_t realm, be32_t address);

/* Notes that packets leave by it; a store only when mgmtd has looked since. */
static inline void nexthop_use(struct adjacency *a)
{
	if (!atomic_load_explicit(&a->used, memory_order_relaxed))
		atomic_store_explicit(&a->used, 1, memory_order_relaxed);
}

/* ---- anyone ---- */

/* The index of a neighbour, whatever its state; ADJACENCY_NONE when mgmtd has not heard of it. */
uint32_t nexthop_find(const struct nexthop *nh, enum side side, uint16_t realm, be32_t address);
/* Whether adjacency `index`, where a neighbour once was found, is this one: neighbours keep their places. */
bool nexthop_is(const struct nexthop *nh, uint32_t index, enum side side, uint16_t realm, be32_t address);
/* A consistent copy; state is UNRESOLVED when the writer is (or died) in the middle of it. */
struct link_header nexthop_read(const struct nexthop *nh, uint32_t index);

#endif
