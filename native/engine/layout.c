/*
 * Prints src/native/layout.ts: sizes, offsets and names of the region as C has them, so that TypeScript never counts
 * octets by hand. The hash covers all of it; the addon and the control plane compare it when they meet.
 */
#include <stddef.h>
#include <stdio.h>
#include <stdarg.h>
#include <string.h>

#include "../core/record.h"
#include "engine.h"
#include "layout-fields.h"

static char text[65536];
static size_t used;

static void emit(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void emit(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	used += vsnprintf(text + used, sizeof(text) - used, format, arguments);
	va_end(arguments);
}

static const char *const verdict_names[] = {
#define X(NAME, name) [FL_##NAME] = name,
	FL_VERDICTS(X)
#undef X
};

/* FNV-1a, 64 bits. */
static u64 hash_of(const char *string)
{
	u64 hash = 0xcbf29ce484222325ull;

	for (; *string; string++)
		hash = (hash ^ (u8)*string) * 0x100000001b3ull;
	return hash;
}

#define FIELD(type, name) emit("    %s: %zu,\n", #name, offsetof(struct type, name));
#define STRUCT(type, fields)                                             \
	emit("  %s: {\n    octets: %zu,\n", #type, sizeof(struct type)); \
	fields(FIELD) emit("  },\n");

static void structs(void)
{
	emit("/** Offsets in octets of each field, and the size of each struct of native/core/region.h. */\n");
	emit("export const layout = {\n");
	FL_LAYOUT(STRUCT)
	emit("} as const;\n\n");
}

static void names(void)
{
	emit("/** Index of each section; `element` in octets; `halves` 2 where a commit writes the inactive half. "
	     "*/\n");
	emit("export const sections = {\n");
#define X(NAME, name, type, halves) \
	emit("  %s: { index: %d, element: %zu, halves: %d },\n", #name, FL_SECTION_##NAME, sizeof(type), halves);
	FL_SECTIONS(X)
#undef X
	emit("} as const;\n\n");
	emit("export const stateNames = [\n");
#define X(NAME, name) emit("  '%s',\n", name);
	FL_STATES(X)
#undef X
	emit("] as const;\n\nexport const verdictNames = [\n");
#define X(NAME, name) emit("  '%s',\n", name);
	FL_VERDICTS(X)
#undef X
	emit("] as const;\n\n/** Why a frame got its verdict; the position is the counter's. */\n");
	emit("export const reasons = [\n");
#define X(NAME, name, verdict, meaning) \
	emit("  { name: '%s', verdict: '%s', meaning: \"%s\" },\n", name, verdict_names[FL_##verdict], meaning);
	FL_REASONS(X)
#undef X
	emit("] as const;\n\n");
}

#define CONSTANT(name, value) emit("  %s: %llu,\n", #name, (unsigned long long)(value));

static void constants(void)
{
	emit("export const constants = {\n");
	FL_LAYOUT_CONSTANTS(CONSTANT)
	emit("} as const;\n");
}

u64 fl_layout_hash(void)
{
	used = 0;
	structs();
	names();
	constants();
	return hash_of(text);
}

static const char *const section_types[] = {
#define X(NAME, name, type, halves) #type,
	FL_SECTIONS(X)
#undef X
};

#define FIELDS_OF(type, fields)                                 \
	if (!strcmp("struct " #type, section_types[section])) { \
		fields(FIELD)                                   \
	}

u64 fl_layout_shape(u32 section)
{
	static const char *const section_names[] = {
#define X(NAME, name, type, halves) #name,
		FL_SECTIONS(X)
#undef X
	};
	static const size_t elements[] = {
#define X(NAME, name, type, halves) sizeof(type),
		FL_SECTIONS(X)
#undef X
	};

	used = 0;
	emit("%s %zu %d\n", section_names[section], elements[section], FL_REGION_VERSION);
	FL_LAYOUT(FIELDS_OF)
#define X(NAME, name) emit("%s\n", name);
	FL_STATES(X)
#undef X
	return hash_of(text);
}

#ifdef FL_LAYOUT_MAIN
int main(void)
{
	u64 hash = fl_layout_hash();

	printf("// GENERATED from native/core by `make -C native layout`: do not edit.\n\n"
	       "/** Hash of everything below: a region or an addon with another hash is of another layout. */\n"
	       "export const layoutHash = '%016llx';\n\n%s",
	       (unsigned long long)hash, text);
	return 0;
}
#endif
