/* when: what is a point in time, and what is none. */
#include "mgmtd/when.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

static const struct {
	const char *text;
	int64_t ms; /* -1: none */
	const char *why;
} times[] = {
	{"0", 0, "the beginning"},
	{"1795788187", 1795788187000, "unix seconds"},
	{"1795788187.25", 1795788187250, "with a fraction"},
	{"1795788187.98765", 1795788187987, "finer than kept"},
	{"253402300799", 253402300799000, "the end of 9999"},
	{"253402300800", -1, "beyond"},
	{"99999999999999999999999999", -1, "far beyond"},
	{"2026-11-27T14:03:07Z", 1795788187000, "UTC"},
	{"2026-11-27t14:03:07.5z", 1795788187500, "RFC 3339 allows small letters"},
	{"2026-11-27 15:03:07+01:00", 1795788187000, "an hour to the east"},
	{"2026-11-27T15:03:07 01:00", 1795788187000, "plus, after a URL made it a space"},
	{"2026-11-27T09:33:07-0430", 1795788187000, "ISO 8601, basic zone"},
	{"1970-01-01T00:00:00Z", 0, "the beginning"},
	{"1970-01-01T00:00:00+00:01", -1, "before it"},
	{"2024-02-29T00:00:00Z", 1709164800000, "a leap day"},
	{"2026-02-29T00:00:00Z", -1, "none"},
	{"2016-12-31T23:59:60Z", 1483228800000, "a leap second"},
	{"2026-13-01T00:00:00Z", -1, "month"},
	{"2026-00-01T00:00:00Z", -1, "month"},
	{"2026-11-31T00:00:00Z", -1, "day"},
	{"2026-11-27T24:00:00Z", -1, "hour"},
	{"2026-11-27T14:60:07Z", -1, "minute"},
	{"2026-11-27T14:03:61Z", -1, "second"},
	{"2026-11-27T14:03:07+24:00", -1, "zone"},
	{"2026-11-27T14:03:07", -1, "whose clock?"},
	{"2026-11-27T14:03Z", -1, "no second"},
	{"2026-11-27", -1, "no time"},
	{"2026-11-27T14:03:07.Z", -1, "no fraction behind the point"},
	{"2026-11-27T14:03:07Zz", -1, "something behind"},
	{"26-11-27T14:03:07Z", -1, "year"},
	{"-1", -1, "before 1970"},
	{"1e9", -1, "no decimal"},
	{"5.", -1, "no fraction"},
	{"", -1, "nothing"},
	{"now", -1, "a word"},
};

static void texts_are_times_or_not(void **state)
{
	for (unsigned i = 0; i < sizeof times / sizeof times[0]; i++) {
		int64_t ms = -2;

		if (when_read(times[i].text, &ms) != (times[i].ms >= 0) || (times[i].ms >= 0 && ms != times[i].ms))
			fail_msg("\"%s\" (%s): %lld", times[i].text, times[i].why, (long long)ms);
	}
}

static void what_is_written_is_read_again(void **state)
{
	for (int64_t ms = 0; ms < 253402300800000; ms += 86399999999 + ms / 1000) {
		char text[WHEN_SIZE];
		int64_t again;

		when_write(ms, text);
		assert_true(when_read(text, &again));
		assert_true(ms == again);
	}
	char text[WHEN_SIZE];

	when_write(1795788187000, text);
	assert_string_equal(text, "2026-11-27T14:03:07Z");
	when_write(1795788187050, text);
	assert_string_equal(text, "2026-11-27T14:03:07.050Z");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(texts_are_times_or_not),
		cmocka_unit_test(what_is_written_is_read_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
