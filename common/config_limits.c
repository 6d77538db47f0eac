/* Groups of subscribers and their limits. */
#include "common/config_internal.h"

#include <string.h>

static bool check_name(const struct config *c, uint32_t group, struct config_error *err)
{
	const char *name = c->limits[group].name;

	if (!is_plain_name(name))
		return config_refuse(err,
			"limits[%u].name: \"%s\" is not a plain name; give letters, digits, '.', '_' or '-'", group,
			name);
	for (uint32_t i = 0; i < group; i++)
		if (strcmp(name, c->limits[i].name) == 0)
			return config_refuse(err,
				"limits[%u].name: \"%s\" is the name of limits[%u] too; give each group its own", group,
				name, i);
	return true;
}

static bool check_realm(const struct config *c, uint32_t group, struct config_error *err)
{
	const char *realm = c->limits[group].realm;

	if (strcmp(realm, CONFIG_REALM_ANY) == 0 || config_realm_vlan(c, realm) >= 0)
		return true;
	return config_refuse(err,
		"limits[%u].realm: there is no realm \"%s\"; give the name of one in realms, \"untagged\" or \"any\"",
		group, realm);
}

/* Only from one before: so nothing inherits from itself. */
static bool check_inherits(const struct config *c, uint32_t group, struct config_error *err)
{
	const char *from = c->limits[group].inherits;

	if (from[0] == '\0')
		return true;
	for (uint32_t i = 0; i < group; i++)
		if (strcmp(from, c->limits[i].name) == 0)
			return true;
	return config_refuse(err,
		"limits[%u].inherits: no group before this one is \"%s\"; give the name of one that is, or none", group,
		from);
}

static bool check_reserve(const struct config *c, uint32_t group, struct config_error *err)
{
	struct config_limits l = config_limits_whole(c, group);
	uint32_t least = l.tcp_ports && (l.tcp_ports < l.udp_ports || !l.udp_ports) ? l.tcp_ports : l.udp_ports;

	if (l.reserved_ports && l.n_reserved_for == 0)
		return config_refuse(err,
			"limits[%u].reserved_for: is empty, but %u ports are reserved; give destination ports, 53 and "
			"443 say",
			group, l.reserved_ports);
	if (l.n_reserved_for && l.reserved_ports == 0)
		return config_refuse(err,
			"limits[%u].reserved_ports: is 0, but reserved_for names destination ports; give a number of "
			"ports",
			group);
	if (l.reserved_ports == 0 || (least && l.reserved_ports < least))
		return true;
	if (least == 0)
		return config_refuse(err,
			"limits[%u].reserved_ports: %u is given, but neither tcp_ports nor udp_ports is; give one of "
			"them",
			group, l.reserved_ports);
	return config_refuse(err,
		"limits[%u].reserved_ports: %u of %u ports leave none for other destinations; give at most %u", group,
		l.reserved_ports, least, least - 1);
}

static bool check_burst(const struct config *c, uint32_t group, struct config_error *err)
{
	struct config_limits l = config_limits_whole(c, group);

	if (l.burst == 0 || l.new_sessions_per_s != 0)
		return true;
	return config_refuse(
		err, "limits[%u].burst: %u is given, but new_sessions_per_s is not; give that, too", group, l.burst);
}

bool config_check_limits(const struct config *c, struct config_error *err)
{
	for (uint32_t i = 0; i < c->n_limits; i++)
		if (!check_name(c, i, err) || !check_realm(c, i, err) || !check_inherits(c, i, err) ||
			!check_reserve(c, i, err) || !check_burst(c, i, err))
			return false;
	return true;
}
