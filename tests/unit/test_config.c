/* Configuration: the corpus of good and bad documents, the option table itself, and damaged
 * documents. */
#include "common/config.h"
#include "common/options.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <json-c/json.h>

#define CORPUS "tests/config/"

static struct config config, again; /* too large for every stack frame to have its own */

/* The file's bytes with a zero behind them; malloced. */
static char *read_file(const char *path, size_t *size)
{
	FILE *f = fopen(path, "rb");
	char *text;

	if (f == NULL)
		fail_msg("%s: cannot be opened", path);
	assert_int_equal(fseek(f, 0, SEEK_END), 0);
	*size = (size_t)ftell(f);
	rewind(f);
	text = malloc(*size + 1);
	assert_non_null(text);
	assert_int_equal(fread(text, 1, *size, f), *size);
	text[*size] = '\0';
	fclose(f);
	return text;
}

static void check_bad(const char *path, const char *text, size_t size, const char *expect)
{
	struct config_error err = {"(nothing said)"};
	char line[sizeof(err.text) + 1];

	memset(&config, 0xa5, sizeof(config));
	if (config_parse(&config, text, size, &err))
		fail_msg("%s: was accepted", path);
	snprintf(line, sizeof(line), "%s\n", err.text);
	if (strcmp(line, expect) != 0)
		fail_msg("%s:\n  said   %s  wanted %s", path, line, expect);
	for (size_t i = 0; i < sizeof(config); i++)
		assert_int_equal(((uint8_t *)&config)[i], 0xa5);
}

static void check_round_trip(const char *path)
{
	struct config_error err = {"(nothing said)"};
	char *printed = config_print(&config), *second;

	assert_non_null(printed);
	memset(&again, 0x5a, sizeof(again));
	if (!config_parse(&again, printed, strlen(printed), &err))
		fail_msg("%s: printed form refused: %s", path, err.text);
	assert_memory_equal(&config, &again, sizeof(config));
	second = config_print(&again);
	assert_string_equal(printed, second);
	free(printed);
	free(second);
}

static void check_good(const char *path, const char *text, size_t size, const char *expect)
{
	struct config_error err = {"(nothing said)"};
	char *printed;

	if (!config_parse(&config, text, size, &err))
		fail_msg("%s: refused: %s", path, err.text);
	printed = config_print(&config);
	assert_non_null(printed);
	if (strcmp(printed, expect) != 0)
		fail_msg("%s: printed otherwise than expected:\n%s", path, printed);
	free(printed);
	check_round_trip(path);
}

/* Runs `check` over every .json of the folder with its .expect; returns how many. */
static unsigned walk(
	const char *folder, void (*check)(const char *path, const char *text, size_t size, const char *expect))
{
	struct dirent **entries;
	int n = scandir(folder, &entries, NULL, alphasort);
	unsigned checked = 0;

	assert_true(n >= 0);
	for (int i = 0; i < n; i++) {
		char path[512], expect_path[520];
		char *dot = strrchr(entries[i]->d_name, '.'), *text, *expect;
		size_t size, expect_size;

		if (dot != NULL && strcmp(dot, ".json") == 0) {
			snprintf(path, sizeof(path), "%s/%s", folder, entries[i]->d_name);
			snprintf(expect_path, sizeof(expect_path), "%.*s.expect", (int)(strlen(path) - strlen(".json")),
				path);
			text = read_file(path, &size);
			expect = read_file(expect_path, &expect_size);
			check(path, text, size, expect);
			free(text);
			free(expect);
			checked++;
		}
		free(entries[i]);
	}
	free(entries);
	return checked;
}

static void bad_documents_get_their_sentence(void **state)
{
	(void)state;
	assert_true(walk(CORPUS "bad", check_bad) >= 160);
}

static void good_documents_print_and_parse_again(void **state)
{
	(void)state;
	assert_true(walk(CORPUS "good", check_good) >= 6);
}

static void the_shipped_example_is_good(void **state)
{
	struct config_error err = {""};

	(void)state;
	if (!config_load(&config, "packaging/corenat.example.json", &err))
		fail_msg("%s", err.text);
	check_round_trip("packaging/corenat.example.json");
}

