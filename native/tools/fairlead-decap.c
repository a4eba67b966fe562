/*
 * fairlead-decap: the decapsulator's command, for real servers that need nothing else of fairlead. Linked statically, so
 * that this one file can be copied to a server; what `fairlead server-setup` prints calls it.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../engine/decap.h"

#define GUE_PORT 6080 /* IANA's */

/* The exit codes of fairlead itself. */
enum { OK = 0, FAILED = 1, USAGE = 2, NOT_FOUND = 5, REFUSED = 7 };

static const char usage[] =
	"fairlead-decap attach SERVICE --dev IF --at tc|xdp --tunnel gre|ipip|gue --local ADDRESS\n"
	"                       --from ADDRESS[/LENGTH]... --vip ADDRESS... [--key N] [--port N]\n"
	"        unwraps what the balancers at --from send to --local for the VIPs; changes SERVICE when it is there\n"
	"fairlead-decap detach SERVICE [--dev IF]      no longer, on one interface or on all\n"
	"fairlead-decap list [--json]                  what is unwrapped where, and what was counted\n"
	"\n"
	"--port is GUE's, 6080 unless given. Exit codes: 0 ok, 1 failed, 2 usage, 5 not found, 7 refused.\n";

static const char *const tunnel_names[FL_TUNNEL_COUNT] = { "none", "gre", "ipip", "gue" };
static const char *const place_names[FL_DECAP_AT_COUNT] = { "none", "xdp", "tc" };

#define NAME(name, text, meaning) text,
static const char *const count_names[] = { FL_DECAP_COUNTS(NAME) };
#undef NAME
#define NAME(name, text, meaning) meaning,
static const char *const count_meanings[] = { FL_DECAP_COUNTS(NAME) };
#undef NAME
_Static_assert(sizeof(count_names) / sizeof(count_names[0]) == FL_DECAP_COUNT, "a name for each count");

struct words {
	struct fl_decap_service service;
	const char *device;
	enum fl_decap_place place;
	bool has_local, has_port, is_json;
};

static int complain(int code, const char *what, const char *word)
{
	fprintf(stderr, "fairlead-decap: %s%s%s\n", what, word ? " " : "", word ? word : "");
	return code;
}

static u32 index_of(const char *name, const char *const *names, u32 count)
{
	for (u32 i = 1; i < count; i++)
		if (strcmp(name, names[i]) == 0)
			return i;
	return 0;
}

static bool read_number(const char *text, unsigned long most, unsigned long *number)
{
	char *end;

	errno = 0;
	*number = strtoul(text, &end, 10);
	return text[0] >= '0' && text[0] <= '9' && !*end && !errno && *number <= most;
}

static int read_option(int option, const char *text, struct words *words)
{
	struct fl_decap_service *service = &words->service;
	unsigned long number;

	switch (option) {
	case 'd':
		words->device = text;
		return OK;
	case 'a':
		words->place = index_of(text, place_names, FL_DECAP_AT_COUNT);
		return words->place ? OK : complain(USAGE, "--at takes tc or xdp, not", text);
	case 't':
		service->endpoint.tunnel = index_of(text, tunnel_names, FL_TUNNEL_COUNT);
		return service->endpoint.tunnel ? OK : complain(USAGE, "--tunnel takes gre, ipip or gue, not", text);
	case 'l':
		words->has_local = fl_decap_parse_address(text, &service->endpoint.local);
		return words->has_local ? OK : complain(USAGE, "--local takes an address, not", text);
	case 'f':
		if (service->source_count == FL_DECAP_SOURCES)
			return complain(USAGE, "--from: 16 are the most", NULL);
		if (!fl_decap_parse_prefix(text, &service->source[service->source_count++]))
			return complain(USAGE, "--from takes an address or a prefix, not", text);
		return OK;
	case 'v':
		if (service->vip_count == FL_DECAP_VIPS)
			return complain(USAGE, "--vip: 64 are the most", NULL);
		if (!fl_decap_parse_address(text, &service->vip[service->vip_count++]))
			return complain(USAGE, "--vip takes an address, not", text);
		return OK;
	case 'k':
		service->endpoint.has_key = 1;
		if (!read_number(text, 0xffffffff, &number))
			return complain(USAGE, "--key takes a number of 32 bits, not", text);
		service->endpoint.key = htonl(number);
		return OK;
	case 'p':
		words->has_port = true;
		if (!read_number(text, 0xffff, &number) || !number)
			return complain(USAGE, "--port takes 1 to 65535, not", text);
		service->endpoint.port = htons(number);
		return OK;
	case 'j':
		words->is_json = true;
		return OK;
	default:
		return USAGE; /* getopt has complained */
	}
}

