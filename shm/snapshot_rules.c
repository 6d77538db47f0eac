/* What is compiled of a configuration besides its addresses. */
#include "shm/snapshot_internal.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

void snapshot_add_values(struct snapshot *s, const struct config *c)
{
	s->engines = c->arena.engines;
	for (int side = 0; side < N_SIDES; side++)
		s->rss[side] = c->net.side[side].rss;
	s->timeout_s[TIMEOUT_UDP] = c->nat.udp_timeout_s;
	s->timeout_s[TIMEOUT_ICMP] = c->nat.icmp_timeout_s;
	s->timeout_s[TIMEOUT_TCP_OPENING] = c->nat.tcp_opening_timeout_s;
	s->timeout_s[TIMEOUT_TCP_ESTABLISHED] = c->nat.tcp_established_timeout_s;
	s->timeout_s[TIMEOUT_TCP_CLOSING] = c->nat.tcp_closing_timeout_s;
	s->timeout_s[TIMEOUT_OTHER] = c->nat.udp_timeout_s;
	s->timeout_s[TIMEOUT_UNANSWERED] = c->nat.unanswered_timeout_s;
	s->port_first = c->nat.port_first;
	s->port_last = c->nat.port_last;
	s->preserve_range = c->nat.preserve_range;
	s->preserve_parity = c->nat.preserve_parity;
	s->hold_s = c->nat.hold_s;
	s->hold_percent = c->nat.hold_percent;
	s->own_share_percent = c->nat.own_share_percent;
	s->n_reserved = c->nat.n_reserved;
	memcpy(s->reserved, c->nat.reserved, sizeof s->reserved);
	port_order_plain(&s->basis[PORT_ORDER_PLAIN]);
	port_order_shuffle(&s->basis[PORT_ORDER_SHUFFLED], &c->net.side[SIDE_OUTSIDE].rss);
	s->udp_inbound_refresh = c->nat.udp_inbound_refresh;
	s->syn_hold_s = c->nat.syn_hold_s;
	s->refusal = c->nat.refusal;
	s->icmp_rate = c->nat.icmp_rate;
	s->mss_clamp = c->nat.mss_clamp;
	s->fragments_held = c->nat.fragments_held;
	s->fragments_per_source = c->nat.fragments_per_source;
	s->fragment_timeout_s = c->nat.fragment_timeout_s;
	s->subscriber_idle_s = c->nat.subscriber_idle_s;
	s->unanswered = c->nat.unanswered;
}

/* ---- subscribers ---- */

static int compare(uint64_t a, uint64_t b)
{
	return (a > b) - (a < b);
}

static int by_realm(const void *a, const void *b)
{
	const struct snapshot_prefix *x = a, *y = b;

	return compare((uint64_t)x->realm << 32 | x->addr, (uint64_t)y->realm << 32 | y->addr);
}

static void add_prefixes(struct snapshot *s, uint32_t realm, const struct prefix *prefixes, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		s->prefixes[s->n_prefixes++] = (struct snapshot_prefix){realm, prefixes[i].addr, prefixes[i].len};
}

void snapshot_add_subscribers(struct snapshot *s, const struct config *c)
{
	add_prefixes(s, 0, c->net.prefixes, c->net.n_prefixes);
	for (uint32_t i = 0; i < c->n_realms; i++)
		add_prefixes(s, c->realms[i].vlan, c->realms[i].prefixes, c->realms[i].n_prefixes);
	qsort(s->prefixes, s->n_prefixes, sizeof s->prefixes[0], by_realm);
}

/* ---- rules ---- */

static uint8_t protocols_of(const struct config_rule *r)
{
	enum { PORTS = 1 << L4_TCP | 1 << L4_UDP, ALL = (1 << N_L4) - 1 };

	switch (r->protocol) {
	case RULE_TCP:
		return 1 << L4_TCP;
	case RULE_UDP:
		return 1 << L4_UDP;
	case RULE_ICMP:
		return 1 << L4_ICMP;
	case RULE_OTHER:
		return 1 << L4_OTHER;
	default:
		return config_rule_has_ports(r) ? PORTS : ALL;
	}
}

/* ---- idle times of rules ---- */

/* Sessions keep the number of their class, so a number means from one configuration to the next what it meant: the times
 * in force stay in their places, whether rules say them still or not. Bits: the classes that this configuration uses. */
static uint16_t classes_in_use(const struct snapshot *s, const struct config *c)
{
	uint16_t used = 0;

	for (uint32_t i = 0; i < c->n_rules; i++)
		for (unsigned class = TIMEOUT_RULE_FIRST; class < N_TIMEOUTS; class ++)
			if (s->timeout_s[class] && s->timeout_s[class] == c->rules[i].timeout_s)
				used |= (uint16_t)(1u << class);
	return used;
}

/* The class that has the time already; else an empty one; else one whose rules are gone: what is left of their sessions
 * takes the new time. */
static uint8_t timeout_class_of(struct snapshot *s, uint16_t *used, uint32_t timeout_s)
{
	unsigned empty = 0, unused = 0;

	if (timeout_s == 0)
		return N_TIMEOUTS;
	for (unsigned class = N_TIMEOUTS - 1; class >= TIMEOUT_RULE_FIRST; class --) {
		if (s->timeout_s[class] == timeout_s)
			return (uint8_t) class;
		if (s->timeout_s[class] == 0)
			empty = class;
		else if (!(*used >> class & 1))
			unused = class;
	}
	unsigned class = empty ? empty : unused;
	assert(class); /* their number was checked */
	s->timeout_s[class] = timeout_s;
	*used |= (uint16_t)(1u << class);
	return (uint8_t) class;
}

