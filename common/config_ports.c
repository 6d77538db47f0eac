/* The rules between options of port allocation: blocks, reserved ports, which rules may share a pool, what is dealt. */
#include "common/config_internal.h"
#include "common/deterministic.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCK_EXAMPLE_LOW = 256, BLOCK_EXAMPLE_HIGH = 512, WHO_SIZE = 40 };

static const char *const mode_name[] = {
	[PORTS_SHUFFLED] = "shuffled",
	[PORTS_ORDERED] = "ordered",
	[PORTS_BLOCKS] = "blocks",
	[PORTS_DETERMINISTIC] = "deterministic",
};

/* ---- options of their own ---- */

static bool check_block_sizes(const struct config *c, struct config_error *err)
{
	for (uint32_t i = 0; i < c->n_pools; i++) {
		uint32_t size = c->pools[i].block_size;

		if ((size & (size - 1)) != 0)
			return config_refuse(err, "pools[%u].block_size: %u is not a power of two; give %d or %d, say",
				i, size, BLOCK_EXAMPLE_LOW, BLOCK_EXAMPLE_HIGH);
	}
	return true;
}

/* Ranges that overlap say one port twice, and are most likely a slip. */
static bool check_reserved(const struct config *c, struct config_error *err)
{
	const struct port_range *r = c->nat.reserved;
	uint32_t first = c->nat.port_first, last = c->nat.port_last, left = last - first + 1;

	for (uint32_t i = 0; i < c->nat.n_reserved; i++) {
		uint32_t low = r[i].first > first ? r[i].first : first, high = r[i].last < last ? r[i].last : last;

		for (uint32_t j = 0; j < i; j++)
			if (r[i].first <= r[j].last && r[j].first <= r[i].last)
				return config_refuse(err,
					"nat.reserved_ports[%u]: port %u is in the list already (entry %u); give each "
					"port once",
					i, r[i].first > r[j].first ? r[i].first : r[j].first, j);
		left -= low <= high ? high - low + 1 : 0;
	}
	if (left > 0)
		return true;
	return config_refuse(err,
		"nat.reserved_ports: leave none of ports %u to %u (nat.port_first, nat.port_last); leave some for "
		"mappings",
		first, last);
}

/* ---- who takes ports of which pool ---- */

/* A rule, what happens where none matches (rule == n_rules), or a rule's overflow. */
struct user {
	uint32_t rule;
	bool overflow;
	uint32_t pool;
	enum ports_mode mode;
	enum pooling pooling;
};

enum { USERS_MAX = 2 * CONFIG_RULES_MAX + 1 };

static void name_user(const struct config *c, const struct user *u, char out[WHO_SIZE])
{
	if (u->rule == c->n_rules)
		snprintf(out, WHO_SIZE, "nat.ports");
	else
		snprintf(out, WHO_SIZE, "rules[%u].%s", u->rule, u->overflow ? "overflow" : "ports");
}

static uint32_t list_users(const struct config *c, struct user *out)
{
	uint32_t n = 0, i;

	for (i = 0; i < c->n_rules; i++) {
		const struct config_rule *r = &c->rules[i];
		enum pooling pooling = r->pooling == POOLING_DEFAULT ? c->nat.pooling : r->pooling;

		if (r->action == ACTION_TRANSLATE) {
			out[n++] = (struct user){i, false, config_rule_pool(c, r), config_rule_ports(c, r), pooling};
			if (r->overflow[0] != '\0')
				out[n++] =
					(struct user){i, true, config_pool_find(c, r->overflow), PORTS_BLOCKS, pooling};
		}
		if (config_rule_matches_all(c, r))
			return n;
	}
	out[n++] = (struct user){i, false, 0, c->nat.ports, c->nat.pooling};
	return n;
}

