/* The route table: what is not listed here is not served. */
#include "mgmtd/rest.h"

#include <string.h>

static const struct rest_route routes[] = {
	{"GET", "/api/v1/health", ROLE_VIEWER, {NULL}, api_health},
	{"GET", "/api/v1/config", ROLE_VIEWER, {NULL}, api_config},
	{"GET", "/api/v1/config/schema", ROLE_VIEWER, {NULL}, api_config_schema},
	{"GET", "/api/v1/config/versions", ROLE_VIEWER, {"limit", "before", NULL}, api_config_versions},
	{"GET", "/api/v1/config/version", ROLE_VIEWER, {"id", NULL}, api_config_version},
	{"GET", "/api/v1/deterministic", ROLE_VIEWER, {"inside", "nat", "realm", "time", "skew_s", "earlier_s", NULL},
		api_deterministic},
	{"GET", "/api/v1/engines", ROLE_VIEWER, {NULL}, api_engines},
	{"GET", "/api/v1/events", ROLE_VIEWER,
		{"from", "to", "kind", "inside", "realm", "nat", "verdict", "limit", "cursor", NULL}, api_events},
	{"GET", "/api/v1/lookup", ROLE_VIEWER, {"nat", "time", "skew_s", NULL}, api_lookup},
	{"GET", "/api/v1/sessions", ROLE_VIEWER,
		{"inside", "nat", "remote", "protocol", "realm", "limit", "cursor", NULL}, api_sessions},
	{"DELETE", "/api/v1/sessions", ROLE_OPERATOR, {"inside", "nat", "remote", "protocol", "realm", NULL},
		api_sessions_clear},
	{"GET", "/api/v1/pinholes", ROLE_VIEWER, {"inside", "nat", "protocol", "realm", "limit", "cursor", NULL},
		api_pinholes},
	{"POST", "/api/v1/pinholes", ROLE_OPERATOR, {"protocol", "inside", "realm", "nat", "lifetime_s", NULL},
		api_pinhole_open},
	{"DELETE", "/api/v1/pinholes", ROLE_OPERATOR, {"protocol", "inside", "realm", NULL}, api_pinhole_close},
	{"GET", "/api/v1/subscribers", ROLE_VIEWER, {"inside", "realm", "name", "top", "limit", "cursor", NULL},
		api_subscribers},
	{"GET", "/api/v1/subscribers/*", ROLE_VIEWER, {"realm", NULL}, api_subscriber},
	{"PUT", "/api/v1/subscribers/*", ROLE_OPERATOR,
		{"realm", "name", "sessions", "tcp_ports", "udp_ports", "icmp_ids", "memory_kib", "new_sessions_per_s",
			"burst", "reserved_ports", NULL},
		api_subscriber_set},
	{"DELETE", "/api/v1/subscribers/*", ROLE_OPERATOR, {"realm", NULL}, api_subscriber_delete},
	{"GET", "/api/v1/pools", ROLE_VIEWER, {NULL}, api_pools},
	{"GET", "/api/v1/stats", ROLE_VIEWER, {NULL}, api_stats},
	{"GET", "/api/v1/stats/schema", ROLE_VIEWER, {NULL}, api_stats_schema},
	{"GET", "/api/v1/stats/history", ROLE_VIEWER, {"counter", "from", "to", "step", NULL}, api_stats_history},
	{"GET", "/api/v1/metrics", ROLE_VIEWER, {NULL}, api_metrics},
	{"GET", "/metrics", ROLE_VIEWER, {NULL}, api_metrics},
};

static bool is_path(const char *pattern, const char *path)
{
	size_t n = strlen(pattern) - 1;

	if (pattern[n] != '*')
		return strcmp(pattern, path) == 0;
	return strncmp(pattern, path, n) == 0 && path[n] != '\0' && !strchr(path + n, '/');
}

const struct rest_route *rest_route_find(const char *method, const char *path)
{
	if (strcmp(method, "HEAD") == 0) /* answered like GET, without the body */
		method = "GET";
	for (unsigned i = 0; i < sizeof routes / sizeof routes[0]; i++)
		if (is_path(routes[i].path, path) && strcmp(routes[i].method, method) == 0)
			return &routes[i];
	return NULL;
}
