#include "pe/nat_events.h"

#include "pe/ip4.h"
#include "pe/nat_internal.h"
#include "shm/quota.h"

#include <string.h>

void nat_events_init(struct nat *n)
{
	n->told.worth = 1ull << VERDICT_drop_no_config;
	for (unsigned v = 0; v < N_VERDICTS; v++)
		if (strcmp(verdict_info[v].class, "resource") == 0)
			n->told.worth |= 1ull << v;
	/* Nothing was told yet, not even in the first second of the clock. */
	memset(n->told.at_s, 0xff, sizeof n->told.at_s);
	memset(n->told.pool_at_s, 0xff, sizeof n->told.pool_at_s);
}

/* ---- of a session that is not made ---- */

static const uint8_t protocol_of[N_L4] = {[L4_TCP] = PROTO_TCP, [L4_UDP] = PROTO_UDP, [L4_ICMP] = PROTO_ICMP};

static void tell_session(struct nat *n, const struct session *s, struct event e)
{
	e.time_ns = n->now.ns;
	e.inside = s->inside;
	e.realm = s->realm;
	e.inside_port = s->inside_port;
	e.remote = s->remote;
	e.remote_port = s->remote_port;
	e.protocol = s->l4 < N_L4 ? protocol_of[s->l4] : 0;
	e.kind = EVENT_refusal;
	event_put(&n->subscribers.events, &e);
}

/* What was counted of it, with this one, which is the first of its burst: those before have been. */
static uint64_t total_of(const struct nat *n, enum verdict v)
{
	return counter_get(&n->actor->verdicts[v]) + n->verdicts[v] + 1;
}

void nat_tell_personal(struct nat *n, const struct session *s, struct part_refusals *r, enum verdict refused)
{
	n->told.at_s[refused] = n->now_s;
	if (part_note_refusal(r, n->now_s))
		tell_session(n, s,
			(struct event){.verdict = (uint8_t)refused,
				.total = atomic_load_explicit(&r->count, memory_order_relaxed),
				.personal = 1});
}

void nat_tell_pool(struct nat *n, const struct session *s, uint32_t pool, enum verdict refused)
{
	uint32_t *at_s = &n->told.pool_at_s[pool][refused];

	if (refused == VERDICT_drop_block_limit) {
		nat_tell_personal(n, s, &n->part->refused_blocks, refused);
		return;
	}
	n->told.at_s[refused] = n->now_s;
	if (*at_s == n->now_s)
		return;
	*at_s = n->now_s;
	tell_session(n, s,
		(struct event){
			.verdict = (uint8_t)refused, .total = total_of(n, refused), .pool = (uint16_t)(pool + 1)});
}

/* ---- of a packet ---- */

static bool has_ports(const struct ip4_header *ip, unsigned header, size_t room)
{
	return (ip->protocol == PROTO_TCP || ip->protocol == PROTO_UDP) &&
	       !(ip->fragment.net & htons(IP4_OFFSET_MASK)) && room >= header + 2 * sizeof(be16_t);
}

/* Who sent it, and where it was going; what came from the outside has no subscriber yet. */
static void describe(struct event *e, const struct packet *p)
{
	const struct ip4_header *ip = flow_ip4(p);
	size_t room = p->len < sizeof(struct eth_header) ? 0 : p->len - sizeof(struct eth_header);
	unsigned header = ip4_extent(ip, room).header;
	bool inside = p->side == SIDE_INSIDE;
	be16_t port[2] = {{0}, {0}};

	if (!header)
		return;
	if (has_ports(ip, header, room))
		memcpy(port, (const uint8_t *)ip + header, sizeof port);
	e->protocol = ip->protocol;
	e->inside = inside ? ip->src : (be32_t){0};
	e->inside_port = inside ? port[0] : (be16_t){0};
	e->realm = inside ? p->vlan : 0;
	e->remote = inside ? ip->dst : ip->src;
	e->remote_port = inside ? port[1] : port[0];
}

void nat_tell_packet(struct nat *n, const struct packet *p)
{
	struct event e = {.time_ns = n->now.ns,
		.total = total_of(n, (enum verdict)p->verdict),
		.kind = EVENT_refusal,
		.verdict = p->verdict};

	n->told.at_s[p->verdict] = n->now_s;
	if (p->verdict != VERDICT_drop_tx_full) /* it is translated by then, and another way round */
		describe(&e, p);
	event_put(&n->subscribers.events, &e);
}