/* Pools shared by two that number ports differently, or with one whose ports are computed. */
static bool check_shared(
	const struct config *c, const struct user *earlier, const struct user *later, struct config_error *err)
{
	char who[WHO_SIZE], other[WHO_SIZE];
	bool dealt = earlier->mode == PORTS_DETERMINISTIC || later->mode == PORTS_DETERMINISTIC;

	if (earlier->pool != later->pool)
		return true;
	name_user(c, later, who);
	name_user(c, earlier, other);
	if (dealt)
		return config_refuse(err,
			"%s: \"%s\" takes ports of pool \"%s\", as %s does (\"%s\"), and deterministic ports can be "
			"shared "
			"with nobody; give each a pool of its own%s",
			who, mode_name[later->mode], c->pools[later->pool].name, other, mode_name[earlier->mode],
			later->rule == c->n_rules ? ", or end with a rule that matches everything" : "");
	if ((earlier->mode == PORTS_SHUFFLED) == (later->mode == PORTS_SHUFFLED))
		return true;
	return config_refuse(err,
		"%s: \"%s\" takes ports of pool \"%s\", which %s takes \"%s\"; of one pool either all are shuffled or "
		"none "
		"is: give the same, or each a pool of its own%s",
		who, mode_name[later->mode], c->pools[later->pool].name, other, mode_name[earlier->mode],
		later->rule == c->n_rules ? ", or end with a rule that matches everything" : "");
}

/* Blocks and computed ports are on one address. */
static bool check_pooling(const struct config *c, const struct user *u, struct config_error *err)
{
	char who[WHO_SIZE];

	if (u->pooling != POOLING_ARBITRARY || (u->mode != PORTS_BLOCKS && u->mode != PORTS_DETERMINISTIC))
		return true;
	name_user(c, u, who);
	return config_refuse(err,
		"%s: \"%s\" keeps a subscriber on one address, but pooling is \"arbitrary\"; give pooling \"paired\"",
		who, mode_name[u->mode]);
}

/* ---- blocks ---- */

static bool check_blocks(const struct config *c, const struct user *u, struct config_error *err)
{
	const struct config_pool *p = &c->pools[u->pool];
	uint32_t first = c->nat.port_first, end = c->nat.port_last + 1u, size = p->block_size;
	uint32_t low = (first + size - 1) / size * size, high = end / size * size;

	if (u->mode != PORTS_BLOCKS)
		return true;
	if (low >= high)
		return config_refuse(err,
			"pools[%u].block_size: no block of %u ports fits between nat.port_first %u and nat.port_last "
			"%u; "
			"give smaller blocks, or more ports",
			u->pool, size, first, end - 1);
	if (low != first || high != end)
		return config_refuse(err,
			"pools[%u].block_size: blocks of %u do not divide ports %u to %u (%s: %u); give another size, "
			"or "
			"ports %u to %u",
			u->pool, size, first, end - 1, low != first ? "nat.port_first" : "nat.port_last",
			low != first ? first : end - 1, low, high - 1);
	if (p->blocks_max <= (end - first) / size)
		return true;
	return config_refuse(err,
		"pools[%u].blocks_max: %u blocks of %u ports are more than the %u blocks of an address (ports %u to "
		"%u); "
		"give at most %u",
		u->pool, p->blocks_max, size, (end - first) / size, first, end - 1, (end - first) / size);
}

/* ---- deterministic ---- */

/* What only deterministic rules have. */
static bool check_left_over(const struct config *c, uint32_t rule, struct config_error *err)
{
	const struct config_rule *r = &c->rules[rule];
	const char *given = r->ports_per_subscriber  ? "ports_per_subscriber"
			    : r->overflow[0] != '\0' ? "overflow"
			    : r->order != ORDER_FILL ? "order"
						     : NULL;

	if (!given || (r->action == ACTION_TRANSLATE && config_rule_ports(c, r) == PORTS_DETERMINISTIC))
		return true;
	if (r->action != ACTION_TRANSLATE)
		return config_refuse(
			err, "rules[%u].%s: is for rules that translate; leave it out, or translate", rule, given);
	return config_refuse(err,
		"rules[%u].%s: is for deterministic ports, but ports are \"%s\"; leave it out, or give "
		"\"deterministic\"",
		rule, given, mode_name[config_rule_ports(c, r)]);
}

