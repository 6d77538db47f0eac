/* deterministic: NAT addresses and ports computed from inside addresses, and back (RFC 7422).
 *
 * What       numbers the subscribers by ascending address, cuts the ports of each NAT address in equal slices, and
 *            deals the slices to the subscribers: an address filled first, or one subscriber to each address in turn
 *            (RFC 7422 section 2). A slice holds the same ports of TCP, UDP and all else.
 * Units      addresses in host order; ports.
 * Ownership  struct deterministic is a plain value with no pointers and no holes; fixed once made.
 * Calls      pure; any thread. forward and reverse: binary searches over ranges, nothing else.
 * Errors     init: 0 or -errno, see there; of *d then only the numbers of ranges and addresses are true. forward, reverse: false when there is none.
 * Use        deterministic_init(&d, &spec); deterministic_forward(&d, inside, &ports);
 *            deterministic_reverse(&d, ports.nat, ports.first, &inside);
 *
 * Alignment  slices begin at, and are, multiples of DETERMINISTIC_ALIGN ports, so that no chunk of the port tables is
 *            two subscribers'. Ports before the first multiple and behind the last whole slice are nobody's.
 * Reserved   a reserved port is nobody's. The slice it is in keeps its place and is short by it; a slice that would lose
 *            more than half of its ports is left out, so that no subscriber is left with next to nothing.
 * Change     any change of the spec may move any subscriber: who had a port at a time is answered by the spec of then.
 */
#ifndef CORENAT_DETERMINISTIC_H
#define CORENAT_DETERMINISTIC_H

#include "common/config.h"

enum {
	/* A rule's prefixes within its realm's: of two that meet, the smaller one is left. */
	DETERMINISTIC_INSIDE_MAX = CONFIG_PREFIXES_MAX + CONFIG_RULE_PREFIXES_MAX,
	DETERMINISTIC_NAT_MAX = 256,
	DETERMINISTIC_ALIGN = 16, /* ports of a chunk */
};

/* What is to be dealt. The ranges of a list may be in any order, and overlap. */
struct deterministic_spec {
	const struct address_range *inside, *nat;
	const struct port_range *reserved;
	uint32_t n_inside, n_nat, n_reserved;
	uint16_t port_first, port_last;
	uint16_t ports_per_subscriber; /* a multiple of DETERMINISTIC_ALIGN; 0: as many as let all have some */
	enum ports_order order;
};

/* Consecutive addresses, and how many addresses come before them. */
struct deterministic_range {
	uint32_t first, last, before;
};

/* Consecutive reserved ports, and how many come before them. */
struct deterministic_reserved {
	uint16_t first, last;
	uint32_t before;
};

/* Consecutive slices that are left out, and how many are left out before them. */
struct deterministic_gap {
	uint16_t first, n;
	uint32_t before;
};

struct deterministic {
	uint64_t subscribers; /* inside addresses */
	uint64_t dealt;       /* of them, the first ones, that get a slice */
	uint32_t addresses;   /* NAT addresses */
	uint32_t slices;      /* of each NAT address, those left out not counted */
	uint32_t port_first;  /* where slice 0 begins */
	uint32_t size;        /* ports of a slice */
	uint32_t spread;      /* 1: ORDER_SPREAD, 0: ORDER_FILL */
	uint32_t n_inside, n_nat, n_reserved, n_gaps;
	uint32_t padding;                                                                        /* zero */
	struct deterministic_range inside[DETERMINISTIC_INSIDE_MAX], nat[DETERMINISTIC_NAT_MAX]; /* ascending */
	struct deterministic_reserved reserved[CONFIG_RESERVED_MAX];                             /* ascending, apart */
	struct deterministic_gap gaps[CONFIG_RESERVED_MAX];                                      /* ascending, apart */
};

_Static_assert(
	sizeof(struct deterministic) ==
		2 * 8 + 10 * 4 + (DETERMINISTIC_INSIDE_MAX + DETERMINISTIC_NAT_MAX) * 12 + 2 * CONFIG_RESERVED_MAX * 8,
	"no holes: snapshots are compared");

/* The ports of one subscriber. */
struct deterministic_ports {
	uint32_t nat;         /* host order */
	uint16_t first, last; /* a whole slice; ports between them that are reserved are nobody's */
	uint32_t usable;      /* without those */
};

/* -EINVAL: no inside or NAT address, ports that run backwards, ports_per_subscriber that is no multiple.
 * -E2BIG: more ranges than there is room for. -ERANGE: no whole slice fits into the ports, or, when as many as fit are
 * asked for, not even the smallest slice for everyone. */
int deterministic_init(struct deterministic *d, const struct deterministic_spec *spec);

/* The ports of an inside address. False: it is none of these subscribers, or its number is not dealt to. */
bool deterministic_forward(const struct deterministic *d, uint32_t inside, struct deterministic_ports *out);

/* The inside address that owns a port of a NAT address. False: nobody does. */
bool deterministic_reverse(const struct deterministic *d, uint32_t nat, uint16_t port, uint32_t *inside);

/* Whether the address is one of the subscribers, dealt to or not. */
bool deterministic_is_subscriber(const struct deterministic *d, uint32_t inside);

/* NAT addresses that it would take to deal `size` ports to all subscribers; 0 when not even one fits on an address. */
uint64_t deterministic_addresses_needed(const struct deterministic *d);

/* ---- of a configuration ---- */

/* What a deterministic rule deals: the subscribers it matches in its realm, over its pool's addresses without those
 * excluded, drained or mapped 1:1. Rule c->n_rules is what happens where no rule matches. Errors as deterministic_init;
 * the configuration must be a checked one but for that. */
int deterministic_of_rule(const struct config *c, uint32_t rule, struct deterministic *d);

/* The rules that deal and can be reached, c->n_rules among them. Returns how many. */
uint32_t deterministic_rules(const struct config *c, uint32_t out[CONFIG_POOLS_MAX]);

#endif
