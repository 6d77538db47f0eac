/* What the NAT behaviour's options mean where one says to look at another. */
#include "common/config.h"

#include <string.h>
#include <unistd.h>

const struct address_range *ranges_find(const struct address_range *ranges, uint32_t n, uint32_t host)
{
	for (uint32_t i = 0; i < n; i++)
		if (ranges[i].first <= host && host <= ranges[i].last)
			return &ranges[i];
	return NULL;
}

uint64_t ranges_count(const struct address_range *ranges, uint32_t n)
{
	uint64_t sum = 0;

	for (uint32_t i = 0; i < n; i++)
		sum += (uint64_t)ranges[i].last - ranges[i].first + 1;
	return sum;
}

unsigned config_engine_cpu(const struct config *c, unsigned engine)
{
	if (c->engine.n_cpus)
		return c->engine.cpus[engine];
	return engine % (unsigned)sysconf(_SC_NPROCESSORS_ONLN);
}

uint32_t config_address_count(const struct config *c)
{
	uint64_t n = 0;

	for (uint32_t i = 0; i < c->n_pools; i++) {
		const struct config_pool *p = &c->pools[i];

		n += ranges_count(p->ranges, p->n_ranges) - ranges_count(p->exclude, p->n_exclude);
	}
	return n < UINT32_MAX ? (uint32_t)n : UINT32_MAX;
}

bool config_pool_next(const struct config_pool *p, uint32_t *range, uint64_t *at, struct address_range *piece)
{
	for (; *range < p->n_ranges; ++*range, *at = 0) {
		const struct address_range *r = &p->ranges[*range], *out;

		if (*at < r->first)
			*at = r->first;
		while (*at <= r->last && (out = ranges_find(p->exclude, p->n_exclude, (uint32_t)*at)))
			*at = (uint64_t)out->last + 1;
		if (*at > r->last)
			continue;
		*piece = (struct address_range){(uint32_t)*at, r->last};
		for (uint32_t e = 0; e < p->n_exclude; e++)
			if (p->exclude[e].first > piece->first && p->exclude[e].first <= piece->last)
				piece->last = p->exclude[e].first - 1;
		*at = (uint64_t)piece->last + 1;
		return true;
	}
	return false;
}

int config_realm_vlan(const struct config *c, const char *name)
{
	if (name[0] == '\0' || strcmp(name, CONFIG_REALM_UNTAGGED) == 0)
		return 0;
	for (uint32_t i = 0; i < c->n_realms; i++)
		if (strcmp(c->realms[i].name, name) == 0)
			return c->realms[i].vlan;
	return -1;
}

int config_rule_realm(const struct config *c, const struct config_rule *r)
{
	return strcmp(r->realm, CONFIG_REALM_ANY) == 0 || r->realm[0] == '\0' ? -1 : config_realm_vlan(c, r->realm);
}

int config_limits_realm(const struct config *c, const struct config_limits *l)
{
	return strcmp(l->realm, CONFIG_REALM_ANY) == 0 || l->realm[0] == '\0' ? -1 : config_realm_vlan(c, l->realm);
}

static uint32_t limit_or(uint32_t own, uint32_t inherited)
{
	return own ? own : inherited;
}

static void inherit(struct config_limits *l, const struct config_limits *from)
{
	l->sessions = limit_or(l->sessions, from->sessions);
	l->tcp_ports = limit_or(l->tcp_ports, from->tcp_ports);
	l->udp_ports = limit_or(l->udp_ports, from->udp_ports);
	l->icmp_ids = limit_or(l->icmp_ids, from->icmp_ids);
	l->memory_kib = limit_or(l->memory_kib, from->memory_kib);
	l->burst = l->new_sessions_per_s ? l->burst : limit_or(l->burst, from->burst);
	l->new_sessions_per_s = limit_or(l->new_sessions_per_s, from->new_sessions_per_s);
	if (l->reserved_ports == 0) {
		l->reserved_ports = from->reserved_ports;
		l->n_reserved_for = from->n_reserved_for;
		memcpy(l->reserved_for, from->reserved_for, sizeof l->reserved_for);
	}
}

/* A group inherits from one before it: the walk ends. */
struct config_limits config_limits_whole(const struct config *c, uint32_t group)
{
	struct config_limits l = c->limits[group];
	const char *from = l.inherits;

	for (uint32_t i = group; i-- > 0;) {
		if (from[0] == '\0' || strcmp(c->limits[i].name, from) != 0)
			continue;
		inherit(&l, &c->limits[i]);
		from = c->limits[i].inherits;
	}
	return l;
}

bool config_rule_has_ports(const struct config_rule *r)
{
	return r->port_first != 0 || r->port_last != UINT16_MAX;
}

bool config_rule_matches_all(const struct config *c, const struct config_rule *r)
{
	return r->n_inside == 0 && r->n_destination == 0 && r->protocol == RULE_ANY && !config_rule_has_ports(r) &&
	       (config_rule_realm(c, r) < 0 || c->n_realms == 0);
}

uint32_t config_rule_pairs(const struct config_rule *r)
{
	return (r->n_inside ? r->n_inside : 1) * (r->n_destination ? r->n_destination : 1);
}

uint32_t config_pool_find(const struct config *c, const char *name)
{
	uint32_t i = 0;

	while (i < c->n_pools && strcmp(c->pools[i].name, name) != 0)
		i++;
	return i;
}

uint32_t config_rule_pool(const struct config *c, const struct config_rule *r)
{
	return r->pool[0] == '\0' ? 0 : config_pool_find(c, r->pool);
}

enum ports_mode config_rule_ports(const struct config *c, const struct config_rule *r)
{
	return r->ports == PORTS_DEFAULT ? c->nat.ports : r->ports;
}

void config_rule_behaviour(
	const struct config *c, const struct config_rule *r, enum behaviour *mapping, enum behaviour *filtering)
{
	const struct {
		enum behaviour mapping, filtering;
	} types[] = {
		[NAT_TYPE_DEFAULT] = {c->nat.mapping, c->nat.filtering},
		[NAT_TYPE_FULL_CONE] = {ENDPOINT_INDEPENDENT, ENDPOINT_INDEPENDENT},
		[NAT_TYPE_RESTRICTED] = {ENDPOINT_INDEPENDENT, ADDRESS_DEPENDENT},
		[NAT_TYPE_PORT_RESTRICTED] = {ENDPOINT_INDEPENDENT, ADDRESS_AND_PORT_DEPENDENT},
		[NAT_TYPE_SYMMETRIC] = {ADDRESS_AND_PORT_DEPENDENT, ADDRESS_AND_PORT_DEPENDENT},
	};

	*mapping = r->mapping != BEHAVIOUR_DEFAULT ? r->mapping : types[r->type].mapping;
	*filtering = r->filtering != BEHAVIOUR_DEFAULT ? r->filtering : types[r->type].filtering;
}