static int read_words(int count, char **texts, struct words *words)
{
	static const struct option options[] = {
		{ "dev", required_argument, NULL, 'd' },    { "at", required_argument, NULL, 'a' },
		{ "tunnel", required_argument, NULL, 't' }, { "local", required_argument, NULL, 'l' },
		{ "from", required_argument, NULL, 'f' },   { "vip", required_argument, NULL, 'v' },
		{ "key", required_argument, NULL, 'k' },    { "port", required_argument, NULL, 'p' },
		{ "json", no_argument, NULL, 'j' },	    { 0 },
	};
	int option, code = OK;

	while (code == OK && (option = getopt_long(count, texts, "", options, NULL)) != -1)
		code = read_option(option, optarg, words);
	return code;
}

/* Frames of other link layers have no Ethernet header to keep. */
static int check_device(const char *name)
{
	struct ifreq request = { 0 };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), code;

	if (!if_nametoindex(name))
		return complain(NOT_FOUND, "there is no interface", name);
	strncpy(request.ifr_name, name, IF_NAMESIZE - 1);
	code = ioctl(fd, SIOCGIFHWADDR, &request);
	close(fd);
	if (code == 0 && request.ifr_hwaddr.sa_family == ARPHRD_ETHER)
		return OK;
	return complain(REFUSED, "tunnels are unwrapped on Ethernet interfaces only, which is not", name);
}

static int attach(const char *name, struct words *words)
{
	struct fl_decap_endpoint *endpoint = &words->service.endpoint;
	int code;

	if (!words->device || !words->place || !endpoint->tunnel || !words->has_local || !words->service.source_count ||
	    !words->service.vip_count)
		return complain(USAGE, "attach needs --dev, --at, --tunnel, --local, --from and --vip", NULL);
	if (endpoint->has_key && endpoint->tunnel != FL_TUNNEL_GRE)
		return complain(USAGE, "--key belongs to --tunnel gre", NULL);
	if (words->has_port && endpoint->tunnel != FL_TUNNEL_GUE)
		return complain(USAGE, "--port belongs to --tunnel gue", NULL);
	if (strlen(name) >= FL_DECAP_NAME || !name[0])
		return complain(USAGE, "a service's name has 1 to 63 characters, unlike", name);
	if (endpoint->tunnel == FL_TUNNEL_GUE && !words->has_port)
		endpoint->port = htons(GUE_PORT);
	strcpy(words->service.name, name);
	code = check_device(words->device);
	if (code != OK)
		return code;
	code = fl_decap_attach(if_nametoindex(words->device), words->place, &words->service);
	if (code == 0)
		return OK;
	complain(0, fl_error(), NULL);
	return code == 1 ? OK : code == -EBUSY ? REFUSED : FAILED;
}

static int detach(const char *name, const struct words *words)
{
	struct if_nameindex *links = if_nameindex();
	int found = 0, code = 0;

	if (words->device && !if_nametoindex(words->device))
		return complain(NOT_FOUND, "there is no interface", words->device);
	for (struct if_nameindex *link = links; link && link->if_index && code >= 0; link++) {
		if (words->device && strcmp(words->device, link->if_name) != 0)
			continue;
		code = fl_decap_detach(link->if_index, name);
		found |= code > 0;
	}
	if_freenameindex(links);
	if (code < 0)
		return complain(FAILED, fl_error(), NULL);
	return found ? OK : complain(OK, "nothing is unwrapped for", name);
}

static const char *text_of(const struct fl_addr *addr, char text[INET6_ADDRSTRLEN])
{
	bool is_ipv4 = !addr->word[0] && !addr->word[1] && addr->word[2] == FL_BE32(0xffff);

	return is_ipv4 ? inet_ntop(AF_INET, &addr->word[3], text, INET6_ADDRSTRLEN)
		       : inet_ntop(AF_INET6, addr, text, INET6_ADDRSTRLEN);
}

static void print_prefix(const struct fl_decap_prefix *prefix)
{
	char text[INET6_ADDRSTRLEN];
	bool is_ipv4 = !strchr(text_of(&prefix->addr, text), ':');

	printf("%s/%u", text, is_ipv4 && prefix->length >= 96 ? prefix->length - 96 : prefix->length);
}

