/* A plain AF_XDP forwarder: the engine's I/O without the NAT, as the reference of `make bench`.
 *
 * Everything the XDP program gives it on one side goes out on the other with new Ethernet addresses, and nothing
 * else changed. One process per queue, as with engines. Prints one line when its time is over or on SIGTERM. */
#include "common/args.h"
#include "common/clock.h"
#include "common/log.h"
#include "pe/io_afxdp.h"

#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MAC_BYTES = 6, WAIT_MS = 100, TURNS_BEFORE_WAIT = 64 };

static volatile sig_atomic_t stopped;

static void stop(int signal_number)
{
	stopped = 1;
}

struct forwarder {
	struct io *io;
	uint8_t header[N_SIDES][2 * MAC_BYTES]; /* destination and source, by the side sent on */
	uint64_t forwarded[N_SIDES];            /* by the side sent on */
	uint64_t tx_full, bytes, bursts, waits;
};

/* ---- forwarding ---- */

static unsigned forward_from(struct forwarder *f, enum side from)
{
	enum side to = from == SIDE_INSIDE ? SIDE_OUTSIDE : SIDE_INSIDE;
	struct packet burst[BURST_MAX];
	unsigned n = f->io->ops->rx(f->io, from, burst, BURST_MAX);
	unsigned sent;

	if (!n)
		return 0;
	for (unsigned i = 0; i < n; i++) {
		memcpy(burst[i].data, f->header[to], sizeof f->header[to]);
		f->bytes += burst[i].len;
	}
	sent = f->io->ops->tx(f->io, to, burst, n);
	f->io->ops->drop(f->io, burst + sent, n - sent);
	f->forwarded[to] += sent;
	f->tx_full += n - sent;
	f->bursts++;
	return n;
}

static void forward_until(struct forwarder *f, mono_t end)
{
	unsigned idle = 0;

	while (!stopped) {
		unsigned n = forward_from(f, SIDE_INSIDE) + forward_from(f, SIDE_OUTSIDE);

		f->io->ops->flush(f->io);
		idle = n ? 0 : idle + 1;
		if (mono_due(mono_now(), end))
			break;
		if (idle < TURNS_BEFORE_WAIT)
			continue;
		f->io->ops->wait(f->io, WAIT_MS);
		f->waits++;
	}
}

/* ---- set-up ---- */

static bool parse_mac(uint8_t out[MAC_BYTES], const char *text)
{
	char end;

	return sscanf(text, "%hhx:%hhx:%hhx:%hhx:%hhx:%hhx%c", &out[0], &out[1], &out[2], &out[3], &out[4], &out[5],
		       &end) == MAC_BYTES;
}

static bool own_mac(uint8_t out[MAC_BYTES], const char *interface)
{
	struct ifreq request = {0};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	bool good;

	snprintf(request.ifr_name, sizeof request.ifr_name, "%s", interface);
	good = fd >= 0 && !ioctl(fd, SIOCGIFHWADDR, &request);
	if (fd >= 0)
		close(fd);
	memcpy(out, request.ifr_hwaddr.sa_data, MAC_BYTES);
	return good;
}

static bool parse_prefix(struct prefix *out, const char *text)
{
	char addr[INET_ADDRSTRLEN], end;
	unsigned len;
	struct in_addr in;

	if (sscanf(text, "%15[0-9.]/%u%c", addr, &len, &end) != 2 || len > 32 || inet_pton(AF_INET, addr, &in) != 1)
		return false;
	out->len = (uint8_t)len;
	out->addr = len ? ntohl(in.s_addr) & ~0u << (32 - len) : 0;
	return true;
}

static void pin_to(unsigned cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	if (sched_setaffinity(0, sizeof set, &set))
		log_warning("cannot run on CPU %u alone", cpu);
}

static void report(struct forwarder *f, double seconds)
{
	struct io_stats stats;
	uint64_t packets = f->forwarded[SIDE_INSIDE] + f->forwarded[SIDE_OUTSIDE];

	f->io->ops->stats(f->io, &stats);
	printf("packets=%lu seconds=%.2f pps=%.0f bytes=%lu to_outside=%lu to_inside=%lu "
	       "tx_full=%lu "
	       "rx_ring_drops=%lu no_engine=%lu to_kernel=%lu kicks=%lu bursts=%lu waits=%lu\n",
		packets, seconds, (double)packets / seconds, f->bytes, f->forwarded[SIDE_OUTSIDE],
		f->forwarded[SIDE_INSIDE], f->tx_full, stats.rx_ring_drops, stats.xdp_no_engine, stats.xdp_to_kernel,
		stats.kicks, f->bursts, f->waits);
}

