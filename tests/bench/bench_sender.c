/* The lab's generator: 60-byte UDP packets of so many flows, as fast as one CPU sends them, for a bounded time; reads
 * the sink's counters where the measured stretch begins and ends.
 *
 * Sends through a packet socket and the queueing layer, so that the program that plays the NIC's RSS sees each packet.
 * Prints one line: what was sent and what arrived during the measured stretch. */
#include "common/args.h"
#include "common/clock.h"
#include "common/csum.h"
#include "common/headers.h"
#include "common/log.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	BATCH = 64,
	PER_SUBSCRIBER = 64, /* flows */
	FIRST_PORT = 20000,
	DISCARD_PORT = 9,
	CPUS_MAX = 1024,
	SEND_BUFFER = 16 << 20,
};
#define SUBSCRIBERS 0x64410000u /* 100.65.0.0, RFC 6598 */
#define SCRAMBLE 2654435761u    /* prime: all flows in turn, but not in order */

struct frame {
	struct eth_header eth;
	struct ip4_header ip;
	struct udp_header udp;
	uint8_t payload[18];
} __attribute__((packed));
_Static_assert(sizeof(struct frame) == 60, "without the frame check sequence");

enum { TRANSLATED, UNTRANSLATED, N_SINK }; /* sink.bpf.c */

struct sender {
	int fd, sink;
	struct frame frame[BATCH];
	struct mmsghdr message[BATCH];
	struct iovec iov[BATCH];
	uint64_t next, flows; /* the packet to send; after how many the first flow comes again */
	uint64_t sent;
};

/* ---- packets ---- */

static bool frame_template(struct sender *s, const char *interface, const char *mac, const char *destination)
{
	struct frame *f = &s->frame[0];
	struct ifreq request = {0};
	uint8_t *d = f->eth.dst;

	snprintf(request.ifr_name, sizeof request.ifr_name, "%s", interface);
	if (sscanf(mac, "%hhx:%hhx:%hhx:%hhx:%hhx:%hhx", &d[0], &d[1], &d[2], &d[3], &d[4], &d[5]) != 6 ||
		ioctl(s->fd, SIOCGIFHWADDR, &request) != 0 || inet_pton(AF_INET, destination, &f->ip.dst) != 1)
		return false;
	memcpy(f->eth.src, request.ifr_hwaddr.sa_data, sizeof f->eth.src);
	f->eth.type = be16_of(ETHERTYPE_IPV4);
	f->ip.version_ihl = 0x45;
	f->ip.ttl = 64;
	f->ip.protocol = PROTO_UDP;
	f->ip.total_size = be16_of(sizeof *f - sizeof f->eth);
	f->udp.size = be16_of(sizeof *f - sizeof f->eth - sizeof f->ip);
	f->udp.dst = be16_of(DISCARD_PORT);
	for (int i = 0; i < BATCH; i++) {
		s->frame[i] = s->frame[0];
		s->iov[i] = (struct iovec){&s->frame[i], sizeof s->frame[i]};
		s->message[i].msg_hdr = (struct msghdr){.msg_iov = &s->iov[i], .msg_iovlen = 1};
	}
	return true;
}

/* Addresses, protocol and length that the UDP checksum covers besides the datagram. */
static uint16_t udp_checksum(const struct frame *f)
{
	uint32_t sum = htons(PROTO_UDP) + f->udp.size.net + (f->ip.src.net & 0xffff) + (f->ip.src.net >> 16) +
		       (f->ip.dst.net & 0xffff) + (f->ip.dst.net >> 16);
	uint16_t is = csum_over(&f->udp, sizeof f->udp + sizeof f->payload, sum);

	return is ? is : 0xffff;
}

static void frame_fill(struct frame *f, uint64_t flow)
{
	f->ip.src = be32_of(SUBSCRIBERS + (uint32_t)(flow / PER_SUBSCRIBER));
	f->udp.src = be16_of((uint16_t)(FIRST_PORT + flow % PER_SUBSCRIBER));
	f->ip.checksum = 0;
	f->ip.checksum = csum_over(&f->ip, sizeof f->ip, 0);
	f->udp.checksum = 0;
	f->udp.checksum = udp_checksum(f);
}

