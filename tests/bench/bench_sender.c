/* The lab's generator: 60-byte UDP packets of so many flows, more than a contender can carry, for a bounded time; reads
 * the sink's counters where the measured stretch begins and ends.
 *
 * The frames are made in the kernel (source.bpf.c) and handed to the veth peers of the appliance's interfaces as a NIC's
 * driver would. Runs in the machine's own namespace; the interfaces' are entered for as long as it takes to name them.
 * Prints one line: what was made, what arrived, and where the CPUs' time went during the measured stretch. */
#include "common/args.h"
#include "common/clock.h"
#include "common/csum.h"
#include "common/log.h"
#include "tests/bench/source.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

enum {
	FRAMES_A_CALL = 1 << 30, /* minutes: a timer ends the call before, mostly */
	CPUS_MAX = 1024,
};
enum { TRANSLATED, UNTRANSLATED, N_SINK }; /* sink.bpf.c */

/* Columns of /proc/stat, in its unit of 10 ms. */
enum { USER, NICE, SYSTEM, IDLE, IOWAIT, IRQ, SOFTIRQ, STOLEN, N_STATES };

struct options {
	const char *netns[N_SOURCE], *interface[N_SOURCE], *mac[N_SOURCE];
	const char *program, *sink, *destination, *pool;
	unsigned pool_addresses, flows, per_flow, skip, junk_percent, warm_ms, ms, cpu, contender_cpu;
	bool at_random;
};

struct sender {
	const struct options *o;
	int program, map, sink;
	struct source_state state;
};

/* What there is at one moment. */
struct look {
	uint64_t sink[N_SINK], made[N_SOURCE];
	uint64_t cpu[2][N_STATES]; /* the contender's, the generator's */
	mono_t at;
};

/* ---- frames ---- */

static bool parse_mac(uint8_t out[ETH_ALEN], const char *text)
{
	char end;

	return sscanf(text, "%hhx:%hhx:%hhx:%hhx:%hhx:%hhx%c", &out[0], &out[1], &out[2], &out[3], &out[4], &out[5],
		       &end) == ETH_ALEN;
}

static uint32_t half_sum(const void *data, size_t size)
{
	return (uint16_t)~csum_over(data, size, 0);
}

/* All but addresses and ports, and the sums of it. */
static void frame_template(struct source_state *s)
{
	struct source_frame *f = &s->frame;

	*f = (struct source_frame){
		.eth = {.h_proto = htons(ETH_P_IP)},
		.ip = {.version = 4,
			.ihl = 5,
			.ttl = 64,
			.protocol = IPPROTO_UDP,
			.tot_len = htons(sizeof *f - sizeof f->eth)},
		.udp = {.len = htons(sizeof *f - sizeof f->eth - sizeof f->ip)},
	};
	s->ip_sum = half_sum(&f->ip, sizeof f->ip);
	s->udp_sum = half_sum(&f->udp, sizeof f->udp + sizeof f->payload) + htons(IPPROTO_UDP) + f->udp.len;
}

static bool fill_state(struct sender *s)
{
	const struct options *o = s->o;
	struct in_addr remote, pool;

	s->state = (struct source_state){
		.made = {o->skip},
		.flows = o->flows,
		.per_flow = o->per_flow,
		.at_random = o->at_random,
		.junk_percent = o->junk_percent,
		.pool_addresses = o->pool_addresses,
	};
	for (int kind = 0; kind < N_SOURCE; kind++) {
		if (!parse_mac(s->state.mac[kind], o->mac[kind]))
			return false;
		s->state.mac[kind][ETH_ALEN] = 2; /* the source: locally administered, the rest 0 */
	}
	if (inet_pton(AF_INET, o->destination, &remote) != 1 || inet_pton(AF_INET, o->pool, &pool) != 1)
		return false;
	s->state.remote = ntohl(remote.s_addr);
	s->state.pool = ntohl(pool.s_addr);
	frame_template(&s->state);
	return bpf_map_update_elem(s->map, &(uint32_t){0}, &s->state, BPF_ANY) == 0;
}

/* ---- sending ---- */

static volatile sig_atomic_t time_is_over;

static void on_alarm(int signal_number)
{
	(void)signal_number;
	time_is_over = 1; /* and it ends the system call */
}

