/* api: what the REST handlers answer from, and the handlers themselves.
 *
 * What       one handler per resource of docs/interfaces.md; rest_routes.c says which path, role and parameters.
 * Units      times are mono_t; JSON fields carry their unit in the name.
 * Ownership  struct api is mgmtd's and outlives the server. Handlers read the arena and change nothing of it, but for
 *            requests to clear sessions (shm/clear.h) and about pinholes (shm/pinhole.h), and subscribers that are
 *            known by name (book.h).
 * Calls      handlers run on the server's threads, several at once; nothing they share is written but what has a
 *            letter below.
 * Errors     every answer is a reply; one without a response means there was no memory.
 * Use        static const struct rest_route routes[] = {{"GET", "/api/v1/health", ROLE_VIEWER, {NULL}, api_health}, …};
 */
#ifndef CORENAT_MGMTD_API_H
#define CORENAT_MGMTD_API_H

#include "common/config.h"
#include "mgmtd/reply.h"
#include "shm/engine.h"

struct feed;
struct history;
struct ledger;
struct book;
struct versions;
struct MHD_Connection;

/* Legend  [I] fixed while the server runs  [M] the main loop writes  [H] handlers, by exchange */
struct api {
	const struct config *config; /* [I] */
	struct arena *arena;         /* [I] */
	struct feed *feed;           /* [I] the aggregator's answers */
	struct history *history;     /* [I] NULL: its file cannot be opened, which is in the log */
	struct ledger *ledger;       /* [I] NULL: its file cannot be opened, which is in the log */
	struct book *book;           /* [I] NULL: its file cannot be opened, which is in the log */
	struct versions *versions;   /* [I] NULL: their file cannot be opened, which is in the log */
	_Atomic bool clearing;       /* [H] a handler asks the engines to end sessions: one at a time */
	_Atomic bool opening;        /* [H] a handler asks an engine about pinholes: one at a time */
	_Atomic bool commit_waits;   /* [M] an engine still uses the configuration before the last one */
};

/* One request under way. */
struct request {
	struct api *api;
	struct MHD_Connection *connection;
	const char *path; /* decoded, from the first slash, without the query */
};

/* The value of a query parameter; NULL when absent. */
const char *request_parameter(const struct request *rq, const char *name);
/* A whole number; *value stays when the parameter is absent. False: *refused says what would be right. */
bool request_number(
	const struct request *rq, const char *name, uint64_t min, uint64_t max, uint64_t *value, struct reply *refused);
/* Plain decimal from min to max and nothing else. */
bool decimal_read(const char *text, uint64_t min, uint64_t max, uint64_t *out);

struct session_filter;
/* The parameters inside, nat, remote and protocol. */
bool request_filter(const struct request *rq, struct session_filter *f, struct reply *refused);

struct reply api_health(const struct request *rq);
struct reply api_config(const struct request *rq);
struct reply api_config_schema(const struct request *rq);
struct reply api_config_version(const struct request *rq);
struct reply api_config_versions(const struct request *rq);
struct reply api_deterministic(const struct request *rq);
struct reply api_events(const struct request *rq);
struct reply api_lookup(const struct request *rq);
struct reply api_engines(const struct request *rq);
struct reply api_sessions(const struct request *rq);
struct reply api_sessions_clear(const struct request *rq);
struct reply api_pinholes(const struct request *rq);
struct reply api_pinhole_open(const struct request *rq);
struct reply api_pinhole_close(const struct request *rq);
struct reply api_subscribers(const struct request *rq);
struct reply api_subscriber(const struct request *rq);
struct reply api_subscriber_set(const struct request *rq);
struct reply api_subscriber_delete(const struct request *rq);
struct reply api_pools(const struct request *rq);
struct reply api_stats(const struct request *rq);
struct reply api_stats_schema(const struct request *rq);
struct reply api_stats_history(const struct request *rq);
struct reply api_metrics(const struct request *rq);

/* A file of api.web_dir. */
struct reply static_file(const struct request *rq);

/* ---- shared by handlers ---- */

enum engine_life {
	ENGINE_LIFE_UP,
	ENGINE_LIFE_STALLED, /* its process is there but its loop does not turn */
	ENGINE_LIFE_DOWN,
};

enum engine_life engine_life(const struct api *api, unsigned engine, mono_t now);
uint64_t engine_heartbeat_age_ms(const struct api *api, unsigned engine, mono_t now);
const char *engine_life_name(enum engine_life life);

/* Ports in use and in total of one pool, both tables of all its addresses. */
struct pool_use {
	uint64_t used, total;
};

struct session;
/* A copy that was the same session from first to last byte; false when it changed hands meanwhile. */
bool api_copy_session(const struct arena *a, uint32_t index, struct session *out);
/* A member "IP:PORT". */
void api_add_endpoint(struct json_object *o, const char *key, be32_t address, be16_t port);

struct snapshot;
/* The configuration in force; malloced. NULL when none is, or there is no memory. */
struct snapshot *api_snapshot(const struct api *api);
struct pool_use pool_use(const struct api *api, const struct snapshot *in_force, const struct config_pool *p);

#endif
