/* Subscribers: the prefixes of each realm, those that are not tagged being one of them. */
#include "common/config_internal.h"

#include <stdio.h>
#include <string.h>

bool find_reserved(struct address_range range, struct address_range *found)
{
	static const struct address_range reserved[] = {
		{0x00000000, 0x00ffffff}, /* this network */
		{0x7f000000, 0x7fffffff}, /* loopback */
		{0xe0000000, 0xffffffff}, /* multicast, reserved, broadcast */
	};

	for (unsigned i = 0; i < sizeof(reserved) / sizeof(reserved[0]); i++)
		if (range_overlap(range, reserved[i], found))
			return true;
	return false;
}

/* One realm's prefixes; `shown` is how the document names the list. Those of another realm may be the same. */
static bool check_prefixes(const char *shown, const struct prefix *prefixes, uint32_t n, struct config_error *err)
{
	struct address_range common;
	char a[40], b[40];

	for (uint32_t i = 0; i < n; i++) {
		struct address_range range = prefix_range(prefixes[i]);

		range_format(range, a, sizeof(a));
		if (find_reserved(range, &common)) {
			range_format(common, b, sizeof(b));
			return config_refuse(err,
				"%s[%u]: %s holds %s, which is not unicast; give prefixes of subscribers", shown, i, a,
				b);
		}
		for (uint32_t j = 0; j < i; j++) {
			if (!range_overlap(range, prefix_range(prefixes[j]), &common))
				continue;
			range_format(prefix_range(prefixes[j]), b, sizeof(b));
			return config_refuse(
				err, "%s[%u]: %s overlaps %s (entry %u); give each address once", shown, i, a, b, j);
		}
	}
	return true;
}

static bool check_realm(const struct config *c, uint32_t realm, struct config_error *err)
{
	const struct config_realm *r = &c->realms[realm];
	char shown[OPTION_NAME_SIZE];

	if (!is_plain_name(r->name))
		return config_refuse(err,
			"realms[%u].name: \"%s\" is not a plain name; give letters, digits, '.', '_' or '-'", realm,
			r->name);
	if (strcmp(r->name, CONFIG_REALM_ANY) == 0 || strcmp(r->name, CONFIG_REALM_UNTAGGED) == 0)
		return config_refuse(err,
			"realms[%u].name: \"%s\" has a meaning of its own in rules and static mappings; give another "
			"name",
			realm, r->name);
	for (uint32_t i = 0; i < realm; i++) {
		if (strcmp(r->name, c->realms[i].name) == 0)
			return config_refuse(err,
				"realms[%u].name: \"%s\" is the name of realms[%u] too; give each realm its own", realm,
				r->name, i);
		if (r->vlan == c->realms[i].vlan)
			return config_refuse(err,
				"realms[%u].vlan: %u is the VLAN of realm \"%s\" already; give each realm its own",
				realm, r->vlan, c->realms[i].name);
	}
	snprintf(shown, sizeof(shown), "realms[%u].prefixes", realm);
	return check_prefixes(shown, r->prefixes, r->n_prefixes, err);
}

bool config_check_realms(const struct config *c, struct config_error *err)
{
	if (!check_prefixes("inside.prefixes", c->net.prefixes, c->net.n_prefixes, err))
		return false;
	for (uint32_t i = 0; i < c->n_realms; i++)
		if (!check_realm(c, i, err))
			return false;
	return true;
}
