#include "common/log.h"
#include "pe/io_afxdp_internal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

/* How long a call may look for packets. Calls never sleep (MSG_DONTWAIT), so any time but none means one round. */
enum { ROUND_US = 20 };

/* A number of the interface in sysfs; 0 when it cannot be read. */
static long read_setting(const char *interface, const char *name)
{
	char path[128];
	long value = 0;

	snprintf(path, sizeof path, "/sys/class/net/%s/%s", interface, name);
	FILE *f = fopen(path, "re");
	if (f && fscanf(f, "%ld", &value) != 1)
		value = 0;
	if (f)
		fclose(f);
	return value;
}

/* Both are needed for interrupts to stay off while the engine polls; else it and the interrupts take turns at the same work. */
static bool defers_interrupts(const char *interface)
{
	return read_setting(interface, "napi_defer_hard_irqs") > 0 && read_setting(interface, "gro_flush_timeout") > 0;
}

static bool wanted(const struct port *p, const char *interface, enum busy_poll how)
{
	return how == BUSY_POLL_ON || (how == BUSY_POLL_AUTO && p->zero_copy && defers_interrupts(interface));
}

static int set(int fd, int option, int value)
{
	return setsockopt(fd, SOL_SOCKET, option, &value, sizeof value) ? -errno : 0;
}

/* Since Linux 5.11, with CAP_NET_ADMIN. */
static int prefer_polling(int fd, unsigned budget)
{
	int err = set(fd, SO_PREFER_BUSY_POLL, 1);

	if (!err)
		err = set(fd, SO_BUSY_POLL, ROUND_US);
	if (!err && budget)
		err = set(fd, SO_BUSY_POLL_BUDGET, (int)budget);
	if (err)
		set(fd, SO_PREFER_BUSY_POLL, 0);
	return err;
}

static void tell(struct port *p, unsigned budget)
{
	size_t used = strlen(p->text);

	snprintf(p->text + used, sizeof p->text - used, ", busy-poll %u", budget);
}

int ports_poll(struct io_afxdp *a, const struct io_afxdp_params *params)
{
	for (int s = 0; s < N_SIDES; s++) {
		const char *interface = params->interface[s];
		struct port *p = &a->port[s];

		if (!wanted(p, interface, params->busy_poll))
			continue;
		int err = prefer_polling(p->fd, params->busy_poll_budget);
		p->busy_poll = !err;
		if (!err) {
			tell(p, params->busy_poll_budget);
		} else if (params->busy_poll == BUSY_POLL_ON) {
			log_error("%s: engine.busy_poll is \"on\" but the kernel refuses: %s (needs Linux 5.11 and "
				  "CAP_NET_ADMIN); say \"auto\" or \"off\"",
				interface, strerror(-err));
			return err;
		} else {
			log_warning("%s: not polled by the engine, the kernel refuses: %s", interface, strerror(-err));
		}
	}
	return 0;
}