static void values_arrive_in_the_struct(void **state)
{
	struct config_error err;

	(void)state;
	assert_true(config_load(&config, CORPUS "good/full.json", &err));
	assert_string_equal(config.arena.name, "/corenat");
	assert_int_equal(config.engine.xdp, XDP_MODE_NATIVE);
	assert_int_equal(config.engine.zero_copy, ZERO_COPY_OFF);
	assert_int_equal(config.engine.n_cpus, 2);
	assert_int_equal(config.engine.cpus[0], 3);
	assert_int_equal(config.net.n_prefixes, 3);
	assert_int_equal(config.net.prefixes[1].addr, 10u << 24);
	assert_int_equal(config.net.prefixes[1].len, 8);
	assert_int_equal(config.net.side[SIDE_INSIDE].rss.key_size, 52);
	assert_int_equal(config.net.side[SIDE_INSIDE].rss.key[51], 0x6d);
	assert_int_equal(config.net.side[SIDE_INSIDE].rss.table_len, 4);
	assert_int_equal(config.net.side[SIDE_INSIDE].rss.table[2], 1);
	assert_int_equal(config.net.side[SIDE_OUTSIDE].rss.mode, RSS_SINGLE);
	assert_int_equal(config.net.side[SIDE_OUTSIDE].rss.table_len, 1);
	assert_string_equal(config.pools[1].name, "b-2");
	assert_int_equal(config.pools[0].ranges[1].last - config.pools[0].ranges[1].first, 6);
	assert_int_equal(config_address_count(&config), 16 + 7 + 1 + 8 + 1);
	assert_int_equal(config.nat.port_first, 2000);
	assert_int_equal(config.statistics.interval_ms, 100);
}

static void nat_behaviour_arrives_in_the_struct(void **state)
{
	const struct config_static *s = config.statics;
	struct config_error err;

	(void)state;
	assert_true(config_load(&config, CORPUS "good/nat.json", &err));
	assert_int_equal(config.nat.mapping, ADDRESS_DEPENDENT);
	assert_int_equal(config.nat.filtering, ADDRESS_AND_PORT_DEPENDENT);
	assert_int_equal(config.nat.pooling, POOLING_ARBITRARY);
	assert_true(config.nat.udp_inbound_refresh);
	assert_int_equal(config.nat.refusal, REFUSAL_PROHIBITED);
	assert_int_equal(config.nat.mss_clamp, 536);
	assert_int_equal(config.nat.tcp_closing_timeout_s, 10);
	assert_int_equal(config.n_rules, 8);
	assert_string_equal(config.rules[0].name, "dns");
	assert_int_equal(config.rules[0].protocol, RULE_UDP);
	assert_int_equal(config.rules[0].n_inside, 2);
	assert_int_equal(config.rules[0].inside[1].addr, 0x64400000);
	assert_int_equal(config.rules[0].n_destination, 2);
	assert_int_equal(config.rules[0].port_first, 53);
	assert_int_equal(config.rules[0].timeout_s, 10);
	assert_int_equal(config.rules[5].action, ACTION_DROP);
	assert_int_equal(config.rules[6].action, ACTION_BYPASS);
	assert_int_equal(config.rules[7].port_last, 65535);
	assert_int_equal(config.rules[7].pooling, POOLING_DEFAULT);
	assert_int_equal(config.n_statics, 5);
	assert_int_equal(s[3].protocol, STATIC_TCP);
	assert_int_equal(s[3].inside, 0x0a010203);
	assert_int_equal(s[3].nat, 0xc6336409);
	assert_int_equal(s[3].nat_port, 1);
	assert_int_equal(s[3].ports, 65535);
	assert_int_equal(s[4].protocol, STATIC_ANY);
	assert_int_equal(s[4].ports, 1);
}

static void ports_arrive_in_the_struct(void **state)
{
	const struct config_rule *r = config.rules;
	struct config_error err;

	(void)state;
	assert_true(config_load(&config, CORPUS "good/ports.json", &err));
	assert_int_equal(config.pools[0].block_size, 512);
	assert_int_equal(config.pools[0].blocks_max, 4);
	assert_int_equal(config.pools[1].block_size, 64);
	assert_int_equal(config.pools[1].block_hold_s, 0);
	assert_int_equal(config.pools[1].active_block_s, 86400);
	assert_true(config.nat.preserve_range && config.nat.preserve_parity);
	assert_int_equal(config.nat.hold_s, 0);
	assert_int_equal(config.nat.hold_percent, 100);
	assert_int_equal(config.nat.own_share_percent, 0);
	assert_int_equal(config.nat.n_reserved, 4);
	assert_int_equal(config.nat.reserved[2].first, 3128);
	assert_int_equal(config.nat.reserved[2].last, 3130);
	assert_int_equal(config.nat.reserved[3].last, 65535);
	assert_int_equal(config_rule_ports(&config, &r[0]), PORTS_BLOCKS);
	assert_int_equal(config_rule_ports(&config, &r[1]), PORTS_DETERMINISTIC);
	assert_int_equal(r[1].ports_per_subscriber, 2016);
	assert_int_equal(config_pool_find(&config, r[1].overflow), 1);
	assert_int_equal(r[2].order, ORDER_SPREAD);
	config.nat.ports = PORTS_ORDERED;
	config.rules[3].ports = PORTS_DEFAULT;
	assert_int_equal(config_rule_ports(&config, &r[3]), PORTS_ORDERED);
}

