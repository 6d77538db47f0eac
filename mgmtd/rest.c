#include "mgmtd/rest.h"

#include "common/log.h"

#include <microhttpd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Every answer carries these. The dashboard loads nothing from elsewhere and is nobody's frame. */
static const struct {
	const char *name, *value;
} security_headers[] = {
	{"Content-Security-Policy", "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
				    "object-src 'none'"},
	{"X-Content-Type-Options", "nosniff"},
	{"Referrer-Policy", "no-referrer"},
	{"Cross-Origin-Resource-Policy", "same-origin"},
};

struct rest {
	struct MHD_Daemon *daemon;
	struct api *api;
};

/* ---- checking a request ---- */

struct parameter_check {
	const struct request *rq;
	const struct rest_route *route;
	struct reply refused; /* status 0: nothing wrong so far */
};

static bool is_listed(const struct rest_route *route, const char *name)
{
	for (unsigned i = 0; route->parameters[i]; i++)
		if (strcmp(route->parameters[i], name) == 0)
			return true;
	return false;
}

static void list_parameters(const struct rest_route *route, char *out, size_t size)
{
	size_t used = (size_t)snprintf(out, size, route->parameters[0] ? "known are " : "none is known here");

	for (unsigned i = 0; route->parameters[i] && used < size; i++)
		used += (size_t)snprintf(out + used, size - used, "%s%s", i ? ", " : "", route->parameters[i]);
}

static enum MHD_Result check_parameter(void *context, enum MHD_ValueKind kind, const char *name, size_t name_size,
	const char *value, size_t value_size)
{
	struct parameter_check *c = context;
	char known[128];

	if (!is_listed(c->route, name) || strlen(name) != name_size) {
		list_parameters(c->route, known, sizeof known);
		c->refused = reply_problem(
			MHD_HTTP_BAD_REQUEST, "%.40s: unknown parameter; %s", *name ? name : "(empty)", known);
	} else if (!value || !*value || strlen(value) != value_size) {
		c->refused = reply_problem(
			MHD_HTTP_BAD_REQUEST, "%s: is empty or holds a zero byte; give a value or leave it out", name);
	} else if (request_parameter(c->rq, name) != value) {
		c->refused = reply_problem(MHD_HTTP_BAD_REQUEST, "%s: is given twice; give it once", name);
	}
	return c->refused.status ? MHD_NO : MHD_YES;
}

/* Who asks. The server listens on loopback only and knows no tokens: everyone there may look and operate, nobody may
 * administer. */
static enum role role_of(const struct request *rq)
{
	(void)rq;
	return ROLE_OPERATOR;
}

/* True for a Host that names loopback: of a page elsewhere whose name was made to mean this machine, it is the name. */
static bool is_loopback(const char *host)
{
	size_t name = strcspn(host, ":");
	char text[INET_ADDRSTRLEN];
	struct in_addr in;

	if (strncmp(host, "localhost", name) == 0 && name == strlen("localhost"))
		return true;
	if (strncmp(host, "[::1]", 5) == 0 && (host[5] == '\0' || host[5] == ':'))
		return true;
	snprintf(text, sizeof text, "%.*s", (int)(name < sizeof text ? name : 0), host);
	return inet_pton(AF_INET, text, &in) == 1 && ntohl(in.s_addr) >> 24 == 127;
}

/* Whoever sits at this machine looks at pages of other sites, too: none of them may change anything here. */
static bool is_from_elsewhere(const struct request *rq)
{
	const char *host = MHD_lookup_connection_value(rq->connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_HOST);
	const char *origin = MHD_lookup_connection_value(rq->connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_ORIGIN);
	static const char scheme[] = "http://";

	if (!host || !is_loopback(host))
		return true;
	return origin && (strncmp(origin, scheme, strlen(scheme)) != 0 || strcmp(origin + strlen(scheme), host) != 0);
}

static struct reply serve_route(const struct request *rq, const struct rest_route *route)
{
	struct parameter_check check = {.rq = rq, .route = route};

	if (route->role == ROLE_NOBODY || role_of(rq) < route->role)
		return reply_problem(MHD_HTTP_FORBIDDEN, "%s needs a higher role", route->path);
	if (strcmp(route->method, MHD_HTTP_METHOD_GET) != 0 && is_from_elsewhere(rq))
		return reply_problem(MHD_HTTP_FORBIDDEN,
			"%s %s is for this machine only: ask for it by its loopback address, from no other site",
			route->method, route->path);
	MHD_get_connection_values_n(rq->connection, MHD_GET_ARGUMENT_KIND, check_parameter, &check);
	return check.refused.status ? check.refused : route->answer(rq);
}

static struct reply serve(const struct request *rq, const char *method)
{
	const struct rest_route *route = rest_route_find(method, rq->path);

