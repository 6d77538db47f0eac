/* config: the appliance's configuration, parsed, checked, printed.
 *
 * What       one JSON document, validated against the one option table in options.h, becomes a plain
 *            struct. Parse, check, print and apply are separate steps (style, habit 26).
 * Units      in the field's name; addresses in host order where arithmetic on them is meant (ranges).
 * Ownership  struct config is a plain value with no pointers: copy it freely.
 * Calls      pure; any thread of mgmtd, corenat-pe (geometry, replay), aggregator.
 * Errors     false, with one sentence in `struct config_error` that names the option, what was wrong
 *            and what would be right. The target is then left as it was.
 * Use        struct config c; struct config_error e;
 *            if (!config_parse(&c, text, len, &e)) die("%s", e.text);
 */
#ifndef CORENAT_CONFIG_H
#define CORENAT_CONFIG_H

#include "common/rss.h"
#include "common/units.h"

#include <stddef.h>

enum {
	CONFIG_NAME_SIZE = 32,       /* interface and pool names with their terminating zero */
	CONFIG_PATH_SIZE = 108,      /* fits sun_path */
	CONFIG_PREFIXES_MAX = 64,    /* subscriber prefixes */
	CONFIG_POOLS_MAX = 16,       /* pools */
	CONFIG_RANGES_MAX = 64,      /* ranges of one pool; need not be contiguous (RFC 6888 REQ-3) */
	CONFIG_ADDRESSES_MAX = 4096, /* NAT addresses of all pools together */
	CONFIG_RESERVED_MAX = 64,    /* ranges of ports never given dynamically */
	CONFIG_RULES_MAX = 64,
	CONFIG_RULE_PREFIXES_MAX = 8, /* of one rule, on either side */
	CONFIG_RULE_PAIRS_MAX = 511,  /* inside prefix with destination prefix, of all rules together */
	CONFIG_RULE_TIMEOUTS_MAX = 9, /* distinct ones of all rules */
	CONFIG_STATICS_MAX = 1024,
	CONFIG_LIMITS_MAX = 64,
	CONFIG_LIMIT_PREFIXES_MAX = 8, /* of one group */
	CONFIG_RESERVED_FOR_MAX = 16,  /* ports of one group */
	CONFIG_REALMS_MAX = 64,
	CONFIG_REALM_PREFIXES_MAX = 16, /* of one realm */
	VLAN_MIN = 1,
	VLAN_MAX = 4094, /* IEEE 802.1Q: 0 is no VLAN, 4095 reserved */
};

/* Names no realm can have: what is not tagged, and, in a rule, all of them. */
#define CONFIG_REALM_UNTAGGED "untagged"
#define CONFIG_REALM_ANY "any"

struct prefix {
	uint32_t addr; /* host order, host bits zero */
	uint8_t len;   /* 0..32 */
};

struct address_range {
	uint32_t first, last; /* host order, inclusive */
};

struct port_range {
	uint16_t first, last; /* host order, inclusive */
};

struct config_interface {
	char name[CONFIG_NAME_SIZE];
	struct rss rss;
};

/* Subscribers behind a VLAN of the inside interface. Its number in sessions is the VLAN's: it never changes its meaning. */
struct config_realm {
	char name[CONFIG_NAME_SIZE];
	uint16_t vlan;
	struct prefix prefixes[CONFIG_REALM_PREFIXES_MAX]; /* may overlap those of other realms */
	uint32_t n_prefixes;
};

struct config_pool {
	char name[CONFIG_NAME_SIZE];
	struct address_range ranges[CONFIG_RANGES_MAX];
	uint32_t n_ranges;
	struct address_range exclude[CONFIG_RANGES_MAX]; /* of `ranges`: not used at all */
	uint32_t n_exclude;
	struct address_range drain[CONFIG_RANGES_MAX]; /* of `ranges`: what lives there goes on, nothing new */
	uint32_t n_drain;
	uint32_t block_size;     /* ports of a subscriber's block; a power of two */
	uint32_t blocks_max;     /* of one subscriber */
	uint32_t block_hold_s;   /* how long an empty block rests */
	uint32_t active_block_s; /* new mappings move on to a fresh block after that; 0: never */
};

/* What a mapping or a filter depends on besides the inside endpoint (RFC 4787 §4.1, §5). */
enum behaviour {
	ENDPOINT_INDEPENDENT,
	ADDRESS_DEPENDENT,
	ADDRESS_AND_PORT_DEPENDENT,
	BEHAVIOUR_DEFAULT, /* in a rule only: what its type or else nat.* says */
};

/* Whether all mappings of a subscriber share one address (RFC 4787 REQ-2). */
enum pooling { POOLING_PAIRED, POOLING_ARBITRARY, POOLING_DEFAULT /* in a rule only */ };

