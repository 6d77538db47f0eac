/* The rows of options.h. Order here is the order of the printed document. */
#include "common/options.h"

#include "common/config_internal.h"

#include <string.h>

#define CUSTOMARY_KEY "\"6d5a56da255b0ec24167253d43a38fb0d0ca2bcbae7b30b477cb2da38030f20c6a42b73bbeac01fa\""

static const char *const huge_pages_choices[] = {"auto", "required", "off", NULL};
static const char *const xdp_choices[] = {"auto", "native", "generic", NULL};
static const char *const zero_copy_choices[] = {"auto", "on", "off", NULL};
static const char *const busy_poll_choices[] = {"auto", "on", "off", NULL};
static const char *const rss_choices[] = {"single", "toeplitz", "destination", "nic", NULL};
static const char *const rss_ports_choices[] = {"tcp+udp", "tcp", "udp", "none", NULL};
static const char *const on_choices[] = {"off", "on", NULL};
static const char *const refusal_choices[] = {"host-unreachable", "prohibited", "off", NULL};
static const char *const protocol_choices[] = {"any", "tcp", "udp", "icmp", "other", NULL};
static const char *const action_choices[] = {"translate", "bypass", "drop", NULL};
static const char *const type_choices[] = {"default", "full-cone", "restricted", "port-restricted", "symmetric", NULL};
static const char *const static_choices[] = {"tcp", "udp", "any", NULL};
/* A rule has one choice more than nat.* has. */
static const char *const behaviour_choices[] = {
	"endpoint-independent", "address-dependent", "address-and-port-dependent", NULL};
static const char *const rule_behaviour_choices[] = {
	"endpoint-independent", "address-dependent", "address-and-port-dependent", "default", NULL};
static const char *const pooling_choices[] = {"paired", "arbitrary", NULL};
static const char *const rule_pooling_choices[] = {"paired", "arbitrary", "default", NULL};
static const char *const ports_choices[] = {"shuffled", "ordered", "blocks", "deterministic", NULL};
static const char *const rule_ports_choices[] = {"shuffled", "ordered", "blocks", "deterministic", "default", NULL};
static const char *const order_choices[] = {"fill", "spread", NULL};
static const char *const preserve_choices[] = {"ignore", "preserve", NULL};

enum {
	INTERFACE_LENGTH_MAX = 15, /* IFNAMSIZ without its zero */
	LIMIT_MAX = 1 << 30,       /* QUOTA_UNLIMITED */
	LIMIT_KIB_MAX = 1 << 25,   /* the same in units of 32 bytes */
	LIMIT_RATE_MAX = 100000000,
	MSS_MAX = 65495, /* of the longest IPv4 packet (RFC 6691) */
	/* Leaves room in sun_path for "/aggregator.sock" and for its zero. */
	RUNTIME_DIR_LENGTH_MAX = CONFIG_PATH_SIZE - (int)sizeof("/aggregator.sock"),
};

/* clang-format off */
#define AT(field) {offsetof(struct config, field), sizeof(((struct config *)0)->field)}
#define AT_POOL(field) {offsetof(struct config_pool, field), sizeof(((struct config_pool *)0)->field)}
#define AT_RULE(field) {offsetof(struct config_rule, field), sizeof(((struct config_rule *)0)->field)}
#define AT_STATIC(field) {offsetof(struct config_static, field), sizeof(((struct config_static *)0)->field)}
#define AT_LIMITS(field) {offsetof(struct config_limits, field), sizeof(((struct config_limits *)0)->field)}
#define AT_REALM(field) {offsetof(struct config_realm, field), sizeof(((struct config_realm *)0)->field)}
#define LENGTH_MAX(field) (sizeof(((struct config *)0)->field) - 1)

/* The same rows for both interfaces: how the NIC spreads packets over its queues. */
#define RSS_ROWS(side, at)                                                                         \
	{.path = side ".rss.mode", .type = OPTION_CHOICE, .value = AT(at.mode),                    \
	 .choices = rss_choices, .initial = "\"toeplitz\"", .change = OPTION_RESTART,              \
	 .help = "how the interface chooses the queue: all to queue 0, Toeplitz, Toeplitz of the "  \
		 "destination address alone, or as its driver says when mgmtd starts"},             \
	{.path = side ".rss.ports", .type = OPTION_CHOICE, .value = AT(at.ports),                  \
	 .choices = rss_ports_choices, .initial = "\"tcp+udp\"", .change = OPTION_RESTART,         \
	 .help = "whose ports Toeplitz hashes, too"},                                              \
	{.path = side ".rss.key", .type = OPTION_KEY, .value = AT(at.key),                         \
	 .count = AT(at.key_size), .min = 80, .max = 104, .initial = CUSTOMARY_KEY,                \
	 .unit = "hex digits", .change = OPTION_RESTART, .help = "Toeplitz key of the interface"}, \
	{.path = side ".rss.table", .type = OPTION_TABLE, .value = AT(at.table),                   \
	 .count = AT(at.table_len), .min = 0, .max = RSS_TABLE_MAX, .initial = "[]",               \
	 .unit = "queues", .change = OPTION_RESTART,                                               \
	 .help = "indirection table of the interface; empty: 128 entries, engines in turn"}

