/* AF_XDP for real: the XDP programs, the pins and the sockets on veth pairs in a network namespace of our own.
 *
 *   sub0 (raw socket: subscribers) ---- in0 [io under test] out0 ---- net0 (raw socket: the Internet)
 */
#include "pe/bpf/corenat_xdp.h"
#include "pe/io_afxdp.h"
#include "tests/unit/afxdp_net.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <dirent.h>
#include <errno.h>
#include <linux/capability.h>
#include <linux/if_xdp.h>
#include <net/if.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

enum { RING = 64, MANY = 4000 };

static const struct snapshot_prefix subscribers[] = {{0, 0x64400000, 10}}; /* 100.64.0.0/10 */
/* 100.64.0.1, 198.51.100.9; in the VLAN of frame_tagged 100.64.0.7 */
static const struct snapshot_prefix local[] = {{0, 0x64400001, 32}, {0, 0xc6336409, 32}, {100, 0x64400007, 32}};
static const struct address_range pool[] = {{0xc6336401, 0xc633640e}}; /* 198.51.100.1 - .14 */
static const struct snapshot_prefix bypass[] = {{0, 0x64400000, 24}};  /* 100.64.0.0/24 */
static const struct xdp_rules rules = {subscribers, 1, local, 3, pool, 1, bypass, 1};

static const uint32_t SUB = 0x64400002, OTHER = 0x0a000001, GATEWAY = 0x64400001, GATEWAY_100 = 0x64400007,
		      WEB = 0xcb007102, NAT = 0xc6336401, NAT_LOCAL = 0xc6336409;

static struct afxdp_net net;

static struct io_afxdp_params params_of(unsigned queue)
{
	return (struct io_afxdp_params){
		.interface = {"in0", "out0"}, .bpffs = net.bpffs, .queue = queue, .ring_size = RING};
}

static struct io *open_io(unsigned queue)
{
	struct io_afxdp_params p = params_of(queue);
	struct io *io = io_afxdp_open(&p);

	assert_non_null(io);
	assert_int_equal(xdp_sync(io, &rules), 0);
	return io;
}

static struct io_stats stats_now(struct io *io)
{
	struct io_stats s;

	usleep(1100 * 1000); /* they are read at most once a second */
	io->ops->stats(io, &s);
	return s;
}

/* Receives one packet; false when none comes for so many turns of 10 ms. */
static bool receive_within(struct io *io, enum side side, struct packet *p, int turns)
{
	for (int turn = 0; turn < turns; turn++) {
		if (io->ops->rx(io, side, p, 1))
			return true;
		io->ops->flush(io);
		io->ops->wait(io, 10);
	}
	return false;
}

static bool receive_one(struct io *io, enum side side, struct packet *p)
{
	return receive_within(io, side, p, 100);
}

static void send_expect(struct io *io, enum side from, const struct test_frame *f, bool engine)
{
	struct packet p;
	bool came;

	afxdp_net_send(&net, from, f);
	came = receive_within(io, from, &p, engine ? 100 : 10);
	if (came != engine)
		fail_msg("%s: %s", f->what, came ? "came to the engine" : "did not come to the engine");
	if (!came)
		return;
	assert_int_equal(p.len, f->len);
	assert_memory_equal(p.data, f->bytes, f->len);
	assert_int_equal(p.side, from);
	io->ops->drop(io, &p, 1);
	io->ops->flush(io);
}

/* ---- who gets what ---- */

static void test_inside_decides(void **state)
{
	struct io *io = open_io(0);
	const struct {
		struct test_frame f;
		bool engine;
	} rows[] = {
		{frame_ipv4("subscriber to the Internet", SUB, WEB), true},
		{frame_fragment("fragment of a subscriber", SUB, WEB), true},
		{frame_tagged("one VLAN tag", 1, SUB, WEB), true},
		{frame_tagged("two VLAN tags", 2, SUB, WEB), true},
		{frame_tagged("tagged, to the address of no tag", 1, SUB, GATEWAY), true},
		{frame_tagged("tagged, to the address of its VLAN", 1, SUB, GATEWAY_100), false},
		{frame_ipv4("not tagged, to an address of a VLAN", SUB, GATEWAY_100), true},
		{frame_tagged("three VLAN tags cannot be judged", 3, SUB, WEB), true},
		{frame_cut("IPv4 header cut short cannot be judged", 30, SUB, WEB), true},
		{frame_options("source route to the appliance", SUB, GATEWAY), true},
		{frame_ipv4("hairpin to a NAT address", SUB, NAT), true},
		{frame_ipv4("hairpin to a NAT address on an interface", SUB, NAT_LOCAL), true},
		{frame_ipv4("subscriber to the appliance", SUB, GATEWAY), false},
		{frame_ipv4("not a subscriber", OTHER, WEB), false},
		{frame_ipv4("to an IP group", SUB, 0xe0000001), false},
		{frame_ipv4("limited broadcast", SUB, 0xffffffff), false},
		{frame_group("to a MAC group", SUB, WEB), false},
		{frame_arp("ARP"), false},
	};
	uint64_t passed = 0;
	uint64_t before = stats_now(io).xdp_to_kernel;

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		send_expect(io, SIDE_INSIDE, &rows[i].f, rows[i].engine);
		passed += !rows[i].engine;
	}
	assert_int_equal(stats_now(io).xdp_to_kernel - before, passed);
	io->ops->close(io);
}

