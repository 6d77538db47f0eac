#include "tests/unit/afxdp_net.h"

#include <errno.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static const char *const far_end[N_SIDES] = {"sub0", "net0"};

/* ---- namespaces and links ---- */

bool afxdp_net_enter(struct afxdp_net *n)
{
	snprintf(n->directory, sizeof n->directory, "/tmp/corenat-XXXXXX");
	if (geteuid() || unshare(CLONE_NEWNET | CLONE_NEWNS) || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
		!mkdtemp(n->directory))
		return false;
	snprintf(n->bpffs, sizeof n->bpffs, "%s/a/bpf", n->directory);
	/* No neighbour discovery of the kernel's own among the packets that are counted. */
	return !system("sysctl -qw net.ipv6.conf.default.disable_ipv6=1 && ip link set lo up");
}

void afxdp_net_leave(struct afxdp_net *n)
{
	char path[64];

	umount2(n->bpffs, MNT_DETACH);
	rmdir(n->bpffs);
	snprintf(path, sizeof path, "%s/a", n->directory);
	rmdir(path);
	rmdir(n->directory);
}

static int open_raw(const char *interface)
{
	struct sockaddr_ll at = {.sll_family = AF_PACKET,
		.sll_protocol = htons(ETH_P_ALL),
		.sll_ifindex = (int)if_nametoindex(interface)};
	struct timeval limit = {.tv_sec = 1};
	int one = 1, fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	/* Without a queueing discipline the sending CPU chooses the queue. */
	assert_int_equal(setsockopt(fd, SOL_PACKET, PACKET_QDISC_BYPASS, &one, sizeof one), 0);
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit), 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof at), 0);
	return fd;
}

void afxdp_net_open(struct afxdp_net *n)
{
	static const char commands[] =
		"set -e; for p in 'in0 sub0' 'out0 net0'; do set -- $p;"
		" ip link add $1 numrxqueues 2 numtxqueues 2 type veth peer name $2 numrxqueues 2 "
		"numtxqueues 2;"
		" for i in $1 $2; do ip link set $i up arp off; done; done";

	assert_int_equal(system(commands), 0);
	for (int s = 0; s < N_SIDES; s++)
		n->raw[s] = open_raw(far_end[s]);
	assert_true(afxdp_net_choose_queue(0));
}

void afxdp_net_close(struct afxdp_net *n)
{
	for (int s = 0; s < N_SIDES; s++)
		close(n->raw[s]);
	assert_int_equal(system("ip link del in0 && ip link del out0"), 0);
}

/* ---- sending and receiving ---- */

bool afxdp_net_choose_queue(unsigned queue)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(queue, &set);
	return !sched_setaffinity(0, sizeof set, &set);
}

void afxdp_net_send(struct afxdp_net *n, enum side side, const struct test_frame *f)
{
	while (send(n->raw[side], f->bytes, f->len, 0) != (ssize_t)f->len)
		assert_int_equal(errno, ENOBUFS);
}

static ssize_t receive(int fd, uint8_t *buffer, size_t size, int flags)
{
	struct sockaddr_ll from;
	socklen_t len;
	ssize_t got;

	do {
		len = sizeof from;
		got = recvfrom(fd, buffer, size, flags, (struct sockaddr *)&from, &len);
	} while (got >= 0 && from.sll_pkttype == PACKET_OUTGOING); /* what we sent ourselves */
	return got;
}

bool afxdp_net_receive(struct afxdp_net *n, enum side side, const struct test_frame *f)
{
	uint8_t buffer[2048];
	ssize_t got = receive(n->raw[side], buffer, sizeof buffer, 0);

	return got == (ssize_t)f->len && !memcmp(buffer, f->bytes, f->len);
}

void afxdp_net_discard(struct afxdp_net *n, enum side side)
{
	uint8_t buffer[2048];

	while (receive(n->raw[side], buffer, sizeof buffer, MSG_DONTWAIT) >= 0)
		;
}

/* ---- frames ---- */

static void put16(struct test_frame *f, uint16_t v)
{
	f->bytes[f->len++] = (uint8_t)(v >> 8);
	f->bytes[f->len++] = (uint8_t)v;
}

static void put32(struct test_frame *f, uint32_t v)
{
	put16(f, (uint16_t)(v >> 16));
	put16(f, (uint16_t)v);
}

static struct test_frame ethernet(const char *what)
{
	struct test_frame f = {.what = what, .len = 12};

	memcpy(f.bytes, "\x02\x00\x00\x00\x00\x01\x02\x00\x00\x00\x00\x02", 12);
	return f;
}

static void put_ipv4(struct test_frame *f, unsigned words, uint16_t fragment, uint32_t src, uint32_t dst)
{
	uint32_t start;

	put16(f, ETH_P_IP);
	start = f->len;
	put16(f, (uint16_t)(0x4000 | words << 8));
	put16(f, (uint16_t)(4 * words + 8 + 16));
	put16(f, 1);
	put16(f, fragment);
	put16(f, 64 << 8 | 17);
	put16(f, 0);
	put32(f, src);
	put32(f, dst);
	f->len = start + 4 * words; /* options, if any, are "end of list" */
	put16(f, 5000);
	put16(f, 53);
	put16(f, 24);
	put16(f, 0);
	f->len += 16;
}

struct test_frame frame_ipv4(const char *what, uint32_t src, uint32_t dst)
{
	return frame_tagged(what, 0, src, dst);
}

struct test_frame frame_fragment(const char *what, uint32_t src, uint32_t dst)
{
	struct test_frame f = ethernet(what);

	put_ipv4(&f, 5, 185, src, dst);
	return f;
}

struct test_frame frame_options(const char *what, uint32_t src, uint32_t dst)
{
	struct test_frame f = ethernet(what);

	put_ipv4(&f, 7, 0, src, dst);
	return f;
}

struct test_frame frame_group(const char *what, uint32_t src, uint32_t dst)
{
	struct test_frame f = frame_ipv4(what, src, dst);

	memset(f.bytes, 0xff, 6);
	return f;
}

struct test_frame frame_cut(const char *what, uint32_t len, uint32_t src, uint32_t dst)
{
	struct test_frame f = frame_ipv4(what, src, dst);

	f.len = len;
	return f;
}

struct test_frame frame_tagged(const char *what, unsigned tags, uint32_t src, uint32_t dst)
{
	struct test_frame f = ethernet(what);

	for (unsigned i = 0; i < tags; i++) {
		put16(&f, i + 1 < tags ? ETH_P_8021AD : ETH_P_8021Q);
		put16(&f, (uint16_t)(100 + i));
	}
	put_ipv4(&f, 5, 0, src, dst);
	return f;
}

struct test_frame frame_arp(const char *what)
{
	struct test_frame f = ethernet(what);

	memset(f.bytes, 0xff, 6);
	put16(&f, ETH_P_ARP);
	f.len += 28;
	return f;
}