static bool check_overflow(const struct config *c, uint32_t rule, struct config_error *err)
{
	const struct config_rule *r = &c->rules[rule];

	if (r->overflow[0] == '\0' || config_pool_find(c, r->overflow) < c->n_pools)
		return true;
	return config_refuse(
		err, "rules[%u].overflow: there is no pool \"%s\"; give the name of one in pools", rule, r->overflow);
}

static bool check_per_subscriber(const struct config *c, uint32_t rule, struct config_error *err)
{
	uint32_t n = c->rules[rule].ports_per_subscriber;

	if (n % DETERMINISTIC_ALIGN == 0)
		return true;
	return config_refuse(err, "rules[%u].ports_per_subscriber: %u is not a multiple of %d; give %u or %u", rule, n,
		DETERMINISTIC_ALIGN, n / DETERMINISTIC_ALIGN * DETERMINISTIC_ALIGN,
		(n / DETERMINISTIC_ALIGN + 1) * DETERMINISTIC_ALIGN);
}

/* Inside addresses alone do not tell subscribers of several realms apart. */
static bool check_realm(const struct config *c, uint32_t rule, struct config_error *err)
{
	if (c->n_realms == 0 || (rule < c->n_rules && config_rule_realm(c, &c->rules[rule]) >= 0))
		return true;
	if (rule == c->n_rules)
		return config_refuse(err,
			"nat.ports: \"deterministic\" would deal ports to all %u realms and the untagged at once; give "
			"each a rule and a pool of its own, and end with a rule that matches everything",
			c->n_realms);
	return config_refuse(err,
		"rules[%u].realm: \"any\" has subscribers of several realms, whose addresses may be the same; give "
		"one, "
		"or \"untagged\", for deterministic ports",
		rule);
}

static bool refuse_dealing(
	const struct config *c, const struct user *u, const struct deterministic *d, int why, struct config_error *err)
{
	const struct config_pool *p = &c->pools[u->pool];
	char who[WHO_SIZE];

	name_user(c, u, who);
	if (why == -E2BIG)
		return config_refuse(err,
			"pools[%u].addresses: what is left of pool \"%s\" without exclude, drain and 1:1 mappings is "
			"in "
			"more than %d pieces, too many for deterministic ports; give fewer and longer ranges",
			u->pool, p->name, DETERMINISTIC_NAT_MAX);
	if (d->n_inside == 0)
		return config_refuse(err,
			"%s: \"deterministic\" finds no subscriber: the rule's prefixes have nothing in common with "
			"those "
			"of its realm; give prefixes of its subscribers",
			who);
	if (d->n_nat == 0)
		return config_refuse(err,
			"%s: \"deterministic\" finds no address in pool \"%s\" that is neither drained nor mapped 1:1; "
			"give "
			"some more",
			who, p->name);
	if (u->rule < c->n_rules && c->rules[u->rule].ports_per_subscriber)
		return config_refuse(err,
			"rules[%u].ports_per_subscriber: %u ports do not fit between nat.port_first %u and "
			"nat.port_last %u "
			"without nat.reserved_ports; give fewer",
			u->rule, c->rules[u->rule].ports_per_subscriber, c->nat.port_first, c->nat.port_last);
	return config_refuse(err,
		"%s: \"deterministic\" cannot give each of %" PRIu64
		" subscribers %d ports of the %u addresses of pool "
		"\"%s\"; give more addresses, or fewer subscribers",
		who, d->subscribers, DETERMINISTIC_ALIGN, d->addresses, p->name);
}