/* Names come from configuration files, which allow letters, digits, dot, dash and underscore: nothing to escape. */
static void print_service(const struct fl_decap_service *service, bool is_json)
{
	const struct fl_decap_endpoint *endpoint = &service->endpoint;
	char text[INET6_ADDRSTRLEN];
	const char *quote = is_json ? "\"" : "";

	printf(is_json ? "{\"service\":\"%s\",\"tunnel\":\"%s\",\"local\":\"%s\"" : "  %s: %s to %s", service->name,
	       tunnel_names[endpoint->tunnel], text_of(&endpoint->local, text));
	if (endpoint->has_key)
		printf(is_json ? ",\"key\":%u" : " key %u", ntohl(endpoint->key));
	if (endpoint->port)
		printf(is_json ? ",\"port\":%u" : " port %u", ntohs(endpoint->port));
	printf(is_json ? ",\"from\":[" : " from ");
	for (u32 i = 0; i < service->source_count; i++) {
		printf("%s%s", i ? "," : "", quote);
		print_prefix(&service->source[i]);
		printf("%s", quote);
	}
	printf(is_json ? "],\"vips\":[" : " for ");
	for (u32 i = 0; i < service->vip_count; i++)
		printf("%s%s%s%s", i ? "," : "", quote, text_of(&service->vip[i], text), quote);
	printf(is_json ? "]}" : "\n");
}

static void print_json(const char *device, enum fl_decap_place place, const struct fl_decap_view *view, bool is_first)
{
	printf("%s{\"interface\":\"%s\",\"at\":\"%s\",\"generic\":%s,\"services\":[", is_first ? "" : ",", device,
	       place_names[place], view->is_generic ? "true" : "false");
	for (u32 i = 0; i < view->service_count; i++) {
		printf("%s", i ? "," : "");
		print_service(&view->service[i], true);
	}
	printf("],\"counts\":{");
	for (u32 i = 0; i < FL_DECAP_COUNT; i++)
		printf("%s\"%s\":{\"frames\":%llu,\"octets\":%llu}", i ? "," : "", count_names[i],
		       (unsigned long long)view->counter[i].frames, (unsigned long long)view->counter[i].octets);
	printf("}}");
}

static void print_text(const char *device, enum fl_decap_place place, const struct fl_decap_view *view)
{
	printf("%s at %s%s\n", device, place_names[place], view->is_generic ? ", behind the driver" : "");
	for (u32 i = 0; i < view->service_count; i++)
		print_service(&view->service[i], false);
	for (u32 i = 0; i < FL_DECAP_COUNT; i++)
		if (view->counter[i].frames)
			printf("  %12llu  %s\n", (unsigned long long)view->counter[i].frames, count_meanings[i]);
}

static int list(bool is_json)
{
	struct fl_decap_view *view = calloc(1, sizeof(*view));
	struct if_nameindex *links = if_nameindex();
	bool is_first = true;
	int code = 0;

	if (!view || !links)
		return complain(FAILED, "no memory for a list", NULL);
	printf(is_json ? "[" : "");
	for (struct if_nameindex *link = links; link->if_index; link++)
		for (int place = FL_DECAP_AT_XDP; place <= FL_DECAP_AT_TC; place++) {
			int look = fl_decap_look(link->if_index, place, view);

			/* -EBUSY: somebody else's, which is none of ours to list. */
			if (look < 0 && look != -EBUSY)
				code = look;
			if (look < 0 || !view->service_count)
				continue;
			if (is_json)
				print_json(link->if_name, place, view, is_first);
			else
				print_text(link->if_name, place, view);
			is_first = false;
		}
	printf(is_json ? "]\n" : is_first ? "nothing is unwrapped here\n" : "");
	if_freenameindex(links);
	free(view);
	return code < 0 ? complain(FAILED, fl_error(), NULL) : OK;
}

int main(int count, char **texts)
{
	struct words words = { 0 };
	const char *verb = count > 1 ? texts[1] : "";
	bool takes_name = strcmp(verb, "attach") == 0 || strcmp(verb, "detach") == 0;
	int code;

	if (strcmp(verb, "--help") == 0 || strcmp(verb, "help") == 0)
		return fputs(usage, stdout) < 0;
	if ((!takes_name && strcmp(verb, "list") != 0) || (takes_name && (count < 3 || texts[2][0] == '-'))) {
		fputs(usage, stderr);
		return USAGE;
	}
	code = read_words(count - 1 - takes_name, texts + 1 + takes_name, &words);
	if (code != OK)
		return code;
	if (strcmp(verb, "list") == 0)
		return list(words.is_json);
	return strcmp(verb, "attach") == 0 ? attach(texts[2], &words) : detach(texts[2], &words);
}