struct options {
	const char *interface[N_SIDES], *mac[N_SIDES], *subscribers, *pool, *bpffs, *mode;
	unsigned queue, cpu, ring_size, seconds;
};

static int open_io(struct forwarder *f, const struct options *o)
{
	struct io_afxdp_params params = {.interface = {o->interface[0], o->interface[1]},
		.bpffs = o->bpffs,
		.queue = o->queue,
		.ring_size = o->ring_size};
	struct prefix subscribers, pool;
	struct address_range range;
	struct snapshot_prefix inside = {0};
	struct xdp_rules rules = {.subscribers = &inside, .n_subscribers = 1, .pool = &range, .n_pool = 1};

	for (int s = 0; s < N_SIDES; s++) {
		if (!parse_mac(f->header[s], o->mac[s]) || !own_mac(f->header[s] + MAC_BYTES, o->interface[s]))
			return log_error("no such MAC or interface: %s %s", o->mac[s], o->interface[s]), 2;
	}
	if (!parse_prefix(&subscribers, o->subscribers) || !parse_prefix(&pool, o->pool))
		return log_error("prefixes look like 192.0.2.0/24"), 2;
	inside.addr = subscribers.addr;
	inside.len = subscribers.len;
	range.first = pool.addr;
	range.last = pool.addr | (uint32_t)(0xffffffffull >> pool.len);
	params.mode = o->mode && !strcmp(o->mode, "generic") ? XDP_MODE_GENERIC : XDP_MODE_AUTO;
	f->io = io_afxdp_open(&params);
	if (!f->io)
		return 1;
	return xdp_sync(f->io, &rules) ? 1 : 0;
}

int main(int argc, char **argv)
{
	static struct options o = {.ring_size = 2048, .seconds = 10, .cpu = ENGINE_MAX};
	static struct forwarder f;
	const struct arg args[] = {
		{"inside", "IF", "inside interface", .text = &o.interface[SIDE_INSIDE], .required = true},
		{"outside", "IF", "outside interface", .text = &o.interface[SIDE_OUTSIDE], .required = true},
		{"inside-dst", "MAC", "neighbour on the inside", .text = &o.mac[SIDE_INSIDE], .required = true},
		{"outside-dst", "MAC", "neighbour on the outside", .text = &o.mac[SIDE_OUTSIDE], .required = true},
		{"subscribers", "PREFIX", "sources forwarded to the outside", .text = &o.subscribers, .required = true},
		{"pool", "PREFIX", "destinations forwarded to the inside", .text = &o.pool, .required = true},
		{"bpffs", "DIR", "where program and maps are pinned", .text = &o.bpffs, .required = true},
		{"mode", "MODE", "auto or generic", .text = &o.mode},
		{"queue", "N", "queue of both interfaces", .number = &o.queue, .max = ENGINE_MAX - 1},
		{"cpu", "N", "run on this CPU alone", .number = &o.cpu, .max = ENGINE_MAX - 1},
		{"ring-size", "N", "descriptors, a power of two", .number = &o.ring_size, .min = 64, .max = 32768},
		{"seconds", "N", "how long", .number = &o.seconds, .min = 1, .max = 86400},
		{0},
	};
	int status = args_parse(argc, argv, "bench_plain_forward", "an AF_XDP forwarder", args, NULL);
	mono_t start;

	if (status != ARGS_RUN)
		return status;
	log_open("plain_forward");
	signal(SIGTERM, stop);
	signal(SIGINT, stop);
	if (o.cpu < ENGINE_MAX)
		pin_to(o.cpu);
	status = open_io(&f, &o);
	if (status)
		return status;
	log_notice("queue %u: inside %s; outside %s", o.queue, io_afxdp_describe(f.io, SIDE_INSIDE),
		io_afxdp_describe(f.io, SIDE_OUTSIDE));
	start = mono_now();
	forward_until(&f, mono_after(start, span_s(o.seconds)));
	report(&f, (double)mono_since(mono_now(), start).ns / 1e9);
	f.io->ops->close(f.io);
	return 0;
}
