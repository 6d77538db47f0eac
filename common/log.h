/* log: one line per event on standard error, for the journal and for people.
 *
 * What       levels of syslog; the `<N>` prefix when systemd reads (JOURNAL_STREAM), the program's name else.
 * Units      none.
 * Ownership  the program's name must outlive the process.
 * Calls      slow paths only, any thread; never the NAT core, never per packet.
 * Errors     none: a log line that cannot be written is lost.
 * Use        log_open("corenat-pe"); log_notice("engine %u: ready", n);
 */
#ifndef CORENAT_LOG_H
#define CORENAT_LOG_H

enum log_level { LOG_LEVEL_ERROR = 3, LOG_LEVEL_WARNING = 4, LOG_LEVEL_NOTICE = 5, LOG_LEVEL_DEBUG = 7 };

void log_open(const char *program);
void log_line(enum log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

#define log_error(...) log_line(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warning(...) log_line(LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_notice(...) log_line(LOG_LEVEL_NOTICE, __VA_ARGS__)
#define log_debug(...) log_line(LOG_LEVEL_DEBUG, __VA_ARGS__) /* only with CORENAT_DEBUG=1 */

#endif
