/* What the files of the boundary share: the plane behind a handle, and the functions that addon.c's table names. */
#ifndef FL_ADDON_H
#define FL_ADDON_H

#include <pthread.h>

#include "../engine/replay.h"
#include "arguments.h"

#define INTERFACE_OCTETS 64
#define PATH_OCTETS 4096

struct plane {
	struct fl_region region;
	struct fl_runner *runner;
	struct fl_replayer *replayer; /* frames are replayed by the kernel's programs */
	int is_open;
	u32 events; /* or-ed by engine threads, taken whole by the watcher */
	int wake;
	int stop;
	pthread_t watcher;
	int has_watcher;
	napi_threadsafe_function listener;
	napi_ref buffers[FL_SECTION_COUNT];
};

/* The plane of a handle, open; NULL and a pending exception otherwise. */
struct plane *read_plane(napi_env env, napi_value value);
/* The same, and its region may be written. */
struct plane *read_writable(napi_env env, napi_value value);

/* watch.c. watch(handle, callback: (events) => void): one listener; it does not keep the process alive */
napi_value addon_watch(napi_env env, napi_callback_info info);
void stop_watcher(napi_env env, struct plane *plane);

/* replay.c */
napi_value addon_replay(napi_env env, napi_callback_info info);
napi_value addon_replayer(napi_env env, napi_callback_info info);
napi_value addon_age(napi_env env, napi_callback_info info);

/* host.c: what takes no plane */
napi_value addon_driver(napi_env env, napi_callback_info info);
napi_value addon_processors(napi_env env, napi_callback_info info);
napi_value addon_bpffs(napi_env env, napi_callback_info info);
napi_value addon_remove(napi_env env, napi_callback_info info);
napi_value addon_inspect(napi_env env, napi_callback_info info);
napi_value addon_notify(napi_env env, napi_callback_info info);

/* ask.c. ask(ifindex, questions, waitMs) for `fairlead doctor`, which waits for it: a Uint8Array of struct fl_asked goes in,
 * one of struct fl_asked_answer comes out. */
napi_value addon_ask(napi_env env, napi_callback_info info);

/* probe.c; what they do is in engine/probe.h. */
/* probeOpen(listener: (answers: ArrayBuffer) => void) -> handle; it does not keep the process alive */
napi_value addon_probe_open(napi_env env, napi_callback_info info);
/* probeAsk(handle, kind, address: Uint8Array, port, timeoutMs) -> id; throws an error with the errno's name as code */
napi_value addon_probe_ask(napi_env env, napi_callback_info info);
/* probeClose(handle); harmless the second time */
napi_value addon_probe_close(napi_env env, napi_callback_info info);

#endif
