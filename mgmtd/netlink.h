/* netlink: the kernel's links, neighbours and routes as plain structs.
 *
 * What       one socket that asks (dumps, single requests) and one that hears of changes. Messages are decoded
 *            here; what they mean to the appliance is mirror.h's business.
 * Units      route prefixes and gateways in host order, neighbour addresses in network order; MTU in bytes.
 * Ownership  netlink_open's result is closed by netlink_close. Structs handed to a visitor live for the call only.
 * Calls      one thread of mgmtd. Questions block for as long as the kernel takes to answer, two seconds at most;
 *            netlink_events never blocks.
 * Errors     0 or -errno; of netlink_events: -ENOBUFS means that changes were lost and everything must be read again.
 *            Of a dump: -EINTR when tables changed meanwhile: ask again.
 * Use        netlink_dump_routes(nl, RT_TABLE_MAIN, &visitor, data); poll(netlink_fd(nl)); netlink_events(nl, …);
 */
#ifndef CORENAT_MGMTD_NETLINK_H
#define CORENAT_MGMTD_NETLINK_H

#include "common/units.h"

#include <net/if.h>

struct netlink;

enum { NETLINK_HOPS_MAX = 16, NETLINK_MAC_SIZE = 6 };

struct netlink_link {
	uint32_t index;
	char name[IF_NAMESIZE];
	uint8_t mac[NETLINK_MAC_SIZE];
	uint32_t mtu;
	bool ethernet;  /* mac is meaningful */
	uint32_t lower; /* index of the link that a VLAN link is on; 0: none of this namespace */
	uint16_t vlan;  /* its 802.1Q id; 0: no VLAN link */
	bool gone;      /* deleted */
};

struct netlink_neighbour {
	uint32_t index; /* of its link */
	be32_t address;
	uint16_t state; /* NUD_* */
	uint8_t mac[NETLINK_MAC_SIZE];
	bool has_mac;
	bool gone;
};

/* One way to go on from a route. */
struct netlink_hop {
	uint32_t index;   /* of the link; 0: none named */
	uint32_t gateway; /* 0: on the link itself */
	bool dead;        /* the kernel passes it over */
	bool foreign;     /* by a gateway that is not IPv4 */
};

struct netlink_route {
	uint32_t table, priority;
	uint32_t prefix;
	uint8_t length, type, tos; /* type: RTN_* */
	uint32_t n_hops;
	struct netlink_hop hop[NETLINK_HOPS_MAX]; /* further ones of a multipath route are left out */
};

/* What to call for each message; members may be NULL. */
struct netlink_visitor {
	void (*link)(void *data, const struct netlink_link *link);
	void (*neighbour)(void *data, const struct netlink_neighbour *neighbour);
	void (*route)(void *data, const struct netlink_route *route);
	/* Something the routes depend on changed: a route, an address, a next-hop object. */
	void (*routing_changed)(void *data);
};

struct netlink *netlink_open(void); /* NULL and errno */
void netlink_close(struct netlink *nl);

/* Readable when netlink_events has something to say. */
int netlink_fd(const struct netlink *nl);

/* Calls the visitor for the changes that have arrived, a bounded number of them. Route changes are reported by
 * routing_changed alone: IPv4 routes that vanish with their link or address get no message of their own. */
int netlink_events(struct netlink *nl, const struct netlink_visitor *v, void *data);

/* -ENODEV when there is no link of that name. */
int netlink_get_link(struct netlink *nl, const char *name, const struct netlink_visitor *v, void *data);
int netlink_dump_links(struct netlink *nl, const struct netlink_visitor *v, void *data);
int netlink_dump_neighbours(struct netlink *nl, uint32_t index, const struct netlink_visitor *v, void *data);
/* Table 0: of all tables. */
int netlink_dump_routes(struct netlink *nl, uint32_t table, const struct netlink_visitor *v, void *data);

/* Tells the kernel that a neighbour is wanted: it resolves a new one, and probes one it has not heard of lately. */
int netlink_use_neighbour(struct netlink *nl, uint32_t index, be32_t address);

/* ---- netlink_decode.c ---- */

struct nlmsghdr;

/* Calls the visitor's member for this message, if it is one of ours. `event`: not an answer to a question. */
void netlink_decode(const struct nlmsghdr *msg, bool event, const struct netlink_visitor *v, void *data);

#endif
