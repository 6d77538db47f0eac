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
#include "mgmtd/netlink.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/if_ether.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
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

static struct link_header adjacency_in(enum side side, uint16_t realm, const char *address)
{
	uint32_t i = nexthop_find(t.nh, side, realm, ip(address));

	return i == ADJACENCY_NONE ? (struct link_header){0} : nexthop_read(t.nh, i);
}

static struct link_header adjacency(enum side side, const char *address)
{
	return adjacency_in(side, 0, address);
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
static struct route lookup_in(uint16_t realm, const char *address)
{
	struct route best = {.kind = ROUTE_NONE, .length = 99};
	uint32_t host = be32_host(ip(address));

	nexthop_read_routes(t.nh, &t.routes);
	for (uint32_t i = 0; i < t.routes.n; i++) {
		const struct route *r = &t.routes.route[i];

		if (r->realm != realm || (host ^ r->prefix) & (r->length ? UINT32_MAX << (32 - r->length) : 0))
			continue;
		if (best.length == 99 || r->length > best.length)
			best = *r;
	}
	return best;
}

static struct route lookup(const char *address)
{
	return lookup_in(0, address);
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
	return system("for i in t-in t-out t-other t-in.100 t-in.200; do ip link del $i 2>/dev/null; done; "
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

/* ---- realms ---- */

static void wait_realm(uint16_t realm, const char *address, enum adjacency_state state)
{
	for (mono_t end = mono_after(mono_now(), span_ms(WAIT_MS)); !mono_due(mono_now(), end);) {
		turn();
		if (adjacency_in(SIDE_INSIDE, realm, address).state == state)
			return;
	}
	fail_msg("%s of realm %u is in state %u, not %u", address, realm,
		adjacency_in(SIDE_INSIDE, realm, address).state, state);
}

/* Links that are named like VLANs: not every kernel that runs this makes VLAN links. Both have the same addresses, which
 * are those of the inside interface, too. */
static void make_realms(void)
{
	sh("ip link add t-in.100 address 02:00:00:00:02:01 type veth peer name p-100 address 02:00:00:00:02:02 netns "
	   "%d; "
	   "ip link add t-in.200 address 02:00:00:00:03:01 type veth peer name p-200 address 02:00:00:00:03:02 netns "
	   "%d",
		(int)t.peer, (int)t.peer);
	sh("for i in 100 200; do ip addr add 10.1.0.1/24 dev t-in.$i; ip link set t-in.$i mtu $((1000 + i)) up; done");
	peer_sh("for i in 100 200; do ip addr add 10.1.0.2/24 dev p-$i; ip link set p-$i up; done");
}

static void realms_are_apart(void **state)
{
	static const uint16_t realm[] = {0, 100, 200};
	static const uint8_t mac[][MAC_SIZE] = {{2, 0, 0, 0, 0, 2}, {2, 0, 0, 0, 2, 2}, {2, 0, 0, 0, 3, 2}};

	(void)state;
	make_realms();
	sh("ip route add 10.7.0.0/16 via 10.1.0.2 dev t-in.100 table 1100; "     /* as a VRF has it */
	   "ip route add 10.8.0.0/16 via 10.1.0.2 dev t-out onlink table 1100; " /* another's business */
	   "ip route add default via 192.0.2.2");
	wait_route("203.0.113.1", ROUTE_GATEWAY, "192.0.2.2");
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(lookup_in(realm[i], "10.1.0.7").kind, ROUTE_ONLINK);
		assert_int_equal(lookup_in(realm[i], "10.1.0.7").side, SIDE_INSIDE);
		assert_int_equal(lookup_in(realm[i], "10.1.0.1").kind, ROUTE_LOCAL);
		assert_int_equal(lookup_in(realm[i], "10.1.0.1").side, SIDE_INSIDE);
		assert_int_equal(lookup_in(realm[i], "10.7.1.1").kind, i == 2 ? ROUTE_NONE : ROUTE_GATEWAY);
		assert_int_equal(lookup_in(realm[i], "10.8.1.1").length, i ? 99 : 0);
		assert_int_equal(lookup_in(realm[i], "203.0.113.1").length, i ? 99 : 0);
		nexthop_request(t.nh, 0, SIDE_INSIDE, realm[i], ip("10.1.0.2"));
		wait_realm(realm[i], "10.1.0.2", ADJACENCY_RESOLVED);
	}
	assert_int_equal(lookup_in(100, "10.7.1.1").gateway, be32_host(ip("10.1.0.2")));
	assert_int_equal(lookup("10.7.1.1").side, SIDE_OUTSIDE);
	for (unsigned i = 0; i < 3; i++) {
		struct link_header link = adjacency_in(SIDE_INSIDE, realm[i], "10.1.0.2");

		assert_memory_equal(link.dst, mac[i], MAC_SIZE);
		assert_int_equal(link.vlan, realm[i]);
		assert_int_equal(link.mtu, i ? 1000 + realm[i] : 1500);
	}
}

static void realm_goes_and_comes(void **state)
{
	(void)state;
	make_realms();
	for (uint16_t realm = 100; realm <= 200; realm += 100) {
		nexthop_request(t.nh, 0, SIDE_INSIDE, realm, ip("10.1.0.2"));
		wait_realm(realm, "10.1.0.2", ADJACENCY_RESOLVED);
	}
	sh("ip link del t-in.100");
	wait_realm(100, "10.1.0.2", ADJACENCY_FAILED);
	assert_int_equal(adjacency_in(SIDE_INSIDE, 200, "10.1.0.2").state, ADJACENCY_RESOLVED);
	for (unsigned i = 0; i < 50 && lookup_in(100, "10.1.0.7").length != 99; i++)
		turn();
	assert_int_equal(lookup_in(100, "10.1.0.7").length, 99);
	sh("ip link set t-in.200 down; ip link set t-in.200 name t-in.0200"); /* no realm's name */
	wait_realm(200, "10.1.0.2", ADJACENCY_FAILED);
	sh("ip link del t-in.0200");
	/* The next mirror knows their neighbours from the arena only, until the links are there again. */
	mirror_close(t.mirror);
	t.mirror = mirror_open(t.nh, 2, names);
	assert_non_null(t.mirror);
	make_realms();
	nexthop_request(t.nh, 0, SIDE_INSIDE, 100, ip("10.1.0.2"));
	wait_realm(100, "10.1.0.2", ADJACENCY_RESOLVED);
	nexthop_request(t.nh, 0, SIDE_INSIDE, 4094, ip("10.1.0.2")); /* there is no such link */
	turn();
	wait_realm(4094, "10.1.0.2", ADJACENCY_FAILED);
}

static void note_link(void *data, const struct netlink_link *link)
{
	*(struct netlink_link *)data = *link;
}

/* As the kernel says what a VLAN link is. */
static struct netlink_link decoded(const char *kind, uint16_t protocol, uint16_t id, bool elsewhere)
{
	static const struct netlink_visitor visitor = {.link = note_link};
	_Alignas(struct nlmsghdr) char buffer[512] = {0};
	struct nlmsghdr *msg = mnl_nlmsg_put_header(buffer);
	struct netlink_link link = {0};
	struct nlattr *info, *own;

