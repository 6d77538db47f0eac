/* Fuzzes what takes packets apart off the fast path: quoted packets, ICMP errors made, MSS clamp, fragmentation.
 *
 * An input is one byte that says what to do, then the packet from its IPv4 (or TCP) header on. Checksums are set right
 * first, where the byte says so: no fuzzer guesses them.
 */
#include "common/csum.h"
#include "pe/fragment.h"
#include "pe/icmp_error.h"
#include "pe/ip4.h"
#include "pe/mss.h"
#include "pe/quoted.h"
#include "tests/fuzz/fuzz.h"

enum { OP_KIND = 3, OP_OUTSIDE = 4, OP_SUMS = 8, ETH = sizeof(struct eth_header), BYTES_MAX = 1400 };

/* A frame around the rest of the input, in memory of its own size so that a sanitizer sees the end. */
static struct packet frame_of(struct input *in, unsigned op, size_t room)
{
	static const uint8_t eth[ETH] = {2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0};
	const uint8_t *bytes;
	size_t n = input_bytes(in, &bytes, BYTES_MAX);
	struct packet p = {.data = calloc(1, room > ETH + n ? room : ETH + n), .len = (uint32_t)(ETH + n)};

	FUZZ_EXPECT(p.data);
	memcpy(p.data, eth, sizeof eth);
	if (n)
		memcpy(p.data + ETH, bytes, n);
	p.side = op & OP_OUTSIDE ? SIDE_OUTSIDE : SIDE_INSIDE;
	return p;
}

static void set_ip_sum(uint8_t *at, size_t room)
{
	struct ip4_header *ip = (struct ip4_header *)at;
	struct ip4_extent e = ip4_extent(ip, room);

	if (!e.header)
		return;
	ip->checksum = 0;
	ip->checksum = csum_over(ip, e.header, 0);
}

/* From the inside out: the quote's header, the message, the header in front. */
static void set_sums(struct packet *p)
{
	struct ip4_extent e = ip4_of_frame(p);
	const uint8_t *ip = p->data + ETH;

	if (e.header && e.size >= e.header + sizeof(struct icmp_header) && ip[9] == PROTO_ICMP) {
		struct icmp_header *icmp = (struct icmp_header *)(p->data + ETH + e.header);

		set_ip_sum((uint8_t *)(icmp + 1), e.size - e.header - sizeof *icmp);
		icmp->checksum = 0;
		icmp->checksum = csum_over(icmp, e.size - e.header, 0);
	}
	set_ip_sum(p->data + ETH, p->len - ETH);
}

/* ---- the four ---- */

/* There and back: what was said of the packet holds again. */
static void try_quoted(unsigned op, struct input *in)
{
	struct packet p = frame_of(in, op, 0);
	const struct ip4_header *ip = (const struct ip4_header *)(p.data + ETH);
	be32_t address = be32_of(0xc6336401);
	be16_t port = be16_of(1025);
	struct quoted was, is;

	if (op & OP_SUMS)
		set_sums(&p);
	if (quoted_parse(&was, &p) == N_VERDICTS) {
		be32_t src = ip->src, dst = ip->dst;
		bool in_front_right = csum_over(ip, (ip->version_ihl & 15u) * 4u, 0) == 0;

		quoted_rewrite(&p, &was, address, address, address, port);
		FUZZ_EXPECT(quoted_parse(&is, &p) == N_VERDICTS);
		FUZZ_EXPECT((was.dir == DIR_INBOUND ? is.src : is.dst).net == address.net);
		FUZZ_EXPECT(!in_front_right || csum_over(ip, (ip->version_ihl & 15u) * 4u, 0) == 0);
		quoted_rewrite(&p, &is, src, dst, was.dir == DIR_INBOUND ? was.src : was.dst,
			was.dir == DIR_INBOUND ? was.sport : was.dport);
		FUZZ_EXPECT(quoted_parse(&is, &p) == N_VERDICTS);
		FUZZ_EXPECT(flow_key_equal(was.key, is.key) && was.end == is.end);
	}
	free(p.data);
}

/* What is made can be read by whoever gets it, and is not answered in turn. */
static void try_icmp_error(unsigned op, struct input *in)
{
	struct packet p = frame_of(in, op, ICMP_ERROR_ROOM);
	struct quoted q;

	if (op & OP_SUMS)
		set_sums(&p);
	if (icmp_error_make(&p, ICMP_TYPE_UNREACHABLE, ICMP_CODE_TOO_BIG, 1280, be32_of(0xc6336401))) {
		FUZZ_EXPECT(p.len <= ICMP_ERROR_ROOM && (uint32_t)ip4_of_frame(&p).size + ETH == p.len);
		enum verdict v = quoted_parse(&q, &p);
		FUZZ_EXPECT(v == N_VERDICTS || v == VERDICT_drop_icmp_quote);
		FUZZ_EXPECT(!icmp_error_make(&p, ICMP_TYPE_TIME_EXCEEDED, 0, 0, be32_of(0xc6336402)));
	}
	free(p.data);
}

static void try_mss(unsigned op, struct input *in)
{
	struct packet p = frame_of(in, op, 0);
	uint8_t *tcp = p.data + ETH;
	size_t bytes = p.len - ETH;
	uint16_t sum = csum_over(tcp, bytes, 0);

	if (mss_clamp(tcp, bytes, 536)) {
		FUZZ_EXPECT(csum_over(tcp, bytes, 0) % 0xffff == sum % 0xffff);
		FUZZ_EXPECT(!mss_clamp(tcp, bytes, 536));
	}
	free(p.data);
}

/* As much payload comes out as went in, in order. */
static void try_split(unsigned op, struct input *in)
{
	enum { PIECES = 256 };
	static uint8_t room[PIECES][ETH + BYTES_MAX];
	uint16_t mtu = (uint16_t)(input_byte(in) * 6);
	struct packet p = frame_of(in, op, 0), out[PIECES];
	unsigned at = ETH;

	if (op & OP_SUMS)
		set_sums(&p);
	for (unsigned i = 0; i < PIECES; i++)
		out[i] = (struct packet){.data = room[i], .len = sizeof room[i]};
	unsigned n = fragment_split(&p, mtu, out, PIECES);
	if (n)
		at += ip4_of_frame(&p).header;
	for (unsigned i = 0; i < n; i++) {
		struct ip4_extent e = ip4_of_frame(&out[i]);
		unsigned payload = e.size - e.header;

		FUZZ_EXPECT(e.header && e.size <= mtu && (uint32_t)e.size + ETH == out[i].len);
		FUZZ_EXPECT(csum_over(out[i].data + ETH, e.header, 0) == 0);
		FUZZ_EXPECT(memcmp(out[i].data + ETH + e.header, p.data + at, payload) == 0);
		at += payload;
	}
	FUZZ_EXPECT(n == 0 || at == ETH + (unsigned)ip4_of_frame(&p).size);
	free(p.data);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static void (*const kinds[])(unsigned, struct input *) = {try_quoted, try_icmp_error, try_mss, try_split};
	struct input in = {data, data + size};
	unsigned op = input_byte(&in);

	kinds[op & OP_KIND](op, &in);
	return 0;
}
