/*
 * The region: all state of the data plane, in one layout for every engine.
 *
 * The region is a list of sections, each an array of one type. The packet and replay engines keep all sections in one
 * mapping, found through the directory in the header; BPF engines keep each section in one memory-mappable array map
 * (and the directory's offsets mean nothing). The core reaches an element only through fl_<section>_at(), which returns
 * NULL outside the array.
 *
 * Configuration (sections marked 2) is double-buffered: a commit writes the half that nobody reads, then flips
 * header.active_half. Scheduler tables live in a pool; a changed table gets a fresh extent, and the service record in
 * the new half points to it. Everything else is live state with one kind of writer, named beside its type (live.h).
 *
 * Addresses and ports are in network order unless a name ends in _host. Time is in ticks of 2^27 ns (0.134 s) of
 * CLOCK_MONOTONIC.
 */
#ifndef FL_REGION_H
#define FL_REGION_H

#include "live.h"

#define FL_MAGIC 0x6461656c72696166ull /* "fairlead" */
/* Raise it when what is there means something else than before without lying elsewhere: flags, hashes, orders. */
#define FL_REGION_VERSION 2
#define FL_TICK_SHIFT 27
#define FL_NONE 0xffffffffu
#define FL_INTERFACES_MOST 8

#define FL_PROBES 8	     /* how far a configuration hash may look; the packer grows the table until this holds */
#define FL_RANGES_PER_VIP 16 /* port ranges that one VIP may carry per lookup */

/*
 * X(NAME, name, element type, halves) in the order of the file. The direct ones have a size that is always the same (1,
 * 1 and FL_INTERFACES_MOST elements a half), and in BPF each is a single element of its map.
 */
#define FL_DIRECT_SECTIONS(X)                        \
	X(HEADER, header, struct fl_header, 1)       \
	X(SETTINGS, settings, struct fl_settings, 2) \
	X(INTERFACES, interfaces, struct fl_interface, 2)

#define FL_TABLE_SECTIONS(X)                                        \
	X(VIPS, vips, struct fl_vip, 2)                             \
	X(LISTENS, listens, struct fl_listen, 2)                    \
	X(RANGES, ranges, struct fl_range, 2)                       \
	X(SERVICES, services, struct fl_service, 2)                 \
	X(SOURCES, sources, struct fl_addr, 2)                      \
	X(SERVERS, servers, struct fl_server, 2)                    \
	X(LIMITS, limits, struct fl_limit, 2)                       \
	X(ACCESS, access, struct fl_access, 2)                      \
	X(TABLES, tables, struct fl_table_pair, 1)                  \
	X(HOPS, hops, u64, 1)                                       \
	X(SERVICE_STATE, service_state, struct fl_service_state, 1) \
	X(SERVER_STATE, server_state, struct fl_server_state, 1)    \
	X(WORKERS, workers, struct fl_worker, 1)                    \
	X(TRAFFIC, traffic, struct fl_traffic, 1)                   \
	X(TAGS, tags, struct fl_tags, 1)                            \
	X(FLOWS, flows, struct fl_flow, 1)                          \
	X(FLOWS6, flows6, struct fl_flow6, 1)                       \
	X(RETURNS, returns, struct fl_returns, 1)                   \
	X(DATAGRAMS, datagrams, struct fl_datagram, 1)              \
	X(TRAILS, trails, struct fl_trail, 1)                       \
	X(CLIENTS, clients, struct fl_client, 1)                    \
	X(STICKIES, stickies, struct fl_stickies, 1)

#define FL_SECTIONS(X)        \
	FL_DIRECT_SECTIONS(X) \
	FL_TABLE_SECTIONS(X)

enum fl_section {
#define X(NAME, name, type, halves) FL_SECTION_##NAME,
	FL_SECTIONS(X)
#undef X
		FL_SECTION_COUNT
};

/* Room for those that later versions have, so that what comes after a list of them stays where it is. */
#define FL_SECTIONS_MOST 40
_Static_assert(FL_SECTION_COUNT <= FL_SECTIONS_MOST, "FL_SECTIONS_MOST is too small");

