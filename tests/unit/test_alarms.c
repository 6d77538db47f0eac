/* alarms: raised once by the first refusal, over once after a quiet minute. */
#include "mgmtd/alarms.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

struct heard {
	unsigned raised, over;
	enum verdict last;
	char text[ALARM_TEXT];
};

static void hear(void *context, enum verdict v, bool raised, const char *sentence)
{
	struct heard *h = context;

	h->raised += raised;
	h->over += !raised;
	h->last = v;
	strncpy(h->text, sentence, sizeof h->text - 1);
}

static void test_6888_11c(void **state)
{
	struct heard h = {0};
	struct engine_report r = {.verdicts = {[VERDICT_drop_no_port] = 40}};
	struct alarms a;
	int64_t now = 1000000;

	alarms_init(&a, hear, &h);
	alarms_look(&a, now, &r); /* what was counted before is no news */
	assert_int_equal(h.raised, 0);
	for (unsigned i = 0; i < 5; i++) {
		r.verdicts[VERDICT_drop_no_port] += 3;
		alarms_look(&a, now += 1000, &r);
	}
	assert_int_equal(h.raised, 1);
	assert_int_equal(h.last, VERDICT_drop_no_port);
	assert_non_null(strstr(h.text, "drop_no_port"));
	assert_non_null(strstr(h.text, ": 3 packets"));
	alarms_look(&a, now += ALARM_QUIET_MS - 1, &r);
	assert_int_equal(h.over, 0);
	alarms_look(&a, now += 1, &r);
	assert_int_equal(h.over, 1);
	assert_non_null(strstr(h.text, "15 packets"));
	alarms_look(&a, now += ALARM_QUIET_MS, &r);
	assert_int_equal(h.over, 1);
	r.verdicts[VERDICT_drop_no_port]++;
	alarms_look(&a, now += 1000, &r);
	assert_int_equal(h.raised, 2);
}

/* Policy is no alarm, limits and blocks are; a count that begins anew raises nothing. */
static void test_6888_11c_which(void **state)
{
	struct heard h = {0};
	struct engine_report r = {.verdicts = {0}};
	struct alarms a;

	alarms_init(&a, hear, &h);
	alarms_look(&a, 1000, &r);
	r.verdicts[VERDICT_drop_no_session] = 7;
	r.verdicts[VERDICT_fwd_out_hit] = 7;
	alarms_look(&a, 2000, &r);
	assert_int_equal(h.raised, 0);
	r.verdicts[VERDICT_drop_limit_sessions] = 1;
	r.verdicts[VERDICT_drop_no_block] = 1;
	r.verdicts[VERDICT_drop_draining] = 1;
	alarms_look(&a, 3000, &r);
	assert_int_equal(h.raised, 3);
	memset(&r, 0, sizeof r);
	alarms_look(&a, 4000, &r);
	assert_int_equal(h.raised, 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_6888_11c),
		cmocka_unit_test(test_6888_11c_which),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
