/* The rules between options, and those a row cannot say: one small function each. Every sentence
 * names the option, says what is wrong, and what would be right. */
#include "common/config_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const side_name[N_SIDES] = {"inside", "outside"};

static bool is_power_of_two(uint32_t n)
{
	return n != 0 && (n & (n - 1)) == 0;
}

bool range_overlap(struct address_range a, struct address_range b, struct address_range *common)
{
	common->first = a.first > b.first ? a.first : b.first;
	common->last = a.last < b.last ? a.last : b.last;
	return common->first <= common->last;
}

bool is_plain_name(const char *name)
{
	return name[0] != '.' && name[strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
						   "0123456789._-")] == '\0';
}

static bool check_arena_name(const struct config *c, struct config_error *err)
{
	if (c->arena.name[0] == '/' && is_plain_name(c->arena.name + 1))
		return true;
	return config_refuse(err,
		"arena.name: \"%s\" is not a shared-memory name; give one '/' and then letters, "
		"digits, "
		"'.', '_' or '-'",
		c->arena.name);
}

static bool check_ring_size(const struct config *c, struct config_error *err)
{
	if (is_power_of_two(c->engine.ring_size))
		return true;
	return config_refuse(
		err, "engine.ring_size: %u is not a power of two; give 1024 or 2048, say", c->engine.ring_size);
}

/* In generic mode packets come from the stack, whose driver is not the engine's to poll. */
static bool check_busy_poll(const struct config *c, struct config_error *err)
{
	if (c->engine.busy_poll != BUSY_POLL_ON || c->engine.xdp != XDP_MODE_GENERIC)
		return true;
	return config_refuse(err, "engine.busy_poll: \"on\" needs a driver to poll, which engine.xdp \"generic\" does "
				  "without; give \"auto\" or \"off\", or engine.xdp \"native\"");
}

static bool check_cpus(const struct config *c, struct config_error *err)
{
	uint32_t n = c->engine.n_cpus;

	if (n != 0 && n != c->arena.engines)
		return config_refuse(err,
			"engine.cpus: has %u entries for %u engines (arena.engines); give one CPU "
			"for "
			"each, or none",
			n, c->arena.engines);
	for (uint32_t i = 0; i < n; i++)
		for (uint32_t j = i + 1; j < n; j++)
			if (c->engine.cpus[i] == c->engine.cpus[j])
				return config_refuse(err,
					"engine.cpus: CPU %u is given to engines %u and %u; give "
					"each "
					"engine a CPU of its own",
					c->engine.cpus[i], i, j);
	return true;
}

/* What the kernel takes for an interface's name. */
static bool check_interfaces(const struct config *c, struct config_error *err)
{
	const struct config_interface *side = c->net.side;

	for (unsigned i = 0; i < N_SIDES; i++)
		if (strpbrk(side[i].name, "/: ") != NULL || strcmp(side[i].name, ".") == 0 ||
			strcmp(side[i].name, "..") == 0)
			return config_refuse(err,
				"%s.interface: \"%s\" cannot be an interface's name; give a name "
				"as "
				"`ip link` shows it",
				side_name[i], side[i].name);
	if (strcmp(side[SIDE_INSIDE].name, side[SIDE_OUTSIDE].name) != 0)
		return true;
	return config_refuse(err, "outside.interface: \"%s\" is inside.interface too; give two different interfaces",
		side[SIDE_OUTSIDE].name);
}

static bool check_rss(const struct config *c, struct config_error *err)
{
	for (unsigned side = 0; side < N_SIDES; side++) {
		const struct rss *rss = &c->net.side[side].rss;

		if (!is_power_of_two(rss->table_len))
			return config_refuse(err, "%s.rss.table: has %u entries; give a power of two, up to %d",
				side_name[side], rss->table_len, RSS_TABLE_MAX);
		for (unsigned i = 0; i < rss->table_len; i++)
			if (rss->table[i] >= c->arena.engines)
				return config_refuse(err,
					"%s.rss.table[%u]: queue %u has no engine; arena.engines "
					"%u "
					"allows 0 to %u",
					side_name[side], i, rss->table[i], c->arena.engines, c->arena.engines - 1);
	}
	return true;
}

static bool check_pool_names(const struct config *c, struct config_error *err)
{
	for (uint32_t i = 0; i < c->n_pools; i++) {
		if (!is_plain_name(c->pools[i].name))
			return config_refuse(err,
				"pools[%u].name: \"%s\" is not a plain name; give letters, digits, "
				"'.', "
				"'_' or '-'",
				i, c->pools[i].name);
		for (uint32_t j = 0; j < i; j++)
			if (strcmp(c->pools[i].name, c->pools[j].name) == 0)
				return config_refuse(err,
					"pools[%u].name: \"%s\" is the name of pools[%u] too; give "
					"each "
					"pool its own",
					i, c->pools[i].name, j);
	}
	return true;
}

/* `range` against all ranges before entry `entry` of pool `pool`. */
static bool check_pool_overlap(
	const struct config *c, uint32_t pool, uint32_t entry, struct address_range range, struct config_error *err)
{
	struct address_range common;
	char text[40];

	for (uint32_t p = 0; p <= pool; p++) {
		uint32_t n = p == pool ? entry : c->pools[p].n_ranges;

		for (uint32_t r = 0; r < n; r++) {
			if (!range_overlap(range, c->pools[p].ranges[r], &common))
				continue;
			range_format(common, text, sizeof(text));
			return config_refuse(err,
				"pools[%u].addresses[%u]: %s of pool \"%s\" is in pool \"%s\" "
				"already "
				"(entry %u); give each address once",
				pool, entry, text, c->pools[pool].name, c->pools[p].name, r);
		}
	}
	return true;
}