/* How ports are chosen. All but the first number an address's ports in their natural order. */
enum ports_mode {
	PORTS_SHUFFLED,      /* grouped by where the reply lands */
	PORTS_ORDERED,       /* in chunks of consecutive ports */
	PORTS_BLOCKS,        /* blocks of the subscriber's own */
	PORTS_DETERMINISTIC, /* computed from the inside address (RFC 7422) */
	PORTS_DEFAULT,       /* in a rule only: nat.ports */
};

/* Which of two neighbouring subscribers' ports are next to each other (RFC 7422 §2). */
enum ports_order {
	ORDER_FILL,   /* an address is filled first */
	ORDER_SPREAD, /* each address gets one subscriber before any gets a second */
};

/* Names in use for some pairs of mapping and filtering. */
enum nat_type {
	NAT_TYPE_DEFAULT, /* none */
	NAT_TYPE_FULL_CONE,
	NAT_TYPE_RESTRICTED,
	NAT_TYPE_PORT_RESTRICTED,
	NAT_TYPE_SYMMETRIC,
};

/* The ICMP error that answers a refused packet. */
enum refusal { REFUSAL_HOST_UNREACHABLE, REFUSAL_PROHIBITED, REFUSAL_OFF };

enum rule_protocol { RULE_ANY, RULE_TCP, RULE_UDP, RULE_ICMP, RULE_OTHER };
enum rule_action { ACTION_TRANSLATE, ACTION_BYPASS, ACTION_DROP };

/* What a new session must be to follow this rule, and what then happens to it. */
struct config_rule {
	char name[CONFIG_NAME_SIZE];  /* may be empty */
	char realm[CONFIG_NAME_SIZE]; /* a realm's, "untagged" or "any" */
	struct prefix inside[CONFIG_RULE_PREFIXES_MAX];
	uint32_t n_inside; /* 0: any */
	struct prefix destination[CONFIG_RULE_PREFIXES_MAX];
	uint32_t n_destination; /* 0: any */
	enum rule_protocol protocol;
	uint16_t port_first, port_last; /* of the destination; TCP and UDP only unless 0 to 65535 */
	enum rule_action action;
	char pool[CONFIG_NAME_SIZE]; /* empty: the first one */
	enum nat_type type;
	enum behaviour mapping, filtering;
	enum pooling pooling;
	uint32_t timeout_s; /* 0: the protocol's */
	enum ports_mode ports;
	enum ports_order order;          /* deterministic only, like the rest */
	uint32_t ports_per_subscriber;   /* 0: as many as fit */
	char overflow[CONFIG_NAME_SIZE]; /* pool whose blocks take what does not fit; empty: refused */
};

enum static_protocol { STATIC_TCP, STATIC_UDP, STATIC_ANY };

/* A mapping that is always there: ports of an address, or (STATIC_ANY) the address with all there is on it, 1:1. */
struct config_static {
	enum static_protocol protocol;
	uint32_t inside, nat;           /* host order */
	uint16_t inside_port, nat_port; /* the first of `ports` consecutive ones; 0 for STATIC_ANY */
	uint16_t ports;
	char realm[CONFIG_NAME_SIZE]; /* of `inside`: a realm's, or "untagged", which an empty one means too */
};

/* A group of subscribers, and what each of them may have. 0: what the group says that it inherits from, or no limit. */
struct config_limits {
	char name[CONFIG_NAME_SIZE];
	char realm[CONFIG_NAME_SIZE]; /* a realm's, "untagged" or "any" */
	struct prefix inside[CONFIG_LIMIT_PREFIXES_MAX];
	uint32_t n_inside;               /* 0: any */
	char inherits[CONFIG_NAME_SIZE]; /* name of a group before this one; empty: none */
	uint32_t sessions, tcp_ports, udp_ports, icmp_ids;
	uint32_t memory_kib;
	uint32_t new_sessions_per_s;
	uint32_t burst;          /* of new sessions; 0: as many as in a second */
	uint32_t reserved_ports; /* of TCP and of UDP each, for these destination ports */
	uint16_t reserved_for[CONFIG_RESERVED_FOR_MAX];
	uint32_t n_reserved_for;
};

enum huge_pages { HUGE_AUTO, HUGE_REQUIRED, HUGE_OFF };
enum xdp_mode { XDP_MODE_AUTO, XDP_MODE_NATIVE, XDP_MODE_GENERIC };
enum zero_copy { ZERO_COPY_AUTO, ZERO_COPY_ON, ZERO_COPY_OFF };
enum busy_poll { BUSY_POLL_AUTO, BUSY_POLL_ON, BUSY_POLL_OFF };

