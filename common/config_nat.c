/* The rules between options of the NAT behaviour: what of a pool is used, rules, static mappings. */
#include "common/config_internal.h"

#include <stdio.h>
#include <string.h>

enum {
	WELL_KNOWN_LAST = 1023, /* the last of the ports that RFC 4787 REQ-5a makes an exception for */
	UDP_TIMEOUT_MIN_S = 120,
	ICMP_TIMEOUT_MIN_S = 60,
	MSS_MIN = 536, /* of the smallest packet that every host takes (RFC 9293 §3.7.1) */
};

/* ---- pools: exclude, drain ---- */

/* The first part of `range` that the pool's addresses do not hold; false when they hold all of it. */
static bool find_outside(const struct config_pool *p, struct address_range range, struct address_range *outside)
{
	const struct address_range *holds;

	for (uint64_t at = range.first; at <= range.last; at = (uint64_t)holds->last + 1) {
		holds = ranges_find(p->ranges, p->n_ranges, (uint32_t)at);
		if (!holds) {
			*outside = (struct address_range){(uint32_t)at, (uint32_t)at};
			return true;
		}
	}
	return false;
}

/* One entry of pools[].exclude or pools[].drain: of the pool, and in neither list before. */
static bool check_part(const struct config *c, uint32_t pool, const char *list, const struct address_range *ranges,
	uint32_t entry, struct config_error *err)
{
	const struct config_pool *p = &c->pools[pool];
	struct address_range common;
	char text[40];

	if (find_outside(p, ranges[entry], &common)) {
		range_format(common, text, sizeof(text));
		return config_refuse(err, "pools[%u].%s[%u]: %s is not in pool \"%s\"; give addresses of the pool",
			pool, list, entry, text, p->name);
	}
	for (uint32_t i = 0; i < entry; i++)
		if (range_overlap(ranges[entry], ranges[i], &common)) {
			range_format(common, text, sizeof(text));
			return config_refuse(err,
				"pools[%u].%s[%u]: %s is in the list already (entry %u); give each address once", pool,
				list, entry, text, i);
		}
	return true;
}

static bool check_drained_and_excluded(const struct config *c, uint32_t pool, struct config_error *err)
{
	const struct config_pool *p = &c->pools[pool];
	struct address_range common;
	char text[40];

	for (uint32_t d = 0; d < p->n_drain; d++)
		for (uint32_t e = 0; e < p->n_exclude; e++) {
			if (!range_overlap(p->drain[d], p->exclude[e], &common))
				continue;
			range_format(common, text, sizeof(text));
			return config_refuse(err,
				"pools[%u].drain[%u]: %s is excluded, too (entry %u), and so has nothing to drain; "
				"give it in one list only",
				pool, d, text, e);
		}
	return true;
}

static bool check_excluded_all(const struct config *c, uint32_t pool, struct config_error *err)
{
	const struct config_pool *p = &c->pools[pool];

	if (ranges_count(p->ranges, p->n_ranges) > ranges_count(p->exclude, p->n_exclude))
		return true;
	return config_refuse(
		err, "pools[%u].exclude: leaves no address in pool \"%s\"; leave at least one", pool, p->name);
}

bool config_check_pool_parts(const struct config *c, struct config_error *err)
{
	for (uint32_t i = 0; i < c->n_pools; i++) {
		const struct config_pool *p = &c->pools[i];

		for (uint32_t e = 0; e < p->n_exclude; e++)
			if (!check_part(c, i, "exclude", p->exclude, e, err))
				return false;
		for (uint32_t e = 0; e < p->n_drain; e++)
			if (!check_part(c, i, "drain", p->drain, e, err))
				return false;
		if (!check_drained_and_excluded(c, i, err) || !check_excluded_all(c, i, err))
			return false;
	}
	return true;
}

/* ---- rules ---- */

