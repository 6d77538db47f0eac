/* The rows of verdicts.h and counters.h as data. */
#include "common/counters.h"
#include "common/verdicts.h"

const struct verdict_info verdict_info[N_VERDICTS] = {
#define V(id, class, help) [VERDICT_##id] = {#id, class, help},
	VERDICTS(V)
#undef V
};

const struct counter_info counter_info[N_COUNTERS] = {
#define C(id, kind, unit, help) [COUNTER_##id] = {#id, COUNTER_##kind, unit, help},
	COUNTERS(C)
#undef C
};