static void realms_arrive_in_the_struct(void **state)
{
	static const int rule_realm[] = {100, 0, -1, 4094};
	struct config_error err;

	(void)state;
	assert_true(config_load(&config, CORPUS "good/realms.json", &err));
	assert_int_equal(config.n_realms, 3);
	assert_string_equal(config.realms[0].name, "a");
	assert_int_equal(config.realms[0].vlan, 100);
	assert_int_equal(config.realms[2].vlan, 4094);
	assert_int_equal(config.realms[1].n_prefixes, 2);
	assert_int_equal(config.realms[1].prefixes[0].addr, 10u << 24);
	assert_int_equal(config_realm_vlan(&config, "b"), 1);
	assert_int_equal(config_realm_vlan(&config, "untagged"), 0);
	assert_int_equal(config_realm_vlan(&config, "any"), -1);
	assert_int_equal(config_realm_vlan(&config, "c"), -1);
	assert_int_equal(config.n_rules, 4);
	for (uint32_t i = 0; i < config.n_rules; i++)
		assert_int_equal(config_rule_realm(&config, &config.rules[i]), rule_realm[i]);
	assert_string_equal(config.statics[2].realm, "untagged");
}

/* Every pair of type and own words, with two different nat.* behind them (nat.json: ADM and APDF). */
static void rules_fall_back_in_order(void **state)
{
	static const struct {
		const char *what;
		enum behaviour mapping, filtering;
	} expect[] = {
		{"dns: nat.*", ADDRESS_DEPENDENT, ADDRESS_AND_PORT_DEPENDENT},
		{"full cone", ENDPOINT_INDEPENDENT, ENDPOINT_INDEPENDENT},
		{"restricted", ENDPOINT_INDEPENDENT, ADDRESS_DEPENDENT},
		{"port restricted", ENDPOINT_INDEPENDENT, ADDRESS_AND_PORT_DEPENDENT},
		{"symmetric", ADDRESS_AND_PORT_DEPENDENT, ADDRESS_AND_PORT_DEPENDENT},
		{"nothing said", ADDRESS_DEPENDENT, ADDRESS_AND_PORT_DEPENDENT},
		{"own words", ADDRESS_AND_PORT_DEPENDENT, ADDRESS_DEPENDENT},
		{"the rest", ADDRESS_DEPENDENT, ADDRESS_AND_PORT_DEPENDENT},
	};
	struct config_error err;

	(void)state;
	assert_true(config_load(&config, CORPUS "good/nat.json", &err));
	for (uint32_t i = 0; i < config.n_rules; i++) {
		enum behaviour mapping, filtering;

		config_rule_behaviour(&config, &config.rules[i], &mapping, &filtering);
		if (mapping != expect[i].mapping || filtering != expect[i].filtering)
			fail_msg("%s: mapping %u, filtering %u", expect[i].what, mapping, filtering);
		assert_int_equal(config_rule_pool(&config, &config.rules[i]), i == 1);
		assert_int_equal(config_rule_pairs(&config.rules[i]), i == 0 ? 4 : 1);
		assert_int_equal(config_rule_has_ports(&config.rules[i]), i == 0 || i == 5);
	}
}

/* Pools of a few random ranges in 256 addresses, cut by random ones: piece by piece the same as address by address. */
static void pools_are_cut_right(void **state)
{
	uint32_t random = 1;

	(void)state;
	for (unsigned step = 0; step < 2000; step++) {
		struct config_pool p = {.n_ranges = 1 + step % 5};
		struct address_range piece;
		uint32_t base = step % 3 ? 0xffffff00 : 0, range = 0;
		bool in[256] = {false}, out[256] = {false};
		uint64_t at = 0;

		for (uint32_t i = 0; i < 2 * p.n_ranges; i++) { /* apart from each other, as config_check wants them */
			uint32_t cell = 256 / p.n_ranges * (i / 2), a, b;

			random = random * 1664525u + 1013904223u;
			a = cell + (random >> 8) % (256 / p.n_ranges);
			b = a + (random >> 20) % (cell + 256 / p.n_ranges - a);
			for (uint32_t n = a; n <= b; n++)
				(i & 1 ? out : in)[n] = true;
			if (i & 1)
				p.exclude[p.n_exclude++] = (struct address_range){base + a, base + b};
			else
				p.ranges[i / 2] = (struct address_range){base + a, base + b};
		}
		while (config_pool_next(&p, &range, &at, &piece)) {
			assert_true(piece.first <= piece.last);
			for (uint64_t host = piece.first; host <= piece.last; host++) {
				assert_true(in[host - base] && !out[host - base]);
				in[host - base] = false;
			}
		}
		for (unsigned n = 0; n < 256; n++)
			assert_true(!in[n] || out[n]);
	}
}