static bool check_rule_name(const struct config *c, uint32_t rule, struct config_error *err)
{
	const char *name = c->rules[rule].name;

	if (name[0] == '\0')
		return true;
	if (!is_plain_name(name))
		return config_refuse(err,
			"rules[%u].name: \"%s\" is not a plain name; give letters, digits, '.', '_' or '-'", rule,
			name);
	for (uint32_t i = 0; i < rule; i++)
		if (strcmp(name, c->rules[i].name) == 0)
			return config_refuse(err,
				"rules[%u].name: \"%s\" is the name of rules[%u] too; give each rule its own", rule,
				name, i);
	return true;
}

static bool check_rule_ports(const struct config *c, uint32_t rule, struct config_error *err)
{
	static const char *const without[] = {[RULE_ICMP] = "icmp", [RULE_OTHER] = "other"};
	const struct config_rule *r = &c->rules[rule];

	if (r->port_first > r->port_last)
		return config_refuse(err,
			"rules[%u].port_first: %u is above port_last, %u; give a first port not above the last", rule,
			r->port_first, r->port_last);
	if (!config_rule_has_ports(r) || (r->protocol != RULE_ICMP && r->protocol != RULE_OTHER))
		return true;
	return config_refuse(err,
		"rules[%u].port_%s: %u is given, but protocol \"%s\" has no ports; give tcp or udp, or no ports", rule,
		r->port_first > 0 ? "first" : "last", r->port_first > 0 ? r->port_first : r->port_last,
		without[r->protocol]);
}

static bool check_rule_pool(const struct config *c, uint32_t rule, struct config_error *err)
{
	if (config_rule_pool(c, &c->rules[rule]) < c->n_pools)
		return true;
	return config_refuse(err, "rules[%u].pool: there is no pool \"%s\"; give the name of one in pools", rule,
		c->rules[rule].pool);
}

static bool check_rule_realm(const struct config *c, uint32_t rule, struct config_error *err)
{
	const struct config_rule *r = &c->rules[rule];

	if (r->action == ACTION_BYPASS && config_rule_realm(c, r) > 0)
		return config_refuse(err,
			"rules[%u].realm: \"%s\" has addresses of its own, which the outside does not know; give "
			"translate, "
			"drop, or no realm",
			rule, r->realm);
	if (strcmp(r->realm, CONFIG_REALM_ANY) == 0 || config_rule_realm(c, r) >= 0)
		return true;
	return config_refuse(err,
		"rules[%u].realm: there is no realm \"%s\"; give the name of one in realms, \"untagged\" or \"any\"",
		rule, r->realm);
}

/* A type and, beside it, a mapping or filtering that is not the type's. */
static bool check_rule_type(const struct config *c, uint32_t rule, struct config_error *err)
{
	const struct config_rule *r = &c->rules[rule];
	struct config_rule bare = *r;
	enum behaviour mapping, filtering, is_mapping, is_filtering;

	if (r->type == NAT_TYPE_DEFAULT)
		return true;
	bare.mapping = bare.filtering = BEHAVIOUR_DEFAULT;
	config_rule_behaviour(c, &bare, &mapping, &filtering);
	config_rule_behaviour(c, r, &is_mapping, &is_filtering);
	if (mapping == is_mapping && filtering == is_filtering)
		return true;
	return config_refuse(err,
		"rules[%u].%s: \"%s\" is not what the rule's type says, \"%s\"; give the type or the pair, not both",
		rule, mapping != is_mapping ? "mapping" : "filtering",
		behaviour_name(mapping != is_mapping ? is_mapping : is_filtering),
		behaviour_name(mapping != is_mapping ? mapping : filtering));
}