/* An interface that takes tags off would mix the realms. */
static void test_inside_keeps_tags(void **state)
{
	(void)state;
	assert_int_equal(system("ethtool -K in0 rxvlan on"), 0);
	struct io *io = open_io(0);

	assert_int_equal(system("ethtool -k in0 | grep -q '^rx-vlan-offload: off'"), 0);
	io->ops->close(io);
}

/* One that cannot be changed: as its owner sees it who may not. Exits with 1 when the engine's I/O opens. */
static void open_without_rights(const char *log)
{
	struct __user_cap_header_struct who = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct caps[_LINUX_CAPABILITY_U32S_3];
	struct io_afxdp_params p = params_of(0);

	p.realms = true;
	if (!freopen(log, "w", stderr) || syscall(SYS_capget, &who, caps))
		_exit(2);
	caps[0].effective &= ~(1u << CAP_NET_ADMIN);
	if (syscall(SYS_capset, &who, caps))
		_exit(2);
	_exit(io_afxdp_open(&p) != NULL);
}

static void test_realms_need_tags(void **state)
{
	char log[64], text[512] = "";
	int status = -1;

	(void)state;
	snprintf(log, sizeof log, "%s/log", net.directory);
	assert_int_equal(system("ethtool -K in0 rxvlan on"), 0);
	pid_t child = fork();
	assert_true(child >= 0);
	if (!child)
		open_without_rights(log);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	FILE *f = fopen(log, "r");
	assert_non_null(f);
	assert_true(fread(text, 1, sizeof text - 1, f) > 0);
	fclose(f);
	unlink(log);
	assert_non_null(strstr(text, "in0: takes VLAN tags off (`ethtool -K in0 rxvlan off` fails"));
	assert_non_null(strstr(text, "so its realms cannot be told"));
	assert_ptr_equal(strchr(text, '\n'), text + strlen(text) - 1); /* one sentence */
}