static void unreadable_file_is_named(void **state)
{
	struct config_error err;

	(void)state;
	assert_false(config_load(&config, CORPUS "none.json", &err));
	assert_string_equal(err.text, CORPUS "none.json: cannot be read: No such file or directory");
}

static void too_long_document_is_refused(void **state)
{
	size_t size = 1024 * 1024 + 1;
	char *text = malloc(size);
	struct config_error err;

	(void)state;
	memset(text, ' ', size);
	assert_false(config_parse(&config, text, size, &err));
	assert_string_equal(err.text, "document: 1048577 bytes are too many; at most 1048576 are read");
	free(text);
}

static void fill_ranges(struct address_range *ranges, uint32_t *n)
{
	for (*n = 0; *n < CONFIG_RANGES_MAX; ++*n)
		ranges[*n] = (struct address_range){UINT32_MAX - 1, UINT32_MAX};
}

/* What is printed of all lists full, each entry as long as can be, is still short enough to be read again. */
static void largest_document_is_not_too_long(void **state)
{
	char *text;

	(void)state;
	memset(&config, 0, sizeof(config));
	config.n_pools = CONFIG_POOLS_MAX;
	config.n_rules = CONFIG_RULES_MAX;
	config.n_statics = CONFIG_STATICS_MAX;
	config.n_realms = CONFIG_REALMS_MAX;
	for (uint32_t i = 0; i < CONFIG_POOLS_MAX; i++) {
		struct config_pool *p = &config.pools[i];

		memset(p->name, 'p', sizeof(p->name) - 1);
		fill_ranges(p->ranges, &p->n_ranges);
		fill_ranges(p->exclude, &p->n_exclude);
		fill_ranges(p->drain, &p->n_drain);
	}
	for (uint32_t i = 0; i < CONFIG_RULES_MAX; i++) {
		struct config_rule *r = &config.rules[i];

		memset(r->name, 'r', sizeof(r->name) - 1);
		memset(r->pool, 'p', sizeof(r->pool) - 1);
		memset(r->realm, 'm', sizeof(r->realm) - 1);
		memset(r->overflow, 'o', sizeof(r->overflow) - 1);
		r->ports = PORTS_DETERMINISTIC;
		r->mapping = r->filtering = ADDRESS_AND_PORT_DEPENDENT;
		r->type = NAT_TYPE_PORT_RESTRICTED;
		r->n_inside = r->n_destination = CONFIG_RULE_PREFIXES_MAX;
		for (uint32_t p = 0; p < CONFIG_RULE_PREFIXES_MAX; p++)
			r->inside[p] = r->destination[p] = (struct prefix){UINT32_MAX, 32};
	}
	for (config.nat.n_reserved = 0; config.nat.n_reserved < CONFIG_RESERVED_MAX; config.nat.n_reserved++)
		config.nat.reserved[config.nat.n_reserved] = (struct port_range){65534, 65535};
	for (uint32_t i = 0; i < CONFIG_STATICS_MAX; i++) {
		config.statics[i] = (struct config_static){STATIC_ANY, UINT32_MAX, UINT32_MAX, 65535, 65535, 65535, ""};
		memset(config.statics[i].realm, 'm', sizeof(config.statics[i].realm) - 1);
	}
	for (uint32_t i = 0; i < CONFIG_REALMS_MAX; i++) {
		struct config_realm *r = &config.realms[i];

		memset(r->name, 'm', sizeof(r->name) - 1);
		for (r->n_prefixes = 0; r->n_prefixes < CONFIG_REALM_PREFIXES_MAX; r->n_prefixes++)
			r->prefixes[r->n_prefixes] = (struct prefix){UINT32_MAX, 32};
	}
	text = config_print(&config);
	assert_non_null(text);
	assert_in_range(strlen(text), 256 * 1024, 512 * 1024); /* as config_internal.h says */
	free(text);
}

/* The list whose entries hold this row's member; NULL: struct config itself holds it. */
static const struct option *list_of(const struct option *o)
{
	const char *bracket = strstr(o->path, "[].");
	char path[64];

	if (!bracket)
		return NULL;
	snprintf(path, sizeof(path), "%.*s", (int)(bracket - o->path), o->path);
	return option_find(path);
}

