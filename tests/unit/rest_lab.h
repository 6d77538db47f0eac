/* rest_lab: mgmtd's HTTP server for tests, with all that it answers from.
 *
 * What       the real server on a free loopback port over an arena filled through the real calls, with a real history
 *            file, and the real aggregator's socket when a test starts it. Only the engines' processes are played:
 *            their roles are held by other handles of the same arena.
 * Units      as in the parts.
 * Ownership  lab_setup and lab_teardown are cmocka's; all else lives in between. JSON objects of ask are the caller's.
 * Calls      the test's thread; add_session by one thread per engine.
 * Errors     the test fails.
 * Use        cmocka_unit_test_setup_teardown(test_health, lab_setup, lab_teardown)
 */
#ifndef CORENAT_TESTS_REST_LAB_H
#define CORENAT_TESTS_REST_LAB_H

#include "aggregator/agent.h"
#include "common/clock.h"
#include "mgmtd/feed.h"
#include "mgmtd/rest.h"
#include "shm/session.h"

#include <pthread.h>

enum { ENGINES = 2, INTERVAL_MS = 100 };

struct lab {
	char dir[64];
	struct config config;
	struct arena *arena;
	struct arena *role[ENGINES]; /* holds the engine's role; NULL: the engine is down */
	struct api api;
	struct rest *rest;
	unsigned port;
	uint32_t sessions; /* made so far */
};

struct aggregator {
	struct board *board;
	struct agent *agent;
	pthread_t thread;
	_Atomic bool stop;
};

int lab_setup(void **state);
int lab_teardown(void **state);

/* Starts the HTTP server; what it answers from may have been changed after rest_close. */
void lab_serve(struct lab *lab);

/* Engine `e` runs and uses the configuration in force; or its process ends. */
void engine_up(struct lab *lab, unsigned e);
void engine_down(struct lab *lab, unsigned e);

/* A live session 198.51.100.0:<1024 + how many were made before> to 203.0.113.2:443; its slab index. */
uint32_t add_session(struct lab *lab, unsigned engine, enum l4 l4, uint32_t inside, uint16_t port, uint8_t tcp);

void aggregator_start(const struct lab *lab, struct aggregator *g);
void aggregator_stop(struct aggregator *g);
/* Until the feed has noticed that the aggregator came or went. */
void wait_feed(const struct lab *lab, bool up);

/* GET: the body, of the right media type. */
struct json_object *ask(const struct lab *lab, const char *path, int status);
/* Answers a problem of this status whose detail has this text. */
void assert_problem(const struct lab *lab, const char *path, int status, const char *detail);

/* Members that must be there. */
struct json_object *get(struct json_object *o, const char *key);
const char *get_text(struct json_object *o, const char *key);
uint64_t get_number(struct json_object *o, const char *key);
size_t rows(struct json_object *o, const char *key);
struct json_object *row(struct json_object *o, const char *key, size_t i);
bool has_reason(struct json_object *health, const char *text);

#endif
