#include "mgmtd/when.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

enum { MS = 1000, MINUTE_S = 60, HOUR_S = 3600 };
#define TIME_MAX_S 253402300799 /* the end of the year 9999 */

/* Exactly `n` digits; *at moves behind them. */
static bool digits(const char **at, int n, int *out)
{
	*out = 0;
	for (int i = 0; i < n; i++, ++*at) {
		if (**at < '0' || **at > '9')
			return false;
		*out = 10 * *out + (**at - '0');
	}
	return true;
}

static bool skip(const char **at, char c)
{
	if (**at != c)
		return false;
	++*at;
	return true;
}

/* A point and one digit or more: the first three count. */
static bool fraction(const char **at, int *ms)
{
	int scale = 100;

	*ms = 0;
	if (!skip(at, '.'))
		return true;
	if (**at < '0' || **at > '9')
		return false;
	for (; **at >= '0' && **at <= '9'; ++*at, scale /= 10)
		*ms += scale * (**at - '0');
	return true;
}

static bool read_seconds(const char *at, int64_t *out)
{
	int64_t s = 0;
	int ms;

	if (*at < '0' || *at > '9')
		return false;
	for (; *at >= '0' && *at <= '9'; at++) {
		s = 10 * s + (*at - '0');
		if (s > TIME_MAX_S)
			return false;
	}
	if (!fraction(&at, &ms) || *at)
		return false;
	*out = s * MS + ms;
	return true;
}

/* "Z", or hours and minutes to the east or west. In a URL a plus sign is a space. */
static bool zone(const char **at, int *east_s)
{
	int hours, minutes, sign = **at == '-' ? -1 : 1;

	*east_s = 0;
	if (skip(at, 'Z') || skip(at, 'z'))
		return true;
	if (!skip(at, '+') && !skip(at, '-') && !skip(at, ' '))
		return false;
	if (!digits(at, 2, &hours))
		return false;
	skip(at, ':');
	if (!digits(at, 2, &minutes) || hours > 23 || minutes > 59)
		return false;
	*east_s = sign * (hours * HOUR_S + minutes * MINUTE_S);
	return true;
}

static bool read_date(const char **at, struct tm *t)
{
	return digits(at, 4, &t->tm_year) && skip(at, '-') && digits(at, 2, &t->tm_mon) && skip(at, '-') &&
	       digits(at, 2, &t->tm_mday) && (skip(at, 'T') || skip(at, 't') || skip(at, ' ')) &&
	       digits(at, 2, &t->tm_hour) && skip(at, ':') && digits(at, 2, &t->tm_min) && skip(at, ':') &&
	       digits(at, 2, &t->tm_sec);
}

/* timegm takes the 31st of February for the 3rd of March: then it was none. A leap second is the second after. */
static bool is_date(const struct tm *t, int64_t *s)
{
	struct tm copy = {.tm_year = t->tm_year - 1900,
		.tm_mon = t->tm_mon - 1,
		.tm_mday = t->tm_mday,
		.tm_hour = t->tm_hour,
		.tm_min = t->tm_min,
		.tm_sec = t->tm_sec > 59 ? 59 : t->tm_sec};

	if (t->tm_hour > 23 || t->tm_min > 59 || t->tm_sec > 60)
		return false;
	*s = timegm(&copy) + (t->tm_sec > 59);
	return copy.tm_mday == t->tm_mday && copy.tm_mon == t->tm_mon - 1;
}

bool when_read(const char *text, int64_t *ms)
{
	struct tm t = {0};
	const char *at = text;
	int part, east_s;
	int64_t s;

	if (read_seconds(text, ms))
		return true;
	if (!read_date(&at, &t) || !fraction(&at, &part) || !zone(&at, &east_s) || *at || !is_date(&t, &s))
		return false;
	s -= east_s;
	if (s < 0 || s > TIME_MAX_S)
		return false;
	*ms = s * MS + part;
	return true;
}

void when_write(int64_t ms, char out[WHEN_SIZE])
{
	time_t s = ms / MS;
	struct tm t;
	size_t n;

	gmtime_r(&s, &t);
	n = strftime(out, WHEN_SIZE, "%Y-%m-%dT%H:%M:%S", &t);
	if (ms % MS)
		n += (size_t)snprintf(out + n, WHEN_SIZE - n, ".%03d", (int)(ms % MS));
	snprintf(out + n, WHEN_SIZE - n, "Z");
}
