/* What the configuration in force says of an address. */
#include "pe/nat_internal.h"

#include <string.h>

/* Only the last prefix that does not begin behind the address can hold it. */
const struct snapshot_prefix *nat_prefix_of(const struct nat *n, uint16_t realm, be32_t address)
{
	const struct snapshot_prefix *list = n->config.prefixes, *at;
	uint32_t lo = 0, hi = n->config.n_prefixes, host = be32_host(address);

	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;

		at = &list[mid];
		if (at->realm < realm || (at->realm == realm && at->addr <= host))
			lo = mid + 1;
		else
			hi = mid;
	}
	at = lo ? &list[lo - 1] : NULL;
	return at && nat_prefix_has(at, realm, address) ? at : NULL;
}

bool nat_is_subscriber(const struct nat *n, uint16_t realm, be32_t address)
{
	return nat_prefix_of(n, realm, address) != NULL;
}

bool nat_is_pool_address(const struct nat *n, be32_t address)
{
	uint32_t host = be32_host(address);

	for (uint32_t i = 0; i < n->config.n_ranges; i++)
		if (host >= n->config.ranges[i].first && host <= n->config.ranges[i].last)
			return true;
	return false;
}

/* ---- rules ---- */

static bool matches(const struct snapshot_rule *r, const struct session *s)
{
	uint16_t port = be16_host(s->remote_port);

	return ((s->realm ^ r->realm) & r->realm_mask) == 0 &&
	       ((be32_host(s->inside) ^ r->inside) & r->inside_mask) == 0 &&
	       ((be32_host(s->remote) ^ r->remote) & r->remote_mask) == 0 && (r->protocols >> s->l4 & 1) &&
	       port >= r->port_first && port <= r->port_last;
}

const struct snapshot_rule *nat_rule_for(const struct nat *n, const struct session *s)
{
	const struct snapshot_rule *r = n->config.rules;

	while (!matches(r, s))
		r++;
	return r;
}

uint32_t nat_random(struct nat *n)
{
	n->random ^= n->random << 13;
	n->random ^= n->random >> 7;
	n->random ^= n->random << 17;
	uint32_t draw = (uint32_t)(n->random >> 32);

	return draw ? draw : 1;
}
