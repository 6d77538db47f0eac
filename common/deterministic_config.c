/* From a rule of the configuration to what it deals. */
#include "common/config_internal.h"
#include "common/deterministic.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
	MEETINGS_MAX = CONFIG_RULE_PREFIXES_MAX * CONFIG_PREFIXES_MAX,
	CUTS_MAX = CONFIG_RANGES_MAX + CONFIG_STATICS_MAX,
};

_Static_assert((int)CONFIG_REALM_PREFIXES_MAX <= (int)CONFIG_PREFIXES_MAX, "MEETINGS_MAX is for both");

/* ---- subscribers ---- */

static const struct prefix *realm_prefixes(const struct config *c, int vlan, uint32_t *n)
{
	for (uint32_t i = 0; i < c->n_realms; i++)
		if (vlan > 0 && c->realms[i].vlan == vlan) {
			*n = c->realms[i].n_prefixes;
			return c->realms[i].prefixes;
		}
	*n = c->net.n_prefixes;
	return c->net.prefixes;
}

static bool is_known(const struct address_range *list, uint32_t n, struct address_range range)
{
	for (uint32_t i = 0; i < n; i++)
		if (list[i].first == range.first && list[i].last == range.last)
			return true;
	return false;
}

/* Where the rule's prefixes meet the realm's. Of two prefixes that meet, one holds the other, so that there are not
 * more different ones than both lists have together. */
static uint32_t subscribers(const struct config *c, const struct config_rule *r, struct address_range *out)
{
	static const struct prefix any = {0, 0};
	const struct prefix *inside = r && r->n_inside ? r->inside : &any, *prefixes;
	uint32_t n_inside = r && r->n_inside ? r->n_inside : 1, n_prefixes, n = 0;

	prefixes = realm_prefixes(c, r ? config_rule_realm(c, r) : 0, &n_prefixes);
	for (uint32_t i = 0; i < n_inside; i++)
		for (uint32_t p = 0; p < n_prefixes; p++) {
			struct address_range common;

			if (range_overlap(prefix_range(inside[i]), prefix_range(prefixes[p]), &common) &&
				!is_known(out, n, common))
				out[n++] = common;
		}
	return n;
}

/* ---- NAT addresses ---- */

static int by_first(const void *a, const void *b)
{
	const struct address_range *x = a, *y = b;

	return x->first < y->first ? -1 : x->first > y->first;
}

/* What of a pool gives no computed ports besides that excluded: ascending. */
static uint32_t cuts(const struct config *c, const struct config_pool *p, struct address_range *out)
{
	uint32_t n = 0;

	for (; n < p->n_drain; n++)
		out[n] = p->drain[n];
	for (uint32_t i = 0; i < c->n_statics; i++)
		if (c->statics[i].protocol == STATIC_ANY)
			out[n++] = (struct address_range){c->statics[i].nat, c->statics[i].nat};
	qsort(out, n, sizeof(*out), by_first);
	return n;
}

/* Appends what the cuts leave of `piece`. Returns how many ranges there are then, `max` + 1 when too many. */
static uint32_t append(struct address_range piece, const struct address_range *cut, uint32_t n_cuts,
	struct address_range *out, uint32_t n, uint32_t max)
{
	uint64_t at = piece.first;

	for (uint32_t i = 0; i < n_cuts && cut[i].first <= piece.last; i++) {
		if (cut[i].last < at)
			continue;
		if (cut[i].first > at) {
			if (n >= max)
				return max + 1;
			out[n++] = (struct address_range){(uint32_t)at, cut[i].first - 1};
		}
		at = (uint64_t)cut[i].last + 1;
	}
	if (at > piece.last)
		return n;
	if (n >= max)
		return max + 1;
	out[n++] = (struct address_range){(uint32_t)at, piece.last};
	return n;
}

static uint32_t nat_addresses(
	const struct config *c, const struct config_pool *p, struct address_range *out, uint32_t max)
{
	struct address_range cut[CUTS_MAX], piece;
	uint32_t n_cuts = cuts(c, p, cut), n = 0, range = 0;
	uint64_t at = 0;

	while (n <= max && config_pool_next(p, &range, &at, &piece))
		n = append(piece, cut, n_cuts, out, n, max);
	return n;
}

int deterministic_of_rule(const struct config *c, uint32_t rule, struct deterministic *d)
{
	const struct config_rule *r = rule < c->n_rules ? &c->rules[rule] : NULL;
	struct address_range inside[MEETINGS_MAX], nat[DETERMINISTIC_NAT_MAX];
	struct deterministic_spec spec = {
		.inside = inside,
		.nat = nat,
		.reserved = c->nat.reserved,
		.n_inside = subscribers(c, r, inside),
		.n_nat = nat_addresses(c, &c->pools[r ? config_rule_pool(c, r) : 0], nat, DETERMINISTIC_NAT_MAX),
		.n_reserved = c->nat.n_reserved,
		.port_first = c->nat.port_first,
		.port_last = c->nat.port_last,
		.ports_per_subscriber = (uint16_t)(r ? r->ports_per_subscriber : 0),
		.order = r ? r->order : ORDER_FILL,
	};

	return deterministic_init(d, &spec);
}

uint32_t deterministic_rules(const struct config *c, uint32_t out[CONFIG_POOLS_MAX])
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < c->n_rules; i++) {
		const struct config_rule *r = &c->rules[i];

		if (r->action == ACTION_TRANSLATE && config_rule_ports(c, r) == PORTS_DETERMINISTIC &&
			n < CONFIG_POOLS_MAX)
			out[n++] = i;
		if (config_rule_matches_all(c, r))
			return n;
	}
	if (c->nat.ports == PORTS_DETERMINISTIC && n < CONFIG_POOLS_MAX)
		out[n++] = c->n_rules;
	return n;
}
