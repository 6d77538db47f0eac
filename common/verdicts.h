/* verdicts: the one table of what can become of a packet.
 *
 * What       every packet an engine receives ends in exactly one verdict. The verdict is the drop
 *            counter, the trace annotation and the dashboard row; adding one is adding a row here.
 * Units      a verdict counts packets.
 * Ownership  constants.
 * Calls      any process, any thread.
 * Errors     none.
 * Use        counters->verdict[VERDICT_drop_no_port]; verdict_info[v].name
 *
 * Columns: identifier, class, help. Classes group rows for people: translated, policy, resource,
 * config, malformed.
 */
#ifndef CORENAT_VERDICTS_H
#define CORENAT_VERDICTS_H

#define VERDICTS(V)                                                                                                    \
	V(fwd_out_hit, "translated", "outbound, session found")                                                        \
	V(fwd_out_new, "translated", "outbound, session created")                                                      \
	V(fwd_out_adopted, "translated", "outbound, another engine's session adopted")                                 \
	V(fwd_in_new, "translated", "inbound, session created: its filter lets the sender in")                         \
	V(fwd_out_error, "translated", "outbound ICMP error, translated with what it quotes")                          \
	V(fwd_in_error, "translated", "inbound ICMP error, translated with what it quotes")                            \
	V(fwd_hairpin, "translated", "from the inside to a NAT address, turned round")                                 \
	V(fwd_in_hit, "translated", "inbound, session found")                                                          \
	V(fwd_out_bypass, "translated", "outbound, untranslated: a rule exempts it")                                   \
	V(fwd_in_bypass, "translated", "inbound to a subscriber's own address, which a rule exempts")                  \
	V(fwd_in_adopted, "translated", "inbound, another engine's session adopted")                                   \
	V(drop_rule, "policy", "a rule says so")                                                                       \
	V(drop_no_session, "policy", "inbound packet that belongs to no session")                                      \
	V(drop_not_subscriber, "policy", "source is in no subscriber prefix")                                          \
	V(drop_ttl, "policy", "time to live ran out here")                                                             \
	V(drop_too_big, "policy", "larger than the MTU of the way out")                                                \
	V(drop_no_port, "resource", "no free port on any address of the pool")                                         \
	V(drop_block_limit, "resource", "the subscriber has as many port blocks as it may, and they are full")         \
	V(drop_no_block, "resource", "no free port block on any address of the pool")                                  \
	V(drop_draining, "resource", "every address of the pool is draining")                                          \
	V(drop_limit_sessions, "resource", "the subscriber has as many sessions as it may")                            \
	V(drop_limit_tcp_ports, "resource", "the subscriber uses as many TCP ports as it may")                         \
	V(drop_limit_udp_ports, "resource", "the subscriber uses as many UDP ports as it may")                         \
	V(drop_limit_icmp, "resource", "the subscriber uses as many ICMP identifiers as it may")                       \
	V(drop_limit_memory, "resource", "the subscriber's sessions take as much memory as they may")                  \
	V(drop_limit_rate, "resource", "the subscriber makes new sessions faster than it may")                         \
	V(drop_limit_unanswered, "resource",                                                                           \
		"the subscriber has as many sessions from outside that it has not answered as it may")                 \
	V(drop_room_kept, "resource", "new from outside: what room there is is kept for the inside")                   \
	V(drop_no_memory, "resource", "no arena page left for a session")                                              \
	V(drop_table_full, "resource", "session or mapping table has no room")                                         \
	V(drop_lock_busy, "resource", "a table lock stayed held, its holder may be dead")                              \
	V(drop_tx_full, "resource", "transmit ring full")                                                              \
	V(drop_hold_full, "resource", "too many wait already for next hops or first fragments")                        \
	V(drop_next_hop, "resource", "next hop did not answer in time")                                                \
	V(drop_no_config, "config", "no configuration, or one without a pool, in force")                               \
	V(drop_no_route, "config", "no route to the destination")                                                      \
	V(drop_protocol, "config", "protocol without ports and without a 1:1 mapping")                                 \
	V(drop_icmp_type, "config", "ICMP message that is neither query nor reply")                                    \
	V(drop_syn_unanswered, "policy", "unsolicited inbound SYN: nobody inside opened the connection")               \
	V(drop_fragment_timeout, "policy", "fragment whose first one did not come in time")                            \
	V(drop_fragment, "config", "fragment: ports unknown")                                                          \
	V(drop_not_ipv4, "malformed", "not an IPv4 packet")                                                            \
	V(drop_vlan, "malformed", "VLAN tag on the outside, or two tags")                                              \
	V(drop_short_l3, "malformed", "packet ends inside the IPv4 header, or header length lies")                     \
	V(drop_short_l4, "malformed", "packet ends inside the transport header")                                       \
	V(drop_icmp_checksum, "malformed", "ICMP error with a wrong checksum")                                         \
	V(drop_icmp_quote, "malformed", "ICMP error that quotes too little, or a header with a wrong checksum")        \
	V(held, "pending", "waits, for whatever reason; counted again when it moves")                                  \
	V(held_fragment, "pending", "fragment that waits for its first one; counted again when it moves")              \
	V(held_syn, "pending", "unsolicited inbound SYN that waits for an outbound one (RFC 5382 REQ-4)")

enum verdict {
#define V(id, class, help) VERDICT_##id,
	VERDICTS(V)
#undef V
		N_VERDICTS
};

struct verdict_info {
	const char *name;  /* lower case, stable: JSON key, metric label */
	const char *class; /* translated, policy, resource, config, malformed, pending */
	const char *help;
};

extern const struct verdict_info verdict_info[N_VERDICTS];

#endif
