/* nat_lab: a laboratory for the NAT core: real engines over a private arena, virtual time, packets given and taken.
 *
 * What       one to four engines (pe/engine.h, with replay I/O), each packet given to the engine that the configured RSS
 *            of its side says; what comes out is read back, and every checksum in it proven. At the end of a test
 *            everything idles out, the checker looks at the arena, and nothing may be left.
 * Units      seconds of virtual time, fractions allowed.
 * Ownership  lab_main opens and closes the laboratory of each test.
 * Calls      one thread. Errors  a failed check ends the test.
 * Use        static void test_x(struct lab *l)
 *            {
 *                    struct lab_packet p = lab_udp(lab_host(1, 5000), lab_server(1, 53)), out = lab_ok(l, &p);
 *                    struct lab_packet back = lab_answer(&out);
 *                    assert_true(lab_same(lab_ok(l, &back).dst, p.src));
 *            }
 *            const struct lab_test tests[] = {LAB_TEST(test_x, .nat = "\"icmp_timeout_s\":90")};
 *            return lab_main(tests, 1);
 *
 * Each test runs once on each of its paths: the ways in which the reply's engine may relate to the request's.
 */
#ifndef CORENAT_TESTS_NAT_LAB_H
#define CORENAT_TESTS_NAT_LAB_H

#include "pe/engine.h"
#include "shm/check.h"
#include "tests/unit/lab_packet.h"
#include "tests/unit/rnd.h"

enum {
	LAB_ENGINES = 4,
	LAB_OUT = 1024,
	LAB_SWEEP_S = 3, /* by then an engine has come round its tables */
};

enum lab_path {
	LAB_ALONE,  /* one engine */
	LAB_HOME,   /* two; everything lands on engine 0 */
	LAB_AWAY,   /* two; what comes from inside lands on engine 0, what comes from outside on engine 1 */
	LAB_SPREAD, /* two; Toeplitz on both sides */
	LAB_FOUR,   /* four; Toeplitz on both sides */
	N_LAB_PATHS
};

/* Pieces of the configuration as JSON members, without the braces around them; NULL: the default. */
struct lab_setup {
	const char *nat;      /* of "nat" */
	const char *pools;    /* the value of "pools"; default: one, "main", of LAB_POOL .0 to .3 */
	const char *prefixes; /* the value of "inside.prefixes"; default: 100.64.0.0/10 */
	const char *more;     /* of the document: "rules", "static" */
	bool bypass;          /* an inside source may appear outside */
	unsigned sessions;    /* that the arena is made for; 0: 1024 */
};

struct lab {
	unsigned engines;
	enum lab_path path;
	struct config config;
	struct lab_setup setup;
	struct arena *arena;
	struct engine *engine[LAB_ENGINES];
	struct steering rss[N_SIDES];
	mono_t now;
	struct check_counts before; /* what a laboratory at rest holds */
	unsigned n_out;             /* packets that came out of the last call */
	struct lab_frame *out;      /* [LAB_OUT] their bytes, in order */
	struct lab_packet *seen;    /* [LAB_OUT] the same, read */
	struct lab_frame sent;      /* the last packet given, as given */
};

struct lab_test {
	const char *name;
	void (*body)(struct lab *l);
	struct lab_setup setup;
	bool not_yet;
};
#define LAB_TEST(function, ...)                                                                                        \
	{                                                                                                              \
		.name = #function, .body = function, .setup = { __VA_ARGS__ }                                          \
	}
/* One that the appliance does not pass yet, as its row in docs/rfc-conformance.md says: skipped unless named. */
#define LAB_NOT_YET(function, ...)                                                                                     \
	{                                                                                                              \
		.name = #function, .body = function, .not_yet = true, .setup = { __VA_ARGS__ }                         \
	}
#define LAB_TESTS(array) lab_main(array, sizeof(array) / sizeof((array)[0]))

/* Runs every test on every path; what main returns. NAT_LAB_ONLY=text in the environment: those whose name has it. */
int lab_main(const struct lab_test *tests, unsigned n);

/* For tests that need a laboratory of their own shape. */
struct lab *lab_open(enum lab_path path, const struct lab_setup *setup);
void lab_close(struct lab *l);
/* Lets everything idle out, and proves that nothing is left. */
void lab_drain(struct lab *l);
/* The checker, exact, now. */
void lab_check(struct lab *l, struct check_counts *counts);

/* Puts another configuration in force; the engines take it at once. The path stays. */
void lab_configure(struct lab *l, const struct lab_setup *setup);

/* The engine where such a packet lands. */
unsigned lab_engine_of(const struct lab *l, const struct lab_frame *f);

/* Gives a packet; returns how many came out of the appliance upon it (l->seen, l->out). */
unsigned lab_send(struct lab *l, const struct lab_packet *p);
unsigned lab_send_frame(struct lab *l, const struct lab_frame *f);
unsigned lab_send_at(struct lab *l, unsigned engine, const struct lab_frame *f);
/* Gives packets of one side that come together, each to its engine's queue; an engine takes BURST_MAX at a time. */
unsigned lab_send_burst(struct lab *l, const struct lab_frame *f, unsigned n);

/* Lets time pass; returns how many packets came out meanwhile. */
unsigned lab_pass(struct lab *l, double seconds);

/* How many packets ended in this verdict so far, all engines together. */
uint64_t lab_verdicts(const struct lab *l, enum verdict v);
/* The sum of a counter over all engines. */
uint64_t lab_counted(const struct lab *l, enum counter c);

/* Gives a packet of which exactly one must come out that is no error: returns it. */
struct lab_packet lab_ok_at(struct lab *l, const struct lab_packet *p, const char *file, int line);
#define lab_ok(l, p) lab_ok_at(l, p, __FILE__, __LINE__)
/* Gives a packet of which nothing may come out. */
void lab_none_at(struct lab *l, const struct lab_packet *p, const char *file, int line);
#define lab_none(l, p) lab_none_at(l, p, __FILE__, __LINE__)
/* Gives a packet upon which its sender must get exactly one ICMP error: returns it. */
struct lab_packet lab_refused_at(struct lab *l, const struct lab_packet *p, const char *file, int line);
#define lab_refused(l, p) lab_refused_at(l, p, __FILE__, __LINE__)

/* A datagram or SYN of an inside host begins a session: its outside end. */
struct lab_end lab_mapped(struct lab *l, unsigned host, uint16_t port);
struct lab_end lab_mapped_tcp(struct lab *l, unsigned host, uint16_t port);

/* Its datagram is refused with this verdict, and it is told: host unreachable. */
void lab_unmapped(struct lab *l, unsigned host, uint16_t port, enum verdict why);

/* Gives an inbound packet from `from` to NAT endpoint `to`: true when it came out inside. */
bool lab_reaches(struct lab *l, uint8_t protocol, struct lab_end from, struct lab_end to);

#endif
