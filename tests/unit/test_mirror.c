/* The mirror against a real kernel, in a network namespace of its own.
 *
 *   appliance (this process) -- t-in  <veth> p-in  -- peer (a child): 10.1.0.2, 10.1.0.3
 *                            -- t-out <veth> p-out -- peer: 192.0.2.2, 192.0.2.3
 *
 * Skipped (77 to the caller, said aloud) where namespaces cannot be made.
 */
#include "mgmtd/mirror.h"

#include "common/clock.h"
#include "common/log.h"

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { WAIT_MS = 5000 };

static const char *const names[N_SIDES] = {"t-in", "t-out"};
static const uint8_t peer_mac[MAC_SIZE] = {2, 0, 0, 0, 0, 2};

static struct {
	struct nexthop *nh;
	struct mirror *mirror;
	pid_t peer;
	struct route_set routes;
} t;

/* Runs a shell command, printf style; fails the test when it fails. */
static void __attribute__((format(printf, 1, 2))) sh(const char *format, ...)
{
	char command[1024];
	va_list args;

	va_start(args, format);
	vsnprintf(command, sizeof(command), format, args);
	va_end(args);
	if (system(command) != 0)
		fail_msg("failed: %s", command);
}

static void peer_sh(const char *command)
{
	sh("nsenter -t %d -n sh -ec '%s'", (int)t.peer, command);
}

static be32_t ip(const char *text)
{
	struct in_addr in = {0};

	assert_int_equal(inet_pton(AF_INET, text, &in), 1);
	return (be32_t){in.s_addr};
}

/* One turn of mgmtd's loop. */
static void turn(void)
{
	struct pollfd fd = {.fd = mirror_fd(t.mirror), .events = POLLIN};

	poll(&fd, 1, MIRROR_TICK_MS);
	mirror_run(t.mirror, mono_now());
}

static struct link_header adjacency(enum side side, const char *address)
{
	uint32_t i = nexthop_find(t.nh, side, 0, ip(address));

	return i == ADJACENCY_NONE ? (struct link_header){0} : nexthop_read(t.nh, i);
}

/* Turns until the neighbour is in that state; `used`: as if an engine sent to it all the time. */
static void wait_state(enum side side, const char *address, enum adjacency_state state, bool used)
{
	for (mono_t end = mono_after(mono_now(), span_ms(WAIT_MS)); !mono_due(mono_now(), end);) {
		uint32_t i = nexthop_find(t.nh, side, 0, ip(address));

		turn();
		if (used && i != ADJACENCY_NONE)
			atomic_store(&t.nh->adjacency[i].used, 1);
		if (adjacency(side, address).state == state)
			return;
	}
	fail_msg("%s is in state %u, not %u", address, adjacency(side, address).state, state);
}

/* The route that a longest-prefix match finds, the simple way. */
static struct route lookup(const char *address)
{
	struct route best = {.kind = ROUTE_NONE, .length = 99};
	uint32_t host = be32_host(ip(address));

	nexthop_read_routes(t.nh, &t.routes);
	for (uint32_t i = 0; i < t.routes.n; i++) {
		const struct route *r = &t.routes.route[i];

		if ((host ^ r->prefix) & (r->length ? UINT32_MAX << (32 - r->length) : 0))
			continue;
		if (best.length == 99 || r->length > best.length)
			best = *r;
	}
	return best;
}

/* Turns until the route to the address is of this kind and, for gateways, goes by that one. */
static void wait_route(const char *address, enum route_kind kind, const char *gateway)
{
	struct route r = {0};

	for (mono_t end = mono_after(mono_now(), span_ms(WAIT_MS)); !mono_due(mono_now(), end);) {
		turn();
		r = lookup(address);
		if (r.kind == kind && (gateway == NULL || r.gateway == be32_host(ip(gateway))))
			return;
	}
	fail_msg("route to %s: kind %u, gateway %08x, length %u", address, r.kind, r.gateway, r.length);
}