/* A full queue is an answer like another: the packet is lost, and the next one is sent. */
static bool send_batch(struct sender *s)
{
	for (int i = 0; i < BATCH; i++, s->next++)
		frame_fill(&s->frame[i], s->next * SCRAMBLE % s->flows);
	for (int done = 0; done < BATCH;) {
		int n = sendmmsg(s->fd, s->message + done, (unsigned)(BATCH - done), 0);

		if (n < 0 && errno != ENOBUFS && errno != EAGAIN && errno != EINTR) {
			log_error("cannot send: %s", strerror(errno));
			return false;
		}
		s->sent += n > 0 ? (unsigned)n : 0;
		done += n > 0 ? n : 1;
	}
	return true;
}

static bool send_until(struct sender *s, mono_t end)
{
	while (!mono_due(mono_now(), end))
		if (!send_batch(s))
			return false;
	return true;
}

/* ---- the sink ---- */

static bool sink_read(const struct sender *s, uint64_t out[N_SINK])
{
	uint64_t per_cpu[CPUS_MAX];
	int cpus = libbpf_num_possible_cpus();

	for (uint32_t which = 0; which < N_SINK; which++) {
		out[which] = 0;
		if (cpus < 0 || cpus > CPUS_MAX || bpf_map_lookup_elem(s->sink, &which, per_cpu) != 0) {
			log_error("cannot read the sink: %s", strerror(errno));
			return false;
		}
		for (int i = 0; i < cpus; i++)
			out[which] += per_cpu[i];
	}
	return true;
}

static bool run(struct sender *s, unsigned warm_ms, unsigned ms)
{
	uint64_t before[N_SINK], after[N_SINK], sent;
	mono_t began;

	if (!send_until(s, mono_after(mono_now(), span_ms(warm_ms))) || !sink_read(s, before))
		return false;
	sent = s->sent;
	began = mono_now();
	if (!send_until(s, mono_after(began, span_ms(ms))) || !sink_read(s, after))
		return false;
	printf("seconds=%.6f sent=%lu translated=%lu untranslated=%lu next=%lu\n",
		(double)mono_since(mono_now(), began).ns / 1e9, s->sent - sent, after[TRANSLATED] - before[TRANSLATED],
		after[UNTRANSLATED] - before[UNTRANSLATED], s->next);
	return true;
}

/* ---- set-up ---- */

static bool open_socket(struct sender *s, const char *interface)
{
	struct sockaddr_ll to = {.sll_family = AF_PACKET, .sll_ifindex = (int)if_nametoindex(interface)};
	int size = SEND_BUFFER;

	s->fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
	return s->fd >= 0 && to.sll_ifindex && bind(s->fd, (struct sockaddr *)&to, sizeof to) == 0 &&
	       setsockopt(s->fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof size) == 0;
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
	static const char *interface, *mac, *destination, *sink;
	static unsigned flows = 1000, skip, warm_ms, ms = 1000, cpu;
	static struct sender s;
	const struct arg args[] = {
		{"interface", "IF", "the appliance's inside neighbour's", .text = &interface, .required = true},
		{"mac", "MAC", "the appliance's", .text = &mac, .required = true},
		{"destination", "IP", "where the packets go", .text = &destination, .required = true},
		{"sink", "FILE", "the sink's pinned counters", .text = &sink, .required = true},
		{"flows", "N", "different ones, 1000", .number = &flows, .min = 1, .max = 100000000},
		{"skip", "N", "flows at the beginning to leave out", .number = &skip, .max = 100000000},
		{"warm-ms", "N", "before it counts", .number = &warm_ms, .max = 60000},
		{"ms", "N", "that count, 1000", .number = &ms, .min = 1, .max = 60000},
		{"cpu", "N", "run on this CPU alone, 0", .number = &cpu, .max = CPU_SETSIZE - 1},
		{0},
	};
	int status = args_parse(argc, argv, "bench_sender", "UDP packets of many flows", args, NULL);

	if (status != ARGS_RUN)
		return status;
	log_open("bench_sender");
	pin_to(cpu);
	s.flows = flows;
	s.next = skip;
	s.sink = bpf_obj_get(sink);
	if (s.sink < 0 || !open_socket(&s, interface) || !frame_template(&s, interface, mac, destination)) {
		log_error("cannot send on %s to %s, %s, or read %s: %s", interface, mac, destination, sink,
			strerror(errno));
		return 1;
	}
	return run(&s, warm_ms, ms) ? 0 : 1;
}