static bool check_rule_timeout(const struct config *c, uint32_t rule, struct config_error *err)
{
	const struct config_rule *r = &c->rules[rule];
	bool udp = r->protocol == RULE_UDP || r->protocol == RULE_ANY;
	bool icmp = r->protocol == RULE_ICMP || (r->protocol == RULE_ANY && !config_rule_has_ports(r));

	if (r->timeout_s == 0)
		return true;
	if (udp && r->port_last > WELL_KNOWN_LAST && r->timeout_s < UDP_TIMEOUT_MIN_S)
		return config_refuse(err,
			"rules[%u].timeout_s: %u is too short for UDP ports above %d; give at least %d (RFC 4787 "
			"REQ-5), or a port_last up to %d",
			rule, r->timeout_s, WELL_KNOWN_LAST, UDP_TIMEOUT_MIN_S, WELL_KNOWN_LAST);
	if (icmp && r->timeout_s < ICMP_TIMEOUT_MIN_S)
		return config_refuse(err,
			"rules[%u].timeout_s: %u is too short for ICMP; give at least %d (RFC 5508 REQ-2)", rule,
			r->timeout_s, ICMP_TIMEOUT_MIN_S);
	return true;
}

/* What engines walk is every inside prefix with every destination prefix; and a session has four bits for its idle time. */
static bool check_rules_fit(const struct config *c, struct config_error *err)
{
	uint32_t pairs = 0, n = 0, distinct[CONFIG_RULE_TIMEOUTS_MAX];

	for (uint32_t i = 0; i < c->n_rules; i++) {
		const struct config_rule *r = &c->rules[i];
		uint32_t known = 0;

		pairs += config_rule_pairs(r);
		while (known < n && distinct[known] != r->timeout_s)
			known++;
		if (r->timeout_s == 0 || known < n)
			continue;
		if (n == CONFIG_RULE_TIMEOUTS_MAX)
			return config_refuse(err,
				"rules[%u].timeout_s: %u is one idle time too many; all rules together may have %d "
				"different ones",
				i, r->timeout_s, CONFIG_RULE_TIMEOUTS_MAX);
		distinct[n++] = r->timeout_s;
	}
	if (pairs <= CONFIG_RULE_PAIRS_MAX)
		return true;
	return config_refuse(err,
		"rules: make %u pairs of an inside prefix and a destination prefix; at most %d are possible", pairs,
		CONFIG_RULE_PAIRS_MAX);
}

static bool check_rules(const struct config *c, struct config_error *err)
{
	for (uint32_t i = 0; i < c->n_rules; i++)
		if (!check_rule_name(c, i, err) || !check_rule_ports(c, i, err) || !check_rule_pool(c, i, err) ||
			!check_rule_realm(c, i, err) || !check_rule_type(c, i, err) || !check_rule_timeout(c, i, err))
			return false;
	return check_rules_fit(c, err);
}

/* ---- static mappings ---- */

static bool check_static_ports(const struct config *c, uint32_t entry, struct config_error *err)
{
	const struct config_static *s = &c->statics[entry];
	bool inside = s->inside_port == 0 || s->inside_port + s->ports - 1 > UINT16_MAX;
	uint32_t wrong = inside ? s->inside_port : s->nat_port;

	if (s->protocol == STATIC_ANY) {
		if (s->inside_port == 0 && s->nat_port == 0 && s->ports == 1)
			return true;
		return config_refuse(err,
			"static[%u].%s: is given, but protocol \"any\" means the whole address; leave ports out, or "
			"give tcp or udp",
			entry,
			s->inside_port ? "inside_port"
			: s->nat_port  ? "nat_port"
				       : "ports");
	}
	if (!inside && s->nat_port != 0 && s->nat_port + s->ports - 1 <= UINT16_MAX)
		return true;
	if (wrong == 0)
		return config_refuse(err, "static[%u].%s: is missing; give the first port, 1 to 65535", entry,
			inside ? "inside_port" : "nat_port");
	return config_refuse(err,
		"static[%u].ports: %u ports from %u on run beyond 65535; give at most %u with that %s", entry, s->ports,
		wrong, UINT16_MAX + 1 - wrong, inside ? "inside_port" : "nat_port");
}

static bool in_prefixes(const struct prefix *prefixes, uint32_t n, uint32_t host)
{
	for (uint32_t i = 0; i < n; i++) {
		struct address_range range = prefix_range(prefixes[i]);

		if (ranges_find(&range, 1, host))
			return true;
	}
	return false;
}

