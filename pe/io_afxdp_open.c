#include "common/clock.h"
#include "common/log.h"
#include "pe/io_afxdp_internal.h"

#include <assert.h>
#include <errno.h>
#include <linux/ethtool.h>
#include <linux/if_xdp.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
	HUGE_PAGE_SIZE = 2 << 20,
	FRAME_OVERHEAD = 14 + 2 * 4, /* Ethernet and two VLAN tags on top of the MTU */
	BUSY_RETRY_MS = 20,
	BUSY_LIMIT_S = 2,
	REFILL_BATCH = 64, /* frames a fill ring must lack before it is topped up */
#ifndef XDP_MAX_TX_SKB_BUDGET
	XDP_MAX_TX_SKB_BUDGET = 9, /* if_xdp.h since Linux 6.17 */
#endif
};

/* ---- memory ---- */

/* Fill and transmit rings of both sides full, and what the engine holds. */
static uint32_t frame_count(uint32_t ring_size)
{
	return 2 * N_SIDES * ring_size + IO_HOLD_MAX + BURST_MAX;
}

static int map_area(struct io_afxdp *a)
{
	const int prot = PROT_READ | PROT_WRITE, flags = MAP_PRIVATE | MAP_ANONYMOUS;
	size_t size = (size_t)a->n_frames * FRAME_SIZE;
	void *at;

	size = (size + HUGE_PAGE_SIZE - 1) & ~(size_t)(HUGE_PAGE_SIZE - 1);
	at = mmap(NULL, size, prot, flags | MAP_HUGETLB, -1, 0);
	if (at == MAP_FAILED) {
		at = mmap(NULL, size, prot, flags, -1, 0);
		if (at == MAP_FAILED)
			return -errno;
		madvise(at, size, MADV_HUGEPAGE);
	}
	a->area = at;
	a->area_size = size;
	return 0;
}

static int make_frames(struct io_afxdp *a)
{
	int err;

	a->n_frames = frame_count(a->ring_size);
	a->free = calloc(a->n_frames, sizeof *a->free);
	if (!a->free)
		return -ENOMEM;
#ifdef FRAMES_CHECKED
	a->place = calloc(a->n_frames, sizeof *a->place);
	if (!a->place)
		return -ENOMEM;
#endif
	err = map_area(a);
	if (err)
		return err;
	for (uint32_t i = 0; i < a->n_frames; i++) /* the lowest frame on top */
		a->free[i] = (uint64_t)(a->n_frames - 1 - i) * FRAME_SIZE;
	a->n_free = a->n_frames;
	return 0;
}

/* ---- sockets ---- */

static void close_sockets(struct io_afxdp *a)
{
	for (int s = 0; s < N_SIDES; s++) {
		if (a->port[s].socket)
			xsk_socket__delete(a->port[s].socket);
		memset(&a->port[s], 0, sizeof a->port[s]);
	}
	if (a->umem)
		xsk_umem__delete(a->umem);
	a->umem = NULL;
}

static int open_socket(struct io_afxdp *a, enum side s, const char *interface, uint16_t bind_flags)
{
	struct port *p = &a->port[s];
	struct xsk_socket_config config = {
		.rx_size = a->ring_size,
		.tx_size = a->ring_size,
		.libxdp_flags = XSK_LIBXDP_FLAGS__INHIBIT_PROG_LOAD,
		.bind_flags = bind_flags,
	};
	int err = xsk_socket__create_shared(
		&p->socket, interface, a->queue, a->umem, &p->rx, &p->tx, &p->fill, &p->completion, &config);

	if (err)
		return err;
	p->fd = xsk_socket__fd(p->socket);
	return 0;
}

/* The second socket takes its mode from the first, so both get it or neither does. */
static int open_sockets(struct io_afxdp *a, const struct io_afxdp_params *params, uint16_t mode, enum side *failed)
{
	struct port *first = &a->port[SIDE_INSIDE];
	struct xsk_umem_config config = {
		.fill_size = a->ring_size,
		.comp_size = a->ring_size,
		.frame_size = FRAME_SIZE,
	};
	int err = xsk_umem__create(&a->umem, a->area, a->area_size, &first->fill, &first->completion, &config);

	*failed = SIDE_INSIDE;
	for (int s = 0; s < N_SIDES && !err; s++) {
		*failed = (enum side)s;
		err = open_socket(a, *failed, params->interface[s], mode | XDP_USE_NEED_WAKEUP);
	}
	if (err)
		close_sockets(a);
	return err;
}