/* What a row says about itself must fit the struct it points into. */
static void rows_fit_their_members(void **state)
{
	(void)state;
	for (unsigned i = 0; i < option_count; i++) {
		const struct option *o = &options[i];
		const struct option *list = list_of(o);
		size_t limit = list ? list->value.size / list->max : sizeof(struct config);

		assert_ptr_equal(option_find(o->path), o);
		assert_non_null(o->help);
		assert_true(o->value.size > 0 && o->value.offset + o->value.size <= limit);
		assert_true(o->count.offset + o->count.size <= limit);
		assert_true(o->min <= o->max);
		if (o->type == OPTION_INTEGER)
			assert_true(o->max < 1ull << (8 * o->value.size));
		if (o->type == OPTION_STRING || o->type == OPTION_PATH)
			assert_true(o->max < o->value.size);
		if (o->type == OPTION_CHOICE)
			assert_non_null(o->choices);
		if (o->count.size > 0 && o->type != OPTION_KEY)
			assert_int_equal(o->value.size % o->max, 0);
		for (unsigned j = 0; j < i; j++) /* no two rows own the same bytes */
			assert_true(list_of(&options[j]) != list ||
				    o->value.offset >= options[j].value.offset + options[j].value.size ||
				    options[j].value.offset >= o->value.offset + o->value.size);
	}
	assert_null(option_find("arena"));
}

static void schema_has_every_row(void **state)
{
	char *text = config_schema_print();
	json_object *tree, *rows, *member;

	(void)state;
	assert_non_null(text);
	tree = json_tokener_parse(text);
	assert_true(json_object_object_get_ex(tree, "options", &rows));
	assert_int_equal(json_object_array_length(rows), option_count);
	for (unsigned i = 0; i < option_count; i++) {
		json_object *row = json_object_array_get_idx(rows, i);

		assert_true(json_object_object_get_ex(row, "path", &member));
		assert_string_equal(json_object_get_string(member), options[i].path);
		assert_true(json_object_object_get_ex(row, "type", &member));
		assert_true(json_object_object_get_ex(row, "change", &member));
		assert_int_equal(json_object_object_get_ex(row, "default", &member), options[i].initial != NULL);
	}
	json_object_put(tree);
	free(text);
}

/* Cut and damaged at every place: refused with a sentence, or accepted and then whole. */
static void damage(const char *document)
{
	size_t size;
	char *text = read_file(document, &size);
	uint32_t random = 1;
	unsigned accepted = 0;

	for (size_t cut = 0; cut + 2 < size; cut++) {
		struct config_error err = {""};
		char *copy = malloc(cut + 1); /* exact size: a read beyond it is caught */

		memcpy(copy, text, cut);
		assert_false(config_parse(&config, copy, cut, &err));
		assert_true(err.text[0] != '\0');
		free(copy);
	}
	for (unsigned step = 0; step < 5000; step++) {
		struct config_error err = {""};
		char *copy = malloc(size);

		memcpy(copy, text, size);
		random = random * 1664525u + 1013904223u;
		((uint8_t *)copy)[(random >> 8) % size] ^= (uint8_t)(1u << (random >> 29));
		if (config_parse(&config, copy, size, &err)) {
			check_round_trip("damaged document");
			accepted++;
		} else {
			assert_true(err.text[0] != '\0');
		}
		free(copy);
	}
	assert_true(accepted > 0);
	free(text);
}

static void damaged_documents_do_no_harm(void **state)
{
	(void)state;
	damage(CORPUS "good/full.json");
	damage(CORPUS "good/nat.json");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bad_documents_get_their_sentence),
		cmocka_unit_test(good_documents_print_and_parse_again),
		cmocka_unit_test(the_shipped_example_is_good),
		cmocka_unit_test(values_arrive_in_the_struct),
		cmocka_unit_test(nat_behaviour_arrives_in_the_struct),
		cmocka_unit_test(ports_arrive_in_the_struct),
		cmocka_unit_test(realms_arrive_in_the_struct),
		cmocka_unit_test(rules_fall_back_in_order),
		cmocka_unit_test(pools_are_cut_right),
		cmocka_unit_test(unreadable_file_is_named),
		cmocka_unit_test(too_long_document_is_refused),
		cmocka_unit_test(largest_document_is_not_too_long),
		cmocka_unit_test(rows_fit_their_members),
		cmocka_unit_test(schema_has_every_row),
		cmocka_unit_test(damaged_documents_do_no_harm),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
