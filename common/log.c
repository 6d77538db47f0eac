#include "common/log.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static struct {
	const char *program;
	bool journal;
	bool debug;
} log_to = {.program = "corenat"};

void log_open(const char *program)
{
	log_to.program = program;
	log_to.journal = getenv("JOURNAL_STREAM") != NULL;
	log_to.debug = getenv("CORENAT_DEBUG") != NULL;
}

void log_line(enum log_level level, const char *format, ...)
{
	char line[1024];
	va_list args;
	int n;

	if (level == LOG_LEVEL_DEBUG && !log_to.debug)
		return;
	if (log_to.journal)
		n = snprintf(line, sizeof line, "<%d>", level);
	else
		n = snprintf(line, sizeof line, "%s: %s", log_to.program,
			level <= LOG_LEVEL_ERROR     ? "error: "
			: level == LOG_LEVEL_WARNING ? "warning: "
						     : "");
	va_start(args, format);
	int m = vsnprintf(line + n, sizeof line - (size_t)n - 1, format, args);
	va_end(args);
	n += m < 0 ? 0 : m;
	if ((size_t)n > sizeof line - 2)
		n = (int)sizeof line - 2;
	line[n++] = '\n';
	(void)!write(STDERR_FILENO, line, (size_t)n); /* one write: lines of processes do not mix */
}