const struct option options[] = {
	{.path = "arena.name", .type = OPTION_STRING, .value = AT(arena.name), .min = 2,
	 .max = LENGTH_MAX(arena.name), .initial = "\"/corenat\"", .change = OPTION_RESTART,
	 .help = "name of the shared-memory object"},
	{.path = "arena.engines", .type = OPTION_INTEGER, .value = AT(arena.engines), .min = 1,
	 .max = ENGINE_MAX, .initial = "1", .unit = "engines", .change = OPTION_RESTART,
	 .help = "packet engines; one core and one queue of each interface for each"},
	{.path = "arena.sessions", .type = OPTION_INTEGER, .value = AT(arena.sessions), .min = 1024,
	 .max = 1u << 27, .initial = "1048576", .unit = "sessions", .change = OPTION_RESTART,
	 .help = "sessions the arena has room for, all engines together"},
	{.path = "arena.subscribers", .type = OPTION_INTEGER, .value = AT(arena.subscribers), .min = 64,
	 .max = 1u << 24, .initial = "65536", .unit = "subscribers", .change = OPTION_RESTART,
	 .help = "subscribers the arena has room for"},
	{.path = "arena.huge_pages", .type = OPTION_CHOICE, .value = AT(arena.huge_pages),
	 .choices = huge_pages_choices, .initial = "\"auto\"", .change = OPTION_RESTART,
	 .help = "huge pages for the arena: when there are some, always, never"},

	{.path = "engine.xdp", .type = OPTION_CHOICE, .value = AT(engine.xdp),
	 .choices = xdp_choices, .initial = "\"auto\"", .change = OPTION_RESTART,
	 .help = "where the XDP program runs: the driver if it can, the driver, the stack"},
	{.path = "engine.zero_copy", .type = OPTION_CHOICE, .value = AT(engine.zero_copy),
	 .choices = zero_copy_choices, .initial = "\"auto\"", .change = OPTION_RESTART,
	 .help = "zero-copy sockets: if the driver can, always, never"},
	{.path = "engine.ring_size", .type = OPTION_INTEGER, .value = AT(engine.ring_size),
	 .min = 64, .max = 32768, .initial = "2048", .unit = "descriptors",
	 .change = OPTION_RESTART, .help = "size of each AF_XDP ring; a power of two"},
	{.path = "engine.busy_poll", .type = OPTION_CHOICE, .value = AT(engine.busy_poll),
	 .choices = busy_poll_choices, .initial = "\"auto\"", .change = OPTION_RESTART,
	 .help = "engines poll the driver themselves: with zero-copy where interrupts are deferred, always, never"},
	{.path = "engine.busy_poll_budget", .type = OPTION_INTEGER,
	 .value = AT(engine.busy_poll_budget), .min = 1, .max = 1024, .initial = "64",
	 .unit = "packets", .change = OPTION_RESTART, .help = "what a driver may take in one such poll"},
	{.path = "engine.cpus", .type = OPTION_CPUS, .value = AT(engine.cpus),
	 .count = AT(engine.n_cpus), .min = 0, .max = ENGINE_MAX, .initial = "[]", .unit = "CPUs",
	 .change = OPTION_RESTART, .help = "CPU of each engine; empty: engine N on CPU N"},

	{.path = "inside.interface", .type = OPTION_STRING,
	 .value = AT(net.side[SIDE_INSIDE].name), .min = 1, .max = INTERFACE_LENGTH_MAX,
	 .change = OPTION_RESTART, .help = "interface towards the subscribers"},
	{.path = "inside.prefixes", .type = OPTION_PREFIXES, .value = AT(net.prefixes),
	 .count = AT(net.n_prefixes), .min = 1, .max = CONFIG_PREFIXES_MAX, .unit = "prefixes",
	 .change = OPTION_LIVE, .help = "IPv4 prefixes of the subscribers"},
	RSS_ROWS("inside", net.side[SIDE_INSIDE].rss),

	{.path = "outside.interface", .type = OPTION_STRING,
	 .value = AT(net.side[SIDE_OUTSIDE].name), .min = 1, .max = INTERFACE_LENGTH_MAX,
	 .change = OPTION_RESTART, .help = "interface towards the Internet"},
	RSS_ROWS("outside", net.side[SIDE_OUTSIDE].rss),

	{.path = "realms", .type = OPTION_OBJECTS, .value = AT(realms), .count = AT(n_realms),
	 .min = 0, .max = CONFIG_REALMS_MAX, .initial = "[]", .unit = "realms",
	 .change = OPTION_LIVE,
	 .help = "subscribers behind VLANs of the inside interface; addresses may be the same in several"},
	{.path = "realms[].name", .type = OPTION_STRING, .value = AT_REALM(name), .min = 1,
	 .max = CONFIG_NAME_SIZE - 1, .change = OPTION_LIVE, .help = "name of the realm"},
	{.path = "realms[].vlan", .type = OPTION_INTEGER, .value = AT_REALM(vlan),
	 .min = VLAN_MIN, .max = VLAN_MAX, .change = OPTION_LIVE, .help = "VLAN id of the realm"},
	{.path = "realms[].prefixes", .type = OPTION_PREFIXES, .value = AT_REALM(prefixes),
	 .count = AT_REALM(n_prefixes), .min = 1, .max = CONFIG_REALM_PREFIXES_MAX,
	 .unit = "prefixes", .change = OPTION_LIVE, .help = "IPv4 prefixes of its subscribers"},

	{.path = "pools", .type = OPTION_OBJECTS, .value = AT(pools), .count = AT(n_pools),
	 .min = 1, .max = CONFIG_POOLS_MAX, .unit = "pools", .change = OPTION_LIVE,
	 .help = "pools of NAT addresses"},
	{.path = "pools[].name", .type = OPTION_STRING, .value = AT_POOL(name), .min = 1,
	 .max = CONFIG_NAME_SIZE - 1, .change = OPTION_LIVE, .help = "name of the pool"},
	{.path = "pools[].addresses", .type = OPTION_ADDRESSES, .value = AT_POOL(ranges),
	 .count = AT_POOL(n_ranges), .min = 1, .max = CONFIG_RANGES_MAX, .unit = "ranges",
	 .change = OPTION_LIVE,
	 .help = "IPv4 addresses, prefixes and ranges; every address in them is used"},
	{.path = "pools[].exclude", .type = OPTION_ADDRESSES, .value = AT_POOL(exclude),
	 .count = AT_POOL(n_exclude), .min = 0, .max = CONFIG_RANGES_MAX, .initial = "[]",
	 .unit = "ranges", .change = OPTION_LIVE, .help = "of the pool's addresses: not used"},
	{.path = "pools[].drain", .type = OPTION_ADDRESSES, .value = AT_POOL(drain),
	 .count = AT_POOL(n_drain), .min = 0, .max = CONFIG_RANGES_MAX, .initial = "[]",
	 .unit = "ranges", .change = OPTION_LIVE,
	 .help = "of the pool's addresses: what lives on them goes on, no new mapping is made"},
	{.path = "pools[].block_size", .type = OPTION_INTEGER, .value = AT_POOL(block_size),
	 .min = 64, .max = 4096, .initial = "512", .unit = "ports", .change = OPTION_LIVE,
	 .help = "ports of a block; a power of two"},
	{.path = "pools[].blocks_max", .type = OPTION_INTEGER, .value = AT_POOL(blocks_max),
	 .min = 1, .max = 8, .initial = "4", .unit = "blocks", .change = OPTION_LIVE,
	 .help = "blocks that one subscriber may have at a time"},
	{.path = "pools[].block_hold_s", .type = OPTION_INTEGER, .value = AT_POOL(block_hold_s),
	 .min = 0, .max = 3600, .initial = "120", .unit = "seconds", .change = OPTION_LIVE,
	 .help = "how long a block rests after its last port is free, before another subscriber gets it"},
	{.path = "pools[].active_block_s", .type = OPTION_INTEGER, .value = AT_POOL(active_block_s),
	 .min = 0, .max = 86400, .initial = "0", .unit = "seconds", .change = OPTION_LIVE,
	 .help = "after that time new mappings of a subscriber move on to a fresh block; 0: never"},

	{.path = "nat.udp_timeout_s", .type = OPTION_INTEGER, .value = AT(nat.udp_timeout_s),
	 .min = 120, .max = 86400, .initial = "300", .unit = "seconds", .change = OPTION_LIVE,
	 .source = "RFC 4787 REQ-5", .help = "idle time after which a UDP mapping ends"},
	{.path = "nat.tcp_opening_timeout_s", .type = OPTION_INTEGER,
	 .value = AT(nat.tcp_opening_timeout_s), .min = 10, .max = 86400, .initial = "240",
	 .unit = "seconds", .change = OPTION_LIVE,
	 .help = "idle time of a TCP session not answered yet; RFC 5382 REQ-5 wants at least 240"},
	{.path = "nat.tcp_established_timeout_s", .type = OPTION_INTEGER,
	 .value = AT(nat.tcp_established_timeout_s), .min = 120, .max = 86400,
	 .initial = "7440", .unit = "seconds", .change = OPTION_LIVE,
	 .help = "idle time of an established TCP session; RFC 5382 REQ-5 wants at least 7440"},
	{.path = "nat.tcp_closing_timeout_s", .type = OPTION_INTEGER,
	 .value = AT(nat.tcp_closing_timeout_s), .min = 10, .max = 86400, .initial = "240",
	 .unit = "seconds", .change = OPTION_LIVE,
	 .help = "idle time of a TCP session that ends; RFC 5382 REQ-5 wants at least 240"},
	{.path = "nat.icmp_timeout_s", .type = OPTION_INTEGER, .value = AT(nat.icmp_timeout_s),
	 .min = 60, .max = 86400, .initial = "60", .unit = "seconds", .change = OPTION_LIVE,
	 .source = "RFC 5508 REQ-2", .help = "idle time after which an ICMP query mapping ends"},
	{.path = "nat.port_first", .type = OPTION_INTEGER, .value = AT(nat.port_first), .min = 1,
	 .max = 65535, .initial = "1024", .change = OPTION_LIVE,
	 .help = "first port that mappings may use"},
	{.path = "nat.port_last", .type = OPTION_INTEGER, .value = AT(nat.port_last), .min = 1,
	 .max = 65535, .initial = "65535", .change = OPTION_LIVE,
	 .help = "last port that mappings may use"},
	{.path = "nat.mapping", .type = OPTION_CHOICE, .value = AT(nat.mapping),
	 .choices = behaviour_choices, .initial = "\"endpoint-independent\"",
	 .change = OPTION_LIVE, .help = "what keeps its mapping; RFC 4787 REQ-1 wants endpoint-independent"},
	{.path = "nat.filtering", .type = OPTION_CHOICE, .value = AT(nat.filtering),
	 .choices = behaviour_choices, .initial = "\"endpoint-independent\"",
	 .change = OPTION_LIVE,
	 .help = "who may send to a mapping; RFC 7857 section 5 wants endpoint-independent"},
	{.path = "nat.pooling", .type = OPTION_CHOICE, .value = AT(nat.pooling),
	 .choices = pooling_choices, .initial = "\"paired\"", .change = OPTION_LIVE,
	 .help = "one address for all mappings of a subscriber (RFC 6888 REQ-2), or any"},
	{.path = "nat.udp_inbound_refresh", .type = OPTION_CHOICE,
	 .value = AT(nat.udp_inbound_refresh), .choices = on_choices, .initial = "\"off\"",
	 .change = OPTION_LIVE,
	 .help = "whether inbound packets keep a UDP mapping alive, too (RFC 4787 REQ-6)"},
	{.path = "nat.syn_hold_s", .type = OPTION_INTEGER, .value = AT(nat.syn_hold_s), .min = 0,
	 .max = 60, .initial = "6", .unit = "seconds", .change = OPTION_LIVE,
	 .help = "how long an unsolicited inbound SYN waits for an outbound one before it is refused "
		 "(RFC 5382 REQ-4); 0: dropped at once"},
	{.path = "nat.refusal", .type = OPTION_CHOICE, .value = AT(nat.refusal),
	 .choices = refusal_choices, .initial = "\"host-unreachable\"", .change = OPTION_LIVE,
	 .help = "ICMP error for what is refused: code 1 (RFC 6888 REQ-11), 13 (RFC 5508 REQ-8), none"},
	{.path = "nat.icmp_rate", .type = OPTION_INTEGER, .value = AT(nat.icmp_rate), .min = 0,
	 .max = 100000, .initial = "1000", .unit = "packets per second", .change = OPTION_LIVE,
	 .help = "ICMP errors that each engine may send to each side, of those that say too big, too far, and refused"},
	{.path = "nat.mss_clamp", .type = OPTION_INTEGER, .value = AT(nat.mss_clamp), .min = 0,
	 .max = MSS_MAX, .initial = "0", .unit = "bytes", .change = OPTION_LIVE,
	 .help = "largest TCP maximum segment size let through; 0: any"},
	{.path = "nat.fragments_held", .type = OPTION_INTEGER, .value = AT(nat.fragments_held),
	 .min = 0, .max = 512, .initial = "256", .unit = "packets", .change = OPTION_LIVE,
	 .help = "fragments that each engine keeps until their first one arrives; then the oldest goes"},
	{.path = "nat.fragments_per_source", .type = OPTION_INTEGER,
	 .value = AT(nat.fragments_per_source), .min = 1, .max = 1024, .initial = "16",
	 .unit = "packets", .change = OPTION_LIVE,
	 .help = "of those, how many from one source; then its oldest goes"},
	{.path = "nat.fragment_timeout_s", .type = OPTION_INTEGER,
	 .value = AT(nat.fragment_timeout_s), .min = 1, .max = 60, .initial = "2",
	 .unit = "seconds", .change = OPTION_LIVE,
	 .help = "how long fragments of one packet may lie apart"},
	{.path = "nat.ports", .type = OPTION_CHOICE, .value = AT(nat.ports),
	 .choices = ports_choices, .initial = "\"shuffled\"", .change = OPTION_LIVE,
	 .help = "how ports are chosen: so that replies come home, in order, in blocks of a subscriber, "
		 "or computed from the inside address (RFC 7422)"},
	{.path = "nat.port_range", .type = OPTION_CHOICE, .value = AT(nat.preserve_range),
	 .choices = preserve_choices, .initial = "\"ignore\"", .change = OPTION_LIVE,
	 .help = "whether ports 0-1023 and those above stay among their kind (RFC 4787 REQ-3a)"},
	{.path = "nat.port_parity", .type = OPTION_CHOICE, .value = AT(nat.preserve_parity),
	 .choices = preserve_choices, .initial = "\"ignore\"", .change = OPTION_LIVE,
	 .help = "whether even ports stay even and odd ones odd (RFC 4787 REQ-4)"},
	{.path = "nat.hold_s", .type = OPTION_INTEGER, .value = AT(nat.hold_s), .min = 0,
	 .max = 3600, .initial = "120", .unit = "seconds", .change = OPTION_LIVE,
	 .help = "how long a freed port rests before it is given again (RFC 6888 REQ-8)"},
	{.path = "nat.hold_percent", .type = OPTION_INTEGER, .value = AT(nat.hold_percent), .min = 0,
	 .max = 100, .initial = "50", .unit = "percent", .change = OPTION_LIVE,
	 .help = "most of an address's ports that may rest at a time"},
	{.path = "nat.own_share_percent", .type = OPTION_INTEGER, .value = AT(nat.own_share_percent),
	 .min = 0, .max = 100, .initial = "50", .unit = "percent", .change = OPTION_LIVE,
	 .help = "share of each address's ports that is dealt to engines as their own"},
	{.path = "nat.reserved_ports", .type = OPTION_RANGES, .value = AT(nat.reserved),
	 .count = AT(nat.n_reserved), .min = 0, .max = CONFIG_RESERVED_MAX, .initial = "[]",
	 .unit = "ranges", .change = OPTION_LIVE,
	 .help = "ports and ranges of ports never given dynamically; static mappings may have them"},

	{.path = "nat.subscriber_idle_s", .type = OPTION_INTEGER,
	 .value = AT(nat.subscriber_idle_s), .min = 1, .max = 86400, .initial = "300",
	 .unit = "seconds", .change = OPTION_LIVE,
	 .help = "how long a subscriber without sessions keeps its NAT address"},
	{.path = "nat.unanswered_timeout_s", .type = OPTION_INTEGER, .value = AT(nat.unanswered_timeout_s),
	 .min = 5, .max = 86400, .initial = "30", .unit = "seconds", .change = OPTION_LIVE,
	 .help = "idle time of a UDP session begun from outside until the inside answers, where that is shorter than "
		 "what it has then; the mapping lives on"},
	{.path = "nat.unanswered", .type = OPTION_INTEGER, .value = AT(nat.unanswered),
	 .min = 1, .max = 65535, .initial = "1000", .unit = "sessions", .change = OPTION_LIVE,
	 .help = "sessions begun from outside and not answered yet that a subscriber may have; of its session limit "
		 "a quarter at most; engines have equal shares"},

	{.path = "rules", .type = OPTION_OBJECTS, .value = AT(rules), .count = AT(n_rules),
	 .min = 0, .max = CONFIG_RULES_MAX, .initial = "[]", .unit = "rules",
	 .change = OPTION_LIVE,
	 .help = "the first rule that matches a new session decides; none: nat.* and the first pool"},
	{.path = "rules[].name", .type = OPTION_STRING, .value = AT_RULE(name), .min = 0,
	 .max = CONFIG_NAME_SIZE - 1, .initial = "\"\"", .change = OPTION_LIVE,
	 .help = "name of the rule"},
	{.path = "rules[].realm", .type = OPTION_STRING, .value = AT_RULE(realm), .min = 1,
	 .max = CONFIG_NAME_SIZE - 1, .initial = "\"any\"", .change = OPTION_LIVE,
	 .help = "matches subscribers of this realm; untagged: those of inside.prefixes, any: all"},
	{.path = "rules[].inside", .type = OPTION_PREFIXES, .value = AT_RULE(inside),
	 .count = AT_RULE(n_inside), .min = 0, .max = CONFIG_RULE_PREFIXES_MAX, .initial = "[]",
	 .unit = "prefixes", .change = OPTION_LIVE, .help = "matches these subscribers; empty: any"},
	{.path = "rules[].protocol", .type = OPTION_CHOICE, .value = AT_RULE(protocol),
	 .choices = protocol_choices, .initial = "\"any\"", .change = OPTION_LIVE,
	 .help = "matches this protocol; other: those without ports"},
	{.path = "rules[].destination", .type = OPTION_PREFIXES, .value = AT_RULE(destination),
	 .count = AT_RULE(n_destination), .min = 0, .max = CONFIG_RULE_PREFIXES_MAX,
	 .initial = "[]", .unit = "prefixes", .change = OPTION_LIVE,
	 .help = "matches these destinations; empty: any"},
	{.path = "rules[].port_first", .type = OPTION_INTEGER, .value = AT_RULE(port_first),
	 .min = 0, .max = 65535, .initial = "0", .change = OPTION_LIVE,
	 .help = "first destination port that matches; with ports, \"any\" means TCP and UDP"},
	{.path = "rules[].port_last", .type = OPTION_INTEGER, .value = AT_RULE(port_last),
	 .min = 0, .max = 65535, .initial = "65535", .change = OPTION_LIVE,
	 .help = "last destination port that matches"},
	{.path = "rules[].action", .type = OPTION_CHOICE, .value = AT_RULE(action),
	 .choices = action_choices, .initial = "\"translate\"", .change = OPTION_LIVE,
	 .help = "translate, forward as it is, or refuse"},
	{.path = "rules[].pool", .type = OPTION_STRING, .value = AT_RULE(pool), .min = 0,
	 .max = CONFIG_NAME_SIZE - 1, .initial = "\"\"", .change = OPTION_LIVE,
	 .help = "name of the pool that new mappings are made from; empty: the first one"},
	{.path = "rules[].type", .type = OPTION_CHOICE, .value = AT_RULE(type),
	 .choices = type_choices, .initial = "\"default\"", .change = OPTION_LIVE,
	 .help = "sets mapping and filtering by the customary name of the pair"},
	{.path = "rules[].mapping", .type = OPTION_CHOICE, .value = AT_RULE(mapping),
	 .choices = rule_behaviour_choices, .initial = "\"default\"", .change = OPTION_LIVE,
	 .help = "what keeps its mapping; default: what the type or else nat.mapping says"},
	{.path = "rules[].filtering", .type = OPTION_CHOICE, .value = AT_RULE(filtering),
	 .choices = rule_behaviour_choices, .initial = "\"default\"", .change = OPTION_LIVE,
	 .help = "who may send to a mapping; default: what the type or else nat.filtering says"},
	{.path = "rules[].pooling", .type = OPTION_CHOICE, .value = AT_RULE(pooling),
	 .choices = rule_pooling_choices, .initial = "\"default\"", .change = OPTION_LIVE,
	 .help = "one address for all mappings of a subscriber, or any; default: nat.pooling"},
	{.path = "rules[].timeout_s", .type = OPTION_INTEGER, .value = AT_RULE(timeout_s),
	 .min = 0, .max = 86400, .initial = "0", .unit = "seconds", .change = OPTION_LIVE,
	 .help = "idle time after which a mapping ends; 0: what nat.* says for the protocol"},
	{.path = "rules[].ports", .type = OPTION_CHOICE, .value = AT_RULE(ports),
	 .choices = rule_ports_choices, .initial = "\"default\"", .change = OPTION_LIVE,
	 .help = "how ports are chosen; default: nat.ports"},
	{.path = "rules[].order", .type = OPTION_CHOICE, .value = AT_RULE(order),
	 .choices = order_choices, .initial = "\"fill\"", .change = OPTION_LIVE,
	 .source = "RFC 7422 section 2",
	 .help = "deterministic: fill an address with subscribers first, or spread them over all"},
	{.path = "rules[].ports_per_subscriber", .type = OPTION_INTEGER,
	 .value = AT_RULE(ports_per_subscriber), .min = 0, .max = 65520, .initial = "0",
	 .unit = "ports", .change = OPTION_LIVE,
	 .help = "deterministic: ports of each subscriber, a multiple of 16; 0: as many as fit"},
	{.path = "rules[].overflow", .type = OPTION_STRING, .value = AT_RULE(overflow), .min = 0,
	 .max = CONFIG_NAME_SIZE - 1, .initial = "\"\"", .change = OPTION_LIVE,
	 .help = "deterministic: name of the pool whose blocks take what does not fit; empty: refused"},

	{.path = "static", .type = OPTION_OBJECTS, .value = AT(statics), .count = AT(n_statics),
	 .min = 0, .max = CONFIG_STATICS_MAX, .initial = "[]", .unit = "mappings",
	 .change = OPTION_LIVE, .help = "mappings that are always there"},
	{.path = "static[].protocol", .type = OPTION_CHOICE, .value = AT_STATIC(protocol),
	 .choices = static_choices, .change = OPTION_LIVE,
	 .help = "protocol, or any for the whole address with all protocols, 1:1"},
	{.path = "static[].realm", .type = OPTION_STRING, .value = AT_STATIC(realm), .min = 1,
	 .max = CONFIG_NAME_SIZE - 1, .initial = "\"untagged\"", .change = OPTION_LIVE,
	 .help = "realm of the subscriber; untagged: one of inside.prefixes"},
	{.path = "static[].inside", .type = OPTION_ADDRESS, .value = AT_STATIC(inside),
	 .change = OPTION_LIVE, .help = "IPv4 address of the subscriber"},
	{.path = "static[].nat", .type = OPTION_ADDRESS, .value = AT_STATIC(nat),
	 .change = OPTION_LIVE, .help = "NAT address, one of a pool's"},
	{.path = "static[].inside_port", .type = OPTION_INTEGER, .value = AT_STATIC(inside_port),
	 .min = 0, .max = 65535, .initial = "0", .change = OPTION_LIVE,
	 .help = "first port of the subscriber; none for \"any\""},
	{.path = "static[].nat_port", .type = OPTION_INTEGER, .value = AT_STATIC(nat_port),
	 .min = 0, .max = 65535, .initial = "0", .change = OPTION_LIVE,
	 .help = "first port of the NAT address; none for \"any\""},
	{.path = "static[].ports", .type = OPTION_INTEGER, .value = AT_STATIC(ports), .min = 1,
	 .max = 65535, .initial = "1", .unit = "ports", .change = OPTION_LIVE,
	 .help = "how many consecutive ports"},

	{.path = "limits", .type = OPTION_OBJECTS, .value = AT(limits), .count = AT(n_limits),
	 .min = 0, .max = CONFIG_LIMITS_MAX, .initial = "[]", .unit = "groups",
	 .change = OPTION_LIVE,
	 .help = "groups of subscribers, and what each of them may have; the first that holds one decides"},
	{.path = "limits[].name", .type = OPTION_STRING, .value = AT_LIMITS(name), .min = 1,
	 .max = CONFIG_NAME_SIZE - 1, .change = OPTION_LIVE, .help = "name of the group"},
	{.path = "limits[].realm", .type = OPTION_STRING, .value = AT_LIMITS(realm), .min = 1,
	 .max = CONFIG_NAME_SIZE - 1, .initial = "\"any\"", .change = OPTION_LIVE,
	 .help = "holds subscribers of this realm; untagged: those of inside.prefixes, any: all"},
	{.path = "limits[].inside", .type = OPTION_PREFIXES, .value = AT_LIMITS(inside),
	 .count = AT_LIMITS(n_inside), .min = 0, .max = CONFIG_LIMIT_PREFIXES_MAX, .initial = "[]",
	 .unit = "prefixes", .change = OPTION_LIVE, .help = "holds these subscribers; empty: any"},
	{.path = "limits[].inherits", .type = OPTION_STRING, .value = AT_LIMITS(inherits), .min = 0,
	 .max = CONFIG_NAME_SIZE - 1, .initial = "\"\"", .change = OPTION_LIVE,
	 .help = "a group before this one, whose limits count where this one has 0"},
	{.path = "limits[].sessions", .type = OPTION_INTEGER, .value = AT_LIMITS(sessions),
	 .min = 0, .max = LIMIT_MAX, .initial = "0", .unit = "sessions", .change = OPTION_LIVE,
	 .help = "sessions at once; 0: inherited, or no limit"},
	{.path = "limits[].tcp_ports", .type = OPTION_INTEGER, .value = AT_LIMITS(tcp_ports),
	 .min = 0, .max = LIMIT_MAX, .initial = "0", .unit = "ports", .change = OPTION_LIVE,
	 .help = "TCP ports in use at once; 0: inherited, or no limit"},
	{.path = "limits[].udp_ports", .type = OPTION_INTEGER, .value = AT_LIMITS(udp_ports),
	 .min = 0, .max = LIMIT_MAX, .initial = "0", .unit = "ports", .change = OPTION_LIVE,
	 .help = "UDP ports in use at once; 0: inherited, or no limit"},
	{.path = "limits[].icmp_ids", .type = OPTION_INTEGER, .value = AT_LIMITS(icmp_ids),
	 .min = 0, .max = LIMIT_MAX, .initial = "0", .unit = "identifiers", .change = OPTION_LIVE,
	 .help = "ICMP query identifiers in use at once; 0: inherited, or no limit"},
	{.path = "limits[].memory_kib", .type = OPTION_INTEGER, .value = AT_LIMITS(memory_kib),
	 .min = 0, .max = LIMIT_KIB_MAX, .initial = "0", .unit = "KiB", .change = OPTION_LIVE,
	 .help = "memory of its sessions, at 96 bytes each; 0: inherited, or no limit"},
	{.path = "limits[].new_sessions_per_s", .type = OPTION_INTEGER, .value = AT_LIMITS(new_sessions_per_s),
	 .min = 0, .max = LIMIT_RATE_MAX, .initial = "0", .unit = "sessions per second", .change = OPTION_LIVE,
	 .help = "new sessions per second; 0: inherited, or no limit"},
	{.path = "limits[].burst", .type = OPTION_INTEGER, .value = AT_LIMITS(burst),
	 .min = 0, .max = LIMIT_RATE_MAX, .initial = "0", .unit = "sessions", .change = OPTION_LIVE,
	 .help = "how many of them at a stroke; 0: as many as in a second"},
	{.path = "limits[].reserved_ports", .type = OPTION_INTEGER, .value = AT_LIMITS(reserved_ports),
	 .min = 0, .max = 65535, .initial = "0", .unit = "ports", .change = OPTION_LIVE,
	 .help = "of tcp_ports and of udp_ports each, kept for the destination ports of reserved_for; 0: inherited, or none"},
	{.path = "limits[].reserved_for", .type = OPTION_PORTS, .value = AT_LIMITS(reserved_for),
	 .count = AT_LIMITS(n_reserved_for), .min = 0, .max = CONFIG_RESERVED_FOR_MAX,
	 .initial = "[]", .unit = "ports", .change = OPTION_LIVE,
	 .help = "destination ports that reserved_ports are kept for"},

	{.path = "system.runtime_dir", .type = OPTION_PATH, .value = AT(system.runtime_dir),
	 .min = 1, .max = RUNTIME_DIR_LENGTH_MAX, .initial = "\"/run/corenat\"",
	 .change = OPTION_RESTART, .help = "directory of the sockets between the processes"},
	{.path = "system.bpffs", .type = OPTION_PATH, .value = AT(system.bpffs), .min = 1,
	 .max = LENGTH_MAX(system.bpffs), .initial = "\"/sys/fs/bpf/corenat\"",
	 .change = OPTION_RESTART, .help = "directory where the XDP program and its maps are pinned"},

	{.path = "api.listen", .type = OPTION_STRING, .value = AT(api.listen), .min = 1,
	 .max = LENGTH_MAX(api.listen), .initial = "\"127.0.0.1:8080\"",
	 .change = OPTION_RESTART, .help = "loopback address and port of the REST API"},
	{.path = "api.web_dir", .type = OPTION_PATH, .value = AT(api.web_dir), .min = 1,
	 .max = LENGTH_MAX(api.web_dir), .initial = "\"/usr/share/corenat/web\"",
	 .change = OPTION_RESTART, .help = "directory of the dashboard's files"},

	{.path = "subscribers.file", .type = OPTION_PATH, .value = AT(subscribers.file), .min = 1,
	 .max = LENGTH_MAX(subscribers.file), .initial = "\"/var/lib/corenat/subscribers.db\"",
	 .change = OPTION_RESTART, .help = "file of the subscribers that are known by name"},
	{.path = "history.file", .type = OPTION_PATH, .value = AT(history.file), .min = 1,
	 .max = LENGTH_MAX(history.file), .initial = "\"/var/lib/corenat/history.db\"",
	 .change = OPTION_RESTART, .help = "file of the statistics history"},
	{.path = "history.keep_s", .type = OPTION_INTEGER, .value = AT(history.keep_s), .min = 60,
	 .max = 31622400, .initial = "86400", .unit = "seconds", .change = OPTION_LIVE,
	 .help = "how long statistics are kept"},
	{.path = "events.file", .type = OPTION_PATH, .value = AT(events.file), .min = 1,
	 .max = LENGTH_MAX(events.file), .initial = "\"/var/lib/corenat/events.db\"",
	 .change = OPTION_RESTART, .help = "file of events: port blocks given and returned, refusals"},
	{.path = "events.keep_s", .type = OPTION_INTEGER, .value = AT(events.keep_s), .min = 60,
	 .max = 630720000, .initial = "7776000", .unit = "seconds", .change = OPTION_RESTART,
	 .help = "how long events are kept, and who held a block after it was returned"},
	{.path = "events.keep", .type = OPTION_INTEGER, .value = AT(events.keep), .min = 1000,
	 .max = 1000000000, .initial = "10000000", .unit = "events", .change = OPTION_RESTART,
	 .help = "most events kept, about 200 bytes each; the oldest go first"},
	{.path = "events.destinations", .type = OPTION_CHOICE, .value = AT(events.destinations),
	 .choices = on_choices, .initial = "\"off\"", .change = OPTION_RESTART,
	 .help = "whether a refusal is kept with the destination of its packet (RFC 6888 REQ-12: off)"},
	{.path = "versions.file", .type = OPTION_PATH, .value = AT(versions.file), .min = 1,
	 .max = LENGTH_MAX(versions.file), .initial = "\"/var/lib/corenat/versions.db\"",
	 .change = OPTION_RESTART, .help = "file of the configurations that were in force, with their times"},
	{.path = "versions.keep", .type = OPTION_INTEGER, .value = AT(versions.keep), .min = 2,
	 .max = 100000, .initial = "1000", .unit = "configurations", .change = OPTION_RESTART,
	 .help = "most configurations kept; the oldest go first"},
	{.path = "versions.keep_s", .type = OPTION_INTEGER, .value = AT(versions.keep_s),
	 .min = 86400, .max = 630720000, .initial = "63072000", .unit = "seconds",
	 .change = OPTION_RESTART, .help = "how long a configuration is kept after the next one replaced it"},
	{.path = "statistics.interval_ms", .type = OPTION_INTEGER,
	 .value = AT(statistics.interval_ms), .min = 100, .max = 60000, .initial = "1000",
	 .unit = "milliseconds", .change = OPTION_LIVE,
	 .help = "how often the aggregator asks the engines"},
};
/* clang-format on */

const unsigned option_count = sizeof(options) / sizeof(options[0]);

const struct option *option_find(const char *path)
{
	for (unsigned i = 0; i < option_count; i++)
		if (strcmp(options[i].path, path) == 0)
			return &options[i];
	return NULL;
}

const char *behaviour_name(enum behaviour behaviour)
{
	return rule_behaviour_choices[behaviour];
}

const char *option_type_name(enum option_type type)
{
	static const char *const names[N_OPTION_TYPES] = {
		[OPTION_INTEGER] = "integer",
		[OPTION_CHOICE] = "choice",
		[OPTION_STRING] = "string",
		[OPTION_PATH] = "path",
		[OPTION_KEY] = "key",
		[OPTION_CPUS] = "cpus",
		[OPTION_TABLE] = "table",
		[OPTION_PORTS] = "ports",
		[OPTION_ADDRESS] = "address",
		[OPTION_PREFIXES] = "prefixes",
		[OPTION_ADDRESSES] = "addresses",
		[OPTION_RANGES] = "ranges",
		[OPTION_OBJECTS] = "objects",
	};

	return names[type];
}
