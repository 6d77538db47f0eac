#include "mgmtd/alarms.h"

#include "common/log.h"

#include <stdio.h>
#include <string.h>

void alarms_init(struct alarms *a, alarms_say say, void *context)
{
	memset(a, 0, sizeof *a);
	a->say = say;
	a->context = context;
}

void alarms_log(void *context, enum verdict v, bool raised, const char *sentence)
{
	if (raised)
		log_warning("%s", sentence);
	else
		log_notice("%s", sentence);
}

static void tell(const struct alarms *a, enum verdict v, bool raised, uint64_t refused, int64_t for_ms)
{
	const struct verdict_info *info = &verdict_info[v];
	char text[ALARM_TEXT];

	if (raised)
		snprintf(text, sizeof text, "alarm: %s (%s): %llu packets refused since the last look", info->help,
			info->name, (unsigned long long)refused);
	else
		snprintf(text, sizeof text,
			"alarm over: %s (%s): %llu packets refused in %lld s, none for the last %d s", info->help,
			info->name, (unsigned long long)refused, (long long)(for_ms / 1000), ALARM_QUIET_MS / 1000);
	a->say(a->context, v, raised, text);
}

static void look_at(struct alarms *a, enum verdict v, int64_t now_ms, uint64_t count)
{
	struct alarm *x = &a->of[v];
	uint64_t more = count > x->seen ? count - x->seen : 0;

	x->seen = count;
	if (!a->looked)
		return;
	x->refused += more;
	if (more) {
		x->last_ms = now_ms;
		if (!x->raised_ms) {
			x->raised_ms = now_ms;
			tell(a, v, true, more, 0);
		}
	} else if (x->raised_ms && now_ms - x->last_ms >= ALARM_QUIET_MS) {
		tell(a, v, false, x->refused, x->last_ms - x->raised_ms);
		x->raised_ms = 0;
		x->refused = 0;
	}
}

void alarms_look(struct alarms *a, int64_t unix_ms, const struct engine_report *appliance)
{
	for (int v = 0; v < N_VERDICTS; v++)
		if (strcmp(verdict_info[v].class, "resource") == 0)
			look_at(a, v, unix_ms, appliance->verdicts[v]);
	a->looked = true;
}
