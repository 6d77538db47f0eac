/* What the Internet sends unasked: most of it is for ports that nobody has. A burst's worth is told at once, by the word
 * of the port table that has the port's bit, and dropped before anything is looked up for it. */
#include "pe/nat_internal.h"

#include <string.h>

/* ---- addresses whose tables say all ---- */

static inline uint32_t slot_of(be32_t address)
{
	return (be32_host(address) * 0x9e3779b1u) / (uint32_t)((1ull << 32) / NAT_ALONE_SLOTS);
}
_Static_assert((NAT_ALONE_SLOTS & (NAT_ALONE_SLOTS - 1)) == 0, "slot_of");

/* Where the address is, or would go. */
static inline uint32_t slot_find(const struct nat *n, be32_t address)
{
	uint32_t at = slot_of(address);

	while (n->alone[at].address.net && n->alone[at].address.net != address.net)
		at = (at + 1) % NAT_ALONE_SLOTS;
	return at;
}

void nat_index_alone(struct nat *n)
{
	memset(n->alone, 0, sizeof n->alone);
	for (uint32_t i = 0; i < n->n_addresses; i++) {
		struct nat_address *at = &n->address[i];
		const struct snapshot_address *a = &n->config.addresses[at->index];

		at->fixed |= n->lender[at->index].barred[PORTS_TCP] || n->lender[at->index].barred[PORTS_OTHER];
		if (!a->older[0] && !at->fixed && !nat_is_subscriber(n, 0, a->address))
			n->alone[slot_find(n, a->address)] =
				(struct nat_alone){a->address, at->order, port_table_at(n->arena, a->ports)};
	}
}

/* ---- a burst ---- */

/* Where the port of a packet's NAT endpoint is noted; table NULL: it is not for the table alone to say. */
struct port_note {
	const struct port_table *table;
	enum port_set set;
	struct port_place place;
};

static inline struct port_note note_of(const struct nat *n, const struct flow *f)
{
	const struct nat_alone *at = &n->alone[slot_find(n, (be32_t){(uint32_t)(f->key.a >> 32)})];
	uint16_t port = be16_host((be16_t){(uint16_t)(f->key.b >> 16)});
	struct port_note note = {at->table, port_set_of(f->l4), port_place_of(&n->ports[at->order].order, port)};

	if (at->table)
		__builtin_prefetch(&at->table->chunk[note.set][note.place.chunk]);
	return note;
}

static inline bool is_taken(struct port_note note)
{
	return chunk_read(note.table, note.set, note.place.chunk) >> note.place.place & 1;
}

enum verdict nat_unasked(const struct nat *n, const struct flow *f)
{
	return f->tcp == TCP_IN_SYN && f->opens && n->config.syn_hold_s ? VERDICT_held_syn : VERDICT_drop_no_session;
}

unsigned nat_drop_unasked(const struct nat *n, struct packet *burst, const struct flow *flow,
	const struct local_found *found, unsigned *first, unsigned count)
{
	struct port_note note[BURST_MAX];
	unsigned left = 0;

	if (!n->configured || n->guest)
		return count;
	for (unsigned i = 0; i < count; i++)
		note[i] = note_of(n, &flow[first[i]]);
	for (unsigned i = 0; i < count; i++) {
		unsigned at = first[i];
		const struct flow *f = &flow[at];

		/* Where a tag fitted, the packet's session may be in the bucket that was not looked at. */
		if (!note[i].table || found[at].session || is_taken(note[i]))
			first[left++] = at;
		else
			burst[at].verdict = (uint8_t)(f->plain ? VERDICT_drop_no_session : nat_unasked(n, f));
	}
	return left;
}