/* EBUSY for a while is a predecessor whose sockets the kernel still takes apart. */
static int open_sockets_patiently(
	struct io_afxdp *a, const struct io_afxdp_params *params, uint16_t mode, enum side *failed)
{
	const struct timespec pause = {.tv_nsec = BUSY_RETRY_MS * 1000000L};
	mono_t limit = mono_after(mono_now(), span_s(BUSY_LIMIT_S));
	int err;

	while ((err = open_sockets(a, params, mode, failed)) == -EBUSY && !mono_due(mono_now(), limit))
		nanosleep(&pause, NULL);
	return err;
}

static const char *why_not(int err)
{
	switch (-err) {
	case EBUSY:
		return "another process has this queue";
	case EINVAL:
		return "does the interface have this queue? (ethtool -L sets how many)";
	case ENETDOWN:
		return "the interface is down";
	case EPERM:
		return "needs CAP_NET_RAW";
	case ENOBUFS:
		return "locked memory is limited (LimitMEMLOCK=infinity)";
	case EOPNOTSUPP:
		return "the driver cannot do this mode (engine.zero_copy = \"auto\" falls back to "
		       "copies)";
	default:
		return "AF_XDP refused";
	}
}

static int choose_mode(struct io_afxdp *a, const struct io_afxdp_params *params)
{
	bool native = xdp_is_native(a->xdp, SIDE_INSIDE) && xdp_is_native(a->xdp, SIDE_OUTSIDE);
	enum side failed = SIDE_INSIDE;
	int err = -EOPNOTSUPP;

	/* In generic mode the driver would never see our buffers. */
	if (params->zero_copy != ZERO_COPY_OFF && native)
		err = open_sockets_patiently(a, params, XDP_ZEROCOPY, &failed);
	if (err && err != -EBUSY && params->zero_copy != ZERO_COPY_ON)
		err = open_sockets_patiently(a, params, XDP_COPY, &failed);
	if (err)
		log_error("cannot open an AF_XDP socket on queue %u of %s: %s: %s", params->queue,
			params->interface[failed], strerror(-err), why_not(err));
	return err;
}

/* One sendto may take a whole ring, where the kernel lets us say so; and the socket's send buffer, which copy
 * mode charges for packets under way, is never the limit. */
static void widen(struct io_afxdp *a, const struct port *p)
{
	int budget = (int)a->ring_size, buffer = (int)a->ring_size * 2 * FRAME_SIZE;

	setsockopt(p->fd, SOL_XDP, XDP_MAX_TX_SKB_BUDGET, &budget, sizeof budget);
	setsockopt(p->fd, SOL_SOCKET, SO_SNDBUFFORCE, &buffer, sizeof buffer);
}

static void describe(struct io_afxdp *a, enum side s)
{
	struct port *p = &a->port[s];
	struct xdp_options options = {0};
	socklen_t size = sizeof options;

	p->zero_copy =
		!getsockopt(p->fd, SOL_XDP, XDP_OPTIONS, &options, &size) && (options.flags & XDP_OPTIONS_ZEROCOPY);
	snprintf(p->text, sizeof p->text, "%s, %s, need-wakeup", xdp_is_native(a->xdp, s) ? "native" : "generic",
		p->zero_copy ? "zero-copy" : "copy");
}

static void warn_of_mtu(const char *interface)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0); /* AF_XDP has no ioctl */
	struct ifreq request = {0};

	if (fd < 0)
		return;
	snprintf(request.ifr_name, sizeof request.ifr_name, "%s", interface);
	if (!ioctl(fd, SIOCGIFMTU, &request) && request.ifr_mtu + FRAME_OVERHEAD > FRAME_ROOM)
		log_warning("%s: MTU %d, but packets of more than %d bytes will be dropped "
			    "(rx_ring_drops)",
			interface, request.ifr_mtu, FRAME_ROOM - FRAME_OVERHEAD);
	close(fd);
}

