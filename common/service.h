/* service: the life of a long-running program: asked to stop, ready, alive.
 *
 * What       SIGTERM and SIGINT become a flag that a packet loop can read every turn and a file descriptor that a poll
 *            loop can wait for; SIGPIPE is ignored; systemd learns ready, stopping and watchdog.
 * Units      times are mono_t.
 * Ownership  one per process, kept inside; the stop descriptor belongs to the service, only poll it.
 * Calls      open and close: main thread, open before any other thread. The rest: any thread; alive by one thread.
 *            Only alive (once per half watchdog interval), ready and close make a system call.
 * Errors     open: -errno. Telling systemd is best effort: without systemd nothing happens.
 * Use        service_open("corenat-pe"); ...; service_ready("engine 0 forwards");
 *            while (!service_stop_asked()) { turn(); service_alive(now); }
 *            service_close();
 */
#ifndef CORENAT_SERVICE_H
#define CORENAT_SERVICE_H

#include "common/units.h"

/* Opens the log under this name and catches the signals. */
int service_open(const char *program);

/* READY=1 with one sentence about what now works, also written to the log. */
void service_ready(const char *status);

/* True once SIGTERM or SIGINT arrived: one load, no system call. */
bool service_stop_asked(void);

/* The same as a descriptor for poll: readable from then on. -1 before open. */
int service_stop_fd(void);

/* Asks this process itself to stop, as SIGTERM would: for a thread that cannot go on. */
void service_stop(void);

/* Tells the watchdog that the loop turns. Call it as often as you like. */
void service_alive(mono_t now);

/* STOPPING=1. Call it when the loop has ended, before the teardown. */
void service_close(void);

#endif
