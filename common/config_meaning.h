/* config_meaning: what options mean where one says to look at another; config.h includes it.
 *
 * What       defaults of rules, names resolved, ranges without what is cut out of them.
 * Units      addresses in host order.
 * Ownership  nothing is kept.
 * Calls      pure; any thread.
 * Errors     none: the configuration is a checked one, or each function says what else it takes.
 * Use        mode = config_rule_ports(c, &c->rules[i]);
 */
#ifndef CORENAT_CONFIG_MEANING_H
#define CORENAT_CONFIG_MEANING_H

#include "common/config.h"

/* Which CPU an engine runs on: the one it is given, or, when none are, that of its number. */
unsigned config_engine_cpu(const struct config *c, unsigned engine);

/* NAT addresses of all pools together, those excluded not counted. */
uint32_t config_address_count(const struct config *c);

/* The first of the ranges that holds the address, or NULL. */
const struct address_range *ranges_find(const struct address_range *ranges, uint32_t n, uint32_t host);
uint64_t ranges_count(const struct address_range *ranges, uint32_t n);

/* Walks what is left of a pool's ranges without those excluded: start with *range and *at zero. */
bool config_pool_next(const struct config_pool *p, uint32_t *range, uint64_t *at, struct address_range *piece);

/* The VLAN of a realm by its name, 0 of "untagged"; -1 when there is none of that name ("any" is none). */
int config_realm_vlan(const struct config *c, const char *name);
/* The VLAN of a rule's realm, -1 for any of them. */
int config_rule_realm(const struct config *c, const struct config_rule *r);

/* The VLAN of a group's realm, -1 for any of them. */
int config_limits_realm(const struct config *c, const struct config_limits *l);
/* The group with what it inherits in place of what it does not say. */
struct config_limits config_limits_whole(const struct config *c, uint32_t group);

/* Whether a rule looks at ports; then it can only match protocols that have some. */
bool config_rule_has_ports(const struct config_rule *r);
/* No session gets past it to the rules behind, nor to nat.*. */
bool config_rule_matches_all(const struct config *c, const struct config_rule *r);
/* How its mappings get their ports: never PORTS_DEFAULT. */
enum ports_mode config_rule_ports(const struct config *c, const struct config_rule *r);
/* The index of a pool by its name; n_pools when there is none. */
uint32_t config_pool_find(const struct config *c, const char *name);
/* Each of its inside prefixes with each of its destination prefixes. */
uint32_t config_rule_pairs(const struct config_rule *r);
/* Index of its pool; n_pools when there is none of that name. */
uint32_t config_rule_pool(const struct config *c, const struct config_rule *r);
/* Its mapping and filtering: what it says, else its type, else nat.*; never BEHAVIOUR_DEFAULT. */
void config_rule_behaviour(
	const struct config *c, const struct config_rule *r, enum behaviour *mapping, enum behaviour *filtering);

#endif
