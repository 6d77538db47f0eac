/* Reading query parameters; see api.h. */
#include "mgmtd/api.h"

#include <errno.h>
#include <microhttpd.h>
#include <stdlib.h>

const char *request_parameter(const struct request *rq, const char *name)
{
	return MHD_lookup_connection_value(rq->connection, MHD_GET_ARGUMENT_KIND, name);
}

bool decimal_read(const char *text, uint64_t min, uint64_t max, uint64_t *out)
{
	unsigned long long v;
	char *end;

	errno = 0;
	v = strtoull(text, &end, 10);
	if (text[0] < '0' || text[0] > '9' || *end || errno || v < min || v > max)
		return false;
	*out = v;
	return true;
}

bool request_number(
	const struct request *rq, const char *name, uint64_t min, uint64_t max, uint64_t *value, struct reply *refused)
{
	const char *text = request_parameter(rq, name);

	if (!text || decimal_read(text, min, max, value))
		return true;
	*refused = reply_problem(MHD_HTTP_BAD_REQUEST, "%s: \"%.40s\" is not a whole number from %llu to %llu", name,
		text, (unsigned long long)min, (unsigned long long)max);
	return false;
}