static void make_links(void)
{
	sh("ip link add t-in address 02:00:00:00:01:01 type veth peer name p-in address "
	   "02:00:00:00:00:02 netns %d",
		(int)t.peer);
	sh("ip link add t-out address 02:00:00:00:01:02 type veth peer name p-out address "
	   "02:00:00:00:00:03 netns %d",
		(int)t.peer);
	sh("ip addr add 10.1.0.1/24 dev t-in; ip addr add 192.0.2.1/24 dev t-out; "
	   "ip link set t-in up; ip link set t-out up");
	/* A kernel in a hurry: resolving fails after 0.3 s, reachability is doubted after 0.2 s. */
	sh("for i in t-in t-out; do cd /proc/sys/net/ipv4/neigh/$i; echo 100 >retrans_time_ms; "
	   "echo 200 >base_reachable_time_ms; echo 0 >delay_first_probe_time; cd /; done");
	peer_sh("ip addr add 10.1.0.2/24 dev p-in; ip addr add 10.1.0.3/24 dev p-in; "
		"ip addr add 192.0.2.2/24 dev p-out; ip addr add 192.0.2.3/24 dev p-out; "
		"ip link set p-in up; ip link set p-out up");
}

static int setup(void **state)
{
	(void)state;
	memset(t.nh, 0, sizeof(*t.nh));
	make_links();
	t.mirror = mirror_open(t.nh, 2, names);
	assert_non_null(t.mirror);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	mirror_close(t.mirror);
	return system("for i in t-in t-out t-other; do ip link del $i 2>/dev/null; done; "
		      "ip route flush table main; true");
}

/* ---- routes ---- */

static void routes_are_there_at_open(void **state)
{
	(void)state;
	assert_true(atomic_load(&t.nh->generation) > 0);
	assert_int_equal(lookup("10.1.0.7").kind, ROUTE_ONLINK);
	assert_int_equal(lookup("10.1.0.7").side, SIDE_INSIDE);
	assert_int_equal(lookup("192.0.2.7").kind, ROUTE_ONLINK);
	assert_int_equal(lookup("192.0.2.7").side, SIDE_OUTSIDE);
	assert_int_equal(lookup("192.0.2.1").kind, ROUTE_LOCAL);
	assert_int_equal(lookup("192.0.2.1").side, SIDE_OUTSIDE);
	assert_int_equal(lookup("10.1.0.1").kind, ROUTE_LOCAL);
	assert_int_equal(lookup("10.1.0.1").side, SIDE_INSIDE);
	assert_int_equal(lookup("127.0.0.1").side, N_SIDES);
	assert_int_equal(lookup("192.0.2.255").side, N_SIDES);
	assert_int_equal(lookup("192.0.2.255").kind, ROUTE_LOCAL);
	assert_int_equal(lookup("203.0.113.1").length, 99);
}

static void routes_follow_the_kernel(void **state)
{
	uint32_t generation;

	(void)state;
	sh("ip route add default via 192.0.2.2 metric 100");
	wait_route("203.0.113.1", ROUTE_GATEWAY, "192.0.2.2");
	assert_int_equal(lookup("203.0.113.1").side, SIDE_OUTSIDE);
	sh("ip route add default via 192.0.2.3 metric 50"); /* the better one counts */
	wait_route("203.0.113.1", ROUTE_GATEWAY, "192.0.2.3");
	sh("ip route del default metric 50");
	wait_route("203.0.113.1", ROUTE_GATEWAY, "192.0.2.2");
	sh("ip route add 100.64.0.0/10 via 10.1.0.2");
	wait_route("100.65.1.1", ROUTE_GATEWAY, "10.1.0.2");
	sh("ip route add blackhole 203.0.113.0/24");
	wait_route("203.0.113.1", ROUTE_NONE, NULL);
	sh("ip route replace 203.0.113.0/24 via 192.0.2.3");
	wait_route("203.0.113.1", ROUTE_GATEWAY, "192.0.2.3");

	generation = atomic_load(&t.nh->generation);
	sh("ip route add 198.18.0.0/16 via 192.0.2.3 table 77"); /* not ours to follow */
	for (unsigned i = 0; i < 30; i++)
		turn();
	assert_int_equal(atomic_load(&t.nh->generation), generation);
}