/* As few calls as there can be: each sets a pool of frames up and waits for a grace period of the kernel's when it ends. */
static bool send_for(struct sender *s, unsigned ms)
{
	LIBBPF_OPTS(bpf_test_run_opts, run, .data_in = &s->state.frame, .data_size_in = SOURCE_FRAME,
		.repeat = FRAMES_A_CALL, .flags = BPF_F_TEST_XDP_LIVE_FRAMES);
	const struct itimerval timer = {.it_value = {ms / 1000, ms % 1000 * 1000}};

	if (!ms)
		return true;
	time_is_over = 0;
	if (setitimer(ITIMER_REAL, &timer, NULL) != 0)
		return false;
	while (!time_is_over)
		if (bpf_prog_test_run_opts(s->program, &run) != 0 && errno != EINTR)
			return false;
	return true;
}

/* ---- what is told ---- */

static bool sink_read(const struct sender *s, uint64_t out[N_SINK])
{
	uint64_t per_cpu[CPUS_MAX];
	int cpus = libbpf_num_possible_cpus();

	for (uint32_t which = 0; which < N_SINK; which++) {
		out[which] = 0;
		if (cpus < 0 || cpus > CPUS_MAX || bpf_map_lookup_elem(s->sink, &which, per_cpu) != 0)
			return false;
		for (int i = 0; i < cpus; i++)
			out[which] += per_cpu[i];
	}
	return true;
}

/* What the CPU has spent on what since it was started. */
static void cpu_read(unsigned wanted, uint64_t spent[N_STATES])
{
	FILE *f = fopen("/proc/stat", "re");
	char line[512];
	unsigned cpu;

	memset(spent, 0, N_STATES * sizeof *spent);
	while (f && fgets(line, sizeof line, f)) {
		uint64_t v[N_STATES];

		if (sscanf(line, "cpu%u %lu %lu %lu %lu %lu %lu %lu %lu", &cpu, &v[0], &v[1], &v[2], &v[3], &v[4],
			    &v[5], &v[6], &v[7]) == 1 + N_STATES &&
			cpu == wanted)
			memcpy(spent, v, sizeof v);
	}
	if (f)
		fclose(f);
}

static bool take_look(const struct sender *s, struct look *l)
{
	struct source_state now;

	if (!sink_read(s, l->sink) || bpf_map_lookup_elem(s->map, &(uint32_t){0}, &now) != 0)
		return false;
	memcpy(l->made, now.made, sizeof l->made);
	cpu_read(s->o->contender_cpu, l->cpu[0]);
	cpu_read(s->o->cpu, l->cpu[1]);
	l->at = mono_now();
	return true;
}

static void tell_cpu(const char *whose, const uint64_t before[N_STATES], const uint64_t after[N_STATES])
{
	uint64_t all = 0, spent[N_STATES];

	for (int i = 0; i < N_STATES; i++)
		all += spent[i] = after[i] - before[i];
	if (!all)
		all = 1;
	printf(" %s_user=%.3f %s_system=%.3f %s_softirq=%.3f %s_stolen=%.3f", whose,
		(double)(spent[USER] + spent[NICE]) / (double)all, whose, (double)spent[SYSTEM] / (double)all, whose,
		(double)(spent[IRQ] + spent[SOFTIRQ]) / (double)all, whose, (double)spent[STOLEN] / (double)all);
}

static void tell(const struct look *before, const struct look *after)
{
	printf("seconds=%.6f sent=%lu junk=%lu translated=%lu untranslated=%lu next=%lu",
		(double)mono_since(after->at, before->at).ns / 1e9,
		after->made[SOURCE_GOOD] - before->made[SOURCE_GOOD],
		after->made[SOURCE_JUNK] - before->made[SOURCE_JUNK],
		after->sink[TRANSLATED] - before->sink[TRANSLATED],
		after->sink[UNTRANSLATED] - before->sink[UNTRANSLATED], after->made[SOURCE_GOOD]);
	tell_cpu("contender", before->cpu[0], after->cpu[0]);
	tell_cpu("generator", before->cpu[1], after->cpu[1]);
	putchar('\n');
}

static bool run(struct sender *s)
{
	struct look before, after;

	signal(SIGALRM, on_alarm);
	if (!send_for(s, s->o->warm_ms) || !take_look(s, &before) || !send_for(s, s->o->ms) || !take_look(s, &after))
		return false;
	tell(&before, &after);
	return true;
}