struct config {
	struct {
		char name[CONFIG_NAME_SIZE]; /* POSIX shared-memory name, "/corenat" */
		uint32_t engines;            /* 1..ENGINE_MAX; one queue and one core each */
		uint32_t sessions;           /* capacity the arena is sized for, all engines together */
		uint32_t subscribers;        /* the same, of those known at one time */
		enum huge_pages huge_pages;
	} arena;
	struct {
		enum xdp_mode xdp;
		enum zero_copy zero_copy;
		uint32_t ring_size; /* descriptors of each ring; a power of two */
		enum busy_poll busy_poll;
		uint32_t busy_poll_budget; /* packets a driver may take in one call */
		uint8_t cpus[ENGINE_MAX];  /* CPU of engine N; n_cpus 0 means engine N on CPU N */
		uint32_t n_cpus;
	} engine;
	struct {
		struct config_interface side[N_SIDES];       /* "inside" and "outside" in the document */
		struct prefix prefixes[CONFIG_PREFIXES_MAX]; /* inside.prefixes: the subscribers */
		uint32_t n_prefixes;
	} net;
	struct config_realm realms[CONFIG_REALMS_MAX];
	uint32_t n_realms;
	struct config_pool pools[CONFIG_POOLS_MAX];
	uint32_t n_pools;
	struct {
		uint32_t udp_timeout_s;             /* RFC 4787 REQ-5 */
		uint32_t tcp_opening_timeout_s;     /* RFC 5382 REQ-5, RFC 7857 §2.2 */
		uint32_t tcp_established_timeout_s; /* RFC 5382 REQ-5 */
		uint32_t tcp_closing_timeout_s;     /* RFC 5382 REQ-5, RFC 7857 §2.2 */
		uint32_t icmp_timeout_s;            /* RFC 5508 REQ-2 */
		uint16_t port_first, port_last;     /* ports mappings may use, host order */
		enum behaviour mapping, filtering;  /* of what no rule says otherwise */
		enum pooling pooling;
		bool udp_inbound_refresh; /* RFC 4787 REQ-6 */
		uint32_t syn_hold_s;      /* RFC 5382 REQ-4; 0: an unsolicited SYN is dropped at once */
		enum refusal refusal;
		uint32_t icmp_rate;      /* errors per second, engine, side and kind */
		uint16_t mss_clamp;      /* largest MSS left in a SYN; 0: as it comes */
		uint32_t fragments_held; /* per engine, waiting for their first one */
		uint32_t fragments_per_source;
		uint32_t fragment_timeout_s;
		enum ports_mode ports;      /* of what no rule says otherwise */
		bool preserve_range;        /* 0-1023 stays there, 1024 and up stays there (RFC 4787 REQ-3a) */
		bool preserve_parity;       /* an even inside port gets an even one (RFC 4787 REQ-4) */
		uint32_t hold_s;            /* how long a freed port rests (RFC 6888 REQ-8) */
		uint32_t hold_percent;      /* most of an address's ports that may rest at a time */
		uint32_t own_share_percent; /* of each address's ports, dealt to engines as their own */
		struct port_range reserved[CONFIG_RESERVED_MAX]; /* never given dynamically */
		uint32_t n_reserved;
		uint32_t subscriber_idle_s;    /* then its paired address and blocks go back */
		uint32_t unanswered;           /* sessions that others begin with one subscriber, until it answers */
		uint32_t unanswered_timeout_s; /* of UDP */
	} nat;
	struct config_rule rules[CONFIG_RULES_MAX]; /* in order; the first that matches decides */
	uint32_t n_rules;
	struct config_static statics[CONFIG_STATICS_MAX];
	uint32_t n_statics;                             /* "static" in the document */
	struct config_limits limits[CONFIG_LIMITS_MAX]; /* in order; the first that holds a subscriber decides */
	uint32_t n_limits;
	struct {
		char runtime_dir[CONFIG_PATH_SIZE]; /* aggregator socket */
		char bpffs[CONFIG_PATH_SIZE];       /* where XDP program and maps are pinned */
	} system;
	struct {
		char listen[64]; /* address:port, loopback only without TLS */
		char web_dir[CONFIG_PATH_SIZE];
	} api;
	struct {
		char file[CONFIG_PATH_SIZE];
		uint32_t keep_s;
	} history;
	struct {
		char file[CONFIG_PATH_SIZE]; /* those known by name */
	} subscribers;
	struct {
		char file[CONFIG_PATH_SIZE];
		uint32_t keep_s, keep;
		bool destinations; /* RFC 6888 REQ-12 */
	} events;
	struct {
		char file[CONFIG_PATH_SIZE];
		uint32_t keep;   /* configurations */
		uint32_t keep_s; /* since they ended */
	} versions;
	struct {
		uint32_t interval_ms; /* how often the aggregator asks */
	} statistics;
};

struct config_error {
	char text[1024];
};

/* Parses JSON text of `size` bytes. Unknown and duplicate keys, wrong types, values out of range
 * and contradictions between options are errors. Options that are absent get their defaults. */
bool config_parse(struct config *out, const char *text, size_t size, struct config_error *err);

/* Reads and parses a file. */
bool config_load(struct config *out, const char *path, struct config_error *err);

/* The effective configuration as JSON with every option, malloced, for the caller to free. Parsing
 * it again gives the same struct, byte for byte. */
char *config_print(const struct config *c);

/* The option table itself as JSON (path, type, default, bounds, unit, live or restart, help);
 * malloced. */
char *config_schema_print(void);

#include "common/config_meaning.h"

#endif