static void ways_out_by_others_are_none(void **state)
{
	(void)state;
	sh("ip link add t-other type veth peer name t-nobody; ip addr add 172.16.0.1/24 dev "
	   "t-other; "
	   "ip link set t-other up; ip link set t-nobody up; ip route add default via 192.0.2.2");
	wait_route("172.16.0.9", ROUTE_NONE, NULL);
	wait_route("172.16.0.1", ROUTE_LOCAL, NULL);
	/* Of several hops, the first by an interface of ours. */
	sh("ip route add 198.18.0.0/16 nexthop via 172.16.0.2 nexthop via 192.0.2.3 nexthop via "
	   "10.1.0.2");
	wait_route("198.18.5.5", ROUTE_GATEWAY, "192.0.2.3");
	/* Next-hop objects. */
	sh("ip nexthop add id 5 via 10.1.0.3 dev t-in; ip route add 198.19.0.0/16 nhid 5");
	wait_route("198.19.5.5", ROUTE_GATEWAY, "10.1.0.3");
	/* What is local is local, however precise a route in main is. */
	sh("ip route add 127.5.0.0/16 via 192.0.2.3; ip route add local 198.20.0.0/16 dev lo; "
	   "ip route add 198.20.7.0/24 via 192.0.2.2");
	wait_route("198.20.7.7", ROUTE_LOCAL, NULL);
	sh("ip route del local 198.20.0.0/16 dev lo");
	wait_route("198.20.7.7", ROUTE_GATEWAY, "192.0.2.2");
}

/* The kernel sends no message for a route that goes with its link. */
static void routes_go_with_their_link(void **state)
{
	(void)state;
	sh("ip route add default via 192.0.2.2");
	wait_route("203.0.113.1", ROUTE_GATEWAY, "192.0.2.2");
	sh("ip link set t-out down");
	wait_route("203.0.113.1", ROUTE_NONE, NULL);
	assert_int_equal(lookup("203.0.113.1").length, 99);
}

static void lost_changes_are_read_again(void **state)
{
	FILE *batch = popen("ip -batch -", "w");

	(void)state;
	assert_non_null(batch);
	for (unsigned round = 0; round < 4; round++)
		for (unsigned i = 0; i < 6000; i++)
			fprintf(batch, "route replace 198.%u.%u.%u/32 via %s\n", 18 + i / 65536, i / 256 % 256, i % 256,
				round % 2 ? "192.0.2.3" : "192.0.2.2");
	assert_int_equal(pclose(batch), 0);
	sh("ip neigh add 192.0.2.99 lladdr 02:00:00:00:00:99 dev t-out nud permanent");
	wait_route("198.18.0.1", ROUTE_GATEWAY, "192.0.2.3");
	wait_route("198.18.23.111", ROUTE_GATEWAY, "192.0.2.3");
	assert_true(t.routes.n >= 6000);
	assert_int_equal(adjacency(SIDE_OUTSIDE, "192.0.2.99").state, ADJACENCY_RESOLVED);

	/* More than fit: those in force stay. */
	sh("i=0; while [ $i -lt 3000 ]; do echo route add 198.51.$((i / 256)).$((i %% 256))/32 via "
	   "192.0.2.2; i=$((i + 1)); done | ip -batch -");
	for (unsigned i = 0; i < 20; i++)
		turn();
	assert_int_equal(lookup("198.51.0.1").length, 99);
	assert_int_equal(lookup("198.18.0.1").kind, ROUTE_GATEWAY);
}

/* ---- neighbours ---- */

static void request_resolves(void **state)
{
	const uint8_t own[MAC_SIZE] = {2, 0, 0, 0, 1, 1};
	struct link_header link;

	(void)state;
	assert_int_equal(nexthop_find(t.nh, SIDE_INSIDE, 0, ip("10.1.0.2")), ADJACENCY_NONE);
	assert_true(nexthop_request(t.nh, 1, SIDE_INSIDE, 0, ip("10.1.0.2")));
	mirror_run(t.mirror, mono_now());
	assert_int_not_equal(nexthop_find(t.nh, SIDE_INSIDE, 0, ip("10.1.0.2")), ADJACENCY_NONE);
	wait_state(SIDE_INSIDE, "10.1.0.2", ADJACENCY_RESOLVED, false);
	link = adjacency(SIDE_INSIDE, "10.1.0.2");
	assert_memory_equal(link.dst, peer_mac, MAC_SIZE);
	assert_memory_equal(link.src, own, MAC_SIZE);
	assert_int_equal(link.mtu, 1500);
	assert_int_equal(link.side, SIDE_INSIDE);
}