enum fl_method {
	FL_METHOD_NONE,
	FL_METHOD_NAT,
	FL_METHOD_FULL_NAT,
	FL_METHOD_L2_DSR,
	FL_METHOD_L3_DSR,
	FL_METHOD_COUNT
};

/* What l3-dsr wraps a packet in, and what a real server unwraps (core/decap.h). */
enum fl_tunnel {
	FL_TUNNEL_NONE,
	FL_TUNNEL_GRE,	/* RFC 2784, with a key RFC 2890 */
	FL_TUNNEL_IPIP, /* RFC 2003, 2473, 4213: protocols 4 and 41 */
	FL_TUNNEL_GUE,	/* version 0 of draft-ietf-intarea-gue, on UDP */
	FL_TUNNEL_COUNT,
};

enum fl_scheduler {
	FL_SCHEDULER_NONE,
	FL_SCHEDULER_SEQUENCE, /* rr, wrr: walk the table with the service's cursor */
	FL_SCHEDULER_HASH,     /* sh, maglev: index the table by the client's hash */
	FL_SCHEDULER_LEAST,    /* lc, wlc: the member with the lowest load for its weight */
	FL_SCHEDULER_RESPONSE, /* lrt: the same, and its handshakes' time counts as well */
	FL_SCHEDULER_CHOICE,   /* p2c: of two at random, by weight, the one with the lower load for it */
	FL_SCHEDULER_COUNT
};

/* Where a section lies in a region file. Sections of two versions are alike when they have the same shape. */
struct fl_place {
	u64 shape; /* see fl_layout_shape() */
	u64 offset;
	u64 count; /* elements, both halves together */
	u32 element;
	u32 halves;
};

/*
 * Written when the region is made, then only by a commit (active_half, generation), by workers (pressure_tick, trail_tick,
 * first_tick) and by the sweep (live_flows, swept_generation). Up to the places it is the same in all versions: by them a
 * later one finds what it can carry over.
 */
struct fl_header {
	u64 magic;
	u64 layout_hash; /* of the layout text that TypeScript compares as well */
	u64 size;
	u64 live_flows; /* when they were last swept */
	struct fl_place place[FL_SECTIONS_MOST];
	u64 seed[4];	   /* flow hash keys */
	u64 schedule_seed; /* keys the choice of a server by hash */
	u64 generation;	   /* commits so far */
	u32 active_half;
	u32 worker_count;
	u32 buckets;	      /* of TAGS, FLOWS / 8, RETURNS */
	u32 pressure_tick;    /* when a flow was last refused a slot; 0: never */
	u64 created_ns;	      /* CLOCK_REALTIME */
	u32 is_sampling;      /* whoever forwards reports what it decides */
	u32 sticky_buckets;   /* of STICKIES */
	u64 swept_generation; /* the commit by which the last sweep asked for VIPs */
	u32 sticky_tick;      /* when remembered clients were last counted */
	u32 trail_tick;	      /* when a trail was last left */
	u32 first_tick;	      /* when a first frame came to a service for the first time; 0: never */
	u32 reserved[1];
};

#define FL_STANDBY 0 /* everything passes to the host */
#define FL_ACTIVE 1
#define FL_FROZEN \
	2 /* another engine is taking over: what is ours is dropped, no flow changes (written into a live half) */

/* A network that an interface is connected to: hosts in it answer each other without us. */
struct fl_network {
	struct fl_addr addr;
	struct fl_addr mask;
	u32 interface;
	u32 family; /* FL_NETWORK_V4 or FL_NETWORK_V6; 0: unused */
};

#define FL_NETWORK_V4 1
#define FL_NETWORK_V6 2
#define FL_NETWORKS_MOST 16

