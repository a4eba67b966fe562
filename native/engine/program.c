/* Loads bpf/fairlead.bpf.c, which travels inside this object file in both its builds: see program.h. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/bpf.h>

#include "program.h"
#include "words.h"

#define LOG_OCTETS (1u << 20)

__asm__(".section .rodata\n"
	".balign 16\n"
	"core_object:\n"
	".incbin \"build/fairlead.bpf.o\"\n"
	"core_object_end:\n"
	".balign 16\n"
	"replay_object:\n"
	".incbin \"build/fairlead-replay.bpf.o\"\n"
	"replay_object_end:\n"
	".previous\n");
extern const char core_object[], core_object_end[], replay_object[], replay_object_end[];

static const char *const map_of[FL_SECTION_COUNT] = {
#define X(NAME, name, type, halves) [FL_SECTION_##NAME] = ".data." #name,
	FL_DIRECT_SECTIONS(X)
#undef X
#define X(NAME, name, type, halves) [FL_SECTION_##NAME] = "fl_" #name,
		FL_TABLE_SECTIONS(X)
#undef X
};

/* What copies of one engine share besides the region. */
static const char *const shared[] = { "fl_ports", "fl_records", "fl_scratch_map", "fl_replay" };

bool fl_kernel_has_frags(void)
{
	return libbpf_probe_bpf_helper(BPF_PROG_TYPE_XDP, BPF_FUNC_xdp_get_buff_len, NULL) == 1;
}

static int reuse(struct bpf_object *object, const char *name, int fd)
{
	struct bpf_map *map = bpf_object__find_map_by_name(object, name);

	return map ? bpf_map__reuse_fd(map, fd) : -ENOENT;
}

static int prepare(struct bpf_object *object, const struct fl_region *region, const struct fl_entry *entry,
		   const struct fl_program *first)
{
	struct bpf_map *constants = bpf_object__find_map_by_name(object, ".rodata.entry");
	int code = constants ? bpf_map__set_initial_value(constants, entry, sizeof(*entry)) : -ENOENT;

	for (u32 section = 0; !code && section < FL_SECTION_COUNT; section++)
		code = reuse(object, map_of[section], region->map_fd[section]);
	for (u32 i = 0; !code && first && i < sizeof(shared) / sizeof(*shared); i++)
		if (bpf_object__find_map_by_name(object, shared[i]))
			code = reuse(object, shared[i], bpf_object__find_map_fd_by_name(first->object, shared[i]));
	return code;
}

/* Without its types the verifier follows a global function at each call, which for the long program is without end. */
static const char *words_of_types(const struct bpf_object *object)
{
	return bpf_object__btf_fd(object) < 0 ? ", whose types (BTF) this kernel does not take" : "";
}

static int refuse(int code, const struct bpf_object *object, const char *name, const char *log)
{
	const char *lack = fl_words_of_lack(code, log), *file, *line;

	if (!log[0])
		return fl_fail(code, "the kernel did not load %s%s: %s", name, lack, fl_words_for(code));
	line = fl_words_of_log(log, &file);
	return fl_fail(code, "the kernel's verifier refused %s%s%s: %s%s%s", name, lack, words_of_types(object), line,
		       file ? "; the whole log is in " : "", file ? file : "");
}

/* Of an entry's two programs: the one that an interface runs, and the one it goes on to. */
struct pair {
	struct bpf_program *own, *further;
	u32 further_index;
};

static struct pair pair_of(const struct bpf_object *object, bool is_tc)
{
	return (struct pair){
		.own = bpf_object__find_program_by_name(object, is_tc ? "fairlead_tc" : "fairlead_xdp"),
		.further = bpf_object__find_program_by_name(object, is_tc ? "fairlead_tc_long" : "fairlead_xdp_long"),
		.further_index = is_tc,
	};
}

static int load_pair(struct fl_program *program, const struct pair *pair, const struct fl_entry *entry, char *log)
{
	struct bpf_program *each;
	int code, fd;

	bpf_object__for_each_program(each, program->object)
	{
		bpf_program__set_autoload(each, each == pair->own || each == pair->further);
		if (entry->has_frags && !entry->is_tc)
			bpf_program__set_flags(each, BPF_F_XDP_HAS_FRAGS);
	}
	bpf_program__set_log_buf(pair->own, log, LOG_OCTETS);
	bpf_program__set_log_buf(pair->further, log + LOG_OCTETS, LOG_OCTETS);
	code = bpf_object__load(program->object);
	if (code)
		return refuse(code, program->object, bpf_program__name(log[LOG_OCTETS] ? pair->further : pair->own),
			      log[LOG_OCTETS] ? log + LOG_OCTETS : log);
	program->fd = bpf_program__fd(pair->own);
	program->further_fd = bpf_object__find_map_fd_by_name(program->object, "fl_long");
	fd = bpf_program__fd(pair->further);
	if (bpf_map_update_elem(program->further_fd, &pair->further_index, &fd, 0))
		return fl_fail(-errno, "the core's two programs do not go together: %s", strerror(errno));
	return 0;
}

static int load(struct fl_program *program, const struct fl_entry *entry)
{
	struct pair pair = pair_of(program->object, entry->is_tc);
	char *log = calloc(2, LOG_OCTETS);
	int code;

	if (!pair.own || !pair.further || !log) {
		free(log);
		return fl_fail(-ENOMEM, "no memory to load the core");
	}
	code = load_pair(program, &pair, entry, log);
	free(log);
	if (code)
		program->fd = -1;
	return code;
}

int fl_program_load_build(struct fl_program *program, const struct fl_region *region, struct fl_entry entry,
			  const struct fl_program *first, const char *object, size_t size)
{
	LIBBPF_OPTS(bpf_object_open_opts, options, .object_name = "fairlead");
	int code;

	fl_words_listen();
	*program = (struct fl_program){ .fd = -1, .replay_fd = -1 };
	program->object = bpf_object__open_mem(object, size, &options);
	if (!program->object)
		return fl_fail(-errno, "the core's BPF object does not open: %s", fl_words_for(-errno));
	code = prepare(program->object, region, &entry, first);
	code = code ? fl_fail(code, "the core's BPF object does not fit the region: %s", fl_words_for(code))
		    : load(program, &entry);
	if (code) {
		fl_program_close(program);
		return code;
	}
	program->ports_fd = bpf_object__find_map_fd_by_name(program->object, "fl_ports");
	program->records_fd = bpf_object__find_map_fd_by_name(program->object, "fl_records");
	program->replay_fd = bpf_object__find_map_fd_by_name(program->object, "fl_replay");
	return 0;
}

int fl_program_load(struct fl_program *program, const struct fl_region *region, struct fl_entry entry,
		    const struct fl_program *first, bool is_replay)
{
	const char *object = is_replay ? replay_object : core_object;
	size_t size = is_replay ? replay_object_end - replay_object : core_object_end - core_object;

	return fl_program_load_build(program, region, entry, first, object, size);
}

void fl_program_close(struct fl_program *program)
{
	if (program->object)
		bpf_object__close(program->object);
	program->object = NULL;
	program->fd = -1;
}