	msg->nlmsg_type = RTM_NEWLINK;
	mnl_nlmsg_put_extra_header(msg, sizeof(struct ifinfomsg));
	mnl_attr_put_strz(msg, IFLA_IFNAME, "any");
	mnl_attr_put_u32(msg, IFLA_LINK, 7);
	if (elsewhere)
		mnl_attr_put_u32(msg, IFLA_LINK_NETNSID, 1);
	info = mnl_attr_nest_start(msg, IFLA_LINKINFO);
	mnl_attr_put_str(msg, IFLA_INFO_KIND, kind); /* the kernel ends it with a zero, old ones not */
	own = mnl_attr_nest_start(msg, IFLA_INFO_DATA);
	mnl_attr_put_u16(msg, IFLA_VLAN_PROTOCOL, htons(protocol));
	mnl_attr_put_u16(msg, IFLA_VLAN_ID, id);
	mnl_attr_nest_end(msg, own);
	mnl_attr_nest_end(msg, info);
	netlink_decode(msg, false, &visitor, &link);
	return link;
}

static void vlan_links_are_told(void **state)
{
	(void)state;
	assert_int_equal(decoded("vlan", ETH_P_8021Q, 100, false).vlan, 100);
	assert_int_equal(decoded("vlan", ETH_P_8021Q, 100, false).lower, 7);
	assert_int_equal(decoded("vlan", ETH_P_8021Q, 100, true).lower, 0);
	assert_int_equal(decoded("vlan", ETH_P_8021AD, 100, false).vlan, 0);
	assert_int_equal(decoded("vxlan", ETH_P_8021Q, 100, false).vlan, 0);
	assert_int_equal(decoded("vlanx", ETH_P_8021Q, 100, false).vlan, 0);
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
		cmocka_unit_test(vlan_links_are_told),
		IN_LAB(realms_are_apart),
		IN_LAB(realm_goes_and_comes),
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
