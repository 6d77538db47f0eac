/* GET /stats: the aggregator's last answer, with rates. */
#include "mgmtd/api.h"
#include "mgmtd/feed.h"

#include <microhttpd.h>

struct reply api_stats(const struct request *rq)
{
	char *text = feed_statistics(rq->api->feed);

	if (!text)
		return reply_problem(MHD_HTTP_SERVICE_UNAVAILABLE, "the aggregator does not answer: start "
								   "corenat-aggregator, or look at its log");
	return reply_text(MHD_HTTP_OK, "application/json", text);
}
