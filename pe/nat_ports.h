/* nat_ports: NAT addresses and their ports, for the rest of the NAT core.
 *
 * What       which address a mapping gets, which port, and how that is given back: nat_ports.c; ports by subscriber, computed
 *            or from blocks: nat_blocks.c.
 * Units      ports in host order where they are uint16_t.
 * Ownership  what struct nat keeps of it is the engine's.
 * Calls      the engine's thread.
 * Errors     a verdict: why there is no port. N_VERDICTS: there is one, and the intent names it.
 */
#ifndef CORENAT_PE_NAT_PORTS_H
#define CORENAT_PE_NAT_PORTS_H

#include "pe/nat.h"
#include "pe/nat_foresee.h"

/* ---- nat_ports.c ---- */

/* Takes over what the configuration says of ports; views of addresses that stay are kept. */
void nat_ports_configure(struct nat *n);
/* Throws a predecessor's views away. */
void nat_ports_attach(struct nat *n);
/* True when nothing can be behind the NAT endpoint an inbound packet is for: its port has no owner. One word to look at
 * for most of what the Internet sends unasked. */
bool nat_port_is_idle(const struct nat *n, const struct flow *f);
/* The NAT endpoint that would suit best, if it is free: the one beside a neighbour's; port 0: there is none. */
struct beside {
	be32_t address;
	uint16_t port;
};
/* Takes a port as the rule says, into s->nat and s->nat_port. N_VERDICTS: done, else why not. n->part is the subscriber's. */
enum verdict nat_take_port(
	struct nat *n, struct session *s, const struct snapshot_rule *rule, uint32_t draw, struct beside beside);
/* The same for one that wants s->nat, or s->nat_port, or both: what is zero may be any, and what is not may come to nothing:
 * the caller looks. */
enum verdict nat_take_wanted(struct nat *n, struct session *s, const struct snapshot_rule *rule, uint32_t draw);
/* Whoever took a port otherwise asks this before using it: false when it has gone back (snapshot.h, Tables). */
bool nat_keep_taken(struct nat *n, const struct session *s);
static inline bool nat_keep_port(struct nat *n, const struct session *s)
{
	return atomic_load_explicit(&n->arena->header->config_generation, memory_order_seq_cst) ==
		       n->config.generation ||
	       nat_keep_taken(n, s);
}
/* Pieces of it. One that the chooser does not know of: static mappings', or in use or resting in another
 * order. */
bool nat_port_is_barred(struct nat *n, const struct snapshot_address *a, enum l4 l4, uint16_t port);
/* True for an address of a pool; one that leaves is of none any more. */
bool nat_is_in_force(const struct nat *n, be32_t address);
/* An address in force; NULL: it is not, or leaves. */
const struct nat_address *nat_find_address(const struct nat *n, be32_t address);
/* The place in the pool, from `from` on, of an address whose replies come home to this engine; if that cannot be told by the
 * address alone, or none does, `from`'s. The pool has usable addresses. */
uint32_t nat_place_home(const struct nat *n, const struct snapshot_pool *pool, uint32_t from);
/* The address that is tried first; NULL: the pool has none. */
const struct snapshot_address *nat_first_address(
	const struct nat *n, const struct session *s, const struct snapshot_rule *rule, uint32_t draw);
const struct snapshot_address *nat_usable_address(const struct nat *n, be32_t address);
/* The port beside another of the subscriber's, on its address: `who`, if not NULL, has to list a block that it lies in; else
 * it is in nobody's. An address of another pool is none: there the port may be somebody else's by computation. */
bool nat_take_beside(struct nat *n, struct session *s, const struct snapshot_pool *pool, uint16_t port,
	const struct subscriber *who);
/* Those of an address, for the chooser; NULL: there are none. */
struct barring {
	struct nat *n;
	const struct snapshot_address *a;
	const struct port_order *order;
	enum l4 l4;
	struct port_bar bar;
};
const struct port_bar *nat_port_bar(
	struct barring *x, struct nat *n, const struct snapshot_address *a, const struct port_order *o, enum l4 l4);

/* The ports of an address's chunk that static mappings have: a bit each. By the address's index in config.addresses. */
uint32_t nat_find_static_ports(const struct nat *n, uint32_t index, enum l4 l4, unsigned chunk);
static inline uint32_t nat_static_ports(const struct nat *n, uint32_t index, enum l4 l4, unsigned chunk)
{
	return n->lender[index].barred[port_set_of(l4)] >> chunk % 64 & 1 ? nat_find_static_ports(n, index, l4, chunk)
									  : 0;
}
/* Of the configuration, once addresses have their places. */
void nat_index_statics(struct nat *n);

/* Where its port would most likely be looked for first: fetches the word. */
void nat_aim_port(struct nat *n, struct prospect *x);
/* Fetches what gives an own session's port back; its address, NULL: that is not in force. */
const struct nat_address *nat_fetch_port(const struct nat *n, const struct session *s);
/* Where a port is taken. */
struct port_seat {
	const struct nat_address *at; /* NULL: of an address that is not in force */
	uint32_t table;               /* 0: in none */
};
/* Names the port of an own session in the intent, and where it is; frees it. `known`: its address, if that was found. */
struct port_seat nat_intend_port(struct nat *n, const struct session *s, const struct nat_address *known);
void nat_free_port(struct nat *n, const struct session *s, struct port_seat seat);
/* Some of the ports that have rested long enough can be had again. */
void nat_ports_slice(struct nat *n);

/* ---- nat_blocks.c ---- */

/* Whether the session's NAT endpoint is one that is computed for its subscriber. */
bool nat_computes_port(const struct nat *n, const struct session *s, const struct snapshot_pool *pool);
enum verdict nat_take_deterministic(
	struct nat *n, struct session *s, const struct snapshot_pool *pool, uint32_t draw, uint16_t beside);
enum verdict nat_take_from_blocks(
	struct nat *n, struct session *s, uint32_t pool_index, uint32_t draw, uint16_t beside);
/* Gives the subscriber's blocks back that nothing was in for their hold time. What it cost, in cache lines. */
unsigned nat_tend_blocks(struct nat *n, const struct subscriber_part *p);
/* True when the part is its subscriber's last and blocks of its are in their hold time. */
bool nat_holds_blocks(const struct nat *n, const struct subscriber_part *p);

#endif
