/* rest_call: one call of mgmtd's API, as a client.
 *
 * What       asks the API where api.listen says it is, and takes its JSON; problems become one sentence.
 * Units      none. Ownership  the answer is the caller's: json_object_put.
 * Calls      main thread. Errors  NULL after one sentence on standard error.
 * Use        struct json_object *o = rest_call(config, "GET", "/api/v1/sessions", query, &length);
 */
#ifndef CORENAT_MGMTD_CTL_REST_CALL_H
#define CORENAT_MGMTD_CTL_REST_CALL_H

#include "common/config.h"

#include <json-c/json.h>

struct rest_parameter {
	const char *name, *value; /* value NULL: left out */
};

struct json_object *rest_call(const struct config *c, const char *method, const char *path,
	const struct rest_parameter *parameters, unsigned n_parameters);

#endif