static void nobody_there_fails(void **state)
{
	(void)state;
	nexthop_request(t.nh, 0, SIDE_OUTSIDE, 0, ip("192.0.2.77"));
	mirror_run(t.mirror, mono_now());
	assert_int_equal(adjacency(SIDE_OUTSIDE, "192.0.2.77").state, ADJACENCY_UNRESOLVED);
	wait_state(SIDE_OUTSIDE, "192.0.2.77", ADJACENCY_FAILED, false);
	/* Asked again, now that it has come. */
	peer_sh("ip addr add 192.0.2.77/24 dev p-out");
	nexthop_request(t.nh, 0, SIDE_OUTSIDE, 0, ip("192.0.2.77"));
	wait_state(SIDE_OUTSIDE, "192.0.2.77", ADJACENCY_RESOLVED, false);
	/* No neighbour can have these. */
	nexthop_request(t.nh, 0, SIDE_OUTSIDE, 0, ip("224.0.0.5"));
	nexthop_request(t.nh, 0, SIDE_OUTSIDE, 0, ip("255.255.255.255"));
	mirror_run(t.mirror, mono_now());
	assert_int_equal(adjacency(SIDE_OUTSIDE, "224.0.0.5").state, ADJACENCY_FAILED);
}

static void dead_neighbour_in_use_is_noticed(void **state)
{
	(void)state;
	nexthop_request(t.nh, 0, SIDE_INSIDE, 0, ip("10.1.0.3"));
	wait_state(SIDE_INSIDE, "10.1.0.3", ADJACENCY_RESOLVED, false);
	peer_sh("ip addr del 10.1.0.3/24 dev p-in");
	wait_state(SIDE_INSIDE, "10.1.0.3", ADJACENCY_FAILED, true);
}

static void neighbour_moves_to_another_mac(void **state)
{
	const uint8_t new_mac[MAC_SIZE] = {2, 0, 0, 0, 0, 0x22};
	mono_t end;

	(void)state;
	nexthop_request(t.nh, 0, SIDE_INSIDE, 0, ip("10.1.0.2"));
	wait_state(SIDE_INSIDE, "10.1.0.2", ADJACENCY_RESOLVED, false);
	peer_sh("ip link set p-in address 02:00:00:00:00:22");
	for (end = mono_after(mono_now(), span_ms(WAIT_MS)); !mono_due(mono_now(), end);) {
		atomic_store(&t.nh->adjacency[nexthop_find(t.nh, SIDE_INSIDE, 0, ip("10.1.0.2"))].used, 1);
		if (memcmp(adjacency(SIDE_INSIDE, "10.1.0.2").dst, new_mac, MAC_SIZE) == 0)
			break;
		if (adjacency(SIDE_INSIDE, "10.1.0.2").state == ADJACENCY_FAILED)
			nexthop_request(t.nh, 0, SIDE_INSIDE, 0, ip("10.1.0.2"));
		turn();
	}
	assert_false(mono_due(mono_now(), end));
}

/* `ip neigh flush` must not stop traffic that flows. */
static void flushed_neighbour_in_use_comes_back(void **state)
{
	(void)state;
	nexthop_request(t.nh, 0, SIDE_INSIDE, 0, ip("10.1.0.2"));
	nexthop_request(t.nh, 0, SIDE_INSIDE, 0, ip("10.1.0.3"));
	wait_state(SIDE_INSIDE, "10.1.0.2", ADJACENCY_RESOLVED, true);
	wait_state(SIDE_INSIDE, "10.1.0.3", ADJACENCY_RESOLVED, false);
	atomic_store(&t.nh->adjacency[nexthop_find(t.nh, SIDE_INSIDE, 0, ip("10.1.0.2"))].used, 1);
	sh("ip neigh del 10.1.0.2 dev t-in; ip neigh del 10.1.0.3 dev t-in");
	mirror_run(t.mirror, mono_now());
	wait_state(SIDE_INSIDE, "10.1.0.2", ADJACENCY_RESOLVED, false);
	wait_state(SIDE_INSIDE, "10.1.0.3", ADJACENCY_FAILED, false);
}

