/* answer: what the aggregator says to one request line.
 *
 * What       request text in, answer text out; no socket, no clock of its own.
 * Units      interval in milliseconds; now is CLOCK_MONOTONIC, unix_s seconds since 1970.
 * Ownership  the answer is malloced, ends with a newline, and is the caller's to free.
 * Calls      any thread.
 * Errors     a request that is not understood answers {"error": "one sentence"}; NULL: no memory.
 * Use        char *line = answer_request(text, size, &view, 1000, mono_now(), unix_s);
 */
#ifndef CORENAT_AGGREGATOR_ANSWER_H
#define CORENAT_AGGREGATOR_ANSWER_H

#include "aggregator/board.h"

char *answer_request(
	const char *text, size_t size, const struct board_view *view, unsigned interval_ms, mono_t now, double unix_s);

char *answer_error(const char *sentence);

#endif