/* first[] says where this half begins in each double-buffered section; a commit fills it, server_capacity and methods. */
struct fl_settings {
	u32 timeout[FL_STATE_COUNT]; /* ticks */
	u32 is_active;		     /* FL_STANDBY, FL_ACTIVE, FL_FROZEN */
	u32 interface_count;
	u32 vip_mask; /* sizes of the hash tables in use, less one */
	u32 listen_mask;
	u32 icmp_per_tick; /* ICMP errors a worker may originate in a tick */
	u32 first[FL_SECTIONS_MOST];
	u32 server_capacity; /* of one half; the stride of TRAFFIC */
	u32 methods;	     /* bit 1 << enum fl_method for each that a service has */
	u32 rst_per_tick;    /* RSTs likewise */
	u32 is_refusing;     /* a port of a VIP where no service listens refuses its client */
	u32 nat_first[2];    /* the addresses of nat servers, IPv4 and IPv6, as ranges in ACCESS */
	u32 nat_count[2];
	u32 reserved[1];
	struct fl_network networks[FL_NETWORKS_MOST];
};

/* An interface fairlead works on. The position in the section is the id that flows and hops carry. */
struct fl_interface {
	u32 ifindex; /* 0: unused or gone */
	u32 mtu;
	u8 mac[6];
	u8 is_inside;
	u8 reserved;
	u32 address4; /* the host's own, source of ICMP errors; 0: none */
	u32 reserved2;
	struct fl_addr address6;
	u32 reserved3[6];
};

#define FL_VIP_USED 1
#define FL_VIP_V6 2
#define FL_VIP_LISTENS 4  /* services listen here */
#define FL_VIP_SOURCE 8	  /* full-nat flows leave from here */
#define FL_VIP_HAIRPIN 16 /* single flows of nat services do, see fl_is_hairpin() */

/* An address that fairlead owns. Open addressing by fl_config_hash over the address. */
struct fl_vip {
	struct fl_addr addr;
	u32 flags;
	u32 range_first; /* in RANGES, narrowest first */
	u32 range_count;
	u32 reserved;
};

#define FL_LISTEN_USED 1
#define FL_LISTEN_V6 2

/* One exact port of a VIP. Open addressing by fl_config_hash over address, port and protocol. */
struct fl_listen {
	struct fl_addr addr;
	u16 port;
	u8 protocol;
	u8 flags;
	u32 service;
	u64 reserved;
};

struct fl_range {
	u16 first_host;
	u16 last_host;
	u32 protocol;
	u32 service;
	u32 reserved;
};

/* Entries of TABLES: server slots. In pairs, because an element of a BPF array takes eight octets at least. */
struct fl_table_pair {
	u32 slot[2];
};

#define FL_SERVICE_REFUSES 1	  /* a client for whom there is no server, or no flow, is told so */
#define FL_SERVICE_REFUSES_FULL 2 /* and one for whom no server has room */
#define FL_SERVICE_HAIRPIN 4	  /* nat: flows whose answers would go around us leave from the VIP, as with full-nat */
#define FL_SERVICE_REFUSES_HAIRPIN 8 /* they are refused */

#define FL_HASH_CLIENT 0
#define FL_HASH_CLIENT_PORT 1

#define FL_STICKY_PORT 0xff /* sticky_by: the client's whole address, and its port */

struct fl_service {
	u64 id; /* of the name; the control plane finds its slots again by it */
	u8 method;
	u8 scheduler;
	u8 hash_by;
	u8 is_v6;
	u32 table_first; /* the sequence or Maglev table in TABLES, counted in entries, not pairs */
	u32 table_count;
	u32 member_first; /* each usable server once, for the least-connection scan */
	u32 member_count;
	u32 source_first; /* full-nat pool in SOURCES, or l3-dsr's one outer source */
	u32 source_count; /* 0: the VIP itself */
	u32 flags;	  /* FL_SERVICE_* */
	u32 limit;	  /* in LIMITS, counted from 1; 0: none */
	u32 sticky_ticks; /* a client's server is remembered for so long after its last new flow; 0: it is not */
	u8 sticky_by;	  /* so many bits of an address are a client; or FL_STICKY_PORT */
	u8 reserved1[3];
	u32 reserved[1];
	u32 half_open;	   /* with so many unanswered SYNs it goes on compute-only (compute.h); 0: never, as full-nat */
	u32 reserve_count; /* behind the members: who takes what those have no room for */
};

/* What a service lets in. 0 is any number; rates are new flows a tick, in 1/256. */
struct fl_limit {
	u32 access_first; /* in ACCESS */
	u32 access_count; /* 0: everybody */
	u32 flows;	  /* open ones */
	u32 rate;
	u32 client_flows; /* of each client prefix at each VIP */
	u32 client_rate;
	u32 client_of; /* FL_CLIENT_* */
	u32 reserved;
};