/* `range` against the subscribers of one realm, 0 being those that are not tagged. */
static bool check_pool_private(const struct config *c, uint32_t pool, uint32_t entry, uint32_t realm,
	struct address_range range, struct config_error *err)
{
	const struct prefix *prefixes = realm ? c->realms[realm - 1].prefixes : c->net.prefixes;
	uint32_t n = realm ? c->realms[realm - 1].n_prefixes : c->net.n_prefixes;
	struct address_range common;
	char a[40], b[40];

	for (uint32_t i = 0; i < n; i++) {
		if (!range_overlap(range, prefix_range(prefixes[i]), &common))
			continue;
		range_format(common, a, sizeof(a));
		range_format(prefix_range(prefixes[i]), b, sizeof(b));
		return config_refuse(err,
			"pools[%u].addresses[%u]: %s of pool \"%s\" is in subscriber prefix %s (%s%s); give addresses "
			"outside of it",
			pool, entry, a, c->pools[pool].name, b, realm ? "realm " : "inside.prefixes",
			realm ? c->realms[realm - 1].name : "");
	}
	return true;
}

static bool check_pool_range(
	const struct config *c, uint32_t pool, uint32_t entry, struct address_range range, struct config_error *err)
{
	struct address_range common;
	char a[40];

	if (find_reserved(range, &common)) {
		range_format(common, a, sizeof(a));
		return config_refuse(err,
			"pools[%u].addresses[%u]: %s of pool \"%s\" is not unicast; give addresses "
			"that "
			"are routed to this box",
			pool, entry, a, c->pools[pool].name);
	}
	for (uint32_t realm = 0; realm <= c->n_realms; realm++)
		if (!check_pool_private(c, pool, entry, realm, range, err))
			return false;
	return check_pool_overlap(c, pool, entry, range, err);
}

static bool check_pool_addresses(const struct config *c, struct config_error *err)
{
	for (uint32_t p = 0; p < c->n_pools; p++)
		for (uint32_t r = 0; r < c->pools[p].n_ranges; r++)
			if (!check_pool_range(c, p, r, c->pools[p].ranges[r], err))
				return false;
	return true;
}

static bool check_address_count(const struct config *c, struct config_error *err)
{
	uint32_t n = config_address_count(c);

	if (n <= CONFIG_ADDRESSES_MAX)
		return true;
	return config_refuse(
		err, "pools: hold %u addresses together; at most %d are possible", n, CONFIG_ADDRESSES_MAX);
}

static bool check_ports(const struct config *c, struct config_error *err)
{
	if (c->nat.port_first <= c->nat.port_last)
		return true;
	return config_refuse(err,
		"nat.port_first: %u is above nat.port_last, %u; give a first port not above the "
		"last",
		c->nat.port_first, c->nat.port_last);
}

static bool check_tcp_timeouts(const struct config *c, struct config_error *err)
{
	uint32_t established = c->nat.tcp_established_timeout_s;

	if (established < c->nat.tcp_opening_timeout_s)
		return config_refuse(err,
			"nat.tcp_established_timeout_s: %u is under nat.tcp_opening_timeout_s, %u; give at least that",
			established, c->nat.tcp_opening_timeout_s);
	if (established < c->nat.tcp_closing_timeout_s)
		return config_refuse(err,
			"nat.tcp_established_timeout_s: %u is under nat.tcp_closing_timeout_s, %u; give at least that",
			established, c->nat.tcp_closing_timeout_s);
	return true;
}

/* A port from 1 to 65535 in plain decimal. */
static bool is_port(const char *text)
{
	size_t len = strlen(text);

	return len >= 1 && len <= 5 && strspn(text, "0123456789") == len && text[0] != '0' &&
	       strtoul(text, NULL, 10) <= 65535;
}

/* The API has neither TLS nor tokens, so it must not be reachable from outside. */
static bool check_listen(const struct config *c, struct config_error *err)
{
	char host[sizeof(c->api.listen)];
	struct in_addr in;
	char *colon;

	memcpy(host, c->api.listen, sizeof(host));
	colon = strrchr(host, ':');
	if (colon != NULL && is_port(colon + 1)) {
		*colon = '\0';
		if (strcmp(host, "[::1]") == 0)
			return true;
		if (inet_pton(AF_INET, host, &in) == 1 && ntohl(in.s_addr) >> 24 == 127)
			return true;
	}
	return config_refuse(err,
		"api.listen: \"%s\" is not a loopback address and port; give one like "
		"127.0.0.1:8080 or "
		"[::1]:8080",
		c->api.listen);
}

bool config_check(const struct config *c, struct config_error *err)
{
	static bool (*const rules[])(const struct config *, struct config_error *) = {
		check_arena_name,
		check_ring_size,
		check_busy_poll,
		check_cpus,
		check_interfaces,
		check_rss,
		config_check_realms,
		check_pool_names,
		check_pool_addresses,
		config_check_pool_parts,
		check_address_count,
		check_ports,
		check_tcp_timeouts,
		config_check_nat,
		config_check_allocation,
		config_check_limits,
		check_listen,
	};

	for (unsigned i = 0; i < sizeof(rules) / sizeof(rules[0]); i++)
		if (!rules[i](c, err))
			return false;
	return true;
}