/* A realm is told by the tag in the frame: an interface that takes tags off would make all subscribers untagged ones. With
 * realms that is refused; without, it is said, since realms may come while the engine runs. */
static int keep_tags(const char *interface, bool realms)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ethtool_value flags = {.cmd = ETHTOOL_GFLAGS};
	struct ifreq request = {.ifr_data = (char *)&flags};

	int err = 0;

	if (fd < 0)
		return -errno;
	snprintf(request.ifr_name, sizeof request.ifr_name, "%s", interface);
	if (!ioctl(fd, SIOCETHTOOL, &request) && (flags.data & ETH_FLAG_RXVLAN)) {
		flags.cmd = ETHTOOL_SFLAGS;
		flags.data &= ~(uint32_t)ETH_FLAG_RXVLAN;
		err = ioctl(fd, SIOCETHTOOL, &request) ? -errno : 0;
	}
	close(fd);
	if (err && realms)
		log_error(
			"%s: takes VLAN tags off (`ethtool -K %s rxvlan off` fails: %s), so its realms cannot be told; "
			"use another interface, or no realms",
			interface, interface, strerror(-err));
	else if (err)
		log_warning(
			"%s: takes VLAN tags off (`ethtool -K %s rxvlan off` fails: %s), so realms could not be told",
			interface, interface, strerror(-err));
	return realms ? err : 0;
}

/* From here on packets come: the rings must be ready. */
static int enter(struct io_afxdp *a, const struct io_afxdp_params *params)
{
	for (int s = 0; s < N_SIDES; s++) {
		struct port *p = &a->port[s];

		widen(a, p);
		describe(a, (enum side)s);
		port_refill(a, p);
	}
	int err = ports_poll(a, params);
	if (err)
		return err;
	for (int s = 0; s < N_SIDES; s++) {
		err = xsk_socket__update_xskmap(a->port[s].socket, xdp_socket_map(a->xdp, (enum side)s));

		if (err) {
			log_error("cannot enter queue %u of %s into the XDP program's map: %s", a->queue,
				params->interface[s], strerror(-err));
			return err;
		}
		warn_of_mtu(params->interface[s]);
	}
	return 0;
}

/* ---- public ---- */

void io_afxdp_free(struct io_afxdp *a)
{
	if (!a)
		return;
	close_sockets(a); /* the kernel takes them out of the maps */
	if (a->area)
		munmap(a->area, a->area_size);
	xdp_close(a->xdp);
	free(a->place);
	free(a->free);
	free(a);
}

struct io *io_afxdp_open(const struct io_afxdp_params *params)
{
	const struct rlimit unlimited = {RLIM_INFINITY, RLIM_INFINITY};
	const struct xdp_params xdp = {
		.interface = {params->interface[SIDE_INSIDE], params->interface[SIDE_OUTSIDE]},
		.bpffs = params->bpffs,
		.mode = params->mode,
	};
	struct io_afxdp *a = calloc(1, sizeof *a);
	int err;

	if (!a)
		return NULL;
	assert(params->ring_size && !(params->ring_size & (params->ring_size - 1)));
	a->io.ops = &io_afxdp_ops;
	a->ring_size = params->ring_size;
	a->refill_batch = a->ring_size / 4 < REFILL_BATCH ? a->ring_size / 4 : REFILL_BATCH;
	a->queue = params->queue;
	setrlimit(RLIMIT_MEMLOCK, &unlimited); /* else charged against it; CAP_IPC_LOCK does as well */
	err = keep_tags(params->interface[SIDE_INSIDE], params->realms);
	if (!err) {
		err = make_frames(a);
		if (err)
			log_error("no memory for %u packet frames of %d bytes: %s", a->n_frames, FRAME_SIZE,
				strerror(-err));
	}
	if (!err)
		err = xdp_open(&a->xdp, &xdp);
	if (!err)
		err = choose_mode(a, params);
	if (!err)
		err = enter(a, params);
	if (err) {
		io_afxdp_free(a);
		return NULL;
	}
	return &a->io;
}
