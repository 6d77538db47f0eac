/* docs/ports.md: its worked example is computed here, and must stand there as it is. */
#include "common/plan.h"
#include "common/steering.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { ENTRIES = 128, ENGINES = 4, PORTS = 65536, LOW_PORTS = 1024, SHOWN = 10 };

static const uint8_t customary_key[] = {0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43,
	0xa3, 0x8f, 0xb0, 0xd0, 0xca, 0x2b, 0xcb, 0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3, 0x80, 0x30, 0xf2,
	0x0c, 0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa};

/* The flow of the example, host order. */
enum {
	INSIDE_PORT = 51001,
	REMOTE_PORT = 443,
};
static const uint32_t inside = 0x64400005, nat = 0xc6336401, remote = 0xcb00710a;

static struct steering steering;
static char text[8192];
static size_t used;

static void say(const char *format, ...) __attribute__((format(printf, 1, 2)));

static void say(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	used += (size_t)vsnprintf(text + used, sizeof text - used, format, args);
	va_end(args);
	assert_true(used < sizeof text);
}

static void make_steering(void)
{
	static struct rss rss = {.mode = RSS_TOEPLITZ, .key_size = sizeof customary_key, .table_len = ENTRIES};

	memcpy(rss.key, customary_key, sizeof customary_key);
	for (unsigned i = 0; i < ENTRIES; i++)
		rss.table[i] = (uint8_t)(i % ENGINES);
	assert_int_equal(steering_init(&steering, &rss, ENGINES), 0);
}

static unsigned slot_of(uint32_t port)
{
	return toeplitz_ports(&steering.hash, be16_of(0), be16_of((uint16_t)port)) & (ENTRIES - 1);
}

/* Without the NAT port, which is the destination port of a reply. */
static uint32_t reply_hash(void)
{
	return toeplitz_tuple(&steering.hash, be32_of(remote), be32_of(nat), be16_of(REMOTE_PORT), be16_of(0));
}

/* The short cut is the same as asking for each port. */
static void slots_decide_where_replies_land(void **state)
{
	uint32_t h0 = reply_hash();

	for (uint32_t port = 0; port < PORTS; port++)
		assert_int_equal(steering.table[(h0 ^ slot_of(port)) & (ENTRIES - 1)],
			steering_engine(&steering, IPPROTO_TCP, be32_of(remote), be32_of(nat), be16_of(REMOTE_PORT),
				be16_of((uint16_t)port)));
}

static void say_slots(void)
{
	unsigned all[ENTRIES] = {0}, high[ENTRIES] = {0}, even = 0;

	for (uint32_t port = 0; port < PORTS; port++) {
		all[slot_of(port)]++;
		high[slot_of(port)] += port >= LOW_PORTS;
	}
	for (unsigned s = 0; s < ENTRIES; s++)
		even += all[s] == all[0] && high[s] == high[0];
	assert_int_equal(even, ENTRIES); /* the page says that all are alike */
	say("%u slots of %u ports each: %u from %u up, and %u below\n", ENTRIES, all[0], high[0], LOW_PORTS,
		all[0] - high[0]);
}

static void say_slot(unsigned slot)
{
	unsigned shown = 0;

	say("slot %3u:", slot);
	for (uint32_t port = LOW_PORTS; port < PORTS && shown < SHOWN; port++)
		if (slot_of(port) == slot) {
			say(" %u", port);
			shown++;
		}
	say(" ...\n");
}

static void say_flow(void)
{
	uint32_t out = toeplitz_tuple(
		&steering.hash, be32_of(inside), be32_of(remote), be16_of(INSIDE_PORT), be16_of(REMOTE_PORT));
	uint32_t h0 = reply_hash();
	unsigned home = steering.table[out & (ENTRIES - 1)], slots = 0, ports = 0;

	say("100.64.0.5:%u > 203.0.113.10:%u   hash 0x%08x, & 127 = %u, table[%u] = engine %u\n", INSIDE_PORT,
		REMOTE_PORT, out, out & 127, out & 127, home);
	say("203.0.113.10:%u > 198.51.100.1:p   H0 = 0x%08x (p = 0), & 127 = %u\n\n", REMOTE_PORT, h0, h0 & 127);
	say(" port   T(p)        slot   %u ^ slot   reply lands on\n", h0 & 127);
	for (uint32_t port = 40000; port < 40032; port += 4) {
		uint32_t t = toeplitz_ports(&steering.hash, be16_of(0), be16_of((uint16_t)port));
		unsigned at = (h0 ^ t) & 127, engine = steering.table[at];

		say("%5u   0x%08x   %4u   %9u   engine %u%s\n", port, t, t & 127, at, engine,
			engine == home ? ": home" : "");
	}
	for (unsigned s = 0; s < ENTRIES; s++)
		slots += steering.table[(h0 ^ s) & 127] == home;
	for (uint32_t port = LOW_PORTS; port < PORTS; port++)
		ports += steering.table[(h0 ^ slot_of(port)) & 127] == home;
	say("\nhome slots of this flow: %u of %u, with %u of the %u ports from %u up\n", slots, ENTRIES, ports,
		PORTS - LOW_PORTS, LOW_PORTS);
	assert_int_equal(home, 2); /* as in the picture */
}

static char *read_page(const char *path)
{
	FILE *f = fopen(path, "r");
	char *page = calloc(1, 1 << 17);

	assert_non_null(f);
	assert_non_null(page);
	assert_true(fread(page, 1, (1 << 17) - 1, f) > 0);
	fclose(f);
	return page;
}

static void assert_stands_there(const char *what)
{
	char *page = read_page("docs/ports.md");

	if (!strstr(page, text))
		fail_msg("docs/ports.md does not have %s as computed:\n%s", what, text);
	free(page);
}

static void the_worked_example_stands_in_the_page(void **state)
{
	used = 0;
	say("```\n");
	say_slots();
	say_slot(0);
	say_slot(46);
	say("\n");
	say_flow();
	say("```\n");
	assert_stands_there("the example");
}

/* The table that says which mode costs what. */
static void the_comparison_stands_in_the_page(void **state)
{
	struct plan_input in = {.subscribers = 100000,
		.sessions = 30,
		.peak = 2,
		.dispersion = 0.5,
		.lifetime_s = 120,
		.hold_s = 120,
		.hold_share = 0.5,
		.ports_per_address = 64512,
		.blocks_max = 4,
		.target = 0.001};
	struct plan_row row;

	used = 0;
	plan_sessions(&in, &row);
	say("| shuffled, ordered | %.0f | %.0f | - | %.0f million |\n", row.addresses, row.per_address,
		row.log_per_day / 1e6);
	for (unsigned size = 128; size <= 512; size *= 2) {
		plan_blocks(&in, size, &row);
		say("| blocks of %u, up to 4 | %.0f | %.0f | %.2g %% | %.1f million |\n", size, row.addresses,
			row.per_address, row.refused_limit * 100, row.log_per_day / 1e6);
	}
	for (unsigned ports = 512; ports <= 2048; ports *= 2) {
		plan_deterministic(&in, ports, &row);
		say("| deterministic, %u ports each | %.0f | %.0f | %.2g %% | none |\n", ports, row.addresses,
			row.per_address, row.refused_limit * 100);
	}
	assert_stands_there("the comparison");
}

static int setup(void **state)
{
	make_steering();
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(slots_decide_where_replies_land),
		cmocka_unit_test(the_worked_example_stands_in_the_page),
		cmocka_unit_test(the_comparison_stands_in_the_page),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