static bool check_dealing(
	const struct config *c, const struct user *u, struct deterministic *d, struct config_error *err)
{
	int why = deterministic_of_rule(c, u->rule, d);

	if (why)
		return refuse_dealing(c, u, d, why, err);
	if (d->dealt == d->subscribers || c->rules[u->rule].overflow[0] != '\0')
		return true;
	return config_refuse(err,
		"rules[%u].ports_per_subscriber: %" PRIu64 " subscribers x %u ports need %" PRIu64
		" addresses, pool \"%s\" has %u; give more addresses, fewer ports, or an overflow pool",
		u->rule, d->subscribers, d->size, deterministic_addresses_needed(d), c->pools[u->pool].name,
		d->addresses);
}

/* The subscribers of two deterministic rules: the same address has one place only. */
static bool check_twice(const struct config *c, const struct user *earlier, const struct deterministic *a,
	const struct user *later, const struct deterministic *b, struct config_error *err)
{
	char who[WHO_SIZE], other[WHO_SIZE], text[40];
	int realm = earlier->rule < c->n_rules ? config_rule_realm(c, &c->rules[earlier->rule]) : 0;
	int later_realm = later->rule < c->n_rules ? config_rule_realm(c, &c->rules[later->rule]) : 0;

	if ((realm > 0 ? realm : 0) != (later_realm > 0 ? later_realm : 0))
		return true;
	for (uint32_t i = 0; i < a->n_inside; i++)
		for (uint32_t j = 0; j < b->n_inside; j++) {
			struct address_range common, x = {a->inside[i].first, a->inside[i].last},
						     y = {b->inside[j].first, b->inside[j].last};

			if (!range_overlap(x, y, &common))
				continue;
			range_format(common, text, sizeof(text));
			name_user(c, later, who);
			name_user(c, earlier, other);
			return config_refuse(err,
				"%s: \"deterministic\" deals ports to subscribers %s, as %s does already; give each "
				"subscriber one deterministic rule",
				who, text, other);
		}
	return true;
}

static bool check_deals(const struct config *c, const struct user *users, uint32_t n, struct config_error *err)
{
	struct deterministic *deals = calloc(CONFIG_POOLS_MAX, sizeof(*deals));
	const struct user *dealer[CONFIG_POOLS_MAX];
	uint32_t n_deals = 0;
	bool ok = deals != NULL || config_refuse(err, "document: out of memory");

	/* Each has a pool of its own by now, so that there is room. */
	for (uint32_t i = 0; ok && i < n; i++) {
		if (users[i].mode != PORTS_DETERMINISTIC)
			continue;
		ok = check_realm(c, users[i].rule, err) && check_dealing(c, &users[i], &deals[n_deals], err);
		for (uint32_t d = 0; ok && d < n_deals; d++)
			ok = check_twice(c, dealer[d], &deals[d], &users[i], &deals[n_deals], err);
		dealer[n_deals++] = &users[i];
	}
	free(deals);
	return ok;
}

/* ---- all of it ---- */

static bool check_users(const struct config *c, struct config_error *err)
{
	struct user users[USERS_MAX];
	uint32_t n = list_users(c, users);

	for (uint32_t i = 0; i < n; i++) {
		if (!check_pooling(c, &users[i], err))
			return false;
		for (uint32_t j = 0; j < i; j++)
			if (!check_shared(c, &users[j], &users[i], err))
				return false;
		if (!check_blocks(c, &users[i], err))
			return false;
	}
	return check_deals(c, users, n, err);
}

bool config_check_allocation(const struct config *c, struct config_error *err)
{
	if (!check_block_sizes(c, err) || !check_reserved(c, err))
		return false;
	for (uint32_t i = 0; i < c->n_rules; i++)
		if (!check_left_over(c, i, err) || !check_overflow(c, i, err) || !check_per_subscriber(c, i, err))
			return false;
	return check_users(c, err);
}
