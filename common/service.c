#include "common/service.h"

#include "common/log.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

/* A signal handler has no argument to carry a context: this one is static. */
static struct {
	_Atomic bool stop;
	int stop_fd;
	span_t alive_every; /* zero: no watchdog */
	mono_t alive_next;
} service = {.stop_fd = -1};

bool service_stop_asked(void)
{
	return atomic_load_explicit(&service.stop, memory_order_relaxed);
}

int service_stop_fd(void)
{
	return service.stop_fd;
}

/* Async-signal-safe. The descriptor is never read, so it stays readable for every poller. */
void service_stop(void)
{
	uint64_t one = 1;
	int saved = errno;

	atomic_store_explicit(&service.stop, true, memory_order_relaxed);
	(void)!write(service.stop_fd, &one, sizeof one);
	errno = saved;
}

static void on_stop_signal(int sig)
{
	(void)sig;
	service_stop();
}

int service_open(const char *program)
{
	struct sigaction stop = {.sa_handler = on_stop_signal};
	struct sigaction ignore = {.sa_handler = SIG_IGN};
	uint64_t watchdog_us = 0;

	log_open(program);
	service.stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (service.stop_fd < 0)
		return -errno;
	/* No SA_RESTART: a blocking call returns EINTR and its loop sees the flag. */
	sigaction(SIGTERM, &stop, NULL);
	sigaction(SIGINT, &stop, NULL);
	sigaction(SIGPIPE, &ignore, NULL);
	if (sd_watchdog_enabled(0, &watchdog_us) > 0)
		service.alive_every = span_ns(watchdog_us * 1000 / 2);
	return 0;
}

void service_ready(const char *status)
{
	log_notice("%s", status);
	sd_notifyf(0, "READY=1\nSTATUS=%s", status);
}

void service_alive(mono_t now)
{
	if (service.alive_every.ns == 0 || !mono_due(now, service.alive_next))
		return;
	service.alive_next = mono_after(now, service.alive_every);
	sd_notify(0, "WATCHDOG=1");
}

void service_close(void)
{
	sd_notify(0, "STOPPING=1");
	/* The descriptor stays open until exit: a signal may still come and write to it. */
}
