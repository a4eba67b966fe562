/*
 * The one list of what can happen to a frame. A verdict says where the frame goes; a reason says why, and every
 * reason is a counter. The TypeScript side is generated from this list.
 */
#ifndef FL_VERDICT_H
#define FL_VERDICT_H

/* X(NAME, "name") */
#define FL_VERDICTS(X)                                                                                               \
	X(PASS, "passed")	/* not ours: the host has it */                                                      \
	X(FORWARD, "forwarded") /* rewritten, leaves by the out interface */                                         \
	X(ANSWER, "answered")	/* the frame became fairlead's own answer, leaves where it came */                   \
	X(DROP, "dropped")                                                                                           \
	X(HAND_UP, "handed-up") /* a program in the kernel leaves it to user space, which says what becomes of it */ \
	X(KEEP, "kept")		/* user space keeps it until another frame says where it goes */

/* X(NAME, "name", VERDICT, "what an operator should read") */
#define FL_REASONS(X)                                                                                                  \
	X(NONE, "none", PASS, "no decision yet")                                                                       \
	X(CLIENT_HIT, "client-hit", FORWARD, "a client's frame of a tracked flow")                                     \
	X(SERVER_HIT, "server-hit", FORWARD, "a server's frame of a tracked flow")                                     \
	X(NEW_FLOW, "new-flow", FORWARD, "the first frame of a flow")                                                  \
	X(UNTRACKED, "untracked", FORWARD,                                                                             \
	  "of no known flow, or a SYN amid a flood of them: the hash chose the server, as it always would")            \
	X(UNTRACKED_ANSWER, "untracked-answer", FORWARD, "a server's answer to what went to it untracked")             \
	X(ICMP_ERROR, "icmp-error", FORWARD, "an ICMP error about a flow, to who sent what it quotes")                 \
	X(ARP_REPLY, "arp-reply", ANSWER, "an ARP request for a VIP")                                                  \
	X(NDP_REPLY, "ndp-reply", ANSWER, "a neighbour solicitation for a VIP")                                        \
	X(ECHO_REPLY, "echo-reply", ANSWER, "an ICMP echo request to a VIP")                                           \
	X(TIME_EXCEEDED, "time-exceeded", ANSWER, "TTL or hop limit ran out here")                                     \
	X(TOO_BIG, "too-big", ANSWER, "larger than the next link's MTU and not to be fragmented")                      \
	X(REFUSED_NO_SERVICE, "refused-no-service", ANSWER,                                                            \
	  "no service on this port of a VIP: RST or port unreachable")                                                 \
	X(REFUSED_NO_SERVER, "refused-no-server", ANSWER, "the service has no server: RST or port unreachable")        \
	X(REFUSED_FULL, "refused-servers-full", ANSWER, "every server has its max-flows: RST or port unreachable")     \
	X(REFUSED_HAIRPIN, "refused-hairpin", ANSWER, "a nat client in its server's network: RST or port unreachable") \
	X(REFUSED_GONE, "refused-server-gone", ANSWER,                                                                 \
	  "TCP of a server that is down, drained or removed: RST to either side")                                      \
	X(REFUSED_NO_FLOW, "refused-no-flow", ANSWER, "TCP of no known flow: RST")                                     \
	X(NOT_OURS, "not-ours", PASS, "neither for a VIP nor of a tracked flow")                                       \
	X(PATH_MTU, "path-mtu", PASS, "a router's word that a tunnel of ours carries less: noted for its server")      \
	X(STANDBY, "standby", PASS, "this node is not active")                                                         \
	X(SHORT_FRAME, "short-frame", DROP, "the frame ends inside a header")                                          \
	X(BAD_IP_HEADER, "bad-ip-header", DROP, "IP version, header length or total length lies")                      \
	X(BAD_IP_CHECKSUM, "bad-ip-checksum", DROP, "the IPv4 header checksum is wrong")                               \
	X(BAD_EXTENSION, "bad-extension", DROP, "an IPv6 extension header chain too long, broken or forbidden (RH0)")  \
	X(BAD_L4_HEADER, "bad-l4-header", DROP, "TCP data offset or UDP length lies")                                  \
	X(SOURCE_ROUTE, "source-route", DROP, "an IPv4 packet whose sender says by which hosts it shall go")           \
	X(BAD_SOURCE, "bad-source", DROP, "a source address that cannot be a client's")                                \
	X(BAD_DESTINATION, "bad-destination", DROP, "unicast IP inside a group MAC frame")                             \
	X(LAND, "land", DROP, "source and destination are the same")                                                   \
	X(FRAGMENT, "fragment", DROP, "a fragment whose first one never came, or of what is not balanced")             \
	X(BAD_FRAGMENT, "bad-fragment", DROP,                                                                          \
	  "a fragment that overlaps another, ends inside the header, or has a length that none can have")              \
	X(FRAGMENTS_FULL, "fragments-full", DROP, "too many datagrams in fragments are under way")                     \
	X(EARLY_FRAGMENT, "early-fragment", KEEP, "a fragment that came before its first one: kept for a second")      \
	X(BAD_FLAGS, "bad-flags", DROP, "a TCP flag combination that no sender makes")                                 \
	X(BAD_RESET, "bad-reset", DROP,                                                                                \
	  "a TCP reset whose sequence number its sender cannot have: forged or very old")                              \
	X(SHORT_QUOTE, "short-quote", DROP, "an ICMP error that quotes too little to tell which flow it is about")     \
	X(EXPIRED, "expired", DROP, "an ICMP error whose TTL or hop limit ran out here: about it there is none")       \
	X(UNSUPPORTED, "unsupported", DROP, "a protocol to a VIP that fairlead does not balance")                      \
	X(NO_SERVICE, "no-service", DROP, "a VIP, but no service on this port")                                        \
	X(NO_SERVER, "no-server", DROP, "the service has no server with weight above zero")                            \
	X(DENIED, "denied", DROP, "the service's allow and deny lists keep this client out")                           \
	X(SERVICE_LIMITED, "service-limited", DROP, "the service has as many flows, or new ones a second, as it may")  \
	X(CLIENT_LIMITED, "client-limited", DROP,                                                                      \
	  "the client's prefix has as many flows, or new ones a second, as it may")                                    \
	X(SERVERS_FULL, "servers-full", DROP, "every server that could take the flow has its max-flows")               \
	X(NO_FLOW, "no-flow", DROP, "not a first frame, and no flow is known for it")                                  \
	X(NO_PORT, "no-port", DROP, "full-nat has no free source port towards the server")                             \
	X(TUPLE_TAKEN, "tuple-taken", DROP,                                                                            \
	  "another service already carries this client's port to the same server port")                                \
	X(TABLE_FULL, "table-full", DROP, "the flow table had no slot and the method needs one")                       \
	X(NO_NEIGHBOUR, "no-neighbour", DROP, "the server's next hop has no known MAC address")                        \
	X(CAME_BACK, "came-back", DROP, "a server does not own the VIP and sent the client's frame back")              \
	X(ICMP_LIMITED, "icmp-limited", DROP, "an ICMP error was due but over its rate limit")                         \
	X(RST_LIMITED, "rst-limited", DROP, "a RST was due but over its rate limit")                                   \
	X(OVERSIZE, "oversize", DROP, "too large to go out or to answer")                                              \
	X(EGRESS_FULL, "egress-full", DROP, "the out interface took no more frames")                                   \
	X(HANDOVER, "handover", DROP, "one engine is handing over to another; the sender will try again")              \
	X(SLOW_PATH, "slow-path", HAND_UP,                                                                             \
	  "what a program in the kernel cannot do itself; user space does it and counts it again, by its own reason")  \
	X(SLOW_PATH_FULL, "slow-path-full", DROP, "the same, but user space was not there or far behind")

enum fl_verdict {
#define X(NAME, text) FL_##NAME,
	FL_VERDICTS(X)
#undef X
		FL_VERDICT_COUNT
};

enum fl_reason {
#define X(NAME, text, verdict, meaning) FL_REASON_##NAME,
	FL_REASONS(X)
#undef X
		FL_REASON_COUNT
};

/* Those of the list that refuse a client stand together. */
#define FL_IS_REFUSAL(reason) ((reason) >= FL_REASON_REFUSED_NO_SERVICE && (reason) <= FL_REASON_REFUSED_NO_FLOW)

#endif