static void test_outside_decides(void **state)
{
	struct io *io = open_io(0);
	const struct {
		struct test_frame f;
		bool engine;
	} rows[] = {
		{frame_ipv4("reply", WEB, NAT), true},
		{frame_ipv4("last address of the pool", WEB, 0xc633640e), true},
		{frame_tagged("reply with a VLAN tag", 1, WEB, NAT), true},
		{frame_ipv4("NAT address that is on an interface", WEB, NAT_LOCAL), true},
		{frame_ipv4("past the pool", WEB, 0xc633640f), false},
		{frame_ipv4("before the pool", WEB, 0xc6336400), false},
		{frame_ipv4("subscriber's source on the outside", SUB, WEB), false},
		{frame_ipv4("exempt subscriber's own address", WEB, SUB), true},
		{frame_options("the same, source-routed", WEB, SUB), true},
		{frame_ipv4("past the exempt", WEB, 0x64400100), false},
		{frame_ipv4("the appliance's address among the exempt", WEB, GATEWAY), false},
		{frame_options("the same, source-routed", WEB, GATEWAY), true},
		{frame_cut("cut short", 30, WEB, NAT), false},
		{frame_arp("ARP"), false},
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		send_expect(io, SIDE_OUTSIDE, &rows[i].f, rows[i].engine);
	io->ops->close(io);
}

/* ---- frames ---- */

/* Forwards what comes on `from` to the other side until `want` went or nothing more comes. */
static unsigned forward(struct io *io, enum side from, unsigned want)
{
	enum side to = from == SIDE_INSIDE ? SIDE_OUTSIDE : SIDE_INSIDE;
	struct packet burst[BURST_MAX];
	unsigned done = 0;

	for (int idle = 0; idle < 20 && done < want; idle++) {
		unsigned n = io->ops->rx(io, from, burst, BURST_MAX);
		unsigned sent = io->ops->tx(io, to, burst, n);

		io->ops->drop(io, burst + sent, n - sent);
		io->ops->flush(io); /* asserts the balance of frames */
		done += sent;
		if (n)
			idle = 0;
		else
			io->ops->wait(io, 5);
	}
	return done;
}

static void test_forwards_both_ways(void **state)
{
	struct io *io = open_io(0);
	struct test_frame out = frame_ipv4("out", SUB, WEB), in = frame_ipv4("in", WEB, NAT);

	assert_non_null(strstr(io_afxdp_describe(io, SIDE_INSIDE), "native, copy, need-wakeup"));
	for (int i = 0; i < 200; i++) {
		afxdp_net_send(&net, SIDE_INSIDE, &out);
		assert_int_equal(forward(io, SIDE_INSIDE, 1), 1);
		assert_true(afxdp_net_receive(&net, SIDE_OUTSIDE, &out));
		afxdp_net_send(&net, SIDE_OUTSIDE, &in);
		assert_int_equal(forward(io, SIDE_OUTSIDE, 1), 1);
		assert_true(afxdp_net_receive(&net, SIDE_INSIDE, &in));
	}
	io->ops->close(io);
}

/* Far more packets than frames: each must come back, and what the rings could not take must be counted. */
static void test_overload_leaks_no_frame(void **state)
{
	struct io *io = open_io(0);
	struct test_frame f = frame_ipv4("flood", SUB, WEB);
	uint64_t dropped_before = stats_now(io).rx_ring_drops;
	uint64_t through = 0, dropped;

	for (int sent = 0; sent < MANY;) {
		for (int i = 0; i < 200; i++, sent++)
			afxdp_net_send(&net, SIDE_INSIDE, &f);
		through += forward(io, SIDE_INSIDE, 200);
		afxdp_net_discard(&net, SIDE_OUTSIDE);
	}
	dropped = stats_now(io).rx_ring_drops - dropped_before;
	assert_true(through >= MANY / 200 * (unsigned long)RING);
	assert_true(dropped > 0);
	assert_int_equal(through + dropped, MANY);
	send_expect(io, SIDE_INSIDE, &f, true);
	io->ops->close(io);
}

/* Polled by hand, nothing is lost or left behind, and what the engine says of itself tells so. */
static void test_busy_polling(void **state)
{
	struct io_afxdp_params p = params_of(0);
	struct test_frame out = frame_ipv4("polled", SUB, WEB);

	p.busy_poll = BUSY_POLL_ON;
	p.busy_poll_budget = 32;
	struct io *io = io_afxdp_open(&p);
	assert_non_null(io);
	assert_int_equal(xdp_sync(io, &rules), 0);
	for (int s = 0; s < N_SIDES; s++)
		assert_non_null(strstr(io_afxdp_describe(io, (enum side)s), "need-wakeup, busy-poll 32"));
	for (int i = 0; i < 200; i++) {
		afxdp_net_send(&net, SIDE_INSIDE, &out);
		assert_int_equal(forward(io, SIDE_INSIDE, 1), 1);
		assert_true(afxdp_net_receive(&net, SIDE_OUTSIDE, &out));
	}
	uint64_t before = stats_now(io).polls;
	struct packet none;
	assert_int_equal(io->ops->rx(io, SIDE_INSIDE, &none, 1), 0);
	io->ops->flush(io);
	assert_int_equal(stats_now(io).polls, before + 1);
	io->ops->close(io);
}

/* What is not asked for is not done: without zero-copy "auto" leaves the driver to its interrupts, and no call is made for
 * what nobody waits for. */
static void test_calls_are_few(void **state)
{
	struct io *io = open_io(0);
	struct test_frame out = frame_ipv4("burst", SUB, WEB);

	assert_null(strstr(io_afxdp_describe(io, SIDE_INSIDE), "busy-poll"));
	struct io_stats before = stats_now(io);
	for (int i = 0; i < RING / 2; i++)
		afxdp_net_send(&net, SIDE_INSIDE, &out);
	usleep(1000);
	assert_int_equal(forward(io, SIDE_INSIDE, RING / 2), RING / 2);
	for (int i = 0; i < 1000; i++)
		io->ops->flush(io);
	struct io_stats after = stats_now(io);
	assert_true(after.kicks > before.kicks);
	assert_in_range(after.kicks - before.kicks, 1, RING / 2 / 8); /* one for each burst, not for each packet */
	assert_int_equal(after.polls, before.polls);
	afxdp_net_discard(&net, SIDE_OUTSIDE);
	io->ops->close(io);
}

static void test_held_packets_do_not_starve(void **state)
{
	static struct packet held[IO_HOLD_MAX];
	struct io *io = open_io(0);
	struct test_frame f = frame_ipv4("held", SUB, WEB);

	for (int i = 0; i < IO_HOLD_MAX; i++) {
		afxdp_net_send(&net, SIDE_INSIDE, &f);
		assert_true(receive_one(io, SIDE_INSIDE, &held[i]));
		io->ops->flush(io);
	}
	send_expect(io, SIDE_INSIDE, &f, true);
	io->ops->drop(io, held, IO_HOLD_MAX);
	io->ops->flush(io);
	io->ops->close(io);
}

static void test_each_queue_its_engine(void **state)
{
	struct io *io[2] = {open_io(0), open_io(1)};
	struct test_frame f = frame_ipv4("queue", SUB, WEB);
	struct packet p;

	if (!afxdp_net_choose_queue(1)) {
		io[0]->ops->close(io[0]);
		io[1]->ops->close(io[1]);
		skip();
	}
	afxdp_net_send(&net, SIDE_INSIDE, &f);
	assert_true(receive_one(io[1], SIDE_INSIDE, &p));
	io[1]->ops->drop(io[1], &p, 1);
	afxdp_net_choose_queue(0);
	afxdp_net_send(&net, SIDE_INSIDE, &f);
	assert_true(receive_one(io[0], SIDE_INSIDE, &p));
	io[0]->ops->drop(io[0], &p, 1);
	assert_int_equal(io[1]->ops->rx(io[1], SIDE_INSIDE, &p, 1), 0);
	io[0]->ops->close(io[0]);
	io[1]->ops->close(io[1]);
}

/* ---- engines come and go ---- */

static pid_t start_engine(void)
{
	int ready[2];
	char byte;
	pid_t pid;

	assert_int_equal(pipe(ready), 0);
	pid = fork();
	if (pid == 0) {
		struct io_afxdp_params p = params_of(0);

		if (io_afxdp_open(&p) && write(ready[1], "r", 1) == 1)
			pause();
		_exit(1);
	}
	close(ready[1]);
	assert_int_equal(read(ready[0], &byte, 1), 1);
	close(ready[0]);
	return pid;
}

static void kill_engine(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

static void test_successor_of_a_killed_engine(void **state)
{
	struct test_frame f = frame_ipv4("after kill -9", SUB, WEB);

	for (int i = 0; i < 5; i++) {
		struct io *io;

		kill_engine(start_engine());
		io = open_io(0);
		send_expect(io, SIDE_INSIDE, &f, true);
		io->ops->close(io);
	}
}

static void test_queue_in_use_is_refused(void **state)
{
	struct io_afxdp_params p = params_of(0);
	pid_t pid = start_engine();

	assert_null(io_afxdp_open(&p));
	kill_engine(pid);
}

static void test_without_engine_drops_and_counts(void **state)
{
	struct test_frame f = frame_ipv4("nobody there", SUB, WEB);
	struct io *io = open_io(0);
	uint64_t before = stats_now(io).xdp_no_engine;

	io->ops->close(io);
	usleep(300 * 1000);
	for (int i = 0; i < 7; i++)
		afxdp_net_send(&net, SIDE_INSIDE, &f);
	io = open_io(0);
	assert_int_equal(stats_now(io).xdp_no_engine - before, 7);
	send_expect(io, SIDE_INSIDE, &f, true);
	io->ops->close(io);
}

/* ---- programs and pins ---- */

/* A program of somebody else: passes everything. */
static int load_stranger(void)
{
	const struct bpf_insn code[] = {
		{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = XDP_PASS},
		{.code = BPF_JMP | BPF_EXIT},
	};
	LIBBPF_OPTS(bpf_prog_load_opts, opts, .expected_attach_type = BPF_XDP);
	int fd = bpf_prog_load(BPF_PROG_TYPE_XDP, "stranger", "GPL", code, 2, &opts);

	assert_true(fd >= 0);
	return fd;
}

static int pin_fd(const char *name)
{
	char path[160];

	snprintf(path, sizeof path, "%s/%s", net.bpffs, name);
	return bpf_obj_get(path);
}

static void test_foreign_program_is_refused(void **state)
{
	struct io_afxdp_params p = params_of(0);
	int ifindex = (int)if_nametoindex("out0"), fd = load_stranger();
	uint32_t id = 0;

	assert_int_equal(xdp_remove(net.bpffs), 0);
	assert_int_equal(bpf_xdp_attach(ifindex, fd, 0, NULL), 0);
	assert_null(io_afxdp_open(&p));
	assert_int_equal(bpf_xdp_query_id(ifindex, 0, &id), 0);
	assert_int_not_equal(id, 0); /* left alone */
	assert_int_equal(bpf_xdp_detach(ifindex, 0, NULL), 0);
	close(fd);
}

static void test_program_of_another_build_is_replaced(void **state)
{
	struct io *io = open_io(0);
	struct test_frame f = frame_ipv4("after replacing", SUB, WEB);
	int link = pin_fd("link_inside"), stranger = load_stranger();

	assert_int_equal(bpf_link_update(link, stranger, NULL), 0);
	send_expect(io, SIDE_INSIDE, &f, false);
	io->ops->close(io);
	io = open_io(0);
	send_expect(io, SIDE_INSIDE, &f, true);
	io->ops->close(io);
	close(link);
	close(stranger);
}

static uint32_t attached_id(const char *interface)
{
	uint32_t id = 0;

	assert_int_equal(bpf_xdp_query_id((int)if_nametoindex(interface), 0, &id), 0);
	return id;
}

static void test_same_build_leaves_the_program(void **state)
{
	struct io *io = open_io(0);
	uint32_t inside = attached_id("in0"), outside = attached_id("out0");

	io->ops->close(io);
	io = open_io(0);
	assert_int_equal(attached_id("in0"), inside);
	assert_int_equal(attached_id("out0"), outside);
	io->ops->close(io);
}

static void test_maps_of_another_layout_are_refused(void **state)
{
	struct io_afxdp_params p = params_of(0);
	char path[160];
	int fd = bpf_map_create(BPF_MAP_TYPE_ARRAY, "local", 4, 4, 1, NULL);

	assert_int_equal(xdp_remove(net.bpffs), 0);
	snprintf(path, sizeof path, "%s/local", net.bpffs);
	assert_int_equal(bpf_obj_pin(fd, path), 0);
	assert_null(io_afxdp_open(&p));
	close(fd);
	assert_int_equal(xdp_remove(net.bpffs), 0);
}

static void test_recreated_interface(void **state)
{
	struct io *io = open_io(0);
	struct test_frame f = frame_ipv4("new interface", SUB, WEB);

	io->ops->close(io);
	afxdp_net_close(&net);
	afxdp_net_open(&net);
	io = open_io(0);
	send_expect(io, SIDE_INSIDE, &f, true);
	io->ops->close(io);
}

static void test_generic_mode(void **state)
{
	struct io_afxdp_params p = params_of(0);
	struct test_frame f = frame_ipv4("generic", SUB, WEB);
	struct io *io;

	assert_int_equal(xdp_remove(net.bpffs), 0);
	p.mode = XDP_MODE_GENERIC;
	io = io_afxdp_open(&p);
	assert_non_null(io);
	assert_int_equal(xdp_sync(io, &rules), 0);
	assert_non_null(strstr(io_afxdp_describe(io, SIDE_OUTSIDE), "generic, copy"));
	afxdp_net_send(&net, SIDE_INSIDE, &f);
	assert_int_equal(forward(io, SIDE_INSIDE, 1), 1);
	assert_true(afxdp_net_receive(&net, SIDE_OUTSIDE, &f));
	io->ops->close(io);
	assert_int_equal(xdp_remove(net.bpffs), 0);
}

static void test_remove_leaves_nothing(void **state)
{
	struct io *io = open_io(0);
	struct dirent *e;
	DIR *dir;

	io->ops->close(io);
	assert_int_equal(xdp_remove(net.bpffs), 0);
	assert_int_equal(attached_id("in0"), 0);
	assert_int_equal(attached_id("out0"), 0);
	dir = opendir(net.bpffs);
	assert_non_null(dir);
	while ((e = readdir(dir))) /* the kernel's own *.debug files come with the mount */
		assert_true(e->d_name[0] == '.' || strstr(e->d_name, ".debug"));
	closedir(dir);
	assert_int_equal(xdp_remove(net.bpffs), 0);
}

/* ---- prefix maps ---- */

static bool in_pool(int map, uint64_t addr)
{
	struct xdp_prefix key = {.len = 64, .addr = htonl((uint32_t)addr)};
	uint32_t value;

	return addr <= UINT32_MAX && !bpf_map_lookup_elem(map, &key, &value);
}

static unsigned entries(int map)
{
	struct xdp_prefix key, next;
	unsigned n = 0;

	for (const void *from = NULL; !bpf_map_get_next_key(map, from, &next); n++) {
		key = next;
		from = &key;
	}
	return n;
}

static void test_ranges_become_exact_prefixes(void **state)
{
	static const struct {
		struct address_range r;
		unsigned prefixes;
	} rows[] = {
		{{0, UINT32_MAX}, 1},
		{{0xc0000201, 0xc0000201}, 1},
		{{0xc0000200, 0xc00002ff}, 1},
		{{0xc0000201, 0xc0000206}, 4},
		{{0xc0000201, 0xc00002fe}, 14},
		{{0xfffffffe, UINT32_MAX}, 1},
		{{1, UINT32_MAX - 1}, 62},
	};
	struct io *io = open_io(0);
	int map = pin_fd("pool");

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		const struct address_range *r = &rows[i].r;
		struct xdp_rules one = {.pool = r, .n_pool = 1};

		assert_int_equal(xdp_sync(io, &one), 0); /* and so removes the row before */
		assert_int_equal(entries(map), rows[i].prefixes);
		assert_true(in_pool(map, r->first) && in_pool(map, r->last));
		assert_false(in_pool(map, (uint64_t)r->last + 1));
		assert_false(r->first > 0 && in_pool(map, r->first - 1));
	}
	assert_int_equal(xdp_sync(io, &(struct xdp_rules){0}), 0);
	assert_int_equal(entries(map), 0);
	close(map);
	io->ops->close(io);
}

static void test_random_ranges_against_a_model(void **state)
{
	enum { SPAN = 256, BASE = 0x0a000000 };
	struct io *io = open_io(0);
	int map = pin_fd("pool");

	srand(1);
	for (int round = 0; round < 30; round++) {
		struct address_range r[8];
		bool model[SPAN] = {0};

		for (int i = 0; i < 8; i++) {
			r[i].first = BASE + (uint32_t)(rand() % SPAN);
			r[i].last = r[i].first + (uint32_t)rand() % (BASE + SPAN - r[i].first);
			for (uint32_t a = r[i].first; a <= r[i].last; a++)
				model[a - BASE] = true;
		}
		assert_int_equal(xdp_sync(io, &(struct xdp_rules){.pool = r, .n_pool = 8}), 0);
		for (uint32_t a = 0; a < SPAN; a++)
			assert_int_equal(in_pool(map, BASE + a), model[a]);
	}
	close(map);
	io->ops->close(io);
}

static int set_up(void **state)
{
	afxdp_net_open(&net);
	return 0;
}

static int tear_down(void **state)
{
	afxdp_net_close(&net);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_inside_decides),
		cmocka_unit_test(test_inside_keeps_tags),
		cmocka_unit_test(test_realms_need_tags),
		cmocka_unit_test(test_outside_decides),
		cmocka_unit_test(test_forwards_both_ways),
		cmocka_unit_test(test_overload_leaks_no_frame),
		cmocka_unit_test(test_busy_polling),
		cmocka_unit_test(test_calls_are_few),
		cmocka_unit_test(test_held_packets_do_not_starve),
		cmocka_unit_test(test_each_queue_its_engine),
		cmocka_unit_test(test_successor_of_a_killed_engine),
		cmocka_unit_test(test_queue_in_use_is_refused),
		cmocka_unit_test(test_without_engine_drops_and_counts),
		cmocka_unit_test(test_foreign_program_is_refused),
		cmocka_unit_test(test_program_of_another_build_is_replaced),
		cmocka_unit_test(test_same_build_leaves_the_program),
		cmocka_unit_test(test_maps_of_another_layout_are_refused),
		cmocka_unit_test(test_recreated_interface),
		cmocka_unit_test(test_generic_mode),
		cmocka_unit_test(test_ranges_become_exact_prefixes),
		cmocka_unit_test(test_random_ranges_against_a_model),
		cmocka_unit_test(test_remove_leaves_nothing),
	};
	int status;

	if (!afxdp_net_enter(&net)) {
		puts("SKIP: needs root, network namespaces and the ip command");
		return 77;
	}
	status = cmocka_run_group_tests_name("io_afxdp", tests, set_up, tear_down);
	afxdp_net_leave(&net);
	return status;
}
