/* clock: the one place that reads a clock. The NAT core never does; its callers pass `now`.
 *
 * Units      nanoseconds of CLOCK_MONOTONIC. Calls: any. Errors: none.
 */
#ifndef CORENAT_CLOCK_H
#define CORENAT_CLOCK_H

#include "common/units.h"

#include <time.h>

static inline mono_t mono_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (mono_t){(uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec};
}

#endif