/* ---- links ---- */

static void own_link_changes(void **state)
{
	const uint8_t own[MAC_SIZE] = {2, 0, 0, 0, 1, 0x77};

	(void)state;
	sh("ip neigh add 10.1.0.50 lladdr 02:00:00:00:00:50 dev t-in nud permanent");
	wait_state(SIDE_INSIDE, "10.1.0.50", ADJACENCY_RESOLVED, false);
	sh("ip link set t-in mtu 1400");
	for (unsigned i = 0; i < 10; i++)
		turn();
	assert_int_equal(adjacency(SIDE_INSIDE, "10.1.0.50").mtu, 1400);
	assert_int_equal(adjacency(SIDE_INSIDE, "10.1.0.50").dst[5], 0x50);
	assert_int_equal(adjacency(SIDE_INSIDE, "10.1.0.50").state, ADJACENCY_RESOLVED);

	/* With its address the kernel forgets all neighbours; one in use is asked for again. */
	nexthop_request(t.nh, 0, SIDE_INSIDE, 0, ip("10.1.0.2"));
	wait_state(SIDE_INSIDE, "10.1.0.2", ADJACENCY_RESOLVED, true);
	sh("ip link set t-in address 02:00:00:00:01:77");
	mirror_run(t.mirror, mono_now());
	assert_int_equal(adjacency(SIDE_INSIDE, "10.1.0.50").state, ADJACENCY_FAILED);
	wait_state(SIDE_INSIDE, "10.1.0.2", ADJACENCY_RESOLVED, true);
	assert_memory_equal(adjacency(SIDE_INSIDE, "10.1.0.2").src, own, MAC_SIZE);
	assert_int_equal(adjacency(SIDE_INSIDE, "10.1.0.2").mtu, 1400);
}

static void link_goes_and_comes(void **state)
{
	(void)state;
	nexthop_request(t.nh, 0, SIDE_INSIDE, 0, ip("10.1.0.2"));
	nexthop_request(t.nh, 0, SIDE_OUTSIDE, 0, ip("192.0.2.2"));
	wait_state(SIDE_INSIDE, "10.1.0.2", ADJACENCY_RESOLVED, false);
	wait_state(SIDE_OUTSIDE, "192.0.2.2", ADJACENCY_RESOLVED, false);
	sh("ip link del t-in; ip link del t-out");
	wait_state(SIDE_INSIDE, "10.1.0.2", ADJACENCY_FAILED, false);
	wait_state(SIDE_OUTSIDE, "192.0.2.2", ADJACENCY_FAILED, false);
	wait_route("10.1.0.7", ROUTE_NONE, NULL);
	nexthop_request(t.nh, 0, SIDE_INSIDE, 0, ip("10.1.0.2"));
	turn();
	assert_int_equal(adjacency(SIDE_INSIDE, "10.1.0.2").state, ADJACENCY_FAILED);
	make_links();
	wait_route("10.1.0.7", ROUTE_ONLINK, NULL);
	nexthop_request(t.nh, 0, SIDE_INSIDE, 0, ip("10.1.0.2"));
	wait_state(SIDE_INSIDE, "10.1.0.2", ADJACENCY_RESOLVED, false);
}

static void open_before_the_links_exist(void **state)
{
	(void)state;
	mirror_close(t.mirror);
	sh("ip link del t-in; ip link del t-out");
	t.mirror = mirror_open(t.nh, 2, names);
	assert_non_null(t.mirror);
	wait_route("10.1.0.7", ROUTE_NONE, NULL);
	make_links();
	wait_route("10.1.0.7", ROUTE_ONLINK, NULL);
	nexthop_request(t.nh, 0, SIDE_INSIDE, 0, ip("10.1.0.2"));
	wait_state(SIDE_INSIDE, "10.1.0.2", ADJACENCY_RESOLVED, false);
}

