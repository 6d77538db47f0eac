/* rates: what grew per second between two answers of the aggregator.
 *
 * What       adds "rates" beside every "counters" of an answer, for counters of kind SUM.
 * Units      per second. An engine's rates count between the times of its own two reports (time - age_ms), so that the
 *            moment of asking does not matter; the appliance's are the sums of its engines'.
 * Ownership  changes `answer` in place; reads `before`.
 * Calls      any thread that owns both objects.
 * Errors     none: what an answer lacks has no rate. An engine that did not answer has rates of zero, one seen for
 *            the first time has none.
 * Use        rates_add(answer, before);
 */
#ifndef CORENAT_MGMTD_RATES_H
#define CORENAT_MGMTD_RATES_H

#include <json-c/json.h>

/* `before` is the answer before, with its rates; NULL when there is none. */
void rates_add(struct json_object *answer, struct json_object *before);

#endif
