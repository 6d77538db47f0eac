/* What the Internet sends unasked: most of it is for ports that nobody has. A burst's worth is told at once, by the word
 * of the port table that has the port's bit, and dropped before anything is looked up for it. */
#include "pe/nat_internal.h"

#include <string.h>

/* ---- the pool's addresses ---- */

static bool has_static(const struct nat *n, uint32_t host)
{
	const struct snapshot *c = &n->config;

	for (uint32_t i = 0; i < c->n_static; i++)
		if (c->static_by_nat[i].nat == host)
			return true;
	return false;
}

void nat_index_addresses(struct nat *n)
{
	const struct snapshot *c = &n->config;

	memset(n->address, 0, sizeof n->address);
	for (uint32_t i = 0; i < c->n_addresses; i++) {
		be32_t address = c->addresses[i].address;
		uint32_t at = nat_address_slot(address);

		while (n->address[at].ports)
			at = (at + 1) % NAT_ADDRESS_SLOTS;
		bool alone = !has_static(n, be32_host(address)) && !nat_is_subscriber(n, 0, address);
		n->address[at] = (struct nat_address){.address = address,
			.ports = c->addresses[i].ports,
			.alone = alone ? port_table_at(n->arena, c->addresses[i].ports) : NULL};
	}
}

/* ---- a burst ---- */

/* Which table has the port of a packet's NAT endpoint; NULL: it is not for the table alone to say. */
static inline const struct port_table *table_for(const struct nat *n, const struct flow *f)
{
	const struct nat_address *at = nat_address_find(n, (be32_t){(uint32_t)(f->key.a >> 32)});

	return at ? at->alone : NULL;
}

static inline uint16_t port_for(const struct flow *f)
{
	return be16_host((be16_t){(uint16_t)(f->key.b >> 16)});
}

enum verdict nat_unasked(const struct nat *n, const struct flow *f)
{
	return f->tcp == TCP_IN_SYN && f->opens && n->config.syn_hold_s ? VERDICT_held_syn : VERDICT_drop_no_session;
}

unsigned nat_drop_unasked(const struct nat *n, struct packet *burst, const struct flow *flow,
	const struct local_found *found, unsigned *first, unsigned count)
{
	const struct port_table *table[BURST_MAX];
	unsigned left = 0;

	if (!n->configured || n->guest)
		return count;
	for (unsigned i = 0; i < count; i++) {
		const struct flow *f = &flow[first[i]];

		/* Where a tag fitted, the packet's session may be in the bucket that was not looked at. */
		table[i] = found[first[i]].session ? NULL : table_for(n, f);
		if (table[i])
			ports_fetch(table[i], port_set_of(f->l4), port_for(f));
	}
	for (unsigned i = 0; i < count; i++) {
		unsigned at = first[i];
		const struct flow *f = &flow[at];

		if (table[i] && !ports_is_set(table[i], port_set_of(f->l4), port_for(f)))
			burst[at].verdict = (uint8_t)(f->plain ? VERDICT_drop_no_session : nat_unasked(n, f));
		else
			first[left++] = at;
	}
	return left;
}