static uint32_t mask_of(struct prefix p)
{
	return p.len == 0 ? 0 : UINT32_MAX << (32 - p.len);
}

static void add_pairs(struct snapshot *s, const struct config_rule *r, struct snapshot_rule rule)
{
	static const struct prefix any;
	const struct prefix *inside = r->n_inside ? r->inside : &any;
	const struct prefix *remote = r->n_destination ? r->destination : &any;

	for (uint32_t i = 0; i < (r->n_inside ? r->n_inside : 1); i++)
		for (uint32_t d = 0; d < (r->n_destination ? r->n_destination : 1); d++) {
			rule.inside = inside[i].addr;
			rule.inside_mask = mask_of(inside[i]);
			rule.remote = remote[d].addr;
			rule.remote_mask = mask_of(remote[d]);
			assert(s->n_rules < SNAPSHOT_RULES_MAX);
			s->rules[s->n_rules++] = rule;
		}
}

static void add_rule(struct snapshot *s, const struct config *c, const struct config_rule *r, uint16_t *used)
{
	enum behaviour mapping, filtering;
	int realm = r->action == ACTION_BYPASS ? 0 : config_rule_realm(c, r); /* others mean nothing outside */

	config_rule_behaviour(c, r, &mapping, &filtering);
	add_pairs(s, r,
		(struct snapshot_rule){
			.port_first = r->port_first,
			.port_last = r->port_last,
			.protocols = protocols_of(r),
			.action = (uint8_t)r->action,
			.mapping = (uint8_t)mapping,
			.filtering = (uint8_t)filtering,
			.pooling = (uint8_t)(r->pooling == POOLING_DEFAULT ? c->nat.pooling : r->pooling),
			.pool = (uint8_t)config_rule_pool(c, r),
			.timeout = timeout_class_of(s, used, r->timeout_s),
			.ports = (uint8_t)config_rule_ports(c, r),
			.realm = (uint16_t)(realm < 0 ? 0 : realm),
			.realm_mask = realm < 0 ? 0 : UINT16_MAX,
		});
}

void snapshot_add_rules(struct snapshot *s, const struct config *c)
{
	/* A rule that says nothing matches everything: whoever walks the rules always finds one. */
	static const struct config_rule rest = {.port_last = UINT16_MAX,
		.mapping = BEHAVIOUR_DEFAULT,
		.filtering = BEHAVIOUR_DEFAULT,
		.pooling = POOLING_DEFAULT,
		.ports = PORTS_DEFAULT};

	uint16_t used = classes_in_use(s, c);

	for (uint32_t i = 0; i < c->n_rules; i++)
		add_rule(s, c, &c->rules[i], &used);
	add_rule(s, c, &rest, &used);
}

/* ---- deterministic ports ---- */

/* Rules that deal a pool's ports do it alike (config_check). */
void snapshot_add_deterministic(struct snapshot *s, const struct config *c)
{
	uint32_t rules[CONFIG_POOLS_MAX], n = deterministic_rules(c, rules);

	for (uint32_t i = 0; i < n; i++) {
		const struct config_rule *r = rules[i] < c->n_rules ? &c->rules[rules[i]] : NULL;
		struct snapshot_pool *pool = &s->pools[r ? config_rule_pool(c, r) : 0];

		if (deterministic_of_rule(c, rules[i], &s->deterministic[s->n_deterministic]) != 0)
			continue;
		pool->deterministic = ++s->n_deterministic;
		pool->overflow = r && r->overflow[0] ? config_pool_find(c, r->overflow) + 1 : 0;
	}
}

/* ---- static mappings ---- */

static uint64_t order(uint32_t address, uint32_t realm, uint8_t l4, uint16_t port)
{
	return (uint64_t)address << 32 | realm << 20 | (uint32_t)l4 << 16 | port;
}

static int by_inside(const void *a, const void *b)
{
	const struct snapshot_static *x = a, *y = b;

	return compare(
		order(x->inside, x->realm, x->l4, x->inside_port), order(y->inside, y->realm, y->l4, y->inside_port));
}

static int by_nat(const void *a, const void *b)
{
	const struct snapshot_static *x = a, *y = b;

	return compare(order(x->nat, 0, x->l4, x->nat_port), order(y->nat, 0, y->l4, y->nat_port));
}

void snapshot_add_statics(struct snapshot *s, const struct config *c)
{
	static const uint8_t l4[] = {[STATIC_TCP] = L4_TCP, [STATIC_UDP] = L4_UDP, [STATIC_ANY] = N_L4};

	for (uint32_t i = 0; i < c->n_statics; i++) {
		const struct config_static *from = &c->statics[i];

		s->static_by_nat[i] = (struct snapshot_static){
			.inside = from->inside,
			.nat = from->nat,
			.inside_port = from->inside_port,
			.nat_port = from->nat_port,
			.ports = from->protocol == STATIC_ANY ? 0 : from->ports,
			.l4 = l4[from->protocol],
			.realm = (uint32_t)config_realm_vlan(c, from->realm),
		};
	}
	s->n_static = c->n_statics;
	memcpy(s->static_by_inside, s->static_by_nat, sizeof s->static_by_inside);
	qsort(s->static_by_inside, s->n_static, sizeof s->static_by_inside[0], by_inside);
	qsort(s->static_by_nat, s->n_static, sizeof s->static_by_nat[0], by_nat);
}

bool snapshot_is_taken(const struct snapshot *s, uint32_t nat)
{
	struct snapshot_static whole = {.nat = nat, .l4 = N_L4};

	return bsearch(&whole, s->static_by_nat, s->n_static, sizeof whole, by_nat) != NULL;
}
