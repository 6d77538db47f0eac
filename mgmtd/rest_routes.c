/* The route table: what is not listed here is not served. */
#include "mgmtd/rest.h"

#include <string.h>

static const struct rest_route routes[] = {
	{"/api/v1/health", ROLE_VIEWER, {NULL}, api_health},
	{"/api/v1/config", ROLE_VIEWER, {NULL}, api_config},
	{"/api/v1/config/schema", ROLE_VIEWER, {NULL}, api_config_schema},
	{"/api/v1/engines", ROLE_VIEWER, {NULL}, api_engines},
	{"/api/v1/sessions", ROLE_VIEWER, {"inside", "nat", "limit", "cursor", NULL}, api_sessions},
	{"/api/v1/pools", ROLE_VIEWER, {NULL}, api_pools},
	{"/api/v1/stats", ROLE_VIEWER, {NULL}, api_stats},
	{"/api/v1/stats/schema", ROLE_VIEWER, {NULL}, api_stats_schema},
	{"/api/v1/stats/history", ROLE_VIEWER, {"counter", "from", "to", "step", NULL}, api_stats_history},
	{"/api/v1/metrics", ROLE_VIEWER, {NULL}, api_metrics},
	{"/metrics", ROLE_VIEWER, {NULL}, api_metrics},
};

const struct rest_route *rest_route_find(const char *path)
{
	for (unsigned i = 0; i < sizeof routes / sizeof routes[0]; i++)
		if (strcmp(routes[i].path, path) == 0)
			return &routes[i];
	return NULL;
}
