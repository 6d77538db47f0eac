/* lookup: who has an address and port, and which ports a subscriber has, as far as a configuration says.
 *
 * What       answers from static mappings and deterministic rules (RFC 7422); what is given dynamically is told as
 *            such, with its pool, since only the log knows. Over several configurations, each answer has the time in
 *            which it holds, and all that may be meant are given, ranked (RFC 6302: clocks differ).
 * Units      milliseconds since 1970; addresses in host order.
 * Ownership  plain values.
 * Calls      pure; any thread.
 * Errors     none: what does not fit is counted in `left_out`.
 * Use        lookup_add(&found, &config, &question, &version); …; lookup_rank(&found, time, skew);
 */
#ifndef CORENAT_MGMTD_LOOKUP_H
#define CORENAT_MGMTD_LOOKUP_H

#include "common/config.h"
#include "mgmtd/versions.h"

enum { LOOKUP_ANSWERS_MAX = 128 };

enum lookup_kind {
	LOOKUP_STATIC,
	LOOKUP_DETERMINISTIC,
	LOOKUP_OVERFLOW, /* a deterministic rule's subscriber without ports of its own: blocks of that pool */
	LOOKUP_LOGGED,   /* an address whose ports are given dynamically */
};

/* When an answer holds, seen from the time that was asked for. */
enum lookup_basis {
	LOOKUP_IN_FORCE, /* then */
	LOOKUP_SKEW,     /* within the skew of then */
	LOOKUP_EARLIER,  /* before: sessions made under it may have lived on */
};

struct lookup_question {
	bool by_nat; /* else by inside address */
	uint32_t address;
	uint16_t port;                /* by_nat */
	char realm[CONFIG_NAME_SIZE]; /* by inside: name or VLAN; empty: any */
};

/* Zeroed where it says nothing, so that equal ones have equal bytes. */
struct lookup_answer {
	enum lookup_kind kind;
	uint32_t inside;      /* not of LOOKUP_LOGGED */
	uint32_t nat;         /* not of LOOKUP_OVERFLOW */
	uint32_t usable;      /* ports that are not reserved */
	uint16_t first, last; /* ports of the NAT address */
	uint16_t inside_port; /* static: what `first` is mapped to */
	uint16_t rule;        /* index; CONFIG_RULES_MAX: nat.ports */
	enum static_protocol protocol;
	enum ports_order order;
	char realm[CONFIG_NAME_SIZE];
	char rule_name[CONFIG_NAME_SIZE];
	char pool[CONFIG_NAME_SIZE];     /* of LOOKUP_LOGGED and LOOKUP_OVERFLOW: whose log knows */
	char overflow[CONFIG_NAME_SIZE]; /* where ports beyond these come from; may be empty */
};

struct lookup_found {
	struct lookup_answer answer;
	int64_t since_ms, until_ms;
	int64_t version; /* the first that says so */
	enum lookup_basis basis;
};

struct lookup {
	struct lookup_found found[LOOKUP_ANSWERS_MAX];
	unsigned n, left_out;
};

/* Adds what one version answers. Versions come oldest first: an answer that the version before gave goes on. */
void lookup_add(struct lookup *l, const struct config *c, const struct lookup_question *q, const struct version *v);

/* Lengthens the spans of what is found by a version next to those added. False: it says none of it. */
bool lookup_extend(struct lookup *l, const struct config *c, const struct lookup_question *q, const struct version *v);

/* Says for each what it rests on, and puts the most likely ones first. */
void lookup_rank(struct lookup *l, int64_t time_ms, int64_t skew_ms);

#endif