	if (route)
		return serve_route(rq, route);
	if (strncmp(rq->path, "/api/", 5) == 0 || strcmp(rq->path, "/api") == 0)
		return reply_problem(
			MHD_HTTP_NOT_FOUND, "there is no resource %.80s; docs/interfaces.md lists them all", rq->path);
	return static_file(rq);
}

static bool method_is_served(const char *method, const char *path)
{
	return strcmp(method, MHD_HTTP_METHOD_GET) == 0 || strcmp(method, MHD_HTTP_METHOD_HEAD) == 0 ||
	       rest_route_find(method, path);
}

static struct reply refuse_method(const char *method, const char *path)
{
	static const char *const others[] = {MHD_HTTP_METHOD_PUT, MHD_HTTP_METHOD_POST, MHD_HTTP_METHOD_DELETE};
	char allowed[32] = "GET, HEAD";

	for (unsigned i = 0; i < sizeof others / sizeof others[0]; i++)
		if (rest_route_find(others[i], path))
			snprintf(allowed + strlen(allowed), sizeof allowed - strlen(allowed), ", %s", others[i]);
	struct reply r =
		reply_problem(MHD_HTTP_METHOD_NOT_ALLOWED, "%.20s is not served here; %s are", method, allowed);

	reply_header(&r, MHD_HTTP_HEADER_ALLOW, allowed);
	return r;
}

/* What can be refused before a body arrives; status 0 when nothing is wrong. */
static struct reply refuse_early(struct MHD_Connection *connection, const char *method, const char *path)
{
	const char *length = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_CONTENT_LENGTH);

	if (!method_is_served(method, path))
		return refuse_method(method, path);
	if ((length && strcmp(length, "0") != 0) ||
		MHD_lookup_connection_value(connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_TRANSFER_ENCODING))
		return reply_problem(MHD_HTTP_BAD_REQUEST, "the request has a body, which means nothing here");
	return (struct reply){0};
}

/* ---- the library's side ---- */

static enum MHD_Result queue(struct MHD_Connection *connection, struct reply r)
{
	enum MHD_Result queued;

	if (!r.response)
		return MHD_NO;
	for (unsigned i = 0; i < sizeof security_headers / sizeof security_headers[0]; i++)
		reply_header(&r, security_headers[i].name, security_headers[i].value);
	if (!MHD_get_response_header(r.response, MHD_HTTP_HEADER_CACHE_CONTROL))
		reply_header(&r, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
	queued = MHD_queue_response(connection, r.status, r.response);
	MHD_destroy_response(r.response);
	return queued;
}

/* Called once when the headers are there, and again when the request is complete: answering the first time would
 * close the connection after the answer. */
static enum MHD_Result on_request(void *context, struct MHD_Connection *connection, const char *path,
	const char *method, const char *version, const char *data, size_t *data_size, void **seen)
{
	struct rest *r = context;
	struct request rq = {.api = r->api, .connection = connection, .path = path};
	struct reply refused;

	if (*seen)
		return queue(connection, serve(&rq, method));
	*seen = r;
	refused = refuse_early(connection, method, path);
	return refused.status ? queue(connection, refused) : MHD_YES;
}

static void on_library_log(void *context, const char *format, va_list args) __attribute__((format(printf, 2, 0)));

static void on_library_log(void *context, const char *format, va_list args)
{
	char line[256];

	vsnprintf(line, sizeof line, format, args);
	line[strcspn(line, "\n")] = '\0';
	log_debug("http: %s", line);
}

struct rest *rest_open(int listen_fd, struct api *api)
{
	struct rest *r = calloc(1, sizeof *r);

	if (!r) {
		close(listen_fd);
		return NULL;
	}
	r->api = api;
	/* The logger comes first: what fails after it is told. */
	r->daemon = MHD_start_daemon(MHD_USE_EPOLL_INTERNAL_THREAD | MHD_USE_ERROR_LOG, 0, NULL, NULL, on_request, r,
		MHD_OPTION_EXTERNAL_LOGGER, on_library_log, NULL, MHD_OPTION_LISTEN_SOCKET, listen_fd,
		MHD_OPTION_THREAD_POOL_SIZE, (unsigned)REST_THREADS, MHD_OPTION_CONNECTION_LIMIT,
		(unsigned)REST_CONNECTIONS, MHD_OPTION_PER_IP_CONNECTION_LIMIT, (unsigned)REST_CONNECTIONS_PER_IP,
		MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)REST_IDLE_S, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
		(size_t)REST_REQUEST_BYTES, MHD_OPTION_END);
	if (r->daemon)
		return r;
	log_error("cannot start the HTTP server; CORENAT_DEBUG=1 shows why");
	close(listen_fd);
	free(r);
	return NULL;
}

void rest_close(struct rest *r)
{
	if (!r)
		return;
	MHD_stop_daemon(r->daemon);
	free(r);
}