/* ---- restart ---- */

static void restart_puts_right_what_was_left(void **state)
{
	uint32_t gone, half, stays, generation;

	(void)state;
	sh("ip neigh add 10.1.0.60 lladdr 02:00:00:00:00:60 dev t-in nud permanent; "
	   "ip neigh add 10.1.0.61 lladdr 02:00:00:00:00:61 dev t-in nud permanent; "
	   "ip neigh add 10.1.0.62 lladdr 02:00:00:00:00:62 dev t-in nud permanent");
	wait_state(SIDE_INSIDE, "10.1.0.62", ADJACENCY_RESOLVED, false);
	gone = nexthop_find(t.nh, SIDE_INSIDE, 0, ip("10.1.0.60"));
	half = nexthop_find(t.nh, SIDE_INSIDE, 0, ip("10.1.0.61"));
	stays = nexthop_find(t.nh, SIDE_INSIDE, 0, ip("10.1.0.62"));
	generation = atomic_load(&t.nh->generation);
	mirror_close(t.mirror);
	sh("ip neigh del 10.1.0.60 dev t-in");
	atomic_fetch_add(&t.nh->adjacency[half].seq, 1); /* killed in the middle of a write */
	t.nh->adjacency[half].link.dst[5] = 0x13;

	t.mirror = mirror_open(t.nh, 2, names);
	assert_non_null(t.mirror);
	assert_int_equal(nexthop_read(t.nh, gone).state, ADJACENCY_FAILED);
	assert_int_equal(nexthop_read(t.nh, half).state, ADJACENCY_RESOLVED);
	assert_int_equal(nexthop_read(t.nh, half).dst[5], 0x61);
	assert_int_equal(nexthop_read(t.nh, stays).state, ADJACENCY_RESOLVED);
	assert_int_equal(nexthop_find(t.nh, SIDE_INSIDE, 0, ip("10.1.0.60")), gone);
	/* Same routes: no new generation, so no session looks its next hop up again. */
	assert_int_equal(atomic_load(&t.nh->generation), generation);
}

/* ---- the stage ---- */

/* A child that holds the peer's namespace; it goes with this process. */
static pid_t start_peer(void)
{
	int ready[2];
	char byte;
	pid_t pid;

	if (pipe(ready) != 0)
		return -1;
	pid = fork();
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(ready[0]);
		if (unshare(CLONE_NEWNET) != 0 || write(ready[1], "", 1) != 1)
			_exit(1);
		for (;;)
			pause();
	}
	close(ready[1]);
	if (pid > 0 && read(ready[0], &byte, 1) != 1) {
		waitpid(pid, NULL, 0);
		pid = -1;
	}
	close(ready[0]);
	return pid;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define IN_LAB(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
		IN_LAB(routes_are_there_at_open),
		IN_LAB(routes_follow_the_kernel),
		IN_LAB(ways_out_by_others_are_none),
		IN_LAB(routes_go_with_their_link),
		IN_LAB(lost_changes_are_read_again),
		IN_LAB(request_resolves),
		IN_LAB(nobody_there_fails),
		IN_LAB(dead_neighbour_in_use_is_noticed),
		IN_LAB(neighbour_moves_to_another_mac),
		IN_LAB(flushed_neighbour_in_use_comes_back),
		IN_LAB(own_link_changes),
		IN_LAB(link_goes_and_comes),
		IN_LAB(open_before_the_links_exist),
		IN_LAB(restart_puts_right_what_was_left),
#undef IN_LAB
	};
	int failed;

	log_open("test_mirror");
	if (unshare(CLONE_NEWNET) != 0 || (t.peer = start_peer()) < 0) {
		printf("SKIP: no network namespace can be made here: %s\n", strerror(errno));
		return 77;
	}
	t.nh = mmap(NULL, sizeof(*t.nh), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (t.nh == MAP_FAILED || system("ip link set lo up") != 0)
		return 1;
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	kill(t.peer, SIGKILL);
	waitpid(t.peer, NULL, 0);
	return failed;
}