static bool is_subscriber(const struct config *c, int vlan, uint32_t host)
{
	if (vlan == 0)
		return in_prefixes(c->net.prefixes, c->net.n_prefixes, host);
	for (uint32_t i = 0; i < c->n_realms; i++)
		if (c->realms[i].vlan == vlan)
			return in_prefixes(c->realms[i].prefixes, c->realms[i].n_prefixes, host);
	return false;
}

static bool is_nat_address(const struct config *c, uint32_t host)
{
	for (uint32_t i = 0; i < c->n_pools; i++)
		if (ranges_find(c->pools[i].ranges, c->pools[i].n_ranges, host))
			return !ranges_find(c->pools[i].exclude, c->pools[i].n_exclude, host);
	return false;
}

static bool check_static_addresses(const struct config *c, uint32_t entry, struct config_error *err)
{
	const struct config_static *s = &c->statics[entry];
	int vlan = config_realm_vlan(c, s->realm);
	bool inside = is_subscriber(c, vlan, s->inside);
	uint32_t wrong = inside ? s->nat : s->inside;
	char text[40];

	if (vlan < 0)
		return config_refuse(err,
			"static[%u].realm: there is no realm \"%s\"; give the name of one in realms, or \"untagged\"",
			entry, s->realm);
	if (inside && is_nat_address(c, s->nat))
		return true;
	range_format((struct address_range){wrong, wrong}, text, sizeof(text));
	if (inside)
		return config_refuse(err,
			"static[%u].nat: %s is in no pool, or excluded there; give one of the addresses in pools",
			entry, text);
	return config_refuse(err, "static[%u].inside: %s is in none of %s%s; give a subscriber's address", entry, text,
		vlan ? "the prefixes of realm " : "inside.prefixes", vlan ? s->realm : "");
}

/* Whether two mappings claim the same on one side: the protocol of one address, port by port, or all of it. */
static bool same_claim(const struct config_static *a, const struct config_static *b, bool inside)
{
	uint32_t a_port = inside ? a->inside_port : a->nat_port, b_port = inside ? b->inside_port : b->nat_port;

	if (inside ? a->inside != b->inside || strcmp(a->realm, b->realm) != 0 : a->nat != b->nat)
		return false;
	if (a->protocol == STATIC_ANY || b->protocol == STATIC_ANY)
		return true;
	return a->protocol == b->protocol && a_port < b_port + b->ports && b_port < a_port + a->ports;
}

static bool check_static_unique(const struct config *c, uint32_t entry, struct config_error *err)
{
	const struct config_static *s = &c->statics[entry];
	char text[40];

	for (uint32_t i = 0; i < entry; i++) {
		bool inside = same_claim(s, &c->statics[i], true);
		uint32_t host = inside ? s->inside : s->nat;

		if (!inside && !same_claim(s, &c->statics[i], false))
			continue;
		range_format((struct address_range){host, host}, text, sizeof(text));
		return config_refuse(err,
			"static[%u].%s: what it takes of %s is static[%u]'s already; give each address and port once",
			entry, inside ? "inside" : "nat", text, i);
	}
	return true;
}

static bool check_statics(const struct config *c, struct config_error *err)
{
	for (uint32_t i = 0; i < c->n_statics; i++)
		if (!check_static_ports(c, i, err) || !check_static_addresses(c, i, err) ||
			!check_static_unique(c, i, err))
			return false;
	return true;
}

/* ---- all of it ---- */

static bool check_mss(const struct config *c, struct config_error *err)
{
	if (c->nat.mss_clamp == 0 || c->nat.mss_clamp >= MSS_MIN)
		return true;
	return config_refuse(err, "nat.mss_clamp: %u is too small; give 0 for none, or %d and more (RFC 9293)",
		c->nat.mss_clamp, MSS_MIN);
}

bool config_check_nat(const struct config *c, struct config_error *err)
{
	return check_mss(c, err) && check_rules(c, err) && check_statics(c, err);
}
