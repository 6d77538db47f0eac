/* rest: the HTTP server: connections, limits, routes, headers.
 *
 * What       serves docs/interfaces.md over one listening socket: /api/v1 and /metrics by the table in rest_routes.c,
 *            everything else from api.web_dir.
 * Units      seconds, bytes, connections.
 * Ownership  rest_open takes the socket over, also when it fails; rest_close ends the threads and closes it. The api
 *            must outlive the server.
 * Calls      open and close: the main thread. Requests run on the server's own REST_THREADS threads.
 * Errors     listen: -1 and one sentence. open: NULL when the library refuses, which it says in the log.
 * Use        fd = rest_listen(config.api.listen, &err); r = rest_open(fd, &api); …; rest_close(r);
 */
#ifndef CORENAT_MGMTD_REST_H
#define CORENAT_MGMTD_REST_H

#include "mgmtd/api.h"

enum {
	REST_THREADS = 2,
	REST_CONNECTIONS = 128,
	REST_CONNECTIONS_PER_IP = 96, /* a dashboard needs about six */
	REST_IDLE_S = 30,
	REST_REQUEST_BYTES = 32 * 1024, /* request line and headers, and the server's own needs */
	REST_PARAMETERS_MAX = 12,       /* of one route, with the NULL that ends them */
};

/* Who may call a route. Zero is nobody, so that a row without a role is closed. */
enum role { ROLE_NOBODY, ROLE_VIEWER, ROLE_OPERATOR, ROLE_ADMIN };

struct rest_route {
	const char *method; /* GET serves HEAD too; any other one changes something */
	const char *path;
	enum role role;
	const char *parameters[REST_PARAMETERS_MAX]; /* what the query may hold; NULL-terminated */
	struct reply (*answer)(const struct request *rq);
};

/* The row with this method and exactly this path, or, where the row's ends in "*", one more part of a path in its place;
 * NULL when there is none. */
const struct rest_route *rest_route_find(const char *method, const char *path);

struct rest_error {
	char text[256];
};

/* The socket systemd passed, or one bound to "address:port" of this text; port 0 takes any free one. */
int rest_listen(const char *listen, struct rest_error *err);
/* Where the server can be reached, for people: "127.0.0.1:8080". */
void rest_address(int listen_fd, char *out, size_t size);

struct rest;

struct rest *rest_open(int listen_fd, struct api *api);
void rest_close(struct rest *r); /* NULL is fine */

#endif