/* ---- set-up ---- */

/* A device is named in the namespace of whoever puts it into the map. */
static bool add_device(int devices, uint32_t kind, const struct options *o)
{
	int netns = open(o->netns[kind], O_RDONLY | O_CLOEXEC);
	uint32_t index = 0;
	bool ok = netns >= 0 && setns(netns, CLONE_NEWNET) == 0 && (index = if_nametoindex(o->interface[kind])) &&
		  bpf_map_update_elem(devices, &kind, &index, BPF_ANY) == 0;

	if (netns >= 0)
		close(netns);
	return ok;
}

static bool open_source(struct sender *s)
{
	struct bpf_object *obj = bpf_object__open_file(s->o->program, NULL);
	int devices;

	if (!obj || bpf_object__load(obj) != 0)
		return false;
	s->program = bpf_program__fd(bpf_object__find_program_by_name(obj, "source"));
	s->map = bpf_object__find_map_fd_by_name(obj, "source_state");
	devices = bpf_object__find_map_fd_by_name(obj, "source_device");
	s->sink = bpf_obj_get(s->o->sink);
	for (uint32_t kind = 0; kind < N_SOURCE; kind++)
		if (!add_device(devices, kind, s->o))
			return false;
	return s->sink >= 0 && fill_state(s);
}

static void pin_to(unsigned cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	if (sched_setaffinity(0, sizeof set, &set) != 0)
		log_warning("cannot run on CPU %u alone", cpu);
}

int main(int argc, char **argv)
{
	static struct options o = {.pool_addresses = 1, .flows = 1000, .ms = 1000};
	static struct sender s = {.o = &o};
	const struct arg args[] = {
		{"program", "FILE", "source.bpf.o", .text = &o.program, .required = true},
		{"inside-netns", "FILE", "of the inside neighbour", .text = &o.netns[SOURCE_GOOD], .required = true},
		{"inside-interface", "IF", "its", .text = &o.interface[SOURCE_GOOD], .required = true},
		{"inside-mac", "MAC", "the appliance's", .text = &o.mac[SOURCE_GOOD], .required = true},
		{"outside-netns", "FILE", "of the outside neighbour", .text = &o.netns[SOURCE_JUNK], .required = true},
		{"outside-interface", "IF", "its", .text = &o.interface[SOURCE_JUNK], .required = true},
		{"outside-mac", "MAC", "the appliance's", .text = &o.mac[SOURCE_JUNK], .required = true},
		{"destination", "IP", "where the packets go", .text = &o.destination, .required = true},
		{"pool", "IP", "the first NAT address, where junk goes", .text = &o.pool, .required = true},
		{"pool-addresses", "N", "how many, 1", .number = &o.pool_addresses, .min = 1, .max = 65536},
		{"sink", "FILE", "the sink's pinned counters", .text = &o.sink, .required = true},
		{"flows", "N", "different ones, 1000", .number = &o.flows, .min = 1, .max = 100000000},
		{"per-flow", "N", "packets after which another flow begins and one ends, 0: never",
			.number = &o.per_flow, .max = 1000000},
		{"random", NULL, "draw each packet's flow; else they come in turn", .flag = &o.at_random},
		{"skip", "N", "flows at the beginning to leave out", .number = &o.skip, .max = 100000000},
		{"junk-percent", "N", "of all packets, 0", .number = &o.junk_percent, .max = 99},
		{"warm-ms", "N", "before it counts", .number = &o.warm_ms, .max = 600000},
		{"ms", "N", "that count, 1000", .number = &o.ms, .min = 1, .max = 3600000},
		{"cpu", "N", "run on this CPU alone, 0", .number = &o.cpu, .max = CPUS_MAX - 1},
		{"contender-cpu", "N", "whose time to tell, 0", .number = &o.contender_cpu, .max = CPUS_MAX - 1},
		{0},
	};
	int status = args_parse(argc, argv, "bench_sender", "UDP packets of many flows", args, NULL);

	if (status != ARGS_RUN)
		return status;
	log_open("bench_sender");
	pin_to(o.cpu);
	if (!open_source(&s) || !run(&s)) {
		log_error("cannot send on %s and %s, or read %s: %s", o.interface[0], o.interface[1], o.sink,
			strerror(errno));
		return 1;
	}
	return 0;
}