#define FL_CLIENT_ADDRESS 0 /* each IPv4 address, each IPv6 /64 */
#define FL_CLIENT_NETWORK 1 /* each IPv4 /24, each IPv6 /48 */

#define FL_ACCESS_MOST 4096 /* ranges of a service */

/* Of a service's ranges of addresses, in ascending order from the lowest address on: each reaches to the next one. */
struct fl_access {
	struct fl_addr first_host; /* words in host order */
	u32 is_allowed;		   /* or it is of nat servers */
	u32 reserved;
};

#define FL_SERVER_USED 1
#define FL_SERVER_V6 2
#define FL_SERVER_ENDED 4    /* its flows have been ended: for the control plane, which does so once */
#define FL_SERVER_MOVES 8    /* TCP of flows that have been ended goes to another server; else it is reset */
#define FL_SERVER_RESERVE 16 /* it is no member, and takes only what members have no room for */

/*
 * A generation: who has the slot, and in the epoch's bits how often this one's flows have been ended. A flow is good
 * while the whole of its generation is its server's, so a commit ends all flows of a server by one word. It is counted
 * among its server's for as long as the rest of it is.
 */
#define FL_GENERATION_EPOCH 0xff000000u
#define FL_GENERATION_EPOCH_ONE 0x01000000u

#define FL_TUNNEL_KEY 1	     /* GRE carries the key */
#define FL_TUNNEL_CLAMP 2    /* a SYN announces no larger segments than the tunnel carries */
#define FL_TUNNEL_FRAGMENT 4 /* what is too big and may be fragmented is, before it is wrapped */
#define FL_TUNNEL_INNER 0xff /* tunnel_dscp: the packet's own */

/* A server of one service. Slots are stable over commits; a slot given to another server gets another generation. */
struct fl_server {
	u64 id;
	struct fl_addr addr;
	u16 port; /* 0: the client's destination port */
	u16 flags;
	u32 generation;
	u32 service;
	u32 weight;
	/* l3-dsr: its service's tunnel, so that a frame's way has one line to read */
	u8 tunnel;	 /* enum fl_tunnel */
	u8 tunnel_flags; /* FL_TUNNEL_* */
	u8 tunnel_ttl;	 /* 0: the packet's own */
	u8 tunnel_dscp;
	u8 source_bits; /* so many low bits of the outer source vary with the flow, at most 16 */
	u8 reserved1;
	u16 tunnel_port; /* GUE's */
	u32 tunnel_key;
	u32 source; /* in SOURCES: the outer source */
	u32 reserved[1];
	u32 max_flows; /* open ones; 0: any number */
};

/* BPF arrays round elements up to eight octets: the layout is the same everywhere only if there is nothing to round. */
#define X(NAME, name, type, halves) _Static_assert(sizeof(type) % 8 == 0, #name);
FL_SECTIONS(X)
#undef X
_Static_assert(sizeof(struct fl_flow) == 64, "a flow is one cache line");
_Static_assert(sizeof(struct fl_flow6) == 64, "its IPv6 addresses are one more");
_Static_assert(sizeof(struct fl_datagram) == 64, "");
_Static_assert(sizeof(struct fl_trail) == 72, "");
_Static_assert(sizeof(struct fl_service) == 64, "");
_Static_assert(sizeof(struct fl_stickies) == 512, "");
_Static_assert(sizeof(struct fl_server) == 64, "");
_Static_assert(sizeof(struct fl_interface) == 64, "");
_Static_assert(sizeof(struct fl_vip) == 32, "");
_Static_assert(sizeof(struct fl_listen) == 32, "");

/* Slots for a number of flows: 11/8, at which two choices of 8-way buckets leave about two in a million without a
 * slot (simulated: 1.25 leaves 200, 1.5 none; one choice would still leave 8,840 at 2.0). */
#define FL_SLOTS_FOR(flows) ((((u64)(flows)*11 / 8) + FL_WAYS - 1) / FL_WAYS * FL_WAYS)

#endif
